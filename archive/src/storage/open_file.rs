//! One file of a node's directory: how it is made, opened, and never trusted again.
//!
//! Made under a temporary name, written with zeros, synced, renamed, and the directory synced:
//! a crash on the way leaves no file of the final name (`rules.md` D12). Open twice:
//! direct (synced writes from the log's pages) and buffered. What is opened is synced first and
//! read from the device, not from what the page cache makes of an earlier failure. A write or
//! sync that fails is final for the file (D4).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lockstep_transport::concurrent::AtomicBuffer;

use super::calls::FileCalls;
use super::error::{disk_error, sync_error};
use crate::disk::{BLOCK_LENGTH, DiskError, SegmentName};

/// Ending of files that are being made.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Zeros written at once when a file is made: large enough for the device's full bandwidth,
/// small enough that a log write waits behind it for less than a millisecond (`performance.md` 3).
const ZERO_LENGTH: usize = 1 << 20;

/// Where files are made and opened, and how.
#[derive(Clone, Debug)]
pub(super) struct FileOpener {
    pub(super) path: PathBuf,
    /// Whether the file system takes direct writes of one block.
    pub(super) is_direct: bool,
    pub(super) calls: Arc<dyn FileCalls>,
    /// Says that a process uses the directory: until the last of its files is closed.
    pub(super) lock: Arc<File>,
}

/// A file, open both ways.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) name: String,
    /// What the name says, where it is a segment's.
    pub(super) segment: Option<SegmentName>,
    path: PathBuf,
    calls: Arc<dyn FileCalls>,
    /// Nobody else has the directory while something is under way to this file.
    _lock: Arc<File>,
    pub(super) buffered: File,
    /// Absent where the file system takes no direct writes.
    pub(super) direct: Option<File>,
    /// The first write or sync that failed.
    failed: OnceLock<DiskError>,
}

