//! A limit order book: add, cancel, replace; matched by price, then by time.
//!
//! One book per symbol, price and quantity in fixed point ([`codec`]). What an exchange would
//! decide where one client could harm the others is at [`OrderBook`].
//!
//! Everything is reserved at construction; nothing is allocated per message. The work of a
//! request is bounded by [`BookLimits`], that of a closing session by its open orders.

mod band;
mod book_snapshot;
pub mod codec;
pub mod csv;
mod levels;
mod limits;
mod matching;
mod orders;
mod owners;
mod place;
pub mod reports;
mod service;
mod slot_index;
mod taker;

use lockstep_transport::ids::SessionId;

use self::codec::{
    AckKind, Action, OrderRequest, PRICE_MAX, QUANTITY_MAX, RejectReason, Report, Side,
};
use self::levels::Levels;
pub use self::limits::{BAND_PERCENT_LIMIT, BookLimits, ORDERS_LIMIT, SIDE_ORDERS_LIMIT};
use self::orders::{NO_ORDER, Orders};
use self::owners::Owners;
use self::place::Place;
use self::reports::Outgoing;
use self::taker::Taker;
use crate::state_hash::StateHash;

/// What the books did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookTotals {
    /// Requests acknowledged.
    pub acks: u64,
    /// Requests rejected, malformed ones included.
    pub rejects: u64,
    /// Trades between a maker and a taker.
    pub fills: u64,
    /// Quantity traded, in units of [`codec::QUANTITY_DECIMALS`].
    pub quantity: u128,
    /// Sum over all trades of price times quantity.
    pub notional: u128,
    /// Orders the book cancelled unasked, for whatever [`codec::CancelReason`].
    pub cancelled: u64,
    /// Orders cancelled because their session closed.
    pub orphans: u64,
    /// Messages the cluster refused to carry: 0 unless its effect limits are below what
    /// [`BookLimits`] says that the book needs.
    pub messages_lost: u64,
}

impl BookTotals {
    /// How many of each thing there were, in the order of a snapshot.
    const fn counts(&self) -> [u64; 6] {
        [
            self.acks,
            self.rejects,
            self.fills,
            self.cancelled,
            self.orphans,
            self.messages_lost,
        ]
    }
}

/// An open order, to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// Its side.
    pub side: Side,
    /// Its price, in units of [`codec::PRICE_DECIMALS`].
    pub price: i64,
    /// What is open, in units of [`codec::QUANTITY_DECIMALS`].
    pub remaining: u64,
    /// What has traded.
    pub filled: u64,
}

