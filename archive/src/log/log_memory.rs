//! The log buffer in memory that outlives its process: what is appended there is safe from the
//! death of all processes, though not from that of the host (`log.md` 10.3).
//!
//! A header of one page, then the terms. The header says whose they are and how far the log
//! reaches in them. It holds for one life of one directory: [`LogMemory::left`] hands out what a
//! process left only to the next life of the same directory in the same run of the host. The
//! cursors are stored by whoever owns the log in memory, through [`LogCursors`]; a process that
//! ends between any two of these stores leaves a state that a start can go on from, which is
//! what their order is for. Where the memory lies, and that nobody else has it, is the shell's
//! matter.

use std::io;

use lockstep_transport::codec::{decoded, encoded};
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::position::{Geometry, Position};

/// Name of the file, and of the link to it in the node's directory.
pub const LOG_MEMORY_FILE: &str = "log-buffer.dat";

/// Bytes of the header: a page, so that the terms begin on one.
pub const LOG_MEMORY_HEADER: usize = 4096;

/// Attempts to copy the memory of a node that runs: one is enough unless it writes a whole term
/// within the time that takes.
const COPIES_MAX: usize = 8;

const MAGIC: [u8; 8] = *b"LSLOGBUF";
const VERSION: u32 = 1;
/// Bytes that say whose it is, with their checksum.
const OWNER_LENGTH: usize = 64;

/// End of the log.
const APPEND: usize = 128;
/// Nothing below is in memory.
const RESTART: usize = 192;
/// Odd while the log is being cut back.
const EPOCH: usize = 256;

/// Whose log buffer it is.
///
/// | offset | size | field of the header |
/// |---|---|---|
/// | 0 | 8 | `LSLOGBUF` |
/// | 8 | 4 | version, 1 |
/// | 12 | 4 | term length |
/// | 16 | 16 | directory id |
/// | 32 | 16 | boot id |
/// | 48 | 8 | incarnation |
/// | 56 | 4 | CRC32C of the 56 bytes before |
/// | 60 | 4 | 0 |
/// | 128 | 8 | end of the log |
/// | 192 | 8 | where the log was last started or cut: nothing below is in memory |
/// | 256 | 8 | log epoch: odd while the log is being cut back |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogMemoryOwner {
    /// Bytes of each of the three terms.
    pub term_length: usize,
    /// Id of the directory.
    pub directory: u128,
    /// Names the run of the host, see [`ColdFiles::boot_id`](crate::disk::ColdFiles::boot_id).
    pub boot_id: u128,
    /// Number of the start of that directory.
    pub incarnation: u64,
}

impl LogMemoryOwner {
    fn encode(&self) -> [u8; OWNER_LENGTH] {
        encoded(|fields| {
            fields.bytes(&MAGIC).u32(VERSION);
            fields.u32(self.term_length as u32).u128(self.directory);
            fields.u128(self.boot_id).u64(self.incarnation);
            let crc = crc32c::crc32c(fields.written());
            fields.u32(crc).zeros(4);
        })
    }

    fn decode(bytes: &[u8; OWNER_LENGTH]) -> Option<Self> {
        let owner = decoded(bytes, |fields| {
            fields.skip(12)?;
            let owner = Self {
                term_length: fields.u32()? as usize,
                directory: fields.u128()?,
                boot_id: fields.u128()?,
                incarnation: fields.u64()?,
            };
            fields.skip(8)?;
            Some(owner)
        })?;
        (owner.encode() == *bytes).then_some(owner)
    }
}

/// See the module. It is not in use by a running log.
#[derive(Debug)]
pub struct LogMemory {
    header: AtomicBuffer,
    terms: AtomicBuffer,
}

impl LogMemory {
    /// Bytes of the terms and of what belongs to them.
    #[must_use]
    pub const fn terms_length(term_length: usize) -> usize {
        LogBuffer::required_length(term_length)
    }

    /// Takes over memory: a page, and [`terms_length`](Self::terms_length) bytes. It may hold
    /// anything.
    ///
    /// # Panics
    /// When the header is shorter than a page.
    #[must_use]
    pub fn new(header: AtomicBuffer, terms: AtomicBuffer) -> Self {
        assert!(
            header.length() >= LOG_MEMORY_HEADER,
            "a header of {} bytes",
            header.length()
        );
        Self { header, terms }
    }

