//! Runs one service on the committed log (`log.md` 5).
//!
//! The container is told every committed entry in order. Entries that concern the service reach
//! its callbacks with a copy of the payload, so the log is never pinned by user code; what a
//! callback emits goes to the [`Outbox`](crate::outbox::Outbox). A panic in a callback is caught,
//! names the position and stops this container for good.
//!
//! Owned by the service agent's thread. It does not read the log, decide which requests are
//! duplicates, append or deliver: that is the consensus agent's part.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep_transport::ids::{LeadershipTermId, SessionId};
use lockstep_transport::position::Position;

use crate::cluster::{ClientSession, Cluster};
use crate::clustered_service::ClusteredService;
use crate::log_entry::EntryHeader;
use crate::outbox::OutboxLimits;

mod container_snapshot;
mod outputs_snapshot;
mod service_fault;
mod service_outputs;

pub use service_fault::ServiceFault;
pub use service_outputs::ServiceOutputs;

/// One service, and what has come of it.
#[derive(Debug)]
pub struct Container<S> {
    service: S,
    message: Box<[u8]>,
    outputs: ServiceOutputs,
}

impl<S: ClusteredService> Container<S> {
    /// A container at position 0 for `service` with messages of at most `message_max` bytes.
    ///
    /// `limits.service` is replaced by `service_id`, the number in the entries' headers.
    #[must_use]
    pub fn new(service: S, service_id: u8, limits: OutboxLimits, message_max: usize) -> Self {
        Self {
            service,
            message: vec![0; message_max].into_boxed_slice(),
            outputs: ServiceOutputs::new(service_id, limits, message_max),
        }
    }

    /// Applies the request at `position`, whose last frame ends at `end`.
    ///
    /// # Errors
    /// A [`ServiceFault`] when the callback panicked or the entry breaks a rule of the log.
    pub fn apply_request(
        &mut self,
        header: &EntryHeader,
        position: Position,
        end: Position,
        payload: &[u8],
    ) -> Result<(), ServiceFault> {
        self.outputs.enter(header, position, end)?;
        let length = payload.len();
        let Some(copy) = self.message.get_mut(..length) else {
            self.outputs.stopped = Some(position);
            return Err(ServiceFault::EntryTooLong {
                position,
                length,
                limit: self.message.len(),
            });
        };
        copy.copy_from_slice(payload);
        let session = ClientSession { id: header.session };
        self.call(position, end, |service, cluster, message| {
            service.on_session_message(cluster, session, &message[..length]);
        })
    }

    /// Applies the opening of `session`, the id it got when this entry was applied: the header
    /// was written before there was one (`log.md` 6.1).
    ///
    /// # Errors
    /// As [`apply_request`](Self::apply_request).
    pub fn apply_session_open(
        &mut self,
        header: &EntryHeader,
        position: Position,
        end: Position,
        session: SessionId,
    ) -> Result<(), ServiceFault> {
        self.outputs.enter(header, position, end)?;
        let session = ClientSession { id: session };
        self.call(position, end, |service, cluster, _| {
            service.on_session_open(cluster, session);
        })
    }

    /// Applies the closing of `header.session`.
    ///
    /// # Errors
    /// As [`apply_request`](Self::apply_request).
    pub fn apply_session_close(
        &mut self,
        header: &EntryHeader,
        position: Position,
        end: Position,
    ) -> Result<(), ServiceFault> {
        self.outputs.enter(header, position, end)?;
        let session = ClientSession { id: header.session };
        self.call(position, end, |service, cluster, _| {
            service.on_session_close(cluster, session);
        })
    }

    /// Applies the beginning of a leadership term. The service cannot emit here (`log.md` 5.1).
    ///
    /// # Errors
    /// As [`apply_request`](Self::apply_request).
    pub fn apply_new_leadership_term(
        &mut self,
        header: &EntryHeader,
        position: Position,
        end: Position,
        leadership_term_id: LeadershipTermId,
    ) -> Result<(), ServiceFault> {
        self.outputs.enter(header, position, end)?;
        let log_time = header.log_time;
        let service = &mut self.service;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            service.on_new_leadership_term(leadership_term_id, log_time);
        }));
        self.leave(position, end, outcome)
    }

    /// Runs a callback of a causing entry.
    fn call(
        &mut self,
        position: Position,
        end: Position,
        callback: impl FnOnce(&mut S, &mut Cluster<'_>, &[u8]),
    ) -> Result<(), ServiceFault> {
        let outputs = &mut self.outputs;
        outputs.outbox.begin(position);
        let mut cluster = Cluster::new(outputs.log_time, position, &mut outputs.outbox);
        let (service, message) = (&mut self.service, &self.message);
        // A service that panicked is never called again, so no broken state is observed.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            callback(service, &mut cluster, message);
        }));
        self.outputs.outbox.finish();
        self.leave(position, end, outcome)
    }

    fn leave(
        &mut self,
        position: Position,
        end: Position,
        outcome: Result<(), Box<dyn Any + Send>>,
    ) -> Result<(), ServiceFault> {
        match outcome {
            Ok(()) => {
                self.outputs.applied = end;
                Ok(())
            }
            Err(panic) => Err(self.stop(position, panic.as_ref())),
        }
    }

    /// The service panicked at `position`: it is never called again.
    #[cold]
    fn stop(&mut self, position: Position, panic: &(dyn Any + Send)) -> ServiceFault {
        self.outputs.stopped = Some(position);
        let message = panic_message(panic);
        ServiceFault::Panicked { position, message }
    }

    /// What has come of the service.
    #[must_use]
    pub const fn outputs(&self) -> &ServiceOutputs {
        &self.outputs
    }

    /// What has come of the service, for the leader's append cursor, for direct delivery and for
    /// entries that it does not execute.
    pub const fn outputs_mut(&mut self) -> &mut ServiceOutputs {
        &mut self.outputs
    }

    /// The service itself, to look at.
    #[must_use]
    pub const fn service(&self) -> &S {
        &self.service
    }

    /// The service's own hash of its state; may walk the whole state, so not for every cycle.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.service.state_hash()
    }
}

/// The text a panic was raised with.
#[cold]
fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

#[cfg(test)]
mod tests;
