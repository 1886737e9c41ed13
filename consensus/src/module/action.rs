//! Everything the consensus module can ask its agent to do, in the order to be done.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::module::member::MemberId;
use crate::protocol::message::MemberMessage;

/// Why a node must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaltReason {
    /// Storage failed: what it holds can no longer be trusted by this process.
    #[error(
        "a write or sync failed: restart this member, it will re-read its disk and repair from \
         its peers"
    )]
    StorageFailed,
    /// Joining would truncate what is committed, applied or snapshotted (L4).
    #[error(
        "the leader of term {term} has another log from {truncation} on, but this member's log, \
         which ends at {end}, was committed up to {commit}: nothing was changed; keep the \
         directories of all members as they are, stop the members that were started with an \
         emptied, copied or older directory, and start this one again with a majority of the rest"
    )]
    CommittedTruncation {
        /// The leader's term.
        term: LeadershipTermId,
        /// Where the logs part.
        truncation: Position,
        /// What this member knows to be committed or has applied.
        commit: Position,
        /// Where its log ends.
        end: Position,
    },
    /// This member's service does not do what the majority's do (`log.md` 5.8).
    #[error(
        "this member's service diverged: a majority of the members answers the entry at position \
         {cause} otherwise (equal up to {agreed}); a restart executes the log again and stops at \
         the same entry if the service is the cause: run the same build of it on all members, and \
         see that it depends on nothing but the log"
    )]
    Diverged {
        /// The entry that the majority answers otherwise.
        cause: Position,
        /// The last entry up to which outputs are known to have been equal.
        agreed: Position,
    },
    /// Two logs differ below a position both claim (L1).
    #[error(
        "the logs of so many members differ from this leader's (member {member}'s at {position}) \
         that no majority agrees with it: nothing was changed; keep the directories of all \
         members as they are, stop this member, and let the others elect a leader"
    )]
    ChainMismatch {
        /// The follower that differs.
        member: MemberId,
        /// Where.
        position: Position,
    },
}

/// An output of the consensus module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a list page is rare, and a box would allocate"
)]
pub enum Action {
    /// Make (term, vote) durable, then report `StatePersisted`.
    PersistState {
        /// The term.
        term: LeadershipTermId,
        /// The vote in it.
        vote: Option<MemberId>,
    },
    /// Send a message.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        message: MemberMessage,
    },
    /// Find out the chain hash of the own log at `position`, then report `LogHashed`. A later
    /// one for the same member replaces it.
    HashLog {
        /// For whom: this member, or a follower.
        member: MemberId,
        /// Where.
        position: Position,
    },
    /// The logs of `member` and of this one differ below `position`: tell it.
    Differs {
        /// The other side.
        member: MemberId,
        /// Where it was found.
        position: Position,
        /// The chain hash here, `None` if no frame ends there.
        own: Option<u64>,
        /// The other's.
        other: Option<u64>,
        /// Whether it was found after the logs had been joined, and were the same there.
        was_joined: bool,
    },
    /// Stop accepting log frames; let the disk drain.
    StopPlacing,
    /// Truncate the log to `position` (`log.md` 3.4), then report `Truncated`.
    Truncate {
        /// New end of the log.
        position: Position,
    },
    /// Accept log frames of `leader` from `position` on, checked against `leader_terms()`.
    Follow {
        /// Whom.
        leader: MemberId,
        /// In which term.
        term: LeadershipTermId,
        /// From where.
        position: Position,
    },
    /// This member leads `term`: append its NewLeadershipTerm entry at the end of the log.
    Lead {
        /// The term.
        term: LeadershipTermId,
    },
    /// Leader: send the log to `member` from `position` on (restart its cursor there).
    Replicate {
        /// To whom.
        member: MemberId,
        /// From where.
        position: Position,
    },
    /// Leadership is lost: drop all volatile leader state (C5).
    Abdicate,
    /// Nobody took the leadership that was handed over: it goes on here.
    HandOverFailed {
        /// To whom it was to go, if to one only.
        to: Option<MemberId>,
    },
    /// The commit position advanced.
    Commit {
        /// New commit position.
        position: Position,
    },
    /// Stop this node.
    Halt {
        /// Why.
        reason: HaltReason,
    },
}

/// Actions one call may produce at most: a message and an action or two per member.
pub(crate) const ACTIONS_MAX: usize = 64;

/// Fixed-capacity list of actions, owned by the agent. Overflow is a bug and asserts.
#[derive(Debug)]
pub struct Actions {
    items: Vec<Action>,
}

impl Default for Actions {
    fn default() -> Self {
        Self {
            items: Vec::with_capacity(ACTIONS_MAX),
        }
    }
}

impl Actions {
    /// Adds an action.
    pub fn push(&mut self, action: Action) {
        assert!(
            self.items.len() < ACTIONS_MAX,
            "more than {ACTIONS_MAX} actions in one call"
        );
        self.items.push(action);
    }

    /// Takes the action at `index`, if there is one.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Action> {
        self.items.get(index).copied()
    }

    /// The actions so far, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Action] {
        &self.items
    }

    /// Empties the list, keeping its room.
    pub fn clear(&mut self) {
        self.items.clear();
    }
}