    /// Whether no life has begun in it, or one was about to: what was in it before was needed no
    /// more.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        let owner = self.header.bytes(0, OWNER_LENGTH);
        owner.iter().all(|byte| *byte == 0)
    }

    /// Copies what its file holds for `owner`, for whoever looks and must not map it: `read` fills
    /// a target from an offset of the file. `None` where it is somebody else's. A node may write
    /// there meanwhile: what may have been overwritten while it was read is read again.
    ///
    /// # Errors
    /// The operating system's; [`io::ErrorKind::WouldBlock`] where the log moves faster than it can
    /// be read.
    pub fn copied(
        owner: &LogMemoryOwner,
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<Option<Self>> {
        let mut before = AtomicBuffer::allocate(LOG_MEMORY_HEADER)?;
        read(0, before.bytes_mut(0, LOG_MEMORY_HEADER))?;
        for _ in 0..COPIES_MAX {
            let mut memory = Self {
                header: before,
                terms: AtomicBuffer::allocate(Self::terms_length(owner.term_length))?,
            };
            let Some(left) = memory.left(owner) else {
                return Ok(None);
            };
            let (start, end, geometry) = (left.start, left.end, left.geometry);
            let mut position = start;
            while position < end {
                let term = geometry.buffer_index(position) * geometry.term_length();
                let offset = term + geometry.term_offset(position);
                let rest = geometry.term_length() - geometry.term_offset(position);
                let length = rest.min((end - position) as usize);
                let from = (LOG_MEMORY_HEADER + offset) as u64;
                read(from, memory.terms.bytes_mut(offset, length))?;
                position += length as Position;
            }
            let mut after = AtomicBuffer::allocate(LOG_MEMORY_HEADER)?;
            read(0, after.bytes_mut(0, LOG_MEMORY_HEADER))?;
            let is_kept =
                |word: &usize| after.get_i64_acquire(*word) == memory.header.get_i64_acquire(*word);
            // A term is cleaned for the one that comes three later when the log is in the one
            // before that.
            let reach = geometry.term_start(start) + 2 * owner.term_length as Position;
            if [RESTART, EPOCH].iter().all(is_kept) && after.get_i64_acquire(APPEND) < reach {
                return Ok(Some(memory));
            }
            before = after;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Whose it says it is; `None` where it was never used, or the header is damaged.
    #[must_use]
    pub fn owner(&self) -> Option<LogMemoryOwner> {
        let bytes = self.header.bytes(0, OWNER_LENGTH).first_chunk();
        bytes.and_then(LogMemoryOwner::decode)
    }

    /// What the process of this `owner` left in it; `None` where it is somebody else's, or its
    /// cursors are none.
    #[must_use]
    pub fn left(&self, owner: &LogMemoryOwner) -> Option<LeftLog<'_>> {
        if self.owner() != Some(*owner) {
            return None;
        }
        let term_length = owner.term_length;
        let geometry = Geometry::new(0, term_length)?;
        if self.terms.length() < Self::terms_length(term_length) {
            return None;
        }
        let end = self.header.get_i64_acquire(APPEND);
        let restart = self.header.get_i64_acquire(RESTART);
        let is_aligned = [end, restart].iter().all(|at| *at >= 0 && at % 32 == 0);
        // Nothing is appended above what was written and a term: all that is not on disk is here.
        let start = restart.max(end - term_length as Position).min(end);
        is_aligned.then_some(LeftLog {
            terms: &self.terms,
            geometry,
            start,
            end,
        })
    }

    /// Cold: a new life of `owner` begins, with a log that ends at `end` and nothing in memory.
    /// What was there before is gone on return.
    ///
    /// # Panics
    /// When the memory is too short for the owner's terms.
    #[must_use]
    pub fn begin(
        mut self,
        owner: &LogMemoryOwner,
        geometry: Geometry,
        mtu: usize,
        end: Position,
    ) -> (LogBuffer, LogCursors) {
        self.header.zero(0, LOG_MEMORY_HEADER);
        let length = self.terms.length();
        self.terms.zero(0, length);
        let mut cursors = LogCursors {
            header: self.header,
        };
        cursors.header.put_i64_release(RESTART, end);
        cursors.header.put_i64_release(APPEND, end);
        let words = owner.encode();
        cursors
            .header
            .bytes_mut(0, OWNER_LENGTH)
            .copy_from_slice(&words);
        (LogBuffer::new(self.terms, geometry, mtu), cursors)
    }
}

/// What a process left of its log in memory.
#[derive(Debug)]
pub struct LeftLog<'a> {
    terms: &'a AtomicBuffer,
    geometry: Geometry,
    start: Position,
    end: Position,
}

