//! [`UringDisk`]: the log's writes through io_uring, polled without system calls.
//!
//! The ring is `SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG` (measured best here: the CQ is
//! polled in user memory, and the kernel is entered only when it says there is work) and is
//! enabled by the thread that first uses it, so that a node may be built on another. Older
//! kernels get a ring without flags. Synced writes are `RWF_DSYNC` on the direct descriptor.

use std::collections::VecDeque;

use io_uring::{IoUring, opcode, types};
use lockstep_transport::concurrent::KernelBlock;
use lockstep_transport::time::Nanos;

use super::QUEUE_LENGTH;
use super::directory::{NodeDirectory, StorageError};
use super::operation::{Operation, Progress, Transfer};
use super::preparer::Preparer;
use crate::disk::{
    Busy, Completion, Disk, DiskError, DiskOp, Durability, FileId, FilePlace, Token,
};

/// See the module.
pub struct UringDisk {
    directory: NodeDirectory,
    flushes_each: bool,
    ring: IoUring,
    is_enabled: bool,
    is_deferring: bool,
    /// The kernel refused a submission because another thread had submitted before.
    is_foreign: bool,
    /// Operations by slot; the slot's index is the entry's user data.
    operations: Vec<Option<Operation>>,
    in_flight: usize,
    /// Completions of writes into the page cache, which are made at once.
    cached: VecDeque<Completion>,
    unsubmitted: usize,
    system_calls: u64,
    preparer: Preparer,
}

impl core::fmt::Debug for UringDisk {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("UringDisk")
            .field("directory", &self.directory)
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

impl UringDisk {
    /// Sets up a ring over a locked directory; gives the directory back when that is refused.
    ///
    /// # Errors
    /// [`StorageError::UringRefused`] with the directory, or [`StorageError::Other`].
    pub fn start(directory: NodeDirectory) -> Result<Self, (StorageError, NodeDirectory)> {
        let refused = |error: std::io::Error| StorageError::UringRefused {
            detail: error.to_string(),
        };
        let (ring, is_deferring) = match build_ring() {
            Ok(built) => built,
            Err(error) => return Err((refused(error), directory)),
        };
        let preparer = match Preparer::start(directory.path().to_path_buf()) {
            Ok(preparer) => preparer,
            Err(error) => return Err((refused(error), directory)),
        };
        Ok(Self {
            flushes_each: directory.syncs_single_writes(),
            directory,
            ring,
            is_enabled: !is_deferring,
            is_deferring,
            is_foreign: false,
            operations: (0..QUEUE_LENGTH).map(|_| None).collect(),
            in_flight: 0,
            cached: VecDeque::with_capacity(QUEUE_LENGTH),
            unsubmitted: 0,
            system_calls: 0,
            preparer,
        })
    }

    /// System calls made on the hot path so far.
    #[must_use]
    pub const fn system_calls(&self) -> u64 {
        self.system_calls
    }

    fn push(
        &mut self,
        token: Token,
        file: FileId,
        offset: u64,
        block: KernelBlock,
        transfer: Transfer,
    ) -> Result<(), Busy> {
        if transfer == Transfer::Write(Durability::Cached) {
            return self.write_cached(token, file, offset, block);
        }
        let slot = self
            .operations
            .iter()
            .position(Option::is_none)
            .ok_or(Busy)?;
        let mut operation = Operation::new(&self.directory, token, file, offset, block, transfer);
        if self.flushes_each {
            operation = operation.flush_each();
        }
        self.operations[slot] = Some(operation);
        if !self.queue(slot) {
            self.operations[slot] = None;
            return Err(Busy);
        }
        self.in_flight += 1;
        // Starting the device now rather than at the end of the cycle hides its latency.
        self.submit_queued();
        assert!(
            !self.is_foreign,
            "an io_uring disk belongs to the thread that first submitted to it"
        );
        Ok(())
    }

