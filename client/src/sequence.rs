//! Exactly once, the client's half (`log.md` 6, 7): numbers and bytes of the requests in
//! flight, and the name of the last response handed over. Pure; owned by the session.
//!
//! A request is retained from its offer until the cluster says that it was applied, so that it
//! can be sent again to whoever leads. A request number, once assigned, belongs to its bytes
//! until it is applied or refused.

use lockstep_transport::ids::RequestNumber;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

/// What the cluster said about numbers cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SequenceFault {
    /// It applied a request that was never offered.
    #[error("request {applied} was applied but {next} is the next one to be offered")]
    Ahead {
        /// The number claimed to be applied.
        applied: RequestNumber,
        /// The next number to be assigned.
        next: RequestNumber,
    },
    /// It no longer knows a request that it had applied.
    #[error("request {known} was applied and now only {applied} is")]
    Behind {
        /// The number claimed to be applied now.
        applied: RequestNumber,
        /// The number known to be applied.
        known: RequestNumber,
    },
}

/// Where one retained request lies in the byte ring.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    offset: usize,
    length: usize,
    /// Bytes left unused at the end of the ring because the request did not fit there.
    skipped: usize,
}

/// Requests in flight: numbered from 1, retained until applied, sent in order.
#[derive(Debug)]
pub(crate) struct RequestSequence {
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    /// Ring offset where the next request goes.
    tail: usize,
    /// Bytes between the oldest request and `tail`, with what was skipped.
    used: usize,
    applied: RequestNumber,
    unsent: RequestNumber,
    next: RequestNumber,
    /// Requests below this number may have been sent more than once.
    resent_below: RequestNumber,
}

impl RequestSequence {
    /// A sequence of at most `count_max` requests and `bytes_max` bytes in flight, at number 1.
    #[must_use]
    pub fn new(count_max: usize, bytes_max: usize) -> Self {
        assert!(
            count_max > 0 && bytes_max > 0,
            "a window of nothing cannot move"
        );
        Self {
            slots: vec![Slot::default(); count_max].into_boxed_slice(),
            bytes: vec![0; bytes_max].into_boxed_slice(),
            tail: 0,
            used: 0,
            applied: RequestNumber::NONE,
            unsent: RequestNumber::FIRST,
            next: RequestNumber::FIRST,
            resent_below: RequestNumber::FIRST,
        }
    }

    /// Number of the last request known to be applied.
    #[must_use]
    pub const fn applied_number(&self) -> RequestNumber {
        self.applied
    }

    /// The number that the next offer gets.
    #[must_use]
    pub const fn next_number(&self) -> RequestNumber {
        self.next
    }

    /// Requests offered and not known to be applied.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        (self.next.get() - self.applied.get() - 1) as usize
    }

    /// Bytes that they take.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.used
    }

    fn slot_index(&self, number: RequestNumber) -> usize {
        (number.get() as u64 % self.slots.len() as u64) as usize
    }

    /// Retains `payload` and returns its number, or `None` when the window is full.
    pub fn push(&mut self, payload: &[u8]) -> Option<RequestNumber> {
        if self.in_flight() == self.slots.len() {
            sometimes(Mark::RequestWindowFull);
            return None;
        }
        if self.used == 0 {
            self.tail = 0;
        }
        let capacity = self.bytes.len();
        let (offset, skipped) = if payload.len() <= capacity - self.tail {
            (self.tail, 0)
        } else {
            sometimes(Mark::RequestRingWraps);
            (0, capacity - self.tail)
        };
        if payload.len() + skipped > capacity - self.used {
            return None;
        }
        let length = payload.len();
        self.bytes[offset..offset + length].copy_from_slice(payload);
        self.tail = offset + length;
        self.used += length + skipped;
        let number = self.next;
        let index = self.slot_index(number);
        self.slots[index] = Slot {
            offset,
            length,
            skipped,
        };
        self.next = self.next.next();
        Some(number)
    }

    /// The next request to put on the wire, with its number.
    #[must_use]
    pub fn next_unsent(&self) -> Option<(RequestNumber, &[u8])> {
        if self.unsent == self.next {
            return None;
        }
        let slot = self.slots[self.slot_index(self.unsent)];
        Some((
            self.unsent,
            &self.bytes[slot.offset..slot.offset + slot.length],
        ))
    }

    /// The request given by [`next_unsent`](Self::next_unsent) went out.
    pub fn mark_sent(&mut self) {
        assert!(
            self.unsent < self.next,
            "sent a request that was never offered"
        );
        self.unsent = self.unsent.next();
    }

    /// All requests up to `number` are applied: lets go of them. Returns whether any was news.
    ///
    /// # Errors
    /// [`SequenceFault::Ahead`] when `number` was never offered; nothing changes then.
    pub fn on_applied(&mut self, number: RequestNumber) -> Result<bool, SequenceFault> {
        if number >= self.next {
            return Err(SequenceFault::Ahead {
                applied: number,
                next: self.next,
            });
        }
        if number <= self.applied {
            return Ok(false);
        }
        while self.applied < number {
            self.applied = self.applied.next();
            let slot = self.slots[self.slot_index(self.applied)];
            self.used -= slot.length + slot.skipped;
        }
        self.unsent = self.unsent.max(self.applied.next());
        Ok(true)
    }

    /// A leader says at (re)connect that `applied` is the last request it applied. A sequence
    /// that was never used continues from there; any other sends the rest again.
    ///
    /// # Errors
    /// [`SequenceFault`] when that contradicts what was offered or known to be applied.
    pub fn synchronise(&mut self, applied: RequestNumber) -> Result<(), SequenceFault> {
        let may_follow = RequestNumber::NONE..=RequestNumber::APPLIED_MAX;
        if self.next == RequestNumber::FIRST && may_follow.contains(&applied) {
            self.skip_to(applied);
        }
        if applied < self.applied {
            return Err(SequenceFault::Behind {
                applied,
                known: self.applied,
            });
        }
        self.on_applied(applied)?;
        self.rewind(applied.next());
        Ok(())
    }

    /// Sends again from `number` on, if that went out already. What is applied is never sent
    /// again. Returns whether anything will be.
    pub fn rewind(&mut self, number: RequestNumber) -> bool {
        let from = number.max(self.applied.next());
        if from >= self.unsent {
            return false;
        }
        self.resent_below = self.resent_below.max(self.unsent);
        self.unsent = from;
        true
    }

    /// Whether `number` is in flight and went out exactly once: a refusal of it can then mean
    /// only the bytes that have this number now.
    #[must_use]
    pub fn was_sent_once(&self, number: RequestNumber) -> bool {
        number > self.applied && number >= self.resent_below && number < self.unsent
    }

    /// Continues after `applied`, which somebody else offered for this session. Nothing may be
    /// in flight.
    pub fn skip_to(&mut self, applied: RequestNumber) {
        assert!(
            self.in_flight() == 0,
            "skipped over requests that are in flight"
        );
        self.applied = applied;
        self.unsent = applied.next();
        self.next = applied.next();
    }

    /// Forgets the requests from `number` on; their numbers are assigned anew.
    pub fn cancel_from(&mut self, number: RequestNumber) {
        let number = number.max(self.applied.next());
        while self.next > number {
            self.next = self.next.previous();
            let slot = self.slots[self.slot_index(self.next)];
            self.used -= slot.length + slot.skipped;
            self.tail = if slot.skipped > 0 {
                self.bytes.len() - slot.skipped
            } else {
                slot.offset
            };
        }
        self.unsent = self.unsent.min(self.next);
    }
}