/// The order books of all symbols.
///
/// # Answers
/// A request gets one Ack or Reject, then a Fill per maker met; the owner of the maker gets the
/// Fill too. All reports that one request has for a session are one message ([`reports`]).
///
/// # Order ids
/// An order is known by the session that added it and the id that this session gave it. So ids
/// are no session's to take from another: two may use the same, and nobody can change, or even
/// find, an order of another session. An id is a duplicate while its own order is open.
///
/// # Changing orders
/// The quantity of a replace is the *total*, as in FIX: what was filled counts, so a replace
/// that races a fill trades no more than it says. A total not above what was filled ends the
/// order (`remaining` 0); an order that was filled whole is unknown: too late. The place in the
/// queue is kept only at the same price with a total not larger, otherwise the order is as new
/// and may trade. A trade with oneself is a trade.
///
/// # Price bands
/// Once a symbol has traded, a price that is [`BookLimits::band_percent`] of where it trades, or
/// farther, either way, is rejected ([`OutsideBand`](codec::RejectReason::OutsideBand)), also as
/// the new price of a replace: it is worthless, or a slip of the hand. Where it trades is the
/// price of the last trade; or the best bid if that is higher, the best ask if that is lower,
/// since whoever names a better price stands there to trade. Orders that rest stay when it moves
/// away from them.
///
/// An exchange begins a day with a reference of its own. This book is told none, so two sessions
/// may make a first trade at any price between themselves. That shuts nobody out: each order that
/// rests a band away moves the reference by as much, so a few lead back from anywhere, which is
/// why the band is wide.
///
/// # A full side
/// A side of a symbol holds [`BookLimits::side_orders_max`] orders, of as many prices. When one
/// more would rest, the order that would trade last is cancelled
/// ([`BetterPrice`](codec::CancelReason::BetterPrice)) if its price is worse, otherwise the new
/// one is rejected. So worthless prices keep nobody out, and other symbols and the other side
/// have room of their own. One session has fewer open orders than a side holds.
///
/// # Dust, and takers of very many makers
/// An order below [`BookLimits::notional_min`] is rejected; what is left of one may be less. A
/// request trades with [`BookLimits::fills_max`] orders, of [`BookLimits::counterparties_max`]
/// other sessions, because one entry's effects are limited. What it has not traded then cannot
/// rest in a crossed book: it is cancelled ([`MatchLimit`](codec::CancelReason::MatchLimit)) and
/// can be sent again.
///
/// # Closing sessions
/// The orders of a session that closed, for whatever reason, are cancelled with it: nobody could
/// cancel them any more, and nobody is left to be told.
#[derive(Debug)]
pub struct OrderBook {
    limits: BookLimits,
    orders: Orders,
    owners: Owners,
    /// Bids of symbol s at 2 s, asks at 2 s + 1.
    sides: Vec<Levels>,
    /// Price of the last trade of each symbol; 0 before there was one.
    last_prices: Vec<i64>,
    totals: BookTotals,
    /// Plans made so far; tells sessions that a plan has counted from others.
    plans: u64,
    outgoing: Outgoing,
    /// The order that a snapshot which is being written comes to next.
    written: Place,
}

impl Default for OrderBook {
    fn default() -> Self {
        Self::new(BookLimits::default())
    }
}

impl OrderBook {
    /// Empty books.
    ///
    /// # Panics
    /// When `limits` contradict what [`BookLimits`] says of them.
    #[must_use]
    pub fn new(limits: BookLimits) -> Self {
        limits.check();
        let side = |side| Levels::new(side, limits.side_orders_max);
        Self {
            limits,
            orders: Orders::new(limits.orders_max() as u32),
            owners: Owners::new(limits.sessions_max),
            sides: (0..limits.symbols_max)
                .flat_map(|_| [side(Side::Buy), side(Side::Sell)])
                .collect(),
            last_prices: vec![0; limits.symbols_max as usize],
            totals: BookTotals::default(),
            plans: 0,
            outgoing: Outgoing::new(limits.reports_max() as usize),
            written: Place::START,
        }
    }

    /// Carries out one request of `session`; each report is handed to `report` with the session
    /// it is for, in order.
    pub fn apply(
        &mut self,
        session: SessionId,
        request: &OrderRequest,
        report: &mut impl FnMut(SessionId, &Report),
    ) {
        let outcome = match request.action {
            Action::Add => self.add(session, request, report),
            Action::Cancel => self.cancel(session, request, report),
            Action::Replace => self.replace(session, request, report),
        };
        match outcome {
            Ok(()) => self.totals.acks += 1,
            Err(reason) => self.reject(session, request, reason, report),
        }
    }

    fn reject(
        &mut self,
        session: SessionId,
        request: &OrderRequest,
        reason: RejectReason,
        report: &mut impl FnMut(SessionId, &Report),
    ) {
        self.totals.rejects += 1;
        let rejected = Report::Reject {
            reason,
            symbol: request.symbol,
            order_id: request.order_id,
        };
        report(session, &rejected);
    }

    fn add(
        &mut self,
        session: SessionId,
        request: &OrderRequest,
        report: &mut impl FnMut(SessionId, &Report),
    ) -> Result<(), RejectReason> {
        let taker = self.taker(session, request)?;
        self.check_notional(request)?;
        if self.orders.find(session, request.order_id).is_some() {
            return Err(RejectReason::DuplicateOrder);
        }
        self.check_band(&taker)?;
        let plan = self.plan(&taker);
        if plan.rests(&taker) > 0 {
            self.check_room(&taker)?;
        }
        self.execute(taker, plan, AckKind::Accepted, report);
        Ok(())
    }

