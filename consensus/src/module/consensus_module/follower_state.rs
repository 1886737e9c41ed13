//! What a member keeps of the leader it follows: nothing of it is durable.

use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::module::member::{MemberId, TermBase};

/// How far joining has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Joining {
    /// Waits until the log is durable and the term persisted.
    #[default]
    Draining,
    /// Fetches this page of the leader's list.
    Requesting {
        /// The next page wanted.
        page: u32,
    },
    /// Waits for the chain hash of its own log where the logs part.
    Hashing {
        /// Where they part.
        point: Position,
    },
    /// Asks the leader whether its log is the same below. A follower that differs stays here: it
    /// neither joins, acknowledges nor truncates.
    Checking {
        /// Where they part.
        point: Position,
        /// The chain hash of its own log there.
        hash: Option<u64>,
    },
    /// Waits for the ordered truncation.
    Truncating,
    /// Accepts frames; asks the leader to send.
    Starting,
    /// Has heard the leader's log.
    Placing,
}

/// The leader followed, and what is known of it. Volatile.
#[derive(Debug, Default)]
pub(super) struct Following {
    pub(super) leader: Option<MemberId>,
    pub(super) joining: Joining,
    /// The leader's list, complete from `Starting` on.
    pub(super) leader_terms: Vec<TermBase>,
    /// Greatest commit position heard from it.
    pub(super) leader_commit: Position,
    /// When the present request or report is repeated.
    pub(super) resend_at: Nanos,
    /// No join of this leader begins before: the one that came to nothing would at once do so
    /// again.
    pub(super) join_at: Nanos,
    /// Counts this incarnation's joins.
    pub(super) joins: u32,
    /// Where the newest one began, and when.
    pub(super) joined_at: Position,
    /// Up to where both logs were found to be the same.
    pub(super) agreed: Position,
    pub(super) started_at: Nanos,
}

impl Following {
    pub(super) const fn leader(&self) -> Option<MemberId> {
        self.leader
    }

    pub(super) fn leader_terms(&self) -> &[TermBase] {
        &self.leader_terms
    }

    pub(super) fn is_placing(&self) -> bool {
        self.leader.is_some() && matches!(self.joining, Joining::Starting | Joining::Placing)
    }

    pub(super) fn leave(&mut self) {
        self.leader = None;
        self.joining = Joining::Draining;
        self.leader_terms.clear();
        self.leader_commit = 0;
        self.join_at = 0;
    }
}
