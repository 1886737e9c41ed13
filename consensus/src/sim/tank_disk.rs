//! The disk of a member of the node tank, which lies where a fault is planted.

use std::collections::BTreeSet;

use lockstep_archive::disk::{
    Busy, Completion, Disk, DiskError, DiskOp, Durability, FileId, FilePlace, SegmentName,
};
use lockstep_archive::sim::SimDisk;
use lockstep_transport::time::Nanos;

use super::PlantedFault;

/// A simulated disk that can be made to lie about syncs of the log (planted fault).
#[derive(Debug)]
pub struct TankDisk {
    disk: SimDisk,
    planted: Option<PlantedFault>,
    /// Files that are no segments of the log.
    small: BTreeSet<FileId>,
}

impl TankDisk {
    /// The disk of a member's host, as its node sees it.
    #[must_use]
    pub fn new(disk: SimDisk, planted: Option<PlantedFault>) -> Self {
        Self {
            disk,
            planted,
            small: BTreeSet::new(),
        }
    }

    fn note(&mut self, name: &str, file: FileId) -> FileId {
        if SegmentName::parse(name).is_none() {
            self.small.insert(file);
        }
        file
    }

    /// Whether a write is said to be durable when it is not.
    fn is_lie(&self, file: FileId) -> bool {
        let is_of_log = !self.small.contains(&file);
        self.planted == Some(PlantedFault::AckBeforeFsync) && is_of_log
    }
}

impl Disk for TankDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        let file = self.disk.open(name)?;
        Ok(self.note(name, file))
    }

    fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        let file = self.disk.create(name, length)?;
        Ok(self.note(name, file))
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        self.disk.length(file)
    }

    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError> {
        self.disk.place(file)
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        self.disk.read(file, offset, target)
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.write(file, offset, bytes)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        self.disk.free_bytes()
    }

    fn boot_id(&mut self) -> Option<u128> {
        self.disk.boot_id()
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        let operation = match operation {
            DiskOp::Write {
                token,
                file,
                offset,
                block,
                durability: Durability::Synced,
            } if self.is_lie(file) => DiskOp::Write {
                token,
                file,
                offset,
                block,
                durability: Durability::Cached,
            },
            other => other,
        };
        self.disk.submit(now, operation)
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        self.disk.poll_completion(now)
    }

    fn flush(&mut self, now: Nanos) {
        self.disk.flush(now);
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.disk.next_deadline()
    }
}
