//! What a service sees of a snapshot that is being loaded: its own sections.

use super::error::SnapshotError;
use super::reader::SnapshotReader;
use super::section_name::{SERVICE_PREFIX, SectionName};

/// Gives back what a service wrote to a [`ServiceSnapshot`](super::ServiceSnapshot): the sections
/// in their order, and what they hold in the order in which it was written.
pub struct ServiceSnapshotReader<'r, 'a> {
    reader: &'r mut SnapshotReader<'a>,
}

impl<'r, 'a> ServiceSnapshotReader<'r, 'a> {
    /// Of the sections that `reader` comes to next.
    pub const fn new(reader: &'r mut SnapshotReader<'a>) -> Self {
        Self { reader }
    }

    /// The next section is to be that of this name.
    ///
    /// # Errors
    /// When it is not, when that is no name, when a section was not ended, or the snapshot is not
    /// as it was written.
    pub fn expect_section(&mut self, name: &str) -> Result<(), SnapshotError> {
        let whole = SectionName::with_prefix(SERVICE_PREFIX, name);
        self.reader.expect_named(whole, name)
    }

    /// The section is read.
    ///
    /// # Errors
    /// When it goes on, or as [`has_more`](Self::has_more).
    pub fn end_section(&mut self) -> Result<(), SnapshotError> {
        self.reader.end_section()
    }

    /// Whether the section goes on.
    ///
    /// # Errors
    /// When there is none, or the snapshot is not as it was written.
    pub fn has_more(&mut self) -> Result<bool, SnapshotError> {
        self.reader.has_more()
    }

    /// Fills `buffer` with the next bytes of the section.
    ///
    /// # Errors
    /// When it has not as many, or as [`has_more`](Self::has_more).
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        self.reader.read_exact(buffer)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.reader.u8()
    }

    /// Reads 4 bytes, little-endian, as all numbers.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.reader.u32()
    }

    /// Reads 8 bytes.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.reader.u64()
    }

    /// Reads 8 bytes.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn i64(&mut self) -> Result<i64, SnapshotError> {
        self.reader.i64()
    }

    /// Reads 16 bytes.
    ///
    /// # Errors
    /// As [`read_exact`](Self::read_exact).
    pub fn u128(&mut self) -> Result<u128, SnapshotError> {
        self.reader.u128()
    }

    /// Reads bytes with their number before them, `limit` at most, and puts them in the place of
    /// what is in `bytes`.
    ///
    /// # Errors
    /// When there are more, or as [`read_exact`](Self::read_exact).
    pub fn bytes(&mut self, limit: usize, bytes: &mut Vec<u8>) -> Result<(), SnapshotError> {
        self.reader.bytes(limit, bytes)
    }

    /// That what was read last cannot be, and why: what a service returns that refuses its state.
    #[must_use]
    pub fn refuse(&self, reason: impl Into<String>) -> SnapshotError {
        self.reader.refuse(reason)
    }
}
