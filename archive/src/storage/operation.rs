//! One read or write on its way: which descriptor, which flags, how much is left.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use lockstep_transport::concurrent::KernelBlock;

use super::directory::{NodeDirectory, OpenFile, disk_error};
use crate::disk::{BLOCK_LENGTH, Completion, DiskError, Durability, FileId, Token};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    Read,
    Write(Durability),
}

/// Keeps file and memory alive until the kernel is done with them.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) token: Token,
    file_id: FileId,
    file: Arc<OpenFile>,
    pub(super) transfer: Transfer,
    offset: u64,
    block: KernelBlock,
    done: usize,
    flushes_each: bool,
}

/// What to do after a system call's result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Some bytes are left: submit again.
    Again,
    /// Finished, one way or the other.
    Finished(Completion),
}

impl Operation {
    pub(super) fn new(
        directory: &NodeDirectory,
        token: Token,
        file_id: FileId,
        offset: u64,
        block: KernelBlock,
        transfer: Transfer,
    ) -> Self {
        Self {
            token,
            file_id,
            file: Arc::clone(directory.file(file_id)),
            transfer,
            offset,
            block,
            done: 0,
            flushes_each: false,
        }
    }

    /// Syncs even `Unflushed` writes by themselves: for devices whose synced writes do not
    /// flush what was written before.
    pub(super) fn flush_each(mut self) -> Self {
        self.flushes_each = true;
        self
    }

    /// The descriptor: direct for aligned writes past the page cache, else buffered.
    pub(super) fn descriptor(&self) -> RawFd {
        let is_aligned = (self.next_offset() as usize | self.left()).is_multiple_of(BLOCK_LENGTH);
        match (&self.file.direct, self.transfer) {
            (Some(direct), Transfer::Write(Durability::Synced | Durability::Unflushed))
                if is_aligned =>
            {
                direct.as_raw_fd()
            }
            _ => self.file.buffered.as_raw_fd(),
        }
    }

    /// RWF flags of the next system call.
    pub(super) fn flags(&self) -> i32 {
        let is_direct = self.descriptor() != self.file.buffered.as_raw_fd();
        match self.transfer {
            Transfer::Write(Durability::Synced) => libc::RWF_DSYNC,
            // In the page cache nothing flushes it later: it has to sync by itself.
            Transfer::Write(Durability::Unflushed) if self.flushes_each || !is_direct => {
                libc::RWF_DSYNC
            }
            _ => 0,
        }
    }

    pub(super) fn next_pointer(&self) -> *mut u8 {
        self.block.as_ptr().wrapping_add(self.done)
    }

    pub(super) const fn next_offset(&self) -> u64 {
        self.offset + self.done as u64
    }

    pub(super) fn left(&self) -> usize {
        self.block.length() - self.done
    }

    /// Takes a system call's result: bytes moved, or a negative error number.
    pub(super) fn on_result(&mut self, result: i64) -> Progress {
        const INTERRUPTED: i64 = -(libc::EINTR as i64);
        const TRY_AGAIN: i64 = -(libc::EAGAIN as i64);
        match result {
            INTERRUPTED | TRY_AGAIN => Progress::Again,
            1.. => {
                self.done += result as usize;
                if self.left() == 0 {
                    self.finished(Ok(self.file_id))
                } else {
                    Progress::Again
                }
            }
            0 => {
                let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                self.finished(Err(self.error(&error)))
            }
            _ => {
                let error = std::io::Error::from_raw_os_error(-result as i32);
                self.finished(Err(self.error(&error)))
            }
        }
    }

    /// Carries the operation out on this thread, blocking.
    pub(super) fn run(mut self) -> Completion {
        loop {
            let result = self.call();
            if let Progress::Finished(completion) = self.on_result(result) {
                return completion;
            }
        }
    }

    fn call(&self) -> i64 {
        let vector = libc::iovec {
            iov_base: self.next_pointer().cast(),
            iov_len: self.left(),
        };
        let offset = self.next_offset().cast_signed();
        let (descriptor, flags) = (self.descriptor(), self.flags());
        let result = match self.transfer {
            // SAFETY: the operation keeps file and memory alive; the memory is `left` long.
            Transfer::Read => unsafe {
                libc::preadv2(descriptor, &raw const vector, 1, offset, flags)
            },
            // SAFETY: as above.
            Transfer::Write(_) => unsafe {
                libc::pwritev2(descriptor, &raw const vector, 1, offset, flags)
            },
        };
        if result < 0 {
            let error = std::io::Error::last_os_error();
            -i64::from(error.raw_os_error().unwrap_or(libc::EIO))
        } else {
            result as i64
        }
    }

    fn error(&self, error: &std::io::Error) -> DiskError {
        let operation = match self.transfer {
            Transfer::Read => "read",
            Transfer::Write(_) => "write",
        };
        disk_error(operation, &self.file.name, self.left() as u64, error)
    }

    fn finished(&self, result: Result<FileId, DiskError>) -> Progress {
        Progress::Finished(Completion {
            token: self.token,
            result,
        })
    }
}
