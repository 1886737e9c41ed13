//! The log as the module knows it.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::module::leadership_term::TermHistory;

/// The log as the module knows it: positions and terms.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) append: Position,
    pub(super) durable: Position,
    pub(super) history: TermHistory,
    /// Latest chain-hash checkpoint at or below `durable`; position 0 is none.
    pub(super) checkpoint: (Position, u64),
    /// An ordered truncation that has not been reported done.
    pub(super) truncating: Option<Position>,
}

impl LogState {
    /// Leadership term of the last durable frame.
    pub(super) fn term(&self) -> LeadershipTermId {
        self.history.term_below(self.durable)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.truncating.is_none() && self.append == self.durable
    }
}
