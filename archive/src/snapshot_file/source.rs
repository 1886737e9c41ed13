//! A snapshot's file as a start reads it: cold, piece by piece, wherever the caller wants to go on.

use crate::disk::{BLOCK_LENGTH, ColdFiles, DiskError, FileId, SegmentName};

/// A snapshot of known length in its file. See the module.
#[derive(Debug)]
pub struct SnapshotFileSource<'a, F> {
    files: &'a mut F,
    file: FileId,
    length: u64,
}

impl<'a, F: ColdFiles> SnapshotFileSource<'a, F> {
    /// Cold: opens the file of this name, of whose bytes the first `length` are the snapshot.
    ///
    /// # Errors
    /// The disk's; [`DiskError::Missing`] also means that there is no such snapshot. A file that is
    /// shorter is an error too.
    pub fn open(files: &'a mut F, name: SegmentName, length: u64) -> Result<Self, DiskError> {
        let file = files.open(&name.file_name())?;
        let found = files.length(file)?;
        if found < file_length(length) {
            return Err(DiskError::Io {
                operation: "opening",
                name: name.file_name(),
                detail: format!("{found} bytes, for a snapshot of {length}"),
            });
        }
        Ok(Self {
            files,
            file,
            length,
        })
    }

    /// Bytes of the snapshot.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Cold: fills `target` from `offset` as far as the snapshot reaches, and says how far that
    /// is: 0 at its end.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(&mut self, offset: u64, target: &mut [u8]) -> Result<usize, DiskError> {
        let left = self.length.saturating_sub(offset);
        let length = left.min(target.len() as u64) as usize;
        if length > 0 {
            self.files.read(self.file, offset, &mut target[..length])?;
        }
        Ok(length)
    }
}

/// Bytes of the file of a snapshot of `length` bytes: whole blocks.
#[must_use]
pub const fn file_length(length: u64) -> u64 {
    const BLOCK: u64 = BLOCK_LENGTH as u64;
    length.div_ceil(BLOCK).saturating_mul(BLOCK)
}
