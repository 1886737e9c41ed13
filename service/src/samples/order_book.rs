//! A limit order book: add, cancel, replace; matched by price, then by time.
//!
//! One book per symbol, price and quantity in fixed point ([`codec`]). Per request exactly one
//! Ack or Reject goes to its session, first; then one Fill per maker met, to the session and,
//! where it is another one, to the maker's. A request is carried out whole or rejected whole.
//!
//! Rules: an id is a duplicate while its order is open; only the session that added an order may
//! cancel or replace it; a replace keeps its place in the queue only at the same price and a
//! quantity not larger, otherwise it is as new (and may trade); a session may trade with itself;
//! orders stay when their session closes; an order that would meet more makers than
//! [`BookLimits::fills_max`] is rejected, because one entry's effects are limited.
//!
//! Everything is reserved at construction; nothing is allocated per message.

pub mod codec;
pub mod csv;
mod levels;
mod orders;

use std::fmt::Write as _;

use self::codec::{
    AckKind, Action, OrderRequest, PRICE_MAX, QUANTITY_MAX, REPORT_LENGTH_MAX, RejectReason,
    Report, Side, decimal_price, decimal_quantity,
};
use self::levels::Levels;
use self::orders::{NO_ORDER, Order, Orders};
use crate::cluster::{ClientSession, Cluster};
use crate::clustered_service::ClusteredService;
use crate::state_hash::StateHash;

/// Sizes of the order book, fixed at construction and equal on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Symbols 0 to this, exclusive; each has its book.
    pub symbols_max: u32,
    /// Most open orders over all symbols; at most 2^20.
    pub orders_max: u32,
    /// Most distinct prices per symbol and side.
    pub levels_max: u32,
    /// Most makers one request may trade with. Each costs up to two effects and the request one
    /// more, so 31 fits the cluster's default of 64 effects per entry.
    pub fills_max: u32,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self {
            symbols_max: 16,
            orders_max: 65_536,
            levels_max: 4_096,
            fills_max: 31,
        }
    }
}

/// Largest `orders_max`: so many orders of the largest quantity still add up in 64 bits.
pub const ORDERS_LIMIT: u32 = 1 << 20;

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
    /// Reports the cluster refused to carry: 0 unless its effect limits are below `fills_max`.
    pub reports_lost: u64,
}

/// What an order would meet on the other side.
#[derive(Clone, Copy, Debug)]
struct Plan {
    matched: u64,
    makers: u32,
}

/// An incoming order, after validation.
#[derive(Clone, Copy, Debug)]
struct Taker {
    id: u64,
    owner: i64,
    symbol: u32,
    side: Side,
    price: i64,
    quantity: u64,
}

/// The order books of all symbols.
#[derive(Debug)]
pub struct OrderBook {
    limits: BookLimits,
    orders: Orders,
    /// Bids of symbol s at 2 s, asks at 2 s + 1.
    sides: Vec<Levels>,
    totals: BookTotals,
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
    /// When a limit is 0 or `orders_max` exceeds [`ORDERS_LIMIT`].
    #[must_use]
    pub fn new(limits: BookLimits) -> Self {
        assert!(
            limits.symbols_max > 0 && limits.levels_max > 0 && limits.fills_max > 0,
            "empty order book: {limits:?}"
        );
        assert!(
            limits.orders_max > 0 && limits.orders_max <= ORDERS_LIMIT,
            "orders_max out of range: {limits:?}"
        );
        let side = |side| Levels::new(side, limits.levels_max as usize);
        Self {
            limits,
            orders: Orders::new(limits.orders_max),
            sides: (0..limits.symbols_max)
                .flat_map(|_| [side(Side::Buy), side(Side::Sell)])
                .collect(),
            totals: BookTotals::default(),
        }
    }

    /// Carries out one request of `session`; each report is handed to `report` with the session
    /// it is for, in order.
    pub fn apply(
        &mut self,
        session: i64,
        request: &OrderRequest,
        report: &mut impl FnMut(i64, &Report),
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
        session: i64,
        request: &OrderRequest,
        reason: RejectReason,
        report: &mut impl FnMut(i64, &Report),
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
        session: i64,
        request: &OrderRequest,
        report: &mut impl FnMut(i64, &Report),
    ) -> Result<(), RejectReason> {
        let taker = self.taker(session, request)?;
        if self.orders.find(request.order_id).is_some() {
            return Err(RejectReason::DuplicateOrder);
        }
        let plan = self.plan(&taker)?;
        let rests = plan.matched < taker.quantity;
        if rests && (self.orders.is_full() || !self.side(&taker).accepts(taker.price)) {
            return Err(RejectReason::BookFull);
        }
        self.execute(taker, plan, AckKind::Accepted, report);
        Ok(())
    }

