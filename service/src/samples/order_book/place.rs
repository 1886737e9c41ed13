//! Where somebody is who walks all open orders.

use super::orders::NO_ORDER;

/// An order in a queue of a side, or the end of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the side.
    pub(super) side: usize,
    /// Index of the price level there, from the worst price.
    pub(super) level: usize,
    /// The order; [`NO_ORDER`] where the level's first is next.
    pub(super) order: u32,
}

impl Place {
    /// Before everything.
    pub(super) const START: Self = Self {
        side: 0,
        level: 0,
        order: NO_ORDER,
    };
}
