//! [`NodeDisk`]: whichever real disk this host allows, and the sentence about it.

use std::path::Path;

use lockstep_transport::time::Nanos;

use super::directory::{NodeDirectory, StorageError};
use super::thread_disk::ThreadDisk;
use super::uring_disk::UringDisk;
use crate::disk::{Busy, Completion, Disk, DiskError, DiskOp, FileId};

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoPreference {
    /// io_uring if the host allows it, else the writer thread.
    Auto,
    /// io_uring, or an error.
    Uring,
    /// The writer thread.
    Thread,
}

/// The disk of a real node.
#[derive(Debug)]
pub enum NodeDisk {
    /// Through io_uring.
    Uring(Box<UringDisk>),
    /// Through a writer thread.
    Thread(Box<ThreadDisk>),
}

/// Opens (and locks) a node's directory; also gives the sentence for the start line: which
/// way was taken, and what that costs.
///
/// # Errors
/// See [`StorageError`]: each names the thing, the place and the remedy.
pub fn open(path: &Path, preference: IoPreference) -> Result<(NodeDisk, String), StorageError> {
    let directory = NodeDirectory::open(path)?;
    let direct = if directory.takes_direct_writes()? {
        "direct writes with RWF_DSYNC"
    } else {
        "buffered writes with RWF_DSYNC, as the file system knows no direct I/O (each sync \
         copies, and the page cache fills with the log)"
    };
    if preference == IoPreference::Thread {
        let disk = ThreadDisk::start(directory)?;
        let sentence = format!(
            "disk: writer thread, {direct}; costs two thread wake-ups a sync against io_uring"
        );
        return Ok((NodeDisk::Thread(Box::new(disk)), sentence));
    }
    match UringDisk::start(directory) {
        Ok(disk) => {
            let sentence = format!("disk: io_uring, {direct}");
            Ok((NodeDisk::Uring(Box::new(disk)), sentence))
        }
        Err((error, _)) if preference == IoPreference::Uring => Err(error),
        Err((error, directory)) => {
            let disk = ThreadDisk::start(directory)?;
            let sentence =
                format!("disk: writer thread, {direct}; {error}; costs two thread wake-ups a sync");
            Ok((NodeDisk::Thread(Box::new(disk)), sentence))
        }
    }
}

macro_rules! either {
    ($self:ident, $disk:ident => $call:expr) => {
        match $self {
            NodeDisk::Uring($disk) => $call,
            NodeDisk::Thread($disk) => $call,
        }
    };
}

impl NodeDisk {
    /// System calls the caller's thread has made for hot operations so far.
    #[must_use]
    pub fn system_calls(&self) -> u64 {
        either!(self, disk => disk.system_calls())
    }
}

impl Disk for NodeDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        either!(self, disk => disk.list())
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        either!(self, disk => disk.open(name))
    }

    fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        either!(self, disk => disk.create(name, length))
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        either!(self, disk => disk.length(file))
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        either!(self, disk => disk.read(file, offset, target))
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        either!(self, disk => disk.write(file, offset, bytes))
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        either!(self, disk => disk.remove(name))
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        either!(self, disk => disk.free_bytes())
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        either!(self, disk => disk.submit(now, operation))
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        either!(self, disk => disk.poll_completion(now))
    }

    fn flush(&mut self, now: Nanos) {
        either!(self, disk => disk.flush(now));
    }
}
