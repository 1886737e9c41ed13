//! Runs one service on the committed log (`log.md` 5).
//!
//! The container is told every committed entry in order. Entries that concern the service reach
//! its callbacks with a copy of the payload, so the log is never pinned by user code; what a
//! callback emits goes to the [`Outbox`]. A panic in a callback is caught, names the position
//! and stops this container for good.
//!
//! Owned by the service agent's thread. It does not read the log, decide which requests are
//! duplicates, append or deliver: that is the consensus agent's part.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep_transport::ids::{LeadershipTermId, SessionId};
use lockstep_transport::position::Position;

use crate::cluster::{ClientSession, Cluster};
use crate::clustered_service::ClusteredService;
use crate::log_entry::{EntryHeader, RESPONSE_FAILED};
use crate::outbox::{Divergence, EffectName, Outbox, OutboxLimits, ResponseVerdict};

/// Why a service stopped. Final: the node stops with it and is restarted by its operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFault {
    /// A callback panicked.
    #[error("the service panicked at position {position}: {message}")]
    Panicked {
        /// Position of the entry being applied.
        position: Position,
        /// The panic's message.
        message: String,
    },
    /// The log holds another response than this node's service emitted (`log.md` 5.8).
    #[error("the service diverged from the log at position {position}: {divergence:?}")]
    Diverged {
        /// Position of the Response entry.
        position: Position,
        /// What differs.
        divergence: Divergence,
    },
    /// An entry's payload exceeds the cluster-wide limit.
    #[error("the entry at {position} has {length} bytes, more than the limit of {limit}")]
    EntryTooLong {
        /// Position of the entry.
        position: Position,
        /// Bytes of its payload.
        length: usize,
        /// Most bytes of a message.
        limit: usize,
    },
    /// Log time ran backwards (`log.md` 1.7): the entry is not of a correct leader.
    #[error("log time fell from {before} to {found} ns at position {position}")]
    LogTimeFell {
        /// Position of the entry.
        position: Position,
        /// Log time of the entry before, in ns.
        before: i64,
        /// Its own log time, in ns.
        found: i64,
    },
    /// The service stopped earlier.
    #[error("the service stopped at position {position}")]
    Stopped {
        /// Position of the entry at which it stopped.
        position: Position,
    },
}

/// One service, its outbox and how far it has applied the log.
#[derive(Debug)]
pub struct Container<S> {
    service: S,
    service_id: u8,
    outbox: Outbox,
    message: Box<[u8]>,
    applied: Position,
    log_time: i64,
    stopped: Option<Position>,
}

impl<S: ClusteredService> Container<S> {
    /// A container at position 0 for `service` with messages of at most `message_max` bytes.
    ///
    /// `limits.service` is replaced by `service_id`, the number in the entries' headers.
    #[must_use]
    pub fn new(service: S, service_id: u8, limits: OutboxLimits, message_max: usize) -> Self {
        let limits = OutboxLimits {
            service: service_id,
            ..limits
        };
        Self {
            service,
            service_id,
            outbox: Outbox::new(limits).with_message_max(message_max),
            message: vec![0; message_max].into_boxed_slice(),
            applied: 0,
            log_time: i64::MIN,
            stopped: None,
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
        self.enter(header, position, end)?;
        let length = payload.len();
        let Some(copy) = self.message.get_mut(..length) else {
            self.stopped = Some(position);
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
        self.enter(header, position, end)?;
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
        self.enter(header, position, end)?;
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
        self.enter(header, position, end)?;
        let log_time = header.log_time;
        let service = &mut self.service;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            service.on_new_leadership_term(leadership_term_id, log_time);
        }));
        self.leave(position, end, outcome)
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
    /// As [`apply_request`](Self::apply_request).
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
    fn enter(
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

    /// Runs a callback of a causing entry.
    fn call(
        &mut self,
        position: Position,
        end: Position,
        callback: impl FnOnce(&mut S, &mut Cluster<'_>, &[u8]),
    ) -> Result<(), ServiceFault> {
        self.outbox.begin(position);
        let mut cluster = Cluster::new(self.log_time, position, &mut self.outbox);
        let (service, message) = (&mut self.service, &self.message);
        // A service that panicked is never called again, so no broken state is observed.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            callback(service, &mut cluster, message);
        }));
        self.outbox.finish();
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
                self.applied = end;
                Ok(())
            }
            Err(panic) => {
                self.stopped = Some(position);
                let message = panic_message(panic.as_ref());
                Err(ServiceFault::Panicked { position, message })
            }
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

    /// The service itself, to look at.
    #[must_use]
    pub const fn service(&self) -> &S {
        &self.service
    }

    /// Rolling hash of everything the service emitted: equal on every node that applied the same
    /// log.
    #[must_use]
    pub const fn output_hash(&self) -> u64 {
        self.outbox.output_hash()
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
