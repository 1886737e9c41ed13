//! The calls that storage makes of a file system while it is cold, as a trait: production has
//! the operating system's, tests make any one of them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// See the module. `path` names what the call is about.
pub(super) trait FileCalls: core::fmt::Debug + Send + Sync {
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        options.open(path)
    }

    fn read(&self, file: &File, _path: &Path, target: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(target, offset)
    }

    fn write(&self, file: &File, _path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    /// One direct write as the log makes them: `bytes` is aligned, and durable on return.
    fn write_synced(&self, file: &File, _path: &Path, bytes: &[u8]) -> io::Result<()> {
        let vector = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let (descriptor, flags) = (file.as_raw_fd(), libc::RWF_DSYNC);
        // SAFETY: the descriptor is open, and `bytes` is live and only read.
        let written = unsafe { libc::pwritev2(descriptor, &raw const vector, 1, 0, flags) };
        match usize::try_from(written) {
            Ok(length) if length == bytes.len() => Ok(()),
            Ok(_) => Err(io::Error::from(io::ErrorKind::WriteZero)),
            // Negative: the error is in errno, not in the number.
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    fn sync(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_all()
    }

    /// Drops what the page cache holds of a file that has just been synced: what is read next
    /// comes from the device. After a sync that failed, pages may stay there that the device
    /// never got, marked clean, and a later sync reports nothing (D4).
    fn forget_cached(&self, file: &File, _path: &Path) -> io::Result<()> {
        // SAFETY: the descriptor is open; the call takes numbers only.
        let result =
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        match result {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// The operating system's.
#[derive(Debug)]
pub(super) struct SystemCalls;

impl FileCalls for SystemCalls {}
