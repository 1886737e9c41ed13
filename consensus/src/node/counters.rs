//! A node's counters: fixed slots of 8 bytes in a mapped file that any process may read.
//!
//! The node's agent writes them once per duty cycle in which something changed; readers see
//! each value whole, not all values at one instant.

use std::io;
use std::path::Path;

use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::notices::NoticeKind;

use crate::notice::NodeNotice;

/// Name of the file in a node's directory.
pub const COUNTERS_FILE: &str = "counters.dat";

/// Bytes of the file.
pub(crate) const COUNTERS_LENGTH: usize = 4096;

/// Slot of the first kind of [`NodeNotice`]; each kind has the slot of its number above it.
pub const NOTICE_SLOT_FIRST: usize = 256;

const _: () = assert!((NOTICE_SLOT_FIRST + NodeNotice::COUNT) * 8 <= COUNTERS_LENGTH);

/// Marks a file written by this version.
const MAGIC: i64 = 0x0001_5243_4B43_4F4C;

/// What a counter means; the number is its slot and never changes meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Process id of the node.
    ProcessId = 1,
    /// Role: 0 follower, 1 pre-candidate, 2 candidate, 3 leader.
    Role = 2,
    /// Current leadership term.
    Term = 3,
    /// Member that leads it, -1 if unknown.
    Leader = 4,
    /// End of the log in memory.
    Append = 5,
    /// Durable end of the log.
    Durable = 6,
    /// Commit position.
    Commit = 7,
    /// Applied position.
    Applied = 8,
    /// Whether ingress is open (1) or not (0).
    IngressOpen = 9,
    /// Hash of the service's state at `HashPosition`; written only when the node is asked to.
    StateHash = 10,
    /// Heap allocations of the process since start; 0 where its program does not count them.
    Allocations = 11,
    /// System calls made by the node's network ports since start.
    SystemCalls = 12,
    /// Duty cycles since start.
    Cycles = 13,
    /// Open sessions.
    Sessions = 14,
    /// Everything that was refused or amiss: the sum of the counts by cause, each of which has a
    /// slot of its own from [`NOTICE_SLOT_FIRST`] on.
    Refused = 15,
    /// 1 once the node has halted on an error.
    Halted = 17,
    /// Elections this node stood in.
    Elections = 18,
    /// Hash of everything the service emitted up to `HashPosition`.
    OutputHash = 19,
    /// Set to 1 by a tool that wants `StateHash` and `OutputHash` written.
    HashRequest = 20,
    /// `Applied` at which `StateHash` and `OutputHash` were taken.
    HashPosition = 21,
    /// Log time minus this member's wall clock, ns; 0 until the log is heard live.
    LogTimeOffset = 40,
    /// Answers that waited until a follower had told what its service put out.
    AnswersWaited = 44,
    /// Answers that left although no majority was known to have the same output.
    AnswersUnverified = 45,
}

/// A node's counters, mapped.
#[derive(Debug)]
pub struct Counters {
    buffer: AtomicBuffer,
}

impl Counters {
    /// Counters of this process alone (embedded nodes, simulation).
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn in_memory() -> io::Result<Self> {
        Ok(Self::initialise(AtomicBuffer::allocate(COUNTERS_LENGTH)?))
    }

    /// Creates the counters file in `directory`, or starts an existing one afresh.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(directory: &Path) -> io::Result<Self> {
        Ok(Self::initialise(AtomicBuffer::map_file(
            &directory.join(COUNTERS_FILE),
            COUNTERS_LENGTH,
        )?))
    }

    /// Opens the counters of the node in `directory`; `None` while it has not started.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(COUNTERS_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let buffer = AtomicBuffer::map_file(&path, COUNTERS_LENGTH)?;
        Ok((buffer.get_i64_acquire(0) == MAGIC).then_some(Self { buffer }))
    }

    fn initialise(mut buffer: AtomicBuffer) -> Self {
        buffer.zero(0, COUNTERS_LENGTH);
        buffer.put_i64_release(
            Counter::ProcessId as usize * 8,
            i64::from(std::process::id()),
        );
        buffer.put_i64_release(Counter::Leader as usize * 8, -1);
        buffer.put_i64_release(0, MAGIC);
        Self { buffer }
    }

    /// Sets a counter.
    pub fn set(&mut self, counter: Counter, value: i64) {
        self.buffer.put_i64_release(counter as usize * 8, value);
    }

    /// Adds to a counter that this process owns.
    pub fn add(&mut self, counter: Counter, value: i64) {
        self.set(counter, self.get(counter) + value);
    }

    /// Sets the counts of all notices, by the index of their kind.
    pub(crate) fn set_notices(&mut self, counts: impl Iterator<Item = u64>) {
        let slots = (NOTICE_SLOT_FIRST * 8..COUNTERS_LENGTH).step_by(8);
        for (offset, count) in slots.zip(counts) {
            self.buffer.put_i64_release(offset, count as i64);
        }
    }

    /// Reads the count of one kind of notice.
    #[must_use]
    pub fn notice(&self, kind: NodeNotice) -> i64 {
        let slot = NOTICE_SLOT_FIRST + kind.index();
        self.buffer.get_i64_acquire(slot * 8)
    }

    /// Reads a counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> i64 {
        self.buffer.get_i64_acquire(counter as usize * 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_reads_what_the_node_wrote() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Counters::open(directory.path()).unwrap().is_none());
        let mut counters = Counters::create(directory.path()).unwrap();
        counters.set(Counter::Commit, 4096);
        let reader = Counters::open(directory.path()).unwrap().unwrap();
        assert_eq!(reader.get(Counter::Commit), 4096);
        assert_eq!(reader.get(Counter::Leader), -1);
    }
}
