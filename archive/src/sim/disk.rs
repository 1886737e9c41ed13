//! [`SimDisk`]: the [`Disk`] port over simulated files, deterministic from a seed.
//!
//! A handle; clones see the same disk, so a test can hold one beside the node's. Directory
//! entries are durable at once. Completions come after a seeded latency, in any order. It
//! checks what a real direct-I/O disk would refuse: alignment of synced writes; and that no byte
//! of a write changes while it is in flight, which file systems with checksums mind.

use std::cell::RefCell;
use std::rc::Rc;

use lockstep_transport::concurrent::KernelBlock;
use lockstep_transport::time::{MICROSECOND, Nanos};

use super::image::{Dice, FileImage, SECTOR_LENGTH, WriteStage};
use crate::disk::{
    BLOCK_LENGTH, Busy, Completion, Disk, DiskError, DiskOp, Durability, FileId, QUEUE_LENGTH,
    Token,
};

/// Shape of a simulated disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimDiskConfig {
    /// Seed of latencies and of what cold operations leave behind when they crash.
    pub seed: u64,
    /// Shortest time an operation takes, ns.
    pub latency_min_ns: Nanos,
    /// Longest time an operation takes, ns.
    pub latency_max_ns: Nanos,
    /// Bytes the device holds.
    pub capacity_bytes: u64,
}

impl Default for SimDiskConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            latency_min_ns: 50 * MICROSECOND,
            latency_max_ns: 200 * MICROSECOND,
            capacity_bytes: 1 << 30,
        }
    }
}

#[derive(Debug)]
enum Pending {
    Write {
        file: FileId,
        durability: Durability,
        block: KernelBlock,
        checksum: u32,
    },
    /// What there is no room for.
    Misfit(DiskError),
    Read {
        file: FileId,
        offset: u64,
        block: KernelBlock,
    },
    Prepare {
        name: String,
        length: u64,
    },
    Recycle {
        from: String,
        to: String,
        length: u64,
    },
    Remove {
        name: String,
    },
}

#[derive(Debug)]
pub(super) struct InFlight {
    due: Nanos,
    ticket: u64,
    token: Token,
    operation: Pending,
}

#[derive(Debug)]
pub(super) struct Image {
    pub(super) config: SimDiskConfig,
    pub(super) dice: Dice,
    pub(super) files: Vec<FileImage>,
    pub(super) inodes: u64,
    pub(super) in_flight: Vec<InFlight>,
    pub(super) next_ticket: u64,
    pub(super) crashed: bool,
    pub(super) cold_operations: u64,
    pub(super) cold_reads: u64,
    pub(super) crash_at_cold: Option<u64>,
    pub(super) kill_at_cold: Option<u64>,
    pub(super) failing_writes: u32,
    pub(super) failing_reads: u32,
    pub(super) spoiled_reads: u32,
    /// Reads see a write once it has completed, and not before.
    pub(super) is_seen_late: bool,
    pub(super) failing_preparations: u32,
    /// Something was made to fail, or came back wrong, since the last restart.
    pub(super) has_failed: bool,
    pub(super) stalled_until: Nanos,
    pub(super) boots: u64,
}

/// All files of a directory at one moment, as a backup tool finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimBackup {
    pub(super) files: Vec<FileImage>,
}

/// Handle onto a simulated disk. See the module.
#[derive(Clone, Debug)]
pub struct SimDisk {
    pub(super) image: Rc<RefCell<Image>>,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(config: SimDiskConfig) -> Self {
        Self {
            image: Rc::new(RefCell::new(Image {
                config,
                dice: Dice::new(config.seed),
                files: Vec::new(),
                inodes: 0,
                in_flight: Vec::new(),
                next_ticket: 0,
                crashed: false,
                cold_operations: 0,
                cold_reads: 0,
                crash_at_cold: None,
                kill_at_cold: None,
                failing_writes: 0,
                failing_reads: 0,
                spoiled_reads: 0,
                is_seen_late: false,
                failing_preparations: 0,
                has_failed: false,
                stalled_until: Nanos::MIN,
                boots: 1,
            })),
        }
    }
}

