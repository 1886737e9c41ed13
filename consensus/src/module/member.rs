//! Members, terms and the small values that name them.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

/// Number of a member in the configured list, from 0.
pub type MemberId = u8;

pub use lockstep_client::protocol::MEMBERS_MAX;

/// Where a leadership term begins: the position of its NewLeadershipTerm entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermBase {
    /// The term.
    pub term: LeadershipTermId,
    /// Position of its first entry.
    pub base: Position,
}

impl TermBase {
    /// The leadership term of a log that ends in `tail`, none for an empty one.
    #[must_use]
    pub(crate) const fn term_of(tail: Option<Self>) -> LeadershipTermId {
        match tail {
            Some(tail) => tail.term,
            None => LeadershipTermId::NONE,
        }
    }
}
