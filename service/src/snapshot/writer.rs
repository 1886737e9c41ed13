//! Writes the stream of a snapshot to memory, from which its driver takes it.

use super::error::SnapshotError;
use super::hash::SnapshotHash;
use super::progress::STEP_LENGTH;
use super::record::{
    CHUNK_LENGTH_MAX, RECORD_HEADER_LENGTH, RecordHeader, RecordKind, SECTIONS_MAX, head, listed,
    section_end, stream_end,
};
use super::section_name::SectionName;
use super::summary::{SectionSummary, SnapshotSummary};

/// Bytes reserved for what the driver has not taken yet: two steps and the longest chunk. More is
/// allocated for who writes more in a step.
const RESERVED_LENGTH: usize = 2 * STEP_LENGTH + 2 * CHUNK_LENGTH_MAX;

/// See the module.
///
/// The stream depends on what is written to which section, and on nothing else: not on how many
/// calls it takes, and not on when the driver takes what.
///
/// ```
/// use lockstep_service::snapshot::{SnapshotReader, SnapshotWriter};
///
/// let mut writer = SnapshotWriter::new();
/// writer.begin_section("header")?;
/// writer.u64(7)?;
/// writer.bytes(b"seven")?;
/// writer.end_section()?;
/// let summary = writer.finish()?;
///
/// let stream = writer.pending().to_vec();
/// writer.consume(stream.len());
/// assert_eq!(summary.length, stream.len() as u64);
///
/// let mut source = &stream[..];
/// let mut reader = SnapshotReader::open(&mut source)?;
/// reader.expect_section("header")?;
/// assert_eq!(reader.u64()?, 7);
/// let mut text = Vec::new();
/// reader.bytes(100, &mut text)?;
/// assert_eq!(text, b"seven");
/// reader.end_section()?;
/// assert_eq!(reader.finish()?, summary);
/// # Ok::<(), lockstep_service::snapshot::SnapshotError>(())
/// ```
#[derive(Debug)]
pub struct SnapshotWriter {
    /// What was taken and may be overwritten, whole records, and the chunk that is being filled,
    /// which begins with room for its header.
    buffer: Vec<u8>,
    taken: usize,
    whole: usize,
    /// Bytes of the stream so far, and their hash.
    length: u64,
    stream: SnapshotHash,
    sections: Vec<SectionSummary>,
    open: Option<OpenSection>,
    is_complete: bool,
}

/// The section that is being written.
#[derive(Debug)]
struct OpenSection {
    name: SectionName,
    length: u64,
    hash: SnapshotHash,
}

