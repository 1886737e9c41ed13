//! Everything that can happen to the consensus module.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::module::member::MemberId;
use crate::protocol::message::MemberMessage;

/// The chain hash of the log at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogHash {
    /// Of everything below it.
    Is(u64),
    /// No frame ends there.
    NoBoundary,
    /// The log cannot be read back there.
    Unreadable,
    /// The log starts above.
    Gone,
}

/// An input of the consensus module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a list page is rare, and a box would allocate"
)]
pub enum Event {
    /// A datagram of another member.
    Message {
        /// Who sent it.
        from: MemberId,
        /// The sender's incarnation.
        incarnation: u64,
        /// What it says.
        message: MemberMessage,
    },
    /// The term and vote of an earlier `PersistState` are durable.
    StatePersisted {
        /// The term.
        term: LeadershipTermId,
        /// The vote.
        vote: Option<MemberId>,
    },
    /// The log is contiguous up to `position` in memory.
    Appended {
        /// End of the log.
        position: Position,
    },
    /// The log is durable up to `position`.
    Durable {
        /// Durable end of the log.
        position: Position,
        /// Latest chain-hash checkpoint at or below `position`, as (position, hash).
        checkpoint: (Position, u64),
    },
    /// A NewLeadershipTerm entry is in the log: appended by this leader, or placed by this
    /// follower. Reported before the `Appended` that covers it.
    TermEntry {
        /// Its term.
        term: LeadershipTermId,
        /// Position of the entry.
        base: Position,
        /// End of the entry.
        end: Position,
    },
    /// A frame of `term` carried this commit position of its leader.
    LeaderCommit {
        /// Term of the frame.
        term: LeadershipTermId,
        /// The leader's commit position when it appended the frame.
        position: Position,
    },
    /// The log stream of the followed leader was heard at the joined position.
    LogHeard,
    /// An ordered `HashLog` is done.
    LogHashed {
        /// For whom.
        member: MemberId,
        /// Where.
        position: Position,
        /// What was found.
        hash: LogHash,
    },
    /// What the followed leader sent contradicts itself: nothing of it was taken into the log.
    LogRefused,
    /// An ordered `Truncate` is done: append = written = durable = `position`.
    Truncated {
        /// New end of the log.
        position: Position,
    },
    /// The module and all services have applied the log up to `position`.
    Applied {
        /// Smallest applied position.
        position: Position,
    },
    /// A majority of the members' services answered the entry at `cause`, or one after
    /// `agreed`, otherwise than this member's. Final.
    Diverged {
        /// The entry.
        cause: Position,
        /// The last entry up to which outputs are known to have been equal.
        agreed: Position,
    },
    /// A write or sync of the log or of the node state failed. Final.
    StorageFailed,
}