impl LeftLog<'_> {
    /// All that was not written to disk lies above.
    #[must_use]
    pub const fn start(&self) -> Position {
        self.start
    }

    /// Nothing above is of the log, whatever lies there on disk, if the process appended anything:
    /// it did not go on from what is there.
    #[must_use]
    pub fn limit(&self) -> Option<Position> {
        (self.start < self.end).then_some(self.end)
    }

    /// End of the log: a frame boundary. All below may have been acknowledged.
    #[must_use]
    pub const fn end(&self) -> Position {
        self.end
    }

    /// The bytes at `position..position + length`, between start and end and in one term.
    #[must_use]
    pub fn bytes(&self, position: Position, length: usize) -> &[u8] {
        let term = self.geometry.buffer_index(position) * self.geometry.term_length();
        let offset = term + self.geometry.term_offset(position);
        self.terms.bytes(offset, length)
    }

    /// Bytes from `position` to the end of its term.
    #[must_use]
    pub(crate) const fn left_in_term(&self, position: Position) -> usize {
        self.geometry.term_length() - self.geometry.term_offset(position)
    }
}

/// The cursors in the header, for the one who owns the log in memory.
#[derive(Debug)]
pub struct LogCursors {
    header: AtomicBuffer,
}

impl LogCursors {
    /// The log ends at `end` now: all below is in memory, or on disk. Release: whoever reads it
    /// finds the frames.
    pub fn set_end(&mut self, end: Position) {
        self.header.put_i64_release(APPEND, end);
    }

    /// The log is about to be cut at `position`: what lies above may be erased in memory from now
    /// on. The ack mark has said so durably before, and all below is on disk. So it makes no
    /// difference where between these stores the process ends: no start takes anything above
    /// `position`, for the mark's sake, and what is below is no longer needed from here.
    pub fn begin_cut(&mut self, position: Position) {
        let epoch = self.header.get_i64_acquire(EPOCH);
        self.header.put_i64_release(EPOCH, epoch + 1);
        // First the end: with the start above it nothing is taken at all.
        self.header.put_i64_release(APPEND, position);
        self.header.put_i64_release(RESTART, position);
    }

