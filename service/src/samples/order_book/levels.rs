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
    capacity: usize,
}

impl Levels {
    pub(super) fn new(side: Side, capacity: usize) -> Self {
        Self {
            side,
            levels: Vec::with_capacity(capacity),
            capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.levels.len()
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

    /// Whether an order of `price` finds or may open a level.
    pub(super) fn accepts(&self, price: i64) -> bool {
        self.levels.len() < self.capacity || self.search(price).is_ok()
    }

    /// Number of orders of `price`.
    pub(super) fn orders_at(&self, price: i64) -> u32 {
        self.search(price).map_or(0, |at| self.levels[at].orders)
    }

    /// The levels from the best price to the worst.
    pub(super) fn best_first(&self) -> impl Iterator<Item = &Level> {
        self.levels.iter().rev()
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
                assert!(
                    self.levels.len() < self.capacity,
                    "the caller checked for room"
                );
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
        let order = *orders.get(slot);
        let at = self.search(order.price).expect("an open order has a level");
        let level = &mut self.levels[at];
        level.orders -= 1;
        level.quantity -= order.quantity;
        if level.orders == 0 {
            self.levels.remove(at);
            return;
        }
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
    }
}
