//! What a member's disk had of the log when its process ended: what it may have acknowledged.

use lockstep_transport::position::Position;

use super::stored_log::StoredLog;
use crate::sim::log_range::{LogRange, sound_parts};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    bytes: Vec<u8>,
    /// What had rotted by then: it was held when it did.
    rotten: Vec<LogRange>,
}

impl Held {
    /// These `bytes`, from the beginning of the log on, of which some had rotted.
    #[must_use]
    pub fn new(bytes: Vec<u8>, rotten: &[LogRange]) -> Self {
        Self {
            bytes,
            rotten: rotten.to_vec(),
        }
    }

    /// What is `stored` up to `durable`; zeros, which are no log, where a segment is not there.
    #[must_use]
    pub fn of(stored: &StoredLog<'_>, durable: Position, rotten: &[LogRange]) -> Self {
        let mut bytes = Vec::new();
        while (bytes.len() as Position) < durable {
            let position = bytes.len() as Position;
            let rest = (durable - position) as usize;
            let missing = || vec![0; rest.min(stored.place_of(position).2)];
            bytes.extend(stored.part(position, rest).unwrap_or_else(missing));
        }
        Self::new(bytes, rotten)
    }

    /// Its member cuts off what lies above `end`.
    pub fn cut(&mut self, end: Position) {
        self.bytes.truncate(end as usize);
    }

    /// Whether it had these `bytes` of the log at `from`.
    #[must_use]
    pub fn holds(&self, from: Position, bytes: &[u8]) -> bool {
        let to = from + bytes.len() as Position;
        let has = |(start, end): LogRange| {
            let part = &bytes[(start - from) as usize..(end - from) as usize];
            self.bytes[start as usize..end as usize] == *part
        };
        to <= self.bytes.len() as Position && sound_parts((from, to), &self.rotten).all(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_differ_and_bytes_behind_the_end_are_not_held_and_rot_is_overlooked() {
        let held = Held::new(vec![1, 2, 3, 4], &[]);
        assert!(held.holds(0, &[1, 2, 3, 4]) && held.holds(2, &[3, 4]) && held.holds(4, &[]));
        assert!(!held.holds(2, &[3, 5]) && !held.holds(2, &[3, 4, 5]) && !held.holds(5, &[]));
        let held = Held {
            rotten: vec![(1, 2)],
            ..held
        };
        assert!(held.holds(0, &[1, 9, 3]) && !held.holds(0, &[9, 9, 3]));
    }

    #[test]
    fn what_is_cut_off_is_not_held_any_more() {
        let mut held = Held::new(vec![1, 2, 3, 4], &[]);
        held.cut(3);
        assert!(held.holds(0, &[1, 2, 3]) && !held.holds(3, &[4]));
    }
}