    fn cancel(
        &mut self,
        session: i64,
        request: &OrderRequest,
        report: &mut impl FnMut(i64, &Report),
    ) -> Result<(), RejectReason> {
        let slot = self.own_order(session, request)?;
        let remaining = self.orders.get(slot).quantity;
        self.remove(slot);
        let ack = Report::Ack {
            kind: AckKind::Cancelled,
            symbol: request.symbol,
            order_id: request.order_id,
            remaining,
        };
        report(session, &ack);
        Ok(())
    }

    fn replace(
        &mut self,
        session: i64,
        request: &OrderRequest,
        report: &mut impl FnMut(i64, &Report),
    ) -> Result<(), RejectReason> {
        let taker = self.taker(session, request)?;
        let slot = self.own_order(session, request)?;
        let order = *self.orders.get(slot);
        if order.side != taker.side {
            return Err(RejectReason::SideMismatch);
        }
        if order.price == taker.price && taker.quantity <= order.quantity {
            let book = &mut self.sides[taker.side.index(taker.symbol)];
            book.reduce(slot, order.quantity - taker.quantity, &mut self.orders);
            let ack = Report::Ack {
                kind: AckKind::Replaced,
                symbol: taker.symbol,
                order_id: taker.id,
                remaining: taker.quantity,
            };
            report(session, &ack);
            return Ok(());
        }
        let plan = self.plan(&taker)?;
        let own_side = self.side(&taker);
        // The order leaves first: its slot is free then, and its level if it was alone there.
        let has_level = own_side.accepts(taker.price) || own_side.orders_at(order.price) == 1;
        if plan.matched < taker.quantity && !has_level {
            return Err(RejectReason::BookFull);
        }
        self.remove(slot);
        self.execute(taker, plan, AckKind::Replaced, report);
        Ok(())
    }