impl Image {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.files
            .iter()
            .position(|file| file.exists && file.name == name)
    }

    pub(super) fn file(&mut self, file: FileId) -> &mut FileImage {
        &mut self.files[file.0 as usize]
    }

    pub(super) fn check_up(&self) -> Result<(), DiskError> {
        if self.crashed {
            Err(DiskError::Crashed)
        } else {
            Ok(())
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.files
            .iter()
            .filter(|file| file.exists)
            .map(|file| file.length() as u64)
            .sum()
    }

    pub(super) fn crash(&mut self, seed: u64) {
        let mut dice = Dice::new(seed);
        for file in &mut self.files {
            file.crash(&mut dice);
        }
        self.end_in_flight(&mut dice);
        self.crashed = true;
        self.boots += 1;
    }

    /// Nothing in flight completes any more. The directory entry of a file that was being made or
    /// removed may or may not have become durable. What it has in between, under a temporary name,
    /// the next start would remove.
    pub(super) fn end_in_flight(&mut self, dice: &mut Dice) {
        for ended in std::mem::take(&mut self.in_flight) {
            match ended.operation {
                Pending::Prepare { name, length } if dice.below(2) == 0 => {
                    // Without room for it, it is not made.
                    let _ = self.create(&name, length);
                }
                Pending::Recycle { from, to, length } => match dice.below(3) {
                    0 => {}
                    1 => self.discard(&from),
                    _ => {
                        let _ = self.recycle(&from, &to, length);
                    }
                },
                Pending::Remove { name } if dice.below(2) == 0 => self.discard(&name),
                _ => {}
            }
        }
    }

    /// The file of this name is no more, if there was one.
    fn discard(&mut self, name: &str) {
        if let Some(index) = self.find(name) {
            self.files[index].discard();
        }
    }

    fn recycle(&mut self, from: &str, to: &str, length: u64) -> Result<FileId, DiskError> {
        self.discard(from);
        self.create(to, length)
    }

    /// Counts a changing cold operation; `true` when the host crashes in it.
    pub(super) fn begin_cold(&mut self) -> Result<bool, DiskError> {
        self.check_up()?;
        let crashes = self.crash_at_cold == Some(self.cold_operations);
        self.crashed = self.kill_at_cold == Some(self.cold_operations);
        self.cold_operations += 1;
        if self.crashed && self.dice.below(2) == 0 {
            return Err(DiskError::Crashed);
        }
        Ok(crashes)
    }

    /// The end of a changing cold operation that has happened.
    pub(super) fn end_cold<T>(&self, value: T) -> Result<T, DiskError> {
        self.check_up().map(|()| value)
    }

    fn room_for(&self, needed: u64, name: impl FnOnce() -> String) -> Result<(), DiskError> {
        if self.used() + needed > self.config.capacity_bytes {
            let name = name();
            return Err(DiskError::Full { name, needed });
        }
        Ok(())
    }

    pub(super) fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        if let Some(index) = self.find(name) {
            return Ok(FileId(index as u32));
        }
        self.room_for(length, || name.to_owned())?;
        self.inodes += 1;
        let file = FileImage::zeros(name, length as usize, self.inodes);
        self.files.push(file);
        Ok(FileId(self.files.len() as u32 - 1))
    }

    pub(super) fn outside(&mut self, file: FileId, operation: &'static str) -> DiskError {
        DiskError::Io {
            operation,
            name: self.file(file).name.clone(),
            detail: "the range lies outside the file".to_owned(),
        }
    }

    fn finish(&mut self, done: InFlight) -> Completion {
        let result = match done.operation {
            Pending::Write {
                file,
                durability,
                block,
                checksum,
            } => {
                assert_eq!(
                    bytes_of(&block).1,
                    checksum,
                    "bytes of a write to {} changed while it was in flight",
                    self.file(file).name
                );
                self.finish_write(done.ticket, file, durability)
            }
            Pending::Misfit(error) => Err(error),
            Pending::Read {
                file,
                offset,
                block,
            } => self.finish_read(file, offset, &block),
            Pending::Prepare { name, .. } if self.failing_preparations > 0 => {
                Err(self.fail_preparation(name))
            }
            Pending::Recycle { from, to, .. } if self.failing_preparations > 0 => {
                self.discard(&from);
                Err(self.fail_preparation(to))
            }
            Pending::Remove { name } if self.failing_preparations > 0 => {
                Err(self.fail_preparation(name))
            }
            Pending::Prepare { name, length } => self.create(&name, length),
            Pending::Recycle { from, to, length } => self.recycle(&from, &to, length),
            Pending::Remove { name } => {
                self.discard(&name);
                Ok(FileId::NONE)
            }
        };
        Completion {
            token: done.token,
            result,
        }
    }

    fn fail_preparation(&mut self, name: String) -> DiskError {
        self.failing_preparations -= 1;
        self.has_failed = true;
        DiskError::Io {
            operation: "sync of the directory",
            name,
            detail: "simulated input/output error".to_owned(),
        }
    }

    fn finish_write(
        &mut self,
        ticket: u64,
        file: FileId,
        durability: Durability,
    ) -> Result<FileId, DiskError> {
        if self.failing_writes > 0 {
            self.failing_writes -= 1;
            self.has_failed = true;
            self.file(file).lose_write(ticket);
            return Err(DiskError::Io {
                operation: "write",
                name: self.file(file).name.clone(),
                detail: "simulated input/output error".to_owned(),
            });
        }
        match durability {
            Durability::Synced => {
                self.file(file).sync_write(ticket);
                for other in &mut self.files {
                    other.flush_device();
                }
            }
            Durability::Cached | Durability::Lazy => {
                self.file(file).complete(ticket, WriteStage::Cached);
            }
            Durability::Unflushed => self.file(file).complete(ticket, WriteStage::Unflushed),
        }
        Ok(file)
    }

    fn finish_read(
        &mut self,
        file: FileId,
        offset: u64,
        block: &KernelBlock,
    ) -> Result<FileId, DiskError> {
        if self.failing_reads > 0 {
            self.failing_reads -= 1;
            self.has_failed = true;
            return Err(DiskError::Io {
                operation: "read",
                name: self.file(file).name.clone(),
                detail: "simulated input/output error".to_owned(),
            });
        }
        match self.file(file).range(offset as usize, block.length()) {
            Some(bytes) => {
                let bytes = bytes.to_vec();
                block.copy_from(&self.spoiled(bytes));
                Ok(file)
            }
            None => Err(self.outside(file, "read")),
        }
    }

    /// What a read comes back with: what it asked for, or nothing, or a bit flipped, or all a
    /// sector off.
    fn spoiled(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.spoiled_reads == 0 {
            return bytes;
        }
        self.spoiled_reads -= 1;
        self.has_failed = true;
        let length = bytes.len();
        match self.dice.below(3) {
            0 => bytes.fill(0),
            1 => {
                let at = self.dice.below(length as u64) as usize;
                bytes[at] ^= 1 << self.dice.below(8);
            }
            _ => bytes.rotate_left(SECTOR_LENGTH % length),
        }
        bytes
    }

    fn accept_write(
        &mut self,
        file: FileId,
        offset: u64,
        block: KernelBlock,
        durability: Durability,
    ) -> Pending {
        if !matches!(durability, Durability::Cached | Durability::Lazy) {
            let length = block.length();
            assert!(
                (offset as usize | length).is_multiple_of(BLOCK_LENGTH)
                    && block.as_ptr().addr().is_multiple_of(BLOCK_LENGTH),
                "a direct write of {length} bytes at {offset} is not aligned"
            );
        }
        if self.file(file).is_closed {
            return Pending::Misfit(self.outside(file, "write"));
        }
        let growth = self.file(file).growth(offset as usize, block.length());
        let growth = growth.expect("a write lies in its file");
        if growth > 0
            && let Err(error) =
                self.room_for(growth as u64, || self.files[file.0 as usize].name.clone())
        {
            return Pending::Misfit(error);
        }
        let (bytes, checksum) = bytes_of(&block);
        let stage = WriteStage::InFlight(self.next_ticket);
        let is_seen = !self.is_seen_late;
        let fits = self
            .file(file)
            .submit(offset as usize, bytes, stage, is_seen);
        assert!(fits, "a write at {offset} outside its file");
        Pending::Write {
            file,
            durability,
            block,
            checksum,
        }
    }
}

