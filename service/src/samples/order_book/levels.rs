//! One side of one symbol's book: price levels, each a queue of orders by time.
//!
//! Levels lie sorted in one array with the best price last, so that what happens near the top
//! of the book, where most happens, moves few of them. The queues are links between orders.

use super::codec::Side;
use super::orders::{NO_ORDER, Order, Orders};

/// All orders of one price.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) price: i64,
    /// Sum of the orders' quantities.
    pub(super) quantity: u64,
    orders: u32,
    /// The order that trades first.
    pub(super) head: u32,
    tail: u32,
}

/// The levels of one side.
#[derive(Debug)]
pub(super) struct Levels {
    side: Side,
    levels: Vec<Level>,
    orders: u32,
    capacity: u32,
}

impl Levels {
    /// Room for `capacity` orders, and for a price of its own for each: prices are never what is
    /// scarce.
    pub(super) fn new(side: Side, capacity: u32) -> Self {
        Self {
            side,
            levels: Vec::with_capacity(capacity as usize),
            orders: 0,
            capacity,
        }
    }

    /// Distinct prices.
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.orders == self.capacity
    }

    /// Where the level of `price` is, or where it would be inserted.
    fn search(&self, price: i64) -> Result<usize, usize> {
        match self.side {
            Side::Buy => self
                .levels
                .binary_search_by(|level| level.price.cmp(&price)),
            Side::Sell => self
                .levels
                .binary_search_by(|level| price.cmp(&level.price)),
        }
    }

    /// The order that trades last, if an order of `price` would trade before it by its price.
    pub(super) fn last_behind(&self, price: i64) -> Option<u32> {
        let worst = self.levels.first()?;
        let is_better = match self.side {
            Side::Buy => price > worst.price,
            Side::Sell => price < worst.price,
        };
        is_better.then_some(worst.tail)
    }

    /// The levels from the best price to the worst.
    pub(super) fn best_first(&self) -> impl Iterator<Item = &Level> {
        self.levels.iter().rev()
    }

    /// The level that has `index` worse ones behind it.
    pub(super) fn behind_worse(&self, index: usize) -> Option<&Level> {
        self.levels.get(index)
    }

    /// The order that trades first.
    pub(super) fn first(&self) -> Option<u32> {
        self.levels.last().map(|level| level.head)
    }

    /// Every order in the order it would trade.
    pub(super) fn queue<'a>(&'a self, orders: &'a Orders) -> impl Iterator<Item = &'a Order> {
        self.best_first().flat_map(|level| {
            let present = |slot: u32| (slot != NO_ORDER).then(|| orders.get(slot));
            std::iter::successors(present(level.head), move |order| present(order.next))
        })
    }

    /// Appends an order to the queue of its price.
    pub(super) fn push(&mut self, slot: u32, orders: &mut Orders) {
        let (price, quantity) = (orders.get(slot).price, orders.get(slot).quantity);
        assert!(!self.is_full(), "the caller made room");
        self.orders += 1;
        match self.search(price) {
            Ok(at) => {
                let level = &mut self.levels[at];
                orders.get_mut(level.tail).next = slot;
                orders.get_mut(slot).previous = level.tail;
                level.tail = slot;
                level.orders += 1;
                level.quantity += quantity;
            }
            Err(at) => {
                let level = Level {
                    price,
                    quantity,
                    orders: 1,
                    head: slot,
                    tail: slot,
                };
                self.levels.insert(at, level);
            }
        }
    }

    /// Takes `quantity` from an order that keeps its place.
    pub(super) fn reduce(&mut self, slot: u32, quantity: u64, orders: &mut Orders) {
        let order = orders.get_mut(slot);
        order.quantity -= quantity;
        let at = self.search(order.price).expect("an open order has a level");
        self.levels[at].quantity -= quantity;
    }

    /// Takes an order out of its queue, and its level away with the last one.
    pub(super) fn unlink(&mut self, slot: u32, orders: &mut Orders) {
        let at = self.detach(slot, orders);
        if self.levels[at].orders == 0 {
            self.levels.remove(at);
        }
    }

    /// Takes an order out of its queue and returns where its level is, which may be empty now:
    /// [`drop_empty`](Self::drop_empty) must follow before anything else is done.
    pub(super) fn detach(&mut self, slot: u32, orders: &mut Orders) -> usize {
        let order = *orders.get(slot);
        let at = self.search(order.price).expect("an open order has a level");
        let level = &mut self.levels[at];
        self.orders -= 1;
        level.orders -= 1;
        level.quantity -= order.quantity;
        if order.previous == NO_ORDER {
            level.head = order.next;
        } else {
            orders.get_mut(order.previous).next = order.next;
        }
        if order.next == NO_ORDER {
            level.tail = order.previous;
        } else {
            orders.get_mut(order.next).previous = order.previous;
        }
        at
    }

    /// Takes away all levels without orders, in one pass however many they are.
    pub(super) fn drop_empty(&mut self) {
        self.levels.retain(|level| level.orders > 0);
    }
}
