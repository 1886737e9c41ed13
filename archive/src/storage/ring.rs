//! [`Ring`]: the log's writes through io_uring, polled without system calls.
//!
//! The ring is `SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG` (the CQ is polled in user memory, and
//! the kernel is entered only when it says there is work) and is enabled by the thread that first
//! uses it, so that a node may be built on another. Older kernels get a ring without flags. Synced
//! writes are `RWF_DSYNC` on the direct descriptor.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types};
use lockstep_transport::agent::WakeSources;
use lockstep_transport::time::Nanos;

use super::desk::StorageDesk;
use super::directory::NodeDirectory;
use super::error::StorageError;
use super::operation::{Operation, Progress, REFUSALS_MAX_NS, Transfer};
use super::real_disk::RealDisk;
use crate::disk::{Completion, Durability, QUEUE_LENGTH};
use crate::queued_disk::Engine;

/// Completions waited for when a ring is dropped: many times what can be in flight.
const DROP_WAITS_MAX: usize = 1_000;

/// How long the first operation of a ring may take, in seconds: it does nothing.
const PROBE_TIMEOUT_S: u64 = 2;

/// A real disk through io_uring.
pub type UringDisk = RealDisk<Ring>;

/// See the module.
pub struct Ring {
    ring: IoUring,
    is_enabled: bool,
    is_deferring: bool,
    /// The kernel refused a submission because another thread had submitted before.
    is_foreign: bool,
    /// Why the ring takes nothing more, by error number: everything in flight fails.
    broken: Option<i32>,
    /// Since when the kernel has put submissions off.
    refused_since: Option<Nanos>,
    /// Operations by slot; the slot's index is the entry's user data.
    operations: Vec<Option<Operation>>,
    in_flight: usize,
    /// Completions of writes into the page cache, which are made at once.
    cached: VecDeque<Completion>,
    unsubmitted: usize,
    system_calls: u64,
}

impl core::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Ring")
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

fn build_ring() -> std::io::Result<(IoUring, bool)> {
    let deferring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_r_disabled()
        .build(QUEUE_LENGTH as u32);
    match deferring {
        Ok(ring) => Ok((ring, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Ok((IoUring::new(QUEUE_LENGTH as u32)?, false))
        }
        Err(error) => Err(error),
    }
}

/// One operation through a ring of its own, bound to this thread: what a host lets be set up
/// it may still refuse to be used.
fn probe_ring() -> std::io::Result<()> {
    let (mut ring, is_deferring) = build_ring()?;
    if is_deferring {
        ring.submitter().register_enable_rings()?;
    }
    let entry = opcode::Nop::new().build();
    // SAFETY: the entry has no pointers.
    unsafe { ring.submission().push(&entry) }
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::WouldBlock))?;
    let timeout = types::Timespec::new().sec(PROBE_TIMEOUT_S);
    let arguments = types::SubmitArgs::new().timespec(&timeout);
    ring.submitter().submit_with_args(1, &arguments)?;
    match ring.completion().next().map(|entry| entry.result()) {
        Some(result) if result >= 0 => Ok(()),
        Some(result) => Err(std::io::Error::from_raw_os_error(-result)),
        None => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
    }
}

impl UringDisk {
    /// Sets up a ring over a locked directory, once one has been seen to work; gives the
    /// directory back when that is refused.
    ///
    /// # Errors
    /// [`StorageError::UringRefused`] or [`StorageError::NoThread`], with the directory.
    pub fn start(directory: NodeDirectory) -> Result<Self, Box<(StorageError, NodeDirectory)>> {
        let refused = |error: std::io::Error| StorageError::UringRefused {
            detail: error.to_string(),
        };
        let engine = match probe_ring().and_then(|()| Ring::new()) {
            Ok(ring) => ring,
            Err(error) => return Err(Box::new((refused(error), directory))),
        };
        let desk = StorageDesk::start(directory).map_err(|failed| {
            let (error, directory) = *failed;
            let detail = error.to_string();
            Box::new((StorageError::NoThread { detail }, directory))
        })?;
        Ok(Self { desk, engine })
    }
}

impl Ring {
    fn new() -> std::io::Result<Self> {
        let (ring, is_deferring) = build_ring()?;
        Ok(Self {
            ring,
            is_enabled: !is_deferring,
            is_deferring,
            is_foreign: false,
            broken: None,
            refused_since: None,
            operations: (0..QUEUE_LENGTH).map(|_| None).collect(),
            in_flight: 0,
            cached: VecDeque::with_capacity(QUEUE_LENGTH),
            unsubmitted: 0,
            system_calls: 0,
        })
    }

    /// The same for another thread. Nothing may have been submitted: the ring belongs to the thread
    /// that first does.
    pub(super) fn unused(self) -> Self {
        assert_eq!(self.system_calls, 0, "the ring was used before");
        self
    }