impl Default for SnapshotWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl SnapshotWriter {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        let mut writer = Self {
            buffer: Vec::with_capacity(RESERVED_LENGTH),
            taken: 0,
            whole: 0,
            length: 0,
            stream: SnapshotHash::new(),
            sections: Vec::with_capacity(SECTIONS_MAX),
            open: None,
            is_complete: false,
        };
        writer.begin();
        writer
    }

    /// Begins another stream in the memory of this one.
    pub fn restart(&mut self) {
        self.buffer.clear();
        // Somebody may have written all of its state at once.
        self.buffer.shrink_to(RESERVED_LENGTH);
        self.sections.clear();
        (self.taken, self.whole, self.length) = (0, 0, 0);
        self.stream = SnapshotHash::new();
        (self.open, self.is_complete) = (None, false);
        self.begin();
    }

    fn begin(&mut self) {
        self.buffer.extend_from_slice(&head());
        self.seal();
    }

    /// Begins the section called `name`.
    ///
    /// # Errors
    /// When it is no name, or that of a section before; when there are too many sections, or one
    /// has not ended.
    pub fn begin_section(&mut self, name: &str) -> Result<(), SnapshotError> {
        self.begin_named(SectionName::new(name), name)
    }

    /// Begins the section of this name, if `text` makes one.
    pub(super) fn begin_named(
        &mut self,
        name: Option<SectionName>,
        text: &str,
    ) -> Result<(), SnapshotError> {
        self.check_between()?;
        let name = name.ok_or_else(|| SnapshotError::bad_name(text))?;
        if self.sections.iter().any(|section| section.name == name) {
            return Err(SnapshotError::SectionTwice { name });
        }
        if self.sections.len() == SECTIONS_MAX {
            let limit = SECTIONS_MAX;
            return Err(SnapshotError::TooManySections { limit });
        }
        self.record(RecordKind::SectionBegins, name.as_str().as_bytes());
        self.open = Some(OpenSection {
            name,
            length: 0,
            hash: SnapshotHash::new(),
        });
        Ok(())
    }

    /// Whether a section may begin, or everything end.
    fn check_between(&self) -> Result<(), SnapshotError> {
        if self.is_complete {
            return Err(SnapshotError::Complete);
        }
        self.check_no_section()
    }

    /// Whether no section has begun that has not ended.
    pub(crate) fn check_no_section(&self) -> Result<(), SnapshotError> {
        match &self.open {
            Some(open) => Err(SnapshotError::SectionOpen { name: open.name }),
            None => Ok(()),
        }
    }

    /// Writes bytes to the section.
    ///
    /// # Errors
    /// When there is none.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        while !bytes.is_empty() {
            let open = self.open.as_mut().ok_or(SnapshotError::NoSection)?;
            if self.buffer.len() == self.whole {
                self.buffer.extend_from_slice(&[0; RECORD_HEADER_LENGTH]);
            }
            let filled = self.buffer.len() - self.whole - RECORD_HEADER_LENGTH;
            let fits = bytes.len().min(CHUNK_LENGTH_MAX - filled);
            let (now, later) = bytes.split_at(fits);
            self.buffer.extend_from_slice(now);
            open.length += fits as u64;
            if filled + fits == CHUNK_LENGTH_MAX {
                self.seal_chunk();
            }
            bytes = later;
        }
        self.open
            .as_ref()
            .map(|_| ())
            .ok_or(SnapshotError::NoSection)
    }

    /// Writes one byte.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn u8(&mut self, value: u8) -> Result<(), SnapshotError> {
        self.write(&[value])
    }

    /// Writes 4 bytes, little-endian, as all numbers.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn u32(&mut self, value: u32) -> Result<(), SnapshotError> {
        self.write(&value.to_le_bytes())
    }

    /// Writes 8 bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn u64(&mut self, value: u64) -> Result<(), SnapshotError> {
        self.write(&value.to_le_bytes())
    }

    /// Writes 8 bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn i64(&mut self, value: i64) -> Result<(), SnapshotError> {
        self.write(&value.to_le_bytes())
    }

    /// Writes 16 bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn u128(&mut self, value: u128) -> Result<(), SnapshotError> {
        self.write(&value.to_le_bytes())
    }

    /// Writes bytes with their number before them, as 8 bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.u64(bytes.len() as u64)?;
        self.write(bytes)
    }

    /// Ends the section.
    ///
    /// # Errors
    /// When there is none.
    pub fn end_section(&mut self) -> Result<(), SnapshotError> {
        if self.buffer.len() > self.whole {
            self.seal_chunk();
        }
        let open = self.open.take().ok_or(SnapshotError::NoSection)?;
        let section = SectionSummary {
            name: open.name,
            length: open.length,
            hash: open.hash.digest(),
        };
        self.record(RecordKind::SectionEnds, &section_end(&section));
        self.sections.push(section);
        Ok(())
    }

    /// Completes the stream.
    ///
    /// # Errors
    /// When a section has not ended.
    pub fn finish(&mut self) -> Result<SnapshotSummary, SnapshotError> {
        self.check_between()?;
        for index in 0..self.sections.len() {
            let listed = listed(&self.sections[index]);
            self.record(RecordKind::Listed, &listed);
        }
        let hash = self.stream.digest();
        let end = stream_end(self.sections.len(), self.length, hash);
        self.record(RecordKind::End, &end);
        self.is_complete = true;
        Ok(SnapshotSummary {
            length: self.length,
            hash,
            sections: self.sections.clone(),
        })
    }

    /// Bytes of the stream that the driver may take: whole records.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.taken..self.whole]
    }

    /// The driver has taken the first `length` bytes of those pending.
    ///
    /// # Panics
    /// When there are not as many.
    pub fn consume(&mut self, length: usize) {
        self.taken += length;
        assert!(self.taken <= self.whole, "{length} bytes taken of fewer");
        // Moves what is left only where that is no more than what was taken.
        if self.taken >= self.buffer.len() - self.taken {
            self.buffer.drain(..self.taken);
            self.whole -= self.taken;
            self.taken = 0;
        }
    }

    /// The first of the records that are pending, and no bytes where none is: what
    /// [`append_record`](Self::append_record) of another writer takes.
    ///
    /// # Panics
    /// When the head of the stream was not taken.
    #[must_use]
    pub fn first_record(&self) -> &[u8] {
        let pending = self.pending();
        let Some(header) = pending.first_chunk() else {
            return pending;
        };
        let header = RecordHeader::decode(header).expect("a record begins here");
        &pending[..RECORD_HEADER_LENGTH + header.length]
    }

    /// Writes what another writer wrote, of which this is the next record: one of a section, which
    /// was handed from one thread to another.
    ///
    /// # Errors
    /// As the call that wrote it.
    ///
    /// # Panics
    /// When it is no such record.
    pub fn append_record(&mut self, record: &[u8]) -> Result<(), SnapshotError> {
        let (header, payload) = record.split_first_chunk().expect("a record has a header");
        let header = RecordHeader::decode(header).expect("a record begins here");
        match header.kind {
            RecordKind::SectionBegins => {
                let name = SectionName::from_bytes(payload);
                self.begin_named(name, "")
            }
            RecordKind::Chunk => self.write(payload),
            RecordKind::SectionEnds => self.end_section(),
            RecordKind::Listed | RecordKind::End => panic!("{:?} is of no section", header.kind),
        }
    }

    /// Bytes of the stream so far, with those of a chunk that is being filled and not pending yet.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length + (self.buffer.len() - self.whole) as u64
    }

    fn record(&mut self, kind: RecordKind, payload: &[u8]) {
        let header = RecordHeader::of(kind, payload).encode();
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(payload);
        self.seal();
    }

    /// The chunk that was being filled is whole. Hashed at once, however small the pieces were in
    /// which it was written.
    fn seal_chunk(&mut self) {
        let (header, payload) = self.buffer[self.whole..].split_at_mut(RECORD_HEADER_LENGTH);
        if let Some(open) = &mut self.open {
            open.hash.update(payload);
        }
        let encoded = RecordHeader::of(RecordKind::Chunk, payload).encode();
        header.copy_from_slice(&encoded);
        self.seal();
    }

    /// All that is in the buffer is whole.
    fn seal(&mut self) {
        let new = &self.buffer[self.whole..];
        self.stream.update(new);
        self.length += new.len() as u64;
        self.whole = self.buffer.len();
    }
}
