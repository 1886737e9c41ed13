//! `sometimes` marks: rare and important things that the simulator's seeds have to reach.
//!
//! A call is nothing without the feature `sim`. With it, it is the load of a bit that this thread
//! has at hand and, once per run, a store; nothing is ordered by it and no run goes otherwise for
//! it. The table is one for all crates, so that nobody can miss a row: `lockstep sim` prints how
//! many seeds reached each, and fails on those that none did. Calls stand where such a thing
//! happens, not on the path of every message.

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
    /// A candidate gives up because its log grew.
    CandidacyGivenUp,
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
    /// Something placed before is only reported while the leader's list comes.
    JoiningDrainsAgain,
    /// A page of the leader's list does not fit the ones before.
    TermPageRefused,
    /// The leader is heard while the own disk is not ready to join.
    JoiningWaitsForDisk,
    /// The leader has committed more than this member has.
    CommitBeyondOwnLog,
    /// The chain hash has to be taken forward in more than one cycle.
    ChainRewoundInSteps,
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
}

/// 64 bits each.
const WORDS: usize = Mark::ALL.len().div_ceil(64);

/// Marks that were reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkSet([u64; WORDS]);

impl MarkSet {
    /// Whether the mark was reached.
    #[must_use]
    pub const fn contains(&self, mark: Mark) -> bool {
        self.0[mark as usize / 64] >> (mark as usize % 64) & 1 == 1
    }
}

/// This happens now.
#[inline(always)]
pub fn sometimes(mark: Mark) {
    #[cfg(feature = "sim")]
    reached::note(mark);
    #[cfg(not(feature = "sim"))]
    let _ = mark; // Nobody asks: the call is nothing.
}

#[cfg(feature = "sim")]
pub use reached::take;

#[cfg(feature = "sim")]
mod reached {
    use std::cell::Cell;

    use super::{Mark, MarkSet, WORDS};

    thread_local! {
        /// Of the run on this thread. Constant and without a destructor: no check before it is
        /// used.
        static REACHED: [Cell<u64>; WORDS] = const { [const { Cell::new(0) }; WORDS] };
    }

    #[inline(always)]
    pub(super) fn note(mark: Mark) {
        let (word, bit) = (mark as usize / 64, 1 << (mark as usize % 64));
        REACHED.with(|reached| {
            let known = reached[word].get();
            if known & bit == 0 {
                reached[word].set(known | bit);
            }
        });
    }

    /// The marks that were reached on this thread since they were last taken.
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
}