/// What is on loan now, and its checksum.
pub(super) fn bytes_of(block: &KernelBlock) -> (Vec<u8>, u32) {
    let mut bytes = vec![0; block.length()];
    block.copy_to(&mut bytes);
    let checksum = crc32c::crc32c(&bytes);
    (bytes, checksum)
}

impl Disk for SimDisk {
    type Files = Self;

    fn files(&mut self) -> &mut Self {
        self
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        let mut image = self.image.borrow_mut();
        if image.in_flight.len() == QUEUE_LENGTH {
            return Err(Busy);
        }
        if image.crashed {
            // A crashed host answers nothing; the harness stops its node.
            return Ok(());
        }
        let (token, operation) = match operation {
            DiskOp::Write {
                token,
                file,
                offset,
                block,
                durability,
            } => (token, image.accept_write(file, offset, block, durability)),
            DiskOp::Read {
                token,
                file,
                offset,
                block,
            } => (
                token,
                Pending::Read {
                    file,
                    offset,
                    block,
                },
            ),
            DiskOp::Prepare {
                token,
                name,
                length,
            } => (
                token,
                Pending::Prepare {
                    name: name.file_name(),
                    length,
                },
            ),
            DiskOp::Recycle {
                token,
                from,
                to,
                length,
            } => {
                let (from, to) = (from.file_name(), to.file_name());
                (token, Pending::Recycle { from, to, length })
            }
            DiskOp::Remove { token, name } => {
                let name = name.file_name();
                (token, Pending::Remove { name })
            }
        };
        let config = image.config;
        let spread = (config.latency_max_ns - config.latency_min_ns).max(0) as u64;
        let latency = config.latency_min_ns + image.dice.below(spread + 1) as Nanos;
        let ticket = image.next_ticket;
        image.next_ticket += 1;
        image.in_flight.push(InFlight {
            due: now + latency,
            ticket,
            token,
            operation,
        });
        Ok(())
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        let mut image = self.image.borrow_mut();
        if image.crashed || now < image.stalled_until {
            return None;
        }
        let (index, first) = image
            .in_flight
            .iter()
            .enumerate()
            .min_by_key(|(_, operation)| (operation.due, operation.ticket))?;
        if first.due > now {
            return None;
        }
        let done = image.in_flight.swap_remove(index);
        Some(image.finish(done))
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let image = self.image.borrow();
        let due = image
            .in_flight
            .iter()
            .map(|operation| operation.due)
            .min()?;
        Some(due.max(image.stalled_until))
    }
}
