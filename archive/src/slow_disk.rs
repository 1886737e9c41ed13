//! Slow-disk injection: a disk whose writes complete later than they did.
//!
//! Wraps any [`Disk`]; with a delay of 0 it costs one branch. Completions of writes are held
//! back by the delay in the order they came, reads and preparations are not: it shows what a slow
//! follower or leader does to latency.

use std::collections::VecDeque;

use lockstep_transport::time::{Nanos, earliest};

use crate::disk::{Busy, Completion, Disk, DiskOp};
use crate::log::token::{
    OWNER_ACK_MARK, OWNER_IDENTITY, OWNER_RECORDER, OWNER_SNAPSHOT_INDEX, OWNER_SNAPSHOT_WRITER,
    OWNER_USER, owner,
};

/// Completions held back at once: more than the writers of one node can have in flight (one
/// each of recorder, small file of the user, ack mark, snapshot and their index).
const HELD_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct SlowDisk<D> {
    disk: D,
    delay_ns: Nanos,
    held: VecDeque<(Nanos, Completion)>,
}

impl<D: Disk> SlowDisk<D> {
    /// Wraps `disk`; each write takes `delay_ns` longer.
    #[must_use]
    pub fn new(disk: D, delay_ns: Nanos) -> Self {
        Self {
            disk,
            delay_ns,
            held: VecDeque::with_capacity(HELD_MAX),
        }
    }

    /// The wrapped disk.
    pub fn inner(&self) -> &D {
        &self.disk
    }

    /// The wrapped disk, to tell it what it alone has.
    pub const fn inner_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    fn take_due(&mut self, now: Nanos) -> Option<Completion> {
        match self.held.front() {
            Some((due, _)) if *due <= now => self.held.pop_front().map(|(_, held)| held),
            _ => None,
        }
    }
}

const fn is_write(completion: &Completion) -> bool {
    // Everything these owners submit is a write, except preparations of the recorder and of a
    // snapshot's file, whose delay changes nothing.
    matches!(
        owner(completion.token),
        OWNER_RECORDER
            | OWNER_USER
            | OWNER_ACK_MARK
            | OWNER_IDENTITY
            | OWNER_SNAPSHOT_INDEX
            | OWNER_SNAPSHOT_WRITER
    )
}

impl<D: Disk> Disk for SlowDisk<D> {
    type Files = D::Files;

    fn files(&mut self) -> &mut Self::Files {
        self.disk.files()
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        self.disk.submit(now, operation)
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        if let Some(completion) = self.take_due(now) {
            return Some(completion);
        }
        loop {
            if self.held.len() == HELD_MAX {
                return None;
            }
            let completion = self.disk.poll_completion(now)?;
            if !is_write(&completion) || (self.delay_ns == 0 && self.held.is_empty()) {
                return Some(completion);
            }
            self.held.push_back((now + self.delay_ns, completion));
        }
    }

    fn flush(&mut self, now: Nanos) {
        self.disk.flush(now);
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let held = self.held.front().map(|(due, _)| *due);
        earliest(held, self.disk.next_deadline())
    }
}
