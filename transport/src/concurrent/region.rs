//! A mapping and its lifetime: anonymous or file-backed, page aligned, unmapped on last drop.

use std::io;
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw};

/// A mapped range of memory, shared by everything that holds an `Arc` of it.
#[derive(Debug)]
pub(crate) struct Region {
    map: MmapRaw,
}

impl Region {
    /// Maps `length` zeroed bytes that belong to this process alone.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn anonymous(length: usize) -> io::Result<Self> {
        Ok(Self {
            map: MmapOptions::new().len(length).map_anon()?.into(),
        })
    }

    /// Maps `length` bytes of the file at `path` from `offset` on, a multiple of a page, creating
    /// and growing it as needed.
    ///
    /// # Errors
    /// The operating system's, when the file cannot be opened, grown or mapped.
    #[allow(clippy::disallowed_types, reason = "shell: maps a file")]
    pub fn file(path: &Path, offset: usize, length: usize) -> io::Result<Self> {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let (offset, end) = (offset as u64, (offset + length) as u64);
        if file.metadata()?.len() < end {
            file.set_len(end)?;
        }
        let mut options = MmapOptions::new();
        Ok(Self {
            map: options.offset(offset).len(length).map_raw(&file)?,
        })
    }

    /// First byte of the mapping.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Bytes mapped.
    #[must_use]
    pub fn length(&self) -> usize {
        self.map.len()
    }

    /// Asks the kernel to keep the pages in memory. Returns whether it agreed.
    #[must_use]
    pub fn lock(&self) -> bool {
        self.map.lock().is_ok()
    }
}