    /// Nothing above the cut is in memory any more. The mark says that the cut is done after that:
    /// a start that finds it done finds the end of the log that was cut, or of what was appended
    /// since.
    pub fn end_cut(&mut self) {
        let epoch = self.header.get_i64_acquire(EPOCH);
        self.header.put_i64_release(EPOCH, epoch + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: usize = 64 * 1024;

    const OWNER: LogMemoryOwner = LogMemoryOwner {
        term_length: TERM,
        directory: 5 << 90,
        boot_id: 6 << 80,
        incarnation: 7,
    };

    fn memory() -> LogMemory {
        let header = AtomicBuffer::allocate(LOG_MEMORY_HEADER).unwrap();
        let terms = AtomicBuffer::allocate(LogMemory::terms_length(TERM)).unwrap();
        LogMemory::new(header, terms)
    }

    #[test]
    fn an_owner_survives_its_encoding_and_every_other_byte_is_refused() {
        let bytes = OWNER.encode();
        assert_eq!(LogMemoryOwner::decode(&bytes), Some(OWNER));
        for byte in 0..OWNER_LENGTH {
            let mut other = bytes;
            other[byte] ^= 1;
            assert_eq!(LogMemoryOwner::decode(&other), None, "byte {byte}");
        }
        assert_eq!(bytes[..8], MAGIC);
        assert_eq!(bytes[48..56], 7_u64.to_le_bytes());
    }

    #[test]
    fn what_is_left_is_for_the_same_directory_life_and_run_of_the_host_alone() {
        let header = AtomicBuffer::allocate(LOG_MEMORY_HEADER).unwrap();
        let mut memory = LogMemory { header, ..memory() };
        assert!(memory.left(&OWNER).is_none(), "never used");
        let words = OWNER.encode();
        memory
            .header
            .bytes_mut(0, OWNER_LENGTH)
            .copy_from_slice(&words);
        assert!(memory.left(&OWNER).is_some());
        let others = [
            LogMemoryOwner {
                directory: 1,
                ..OWNER
            },
            LogMemoryOwner {
                boot_id: 1,
                ..OWNER
            },
            LogMemoryOwner {
                incarnation: 8,
                ..OWNER
            },
            LogMemoryOwner {
                term_length: 2 * TERM,
                ..OWNER
            },
        ];
        for other in others {
            assert!(memory.left(&other).is_none(), "{other:?}");
        }
        for (cursor, position) in [(APPEND, -32), (APPEND, 33), (RESTART, -32)] {
            let before = memory.header.get_i64_acquire(cursor);
            memory.header.put_i64_release(cursor, position);
            assert!(memory.left(&OWNER).is_none(), "{cursor}: {position}");
            memory.header.put_i64_release(cursor, before);
        }
    }

    #[test]
    fn a_copy_has_what_was_left_and_is_made_again_where_the_log_ran_over_it_meanwhile() {
        let mut bytes = vec![0; LOG_MEMORY_HEADER + LogMemory::terms_length(TERM)];
        bytes[..OWNER_LENGTH].copy_from_slice(&OWNER.encode());
        let put = |bytes: &mut [u8], at: usize, value: Position| {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        };
        put(&mut bytes, APPEND, 96);
        put(&mut bytes, RESTART, 32);
        bytes[LOG_MEMORY_HEADER + 32..LOG_MEMORY_HEADER + 96].fill(7);
        let copy = |bytes: &[u8], offset: u64, target: &mut [u8]| {
            target.copy_from_slice(&bytes[offset as usize..offset as usize + target.len()]);
        };
        let copied = LogMemory::copied(&OWNER, |offset, target| {
            copy(&bytes, offset, target);
            Ok(())
        });
        let copied = copied.unwrap().expect("it is the owner's");
        let left = copied.left(&OWNER).unwrap();
        assert_eq!((left.start(), left.end()), (32, 96));
        assert_eq!(left.bytes(32, 64), [7; 64]);
        // It runs on by more than a term each time that it is read.
        let mut reads = 0;
        let copied = LogMemory::copied(&OWNER, |offset, target| {
            copy(&bytes, offset, target);
            reads += 1;
            if reads < 6 {
                put(&mut bytes, APPEND, reads * 2 * TERM as Position);
            }
            Ok(())
        });
        let end = copied.unwrap().unwrap().left(&OWNER).unwrap().end();
        assert_eq!(end, 10 * TERM as Position);
        let other = LogMemoryOwner {
            incarnation: 8,
            ..OWNER
        };
        let copied = LogMemory::copied(&other, |offset, target| {
            copy(&bytes, offset, target);
            Ok(())
        });
        assert!(copied.unwrap().is_none());
    }

    #[test]
    fn a_cut_leaves_nothing_above_it_to_be_taken_wherever_it_is_ended() {
        let mut memory = memory();
        let words = OWNER.encode();
        memory
            .header
            .bytes_mut(0, OWNER_LENGTH)
            .copy_from_slice(&words);
        let far = 10 * TERM as Position;
        // Ended after each store: (end, restart).
        for (end, restart, taken) in [
            (far, far - 640, Some((far - 640, far))),
            (far - 6400, far - 640, Some((far - 6400, far - 6400))),
            (far - 6400, far - 6400, Some((far - 6400, far - 6400))),
        ] {
            memory.header.put_i64_release(APPEND, end);
            memory.header.put_i64_release(RESTART, restart);
            let left = memory.left(&OWNER).map(|left| (left.start(), left.end()));
            assert_eq!(left, taken);
        }
    }
}
