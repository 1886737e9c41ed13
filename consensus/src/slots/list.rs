//! Slots in the order in which they were put in a list, each at most once.

use super::NONE;

/// `previous` of a slot that is not in the list.
const OUTSIDE: u32 = u32::MAX - 1;

/// A doubly linked list over slot numbers. Every operation takes the same short time.
#[derive(Debug)]
pub struct SlotList {
    previous: Vec<u32>,
    next: Vec<u32>,
    first: u32,
    last: u32,
    length: usize,
}

impl SlotList {
    /// An empty list of slots below `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            previous: vec![OUTSIDE; capacity],
            next: vec![NONE; capacity],
            first: NONE,
            last: NONE,
            length: 0,
        }
    }

    /// Slots in the list.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether `slot` is in the list.
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        self.previous[slot as usize] != OUTSIDE
    }

    /// The first slot.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Puts `slot` at the end, unless it is in the list. Returns whether it was not.
    pub fn push_back(&mut self, slot: u32) -> bool {
        if self.contains(slot) {
            return false;
        }
        self.previous[slot as usize] = self.last;
        self.next[slot as usize] = NONE;
        match self.last {
            NONE => self.first = slot,
            last => self.next[last as usize] = slot,
        }
        self.last = slot;
        self.length += 1;
        true
    }

    /// Puts `slot` at the beginning, wherever in the list it was.
    pub fn push_front(&mut self, slot: u32) {
        self.remove(slot);
        self.previous[slot as usize] = NONE;
        self.next[slot as usize] = self.first;
        match self.first {
            NONE => self.last = slot,
            first => self.previous[first as usize] = slot,
        }
        self.first = slot;
        self.length += 1;
    }

    /// Takes `slot` out. Returns whether it was in the list.
    pub fn remove(&mut self, slot: u32) -> bool {
        if !self.contains(slot) {
            return false;
        }
        let (previous, next) = (self.previous[slot as usize], self.next[slot as usize]);
        match previous {
            NONE => self.first = next,
            previous => self.next[previous as usize] = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.previous[next as usize] = previous,
        }
        self.previous[slot as usize] = OUTSIDE;
        self.length -= 1;
        true
    }

    /// Takes the first slot out.
    pub fn pop_front(&mut self) -> Option<u32> {
        let slot = self.first()?;
        self.remove(slot);
        Some(slot)
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        while self.pop_front().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_transport::prng::Prng;

    #[test]
    fn it_does_what_a_queue_without_repeats_does() {
        let (mut random, mut list) = (Prng::new(1), SlotList::new(8));
        let mut model: Vec<u32> = Vec::new();
        for _ in 0..20_000 {
            let slot = random.range(0..8) as u32;
            let at = model.iter().position(|other| *other == slot);
            match random.range(0..8) {
                0..3 => {
                    assert_eq!(list.push_back(slot), at.is_none());
                    if at.is_none() {
                        model.push(slot);
                    }
                }
                3 => {
                    list.push_front(slot);
                    model.retain(|other| *other != slot);
                    model.insert(0, slot);
                }
                4..6 => {
                    assert_eq!(list.remove(slot), at.is_some());
                    model.retain(|other| *other != slot);
                }
                _ => {
                    let first = (!model.is_empty()).then(|| model.remove(0));
                    assert_eq!(list.pop_front(), first);
                }
            }
            assert_eq!(list.first(), model.first().copied());
            assert_eq!(list.len(), model.len());
            assert_eq!(list.contains(slot), model.contains(&slot));
        }
        list.clear();
        assert!(list.is_empty() && (0..8).all(|slot| !list.contains(slot)));
    }
}