    /// Puts the rest of the operation in `slot` on the submission queue.
    fn queue(&mut self, slot: usize) -> bool {
        let Some(operation) = &self.operations[slot] else {
            return false;
        };
        let descriptor = types::Fd(operation.descriptor());
        let length = operation.left() as u32;
        let offset = operation.next_offset();
        let entry = match operation.transfer {
            Transfer::Read => opcode::Read::new(descriptor, operation.next_pointer(), length)
                .offset(offset)
                .build(),
            Transfer::Write(_) => opcode::Write::new(descriptor, operation.next_pointer(), length)
                .offset(offset)
                .rw_flags(operation.flags())
                .build(),
        };
        // At leisure means on a kernel worker from the start, not in the caller's time.
        let flags = match operation.transfer {
            Transfer::Write(Durability::Lazy) => squeue::Flags::ASYNC,
            _ => squeue::Flags::empty(),
        };
        let entry = entry.flags(flags).user_data(slot as u64);
        // SAFETY: the operation stays in its slot, keeping file and memory alive, until the
        // completion of this entry; `drop` waits for those.
        let is_queued = unsafe { self.ring.submission().push(&entry) }.is_ok();
        self.unsubmitted += usize::from(is_queued);
        is_queued
    }

    fn submit_queued(&mut self, now: Nanos) {
        self.system_calls += 1;
        let submitted = if self.is_enabled {
            self.ring.submit()
        } else {
            let enabled = self.ring.submitter().register_enable_rings();
            self.is_enabled = enabled.is_ok();
            enabled.and_then(|()| self.ring.submit())
        };
        match submitted {
            Ok(submitted) => {
                self.unsubmitted = self.unsubmitted.saturating_sub(submitted);
                self.refused_since = None;
            }
            Err(error) => self.on_refused(now, error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    /// The kernel took no submission: it may have a reason that passes, up to a bound.
    #[cold]
    fn on_refused(&mut self, now: Nanos, error: i32) {
        if error == libc::EEXIST {
            self.is_foreign = true;
            return;
        }
        let passes = matches!(error, libc::EINTR | libc::EAGAIN | libc::EBUSY);
        let since = *self.refused_since.get_or_insert(now);
        if !passes || now - since >= REFUSALS_MAX_NS {
            self.broken = Some(error);
        }
    }

    fn next_result(&mut self) -> Option<(usize, i64)> {
        let entry = self.ring.completion().next()?;
        Some((entry.user_data() as usize, i64::from(entry.result())))
    }

    fn poll_ring(&mut self, now: Nanos) -> Option<Completion> {
        if self.in_flight == 0 {
            return None;
        }
        let mut found = self.next_result();
        if found.is_none() && self.is_deferring && self.ring.submission().taskrun() {
            self.submit_queued(now);
            found = self.next_result();
        }
        if found.is_none() && self.broken.is_some() {
            return self.abandon();
        }
        let (slot, result) = found?;
        self.on_result(now, slot, result)
    }

    /// Takes one result. What is left undone is submitted again once, and looked at in a later
    /// poll: a kernel that puts an operation off for ever does not hold the cycle.
    fn on_result(&mut self, now: Nanos, slot: usize, result: i64) -> Option<Completion> {
        let operation = self
            .operations
            .get_mut(slot)
            .and_then(Option::as_mut)
            .expect("the kernel completes only what was submitted");
        if let Progress::Finished(completion) = operation.on_result(now, result) {
            self.operations[slot] = None;
            self.in_flight -= 1;
            return Some(completion);
        }
        assert!(
            self.queue(slot),
            "the queue has a place for every operation in flight"
        );
        self.submit_queued(now);
        None
    }

    /// The ring is broken: one operation in flight fails for it. Whether the kernel still uses
    /// its memory nobody can say, so that is kept for ever.
    #[cold]
    fn abandon(&mut self) -> Option<Completion> {
        let number = self.broken?;
        let operation = self.operations.iter_mut().find_map(Option::take)?;
        self.in_flight -= 1;
        let completion = operation.abandoned(&enter_error(number));
        std::mem::forget(operation);
        Some(completion)
    }
}

fn enter_error(number: i32) -> std::io::Error {
    let error = std::io::Error::from_raw_os_error(number);
    std::io::Error::other(format!("io_uring_enter: {error}"))
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Memory on loan to the kernel must outlive the operations: wait for all of them. Time
        // stands still here, but what is put off for ever is not waited for.
        for _ in 0..DROP_WAITS_MAX {
            if self.in_flight == 0 {
                return;
            }
            if self.poll_ring(0).is_none() && self.ring.submit_and_wait(1).is_err() {
                break;
            }
        }
        // Not this thread's ring, or a broken one: keep the loaned memory for ever.
        for operation in &mut self.operations {
            std::mem::forget(operation.take());
        }
    }
}

impl Engine for Ring {
    type Work = Operation;

    fn submit(&mut self, now: Nanos, operation: Operation) -> Result<(), Operation> {
        if self.cached.len() == QUEUE_LENGTH {
            return Err(operation);
        }
        if operation.transfer == Transfer::Write(Durability::Cached) {
            // A copy into the page cache: many file systems, ext4 among them, hand it to a kernel
            // worker when it comes through the ring, whose wake-up costs more than the copy.
            self.system_calls += 1;
            self.cached.push_back(operation.run_at_once());
            return Ok(());
        }
        if let Some(number) = self.broken {
            self.cached
                .push_back(operation.abandoned(&enter_error(number)));
            return Ok(());
        }
        let Some(slot) = self.operations.iter().position(Option::is_none) else {
            return Err(operation);
        };
        self.operations[slot] = Some(operation);
        if !self.queue(slot) {
            return self.operations[slot].take().map_or(Ok(()), Err);
        }
        self.in_flight += 1;
        // Starting the device now rather than at the end of the cycle hides its latency.
        self.submit_queued(now);
        assert!(
            !self.is_foreign,
            "an io_uring disk belongs to the thread that first submitted to it"
        );
        Ok(())
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        let cached = self.cached.pop_front();
        cached.or_else(|| self.poll_ring(now))
    }

    fn flush(&mut self, now: Nanos) {
        if self.unsubmitted > 0 && self.broken.is_none() {
            self.submit_queued(now);
        }
    }

    /// A kernel that puts submissions off tells nobody when it takes them again.
    fn next_deadline(&self) -> Option<Nanos> {
        self.refused_since.filter(|_| self.broken.is_none())
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }

    /// The kernel rings for each completion.
    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        let doorbell = sources.waker().as_raw_fd();
        if self.ring.submitter().register_eventfd(doorbell).is_err() {
            sources.miss();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lockstep_transport::concurrent::AtomicBuffer;

    use super::*;
    use crate::disk::{BLOCK_LENGTH, ColdFiles, Disk, DiskOp, FileId};
    use crate::storage::operation::TRY_AGAIN;

    /// A disk with one write in its first slot that the kernel has not been told of.
    fn disk(place: &std::path::Path) -> Option<(UringDisk, AtomicBuffer)> {
        let directory = NodeDirectory::open(place, &[]).unwrap();
        let mut disk = UringDisk::start(directory)
            .inspect_err(|refused| eprintln!("NOT TESTED: {}", refused.0))
            .ok()?;
        let file = disk.files().create("x.dat", BLOCK_LENGTH as u64).unwrap();
        let memory = AtomicBuffer::allocate(BLOCK_LENGTH).unwrap();
        let block = memory.kernel_block(0, BLOCK_LENGTH);
        let transfer = Transfer::Write(Durability::Synced);
        let open = Arc::clone(disk.files().file(file).unwrap());
        let operation = Operation::new((open, file), 9, 0, block, transfer);
        disk.engine.operations[0] = Some(operation);
        disk.engine.in_flight = 1;
        Some((disk, memory))
    }

    #[test]
    fn a_completion_that_says_try_again_is_looked_at_once_a_poll_and_given_up_in_time() {
        let place = tempfile::tempdir().unwrap();
        let Some((mut disk, _memory)) = disk(place.path()) else {
            return;
        };
        // What the kernel makes of the operation in truth is of no interest here.
        let calls = disk.engine.system_calls;
        assert_eq!(disk.engine.on_result(50, 0, TRY_AGAIN), None);
        assert_eq!(
            disk.engine.system_calls,
            calls + 1,
            "one more try, and no loop"
        );
        let given_up = disk
            .engine
            .on_result(50 + REFUSALS_MAX_NS, 0, TRY_AGAIN)
            .unwrap();
        let said = given_up.result.unwrap_err().to_string();
        assert!(said.contains("write of x.dat failed"), "{said}");
        assert!(said.contains("os error 11"), "{said}");
        assert_eq!(disk.engine.in_flight, 0);
        std::mem::forget(disk);
    }

    #[test]
    fn a_kernel_that_takes_no_submission_any_more_fails_what_is_in_flight_by_name() {
        let place = tempfile::tempdir().unwrap();
        let Some((mut disk, memory)) = disk(place.path()) else {
            return;
        };
        disk.engine.on_refused(50, libc::EBUSY);
        assert_eq!(disk.poll_completion(60), None);
        disk.engine.on_refused(50 + REFUSALS_MAX_NS, libc::EBUSY);
        let failed = disk.poll_completion(70 + REFUSALS_MAX_NS).unwrap();
        let said = failed.result.unwrap_err().to_string();
        for part in ["write of x.dat", "io_uring_enter", "os error 16"] {
            assert!(said.contains(part), "\"{part}\" is missing in: {said}");
        }
        // What comes later is answered too.
        let operation = DiskOp::Write {
            token: 10,
            file: FileId(0),
            offset: 0,
            block: memory.kernel_block(0, BLOCK_LENGTH),
            durability: Durability::Synced,
        };
        disk.submit(80, operation).unwrap();
        let failed = disk.poll_completion(90).unwrap();
        assert!(failed.token == 10 && failed.result.is_err());
    }
}