impl FileOpener {
    fn descriptors(&self, path: &Path) -> io::Result<(File, Option<File>)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let buffered = self.calls.open(path, &options)?;
        if !self.is_direct {
            return Ok((buffered, None));
        }
        options.custom_flags(libc::O_DIRECT);
        match self.calls.open(path, &options) {
            Ok(direct) => Ok((buffered, Some(direct))),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok((buffered, None)),
            Err(error) => Err(error),
        }
    }

    fn over(&self, name: &str) -> Result<OpenFile, DiskError> {
        let path = self.path.join(name);
        let (buffered, direct) = self
            .descriptors(&path)
            .map_err(|error| disk_error("opening", name, 0, &error))?;
        Ok(OpenFile {
            name: name.to_owned(),
            segment: SegmentName::parse(name),
            path,
            calls: Arc::clone(&self.calls),
            _lock: Arc::clone(&self.lock),
            buffered,
            direct,
            failed: OnceLock::new(),
        })
    }

    /// Opens a file so that what is read of it is what the device holds.
    pub(super) fn open(&self, name: &str) -> Result<OpenFile, DiskError> {
        let file = self.over(name)?;
        file.sync()?;
        self.calls
            .forget_cached(&file.buffered, &file.path)
            .map_err(|error| disk_error("dropping the cached pages", name, 0, &error))?;
        Ok(file)
    }

    /// Makes a durable file of `length` zeros, or opens the one that exists: whoever made that
    /// may have failed to make its name durable.
    pub(super) fn create(&self, name: &str, length: u64) -> Result<OpenFile, DiskError> {
        match self.open(name) {
            Err(DiskError::Missing { .. }) => {}
            Err(error) => return Err(error),
            Ok(file) => {
                self.sync_names(name)?;
                return Ok(file);
            }
        }
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        let made = self.write_zeros(&temporary, name, length).and_then(|()| {
            self.calls
                .rename(&self.path.join(&temporary), &self.path.join(name))
                .map_err(|error| disk_error("renaming", name, length, &error))
        });
        if let Err(error) = made {
            // Best effort: opening the directory again removes what is left.
            let _ = self.calls.remove(&self.path.join(&temporary));
            return Err(error);
        }
        self.sync_names(name)?;
        self.over(name)
    }

    /// Makes a durable file `name` of `length` zeros in the room of the file `from`, which is no
    /// more then, whatever becomes of this. First it loses its name, durably: what has lost its
    /// bytes is never found under it.
    pub(super) fn recycle(
        &self,
        from: &str,
        name: &str,
        length: u64,
    ) -> Result<OpenFile, DiskError> {
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        let path = self.path.join(&temporary);
        match self.calls.rename(&self.path.join(from), &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.create(name, length);
            }
            Err(error) => return Err(disk_error("renaming", from, 0, &error)),
            Ok(()) => {}
        }
        let made = self.sync_names(name).and_then(|()| {
            self.overwrite_with_zeros(&path, name, length)?;
            self.calls
                .rename(&path, &self.path.join(name))
                .map_err(|error| disk_error("renaming", name, length, &error))
        });
        if let Err(error) = made {
            // Best effort: opening the directory again removes what is left.
            let _ = self.calls.remove(&path);
            return Err(error);
        }
        self.sync_names(name)?;
        self.over(name)
    }

    /// Removes a file durably, if there is one of this name.
    pub(super) fn remove(&self, name: &str) -> Result<(), DiskError> {
        match self.calls.remove(&self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(disk_error("removal", name, 0, &error))
            }
            _ => self.sync_names(name),
        }
    }

    /// Makes the names in the directory durable; `name` is the one it is done for.
    pub(super) fn sync_names(&self, name: &str) -> Result<(), DiskError> {
        let mut options = OpenOptions::new();
        options.read(true);
        self.calls
            .open(&self.path, &options)
            .and_then(|directory| self.calls.sync(&directory, &self.path))
            .map_err(|error| sync_error("sync of the directory", name, &error))
    }

    /// Makes a file called `temporary`, to be called `name`, of `length` zeros.
    fn write_zeros(&self, temporary: &str, name: &str, length: u64) -> Result<(), DiskError> {
        let failed = |error: io::Error| disk_error("creation", name, length, &error);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let path = self.path.join(temporary);
        drop(self.calls.open(&path, &options).map_err(failed)?);
        self.overwrite_with_zeros(&path, name, length)
    }

    /// Writes the file at `path`, to be called `name`, with `length` zeros, and syncs it.
    fn overwrite_with_zeros(&self, path: &Path, name: &str, length: u64) -> Result<(), DiskError> {
        let failed = |error: io::Error| disk_error("creation", name, length, &error);
        let (buffered, direct) = self.descriptors(path).map_err(failed)?;
        let zeros = AtomicBuffer::allocate(ZERO_LENGTH).map_err(failed)?;
        let mut offset = 0;
        while offset < length {
            let chunk = (length - offset).min(ZERO_LENGTH as u64) as usize;
            let bytes = zeros.bytes(0, chunk);
            // Direct: the zeros do not push anything out of the page cache.
            let file = match &direct {
                Some(direct) if chunk.is_multiple_of(BLOCK_LENGTH) => direct,
                _ => &buffered,
            };
            self.calls
                .write(file, path, bytes, offset)
                .map_err(failed)?;
            offset += chunk as u64;
        }
        // Space that is missing may be found out here only; the file is made anew then.
        self.calls
            .sync(&buffered, path)
            .map_err(|error| disk_error("sync", name, length, &error))
    }
}

impl OpenFile {
    /// What makes this file useless for this process, if anything does.
    pub(super) fn check(&self) -> Result<(), DiskError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn fail(&self, error: DiskError) -> DiskError {
        self.failed.get_or_init(|| error).clone()
    }

    /// Makes durable what the file holds.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        self.check()?;
        self.calls
            .sync(&self.buffered, &self.path)
            .map_err(|error| self.fail(sync_error("sync", &self.name, &error)))
    }

    pub(super) fn read(&self, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        self.check()?;
        self.calls
            .read(&self.buffered, &self.path, target, offset)
            .map_err(|error| disk_error("read", &self.name, 0, &error))
    }

    /// Writes, durable on return.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.check()?;
        self.calls
            .write(&self.buffered, &self.path, bytes, offset)
            .map_err(|error| {
                self.fail(disk_error("write", &self.name, bytes.len() as u64, &error))
            })?;
        self.sync()
    }
}
