//! What members say to each other. Idempotent datagrams: lost ones are repeated by timers,
//! late ones are recognised by term, incarnation and join number.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::module::member::TermBase;
use crate::module::membership::Hello;
use crate::module::output_agreement::{OutputAt, OutputMessage};
use crate::protocol::snapshot_message::SnapshotMessage;

/// Terms in one [`MemberMessage::JoinReply`] page.
pub const JOIN_PAGE_TERMS: usize = 32;

/// A page of the leader's list of terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermPage {
    /// Number of this page, from 0.
    pub page: u32,
    /// Pages in all.
    pub pages: u32,
    /// Entries used in `terms`.
    pub count: u32,
    /// The terms, oldest first over all pages.
    pub terms: [TermBase; JOIN_PAGE_TERMS],
}

/// One message between members. The sender's id and incarnation travel in its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a list page is rare, and a box would allocate"
)]
pub enum MemberMessage {
    /// Would you vote for me in `term`? Changes nothing durable.
    PreVoteRequest {
        /// The term that would be stood for.
        term: LeadershipTermId,
        /// Leadership term of the last durable frame.
        log_term: LeadershipTermId,
        /// Durable end of the log.
        position: Position,
    },
    /// Answer to [`PreVoteRequest`](Self::PreVoteRequest).
    PreVote {
        /// The term asked about.
        term: LeadershipTermId,
        /// Whether the vote would be granted.
        granted: bool,
    },
    /// Vote for me in `term`. Sent only after the term and own vote are durable.
    VoteRequest {
        /// The term stood for.
        term: LeadershipTermId,
        /// Leadership term of the last durable frame.
        log_term: LeadershipTermId,
        /// Durable end of the log, which is also its end.
        position: Position,
        /// The term whose leader told this member to stand: whoever hears that leader may vote
        /// all the same. None where nobody did.
        handed_over: LeadershipTermId,
    },
    /// The leader hands over: stand in the term after `term`, at once.
    StandNow {
        /// The leader's term.
        term: LeadershipTermId,
        /// End of its log, which it appends nothing to meanwhile.
        position: Position,
    },
    /// Answer to [`VoteRequest`](Self::VoteRequest), sent only after the vote is durable.
    Vote {
        /// The voter's term.
        term: LeadershipTermId,
        /// Whether the vote is granted.
        granted: bool,
    },
    /// The leader's commit position; also its heartbeat.
    CommitPosition {
        /// The leader's term.
        term: LeadershipTermId,
        /// Its commit position.
        position: Position,
        /// How far its own log is durable in this term, 0 before its first entry is.
        durable: Position,
    },
    /// A follower asks the leader of `term` for its list of terms.
    JoinRequest {
        /// The leader's term.
        term: LeadershipTermId,
        /// Leadership term of the follower's last durable frame.
        log_term: LeadershipTermId,
        /// End of the follower's log, drained to disk.
        end: Position,
        /// Page of the list wanted.
        page: u32,
    },
    /// Answer to [`JoinRequest`](Self::JoinRequest).
    JoinReply {
        /// The leader's term.
        term: LeadershipTermId,
        /// Its commit position.
        commit: Position,
        /// End of its log.
        end: Position,
        /// A page of its list.
        page: TermPage,
    },
    /// The follower's log and the leader's list part at `position`: is what lies below the same?
    JoinCheck {
        /// The leader's term.
        term: LeadershipTermId,
        /// Where they part.
        position: Position,
        /// The chain hash of the follower's log there; `None` if no frame ends there.
        hash: Option<u64>,
    },
    /// Answer to [`JoinCheck`](Self::JoinCheck), and what a follower is told whose log was found
    /// to differ later.
    JoinVerdict {
        /// The leader's term.
        term: LeadershipTermId,
        /// The position asked about.
        position: Position,
        /// The chain hash of the leader's log there; `None` if no frame of it ends there.
        hash: Option<u64>,
    },
    /// The follower has truncated its log to `position`: send from there.
    JoinStart {
        /// The leader's term.
        term: LeadershipTermId,
        /// Where the follower's log ends.
        position: Position,
        /// Counts this follower's joins, so that a late duplicate is recognised.
        join: u32,
    },
    /// What the follower has durable in `term`.
    AppendPosition {
        /// The leader's term.
        term: LeadershipTermId,
        /// Durable end of the follower's log.
        durable: Position,
        /// A position up to `durable` at which the log's chain hash was taken; 0 if none.
        checkpoint: Position,
        /// The chain hash there.
        checkpoint_hash: u64,
        /// What the follower's service has put out so far. The module knows nothing of services:
        /// the agent fills it in when the message leaves.
        output: OutputAt,
    },
    /// Whether the services agree.
    Output(OutputMessage),
    /// Who the sender is and what it knows of the cluster and of the receiver. Not for the
    /// consensus module: it has no part in a term.
    Hello(Hello),
    /// Which snapshots there are, and the fetching of one: as a Hello, no part of a term.
    Snapshot(SnapshotMessage),
}
