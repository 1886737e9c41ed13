//! Open orders in a fixed slab, found by the session that added them and the id it gave them.
//!
//! Owned by the book. It does not know queues or owners: the links belong to `levels` and
//! `owners`.

use lockstep_transport::ids::SessionId;

use super::codec::Side;
use super::slot_index::SlotIndex;

/// The link of an order that has no neighbour.
pub(super) const NO_ORDER: u32 = u32::MAX;

/// An open order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// The session that added it.
    pub(super) session: SessionId,
    /// What that session calls it.
    pub(super) id: u64,
    pub(super) price: i64,
    /// What is open.
    pub(super) quantity: u64,
    /// What has traded.
    pub(super) filled: u64,
    /// Slot of `session` among the owners.
    pub(super) owner: u32,
    pub(super) symbol: u32,
    pub(super) side: Side,
    /// The order behind this one at the same price; in a free slot, the next free slot.
    pub(super) next: u32,
    /// The order before this one at the same price.
    pub(super) previous: u32,
    /// The same session's order that was linked before this one.
    pub(super) older: u32,
    /// The same session's order that was linked after this one.
    pub(super) newer: u32,
}

/// Hash of the key of an order; sessions that count their orders alike must not collide.
fn hash(session: SessionId, id: u64) -> u64 {
    (session.get() as u64)
        .wrapping_mul(0xD6E8_FEB8_6659_FD93)
        .wrapping_add(id)
}

/// All open orders.
#[derive(Debug)]
pub(super) struct Orders {
    slots: Vec<Order>,
    index: SlotIndex,
    capacity: u32,
    free: u32,
    len: u32,
}

impl Orders {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            slots: Vec::with_capacity(capacity as usize),
            index: SlotIndex::new(capacity),
            capacity,
            free: NO_ORDER,
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn get(&self, slot: u32) -> &Order {
        &self.slots[slot as usize]
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Order {
        &mut self.slots[slot as usize]
    }

    /// The open order that `session` calls `id`.
    pub(super) fn find(&self, session: SessionId, id: u64) -> Option<u32> {
        let is_meant = |slot: u32| {
            let order = self.get(slot);
            order.id == id && order.session == session
        };
        self.index.find(hash(session, id), is_meant)
    }

    /// Stores an order whose key is not there; the caller checked that there is room.
    pub(super) fn insert(&mut self, order: Order) -> u32 {
        assert!(
            self.len < self.capacity,
            "the caller checked that there is room"
        );
        let slot = if self.free == NO_ORDER {
            self.slots.push(order);
            (self.slots.len() - 1) as u32
        } else {
            let slot = self.free;
            self.free = self.get(slot).next;
            *self.get_mut(slot) = order;
            slot
        };
        self.index.insert(hash(order.session, order.id), slot);
        self.len += 1;
        slot
    }

    /// Frees a slot whose order is linked to no other any more.
    pub(super) fn remove(&mut self, slot: u32) {
        let slots = &self.slots;
        let hash_of = |slot: u32| hash(slots[slot as usize].session, slots[slot as usize].id);
        self.index.remove(slot, hash_of);
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

    fn order(session: i64, id: u64) -> Order {
        Order {
            session: SessionId::new(session),
            id,
            price: 1,
            quantity: 1,
            filled: 0,
            owner: 0,
            symbol: 0,
            side: Side::Buy,
            next: NO_ORDER,
            previous: NO_ORDER,
            older: NO_ORDER,
            newer: NO_ORDER,
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
            let key @ (session, id) = ((random >> 33) as i64 % 4, (random >> 40) % 50);
            match orders.find(SessionId::new(session), id) {
                Some(slot) => {
                    assert_eq!(model.remove(&key), Some(slot));
                    orders.remove(slot);
                }
                None if orders.len() == 64 => assert!(!model.contains_key(&key)),
                None => {
                    let slot = orders.insert(order(session, id));
                    assert_eq!(model.insert(key, slot), None);
                }
            }
            assert_eq!(orders.len() as usize, model.len());
        }
        for ((session, id), slot) in model {
            assert_eq!(orders.find(SessionId::new(session), id), Some(slot));
            assert_eq!(orders.get(slot).id, id);
        }
    }
}