    /// Whether one more order of this session and price may rest. Judged before anything trades.
    fn check_room(&self, taker: &Taker) -> Result<(), RejectReason> {
        let own = self.owners.orders_of(taker.session);
        if own.ok_or(RejectReason::BookFull)? >= self.limits.session_orders_max {
            return Err(RejectReason::TooManyOrders);
        }
        let side = self.side(taker);
        if side.is_full() && side.last_behind(taker.price).is_none() {
            return Err(RejectReason::BookFull);
        }
        Ok(())
    }

    fn cancel(
        &mut self,
        session: SessionId,
        request: &OrderRequest,
        report: &mut impl FnMut(SessionId, &Report),
    ) -> Result<(), RejectReason> {
        let slot = self.own_order(session, request)?;
        let order = *self.orders.get(slot);
        self.remove(slot);
        let ack = Report::Ack {
            kind: AckKind::Cancelled,
            symbol: request.symbol,
            order_id: request.order_id,
            remaining: order.quantity,
            filled: order.filled,
        };
        report(session, &ack);
        Ok(())
    }

    fn replace(
        &mut self,
        session: SessionId,
        request: &OrderRequest,
        report: &mut impl FnMut(SessionId, &Report),
    ) -> Result<(), RejectReason> {
        let mut taker = self.taker(session, request)?;
        let slot = self.own_order(session, request)?;
        let order = *self.orders.get(slot);
        if order.side != taker.side {
            return Err(RejectReason::SideMismatch);
        }
        // The total counts what has traded: a fill that the client did not know of when it sent
        // the request leaves less to trade, not more. It may even leave nothing.
        taker.filled = order.filled;
        taker.quantity = request.quantity.saturating_sub(order.filled);
        let is_done = taker.quantity == 0;
        if !is_done {
            self.check_notional(request)?;
            if taker.price != order.price {
                self.check_band(&taker)?;
            }
        }
        let keeps_place = order.price == taker.price && taker.quantity <= order.quantity;
        if !is_done && !keeps_place {
            let plan = self.plan(&taker);
            // The order leaves first, so that there is room for it on its side.
            self.remove(slot);
            self.execute(taker, plan, AckKind::Replaced, report);
            return Ok(());
        }
        if is_done {
            self.remove(slot);
        } else {
            let book = &mut self.sides[taker.side.index(taker.symbol)];
            book.reduce(slot, order.quantity - taker.quantity, &mut self.orders);
        }
        let ack = Report::Ack {
            kind: AckKind::Replaced,
            symbol: taker.symbol,
            order_id: taker.id,
            remaining: taker.quantity,
            filled: taker.filled,
        };
        report(session, &ack);
        Ok(())
    }

    /// Checks what an order to be placed states about itself.
    fn taker(&self, session: SessionId, request: &OrderRequest) -> Result<Taker, RejectReason> {
        if request.symbol >= self.limits.symbols_max {
            return Err(RejectReason::UnknownSymbol);
        }
        if request.quantity == 0 {
            return Err(RejectReason::ZeroQuantity);
        }
        if request.quantity > QUANTITY_MAX {
            return Err(RejectReason::QuantityTooLarge);
        }
        if request.price <= 0 || request.price > PRICE_MAX {
            return Err(RejectReason::BadPrice);
        }
        Ok(Taker {
            id: request.order_id,
            session,
            symbol: request.symbol,
            side: request.side.ok_or(RejectReason::Malformed)?,
            price: request.price,
            quantity: request.quantity,
            filled: 0,
        })
    }

    /// Checks that the whole order is worth its place.
    fn check_notional(&self, request: &OrderRequest) -> Result<(), RejectReason> {
        let notional = i128::from(request.price) * i128::from(request.quantity);
        if notional < i128::from(self.limits.notional_min) {
            return Err(RejectReason::BelowMinimum);
        }
        Ok(())
    }

