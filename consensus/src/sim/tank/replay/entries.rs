//! Reads entries out of committed bytes of the log, from the documented layout alone: none of
//! production's readers has a part in it.

/// Bytes of a frame's header, and the unit of positions.
const FRAME_HEADER: usize = 32;

/// Bytes of an entry's header.
const ENTRY_HEADER: usize = 48;

/// Type of a frame that carries an entry, or a part of one.
const DATA: u16 = 1;

const BEGIN: u8 = 0x80;
const END: u8 = 0x40;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A leadership term begins.
    Term = 1,
    /// A session opens, or another process continues it.
    Open = 2,
    /// A session closes.
    Close = 3,
    /// What clients have received.
    Ack = 4,
    /// A client's request.
    Request = 5,
    /// The service's answer to one.
    Response = 6,
    /// A snapshot is asked for.
    Action = 10,
}

impl Kind {
    /// The kind that has this number in the log.
    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Term,
            2 => Self::Open,
            3 => Self::Close,
            4 => Self::Ack,
            5 => Self::Request,
            6 => Self::Response,
            10 => Self::Action,
            _ => return None,
        })
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEntry {
    /// Where its first frame begins.
    pub position: i64,
    /// Where its last frame ends.
    pub end: i64,
    /// What it is about.
    pub kind: Kind,
    /// Which of its cause's effects it is.
    pub ordinal: u32,
    /// Log time, ns.
    pub log_time: i64,
    /// The session concerned.
    pub session: i64,
    /// Number of a request, or position of an effect's cause.
    pub number: i64,
    /// Greatest position of a response that the client has.
    pub acknowledged: i64,
    /// What it says.
    pub body: Vec<u8>,
}

/// Reads on where it stopped.
#[derive(Debug, Default)]
pub struct EntryReader {
    position: usize,
    /// What has begun and not ended: where, and its bytes so far.
    open: Option<(usize, Vec<u8>)>,
}

/// The little-endian number at `offset`.
pub fn i64_at(bytes: &[u8], offset: usize) -> Option<i64> {
    let raw = bytes.get(offset..)?.first_chunk()?;
    Some(i64::from_le_bytes(*raw))
}

impl EntryReader {
    /// The next entry that ends in `log`, which begins at position 0. `None` when no more does.
    ///
    /// # Errors
    /// Where the bytes are no log.
    pub fn next(&mut self, log: &[u8]) -> Result<Option<LoggedEntry>, String> {
        while let Some(header) = log.get(self.position..self.position + FRAME_HEADER) {
            let at = self.position;
            let length = i32::from_le_bytes(*header.first_chunk().unwrap_or(&[0; 4]));
            let length = usize::try_from(length).unwrap_or(0);
            let aligned = length.next_multiple_of(FRAME_HEADER);
            if length < FRAME_HEADER || at + aligned > log.len() {
                return Err(format!(
                    "a frame of {length} bytes at {at} of {}",
                    log.len()
                ));
            }
            self.position = at + aligned;
            if u16::from_le_bytes([header[6], header[7]]) != DATA {
                continue;
            }
            let flags = header[5];
            if flags & BEGIN != 0 {
                self.open = Some((at, Vec::new()));
            }
            let Some((start, bytes)) = self.open.as_mut() else {
                continue;
            };
            bytes.extend_from_slice(&log[at + FRAME_HEADER..at + length]);
            if flags & END != 0 {
                let entry = parse(*start, self.position, bytes);
                self.open = None;
                return entry.map(Some);
            }
        }
        Ok(None)
    }
}

fn parse(position: usize, end: usize, bytes: &[u8]) -> Result<LoggedEntry, String> {
    let read = || {
        let raw = bytes.get(4..)?.first_chunk()?;
        Some(LoggedEntry {
            position: position as i64,
            end: end as i64,
            kind: Kind::of(*bytes.first()?)?,
            ordinal: u32::from_le_bytes(*raw),
            log_time: i64_at(bytes, 8)?,
            session: i64_at(bytes, 16)?,
            number: i64_at(bytes, 24)?,
            acknowledged: i64_at(bytes, 32)?,
            body: bytes.get(ENTRY_HEADER..)?.to_vec(),
        })
    };
    read().ok_or_else(|| {
        let kind = bytes.first().copied().unwrap_or_default();
        let length = bytes.len();
        format!("an entry of {length} bytes and kind {kind} at {position}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = FRAME_HEADER + payload.len();
        let mut frame = vec![0; length.next_multiple_of(FRAME_HEADER)];
        frame[..4].copy_from_slice(&(length as i32).to_le_bytes());
        frame[5] = flags;
        frame[6] = 1;
        frame[FRAME_HEADER..length].copy_from_slice(payload);
        frame
    }

    #[test]
    fn an_entry_is_put_together_from_its_frames_and_one_that_never_ended_is_dropped() {
        let mut header = [0; ENTRY_HEADER];
        header[0] = 5;
        header[16] = 7;
        let mut log = frame(BEGIN, &[1; 60]);
        log.extend(frame(BEGIN, &header));
        let unfinished = log.len();
        log.extend(frame(END, b"abc"));
        let mut reader = EntryReader::default();
        assert_eq!(reader.next(&log[..unfinished]), Ok(None));
        let entry = reader.next(&log).unwrap().unwrap();
        assert_eq!((entry.position, entry.end), (96, log.len() as i64));
        assert_eq!((entry.kind, entry.session), (Kind::Request, 7));
        assert_eq!(entry.body, b"abc");
        assert_eq!(reader.next(&log), Ok(None));
    }

    #[test]
    fn bytes_that_are_no_log_are_named() {
        let read = |payload: &[u8]| EntryReader::default().next(&frame(BEGIN | END, payload));
        let short = read(&[1; 8]).unwrap_err();
        assert_eq!(short, "an entry of 8 bytes and kind 1 at 0");
        let unknown = read(&[9; ENTRY_HEADER]).unwrap_err();
        assert_eq!(unknown, "an entry of 48 bytes and kind 9 at 0");
        assert!(read(&[1; ENTRY_HEADER]).is_ok());
        let mut log = frame(BEGIN | END, &[1; ENTRY_HEADER]);
        log[0] = 3;
        assert!(EntryReader::default().next(&log).is_err());
    }
}
