//! The requests whose effects wait in the outbox, so that an answer can name the one it answers.

use std::collections::VecDeque;

use lockstep_service::outbox::{EFFECT_CHARGE_MIN, OutboxLimits};
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;

/// Which request each waiting effect answers: (position, session, number) of the requests
/// whose effects are in the outbox, oldest first.
#[derive(Debug)]
pub(crate) struct CauseNumbers {
    causes: VecDeque<(Position, SessionId, RequestNumber)>,
}

impl CauseNumbers {
    /// Room for as many causes as an outbox within `limits` can hold effects of; none in
    /// direct mode, where effects do not wait.
    pub fn new(limits: &OutboxLimits) -> Self {
        let effects = limits.capacity_bytes / EFFECT_CHARGE_MIN;
        let causes_max = if limits.enabled { effects } else { 0 };
        Self {
            causes: VecDeque::with_capacity(causes_max),
        }
    }

    /// Causes known.
    #[cfg(feature = "sim")]
    pub fn count(&self) -> usize {
        self.causes.len()
    }

    /// The request at `position` was applied and has effects in the outbox.
    pub fn note(&mut self, position: Position, session: SessionId, number: RequestNumber) {
        self.causes.push_back((position, session, number));
    }

    /// The oldest effect that waits is one of the entry at `front`.
    pub fn forget_before(&mut self, front: Option<Position>) {
        let is_over = |cause: &(Position, SessionId, RequestNumber)| {
            front.is_none_or(|front| cause.0 < front)
        };
        while self.causes.front().is_some_and(is_over) {
            self.causes.pop_front();
        }
    }

    /// The number of the request of `session` at `cause`, or of none.
    pub fn number(&self, cause: Position, session: SessionId) -> RequestNumber {
        let found = self.causes.binary_search_by_key(&cause, |c| c.0).ok();
        let request = found.map(|index| self.causes[index]);
        let own = request.filter(|c| c.1 == session);
        own.map_or(RequestNumber::NONE, |c| c.2)
    }
}
