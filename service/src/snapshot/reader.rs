//! Reads the stream of a snapshot, and checks all of it on the way: each chunk before anything of
//! it is handed out, each section at its end, and everything at the end of the stream.

use super::error::{Place, SnapshotError};
use super::hash::SnapshotHash;
use super::record::{
    CHUNK_LENGTH_MAX, FORMAT, HEAD_LENGTH, RECORD_HEADER_LENGTH, RecordHeader, RecordKind,
    SECTIONS_MAX, format_of, listed, section_end, stream_end,
};
use super::section_name::SectionName;
use super::source::SnapshotSource;
use super::summary::{SectionSummary, SnapshotSummary};

/// See the module, and [`SnapshotWriter`](super::SnapshotWriter) for an example. It holds one chunk
/// at a time. After an error nothing more can be read.
pub struct SnapshotReader<'a> {
    source: &'a mut dyn SnapshotSource,
    /// Bytes of the stream that were taken from the source, and their hash.
    offset: u64,
    stream: SnapshotHash,
    /// What the record taken last says, and how much of it was handed out.
    payload: Vec<u8>,
    read: usize,
    open: Option<OpenSection>,
    sections: Vec<SectionSummary>,
    /// Hash of the stream before its end, once that was taken; the second, once it was found right.
    hash_before_end: u128,
    hash: Option<u128>,
}

/// The section that is being read.
struct OpenSection {
    name: SectionName,
    length: u64,
    hash: SnapshotHash,
    /// Its end was taken from the source.
    has_ended: bool,
}

/// Reads a whole snapshot and checks everything that can be checked without knowing what it is of.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(source: &mut dyn SnapshotSource) -> Result<SnapshotSummary, SnapshotError> {
    let mut reader = SnapshotReader::open(source)?;
    while reader.next_section()?.is_some() {
        reader.skip_section()?;
    }
    reader.finish()
}

impl<'a> SnapshotReader<'a> {
    /// Begins with the snapshot that `source` has.
    ///
    /// # Errors
    /// When it is none, or one of a newer version.
    pub fn open(source: &'a mut dyn SnapshotSource) -> Result<Self, SnapshotError> {
        let mut reader = Self {
            source,
            offset: 0,
            stream: SnapshotHash::new(),
            payload: Vec::with_capacity(CHUNK_LENGTH_MAX),
            read: 0,
            open: None,
            sections: Vec::with_capacity(SECTIONS_MAX),
            hash_before_end: 0,
            hash: None,
        };
        let mut head = [0; HEAD_LENGTH];
        reader.take(reader.place(), &mut head)?;
        let found = format_of(&head).ok_or(SnapshotError::NoSnapshot)?;
        if found > FORMAT {
            let known = FORMAT;
            return Err(SnapshotError::NewerFormat { found, known });
        }
        reader.stream.update(&head);
        Ok(reader)
    }

    /// The next section, which is to be read now; `None` when there is none any more, and all is
    /// whole.
    ///
    /// # Errors
    /// When a section has not ended, or the snapshot is not as it was written.
    pub fn next_section(&mut self) -> Result<Option<SectionName>, SnapshotError> {
        self.check_no_section()?;
        if self.hash.is_some() {
            return Ok(None);
        }
        let place = self.place();
        let kind = self.next_record()?;
        if kind != RecordKind::SectionBegins {
            self.read_list(kind)?;
            return Ok(None);
        }
        let name = SectionName::from_bytes(&self.payload);
        let name = name.ok_or_else(|| damaged(place, "a section has no name"))?;
        if self.sections.iter().any(|section| section.name == name) {
            return Err(damaged(place, "two sections have the same name"));
        }
        if self.sections.len() == SECTIONS_MAX {
            return Err(damaged(place, "it has too many sections"));
        }
        self.open = Some(OpenSection {
            name,
            length: 0,
            hash: SnapshotHash::new(),
            has_ended: false,
        });
        self.read = self.payload.len();
        Ok(Some(name))
    }

    /// The next section is to be that of this name.
    ///
    /// # Errors
    /// When it is not, when that is no name, or as [`next_section`](Self::next_section).
    pub fn expect_section(&mut self, name: &str) -> Result<(), SnapshotError> {
        self.expect_named(SectionName::new(name), name)
    }

