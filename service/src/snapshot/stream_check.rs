//! Looks at a snapshot as it comes by, from its first byte to its last, and keeps nothing of it:
//! for whoever receives one and stores it.

use super::hash::SnapshotHash;
use super::record::{END_LENGTH, RECORD_HEADER_LENGTH, RecordHeader, RecordKind, stream_end};

/// Bytes of the record that ends a stream: the hash is of all before it.
const LAST_LENGTH: usize = RECORD_HEADER_LENGTH + END_LENGTH;

/// See the module. It does not look at what the sections say: a reader does, at a start.
#[derive(Debug)]
pub struct StreamCheck {
    length: u64,
    offset: u64,
    hash: SnapshotHash,
    /// The bytes of the record that ends the stream, as far as they came.
    last: [u8; LAST_LENGTH],
}

impl StreamCheck {
    /// Of a stream of `length` bytes, none of which has come.
    #[must_use]
    pub fn new(length: u64) -> Self {
        Self {
            length,
            offset: 0,
            hash: SnapshotHash::new(),
            last: [0; LAST_LENGTH],
        }
    }

    /// The next bytes of it.
    ///
    /// # Panics
    /// When there are more than the stream has.
    pub fn push(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() as u64 <= self.length - self.offset,
            "a stream of {} bytes has more",
            self.length
        );
        let before_last = self.hashed_length().saturating_sub(self.offset);
        let hashed = before_last.min(bytes.len() as u64) as usize;
        let (hashed, last) = bytes.split_at(hashed);
        self.hash.update(hashed);
        self.offset += hashed.len() as u64;
        if !last.is_empty() {
            let start = (self.offset - self.hashed_length()) as usize;
            self.last[start..start + last.len()].copy_from_slice(last);
            self.offset += last.len() as u64;
        }
    }

    /// The hash of the stream, when all of it has come and its end says the same; `None`
    /// otherwise.
    #[must_use]
    pub fn finish(&self) -> Option<u128> {
        if self.offset < self.length || self.length < LAST_LENGTH as u64 {
            return None;
        }
        let hash = self.hash.digest();
        let (header, payload) = self.last.split_at(RECORD_HEADER_LENGTH);
        let sections = u64::from_le_bytes(*payload.first_chunk()?);
        let expected = stream_end(sections as usize, self.hashed_length(), hash);
        let is_end =
            payload == expected && header == RecordHeader::of(RecordKind::End, &expected).encode();
        is_end.then_some(hash)
    }

    const fn hashed_length(&self) -> u64 {
        self.length.saturating_sub(LAST_LENGTH as u64)
    }
}
