//! What a stream consists of: its head, and records of five kinds.
//!
//! The head, the same in every format that there will ever be:
//!
//! | offset | size | field of the head |
//! |---|---|---|
//! | 0 | 8 | magic `LSSNAPSH` |
//! | 8 | 4 | format, 1 |
//! | 12 | 4 | crc32c of bytes 0..12 |
//!
//! Then one record behind the other, each with a header:
//!
//! | offset | size | field of a record |
//! |---|---|---|
//! | 0 | 1 | kind: 1 section begins, 2 chunk, 3 section ends, 4 section of the list, 5 end |
//! | 1 | 3 | zeros |
//! | 4 | 4 | length of what follows, at most 32,768 |
//! | 8 | 4 | crc32c of bytes 0..8 and of what follows |
//! | 12 | length | where a section begins its name, in a chunk bytes of it |
//!
//! | offset | size | field of a section's end |
//! |---|---|---|
//! | 0 | 8 | bytes of the section |
//! | 8 | 16 | their hash |
//!
//! | offset | size | field of a section in the list |
//! |---|---|---|
//! | 0 | 8 | bytes of the section |
//! | 8 | 16 | their hash |
//! | 24 | 48 | its name, then zeros |
//!
//! | offset | size | field of the end |
//! |---|---|---|
//! | 0 | 8 | number of sections |
//! | 8 | 8 | bytes of the stream before this record |
//! | 16 | 16 | their hash |
//!
//! Hashes are XXH3 of 128 bits, without a seed.

use lockstep_transport::codec::{decoded, encoded};

use super::section_name::NAME_LENGTH_MAX;
use super::summary::SectionSummary;

/// Begins each snapshot.
const MAGIC: [u8; 8] = *b"LSSNAPSH";

/// The newest format, which is written.
pub const FORMAT: u32 = 1;

/// Bytes of the head.
pub const HEAD_LENGTH: usize = 16;

/// Bytes of a record's header.
pub const RECORD_HEADER_LENGTH: usize = 12;

/// Bytes of a section that one record holds at most: as much is lost to a reader who finds one
/// that is damaged, and read at a time.
pub const CHUNK_LENGTH_MAX: usize = 32 * 1024;

/// Bytes of a record at most.
pub const RECORD_LENGTH_MAX: usize = RECORD_HEADER_LENGTH + CHUNK_LENGTH_MAX;

/// Sections of a snapshot at most: a reader remembers all of them.
pub const SECTIONS_MAX: usize = 256;

/// Bytes of what follows the header where a section ends.
const SECTION_END_LENGTH: usize = 24;

/// Bytes of what follows the header for a section of the list.
pub const LISTED_LENGTH: usize = SECTION_END_LENGTH + NAME_LENGTH_MAX;

/// Bytes of what follows the header where the stream ends.
pub const END_LENGTH: usize = 32;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    SectionBegins = 1,
    Chunk = 2,
    SectionEnds = 3,
    Listed = 4,
    End = 5,
}

impl RecordKind {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::SectionBegins,
            2 => Self::Chunk,
            3 => Self::SectionEnds,
            4 => Self::Listed,
            5 => Self::End,
            _ => return None,
        })
    }
}

/// The first bytes of a stream.
pub fn head() -> [u8; HEAD_LENGTH] {
    let crc = crc32c::crc32c(&start_of_head());
    encoded(|fields| {
        fields.bytes(&start_of_head()).u32(crc);
    })
}

fn start_of_head() -> [u8; HEAD_LENGTH - 4] {
    encoded(|fields| {
        fields.bytes(&MAGIC).u32(FORMAT);
    })
}

/// The format that a head names; `None` where it is none.
pub fn format_of(head: &[u8; HEAD_LENGTH]) -> Option<u32> {
    decoded(head, |fields| {
        let magic = *fields.array::<8>()?;
        let format = fields.u32()?;
        let is_whole = fields.u32()? == crc32c::crc32c(&head[..HEAD_LENGTH - 4]);
        (magic == MAGIC && is_whole && format > 0).then_some(format)
    })
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    pub kind: RecordKind,
    /// Bytes that follow.
    pub length: usize,
    crc: u32,
}

impl RecordHeader {
    /// The header of a record of this kind that says this.
    pub fn of(kind: RecordKind, payload: &[u8]) -> Self {
        let mut header = Self {
            kind,
            length: payload.len(),
            crc: 0,
        };
        header.crc = header.crc_with(payload);
        header
    }

    /// Whether this follows the header.
    pub fn is_followed_by(&self, payload: &[u8]) -> bool {
        payload.len() == self.length && self.crc_with(payload) == self.crc
    }

    fn crc_with(&self, payload: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.encode()[..8]), payload)
    }

    pub fn encode(&self) -> [u8; RECORD_HEADER_LENGTH] {
        encoded(|fields| {
            fields.u8(self.kind as u8).zeros(3);
            fields.u32(self.length as u32).u32(self.crc);
        })
    }

    /// The header; `None` for bytes that [`encode`](Self::encode) does not write.
    pub fn decode(bytes: &[u8; RECORD_HEADER_LENGTH]) -> Option<Self> {
        let header = decoded(bytes, |fields| {
            let kind = RecordKind::from_number(fields.u8()?)?;
            fields.skip(3)?;
            Some(Self {
                kind,
                length: fields.u32()? as usize,
                crc: fields.u32()?,
            })
        })?;
        (header.encode() == *bytes && header.length <= CHUNK_LENGTH_MAX).then_some(header)
    }
}

/// What follows the header where a section ends.
pub fn section_end(section: &SectionSummary) -> [u8; SECTION_END_LENGTH] {
    encoded(|fields| {
        fields.u64(section.length).u128(section.hash);
    })
}

/// What follows the header where the stream ends.
pub fn stream_end(sections: usize, length: u64, hash: u128) -> [u8; END_LENGTH] {
    encoded(|fields| {
        fields.u64(sections as u64).u64(length).u128(hash);
    })
}

/// What follows the header for a section of the list.
pub fn listed(section: &SectionSummary) -> [u8; LISTED_LENGTH] {
    let name = section.name.as_str().as_bytes();
    encoded(|fields| {
        fields.bytes(&section_end(section));
        fields.bytes(name).zeros(NAME_LENGTH_MAX - name.len());
    })
}