/// Name of the last response handed to the application: everything up to it is a duplicate.
///
/// Ordered by (position, ordinal). No response lies at position 0, where the first leadership
/// term begins, so (0, 0) stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResponseCursor {
    /// Position of the response; what the client acknowledges.
    pub position: Position,
    /// Ordinal among the effects of its cause.
    pub ordinal: u32,
}

impl ResponseCursor {
    /// Whether the response at (`position`, `ordinal`) is still to be handed over.
    #[must_use]
    pub fn is_new(&self, position: Position, ordinal: u32) -> bool {
        (position, ordinal) > (self.position, self.ordinal)
    }

    /// The response was handed over; called after the application's callback returned.
    pub fn on_handed_over(&mut self, position: Position, ordinal: u32) {
        assert!(
            self.is_new(position, ordinal),
            "response at {position} handed over twice"
        );
        *self = Self { position, ordinal };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn numbered(number: i64) -> RequestNumber {
        RequestNumber::new(number)
    }

    fn drain(sequence: &mut RequestSequence) -> Vec<(i64, Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some((number, payload)) = sequence.next_unsent() {
            sent.push((number.get(), payload.to_vec()));
            sequence.mark_sent();
        }
        sent
    }

    #[test]
    fn requests_are_numbered_from_one_and_sent_in_order() {
        let mut sequence = RequestSequence::new(4, 64);
        assert_eq!(sequence.push(b"a"), Some(numbered(1)));
        assert_eq!(sequence.push(b""), Some(numbered(2)));
        let sent = drain(&mut sequence);
        assert_eq!(sent, [(1, b"a".to_vec()), (2, Vec::new())]);
        assert_eq!(sequence.in_flight(), 2);
        assert_eq!(sequence.on_applied(numbered(1)), Ok(true));
        assert_eq!(sequence.on_applied(numbered(1)), Ok(false));
        assert_eq!(sequence.in_flight(), 1);
    }

    #[test]
    fn the_window_is_bounded_by_count_and_by_bytes() {
        let mut sequence = RequestSequence::new(2, 64);
        assert_eq!(sequence.push(b"a"), Some(numbered(1)));
        assert_eq!(sequence.push(b"b"), Some(numbered(2)));
        assert_eq!(sequence.push(b"c"), None);
        assert_eq!(sequence.on_applied(numbered(1)), Ok(true));
        assert_eq!(sequence.push(&[0; 64]), None);
        assert_eq!(sequence.push(&[0; 62]), Some(numbered(3)));
    }

    #[test]
    fn bytes_survive_any_number_of_wraps() {
        let mut sequence = RequestSequence::new(8, 100);
        let mut expected = 1;
        for round in 0..1000_i64 {
            let payload = vec![round as u8; (round as usize * 7) % 41];
            while sequence.push(&payload).is_none() {
                let oldest = sequence.applied_number().next();
                assert_eq!(sequence.on_applied(oldest), Ok(true));
            }
            for (number, bytes) in drain(&mut sequence) {
                assert_eq!(number, expected);
                assert!(bytes.iter().all(|byte| *byte == (number - 1) as u8));
                assert_eq!(bytes.len(), ((number - 1) as usize * 7) % 41);
                expected += 1;
            }
            // What is still in flight can be sent again, unchanged.
            sequence.rewind(numbered(0));
            for (number, bytes) in drain(&mut sequence) {
                assert!(bytes.iter().all(|byte| *byte == (number - 1) as u8));
            }
        }
    }

    #[test]
    fn after_a_leader_change_only_what_was_not_applied_is_sent_again() {
        let mut sequence = RequestSequence::new(8, 64);
        for payload in [b"a", b"b", b"c"] {
            sequence.push(payload);
        }
        drain(&mut sequence);
        assert_eq!(sequence.synchronise(numbered(1)), Ok(()));
        let numbers: Vec<_> = drain(&mut sequence).iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, [2, 3]);
    }

