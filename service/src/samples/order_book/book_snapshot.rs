//! The book in a snapshot: three sections, little-endian.
//!
//! | section | what it holds |
//! |---|---|
//! | `totals` | acks, rejects, fills, cancelled, orphans, lost: 8 bytes; quantity, notional: 16 |
//! | `prices` | number of symbols, last price of each: 8 bytes |
//! | `orders` | of each: session, id, price, quantity, filled: 8 bytes; symbol: 4; side: 1 |
//!
//! Orders come side by side, from the worst price to the best, and of one price in the order in
//! which they trade. So each is the last of its side so far, whose level needs no place between
//! others. Which slot an order lies in is seen by nobody, and not part of the state.

use lockstep_transport::codec::encoded;
use lockstep_transport::ids::SessionId;

use super::OrderBook;
use super::codec::{PRICE_MAX, QUANTITY_MAX, Side};
use super::orders::{NO_ORDER, Order};
use super::place::Place;
use crate::snapshot::{ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress};

/// Bytes of an order.
const ORDER_LENGTH: usize = 45;

/// Orders that one step writes: some 22 KiB, because they are all over the memory.
const ORDERS_PER_STEP: usize = 512;

impl OrderBook {
    /// Writes the next part: totals and prices, then the orders.
    pub(super) fn write_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        if step == 0 {
            self.write_head(snapshot)?;
            self.written = Place::START;
            snapshot.begin_section("orders")?;
        }
        for _ in 0..ORDERS_PER_STEP {
            let Some(place) = self.first_from(self.written) else {
                snapshot.end_section()?;
                return Ok(SnapshotProgress::Done);
            };
            let order = self.orders.get(place.order);
            snapshot.write(&encode(order))?;
            let (level, next) = match order.next {
                NO_ORDER => (place.level + 1, NO_ORDER),
                next => (place.level, next),
            };
            self.written = Place {
                level,
                order: next,
                ..place
            };
        }
        Ok(SnapshotProgress::More)
    }

    fn write_head(&self, snapshot: &mut ServiceSnapshot<'_>) -> Result<(), SnapshotError> {
        let totals = &self.totals;
        snapshot.begin_section("totals")?;
        for word in totals.counts() {
            snapshot.u64(word)?;
        }
        snapshot.u128(totals.quantity)?;
        snapshot.u128(totals.notional)?;
        snapshot.end_section()?;
        snapshot.begin_section("prices")?;
        snapshot.u64(self.last_prices.len() as u64)?;
        for price in &self.last_prices {
            snapshot.i64(*price)?;
        }
        snapshot.end_section()
    }

    /// The order at `place`, or the first one behind it.
    fn first_from(&self, mut place: Place) -> Option<Place> {
        loop {
            let levels = self.sides.get(place.side)?;
            if place.order != NO_ORDER {
                return Some(place);
            }
            match levels.behind_worse(place.level) {
                Some(level) => place.order = level.head,
                None => {
                    place = Place {
                        side: place.side + 1,
                        ..Place::START
                    }
                }
            }
        }
    }

    /// Takes over what [`write_step`](Self::write_step) wrote; the book is empty.
    pub(super) fn read_all(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        snapshot.expect_section("totals")?;
        let totals = &mut self.totals;
        totals.acks = snapshot.u64()?;
        totals.rejects = snapshot.u64()?;
        totals.fills = snapshot.u64()?;
        totals.cancelled = snapshot.u64()?;
        totals.orphans = snapshot.u64()?;
        totals.messages_lost = snapshot.u64()?;
        totals.quantity = snapshot.u128()?;
        totals.notional = snapshot.u128()?;
        snapshot.end_section()?;
        snapshot.expect_section("prices")?;
        let (symbols, own) = (snapshot.u64()?, self.last_prices.len());
        if symbols != own as u64 {
            return Err(snapshot.refuse(format!("a book of {symbols} symbols instead of {own}")));
        }
        for last in &mut self.last_prices {
            *last = snapshot.i64()?;
            if !(0..=PRICE_MAX).contains(last) {
                return Err(snapshot.refuse(format!("a last price of {last}")));
            }
        }
        snapshot.end_section()?;
        snapshot.expect_section("orders")?;
        let mut before = 0;
        while snapshot.has_more()? {
            let order = read_order(snapshot)?;
            let side = order.side.index(order.symbol);
            let fits = self.has_place_for(&order) && before <= side;
            if !fits {
                let (id, session) = (order.id, order.session);
                let reason = format!("order {id} of session {session} cannot be here");
                return Err(snapshot.refuse(reason));
            }
            before = side;
            self.rest_order(order);
        }
        snapshot.end_section()
    }

    /// Whether `order` can be the next one that is open.
    fn has_place_for(&self, order: &Order) -> bool {
        let is_order = (1..=PRICE_MAX).contains(&order.price)
            && (1..=QUANTITY_MAX).contains(&order.quantity)
            && order.filled <= QUANTITY_MAX - order.quantity;
        if !is_order || order.symbol >= self.limits.symbols_max {
            return false;
        }
        let levels = &self.sides[order.side.index(order.symbol)];
        let best = levels.best_first().next();
        let is_next = best.is_none_or(|best| match order.side {
            Side::Buy => best.price <= order.price,
            Side::Sell => order.price <= best.price,
        });
        // Bids are read first.
        let bid = self.best(order.symbol, Side::Buy);
        let is_crossed = order.side == Side::Sell && bid.is_some_and(|bid| order.price <= bid.0);
        let own = self.owners.orders_of(order.session);
        let may_have_more = own.is_some_and(|own| own < self.limits.session_orders_max);
        let is_new = self.orders.find(order.session, order.id).is_none();
        is_next && !is_crossed && may_have_more && is_new && !levels.is_full()
    }
}

fn encode(order: &Order) -> [u8; ORDER_LENGTH] {
    encoded(|fields| {
        fields.i64(order.session.get()).u64(order.id);
        fields.i64(order.price);
        fields.u64(order.quantity).u64(order.filled);
        fields.u32(order.symbol).u8(order.side as u8);
    })
}

fn read_order(snapshot: &mut ServiceSnapshotReader<'_, '_>) -> Result<Order, SnapshotError> {
    Ok(Order {
        session: SessionId::new(snapshot.i64()?),
        id: snapshot.u64()?,
        price: snapshot.i64()?,
        quantity: snapshot.u64()?,
        filled: snapshot.u64()?,
        owner: 0,
        symbol: snapshot.u32()?,
        side: Side::from_number(snapshot.u8()?)
            .ok_or_else(|| snapshot.refuse("an order of neither side"))?,
        next: NO_ORDER,
        previous: NO_ORDER,
        older: NO_ORDER,
        newer: NO_ORDER,
    })
}