    /// The next section is to be that of this name, if `text` makes one.
    pub(super) fn expect_named(
        &mut self,
        name: Option<SectionName>,
        text: &str,
    ) -> Result<(), SnapshotError> {
        let expected = name.ok_or_else(|| SnapshotError::bad_name(text))?;
        let place = self.place();
        match self.next_section()? {
            Some(name) if name == expected => Ok(()),
            section => Err(SnapshotError::MissingSection {
                place: Place { section, ..place },
                expected,
            }),
        }
    }

    /// Whether the section goes on.
    ///
    /// # Errors
    /// When there is none, or the snapshot is not as it was written.
    pub fn has_more(&mut self) -> Result<bool, SnapshotError> {
        loop {
            let open = self.open.as_ref().ok_or(SnapshotError::NoSection)?;
            if self.read < self.payload.len() {
                return Ok(true);
            }
            if open.has_ended {
                return Ok(false);
            }
            self.next_chunk()?;
        }
    }

    /// Takes the next record of the section.
    fn next_chunk(&mut self) -> Result<(), SnapshotError> {
        let place = self.place();
        let kind = self.next_record()?;
        let open = self.open.as_mut().ok_or(SnapshotError::NoSection)?;
        match kind {
            RecordKind::Chunk => {
                let is_whole = open.length.is_multiple_of(CHUNK_LENGTH_MAX as u64);
                if self.payload.is_empty() || !is_whole {
                    return Err(damaged(place, "a chunk is too short"));
                }
                open.length += self.payload.len() as u64;
                open.hash.update(&self.payload);
                self.read = 0;
            }
            RecordKind::SectionEnds => {
                let section = SectionSummary {
                    name: open.name,
                    length: open.length,
                    hash: open.hash.digest(),
                };
                if self.payload != section_end(&section) {
                    return Err(damaged(place, "the section is not what its hash says"));
                }
                open.has_ended = true;
                self.sections.push(section);
            }
            _ => return Err(damaged(place, "a section ends without its end")),
        }
        Ok(())
    }

