//! Price bands: no order far from where its symbol trades. The rule, and why, is at
//! [`OrderBook`].

use super::OrderBook;
use super::codec::{RejectReason, Side};
use super::taker::Taker;

impl OrderBook {
    /// Where `symbol` trades: the price of its last trade, or a better one that somebody stands
    /// at; `None` before its first trade.
    #[must_use]
    pub fn reference(&self, symbol: u32) -> Option<i64> {
        let last = *self.last_prices.get(symbol as usize)?;
        if last == 0 {
            return None;
        }
        let best = |side| self.best(symbol, side).map(|level| level.0);
        let bid = best(Side::Buy).filter(|bid| *bid > last);
        let ask = best(Side::Sell).filter(|ask| *ask < last);
        // A book is not crossed, so it is one of the two at most.
        Some(bid.or(ask).unwrap_or(last))
    }

    /// Whether the price of an order is within the band around where its symbol trades.
    pub(super) fn check_band(&self, taker: &Taker) -> Result<(), RejectReason> {
        let Some(reference) = self.reference(taker.symbol) else {
            return Ok(());
        };
        let (low, high) = (taker.price.min(reference), taker.price.max(reference));
        // One step is within every band: where prices are small, nobody could ever leave else.
        let is_within = high - low <= 1 || high * 100 <= low * i64::from(self.limits.band_percent);
        is_within.then_some(()).ok_or(RejectReason::OutsideBand)
    }
}
