//! Why storage is refused or fails: each says what, where and what to do. None advises another
//! directory as a way out: a member that ran and starts on a new one has lost its voice, and all of
//! them together would form another cluster.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::DiskError;

/// Why a directory cannot be used for storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is something else of that name.
    #[error("{} is not a directory: correct the path of the data directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// No permission, or a file system mounted read-only.
    #[error(
        "the data directory {} cannot be written ({detail}): mount it writable and give this user \
         write permission; another directory is only for a member that never ran", path.display()
    )]
    ReadOnly {
        /// The path.
        path: PathBuf,
        /// The operating system's words.
        detail: String,
    },
    /// No space left.
    #[error(
        "no space left for the data directory {}: free some on its file system; another directory \
         is only for a member that never ran", path.display()
    )]
    Full {
        /// The path.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error(
        "the data directory {} is in use by process {holder}: stop that process, or give this \
         node a directory of its own", path.display()
    )]
    InUse {
        /// The path.
        path: PathBuf,
        /// Process id of the holder, as it wrote it.
        holder: String,
    },
    /// io_uring was demanded and is refused.
    #[error("io_uring is refused by this host ({detail}): use io = auto or io = syscall")]
    UringRefused {
        /// The operating system's words.
        detail: String,
    },
    /// The operating system has no thread to give.
    #[error("no thread for the disk: {detail}; raise `ulimit -u`")]
    NoThread {
        /// The operating system's words.
        detail: String,
    },
    /// A call failed on what is there, and nobody knows now what the device holds of it.
    #[error(
        "{operation} of {} failed: {detail}; look at the device's health (kernel log) before \
         this member is started again", path.display()
    )]
    Failed {
        /// Which call.
        operation: &'static str,
        /// Of what.
        path: PathBuf,
        /// The operating system's words.
        detail: String,
    },
    /// Anything else the operating system says.
    #[error(
        "the data directory {} cannot be used: {detail}; correct that, for another directory is \
         only for a member that never ran", path.display()
    )]
    Other {
        /// The path.
        path: PathBuf,
        /// The operating system's words.
        detail: String,
    },
}

impl StorageError {
    pub(super) fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        match error.raw_os_error() {
            Some(libc::ENOTDIR | libc::EEXIST) => Self::NotADirectory { path },
            Some(libc::EROFS | libc::EACCES | libc::EPERM) => Self::ReadOnly {
                path,
                detail: error.to_string(),
            },
            Some(libc::ENOSPC | libc::EDQUOT) => Self::Full { path },
            _ => Self::Other {
                path,
                detail: error.to_string(),
            },
        }
    }

    /// A write or sync that failed, unless it is space that is missing.
    pub(super) fn from_write(operation: &'static str, path: &Path, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT | libc::EROFS | libc::EACCES) => {
                Self::from_io(path, error)
            }
            _ => Self::Failed {
                operation,
                path: path.to_path_buf(),
                detail: error.to_string(),
            },
        }
    }
}

/// The port's error for an operating system's error.
pub(super) fn disk_error(
    operation: &'static str,
    name: &str,
    needed: u64,
    error: &io::Error,
) -> DiskError {
    let name = name.to_owned();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => DiskError::Full { name, needed },
        Some(libc::ENOENT) => DiskError::Missing { name },
        _ => DiskError::Io {
            operation,
            name,
            detail: error.to_string(),
        },
    }
}

/// The port's error for a sync that failed. Never "full": whatever the reason, nobody knows
/// what is on the device now, and trying again may be told a success that is none.
pub(super) fn sync_error(operation: &'static str, name: &str, error: &io::Error) -> DiskError {
    DiskError::Io {
        operation,
        name: name.to_owned(),
        detail: error.to_string(),
    }
}
