//! Which mark it is that a message meets a member in its present role.

use lockstep_transport::marks::{Mark, sometimes};

use super::ConsensusModule;

/// A mark per role, in the order of their numbers; none where the role cannot be.
pub(super) type ByRole = [Option<Mark>; 4];

pub(super) const PRE_VOTE_GRANTED: ByRole = [
    Some(Mark::PreVoteGrantedByFollower),
    Some(Mark::PreVoteGrantedByPreCandidate),
    Some(Mark::PreVoteGrantedByCandidate),
    None,
];
pub(super) const PRE_VOTE_REFUSED: ByRole = [
    Some(Mark::PreVoteRefusedByFollower),
    Some(Mark::PreVoteRefusedByPreCandidate),
    Some(Mark::PreVoteRefusedByCandidate),
    Some(Mark::PreVoteRefusedByLeader),
];
pub(super) const PRE_VOTE_OUTDATED: ByRole = [
    Some(Mark::PreVoteOutdatedAtFollower),
    Some(Mark::PreVoteOutdatedAtPreCandidate),
    Some(Mark::PreVoteOutdatedAtCandidate),
    Some(Mark::PreVoteOutdatedAtLeader),
];
pub(super) const VOTE_GRANTED: ByRole = [
    Some(Mark::VoteGrantedByFollower),
    Some(Mark::VoteGrantedByPreCandidate),
    Some(Mark::VoteGrantedByCandidate),
    None,
];
pub(super) const VOTE_WITHHELD: ByRole = [
    Some(Mark::VoteWithheldByFollower),
    Some(Mark::VoteWithheldByPreCandidate),
    Some(Mark::VoteWithheldByCandidate),
    None,
];
pub(super) const VOTE_REQUEST_UNHEARD: ByRole = [
    Some(Mark::VoteRequestUnheardByFollower),
    None,
    None,
    Some(Mark::VoteRequestUnheardByLeader),
];
pub(super) const VOTE_REQUEST_OUTDATED: ByRole = [
    Some(Mark::VoteRequestOutdatedAtFollower),
    Some(Mark::VoteRequestOutdatedAtPreCandidate),
    Some(Mark::VoteRequestOutdatedAtCandidate),
    Some(Mark::VoteRequestOutdatedAtLeader),
];
pub(super) const VOTE_REFUSED_IN_TERM: ByRole = [
    Some(Mark::VoteRefusedInTermByFollower),
    Some(Mark::VoteRefusedInTermByPreCandidate),
    Some(Mark::VoteRefusedInTermByCandidate),
    None,
];
pub(super) const LATER_TERM: ByRole = [
    Some(Mark::LaterTermAtFollower),
    Some(Mark::LaterTermAtPreCandidate),
    Some(Mark::LaterTermAtCandidate),
    Some(Mark::LaterTermAtLeader),
];
pub(super) const OLD_LEADER_HEARD: ByRole = [
    Some(Mark::OldLeaderHeardByFollower),
    Some(Mark::OldLeaderHeardByPreCandidate),
    Some(Mark::OldLeaderHeardByCandidate),
    Some(Mark::OldLeaderHeardByLeader),
];
pub(super) const NEW_LEADER_HEARD: ByRole = [
    Some(Mark::NewLeaderHeardByFollower),
    Some(Mark::NewLeaderHeardByPreCandidate),
    Some(Mark::NewLeaderHeardByCandidate),
    Some(Mark::NewLeaderHeardByLeader),
];
/// The leader of the present term is heard.
pub(super) const LEADER_HEARD: ByRole = [
    None,
    Some(Mark::PreCandidateYields),
    Some(Mark::CandidateYields),
    None,
];

impl ConsensusModule {
    /// This happens to a member in its present role.
    pub(super) fn sometimes_as(&self, by_role: ByRole) {
        if let Some(mark) = by_role[self.role as usize] {
            sometimes(mark);
        }
    }
}
