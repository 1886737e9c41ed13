//! What was seen of the members while they ran, many times per second: when a snapshot was being
//! stored, and what memory and disk they had. Pure.

use lockstep_transport::time::Nanos;
use serde_json::{Value, json};

/// What is seen of a member at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// Whether it is storing a snapshot, one that it takes or one that it fetches.
    pub is_storing: bool,
    /// Snapshots that it has stored so far, of both kinds.
    pub snapshots: i64,
    /// Sum of the lengths of the files in its directory.
    pub disk_bytes: u64,
    /// Memory of its process (RSS), if that is its own.
    pub memory_bytes: Option<u64>,
}

/// Memory of a process around its snapshots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryGrowth {
    /// Before the first was begun, bytes.
    pub before_bytes: u64,
    /// Greatest while one was stored, bytes.
    pub writing_max_bytes: u64,
    /// Greatest growth from before one to while it was stored, percent.
    pub growth_percent: f64,
}

impl MemoryGrowth {
    pub(crate) fn to_json(self) -> Value {
        json!({
            "before_bytes": self.before_bytes, "writing_max_bytes": self.writing_max_bytes,
            "growth_percent": self.growth_percent,
        })
    }
}

/// A member as it was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchedMember {
    last: Option<Sighting>,
    /// Memory before the snapshot that is being stored.
    before_bytes: Option<u64>,
    /// Greatest sum of the lengths of the files in its directory.
    pub disk_bytes_max: u64,
    /// Its memory around its snapshots; `None` where it has stored none, or shares its process.
    pub memory: Option<MemoryGrowth>,
}

impl WatchedMember {
    /// Takes what is seen now. Returns whether a snapshot was being stored since the last time,
    /// one that has come and gone in between included.
    pub fn on_sighting(&mut self, now: Sighting) -> bool {
        let last = self.last.replace(now).unwrap_or(now);
        self.disk_bytes_max = self.disk_bytes_max.max(now.disk_bytes);
        let was_storing = now.is_storing || last.is_storing || now.snapshots > last.snapshots;
        if !last.is_storing {
            self.before_bytes = last.memory_bytes;
        }
        if was_storing && let (Some(before), Some(bytes)) = (self.before_bytes, now.memory_bytes) {
            self.grow(before, bytes);
        }
        was_storing
    }

    fn grow(&mut self, before_bytes: u64, bytes: u64) {
        let growth = 100.0 * (bytes as f64 / before_bytes.max(1) as f64 - 1.0);
        let memory = self.memory.get_or_insert(MemoryGrowth {
            before_bytes,
            writing_max_bytes: 0,
            growth_percent: growth,
        });
        memory.writing_max_bytes = memory.writing_max_bytes.max(bytes);
        memory.growth_percent = memory.growth_percent.max(growth);
    }
}

/// Between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// The look before.
    pub from: Nanos,
    /// The look.
    pub to: Nanos,
    /// Whether any member was storing a snapshot.
    pub is_storing: bool,
    /// Heap allocations of all.
    pub allocations: i64,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    /// The members, by id.
    pub members: Vec<WatchedMember>,
    /// From the start to the end, without gaps.
    pub intervals: Vec<Interval>,
}

impl Watched {
    /// The numbers of the parts of time, each so long, in which a member was storing a snapshot,
    /// ascending.
    pub fn snapshot_parts(&self, length: Nanos) -> Vec<Nanos> {
        let writing = self.intervals.iter().filter(|interval| interval.is_storing);
        let mut parts: Vec<Nanos> = writing
            .flat_map(|interval| interval.from / length..=interval.to / length)
            .collect();
        parts.dedup();
        parts
    }

    /// Heap allocations from `since` to `until`: while a snapshot was being stored, and otherwise.
    /// What it takes to let go of the one that it replaces comes after it and is of the former.
    pub fn allocations(&self, since: Nanos, until: Nanos) -> (i64, i64) {
        let (mut writing, mut otherwise) = (0, 0);
        let mut was_storing = false;
        for interval in &self.intervals {
            let is_of_snapshot = interval.is_storing || was_storing;
            was_storing = interval.is_storing;
            if interval.from < since || interval.to > until {
                continue;
            }
            if is_of_snapshot {
                writing += interval.allocations;
            } else {
                otherwise += interval.allocations;
            }
        }
        (writing, otherwise)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::time::{MILLISECOND, SECOND};

    use super::*;

    fn sighting(is_storing: bool, snapshots: i64, memory: u64) -> Sighting {
        Sighting {
            is_storing,
            snapshots,
            disk_bytes: memory * 2,
            memory_bytes: Some(memory),
        }
    }

    #[test]
    fn memory_grows_from_before_a_snapshot_to_while_it_is_written() {
        let mut member = WatchedMember::default();
        let mut see = |is_storing, snapshots, memory| {
            member.on_sighting(sighting(is_storing, snapshots, memory))
        };
        assert!(!see(false, 0, 100));
        // Growth without a snapshot is none of it.
        assert!(!see(false, 0, 200));
        assert!(see(true, 0, 210));
        assert!(see(true, 0, 220));
        // The last bit of it.
        assert!(see(false, 1, 215));
        assert!(!see(false, 1, 250));
        // One that has come and gone between two looks.
        assert!(see(false, 2, 260));
        let memory = member.memory.unwrap();
        assert_eq!((memory.before_bytes, memory.writing_max_bytes), (200, 260));
        assert!((memory.growth_percent - 10.0).abs() < 1e-9, "{memory:?}");
        assert_eq!(member.disk_bytes_max, 520);
    }

    #[test]
    fn a_member_that_shares_its_process_has_no_memory_of_its_own() {
        let mut member = WatchedMember::default();
        let shared = Sighting {
            memory_bytes: None,
            ..sighting(true, 0, 1)
        };
        assert!(member.on_sighting(shared));
        assert_eq!(member.memory, None);
    }

    #[test]
    fn seconds_and_allocations_are_those_of_the_looks_that_saw_a_snapshot() {
        let interval = |from: Nanos, to: Nanos, is_storing, allocations| Interval {
            from: from * MILLISECOND,
            to: to * MILLISECOND,
            is_storing,
            allocations,
        };
        let watched = Watched {
            members: Vec::new(),
            intervals: vec![
                interval(1_000, 1_500, false, 100),
                interval(1_500, 1_900, true, 7),
                interval(1_900, 2_100, true, 5),
                interval(2_100, 2_300, false, 20),
                interval(2_300, 4_200, false, 1),
                interval(4_200, 4_400, true, 3),
                interval(4_400, 4_600, false, 2),
            ],
        };
        assert_eq!(watched.snapshot_parts(SECOND), [1, 2, 4]);
        let halves = watched.snapshot_parts(SECOND / 2);
        assert_eq!(halves, [3, 4, 8]);
        let (since, until) = (1_500 * MILLISECOND, 4_500 * MILLISECOND);
        assert_eq!(watched.allocations(since, until), (35, 1));
    }
}
