//! Members, terms and the small values that name them.

use lockstep_transport::position::Position;

/// Number of a member in the configured list, from 0.
pub type MemberId = u8;

/// A leadership term. Starts at 1 for the first election; 0 means "none yet". Fits 31 bits,
/// because log frames carry it in the upper half of their reserved value.
pub type LeadershipTermId = i64;

pub use lockstep_client::protocol::MEMBERS_MAX;

/// Where a leadership term begins: the position of its NewLeadershipTerm entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermBase {
    /// The term.
    pub term: LeadershipTermId,
    /// Position of its first entry.
    pub base: Position,
}
