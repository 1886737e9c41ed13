//! Slots that want a visit: something happened to them, or their deadline has come. A duty cycle
//! visits so many of them.

use lockstep_transport::time::Nanos;

use super::heap::SlotHeap;
use super::list::SlotList;

/// Slots visited in one cycle at most; the others have their turn in the next.
const VISITS_PER_CYCLE: usize = 256;

/// What one duty cycle visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visits {
    /// Slots to visit now, each taken by [`DueSlots::pop`].
    pub count: usize,
    /// Whether others wait for the next cycle.
    pub has_more: bool,
}

/// Slots in the order in which they fell due. Each is in it once.
#[derive(Debug)]
pub struct DueSlots {
    due: SlotList,
    deadlines: SlotHeap,
}

impl DueSlots {
    /// None is due, of slots below `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            due: SlotList::new(capacity),
            deadlines: SlotHeap::new(capacity),
        }
    }

    /// Something happened to `slot`.
    pub fn push(&mut self, slot: u32) {
        self.due.push_back(slot);
    }

    /// `slot` is due at this time by itself, or never.
    pub fn set_deadline(&mut self, slot: u32, deadline: Option<Nanos>) {
        self.deadlines.update(slot, deadline);
    }

    /// `slot` is gone.
    pub fn remove(&mut self, slot: u32) {
        self.due.remove(slot);
        self.deadlines.remove(slot);
    }

    /// What the cycle at `now` visits: of what happened and of the deadlines that have come.
    pub fn begin_cycle(&mut self, now: Nanos) -> Visits {
        for _ in 0..VISITS_PER_CYCLE {
            let Some(slot) = self.deadlines.pop_until(now) else {
                break;
            };
            self.due.push_back(slot);
        }
        let waiting = self.due.len();
        Visits {
            count: waiting.min(VISITS_PER_CYCLE),
            has_more: waiting > VISITS_PER_CYCLE,
        }
    }

    /// The next slot to visit.
    pub fn pop(&mut self) -> Option<u32> {
        self.due.pop_front()
    }

    /// When the next slot is due; 0 while one waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.due.is_empty() {
            self.deadlines.first().map(|(deadline, _)| deadline)
        } else {
            Some(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_due_by_what_happened_and_by_its_deadline_and_is_visited_once() {
        let mut slots = DueSlots::new(4);
        assert_eq!(slots.next_deadline(), None);
        slots.set_deadline(2, Some(10));
        slots.set_deadline(3, Some(20));
        assert_eq!(slots.next_deadline(), Some(10));
        slots.push(1);
        slots.push(2);
        assert_eq!(slots.next_deadline(), Some(0));
        let visits = slots.begin_cycle(10);
        assert_eq!((visits.count, visits.has_more), (2, false));
        assert_eq!(
            [slots.pop(), slots.pop(), slots.pop()],
            [Some(1), Some(2), None]
        );
        assert_eq!(slots.next_deadline(), Some(20));
        slots.remove(3);
        assert_eq!(slots.next_deadline(), None);
    }

    #[test]
    fn a_cycle_visits_so_many_and_the_others_have_their_turn_in_the_next() {
        let slots_max = VISITS_PER_CYCLE as u32 + 1;
        let mut slots = DueSlots::new(slots_max as usize);
        (0..slots_max).for_each(|slot| slots.push(slot));
        let visits = slots.begin_cycle(0);
        assert_eq!((visits.count, visits.has_more), (VISITS_PER_CYCLE, true));
        for slot in 0..VISITS_PER_CYCLE as u32 {
            assert_eq!(slots.pop(), Some(slot));
        }
        let visits = slots.begin_cycle(0);
        assert_eq!((visits.count, visits.has_more), (1, false));
    }
}
