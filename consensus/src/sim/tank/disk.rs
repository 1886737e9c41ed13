//! The disk of a member of the node tank, as its host's clock and end have it: nothing is done for
//! a process that has ended in the middle of its cycle. It lies where a fault is planted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use lockstep_archive::disk::{
    Busy, ColdFiles, Completion, Disk, DiskError, DiskOp, Durability, FileId, FilePlace,
    SegmentName, Token,
};
use lockstep_archive::files::ack_mark::ACK_MARK_FILE;
use lockstep_archive::sim::{SimDisk, forget_commit};
use lockstep_transport::concurrent::{AtomicBuffer, KernelBlock};
use lockstep_transport::time::Nanos;

use crate::directory::node_state::NODE_STATE_FILE;
use crate::sim::PlantedFault;
use crate::sim::tank::crash::Crash;
use crate::sim::tank::host::TankHost;

/// A simulated disk that can be made to lie (planted faults).
#[derive(Debug)]
pub struct TankDisk {
    disk: SimDisk,
    host: TankHost,
    planted: Option<PlantedFault>,
    /// Which start of its member this is.
    start: u64,
    /// Files that are no segments of the log, by name. All handles know them.
    small: Rc<RefCell<BTreeMap<FileId, String>>>,
    /// Whether it is the handle of an archive that has a thread of its own.
    is_far: bool,
    /// Of operations that were not carried out.
    forged: VecDeque<Completion>,
    /// Writes under way that are said to be complete.
    told_early: BTreeSet<Token>,
}

impl TankDisk {
    /// The disk of a member's host, as its node sees it in its `start`th life.
    #[must_use]
    pub fn new(disk: SimDisk, host: TankHost, planted: Option<PlantedFault>, start: u64) -> Self {
        Self {
            disk,
            host,
            planted,
            start,
            small: Rc::default(),
            is_far: false,
            forged: VecDeque::new(),
            told_early: BTreeSet::new(),
        }
    }

    /// Another handle of the same disk, if it `is_far` for an archive that has a thread of its own.
    #[must_use]
    pub fn handle(&self, is_far: bool) -> Self {
        Self {
            small: Rc::clone(&self.small),
            is_far,
            ..Self::new(
                self.disk.clone(),
                self.host.clone(),
                self.planted,
                self.start,
            )
        }
    }

    /// Whether the process has ended, if only because its next operation was not to be.
    pub fn has_ended_before_operation(&self) -> bool {
        match self.host.burn() {
            Some((Crash::PowerLoss, seed)) => self.disk.crash(seed),
            Some((_, seed)) => self.disk.kill(seed),
            None => {}
        }
        self.has_ended()
    }

    /// Whether the process has ended: nobody is left to be told anything.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.host.is_dead()
    }

    fn note(&mut self, name: &str, file: FileId) -> FileId {
        if SegmentName::parse(name).is_none() {
            self.small.borrow_mut().insert(file, name.to_owned());
        }
        file
    }

    fn is_of_log(&self, file: FileId) -> bool {
        !self.small.borrow().contains_key(&file)
    }

    fn is_named(&self, file: FileId, name: &str) -> bool {
        let small = self.small.borrow();
        small.get(&file).is_some_and(|known| known == name)
    }

    /// Whether a write is said to be complete when it has only begun.
    fn is_told_early(&self, file: FileId) -> bool {
        let is_planted = self.planted == Some(PlantedFault::CompletedBeforeWritten);
        self.is_far && is_planted && self.is_of_log(file)
    }

    /// A write that is said to be complete and has only begun. Its bytes may change from now on.
    fn tell_early(&mut self, token: Token, file: FileId, block: &KernelBlock) -> KernelBlock {
        let result = Ok(file);
        self.forged.push_back(Completion { token, result });
        self.told_early.insert(token);
        copy_of(block)
    }

    /// Whether a write is said to be durable when it is in the page cache only.
    fn is_cached_only(&self, file: FileId) -> bool {
        match self.planted {
            Some(PlantedFault::AckBeforeFsync) => self.is_of_log(file),
            Some(PlantedFault::VoteInPageCache) => self.is_named(file, NODE_STATE_FILE.name),
            _ => false,
        }
    }

    /// Whether a write of a running node is said to be durable when nothing was written.
    fn is_dropped(&self, file: FileId, block: &KernelBlock) -> bool {
        match self.planted {
            Some(PlantedFault::NoEraseAfterTruncation) => self.is_of_log(file) && is_blank(block),
            Some(PlantedFault::AckMarkNeverWritten) => self.is_named(file, ACK_MARK_FILE.name),
            _ => false,
        }
    }

    /// The same for a write of a node that starts.
    fn is_cold_dropped(&self, file: FileId, bytes: &[u8]) -> bool {
        self.planted == Some(PlantedFault::NoEraseAfterTruncation)
            && self.is_of_log(file)
            && bytes.iter().all(|byte| *byte == 0)
    }
}

