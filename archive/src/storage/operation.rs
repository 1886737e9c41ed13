//! One read or write on its way: which descriptor, which flags, how much is left.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use lockstep_transport::concurrent::KernelBlock;
use lockstep_transport::time::{Nanos, SECOND};

use super::error::disk_error;
use super::open_file::OpenFile;
use crate::disk::{BLOCK_LENGTH, Completion, DiskError, Durability, FileId, Token};

/// How long the kernel may say "try again" before that is an error: as long as a stalled disk
/// is put up with.
pub(super) const REFUSALS_MAX_NS: Nanos = SECOND;

/// What a system call's result says that may be called again.
pub(super) const INTERRUPTED: i64 = -(libc::EINTR as i64);
pub(super) const TRY_AGAIN: i64 = -(libc::EAGAIN as i64);

/// Pause between two tries on a thread that may wait.
const PAUSE: Duration = Duration::from_millis(1);

/// Tries on a thread that may not wait.
const CACHED_TRIES_MAX: u32 = 8;

/// System calls for one operation that may each leave a part undone: more than a file system
/// that splits at its own blocks or at a signal ever makes of one.
const PARTS_MAX: u32 = 64;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    Read,
    Write(Durability),
}

impl Transfer {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write(_) => "write",
        }
    }
}

/// Keeps file and memory alive until the kernel is done with them.
#[derive(Debug)]
pub struct Operation {
    pub(super) token: Token,
    file_id: FileId,
    file: Arc<OpenFile>,
    pub(super) transfer: Transfer,
    offset: u64,
    block: KernelBlock,
    done: usize,
    parts: u32,
    /// Since when the kernel has answered nothing but "try again".
    refused_since: Option<Nanos>,
    flushes_each: bool,
}

/// What to do after a system call's result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Some bytes were moved and some are left: submit again.
    Again,
    /// Nothing was moved, this time: submit again, but not at once.
    Refused,
    /// Finished, one way or the other.
    Finished(Completion),
}

