//! Sizes and rules of the order book, and what answers need at most by them.

use super::{codec, reports};

/// Largest `side_orders_max`: so many orders of the largest quantity still add up in 64 bits.
pub const SIDE_ORDERS_LIMIT: u32 = 1 << 20;

/// Most orders over all symbols that a book can be made for: about 2 GiB.
pub const ORDERS_LIMIT: u64 = 1 << 24;

/// Largest `band_percent`: so many per cent of the largest price still fit in 63 bits.
pub const BAND_PERCENT_LIMIT: u32 = 1 << 20;

/// Sizes and rules of the order book, fixed at construction and equal on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Symbols 0 to this, exclusive; each has its book.
    pub symbols_max: u32,
    /// Most open orders of one side of one symbol; at most 2^20.
    pub side_orders_max: u32,
    /// Most open orders of one session, over all symbols; less than a side holds, so that no
    /// session fills one alone. They are all cancelled in one step when it closes.
    pub session_orders_max: u32,
    /// Most sessions with open orders.
    pub sessions_max: u32,
    /// Least price times quantity of an order, in units of both, 10^-7.
    pub notional_min: u64,
    /// How far from where a symbol trades a price may be: up to this many per cent of it, or down
    /// to what it is this many per cent of. More than 100, at most [`BAND_PERCENT_LIMIT`]; a
    /// price one step away is always within it.
    pub band_percent: u32,
    /// Most makers one request trades with.
    pub fills_max: u32,
    /// Most other sessions one request trades with: each is sent a message.
    pub counterparties_max: u32,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self {
            symbols_max: 16,
            side_orders_max: 4_096,
            session_orders_max: 2_048,
            // As many as a cluster may have.
            sessions_max: 65_536,
            // 1.00
            notional_min: 10_000_000,
            // Five times as much, or a fifth.
            band_percent: 500,
            fills_max: 256,
            counterparties_max: 48,
        }
    }
}

impl BookLimits {
    /// Most messages one request is answered with, what a cluster must permit as effects of one
    /// cause: those to the taker, one to each counterparty and another for each whose reports
    /// need more than one, and one to whom is cancelled for a better price.
    #[must_use]
    pub const fn messages_max(&self) -> u32 {
        let further = self.fills_max / reports::FILLS_PER_MESSAGE;
        (further + 2) + (self.counterparties_max + further) + 1
    }

    /// Most bytes of these messages.
    #[must_use]
    pub const fn message_bytes_max(&self) -> usize {
        let reports = self.reports_max() as usize * codec::REPORT_LENGTH_MAX;
        reports + self.messages_max() as usize * crate::outbox::EFFECT_CHARGE_MIN
    }

    /// Most reports of one request: the answer, a fill to either side, a cancelled order.
    pub(super) const fn reports_max(&self) -> u32 {
        2 + 2 * self.fills_max
    }

    /// Most open orders over all symbols.
    pub(super) const fn orders_max(&self) -> u64 {
        self.symbols_max as u64 * 2 * self.side_orders_max as u64
    }

    /// Stops a program that would make a book of impossible limits.
    ///
    /// # Panics
    /// When a limit is 0 or out of its range, or `session_orders_max` is not below
    /// `side_orders_max`.
    pub(super) fn check(&self) {
        assert!(
            self.symbols_max > 0 && self.sessions_max > 0 && self.session_orders_max > 0,
            "empty order book: {self:?}"
        );
        assert!(
            self.fills_max > 0 && self.counterparties_max > 0,
            "a book without trades: {self:?}"
        );
        assert!(
            self.session_orders_max < self.side_orders_max
                && self.side_orders_max <= SIDE_ORDERS_LIMIT
                && self.orders_max() <= ORDERS_LIMIT,
            "orders out of range: {self:?}"
        );
        assert!(
            self.band_percent > 100 && self.band_percent <= BAND_PERCENT_LIMIT,
            "a band of no width: {self:?}"
        );
    }
}