    #[test]
    fn a_fresh_sequence_continues_after_what_its_session_applied() {
        let mut sequence = RequestSequence::new(8, 64);
        assert_eq!(sequence.synchronise(numbered(41)), Ok(()));
        assert_eq!(sequence.push(b"x"), Some(numbered(42)));
        assert_eq!(drain(&mut sequence), [(42, b"x".to_vec())]);
    }

    #[test]
    fn a_fresh_sequence_does_not_continue_where_numbers_end() {
        for applied in [RequestNumber::APPLIED_MAX.get() + 1, i64::MAX - 1, i64::MAX] {
            let mut sequence = RequestSequence::new(8, 64);
            let ahead = SequenceFault::Ahead {
                applied: numbered(applied),
                next: RequestNumber::FIRST,
            };
            assert_eq!(sequence.synchronise(numbered(applied)), Err(ahead));
            assert_eq!(sequence.push(b"x"), Some(RequestNumber::FIRST));
        }
        let mut sequence = RequestSequence::new(8, 64);
        assert_eq!(sequence.synchronise(RequestNumber::APPLIED_MAX), Ok(()));
        let next = RequestNumber::APPLIED_MAX.next();
        assert_eq!(sequence.push(b"x"), Some(next));
        assert_eq!(sequence.on_applied(next), Ok(true));
    }

    #[test]
    fn claims_that_cannot_be_true_are_faults() {
        let mut sequence = RequestSequence::new(8, 64);
        sequence.push(b"a");
        sequence.push(b"b");
        let ahead = SequenceFault::Ahead {
            applied: numbered(3),
            next: numbered(3),
        };
        assert_eq!(sequence.on_applied(numbered(3)), Err(ahead));
        assert_eq!(sequence.synchronise(numbered(i64::MAX)), {
            Err(SequenceFault::Ahead {
                applied: numbered(i64::MAX),
                next: numbered(3),
            })
        });
        assert_eq!(sequence.on_applied(numbered(2)), Ok(true));
        let behind = SequenceFault::Behind {
            applied: numbered(1),
            known: numbered(2),
        };
        assert_eq!(sequence.synchronise(numbered(1)), Err(behind));
        assert_eq!(sequence.synchronise(numbered(-1)), {
            Err(SequenceFault::Behind {
                applied: numbered(-1),
                known: numbered(2),
            })
        });
    }

    #[test]
    fn cancelled_numbers_and_their_bytes_are_free_again() {
        let mut sequence = RequestSequence::new(8, 32);
        sequence.push(&[1; 12]);
        sequence.push(&[2; 12]);
        sequence.on_applied(numbered(1)).unwrap();
        // Does not fit at the end of the ring: wraps, leaving 8 bytes unused.
        assert_eq!(sequence.push(&[3; 10]), Some(numbered(3)));
        drain(&mut sequence);
        sequence.cancel_from(numbered(3));
        assert_eq!(sequence.push(&[4; 8]), Some(numbered(3)));
        assert_eq!(sequence.push(&[5; 12]), Some(numbered(4)));
        assert_eq!(sequence.push(b"x"), None, "every byte is taken again");
        let sent = drain(&mut sequence);
        assert_eq!(sent, [(3, vec![4; 8]), (4, vec![5; 12])]);
        sequence.cancel_from(numbered(0));
        assert_eq!(
            (sequence.in_flight(), sequence.next_number()),
            (0, numbered(2))
        );
    }

    #[test]
    fn a_response_is_new_once_and_only_in_order() {
        let mut cursor = ResponseCursor::default();
        assert!(!cursor.is_new(0, 0));
        assert!(cursor.is_new(32, 0));
        cursor.on_handed_over(32, 0);
        assert!(!cursor.is_new(32, 0));
        assert!(cursor.is_new(32, 1));
        assert!(!cursor.is_new(0, 9));
    }
}
