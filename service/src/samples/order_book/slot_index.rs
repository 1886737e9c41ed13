//! Finds slots by key: an index with a fixed hash, so that it is the same on every node.
//!
//! Linear probing with backward-shift deletion keeps it free of tombstones; it is at most half
//! full. It holds slots only: whoever owns them tells the hash of each, and which is meant.

/// A cell that holds nothing.
const EMPTY: u32 = u32::MAX;

/// Slots by the hash of their keys.
#[derive(Debug)]
pub(super) struct SlotIndex {
    cells: Vec<u32>,
}

impl SlotIndex {
    /// An index for at most `capacity` slots.
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            cells: vec![EMPTY; (capacity as usize * 2).next_power_of_two()],
        }
    }

    /// Where the probe for a key of this hash begins.
    fn home(&self, hash: u64) -> usize {
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize & (self.cells.len() - 1)
    }

    fn following(&self, cell: usize) -> usize {
        (cell + 1) & (self.cells.len() - 1)
    }

    /// The first cell from the home of `hash` on whose slot is meant, or which is empty.
    fn cell(&self, hash: u64, is_meant: impl Fn(u32) -> bool) -> usize {
        let mut cell = self.home(hash);
        while self.cells[cell] != EMPTY && !is_meant(self.cells[cell]) {
            cell = self.following(cell);
        }
        cell
    }

    /// The slot of hash `hash` that is meant.
    pub(super) fn find(&self, hash: u64, is_meant: impl Fn(u32) -> bool) -> Option<u32> {
        let slot = self.cells[self.cell(hash, is_meant)];
        (slot != EMPTY).then_some(slot)
    }

    /// Adds `slot`, whose key is not there; the caller bounds their number.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        let cell = self.cell(hash, |_| false);
        self.cells[cell] = slot;
    }

    /// Takes out `slot`, which is there.
    pub(super) fn remove(&mut self, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let mut hole = self.cell(hash_of(slot), |other| other == slot);
        let mut cell = self.following(hole);
        while self.cells[cell] != EMPTY {
            let home = self.home(hash_of(self.cells[cell]));
            // The entry may move back to the hole unless its home lies after the hole.
            let mask = self.cells.len() - 1;
            let from_home = cell.wrapping_sub(home) & mask;
            let from_hole = cell.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.cells[hole] = self.cells[cell];
                hole = cell;
            }
            cell = self.following(cell);
        }
        self.cells[hole] = EMPTY;
    }
}
