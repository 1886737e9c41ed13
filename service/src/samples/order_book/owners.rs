//! Sessions that have open orders, each with the list of them.
//!
//! An entry lives exactly as long as its session has an open order, so there is room for every
//! session that a cluster can have. Owned by the book; the list is links between orders.

use lockstep_transport::ids::SessionId;

use super::orders::{NO_ORDER, Orders};
use super::slot_index::SlotIndex;

/// No slot: the end of the list of free ones.
const NO_OWNER: u32 = u32::MAX;

/// A session with open orders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) session: SessionId,
    /// Its open orders.
    pub(super) orders: u32,
    /// The newest of them; in a free slot, the next free slot.
    pub(super) newest: u32,
    /// The last plan that counted this session.
    pub(super) counted_by: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Owners {
    slots: Vec<Owner>,
    index: SlotIndex,
    capacity: u32,
    free: u32,
    len: u32,
}

impl Owners {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            slots: Vec::with_capacity(capacity as usize),
            index: SlotIndex::new(capacity),
            capacity,
            free: NO_OWNER,
            len: 0,
        }
    }

    pub(super) fn get(&self, slot: u32) -> &Owner {
        &self.slots[slot as usize]
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Owner {
        &mut self.slots[slot as usize]
    }

    pub(super) fn find(&self, session: SessionId) -> Option<u32> {
        let is_meant = |slot: u32| self.get(slot).session == session;
        self.index.find(session.get() as u64, is_meant)
    }

    /// Open orders of `session`; `None` when it has none and there is no room for it.
    pub(super) fn orders_of(&self, session: SessionId) -> Option<u32> {
        match self.find(session) {
            Some(slot) => Some(self.get(slot).orders),
            None => (self.len < self.capacity).then_some(0),
        }
    }

    /// The slot of `session`, made if need be; the caller checked that there is room.
    pub(super) fn enter(&mut self, session: SessionId) -> u32 {
        if let Some(slot) = self.find(session) {
            return slot;
        }
        assert!(
            self.len < self.capacity,
            "the caller checked that there is room"
        );
        let owner = Owner {
            session,
            orders: 0,
            newest: NO_ORDER,
            counted_by: 0,
        };
        let slot = if self.free == NO_OWNER {
            self.slots.push(owner);
            (self.slots.len() - 1) as u32
        } else {
            let slot = self.free;
            self.free = self.get(slot).newest;
            *self.get_mut(slot) = owner;
            slot
        };
        self.index.insert(session.get() as u64, slot);
        self.len += 1;
        slot
    }

    /// Adds an order to its owner's list.
    pub(super) fn link(&mut self, order: u32, orders: &mut Orders) {
        let owner = self.get_mut(orders.get(order).owner);
        let older = std::mem::replace(&mut owner.newest, order);
        owner.orders += 1;
        orders.get_mut(order).older = older;
        if older != NO_ORDER {
            orders.get_mut(older).newer = order;
        }
    }

    /// Takes an order out of its owner's list, and the owner away with the last one.
    pub(super) fn unlink(&mut self, order: u32, orders: &mut Orders) {
        let leaving = *orders.get(order);
        if leaving.older != NO_ORDER {
            orders.get_mut(leaving.older).newer = leaving.newer;
        }
        if leaving.newer != NO_ORDER {
            orders.get_mut(leaving.newer).older = leaving.older;
        }
        let owner = self.get_mut(leaving.owner);
        if owner.newest == order {
            owner.newest = leaving.older;
        }
        owner.orders -= 1;
        if owner.orders == 0 {
            self.leave(leaving.owner);
        }
    }

    fn leave(&mut self, slot: u32) {
        let slots = &self.slots;
        let hash = |slot: u32| slots[slot as usize].session.get() as u64;
        self.index.remove(slot, hash);
        let free = self.free;
        self.get_mut(slot).newest = free;
        self.free = slot;
        self.len -= 1;
    }
}
