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

    /// Maps the first `length` bytes of the file at `path`, creating and growing it as needed.
    ///
    /// # Errors
    /// The operating system's, when the file cannot be opened, grown or mapped.
    #[allow(clippy::disallowed_types, reason = "shell: maps a file")]
    pub fn file(path: &Path, length: usize) -> io::Result<Self> {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if file.metadata()?.len() < length as u64 {
            file.set_len(length as u64)?;
        }
        Ok(Self {
            map: MmapOptions::new().len(length).map_raw(&file)?,
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
