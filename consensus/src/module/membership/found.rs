//! What a start found on its disk.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::module::member::MemberId;

/// What a start found in its directory: of the log, including what it acknowledged and had gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Found {
    /// Leadership term.
    pub term: LeadershipTermId,
    /// Vote in it.
    pub vote: Option<MemberId>,
    /// Leadership term in which the log ends, 0 for an empty one.
    pub log_term: LeadershipTermId,
    /// Where it ends.
    pub end: Position,
}