    /// Fills `buffer` with the next bytes of the section.
    ///
    /// # Errors
    /// When it has not as many, or as [`has_more`](Self::has_more).
    pub fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), SnapshotError> {
        while !buffer.is_empty() {
            if !self.has_more()? {
                return Err(SnapshotError::SectionTooShort {
                    place: self.place(),
                });
            }
            let rest = &self.payload[self.read..];
            let length = rest.len().min(buffer.len());
            let (now, later) = buffer.split_at_mut(length);
            now.copy_from_slice(&rest[..length]);
            self.read += length;
            buffer = later;
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.array().map(u8::from_le_bytes)
    }

    /// Reads 4 bytes, little-endian, as all numbers.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads 8 bytes.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads 8 bytes.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn i64(&mut self) -> Result<i64, SnapshotError> {
        self.array().map(i64::from_le_bytes)
    }

    /// Reads 16 bytes.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn u128(&mut self) -> Result<u128, SnapshotError> {
        self.array().map(u128::from_le_bytes)
    }

    /// Reads bytes with their number before them, `limit` at most, and puts them in the place of
    /// what is in `bytes`.
    ///
    /// # Errors
    /// When there are more, or as [`read_exact`](Self::read_exact).
    pub fn bytes(&mut self, limit: usize, bytes: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let length = self.u64()?;
        if length > limit as u64 {
            return Err(self.refuse(format!("{length} bytes where {limit} is the limit")));
        }
        bytes.clear();
        let mut left = length as usize;
        // Piece by piece: a wrong number meets the end of the section before it takes all memory.
        while left > 0 {
            let (from, piece) = (bytes.len(), left.min(CHUNK_LENGTH_MAX));
            bytes.resize(from + piece, 0);
            self.read_exact(&mut bytes[from..])?;
            left -= piece;
        }
        Ok(())
    }

    /// The section is read.
    ///
    /// # Errors
    /// When it goes on, or as [`has_more`](Self::has_more).
    pub fn end_section(&mut self) -> Result<(), SnapshotError> {
        if self.has_more()? {
            return Err(SnapshotError::SectionNotRead {
                place: self.place(),
            });
        }
        self.open = None;
        Ok(())
    }

    /// Passes over the rest of the section.
    ///
    /// # Errors
    /// As [`has_more`](Self::has_more).
    pub fn skip_section(&mut self) -> Result<(), SnapshotError> {
        while self.has_more()? {
            self.read = self.payload.len();
        }
        self.end_section()
    }

    /// Everything is to be read now.
    ///
    /// # Errors
    /// When a section is left, or as [`next_section`](Self::next_section).
    pub fn finish(&mut self) -> Result<SnapshotSummary, SnapshotError> {
        let section = self.next_section()?;
        match self.hash {
            Some(hash) => Ok(SnapshotSummary {
                length: self.offset,
                hash,
                sections: self.sections.clone(),
            }),
            None => Err(SnapshotError::SectionNotRead {
                place: Place {
                    section,
                    ..self.place()
                },
            }),
        }
    }

    /// That what was read last cannot be.
    #[must_use]
    #[cold]
    pub fn refuse(&self, reason: impl Into<String>) -> SnapshotError {
        SnapshotError::Refused {
            place: self.place(),
            reason: reason.into(),
        }
    }

    /// Whether no section has begun that was not read to its end.
    pub(crate) fn check_no_section(&self) -> Result<(), SnapshotError> {
        match &self.open {
            Some(open) => Err(SnapshotError::SectionOpen { name: open.name }),
            None => Ok(()),
        }
    }

    /// What is read next.
    fn place(&self) -> Place {
        let unread = self.payload.len() - self.read;
        Place {
            offset: self.offset - unread as u64,
            section: self.open.as_ref().map(|open| open.name),
        }
    }

    /// Reads the list of sections, of which the first record was taken, and the end behind it.
    fn read_list(&mut self, mut kind: RecordKind) -> Result<(), SnapshotError> {
        for index in 0..self.sections.len() {
            let place = self.place();
            let is_right = self.payload == listed(&self.sections[index]);
            if kind != RecordKind::Listed || !is_right {
                return Err(damaged(place, "the list is not of its sections"));
            }
            kind = self.next_record()?;
        }
        let place = self.place();
        let length = self.offset - (RECORD_HEADER_LENGTH + self.payload.len()) as u64;
        let hash = self.hash_before_end;
        if kind != RecordKind::End || self.payload != stream_end(self.sections.len(), length, hash)
        {
            return Err(damaged(place, "it is not what its hash says"));
        }
        if self.offset < self.source.length() {
            return Err(damaged(self.place(), "something follows its end"));
        }
        self.hash = Some(hash);
        Ok(())
    }

    /// Takes the next record from the source; what it says is not handed out.
    fn next_record(&mut self) -> Result<RecordKind, SnapshotError> {
        let place = self.place();
        let mut encoded = [0; RECORD_HEADER_LENGTH];
        self.take(place, &mut encoded)?;
        let header = RecordHeader::decode(&encoded);
        let header = header.ok_or_else(|| damaged(place, "there is no record"))?;
        let mut payload = core::mem::take(&mut self.payload);
        self.read = 0;
        payload.resize(header.length, 0);
        let taken = self.take(place, &mut payload);
        self.read = payload.len();
        self.payload = payload;
        taken?;
        if !header.is_followed_by(&self.payload) {
            return Err(damaged(place, "its checksum is wrong"));
        }
        if header.kind == RecordKind::End {
            self.hash_before_end = self.stream.digest();
        }
        self.stream.update(&encoded);
        self.stream.update(&self.payload);
        Ok(header.kind)
    }

    /// Takes the next bytes from the source, of what begins at `place`.
    fn take(&mut self, place: Place, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        let left = self.source.length().saturating_sub(self.offset);
        if left < buffer.len() as u64 {
            return Err(SnapshotError::CutShort { place });
        }
        let read = self.source.read(self.offset, buffer);
        read.map_err(|reason| SnapshotError::Unreadable { place, reason })?;
        self.offset += buffer.len() as u64;
        Ok(())
    }
}

#[cold]
const fn damaged(place: Place, what: &'static str) -> SnapshotError {
    SnapshotError::Damaged { place, what }
}
