//! Slots by a number each has: a deadline or a position. The least is at hand.

use super::NONE;

/// A binary heap over slot numbers that knows where each slot is, so that its number can
/// change. An operation takes as many steps as the heap is deep.
#[derive(Debug)]
pub struct SlotHeap {
    keys: Vec<i64>,
    /// Place in `heap` of each slot.
    places: Vec<u32>,
    heap: Vec<u32>,
}

impl SlotHeap {
    /// An empty heap of slots below `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            keys: vec![0; capacity],
            places: vec![NONE; capacity],
            heap: Vec::with_capacity(capacity),
        }
    }

    /// Whether there are no slots in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Whether `slot` is in it.
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        self.places[slot as usize] != NONE
    }

    /// The least number, and whose it is; of equal numbers any.
    #[must_use]
    pub fn first(&self) -> Option<(i64, u32)> {
        let slot = *self.heap.first()?;
        Some((self.keys[slot as usize], slot))
    }

    /// Puts `slot` in with this number, or gives it this number.
    pub fn set(&mut self, slot: u32, key: i64) {
        self.keys[slot as usize] = key;
        if !self.contains(slot) {
            self.places[slot as usize] = self.heap.len() as u32;
            self.heap.push(slot);
        }
        let place = self.places[slot as usize] as usize;
        let place = self.rise(place);
        self.sink(place);
    }

    /// As [`set`](Self::set), or [`remove`](Self::remove) when there is no number.
    pub fn update(&mut self, slot: u32, key: Option<i64>) {
        match key {
            Some(key) => self.set(slot, key),
            None => {
                self.remove(slot);
            }
        }
    }

    /// Takes `slot` out. Returns whether it was in.
    pub fn remove(&mut self, slot: u32) -> bool {
        if !self.contains(slot) {
            return false;
        }
        let place = self.places[slot as usize] as usize;
        self.places[slot as usize] = NONE;
        let last = self.heap.pop().expect("a slot is in it");
        if last != slot {
            self.heap[place] = last;
            self.places[last as usize] = place as u32;
            let place = self.rise(place);
            self.sink(place);
        }
        true
    }

    /// Takes out the slot of the least number, if that is at most `limit`.
    pub fn pop_until(&mut self, limit: i64) -> Option<u32> {
        let (key, slot) = self.first()?;
        (key <= limit).then(|| {
            self.remove(slot);
            slot
        })
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        while let Some(slot) = self.heap.pop() {
            self.places[slot as usize] = NONE;
        }
    }

    fn key(&self, place: usize) -> i64 {
        self.keys[self.heap[place] as usize]
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.places[self.heap[one] as usize] = one as u32;
        self.places[self.heap[other] as usize] = other as u32;
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 && self.key(place) < self.key((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            if left < self.heap.len() && self.key(left) < self.key(least) {
                least = left;
            }
            if right < self.heap.len() && self.key(right) < self.key(least) {
                least = right;
            }
            if least == place {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_transport::prng::Prng;

    #[test]
    fn the_least_is_always_at_hand() {
        let (mut random, mut heap) = (Prng::new(1), SlotHeap::new(16));
        let mut model = [None; 16];
        for _ in 0..20_000 {
            let slot = random.range(0..16) as u32;
            let key = random.range(0..100) as i64;
            match random.range(0..4) {
                0..2 => {
                    heap.set(slot, key);
                    model[slot as usize] = Some(key);
                }
                2 => {
                    heap.update(slot, None);
                    model[slot as usize] = None;
                }
                _ => {
                    let least = model.iter().flatten().min().copied();
                    let popped = heap.pop_until(key);
                    assert_eq!(popped.is_some(), least.is_some_and(|least| least <= key));
                    if let Some(slot) = popped {
                        assert_eq!(model[slot as usize].take(), least);
                    }
                }
            }
            let least = model.iter().flatten().min().copied();
            assert_eq!(heap.first().map(|first| first.0), least);
            assert_eq!(heap.contains(slot), model[slot as usize].is_some());
            assert_eq!(heap.is_empty(), model.iter().all(Option::is_none));
        }
        heap.clear();
        assert_eq!(heap.first(), None);
    }
}
