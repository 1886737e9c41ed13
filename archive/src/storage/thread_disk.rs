//! [`ThreadDisk`]: a writer thread with `pwritev2` and `RWF_DSYNC`, for hosts without io_uring.
//!
//! Operations go to the thread and completions come back through two bounded queues; the
//! thread parks when there is nothing to do. One operation runs at a time, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use lockstep_transport::concurrent::KernelBlock;
use lockstep_transport::time::Nanos;

use super::directory::NodeDirectory;
use super::error::StorageError;
use super::operation::{Operation, Transfer};
use super::preparer::Preparer;
use crate::disk::{Busy, Completion, Disk, DiskOp, FileId, QUEUE_LENGTH};

/// See the module.
#[derive(Debug)]
pub struct ThreadDisk {
    directory: NodeDirectory,
    flushes_each: bool,
    operations: rtrb::Producer<Operation>,
    completions: rtrb::Consumer<Completion>,
    in_flight: usize,
    wake_ups: u64,
    preparer: Preparer,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
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
        let (operations, mut incoming) = rtrb::RingBuffer::<Operation>::new(QUEUE_LENGTH);
        let (mut outgoing, completions) = rtrb::RingBuffer::<Completion>::new(QUEUE_LENGTH);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("lockstep-disk".to_owned())
            .spawn(move || {
                // Acquire; pairs with the Release in `drop`.
                while !stopped.load(Ordering::Acquire) {
                    let Ok(operation) = incoming.pop() else {
                        std::thread::park();
                        continue;
                    };
                    outgoing
                        .push(operation.run())
                        .expect("no more completions than operations the queue had room for");
                }
            })
            .map_err(failed)?;
        let preparer = Preparer::start(directory.folder().clone()).map_err(failed)?;
        Ok(Self {
            flushes_each: directory.syncs_single_writes(),
            directory,
            operations,
            completions,
            in_flight: 0,
            wake_ups: 0,
            preparer,
            stop,
            thread: Some(thread),
        })
    }

    /// System calls made by the caller's thread so far: one wake-up for each operation.
    #[must_use]
    pub const fn system_calls(&self) -> u64 {
        self.wake_ups
    }

    fn push(
        &mut self,
        token: u64,
        file: FileId,
        offset: u64,
        block: KernelBlock,
        transfer: Transfer,
    ) -> Result<(), Busy> {
        if self.in_flight == QUEUE_LENGTH {
            return Err(Busy);
        }
        let mut operation = Operation::new(&self.directory, token, file, offset, block, transfer);
        if self.flushes_each {
            operation = operation.flush_each();
        }
        self.operations.push(operation).map_err(|_| Busy)?;
        self.in_flight += 1;
        self.wake_ups += 1;
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
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
        if self.in_flight > 0
            && let Ok(completion) = self.completions.pop()
        {
            self.in_flight -= 1;
            return Some(completion);
        }
        self.preparer.poll(&mut self.directory)
    }
}

impl Drop for ThreadDisk {
    fn drop(&mut self) {
        // Release; pairs with the Acquire in the thread.
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread was already printed; there is nothing left to save.
            let _ = thread.join();
        }
    }
}
