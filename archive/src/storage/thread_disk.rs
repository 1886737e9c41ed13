//! [`ThreadDisk`]: a writer thread with `pwritev2` and `RWF_DSYNC`, for hosts without io_uring.
//!
//! One operation runs at a time, in order.

use lockstep_transport::agent::WakeSources;
use lockstep_transport::concurrent::KernelBlock;
use lockstep_transport::time::Nanos;

use super::directory::NodeDirectory;
use super::error::StorageError;
use super::helper_thread::HelperThread;
use super::operation::{Operation, Transfer};
use super::preparer::Preparer;
use crate::disk::{Busy, Completion, Disk, DiskOp, FileId, QUEUE_LENGTH};

/// See the module.
#[derive(Debug)]
pub struct ThreadDisk {
    directory: NodeDirectory,
    flushes_each: bool,
    writer: HelperThread<Operation, Completion>,
    wake_ups: u64,
    preparer: Preparer,
}

impl ThreadDisk {
    /// Starts the writer thread over a locked directory.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(directory: NodeDirectory) -> Result<Self, StorageError> {
        let path = directory.path().to_path_buf();
        let failed = |error: std::io::Error| StorageError::Other {
            path: path.clone(),
            detail: error.to_string(),
        };
        let writer = HelperThread::start("lockstep-disk", QUEUE_LENGTH, Operation::run);
        let writer = writer.map_err(failed)?;
        let preparer = Preparer::start(directory.opener().clone()).map_err(failed)?;
        Ok(Self {
            flushes_each: directory.syncs_single_writes(),
            directory,
            writer,
            wake_ups: 0,
            preparer,
        })
    }

    /// System calls made by the caller's thread so far: one wake-up for each operation.
    #[must_use]
    pub const fn system_calls(&self) -> u64 {
        self.wake_ups
    }

    /// Names what brings completions: both helper threads.
    pub(super) fn name_wake_sources(&self, sources: &WakeSources) {
        self.writer.wake_with(sources.waker());
        self.preparer.wake_with(sources.waker());
    }

    fn push(
        &mut self,
        token: u64,
        file: FileId,
        offset: u64,
        block: KernelBlock,
        transfer: Transfer,
    ) -> Result<(), Busy> {
        if self.writer.is_full() {
            return Err(Busy);
        }
        let mut operation = Operation::new(&self.directory, token, file, offset, block, transfer);
        if self.flushes_each {
            operation = operation.flush_each();
        }
        self.writer.submit(operation)?;
        self.wake_ups += 1;
        Ok(())
    }
}

impl Disk for ThreadDisk {
    type Files = NodeDirectory;

    fn files(&mut self) -> &mut Self::Files {
        &mut self.directory
    }

    fn submit(&mut self, _now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        match operation {
            DiskOp::Write {
                token,
                file,
                offset,
                block,
                durability,
            } => self.push(token, file, offset, block, Transfer::Write(durability)),
            DiskOp::Read {
                token,
                file,
                offset,
                block,
            } => self.push(token, file, offset, block, Transfer::Read),
            DiskOp::Prepare {
                token,
                name,
                length,
            } => self.preparer.submit(token, name, length),
        }
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        let completion = self.writer.poll();
        completion.or_else(|| self.preparer.poll(&mut self.directory))
    }
}
