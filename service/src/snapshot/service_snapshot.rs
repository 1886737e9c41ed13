//! What a service sees of a snapshot that is being written: sections of its own.

use super::error::SnapshotError;
use super::section_name::{SERVICE_PREFIX, SectionName};
use super::writer::SnapshotWriter;

/// Takes a service's state: named sections, each of them bytes in the order in which they are
/// written. A section may be written over several steps.
///
/// The names are the service's own; in the snapshot they have `service/` before them, which leaves
/// 40 characters.
#[derive(Debug)]
pub struct ServiceSnapshot<'a> {
    writer: &'a mut SnapshotWriter,
}

impl<'a> ServiceSnapshot<'a> {
    /// Of a service that writes to `writer`.
    pub const fn new(writer: &'a mut SnapshotWriter) -> Self {
        Self { writer }
    }

    /// Begins the section called `name`.
    ///
    /// # Errors
    /// When it is no name, or that of a section before; when there are too many sections, or one
    /// has not ended.
    pub fn begin_section(&mut self, name: &str) -> Result<(), SnapshotError> {
        let whole = SectionName::with_prefix(SERVICE_PREFIX, name);
        self.writer.begin_named(whole, name)
    }

    /// Ends the section.
    ///
    /// # Errors
    /// When there is none.
    pub fn end_section(&mut self) -> Result<(), SnapshotError> {
        self.writer.end_section()
    }

    /// Writes bytes to the section.
    ///
    /// # Errors
    /// When there is none.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.writer.write(bytes)
    }

    /// Writes one byte.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn u8(&mut self, value: u8) -> Result<(), SnapshotError> {
        self.writer.u8(value)
    }

    /// Writes 4 bytes, little-endian, as all numbers.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn u32(&mut self, value: u32) -> Result<(), SnapshotError> {
        self.writer.u32(value)
    }

    /// Writes 8 bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn u64(&mut self, value: u64) -> Result<(), SnapshotError> {
        self.writer.u64(value)
    }

    /// Writes 8 bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn i64(&mut self, value: i64) -> Result<(), SnapshotError> {
        self.writer.i64(value)
    }

    /// Writes 16 bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn u128(&mut self, value: u128) -> Result<(), SnapshotError> {
        self.writer.u128(value)
    }

    /// Writes bytes with their number before them, as 8 bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.writer.bytes(bytes)
    }
}