impl Operation {
    pub(super) fn new(
        (file, file_id): (Arc<OpenFile>, FileId),
        token: Token,
        offset: u64,
        block: KernelBlock,
        transfer: Transfer,
    ) -> Self {
        Self {
            token,
            file_id,
            file,
            transfer,
            offset,
            block,
            done: 0,
            parts: 0,
            refused_since: None,
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

    /// Takes a system call's result at `now`: bytes moved, or a negative error number. What the
    /// kernel puts off again and again ends as an error that says so.
    pub(super) fn on_result(&mut self, now: Nanos, result: i64) -> Progress {
        match result {
            INTERRUPTED | TRY_AGAIN => {
                let since = *self.refused_since.get_or_insert(now);
                if now - since < REFUSALS_MAX_NS {
                    return Progress::Refused;
                }
                self.given_up(&std::io::Error::from_raw_os_error(-result as i32))
            }
            1.. => {
                self.refused_since = None;
                self.parts += 1;
                self.done += result as usize;
                if self.left() == 0 {
                    self.finished(Ok(self.file_id))
                } else if self.parts < PARTS_MAX {
                    Progress::Again
                } else {
                    let error = format!("moved in more than {PARTS_MAX} parts");
                    self.given_up(&std::io::Error::other(error))
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

    fn given_up(&self, error: &std::io::Error) -> Progress {
        let detail = format!("{error}, for longer than this member can wait");
        self.finished(Err(DiskError::Io {
            operation: self.transfer.name(),
            name: self.file.name.clone(),
            detail,
        }))
    }

    /// The operation will never be answered for.
    pub(super) fn abandoned(&self, error: &std::io::Error) -> Completion {
        Completion {
            token: self.token,
            result: Err(self.error(error)),
        }
    }

    /// Carries the operation out on this thread, waiting as long as it takes, up to a bound.
    pub(super) fn run(mut self) -> Completion {
        let mut waited = 0;
        loop {
            let result = self.call();
            match self.on_result(waited, result) {
                Progress::Finished(completion) => return completion,
                Progress::Again => {}
                Progress::Refused => {
                    std::thread::sleep(PAUSE);
                    waited += PAUSE.as_nanos() as Nanos;
                }
            }
        }
    }

    /// Carries the operation out on this thread, which may not wait: a copy into the page cache.
    pub(super) fn run_at_once(mut self) -> Completion {
        for _ in 0..CACHED_TRIES_MAX {
            let result = self.call();
            if let Progress::Finished(completion) = self.on_result(0, result) {
                return completion;
            }
        }
        self.abandoned(&std::io::Error::from(std::io::ErrorKind::WouldBlock))
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
        disk_error(
            self.transfer.name(),
            &self.file.name,
            self.left() as u64,
            error,
        )
    }

    fn finished(&self, result: Result<FileId, DiskError>) -> Progress {
        Progress::Finished(Completion {
            token: self.token,
            result,
        })
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::concurrent::AtomicBuffer;

    use super::*;
    use crate::disk::ColdFiles;
    use crate::storage::directory::NodeDirectory;

    fn write(directory: &mut NodeDirectory) -> Operation {
        let file = directory.create("x.dat", 8 * 4096).unwrap();
        let memory = AtomicBuffer::allocate(2 * 4096).unwrap();
        let block = memory.kernel_block(0, 2 * 4096);
        let transfer = Transfer::Write(Durability::Synced);
        let open = Arc::clone(directory.file(file).unwrap());
        Operation::new((open, file), 7, 4096, block, transfer)
    }

    fn expect_error(progress: Progress, detail: &str) {
        let Progress::Finished(Completion { token: 7, result }) = progress else {
            panic!("{progress:?}");
        };
        let said = result.unwrap_err().to_string();
        for part in ["write of x.dat failed", detail] {
            assert!(said.contains(part), "\"{part}\" is missing in: {said}");
        }
    }

    #[test]
    fn an_operation_that_is_put_off_for_ever_ends_as_an_error_with_its_number() {
        let place = tempfile::tempdir().unwrap();
        let mut directory = NodeDirectory::open(place.path(), &[]).unwrap();
        for refusal in [TRY_AGAIN, INTERRUPTED] {
            let mut operation = write(&mut directory);
            for now in [100, 200, 100 + REFUSALS_MAX_NS - 1] {
                assert_eq!(operation.on_result(now, refusal), Progress::Refused);
            }
            let number = format!("os error {}", -refusal);
            expect_error(operation.on_result(100 + REFUSALS_MAX_NS, refusal), &number);
        }
    }

    #[test]
    fn a_write_that_moves_starts_its_patience_afresh() {
        let place = tempfile::tempdir().unwrap();
        let mut directory = NodeDirectory::open(place.path(), &[]).unwrap();
        let mut operation = write(&mut directory);
        assert_eq!(operation.on_result(0, TRY_AGAIN), Progress::Refused);
        assert_eq!(operation.on_result(5, 4096), Progress::Again);
        let later = REFUSALS_MAX_NS + 5;
        assert_eq!(operation.on_result(later, TRY_AGAIN), Progress::Refused);
        assert_eq!((operation.next_offset(), operation.left()), (8192, 4096));
        let last = operation.on_result(later, 4096);
        assert!(matches!(last, Progress::Finished(done) if done.result.is_ok()));
    }

    #[test]
    fn a_write_that_moves_a_byte_at_a_time_ends_as_an_error() {
        let place = tempfile::tempdir().unwrap();
        let mut directory = NodeDirectory::open(place.path(), &[]).unwrap();
        let mut operation = write(&mut directory);
        for _ in 1..PARTS_MAX {
            assert_eq!(operation.on_result(0, 1), Progress::Again);
        }
        expect_error(operation.on_result(0, 1), "more than 64 parts");
    }

    #[test]
    fn a_write_that_moves_nothing_or_fails_ends_at_once_with_its_number() {
        let place = tempfile::tempdir().unwrap();
        let mut directory = NodeDirectory::open(place.path(), &[]).unwrap();
        expect_error(
            write(&mut directory).on_result(0, 0),
            "unexpected end of file",
        );
        let failed = write(&mut directory).on_result(0, -i64::from(libc::EIO));
        expect_error(failed, "os error 5");
    }
}