    /// Checks what an order to be placed states about itself.
    fn taker(&self, owner: i64, request: &OrderRequest) -> Result<Taker, RejectReason> {
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
            owner,
            symbol: request.symbol,
            side: request.side.ok_or(RejectReason::Malformed)?,
            price: request.price,
            quantity: request.quantity,
        })
    }

    /// The open order that `session` wants to change.
    fn own_order(&self, session: i64, request: &OrderRequest) -> Result<u32, RejectReason> {
        let slot = self.orders.find(request.order_id);
        let slot = slot.ok_or(RejectReason::UnknownOrder)?;
        let order = self.orders.get(slot);
        if order.owner != session {
            return Err(RejectReason::NotOwner);
        }
        if order.symbol != request.symbol {
            return Err(RejectReason::SymbolMismatch);
        }
        Ok(slot)
    }

    fn side(&self, taker: &Taker) -> &Levels {
        &self.sides[taker.side.index(taker.symbol)]
    }

    /// What `taker` would trade, without trading; walks at most `fills_max` + 1 makers.
    fn plan(&self, taker: &Taker) -> Result<Plan, RejectReason> {
        let makers = &self.sides[taker.side.opposite().index(taker.symbol)];
        let mut plan = Plan {
            matched: 0,
            makers: 0,
        };
        for level in makers.best_first() {
            if !taker.side.reaches(taker.price, level.price) {
                break;
            }
            let mut slot = level.head;
            while slot != NO_ORDER && plan.matched < taker.quantity {
                if plan.makers == self.limits.fills_max {
                    return Err(RejectReason::TooManyFills);
                }
                let maker = self.orders.get(slot);
                plan.matched += maker.quantity.min(taker.quantity - plan.matched);
                plan.makers += 1;
                slot = maker.next;
            }
            if plan.matched == taker.quantity {
                break;
            }
        }
        Ok(plan)
    }

    /// Acknowledges, trades as planned and rests what remains.
    fn execute(
        &mut self,
        mut taker: Taker,
        plan: Plan,
        kind: AckKind,
        report: &mut impl FnMut(i64, &Report),
    ) {
        let ack = Report::Ack {
            kind,
            symbol: taker.symbol,
            order_id: taker.id,
            remaining: taker.quantity - plan.matched,
        };
        report(taker.owner, &ack);
        for _ in 0..plan.makers {
            self.fill(&mut taker, report);
        }
        if taker.quantity > 0 {
            let order = Order {
                id: taker.id,
                owner: taker.owner,
                price: taker.price,
                quantity: taker.quantity,
                symbol: taker.symbol,
                side: taker.side,
                next: NO_ORDER,
                previous: NO_ORDER,
            };
            let slot = self.orders.insert(order);
            self.sides[taker.side.index(taker.symbol)].push(slot, &mut self.orders);
        }
    }

    /// One trade of `taker` with the first maker in the queue.
    fn fill(&mut self, taker: &mut Taker, report: &mut impl FnMut(i64, &Report)) {
        let makers = &mut self.sides[taker.side.opposite().index(taker.symbol)];
        let slot = makers.first().expect("the plan counted this maker");
        let maker = *self.orders.get(slot);
        let quantity = maker.quantity.min(taker.quantity);
        taker.quantity -= quantity;
        if quantity == maker.quantity {
            self.remove(slot);
        } else {
            makers.reduce(slot, quantity, &mut self.orders);
        }
        self.totals.fills += 1;
        self.totals.quantity += u128::from(quantity);
        self.totals.notional += maker.price as u128 * u128::from(quantity);
        let fill = Report::Fill {
            taker_side: taker.side,
            symbol: taker.symbol,
            maker_id: maker.id,
            taker_id: taker.id,
            price: maker.price,
            quantity,
            maker_remaining: maker.quantity - quantity,
            taker_remaining: taker.quantity,
        };
        report(taker.owner, &fill);
        if maker.owner != taker.owner {
            report(maker.owner, &fill);
        }
    }

    fn remove(&mut self, slot: u32) {
        let order = *self.orders.get(slot);
        self.sides[order.side.index(order.symbol)].unlink(slot, &mut self.orders);
        self.orders.remove(slot);
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

    /// Side, price and open quantity of an order; `None` when it is not open.
    #[must_use]
    pub fn open_order(&self, order_id: u64) -> Option<(Side, i64, u64)> {
        let order = self.orders.get(self.orders.find(order_id)?);
        Some((order.side, order.price, order.quantity))
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

    /// Hash of every open order in queue order and of the totals; walks them all.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = StateHash::new();
        for levels in &self.sides {
            hash.word(levels.len() as u64);
            for order in levels.queue(&self.orders) {
                hash.word(order.id);
                hash.word(order.owner as u64);
                hash.word(order.price as u64);
                hash.word(order.quantity);
            }
        }
        let totals = &self.totals;
        for word in [
            totals.acks,
            totals.rejects,
            totals.fills,
            totals.reports_lost,
        ] {
            hash.word(word);
        }
        for wide in [totals.quantity, totals.notional] {
            hash.word(wide as u64);
            hash.word((wide >> 64) as u64);
        }
        hash.value()
    }
}

impl ClusteredService for OrderBook {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        let mut lost = 0;
        let mut bytes = [0; REPORT_LENGTH_MAX];
        let mut respond = |owner: i64, report: &Report| {
            let encoded = report.encode(&mut bytes);
            if cluster
                .respond(ClientSession { id: owner }, encoded)
                .is_err()
            {
                lost += 1;
            }
        };
        match OrderRequest::decode(message) {
            Some(request) => self.apply(session.id, &request, &mut respond),
            None => {
                self.totals.rejects += 1;
                let rejected = Report::Reject {
                    reason: RejectReason::Malformed,
                    symbol: 0,
                    order_id: 0,
                };
                respond(session.id, &rejected);
            }
        }
        self.totals.reports_lost += lost;
    }

    fn state_hash(&self) -> u64 {
        self.hash()
    }

    fn describe(&self) -> String {
        let mut text = format!("order book: {} open orders\n", self.open_orders());
        for symbol in 0..self.limits.symbols_max {
            let best = [Side::Buy, Side::Sell].map(|side| self.best(symbol, side));
            if best == [None, None] {
                continue;
            }
            let [bid, ask] = best.map(|level| {
                level.map_or("-".to_owned(), |(price, quantity)| {
                    format!("{} x {}", decimal_quantity(quantity), decimal_price(price))
                })
            });
            // Writing to a string cannot fail.
            let _ = writeln!(text, "symbol {symbol}: best bid {bid}, best ask {ask}");
        }
        let totals = &self.totals;
        let _ = write!(
            text,
            "{} acknowledged, {} rejected, {} fills of {} in all\nhash {:016x}",
            totals.acks,
            totals.rejects,
            totals.fills,
            decimal_quantity(u64::try_from(totals.quantity).unwrap_or(u64::MAX)),
            self.hash()
        );
        text
    }
}

#[cfg(test)]
mod tests;
