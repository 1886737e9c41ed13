//! What a member's disk holds of the log, looked at from outside: the oracles ask, no node does.

use super::TankMember;
use crate::sim::held::Held;
use crate::sim::log_range::LogRange;
use crate::sim::stored_log::{MemoryTail, StoredLog};

impl TankMember {
    /// What is, or was when its process ended, in memory alone of its log.
    fn tail(&self) -> MemoryTail {
        match &self.node {
            Some(node) => MemoryTail::of(&node.agents().archive, &node.agents().consensus.log),
            None => self.left.clone(),
        }
    }

    fn stored(&self) -> StoredLog<'_> {
        StoredLog {
            disk: &self.disk,
            segment_length: self.cluster.segment_length,
            tail: self.tail(),
        }
    }

    /// What its log is, or was when its process ended, as far as that is durable; of it, this is
    /// rotten.
    #[must_use]
    pub fn held_log(&self, rotten: &[LogRange]) -> Held {
        Held::of(&self.stored(), self.held(), rotten)
    }

    /// The file and the offset in it where its disk holds the log at `position`, and how much of
    /// the log follows there.
    #[must_use]
    pub fn place_of(&self, position: i64) -> (String, usize, usize) {
        self.stored().place_of(position)
    }

    /// What its disk holds of the log at `position`, at most `length` bytes of one segment.
    #[must_use]
    pub fn stored_log(&self, position: i64, length: usize) -> Option<Vec<u8>> {
        self.stored().part(position, length)
    }

    /// Whether stable storage holds these `bytes` of the log at `position`; of a member without
    /// syncs, whether its page cache does.
    #[must_use]
    pub fn holds_durably(&self, position: i64, bytes: &[u8]) -> bool {
        self.stored().holds(position, bytes, self.is_unsynced())
    }

    /// Whether stable storage holds what a read finds of the log between two positions.
    #[must_use]
    pub fn is_stored_durably(&self, from: i64, to: i64) -> bool {
        let is_cache_enough = self.is_unsynced();
        self.stored().holds_what_it_has(from, to, is_cache_enough)
    }

    /// The frames that its disk holds between `from`, where one begins, and `to`: from and to.
    #[must_use]
    pub fn frames(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        self.stored().frames(from, to)
    }
}
