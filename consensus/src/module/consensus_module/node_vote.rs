//! Term and vote of this member, and how much of them is durable (invariants E1, E2).
//!
//! Changing them and having changed them are two moments: `enter` and `vote_for` ask for the
//! durable write, `on_persisted` says that it happened. Nothing that depends on a value may
//! leave between the two.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;

use crate::module::member::MemberId;

/// Term and vote, in memory and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeVote {
    term: LeadershipTermId,
    vote: Option<MemberId>,
    persisted_term: LeadershipTermId,
    persisted_vote: Option<MemberId>,
}

impl NodeVote {
    pub(super) const fn recovered(term: LeadershipTermId, vote: Option<MemberId>) -> Self {
        Self {
            term,
            vote,
            persisted_term: term,
            persisted_vote: vote,
        }
    }

    pub(super) const fn term(&self) -> LeadershipTermId {
        self.term
    }

    pub(super) const fn vote(&self) -> Option<MemberId> {
        self.vote
    }

    /// The newest term that is known to be durable.
    pub(super) const fn persisted_term(&self) -> LeadershipTermId {
        self.persisted_term
    }

    /// Whether the present term and vote are durable.
    pub(super) fn is_persisted(&self) -> bool {
        self.persisted_term == self.term && self.persisted_vote == self.vote
    }

    /// Enters a greater term, with or without a vote in it.
    pub(super) fn enter(&mut self, term: LeadershipTermId, vote: Option<MemberId>) {
        invariant!(
            TermRises,
            term > self.term,
            "E2: term {} to {term}",
            self.term
        );
        self.term = term;
        self.vote = vote;
    }

    /// Votes in the present term, for the first time.
    pub(super) fn vote_for(&mut self, member: MemberId) {
        invariant!(
            VoteGivenOnce,
            self.vote.is_none(),
            "E1: a second vote in term {}",
            self.term
        );
        self.vote = Some(member);
    }

    /// An earlier change is durable.
    pub(super) fn on_persisted(&mut self, term: LeadershipTermId, vote: Option<MemberId>) {
        invariant!(
            PersistedAfterEntered,
            term <= self.term,
            "E1: term {term} persisted before term {} was left",
            self.term
        );
        if term >= self.persisted_term {
            self.persisted_term = term;
            self.persisted_vote = vote;
        }
    }
}
