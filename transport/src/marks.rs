//! `sometimes` marks: rare and important things that the simulator's seeds have to reach.
//!
//! A call is nothing without the feature `sim`. With it, it is the load of a bit that this thread
//! has at hand and, once per run, a store; nothing is ordered by it and no run goes otherwise for
//! it. The table is one for all crates, so that nobody can miss a row: `lockstep sim` prints how
//! many seeds reached each, and fails on those that none did. Calls stand where such a thing
//! happens, not on the path of every message.

use crate::invariants::Invariant;

/// Makes the table: a variant per row, whose comment is what reports say of it.
macro_rules! marks {
    ($($(#[doc = $text:literal])+ $name:ident,)+) => {
        /// Something that must happen in some run of the simulator.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Mark {
            $($(#[doc = $text])+ $name,)+
        }

        impl Mark {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What reports call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

marks! {
    // Each role, asked whether it would vote.
    /// A follower would vote for who asks.
    PreVoteGrantedByFollower,
    /// A member that asks itself would vote for another one.
    PreVoteGrantedByPreCandidate,
    /// A candidate would vote for another one in the next term.
    PreVoteGrantedByCandidate,
    /// A follower would not vote for who asks.
    PreVoteRefusedByFollower,
    /// A member that asks itself would not vote for another one.
    PreVoteRefusedByPreCandidate,
    /// A candidate would not vote for another one.
    PreVoteRefusedByCandidate,
    /// A leader helps nobody to depose it.
    PreVoteRefusedByLeader,
    /// A follower is asked about a term that is over.
    PreVoteOutdatedAtFollower,
    /// A member that asks itself is asked about a term that is over.
    PreVoteOutdatedAtPreCandidate,
    /// A candidate is asked about a term that is over.
    PreVoteOutdatedAtCandidate,
    /// A leader is asked about a term that is over.
    PreVoteOutdatedAtLeader,
    /// A member that does not count is asked, and says nothing.
    PreVoteUnanswered,
    /// A promise to vote comes after its round.
    PreVoteLate,
    /// Somebody would not vote for who asked.
    PreVoteRefusalHeard,
    /// A member asks again because too few have promised in time.
    PreVoteRoundFailed,

    // Each role, asked for its vote.
    /// A follower votes in a term that is new to it.
    VoteGrantedByFollower,
    /// A member that had asked whether it would be elected votes for another one.
    VoteGrantedByPreCandidate,
    /// A candidate votes for another one in a later term.
    VoteGrantedByCandidate,
    /// A follower enters a candidate's term without a vote for it.
    VoteWithheldByFollower,
    /// A member that had asked enters a candidate's term without a vote for it.
    VoteWithheldByPreCandidate,
    /// A candidate enters another one's term without a vote for it.
    VoteWithheldByCandidate,
    /// A follower that hears its leader does not listen to a candidate.
    VoteRequestUnheardByFollower,
    /// A leader does not listen to a candidate.
    VoteRequestUnheardByLeader,
    /// A member votes although it hears a leader, which has told the candidate to stand.
    VoteHandedOver,
    /// A follower stands because its leader hands over to it.
    StandsForLeader,
    /// A follower is told to stand and does not have just what its leader has.
    StandNowOutdated,
    /// A leader hears that who was told to stand will not.
    StandingRefused,
    /// A leader tells another one to stand, for nothing came of the one before.
    HandOverGoesOn,
    /// A leader that hands over waits until somebody has all of its log.
    HandOverWaitsForLog,
    /// A leader to which nobody was a successor goes on.
    HandOverGivenUp,
    /// A member that is told to stop has the snapshot that it waited for.
    SnapshotBeforeStop,
    /// A follower is asked for its vote in a term that is over.
    VoteRequestOutdatedAtFollower,
    /// A member that asks itself is asked for its vote in a term that is over.
    VoteRequestOutdatedAtPreCandidate,
    /// A candidate is asked for its vote in a term that is over.
    VoteRequestOutdatedAtCandidate,
    /// A leader is asked for its vote in a term that is over.
    VoteRequestOutdatedAtLeader,
    /// A candidate asks again, and has the vote.
    VoteRepeated,
    /// A candidate asks again while the vote for it is not durable.
    VoteRepeatedBeforeDurable,
    /// A vote in a term that was entered without one.
    VoteLateInTerm,
    /// A follower that has voted otherwise in this term says no.
    VoteRefusedInTermByFollower,
    /// A member that asks itself and has voted otherwise says no.
    VoteRefusedInTermByPreCandidate,
    /// A candidate says no to another one of its term.
    VoteRefusedInTermByCandidate,
    /// A candidate hears a no in its own term.
    VoteRefusalHeard,
    /// A vote comes to one that is no candidate of that term any more.
    VoteLate,
    /// A candidacy ends because too few have voted in time.
    CandidacyFailed,
    /// A member that does not count is asked for its vote, and says nothing.
    VoteUnanswered,

    // What keeps a member from standing.
    /// A pre-vote is won while the log is not durable.
    StandingWaitsForLog,
    /// A member does not stand because its log misses what it acknowledged.
    DamagedMemberDoesNotStand,
    /// A member does not stand while its log is being cut.
    StandingWaitsForTruncation,
    /// A member does not stand while its vote is not durable.
    StandingWaitsForVote,
    /// A member that has yet to apply what is committed lets others stand first.
    StandingWaitsForReplay,
    /// A member whose log is damaged has no vote for a log without what it acknowledged.
    LossRefusesCandidate,

    // Each role, told of a later term or by a leader.
    /// A follower is told of a later term.
    LaterTermAtFollower,
    /// A member that asks is told of a later term.
    LaterTermAtPreCandidate,
    /// A candidate is told of a later term.
    LaterTermAtCandidate,
    /// A leader is told of a later term, and steps down.
    LaterTermAtLeader,
    /// A follower that hears its leader does not believe that there is a later term.
    LaterTermUnheard,
    /// A follower hears the leader of a term that is over.
    OldLeaderHeardByFollower,
    /// A member that asks hears the leader of a term that is over.
    OldLeaderHeardByPreCandidate,
    /// A candidate hears the leader of a term that is over.
    OldLeaderHeardByCandidate,
    /// A leader hears the leader of a term that is over.
    OldLeaderHeardByLeader,
    /// A follower hears the leader of a later term.
    NewLeaderHeardByFollower,
    /// A member that asks hears the leader of a later term.
    NewLeaderHeardByPreCandidate,
    /// A candidate hears the leader of a later term.
    NewLeaderHeardByCandidate,
    /// A leader hears the leader of a later term.
    NewLeaderHeardByLeader,
    /// A candidate hears that another one won its term.
    CandidateYields,
    /// A member that asks hears its leader after all.
    PreCandidateYields,
    /// A leader hears a follower of a term that is over.
    OldFollowerHeardByLeader,
    /// Somebody who does not lead this term hears a follower's words.
    FollowerHeardByOther,
    /// A leader that does not hear a majority steps down.
    LeaderUnheardStepsDown,
    /// A leader hears a new life of a member, and forgets what the old one acknowledged.
    NewLifeForgets,
    /// A member whose directory does not count says what only those may say that do.
    LearnerUnheard,

    // Leading.
    /// The first commit of a term commits what older terms left.
    OlderTermsCommitted,
    /// A leader's list of terms takes more than one page.
    TermListPaged,
    /// A follower asks again for a log that is being sent.
    JoinStartRepeated,
    /// A follower joins afresh because its leader sends nothing of its log.
    JoinStartUnheard,
    /// The first entry of a term does not fit in what is left of the log's term.
    FirstEntryPadded,
    /// The first entry of a term is the first of the log's term.
    FirstEntryAtTermStart,
    /// The log buffer is full of what is not written.
    AppendLimitReached,
    /// Effects wait for room in the log buffer.
    EffectsWaitForLog,
    /// A leader stops because its storage failed.
    LeaderStorageFailed,
    /// A follower stops because its storage failed.
    FollowerStorageFailed,

    // Joining and following.
    /// A log is cut to where its leader's parts from it.
    TruncationOrdered,
    /// A cut takes a whole leadership term, or more.
    TruncationOfTerm,
    /// A cut takes the whole log.
    TruncationOfAll,
    /// The leader is lost while the log is being cut.
    TruncationOutlivesLeader,
    /// What is known of commit from before the start is more than anybody has said since.
    CommitFloorUsed,
    /// The leader is heard while the own disk is not ready to join.
    JoiningWaitsForDisk,
    /// The leader has committed more than this member has.
    CommitBeyondOwnLog,
    /// A follower takes the first entry of a term that was padded.
    PaddedFirstEntryFollowed,
    /// A PAD that begins a term waits for the entry behind it.
    PadWaitsForFirstEntry,
    /// A damaged member is whole because its log reached a later term.
    HealedByTerm,
    /// A damaged member is whole because its log is as long as what it lost.
    HealedByPosition,
    /// The mark forgets a loss that was repaired.
    LossForgotten,
    /// A member that has just started follows and acknowledges nothing yet.
    ReturningIsSilent,

    // Streams.
    /// A NAK asks for what its sender no longer keeps for NAKs.
    NakTooOld,
    /// A NAK asks for what was not sent yet, or for another stream.
    NakNotSent,
    /// A NAK asks for part of an earlier term of the stream's log.
    NakOfEarlierTerm,
    /// A NAK begins where a term of the stream's log does.
    NakAtTermStart,
    /// A NAK asks for all up to the newest that was sent.
    NakToTheNewest,
    /// A NAK inside a retransmission under way is ignored.
    NakSuppressed,
    /// A NAK replaces a retransmission under way.
    NakReplacesAnother,
    /// A retransmission waits for what is read from a disk.
    RetransmissionWaits,
    /// A retransmission is given up because its source does not yield it.
    RetransmissionGivenUp,
    /// A status message is out of its sender's reach.
    StatusOutOfReach,
    /// A sender stands at the end of its receiver's window.
    FlowControlStops,
    /// A receiver asks for the description of the stream.
    SetupElicited,
    /// What a sender has to send next cannot be had any more.
    SenderSourceGone,
    /// A frame lies beyond the window.
    FrameOverruns,
    /// A frame beyond a gap comes twice.
    FrameTwiceBeyondGap,
    /// A heartbeat of another stream, or of no place in it.
    HeartbeatForeign,
    /// A gap opens.
    GapOpens,
    /// A gap is closed, and more than what closed it can be read.
    GapClosesAtOnce,
    /// A PAD at the end of a term passes the window, with its header inside.
    PadPassesWindow,
    /// A message is left for a later cycle.
    MessageLeftForLater,

    // The archive.
    /// A log is cut back at its start because a crash came into a cut.
    RecoveryFinishesCut,
    /// A log ends in a torn write, which nobody acknowledged.
    RecoveryCutsTornTail,
    /// A torn tail in which a leader says what was committed is cut once the mark says so.
    RecoveryCutsEvidence,
    /// A start finds that something acknowledged is missing.
    RecoveryFindsLoss,
    /// A start finds a loss that an earlier start has found, and that is not repaired.
    RecoveryKnowsLoss,
    /// A start finds that an earlier loss has been repaired.
    RecoveryFindsLossCovered,
    /// A start overwrites what lies behind the end.
    RecoveryErases,
    /// A start finds a log that was not synced write by write.
    RecoveryOfUnsyncedLog,
    /// A start took a part of the log that only the log buffer had.
    RecoveryTakesLogMemory,
    /// A start finds no ack mark.
    RecoveryWithoutMark,
    /// A start finds a PAD that begins a term, and its first entry.
    RecoveryOfPaddedFirstEntry,
    /// A start finds a PAD that begins a term, and nothing behind it.
    RecoveryOfLonePad,
    /// A start has to make the segment of the log's end.
    SegmentMadeAtStart,
    /// There is no space for another segment.
    SegmentRefused,
    /// A segment is made after one was refused.
    SegmentAfterRefusal,
    /// A segment cannot be made, though not for want of space.
    SegmentFailed,
    /// What was cut off is overwritten.
    StaleBytesErased,
    /// What was to be overwritten lies in a segment that is missing.
    StaleSegmentMissing,
    /// The block at the end of a cut log is written again.
    TailBlockRewritten,
    /// The block at the end of a cut log is read back.
    TailBlockReadBack,
    /// A write ends at the end of a term of the log.
    WriteEndsTerm,
    /// A write of the log fails.
    LogWriteFailed,
    /// A write of the mark fails.
    MarkWriteFailed,
    /// A write of node state fails.
    StateWriteFailed,
    /// A write of the identity file fails.
    IdentityWriteFailed,
    /// The mark is written along with the log's writes.
    MarkWrittenAlong,
    /// The mark is written with a sync of its own once the log is idle.
    MarkSyncedWhenIdle,
    /// Part of the log is read from the disk.
    LogReadFromDisk,
    /// A read of the log comes back after the log was cut.
    LogReadOutlived,
    /// A read of the log fails.
    LogReadFailed,
    /// A read of the log finds bytes that are not the log's.
    LogReadDamaged,

    // Threads of a node's agents.
    /// The service of a leader stalls on its thread for longer than an election timeout.
    LeadersServiceStalls,
    /// The archive of a leader does.
    LeadersArchiveStalls,
    /// The clients' side of a leader does.
    LeadersClientsSideStalls,
    /// A process ends, and its archive's thread has yet to begin what it was told to do.
    OrderedWorkLost,
    /// A process ends, and has yet to hear that its archive's thread has done what it was told to.
    CompletionsUnheard,
    /// A process ends, and the thread of its clients' side has yet to send what it was told to.
    QueuedDatagramsLost,

    // Forming.
    /// A record is drawn again because a directory changed.
    FormationRedraws,
    /// A member takes a later draw.
    FormationTakesLaterDraw,
    /// A member that comes back is told that its cluster has formed.
    FormationTakesFinal,

    // Applying, sessions, egress.
    /// A Response waits until a majority is known to have the same output.
    ApplyWaitsForOutput,
    /// An entry waits until the clients' side has taken what became of sessions.
    ApplyWaitsForNews,
    /// An entry waits until the service's thread has room for it.
    ApplyWaitsForService,
    /// A Response waits until this node's service, on its thread, has executed what it answers.
    ResponseBeforeExecution,
    /// Another process takes over a session.
    SessionTakenOver,
    /// A client's message waits until its leader may take any.
    MessageAwaitsOpening,
    /// A request waits for what becomes of a takeover of its session.
    RequestAwaitsTakeover,
    /// A request comes again before it is applied.
    DuplicateOfUnapplied,
    /// A request comes again after it was applied.
    DuplicateOfApplied,
    /// An entry waits for room on the disk.
    CauseAwaitsDiskRoom,
    /// A session is closed because its client fell silent.
    SilentSessionClosed,
    /// A session that fell silent cannot be closed for want of room.
    SilentSessionAwaitsRoom,
    /// A client is told how far its requests are applied.
    ProgressTold,
    /// What clients acknowledged is logged without a request of theirs.
    AcknowledgementsLogged,
    /// A process that asks for a session waits for another one that does.
    ClaimAwaitsAnother,
    /// A process comes back to its session.
    SessionFoundAgain,
    /// A process that was replaced asks for its session.
    FencedProcessAsks,
    /// A client asks again while its entry is on its way.
    ConnectRepeated,
    /// A closed session's client gets its last responses first.
    ClosedEventAwaitsResponses,
    /// A pass over the log serves sessions that lag.
    EgressPass,
    /// A session that lags joins a pass under way.
    EgressPassJoined,

    // Clients.
    /// A client follows so many redirects that it pauses.
    RedirectsExhausted,
    /// A client has as many requests under way as it may.
    RequestWindowFull,
    /// A request does not fit at the end of the ring that keeps them.
    RequestRingWraps,
    /// A client sends again because nothing is applied for long.
    StallRewinds,
    /// A client leaves its leader because nothing is applied for long.
    StallLosesLeader,
    /// A client does not hear its leader any more.
    LeaderSilentToClient,
    /// A client's leader does not hear it any more.
    LeaderDeafToClient,
    /// A client's leader ends the stream.
    LeaderEndsStream,
    /// A new leader introduces itself to a client that has not asked.
    LeaderIntroducesItself,
    /// A new process of a client finds its session.
    SessionResumed,
    // Snapshots.
    /// A member applies an entry that asks for a snapshot, and writes none.
    SnapshotPassedOver,
    /// A member gives up a snapshot that it has begun.
    SnapshotAbandoned,
    /// A start removes the file of a snapshot that was not finished, or is out of date.
    SnapshotFileRemoved,
    /// A member that diverged gives up the snapshots that it took after that.
    SnapshotStruck,
    /// There is no room for a third snapshot: the older of two goes first.
    SnapshotDropped,
    /// The log of a member starts higher than before.
    LogTrimmed,
    /// A session is closed because the log can no longer be kept for it.
    RetentionClose,
    /// A client lacks answers that are no longer kept.
    AnswersGone,
    /// A snapshot's file is removed because two newer ones are stored.
    SnapshotRemoved,
    /// A start begins from a snapshot.
    SnapshotBegunFrom,
    /// A start begins from the older of two snapshots.
    SnapshotBeforeBegunFrom,
    /// A snapshot of another member is fetched and stored.
    SnapshotFetched,
    /// A member that is asked for a snapshot cannot give it, or is silent, and another one is
    /// asked.
    SnapshotSourceLeft,
    /// A member is asked for a snapshot that it has no more.
    SnapshotRefused,
    /// What came is not what its name says.
    SnapshotOtherBytes,
    /// What is fetched gives way to what a member takes itself.
    SnapshotMakesWay,
    /// A member fetches a snapshot because its leader has let go of the log that it lacks.
    SnapshotReplacesLog,
    /// A member does not stand, for its log lacks answers that clients are owed.
    StandingLacksAnswers,
}

/// The assertions have their bits behind those of the marks.
const PLACES: usize = Mark::ALL.len() + Invariant::ALL.len();

/// 64 bits each.
const WORDS: usize = PLACES.div_ceil(64);

/// Marks that were reached, and assertions that were evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkSet([u64; WORDS]);

impl MarkSet {
    /// Whether the mark was reached.
    #[must_use]
    pub const fn contains(&self, mark: Mark) -> bool {
        self.has(mark as usize)
    }

    /// Whether the assertion was evaluated.
    #[must_use]
    pub const fn has_evaluated(&self, invariant: Invariant) -> bool {
        self.has(place_of(invariant))
    }

    const fn has(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }
}

const fn place_of(invariant: Invariant) -> usize {
    Mark::ALL.len() + invariant as usize
}

/// This happens now.
#[inline(always)]
pub fn sometimes(mark: Mark) {
    #[cfg(feature = "sim")]
    reached::note(mark as usize);
    #[cfg(not(feature = "sim"))]
    let _ = mark; // Nobody asks: the call is nothing.
}

/// An assertion is evaluated now: [`invariant!`](crate::invariant) says so itself.
#[inline(always)]
pub fn evaluated(invariant: Invariant) {
    #[cfg(feature = "sim")]
    reached::note(place_of(invariant));
    #[cfg(not(feature = "sim"))]
    let _ = invariant; // As above.
}

/// Asserts an [`Invariant`] by the name of its row; the words begin with the rule's name.
///
/// It is for what our own code must have kept. Bytes that came from elsewhere give typed errors.
#[macro_export]
macro_rules! invariant {
    ($name:ident, $holds:expr, $($words:tt)+) => {{
        $crate::marks::evaluated($crate::invariants::Invariant::$name);
        assert!($holds, $($words)+);
    }};
}

#[cfg(feature = "sim")]
pub use reached::take;

#[cfg(feature = "sim")]
mod reached {
    use std::cell::Cell;

    use super::{MarkSet, WORDS};

    thread_local! {
        /// Of the run on this thread. Constant and without a destructor: no check before it is
        /// used.
        static REACHED: [Cell<u64>; WORDS] = const { [const { Cell::new(0) }; WORDS] };
    }

    #[inline(always)]
    pub(super) fn note(place: usize) {
        let (word, bit) = (place / 64, 1 << (place % 64));
        REACHED.with(|reached| {
            let known = reached[word].get();
            if known & bit == 0 {
                reached[word].set(known | bit);
            }
        });
    }

    /// What was reached and evaluated on this thread since it was last taken.
    #[must_use]
    pub fn take() -> MarkSet {
        REACHED.with(|reached| MarkSet(std::array::from_fn(|word| reached[word].take())))
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_reached_once_and_taken_with_the_others() {
        let _before = take();
        let marks = [Mark::ALL[0], Mark::ALL[Mark::ALL.len() - 1]];
        for mark in [marks[0], marks[1], marks[0]] {
            sometimes(mark);
        }
        let reached = take();
        let all = Mark::ALL.iter().filter(|mark| reached.contains(**mark));
        assert!(all.eq(&marks));
        assert_eq!(take(), MarkSet::default());
    }

    #[test]
    fn an_assertion_is_evaluated_apart_from_all_marks_and_other_assertions() {
        let _before = take();
        let newest = Invariant::ALL[Invariant::ALL.len() - 1];
        evaluated(newest);
        crate::invariant!(VoteGivenOnce, true, "a true one");
        let seen = take();
        assert!(!Mark::ALL.iter().any(|mark| seen.contains(*mark)));
        let all = Invariant::ALL.iter();
        let evaluated = all.filter(|invariant| seen.has_evaluated(**invariant));
        assert!(evaluated.eq(&[Invariant::VoteGivenOnce, newest]));
    }
}
