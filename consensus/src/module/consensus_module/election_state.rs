//! What a member keeps of elections while it runs: nothing of it is durable.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::module::member::MemberId;

/// (leadership term of the last durable frame, end of the log): the greater wins (E3).
pub(super) type LogEnd = (LeadershipTermId, Position);

/// What a member keeps of elections that do not come to an end. Nothing of it is durable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// Candidacies that were given up since a leader was heard.
    pub(super) failed: Nanos,
    /// Since when a term or a vote is on its way to the disk.
    pub(super) persisting_since: Nanos,
    /// How long the last one took.
    pub(super) persisting_took: Nanos,
}

/// Volatile election state.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When a leader was last heard, or this member started. It is of the present term, or longer
    /// ago than an election timeout: no other term begins before that, but with a leader heard or
    /// one that hands over, which is forgotten.
    pub(super) leader_heard: Option<Nanos>,
    /// When the present round, or the wait for a leader, is given up.
    pub(super) deadline: Nanos,
    /// When requests are repeated.
    pub(super) resend_at: Nanos,
    /// Members that granted in this round, one bit each.
    pub(super) granted: u8,
    /// The pre-vote is won; standing waits for the log to drain.
    pub(super) is_pre_vote_won: bool,
    /// How long votes are waited for.
    pub(super) patience: Patience,
    /// The term whose leader told this member to stand, none where nobody did (E4).
    pub(super) handed_over: LeadershipTermId,
    /// To whom a granted vote is owed once it is durable.
    pub(super) owed: Option<MemberId>,
}

impl Election {
    pub(super) fn hear_leader(&mut self, now: Nanos) {
        self.leader_heard = Some(now);
    }

    pub(super) fn expire(&mut self, now: Nanos) {
        self.deadline = now;
    }

    /// Forgets everything granted to this member in a round, and what it owes to others.
    pub(super) fn end_round(&mut self) {
        self.granted = 0;
        self.is_pre_vote_won = false;
        self.owed = None;
        self.handed_over = LeadershipTermId::NONE;
    }

    pub(super) fn grant(&mut self, member: MemberId) {
        self.granted |= 1 << member;
    }

    pub(super) fn grants(&self) -> usize {
        self.granted.count_ones() as usize
    }
}