    /// A copy into the page cache: many file systems hand it to a kernel worker when it comes
    /// through the ring (ext4 for 4 KiB: 17 us and a wake-up, against 1 us for the plain call).
    fn write_cached(
        &mut self,
        token: Token,
        file: FileId,
        offset: u64,
        block: KernelBlock,
    ) -> Result<(), Busy> {
        if self.cached.len() == QUEUE_LENGTH {
            return Err(Busy);
        }
        let transfer = Transfer::Write(Durability::Cached);
        let operation = Operation::new(&self.directory, token, file, offset, block, transfer);
        self.system_calls += 1;
        self.cached.push_back(operation.run());
        Ok(())
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
        let entry = entry.user_data(slot as u64);
        // SAFETY: the operation stays in its slot, keeping file and memory alive, until the
        // completion of this entry; `drop` waits for those.
        let is_queued = unsafe { self.ring.submission().push(&entry) }.is_ok();
        self.unsubmitted += usize::from(is_queued);
        is_queued
    }

    fn submit_queued(&mut self) {
        if !self.is_enabled {
            // Cannot fail for a ring made disabled; if it does, the submission below says so
            // by submitting nothing, and the next cycle tries again.
            self.is_enabled = self.ring.submitter().register_enable_rings().is_ok();
        }
        self.system_calls += 1;
        match self.ring.submit() {
            Ok(submitted) => self.unsubmitted = self.unsubmitted.saturating_sub(submitted),
            Err(error) => self.is_foreign |= error.raw_os_error() == Some(libc::EEXIST),
        }
    }

    fn next_result(&mut self) -> Option<(usize, i64)> {
        let entry = self.ring.completion().next()?;
        Some((entry.user_data() as usize, i64::from(entry.result())))
    }

    fn poll_ring(&mut self) -> Option<Completion> {
        if self.in_flight == 0 {
            return None;
        }
        let mut found = self.next_result();
        if found.is_none() && self.is_deferring && self.ring.submission().taskrun() {
            self.submit_queued();
            found = self.next_result();
        }
        while let Some((slot, result)) = found {
            let operation = self
                .operations
                .get_mut(slot)
                .and_then(Option::as_mut)
                .expect("the kernel completes only what was submitted");
            if let Progress::Finished(completion) = operation.on_result(result) {
                self.operations[slot] = None;
                self.in_flight -= 1;
                return Some(completion);
            }
            assert!(
                self.queue(slot),
                "the queue has a place for every operation in flight"
            );
            self.submit_queued();
            found = self.next_result();
        }
        None
    }
}

impl Drop for UringDisk {
    fn drop(&mut self) {
        // Memory on loan to the kernel must outlive the operations: wait for all of them.
        while self.in_flight > 0 {
            if self.poll_ring().is_none() && self.ring.submit_and_wait(1).is_err() {
                // Not this thread's ring, or a broken one: keep the loaned memory for ever.
                for operation in &mut self.operations {
                    std::mem::forget(operation.take());
                }
                return;
            }
        }
    }
}

impl Disk for UringDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.directory.list()
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        self.directory.open_file(name)
    }

    fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        self.directory.create(name, length)
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        self.directory.length(file)
    }

    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError> {
        self.directory.place(file)
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        self.directory.read(file, offset, target)
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.directory.write(file, offset, bytes)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.directory.remove(name)
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        self.directory.free_bytes()
    }

    fn submit(&mut self, _now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        match operation {
            DiskOp::Write {
                token,
                file,
                offset,
                block,
                durability,
            } => self.push(token, file, offset, block, Transfer::Write(durability)),
            DiskOp::Read {
                token,
                file,
                offset,
                block,
            } => self.push(token, file, offset, block, Transfer::Read),
            DiskOp::Prepare {
                token,
                name,
                length,
            } => self.preparer.submit(token, name, length),
        }
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        if let Some(completion) = self.cached.pop_front() {
            return Some(completion);
        }
        self.poll_ring()
            .or_else(|| self.preparer.poll(&mut self.directory))
    }

    fn flush(&mut self, _now: Nanos) {
        if self.unsubmitted > 0 {
            self.submit_queued();
        }
    }
}
