//! Finds slots by key: an index with a fixed hash, so that it is the same on every node.
//!
//! Linear probing with backward-shift deletion keeps it free of tombstones; it is at most half
//! full. It holds slots only: whoever owns them tells the key of each.

/// A cell that holds nothing.
const EMPTY: u32 = u32::MAX;

/// Slots by their keys.
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

    /// Where the probe for `key` begins.
    fn home(&self, key: u64) -> usize {
        let mixed = (key ^ (key >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize & (self.cells.len() - 1)
    }

    fn following(&self, cell: usize) -> usize {
        (cell + 1) & (self.cells.len() - 1)
    }

    /// The cell that holds `key`, or the empty one where its probe ends.
    fn cell(&self, key: u64, key_of: impl Fn(u32) -> u64) -> usize {
        let mut cell = self.home(key);
        while self.cells[cell] != EMPTY && key_of(self.cells[cell]) != key {
            cell = self.following(cell);
        }
        cell
    }

    pub(super) fn find(&self, key: u64, key_of: impl Fn(u32) -> u64) -> Option<u32> {
        let slot = self.cells[self.cell(key, key_of)];
        (slot != EMPTY).then_some(slot)
    }

    /// Adds `slot`, whose key is not there; the caller bounds their number.
    pub(super) fn insert(&mut self, key: u64, slot: u32, key_of: impl Fn(u32) -> u64) {
        let cell = self.cell(key, key_of);
        self.cells[cell] = slot;
    }

    /// Takes out the slot of `key`, which is there.
    pub(super) fn remove(&mut self, key: u64, key_of: impl Fn(u32) -> u64) {
        let mut hole = self.cell(key, &key_of);
        let mut cell = self.following(hole);
        while self.cells[cell] != EMPTY {
            let home = self.home(key_of(self.cells[cell]));
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
