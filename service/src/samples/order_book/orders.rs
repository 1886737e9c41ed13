//! Open orders in a fixed slab, found by id through an index with a fixed hash.
//!
//! Owned by the book. Linear probing with backward-shift deletion keeps the index free of
//! tombstones; it is at most half full. It does not know queues: the links belong to `levels`.

use super::codec::Side;

/// The link of an order that has no neighbour.
pub(super) const NO_ORDER: u32 = u32::MAX;

/// An index cell that holds nothing.
const EMPTY: u32 = u32::MAX;

/// An open order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) owner: i64,
    pub(super) price: i64,
    pub(super) quantity: u64,
    pub(super) symbol: u32,
    pub(super) side: Side,
    /// The order behind this one at the same price; in a free slot, the next free slot.
    pub(super) next: u32,
    /// The order before this one at the same price.
    pub(super) previous: u32,
}

/// All open orders.
#[derive(Debug)]
pub(super) struct Orders {
    slots: Vec<Order>,
    index: Vec<u32>,
    capacity: u32,
    free: u32,
    len: u32,
}

impl Orders {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            slots: Vec::with_capacity(capacity as usize),
            index: vec![EMPTY; (capacity as usize * 2).next_power_of_two()],
            capacity,
            free: NO_ORDER,
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    pub(super) fn get(&self, slot: u32) -> &Order {
        &self.slots[slot as usize]
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Order {
        &mut self.slots[slot as usize]
    }

    /// Where the probe for `id` begins.
    fn home(&self, id: u64) -> usize {
        let mixed = (id ^ (id >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize & (self.index.len() - 1)
    }

    fn following(&self, cell: usize) -> usize {
        (cell + 1) & (self.index.len() - 1)
    }

    /// The cell that holds `id`, or the empty one where its probe ends.
    fn cell(&self, id: u64) -> usize {
        let mut cell = self.home(id);
        while self.index[cell] != EMPTY && self.get(self.index[cell]).id != id {
            cell = self.following(cell);
        }
        cell
    }

    pub(super) fn find(&self, id: u64) -> Option<u32> {
        let slot = self.index[self.cell(id)];
        (slot != EMPTY).then_some(slot)
    }

    /// Stores an order whose id is not there; the caller checked that there is room.
    pub(super) fn insert(&mut self, order: Order) -> u32 {
        assert!(!self.is_full(), "the caller checked that there is room");
        let cell = self.cell(order.id);
        let slot = if self.free == NO_ORDER {
            self.slots.push(order);
            (self.slots.len() - 1) as u32
        } else {
            let slot = self.free;
            self.free = self.get(slot).next;
            *self.get_mut(slot) = order;
            slot
        };
        self.index[cell] = slot;
        self.len += 1;
        slot
    }

    /// Frees a slot whose order is in no queue any more.
    pub(super) fn remove(&mut self, slot: u32) {
        let mut hole = self.cell(self.get(slot).id);
        let mut cell = self.following(hole);
        while self.index[cell] != EMPTY {
            let home = self.home(self.get(self.index[cell]).id);
            // The entry may move back to the hole unless its home lies after the hole.
            let mask = self.index.len() - 1;
            let from_home = cell.wrapping_sub(home) & mask;
            let from_hole = cell.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.index[hole] = self.index[cell];
                hole = cell;
            }
            cell = self.following(cell);
        }
        self.index[hole] = EMPTY;
        let free = self.free;
        self.get_mut(slot).next = free;
        self.free = slot;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn order(id: u64) -> Order {
        Order {
            id,
            owner: 0,
            price: 1,
            quantity: 1,
            symbol: 0,
            side: Side::Buy,
            next: NO_ORDER,
            previous: NO_ORDER,
        }
    }

    #[test]
    fn the_index_agrees_with_a_map_at_any_fill() {
        let mut orders = Orders::new(64);
        let mut model = BTreeMap::new();
        let mut random = 1_u64;
        for _ in 0..50_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let id = (random >> 33) % 200;
            match orders.find(id) {
                Some(slot) => {
                    assert_eq!(model.remove(&id), Some(slot));
                    orders.remove(slot);
                }
                None if orders.is_full() => assert!(!model.contains_key(&id)),
                None => {
                    assert_eq!(model.insert(id, orders.insert(order(id))), None);
                }
            }
            assert_eq!(orders.len() as usize, model.len());
        }
        for (id, slot) in model {
            assert_eq!(orders.find(id), Some(slot));
            assert_eq!(orders.get(slot).id, id);
        }
    }
}
