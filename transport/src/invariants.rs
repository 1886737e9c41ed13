//! What product code asserts of itself, by the rule's name (`docs/rules.md`).
//!
//! [`invariant!`](crate::invariant) is `assert!` and stays on in release builds. With the feature
//! `sim` it is also the mark that it was evaluated: `lockstep sim` lists each assertion that no
//! seed came to. The table is one for all crates; `bench/tests/citations.rs` checks that each row
//! has its one assertion, and that no assertion begins with a rule's name without a row.

/// Makes the table: a variant per row, below the rule that it is of.
macro_rules! invariants {
    ($($rule:ident: $($(#[doc = $text:literal])+ $name:ident,)+)+) => {
        /// An assertion of product code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Invariant {
            $($($(#[doc = $text])+ $name,)+)+
        }

        impl Invariant {
            /// All of them.
            pub const ALL: &[Self] = &[$($(Self::$name,)+)+];

            /// What reports call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$name => stringify!($name),)+)+
                }
            }

            /// The rule that it is of, by its name in `docs/rules.md`.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self {
                    $($(Self::$name => stringify!($rule),)+)+
                }
            }
        }
    };
}

invariants! {
    E1:
    /// A vote is given once in a term.
    VoteGivenOnce,
    /// No term is durable before it was entered.
    PersistedAfterEntered,
    /// A candidate has voted for itself.
    CandidateVotesForItself,
    /// A vote that leaves is durable.
    VoteLeavesDurable,
    /// The term on the disk never goes down.
    StoredTermKept,
    /// The vote on the disk is not replaced in its term.
    StoredVoteKept,
    E2:
    /// A term that is entered is greater than the one before.
    TermRises,
    /// No log is of a later term than the leader that is heard.
    LogNotAheadOfLeader,
    E3:
    /// A term begins at the durable end of its leader's log.
    TermBeginsDurable,
    /// A candidate's log is durable to its end.
    CandidateLogDurable,
    /// A leader's log has room for its first entry.
    FirstEntryFits,
    E4:
    /// No vote is owed against a leader that is heard.
    HeardLeaderKept,
    /// Who is asked whether it would vote has the term and vote that it had.
    AnsweredWithoutChange,
    /// Who asks whether it would be elected has changed nothing that is not durable.
    AskedWithoutChange,
    E5:
    /// A log that reached a term has the entry that begins it.
    ReachedTermHasEntry,
    /// The terms and bases that a start found increase.
    RecoveredTermsRise,
    /// The terms that a start found lie below the log's end.
    RecoveredTermsBelowEnd,
    E6:
    /// Only a member whose directory counts stands.
    OnlyVotersStand,
    W1:
    /// What is durable lies within the log.
    DurableBelowAppend,
    /// A term begins where its leader stood when it was elected.
    TermBeginsAtOwnEnd,
    /// No term is led that the log already has.
    TermLedOnce,
    /// The terms and bases of a log increase.
    TermsRise,
    /// A leader's own frames are those of its log.
    OwnFramesFit,
    /// What the ack mark remembers is durable.
    MarkBelowDurable,
    W2:
    /// An acknowledgement leaves when the first entry of its term is durable.
    AcknowledgesOwnTerm,
    C1:
    /// What a leader commits lies within its log.
    CommitBelowAppend,
    C2:
    /// A commit position only rises.
    CommitRises,
    C3:
    /// A follower adopts a commit only into a log of the leader's term.
    CommitOfOwnTerm,
    C4:
    /// A start from a snapshot has the log up to there.
    SnapshotWithinLog,
    /// What is applied is committed.
    AppliedBelowCommit,
    C5:
    /// Who follows knows nothing any more of having led.
    FollowerLeadsNothing,
    L1:
    /// An entry that begins a term is in the list of the followed leader.
    EntryInLeadersList,
    L2:
    /// A log is continued only where it was found to be its leader's.
    ComparedBeforePlacing,
    L3:
    /// Who is elected has what it knows to be committed, and misses nothing.
    LeaderHasCommitted,
    L4:
    /// A log is cut to where it was ordered to be.
    CutAsOrdered,
    /// A log is cut above what is committed and applied.
    CutAboveCommit,
    /// A log is joined once it is drained.
    JoinedDrained,
    A1:
    /// What becomes durable is of the write that made it so.
    DurableWithinWrite,
    A2:
    /// A log that ends below its mark has a known loss.
    ShortLogHasLoss,
    A3:
    /// What becomes durable lies in segments that are ready.
    DurableInReadySegment,
    A4:
    /// The chain of hashes ends where the log does.
    ChainEndsWithLog,
    S3:
    /// A leadership opens once its own first entry is applied.
    OpensAfterOwnEntry,
    /// Before it opens nothing else is appended.
    NothingElseBeforeOpening,
    /// Causes are applied in order, each once.
    CausesRise,
    /// No effect leaves the outbox that a leader has yet to append.
    LeavesAfterAppend,
    /// A service on a thread of its own executes what it was handed, in that order.
    ServiceInOrder,
    /// What it emitted there is what has come of it here.
    EffectsHandedOver,
    S4:
    /// A channel carries the answers of the session that its client was told, and no others.
    AnswersOnOwnChannel,
    /// A channel that belongs to a session is given to no other.
    ChannelKeepsItsSession,
    S5:
    /// The ids of sessions rise.
    SessionIdsRise,
    S6:
    /// Answers that leave are committed.
    AnswersCommitted,
    S7:
    /// Outputs are compared in the order of the log.
    OutputsRise,
    T1:
    /// The tail only grows as messages are appended.
    TailRises,
    T2:
    /// What is written ends at or below the writer's limit.
    WrittenBelowLimit,
    T4:
    /// What is sent lies within the receiver's window.
    SentWithinWindow,
    T5:
    /// Only what was sent is sent again.
    RepeatsWhatWasSent,
    T7:
    /// No window reaches beyond what would be taken.
    WindowWithinReach,
    LV3:
    /// Who stands has the promises of a majority.
    StandsWithPromises,
}
