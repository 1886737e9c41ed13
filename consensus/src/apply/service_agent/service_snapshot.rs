//! The service's part of a snapshot: the sections `causes` and `outbox`, and those of the service
//! itself, wherever it runs.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::ServiceFault;
#[cfg(feature = "sim")]
use lockstep_service::container::ServiceOutputs;
use lockstep_service::snapshot::{SnapshotError, SnapshotProgress, SnapshotReader, SnapshotWriter};
use lockstep_transport::position::Position;

use super::{Place, ServiceAgent, SnapshotPart};
use crate::apply::service_runner::ServiceRunner;
use crate::node::fault::NodeFault;

impl<S: ClusteredService> ServiceAgent<S> {
    /// Whether the service takes snapshots.
    #[must_use]
    pub(crate) fn takes_snapshots(&self) -> bool {
        match &self.place {
            Place::Here(container) => container.takes_snapshots(),
            Place::Elsewhere(service) => service.takes_snapshots(),
        }
    }

    /// Whether a snapshot was begun, and is neither written nor given up.
    #[cfg(test)]
    #[must_use]
    pub(crate) const fn is_writing_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Everything is to be written as it is now: nothing may be applied before that is done or
    /// given up.
    ///
    /// # Panics
    /// When the service has not executed everything that it was handed, or one is being written.
    pub(crate) fn begin_snapshot(&mut self) {
        assert!(!self.is_behind(), "a snapshot in the middle of entries");
        assert!(self.snapshot.is_none(), "one at a time");
        self.snapshot = Some(SnapshotPart::Causes(0));
    }

    /// Writes the next part, about 64 KiB, once per duty cycle until it is done.
    ///
    /// # Errors
    /// When the service panicked, which is final, or cannot be written to `writer`
    /// ([`ServiceFault::Snapshot`]): the
    /// service can go on then, without a snapshot. The snapshot is given up.
    ///
    /// # Panics
    /// When none was begun.
    pub(crate) fn snapshot_step(
        &mut self,
        writer: &mut SnapshotWriter,
    ) -> Result<SnapshotProgress, NodeFault> {
        let part = self.snapshot.expect("a snapshot was begun");
        let next = self.write_part(part, writer);
        if next.is_err() {
            self.abandon_snapshot();
        }
        self.snapshot = next?;
        Ok(match self.snapshot {
            Some(_) => SnapshotProgress::More,
            None => SnapshotProgress::Done,
        })
    }

    /// Writes some of `part`, and returns what is next.
    fn write_part(
        &mut self,
        part: SnapshotPart,
        writer: &mut SnapshotWriter,
    ) -> Result<Option<SnapshotPart>, NodeFault> {
        let next = match part {
            SnapshotPart::Causes(from) => {
                let saved = self.causes.save(from, writer);
                let next = saved.map_err(|error| self.outputs().no_snapshot(error))?;
                next.map_or(SnapshotPart::Outbox(0), SnapshotPart::Causes)
            }
            SnapshotPart::Outbox(from) => {
                let outputs = self.outputs();
                #[cfg(feature = "sim")]
                let none = ServiceOutputs::new(0, *outputs.outbox().limits(), usize::MAX);
                #[cfg(feature = "sim")]
                let outputs = if self.leaves_out_outbox {
                    &none
                } else {
                    outputs
                };
                let saved = outputs.save(from, writer);
                let next = saved.map_err(|error| outputs.no_snapshot(error))?;
                if next.is_none()
                    && let Place::Elsewhere(service) = &mut self.place
                {
                    service.begin_snapshot();
                }
                next.map_or(SnapshotPart::Service(0), SnapshotPart::Outbox)
            }
            SnapshotPart::Service(step) => {
                let progress = match &mut self.place {
                    Place::Here(container) => container.snapshot_step(step, writer)?,
                    Place::Elsewhere(service) => service.snapshot_step(writer)?,
                };
                if progress == SnapshotProgress::Done {
                    return Ok(None);
                }
                SnapshotPart::Service(step + 1)
            }
        };
        Ok(Some(next))
    }

    /// A snapshot that was begun is wanted no more: entries may be applied again.
    pub(crate) fn abandon_snapshot(&mut self) {
        self.snapshot = None;
        if let Place::Elsewhere(service) = &mut self.place {
            service.abandon_snapshot();
            service.wake();
        }
    }

    /// Takes over what a snapshot at `position` says of the service, in the sections that `reader`
    /// comes to next, before anything is applied. `runner` has the service where that is to run on
    /// a thread of its own.
    ///
    /// # Errors
    /// When it cannot be, or the service refuses it; then nothing here can be used.
    ///
    /// # Panics
    /// When the service is to run elsewhere, and nobody says where.
    pub(crate) fn load_snapshot(
        &mut self,
        position: Position,
        reader: &mut SnapshotReader<'_>,
        runner: Option<&mut ServiceRunner<S>>,
    ) -> Result<(), NodeFault> {
        let loaded = self.load_outputs(position, reader);
        loaded.map_err(|error| ServiceFault::Snapshot {
            position,
            error: Box::new(error),
        })?;
        match &mut self.place {
            Place::Here(container) => container.load_snapshot(reader)?,
            Place::Elsewhere(service) => {
                let runner = runner.expect("somebody runs the service");
                runner.load_snapshot(service.outputs(), reader)?;
            }
        }
        Ok(())
    }

    /// Takes over what has come of the service, which is applied up to `position` then: the entry
    /// that ordered the snapshot is passed.
    fn load_outputs(
        &mut self,
        position: Position,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        self.causes.load(position, reader)?;
        let outputs = self.outputs_mut();
        outputs.load(reader)?;
        let applied = outputs.applied();
        if applied > position {
            return Err(reader.refuse(format!("applied up to {applied}, beyond {position}")));
        }
        outputs.advance(position);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
