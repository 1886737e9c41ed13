//! [`RealDisk`]: a directory whose operations are carried out by an engine on the caller's thread,
//! or handed to one on another.

use lockstep_transport::agent::WakeSources;
use lockstep_transport::time::Nanos;

use super::desk::StorageDesk;
use super::directory::NodeDirectory;
use super::operation::Operation;
use crate::disk::{Busy, Completion, Disk, DiskOp};
use crate::queued_disk::{Desk, DiskRunner, Engine, QueuedDisk, queued_disk};

/// See the module.
#[derive(Debug)]
pub struct RealDisk<E> {
    /// First, so that what is under way has ended before the directory is given up.
    pub(super) engine: E,
    pub(super) desk: StorageDesk,
}

impl<E: Engine<Work = Operation>> RealDisk<E> {
    /// System calls the caller's thread has made for hot operations so far.
    pub(super) fn system_calls(&self) -> u64 {
        self.engine.system_calls()
    }

    /// Names what brings completions to the thread that polls for them.
    pub(super) fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.desk.name_wake_sources(sources);
        self.engine.name_wake_sources(sources);
    }

    /// The same disk in two, with `engine` or its successor at the far end.
    pub(super) fn in_two<F: Engine<Work = Operation>>(
        self,
        engine: impl FnOnce(E) -> F,
    ) -> (QueuedDisk<StorageDesk>, DiskRunner<F>) {
        queued_disk(self.desk, engine(self.engine))
    }
}

impl<E: Engine<Work = Operation>> Disk for RealDisk<E> {
    type Files = NodeDirectory;

    fn files(&mut self) -> &mut Self::Files {
        self.desk.files()
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        match self.desk.resolve(now, operation)? {
            Some(work) => self.engine.submit(now, work).map_err(|_| Busy),
            None => Ok(()),
        }
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        let completion = self.engine.poll_completion(now);
        completion.or_else(|| self.desk.poll_completion(now))
    }

    fn flush(&mut self, now: Nanos) {
        self.engine.flush(now);
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.engine.next_deadline()
    }
}