    /// The open order that `session` wants to change.
    fn own_order(&self, session: SessionId, request: &OrderRequest) -> Result<u32, RejectReason> {
        let slot = self.orders.find(session, request.order_id);
        let slot = slot.ok_or(RejectReason::UnknownOrder)?;
        let order = self.orders.get(slot);
        if order.symbol != request.symbol {
            return Err(RejectReason::SymbolMismatch);
        }
        Ok(slot)
    }

    fn side(&self, taker: &Taker) -> &Levels {
        &self.sides[taker.side.index(taker.symbol)]
    }

    fn remove(&mut self, slot: u32) {
        let order = *self.orders.get(slot);
        self.sides[order.side.index(order.symbol)].unlink(slot, &mut self.orders);
        self.forget(slot);
    }

    /// Takes an order that is in no queue any more from its owner and from the index.
    fn forget(&mut self, slot: u32) {
        self.owners.unlink(slot, &mut self.orders);
        self.orders.remove(slot);
    }

    /// Cancels every open order of `session`, which has closed and can be told nothing. Walks
    /// its orders once, and the levels once.
    pub fn close_session(&mut self, session: SessionId) {
        let Some(owner) = self.owners.find(session) else {
            return;
        };
        let mut slot = self.owners.get(owner).newest;
        while slot != NO_ORDER {
            let order = *self.orders.get(slot);
            self.sides[order.side.index(order.symbol)].detach(slot, &mut self.orders);
            self.forget(slot);
            self.totals.orphans += 1;
            slot = order.older;
        }
        for levels in &mut self.sides {
            levels.drop_empty();
        }
    }

    /// What the books did so far.
    #[must_use]
    pub const fn totals(&self) -> &BookTotals {
        &self.totals
    }

    /// Orders that are open over all symbols.
    #[must_use]
    pub const fn open_orders(&self) -> u32 {
        self.orders.len()
    }

    /// The order that `session` calls `order_id`; `None` when it is not open.
    #[must_use]
    pub fn open_order(&self, session: SessionId, order_id: u64) -> Option<OpenOrder> {
        let order = self.orders.get(self.orders.find(session, order_id)?);
        Some(OpenOrder {
            side: order.side,
            price: order.price,
            remaining: order.quantity,
            filled: order.filled,
        })
    }

    /// Best price and total quantity there, of one side of a symbol's book.
    #[must_use]
    pub fn best(&self, symbol: u32, side: Side) -> Option<(i64, u64)> {
        let levels = self.sides.get(side.index(symbol))?;
        let level = levels.best_first().next()?;
        Some((level.price, level.quantity))
    }

    /// Every open order of one side of a symbol's book, in the order it would trade:
    /// (order id, price, quantity).
    pub fn queue(&self, symbol: u32, side: Side) -> impl Iterator<Item = (u64, i64, u64)> + '_ {
        let levels = self.sides.get(side.index(symbol));
        levels
            .into_iter()
            .flat_map(|levels| levels.queue(&self.orders))
            .map(|order| (order.id, order.price, order.quantity))
    }

    /// Hash of every open order in queue order, the last prices and the totals; walks them all.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = StateHash::new();
        for levels in &self.sides {
            hash.word(levels.len() as u64);
            for order in levels.queue(&self.orders) {
                hash.word(order.id);
                hash.word(order.session.get() as u64);
                hash.word(order.price as u64);
                hash.word(order.quantity);
                hash.word(order.filled);
            }
        }
        for price in &self.last_prices {
            hash.word(*price as u64);
        }
        let totals = &self.totals;
        for word in totals.counts() {
            hash.word(word);
        }
        for wide in [totals.quantity, totals.notional] {
            hash.word(wide as u64);
            hash.word((wide >> 64) as u64);
        }
        hash.value()
    }
}

#[cfg(test)]
mod tests;
