//! A service's own part of a snapshot, written and loaded.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Container, ServiceFault};
use crate::clustered_service::ClusteredService;
use crate::snapshot::{
    ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress, SnapshotReader,
    SnapshotWriter,
};

impl<S: ClusteredService> Container<S> {
    /// Whether the service takes snapshots.
    #[must_use]
    pub fn takes_snapshots(&self) -> bool {
        self.service.takes_snapshots()
    }

    /// Has the service write the next part of its state: step 0, 1, 2 … until it is done. Nothing
    /// may be applied in between.
    ///
    /// # Errors
    /// When the service panicked, which is final, or uses `writer` wrongly: then there is no
    /// snapshot, and the service can go on.
    pub fn snapshot_step(
        &mut self,
        step: u64,
        writer: &mut SnapshotWriter,
    ) -> Result<SnapshotProgress, ServiceFault> {
        self.call_about_snapshot(|service| {
            let progress = service.snapshot_step(step, &mut ServiceSnapshot::new(writer))?;
            if progress == SnapshotProgress::Done {
                writer.check_no_section()?;
            }
            Ok(progress)
        })
    }

    /// Has the service, which is as it was made, take its state from the sections that `reader`
    /// comes to next.
    ///
    /// # Errors
    /// When the service panicked, or refuses it. Neither container nor service can be used then.
    pub fn load_snapshot(&mut self, reader: &mut SnapshotReader<'_>) -> Result<(), ServiceFault> {
        self.call_about_snapshot(|service| {
            service.load_snapshot(&mut ServiceSnapshotReader::new(reader))?;
            reader.check_no_section()
        })
    }

    fn call_about_snapshot<T>(
        &mut self,
        call: impl FnOnce(&mut S) -> Result<T, SnapshotError>,
    ) -> Result<T, ServiceFault> {
        if let Some(position) = self.outputs.stopped {
            return Err(ServiceFault::Stopped { position });
        }
        let service = &mut self.service;
        // A service that panicked is never called again, so no broken state is observed.
        match catch_unwind(AssertUnwindSafe(|| call(service))) {
            Ok(outcome) => outcome.map_err(|error| self.outputs.no_snapshot(error)),
            Err(panic) => Err(self.stop(self.outputs.applied, panic.as_ref())),
        }
    }
}
