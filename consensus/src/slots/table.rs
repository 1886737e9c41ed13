//! Rows in numbered slots, a fixed number of them.

use core::cell::Cell;

/// Names one row for ever: a slot that is used again for another row has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    index: u32,
    serial: u64,
}

impl Slot {
    /// Which slot of its table it is.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many rows its table had seen when it was added: the older of two has the smaller.
    #[must_use]
    pub(crate) const fn serial(self) -> u64 {
        self.serial
    }
}

#[derive(Debug)]
struct Place<T> {
    serial: u64,
    row: Option<T>,
}

/// A table of at most `capacity` rows. See the module.
#[derive(Debug)]
pub struct SlotTable<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    capacity: usize,
    inserted: u64,
    visits: Cell<u64>,
}

impl<T> SlotTable<T> {
    /// An empty table; memory for `capacity` rows is reserved now.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            places: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
            inserted: 0,
            visits: Cell::new(0),
        }
    }

    /// Rows there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Rows there may be.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether no further row fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() == self.capacity
    }

    /// Looks at rows since the table was made: what a cycle costs, without a clock.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.visits.get()
    }

    fn visit(&self) {
        self.visits.set(self.visits.get() + 1);
    }

    /// Adds a row; `None` when the table is full.
    pub fn insert(&mut self, row: T) -> Option<Slot> {
        if self.is_full() {
            return None;
        }
        self.inserted += 1;
        let place = Place {
            serial: self.inserted,
            row: Some(row),
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.places[index as usize] = place;
                index
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        self.visit();
        Some(Slot {
            index,
            serial: self.inserted,
        })
    }

    /// Takes a row out.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let row = self.places.get_mut(index as usize)?.row.take()?;
        self.free.push(index);
        self.visit();
        Some(row)
    }

    /// The name of the row in this slot.
    #[must_use]
    pub fn slot(&self, index: u32) -> Option<Slot> {
        let place = self.places.get(index as usize)?;
        place.row.as_ref().map(|_| Slot {
            index,
            serial: place.serial,
        })
    }

    /// The row in this slot.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<&T> {
        self.visit();
        self.places.get(index as usize)?.row.as_ref()
    }

    /// The row in this slot.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.visit();
        self.places.get_mut(index as usize)?.row.as_mut()
    }

    /// The row of this name, unless it is gone.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.visit();
        let place = self.places.get(slot.index as usize)?;
        place.row.as_ref().filter(|_| place.serial == slot.serial)
    }

    /// The row of this name, unless it is gone.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.visit();
        let place = self.places.get_mut(slot.index as usize)?;
        let is_it = place.serial == slot.serial;
        place.row.as_mut().filter(|_| is_it)
    }

    /// Removes every row.
    pub fn clear(&mut self) {
        self.places.clear();
        self.free.clear();
    }

    /// One past the highest slot in use so far: the end of a walk over all of them.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.places.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_used_again_has_another_name() {
        let mut table = SlotTable::new(2);
        let first = table.insert('a').unwrap();
        let second = table.insert('b').unwrap();
        assert_eq!(table.insert('c'), None);
        assert_eq!(table.remove(first.index()), Some('a'));
        assert_eq!(table.remove(first.index()), None);
        let third = table.insert('c').unwrap();
        assert_eq!((third.index(), table.count()), (first.index(), 2));
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(third).copied(), Some('c'));
        assert_eq!(table.get(second), Some(&'b'));
        assert_eq!(table.slot(0), Some(third));
        table.clear();
        assert_eq!((table.count(), table.at(1)), (0, None));
    }

    #[test]
    fn every_look_is_counted() {
        let mut table = SlotTable::new(2);
        let slot = table.insert(1).unwrap();
        let before = table.visits();
        assert!(table.get(slot).is_some() && table.at_mut(0).is_some());
        assert_eq!(table.at(1), None);
        assert_eq!(table.visits(), before + 3);
    }
}
