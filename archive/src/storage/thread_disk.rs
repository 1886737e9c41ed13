//! [`ThreadDisk`]: a writer thread with `pwritev2` and `RWF_DSYNC`, for hosts without io_uring.
//!
//! One operation runs at a time, in order. Where the far end of a disk has a thread of its own, it
//! makes the calls itself ([`Calls`]): one that waits holds up nothing but those after it, as with
//! a writer thread.

use std::collections::VecDeque;

use lockstep_transport::agent::WakeSources;
use lockstep_transport::time::Nanos;

use super::desk::StorageDesk;
use super::directory::NodeDirectory;
use super::error::StorageError;
use super::helper_thread::HelperThread;
use super::operation::Operation;
use super::real_disk::RealDisk;
use crate::disk::{Completion, QUEUE_LENGTH};
use crate::queued_disk::Engine;

/// A real disk through a writer thread.
pub type ThreadDisk = RealDisk<Writer>;

/// A thread that carries out what it is handed.
#[derive(Debug)]
pub struct Writer {
    thread: HelperThread<Operation, Completion>,
    wake_ups: u64,
}

/// Carries out on the thread that submits, which waits meanwhile.
#[derive(Debug)]
pub struct Calls {
    done: VecDeque<Completion>,
    system_calls: u64,
}

impl ThreadDisk {
    /// Starts the writer thread over a locked directory.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(directory: NodeDirectory) -> Result<Self, StorageError> {
        let failed = |error: std::io::Error| StorageError::NoThread {
            detail: error.to_string(),
        };
        let thread = HelperThread::start("lockstep-disk", QUEUE_LENGTH, Operation::run);
        let thread = thread.map_err(failed)?;
        let desk = StorageDesk::start(directory).map_err(|refused| failed(refused.0))?;
        let engine = Writer {
            thread,
            wake_ups: 0,
        };
        Ok(Self { desk, engine })
    }
}

impl Writer {
    /// The same without the thread. Nothing may have been submitted.
    pub(super) fn without_thread(self) -> Calls {
        assert_eq!(self.wake_ups, 0, "the writer thread was used before");
        Calls {
            done: VecDeque::with_capacity(QUEUE_LENGTH),
            system_calls: 0,
        }
    }
}

impl Engine for Writer {
    type Work = Operation;

    fn submit(&mut self, _now: Nanos, operation: Operation) -> Result<(), Operation> {
        self.thread.submit(operation)?;
        self.wake_ups += 1;
        Ok(())
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        self.thread.poll()
    }

    /// One wake-up for each operation.
    fn system_calls(&self) -> u64 {
        self.wake_ups
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.thread.wake_with(sources.waker());
    }
}

impl Engine for Calls {
    type Work = Operation;

    fn submit(&mut self, _now: Nanos, operation: Operation) -> Result<(), Operation> {
        if self.done.len() == QUEUE_LENGTH {
            return Err(operation);
        }
        self.system_calls += 1;
        self.done.push_back(operation.run());
        Ok(())
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        self.done.pop_front()
    }

    /// One for each operation, unless the kernel leaves a part of it undone.
    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}
