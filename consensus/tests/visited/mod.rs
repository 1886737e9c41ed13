//! The set of states that an exhaustive search has visited, by keys of 128 bits.

/// Set of packed states: open addressing, no order, no deletion.
pub struct Visited {
    slots: Vec<u128>,
    count: usize,
}

impl Visited {
    pub fn new() -> Self {
        Self {
            slots: vec![u128::MAX; 1 << 16],
            count: 0,
        }
    }

    pub const fn count(&self) -> usize {
        self.count
    }

    fn slot_of(slots: &[u128], key: u128) -> usize {
        let mixed = (key as u64 ^ (key >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut slot = (mixed ^ mixed >> 29) as usize & (slots.len() - 1);
        while slots[slot] != u128::MAX && slots[slot] != key {
            slot = (slot + 1) & (slots.len() - 1);
        }
        slot
    }

    /// Whether `key` is new.
    pub fn insert(&mut self, key: u128) -> bool {
        if self.count * 2 >= self.slots.len() {
            let mut larger = vec![u128::MAX; self.slots.len() * 4];
            for key in self.slots.iter().filter(|slot| **slot != u128::MAX) {
                let slot = Self::slot_of(&larger, *key);
                larger[slot] = *key;
            }
            self.slots = larger;
        }
        let slot = Self::slot_of(&self.slots, key);
        let is_new = self.slots[slot] == u128::MAX;
        self.slots[slot] = key;
        self.count += usize::from(is_new);
        is_new
    }
}
