//! What can be seen of a directory and of a file in it without changing anything: for whoever owns
//! the directory, and for whoever only looks at it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::disk_error;
use crate::disk::{DiskError, FilePlace};

/// Names of the files in the directory, in order.
pub(super) fn list_files(path: &Path) -> Result<Vec<String>, DiskError> {
    let failed = |error: io::Error| disk_error("listing", "the data directory", 0, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.file_type().map_err(failed)?.is_file()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Where an open file lies.
pub(super) fn place_of(file: &File, name: &str) -> Result<FilePlace, DiskError> {
    let failed = |error: io::Error| disk_error("place", name, 0, &error);
    let metadata = file.metadata().map_err(failed)?;
    let birth = metadata.created().ok();
    let since = birth.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(FilePlace {
        inode: metadata.ino(),
        birth_ns: since.map_or(0, |since| since.as_nanos() as u64),
        file_system: metadata.dev(),
    })
}

/// Bytes that may still be written in the directory.
///
/// # Errors
/// The disk's.
pub fn free_bytes(path: &Path) -> Result<u64, DiskError> {
    let failed = || {
        let error = io::Error::last_os_error();
        disk_error("statvfs", "the data directory", 0, &error)
    };
    let directory =
        File::open(path).map_err(|error| disk_error("opening", "the data directory", 0, &error))?;
    let mut status = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the descriptor is open and `status` has room for one statvfs.
    let outcome = unsafe { libc::fstatvfs(directory.as_raw_fd(), status.as_mut_ptr()) };
    if outcome != 0 {
        return Err(failed());
    }
    // SAFETY: fstatvfs succeeded, so it filled `status`.
    let status = unsafe { status.assume_init() };
    Ok(status.f_bavail * status.f_frsize)
}