fn bytes_of(block: &KernelBlock) -> Vec<u8> {
    let mut bytes = vec![0; block.length()];
    block.copy_to(&mut bytes);
    bytes
}

fn is_blank(block: &KernelBlock) -> bool {
    bytes_of(block).iter().all(|byte| *byte == 0)
}

fn copy_of(block: &KernelBlock) -> KernelBlock {
    let length = block.length();
    let memory = AtomicBuffer::allocate(length).expect("some pages of memory");
    let copy = memory.kernel_block(0, length);
    copy.copy_from(&bytes_of(block));
    copy
}

impl ColdFiles for TankDisk {
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
        self.disk.read(file, offset, target)?;
        let is_forgetful = self.planted == Some(PlantedFault::CommitFloorIgnored);
        if is_forgetful && self.is_named(file, ACK_MARK_FILE.name) {
            forget_commit(target);
        }
        Ok(())
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        if self.is_cold_dropped(file, bytes) {
            return Ok(());
        }
        self.disk.write(file, offset, bytes)
    }

    fn sync(&mut self, file: FileId) -> Result<(), DiskError> {
        if self.planted == Some(PlantedFault::NoSecondSync) && self.is_of_log(file) {
            return Ok(());
        }
        self.disk.sync(file)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        self.disk.free_bytes()
    }

    fn boot_id(&mut self) -> Option<u128> {
        let boot = self.disk.boot_id();
        if self.planted == Some(PlantedFault::DamageAboveMarkIgnored) {
            // Each start takes what it finds above the mark for torn by a loss of power.
            return boot.map(|boot| boot | u128::from(self.start) << 64);
        }
        boot
    }
}

impl Disk for TankDisk {
    type Files = Self;

    fn files(&mut self) -> &mut Self {
        self
    }

    fn submit(&mut self, _now: Nanos, mut operation: DiskOp) -> Result<(), Busy> {
        if self.has_ended_before_operation() {
            return Ok(());
        }
        if let DiskOp::Write {
            token,
            file,
            block,
            durability,
            ..
        } = &mut operation
        {
            let (token, file) = (*token, *file);
            if self.is_dropped(file, block) {
                let result = Ok(file);
                self.forged.push_back(Completion { token, result });
                return Ok(());
            }
            if *durability == Durability::Synced && self.is_cached_only(file) {
                *durability = Durability::Cached;
            }
            if self.is_told_early(file) {
                *block = self.tell_early(token, file, block);
            }
        }
        self.disk.submit(self.host.now(), operation)
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        if self.has_ended() {
            return None;
        }
        let forged = self.forged.pop_front();
        forged.or_else(|| self.disk.poll_completion(self.host.now()))
    }

    fn flush(&mut self, _now: Nanos) {
        let now = self.host.now();
        self.disk.flush(now);
        // Nobody asks what became of them.
        while !self.told_early.is_empty()
            && let Some(completion) = self.disk.poll_completion(now)
        {
            if !self.told_early.remove(&completion.token) {
                self.forged.push_back(completion);
            }
        }
    }

    fn next_deadline(&self) -> Option<Nanos> {
        if !self.forged.is_empty() {
            return Some(0);
        }
        let deadline = self.disk.next_deadline()?;
        Some(self.host.own_deadline(deadline))
    }
}
