//! What a service may ask for while one entry is applied.

use lockstep_transport::ids::SessionId;

use crate::outbox::{EmitError, Outbox};

/// A client's session as the service sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSession {
    /// The session's id, assigned when its SessionOpen was applied; never reused.
    pub id: SessionId,
}

/// The service's handle while a causing entry is applied. It cannot outlive the callback.
#[derive(Debug)]
pub struct Cluster<'a> {
    log_time: i64,
    position: i64,
    outbox: &'a mut Outbox,
}

impl<'a> Cluster<'a> {
    /// A handle for the entry at `position`; made by the container.
    #[must_use]
    pub fn new(log_time: i64, position: i64, outbox: &'a mut Outbox) -> Self {
        Self {
            log_time,
            position,
            outbox,
        }
    }

    /// Time of the entry in ns, the only clock a service sees.
    #[must_use]
    pub const fn log_time(&self) -> i64 {
        self.log_time
    }

    /// Position of the entry in the log.
    #[must_use]
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// Sends `message` to `session`, named (this entry's position, service, ordinal).
    ///
    /// # Errors
    /// When the entry's limit of effects (items or bytes) is exceeded; the same on every node.
    pub fn respond(&mut self, session: ClientSession, message: &[u8]) -> Result<(), EmitError> {
        self.outbox.emit(self.position, session.id, message)
    }
}
