//! What a node keeps of a service: the effects that wait for their places in the log, and how far
//! the log is applied to them.
//!
//! Beside the service in a [`Container`](super::Container) this is all there is of it. Where the
//! service runs on a thread of its own, whoever applies the log keeps it by itself, and hands it
//! what the service emitted there.

use lockstep_transport::position::Position;

use super::service_fault::ServiceFault;
use crate::log_entry::{EntryHeader, RESPONSE_FAILED};
use crate::outbox::{Divergence, EffectName, Outbox, OutboxLimits, ResponseVerdict};
use crate::snapshot::SnapshotError;

/// See the module.
#[derive(Debug)]
pub struct ServiceOutputs {
    service_id: u8,
    pub(super) outbox: Outbox,
    pub(super) applied: Position,
    pub(super) log_time: i64,
    pub(super) stopped: Option<Position>,
}

impl ServiceOutputs {
    /// Of a service that was handed nothing yet; see [`Container::new`](super::Container::new).
    #[must_use]
    pub fn new(service_id: u8, limits: OutboxLimits, message_max: usize) -> Self {
        let limits = OutboxLimits {
            service: service_id,
            ..limits
        };
        Self {
            service_id,
            outbox: Outbox::new(limits).with_message_max(message_max),
            applied: 0,
            log_time: i64::MIN,
            stopped: None,
        }
    }

    /// Whether the Response is what this node's service said; those of other services are not
    /// its to judge. Changes nothing.
    ///
    /// # Errors
    /// What differs.
    pub fn check_response(&self, header: &EntryHeader, payload: &[u8]) -> Result<(), Divergence> {
        if header.service != self.service_id {
            return Ok(());
        }
        let name = EffectName {
            cause: header.number,
            service: header.service,
            ordinal: header.ordinal,
        };
        let is_failure = header.flags & RESPONSE_FAILED != 0;
        self.outbox
            .check_response(name, header.session, payload, is_failure)
    }

    /// Passes over a Response that a majority's services did not say (`log.md` 5.8): the effect
    /// it names stays in the outbox.
    ///
    /// # Errors
    /// As [`apply_request`](super::Container::apply_request).
    pub fn pass_void_response(
        &mut self,
        header: &EntryHeader,
        position: Position,
        end: Position,
    ) -> Result<(), ServiceFault> {
        self.enter(header, position, end)?;
        self.applied = end;
        Ok(())
    }

    /// Applies a Response: one of this service is compared with its own output and popped.
    ///
    /// # Errors
    /// [`ServiceFault::Diverged`] when it is not what this node's service emitted.
    pub fn apply_response(
        &mut self,
        header: &EntryHeader,
        position: Position,
        end: Position,
        payload: &[u8],
    ) -> Result<(), ServiceFault> {
        self.enter(header, position, end)?;
        if header.service == self.service_id {
            let name = EffectName {
                cause: header.number,
                service: header.service,
                ordinal: header.ordinal,
            };
            let verdict = self.outbox.apply_response(name, header.session, payload);
            if let ResponseVerdict::Diverged(divergence) = verdict {
                self.stopped = Some(position);
                return Err(ServiceFault::Diverged {
                    position,
                    divergence,
                });
            }
        }
        self.applied = end;
        Ok(())
    }

    /// Passes entries up to `end` that do not concern the service.
    ///
    /// # Panics
    /// When `end` is below the applied position.
    pub fn advance(&mut self, end: Position) {
        assert!(
            end >= self.applied,
            "applied {} back to {end}",
            self.applied
        );
        self.applied = end;
    }

    /// Checks that the entry follows what was applied, and takes over its log time.
    ///
    /// # Errors
    /// When its log time is before that of the entry before, or the service has stopped.
    ///
    /// # Panics
    /// When it does not follow what was applied.
    pub fn enter(
        &mut self,
        header: &EntryHeader,
        position: Position,
        end: Position,
    ) -> Result<(), ServiceFault> {
        if let Some(position) = self.stopped {
            return Err(ServiceFault::Stopped { position });
        }
        assert!(
            self.applied <= position && position < end,
            "entry {position}..{end} at applied {}",
            self.applied
        );
        if header.log_time < self.log_time {
            self.stopped = Some(position);
            return Err(ServiceFault::LogTimeFell {
                position,
                before: self.log_time,
                found: header.log_time,
            });
        }
        self.log_time = header.log_time;
        Ok(())
    }

    /// That there is no snapshot here, and why.
    #[must_use]
    #[cold]
    pub fn no_snapshot(&self, error: SnapshotError) -> ServiceFault {
        ServiceFault::Snapshot {
            position: self.applied,
            error: Box::new(error),
        }
    }

    /// End of the last entry applied or passed.
    #[must_use]
    pub const fn applied(&self) -> Position {
        self.applied
    }

    /// Time of the last entry applied, in ns; `i64::MIN` before the first.
    #[must_use]
    pub const fn log_time(&self) -> i64 {
        self.log_time
    }

    /// Position of the entry at which the service stopped, if it did.
    #[must_use]
    pub const fn stopped(&self) -> Option<Position> {
        self.stopped
    }

    /// The service's effects that are not yet in the applied log.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The outbox, for the leader's append cursor and direct delivery.
    pub const fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Rolling hash of everything the service emitted: equal on every node that applied the same
    /// log.
    #[must_use]
    pub const fn output_hash(&self) -> u64 {
        self.outbox.output_hash()
    }
}
