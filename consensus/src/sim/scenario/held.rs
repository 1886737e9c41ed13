//! What a member's disk had of the log when its process ended: what it may have acknowledged.

use lockstep_transport::position::Position;

use crate::sim::stored_log::StoredLog;
use crate::sim::tank_atlas::LogRange;
use crate::sim::tank_quorum::sound_parts;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Held {
    bytes: Vec<u8>,
    /// What had rotted by then: it was held when it did.
    rotten: Vec<LogRange>,
}

impl Held {
    /// What is `stored` up to `durable`; nothing, where a part of that is not there.
    pub fn of(stored: StoredLog<'_>, durable: Position, rotten: &[LogRange]) -> Self {
        Self {
            bytes: stored.range(0, durable).unwrap_or_default(),
            rotten: rotten.to_vec(),
        }
    }

    /// Whether it had these `bytes` of the log at `from`.
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
        let held = Held {
            bytes: vec![1, 2, 3, 4],
            rotten: Vec::new(),
        };
        assert!(held.holds(0, &[1, 2, 3, 4]) && held.holds(2, &[3, 4]) && held.holds(4, &[]));
        assert!(!held.holds(2, &[3, 5]) && !held.holds(2, &[3, 4, 5]) && !held.holds(5, &[]));
        let held = Held {
            rotten: vec![(1, 2)],
            ..held
        };
        assert!(held.holds(0, &[1, 9, 3]) && !held.holds(0, &[9, 9, 3]));
    }
}
