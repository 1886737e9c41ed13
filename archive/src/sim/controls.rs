//! What a test or the simulator does to a [`SimDisk`] behind its node's back: crashes, failures,
//! rot, and a look at what is stored.

use lockstep_transport::time::Nanos;

use super::disk::{SimBackup, SimDisk};
use super::image::{Dice, FileImage};
use crate::disk::BLOCK_LENGTH;
use crate::files::ack_mark::ACK_MARK_FILE;
use crate::files::ack_record::AckRecord;
use crate::files::slot_file::{self, Record, SlotFileKind};

impl SimDisk {
    /// The host loses power: what was not synced is kept, dropped or torn by sectors; nothing
    /// in flight completes. Everything fails until [`restart`](Self::restart).
    pub fn crash(&self, seed: u64) {
        self.image.borrow_mut().crash(seed);
    }

    /// The process dies and the host lives: nothing cached is lost.
    pub fn kill(&self, seed: u64) {
        let mut image = self.image.borrow_mut();
        let mut dice = Dice::new(seed);
        for file in &mut image.files {
            file.kill(&mut dice);
        }
        image.end_in_flight(&mut dice);
    }

    /// The host is up again; files are what the crash left.
    pub fn restart(&self) {
        let mut image = self.image.borrow_mut();
        image.crashed = false;
        image.crash_at_cold = None;
        image.kill_at_cold = None;
        image.stalled_until = Nanos::MIN;
        image.has_failed = false;
    }

    /// Whether something that was made to fail has failed since the last
    /// [`restart`](Self::restart), or a read has come back with other bytes.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.image.borrow().has_failed
    }

    /// A disk of its own with the same files, for another future. Nothing may be in flight.
    #[must_use]
    pub fn fork(&self) -> Self {
        let image = self.image.borrow();
        assert!(image.in_flight.is_empty(), "a fork during a write");
        let fork = Self::new(image.config);
        {
            let mut other = fork.image.borrow_mut();
            other.files.clone_from(&image.files);
            other.dice = image.dice.clone();
            other.cold_operations = image.cold_operations;
            other.boots = image.boots;
            other.is_seen_late = image.is_seen_late;
            other.crashed = image.crashed;
        }
        fork
    }

    /// Forgets every file, as a wiped directory.
    pub fn wipe(&self) {
        for file in &mut self.image.borrow_mut().files {
            file.exists = false;
        }
    }

    /// Forgets one file.
    pub fn lose(&self, name: &str) {
        let mut image = self.image.borrow_mut();
        if let Some(index) = image.find(name) {
            image.files[index].exists = false;
        }
    }

    /// What a backup tool would take with it now.
    #[must_use]
    pub fn backup(&self) -> SimBackup {
        let image = self.image.borrow();
        let files = image.files.iter().filter(|file| file.exists);
        SimBackup {
            files: files.map(FileImage::copied).collect(),
        }
    }

    /// Replaces all files by those of `backup`, as new files: an operator's copy.
    pub fn copy_from(&self, backup: &SimBackup) {
        let mut image = self.image.borrow_mut();
        image.files.clone_from(&backup.files);
        for index in 0..image.files.len() {
            image.inodes += 1;
            image.files[index].inode = image.inodes;
        }
    }

    /// Writes the bytes of an own older `backup` back into the same files, as
    /// `rsync --inplace` does: nothing on the file system tells.
    pub fn restore_in_place(&self, backup: &SimBackup) {
        self.image.borrow_mut().files.clone_from(&backup.files);
    }

    /// Changing cold operations (create, write, remove) so far.
    #[must_use]
    pub fn cold_operations(&self) -> u64 {
        self.image.borrow().cold_operations
    }

    /// Cold reads so far: each may take as long as a disk takes.
    #[must_use]
    pub fn cold_reads(&self) -> u64 {
        self.image.borrow().cold_reads
    }

    /// Crashes in the middle of the changing cold operation number `operation` (the first of
    /// the disk's life is 0); some of it may have happened.
    pub fn crash_at_cold_operation(&self, operation: u64) {
        self.image.borrow_mut().crash_at_cold = Some(operation);
    }

    /// The process dies in the changing cold operation with this number, before or after it
    /// happens; everything fails until [`restart`](Self::restart), nothing cached is lost.
    pub fn kill_at_cold_operation(&self, operation: u64) {
        self.image.borrow_mut().kill_at_cold = Some(operation);
    }

    /// The next `count` hot writes fail, their data is lost, and later ones "succeed" (D4).
    pub fn fail_writes(&self, count: u32) {
        self.image.borrow_mut().failing_writes = count;
    }

    /// The next `count` hot reads fail.
    pub fn fail_reads(&self, count: u32) {
        self.image.borrow_mut().failing_reads = count;
    }

    /// The next `count` hot reads come back with other bytes than the disk has, and no error.
    pub fn spoil_reads(&self, count: u32) {
        self.image.borrow_mut().spoiled_reads = count;
    }

    /// Reads see a hot write once it has completed, and not before: as a device does that fetches
    /// what is written as late as it can.
    pub fn show_writes_late(&self) {
        self.image.borrow_mut().is_seen_late = true;
    }

    /// The next `count` preparations, recyclings or removals of a segment fail, though not for want
    /// of space.
    pub fn fail_preparations(&self, count: u32) {
        self.image.borrow_mut().failing_preparations = count;
    }

    /// Nothing completes before `until`.
    pub fn stall_until(&self, until: Nanos) {
        self.image.borrow_mut().stalled_until = until;
    }

    /// Changes the device's size.
    pub fn set_capacity(&self, bytes: u64) {
        self.image.borrow_mut().config.capacity_bytes = bytes;
    }

    /// Flips a stored bit. `false` when there is no such file or byte.
    #[must_use]
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u32) -> bool {
        let mut image = self.image.borrow_mut();
        let Some(index) = image.find(name) else {
            return false;
        };
        let file = &mut image.files[index];
        if offset >= file.length() {
            return false;
        }
        file.flip_bit(offset, bit % 8);
        true
    }

    /// Replaces stored bytes behind everybody's back: rot, a lost or a misdirected write.
    /// `false` when there is no such file or range.
    #[must_use]
    pub fn overwrite(&self, name: &str, offset: usize, bytes: &[u8]) -> bool {
        let mut image = self.image.borrow_mut();
        let Some(index) = image.find(name) else {
            return false;
        };
        let file = &mut image.files[index];
        if file.range(offset, bytes.len()).is_none() {
            return false;
        }
        file.overwrite(offset, bytes);
        true
    }

    /// How long operations take from now on, ns.
    pub fn set_latency(&self, shortest: Nanos, longest: Nanos) {
        let config = &mut self.image.borrow_mut().config;
        (config.latency_min_ns, config.latency_max_ns) = (shortest, longest);
    }

    /// Whether stable storage holds `bytes` at `offset` of the file, whatever becomes of caches.
    #[must_use]
    pub fn holds_durably(&self, name: &str, offset: usize, bytes: &[u8]) -> bool {
        let image = self.image.borrow();
        let durable = image.find(name).map(|index| image.files[index].durable());
        let there = durable.and_then(|durable| durable.get(offset..offset + bytes.len()));
        there.is_some_and(|there| there == bytes)
    }

    /// `length` bytes of the file, as a read would see them.
    #[must_use]
    pub fn part(&self, name: &str, offset: usize, length: usize) -> Option<Vec<u8>> {
        let image = self.image.borrow();
        let file = &image.files[image.find(name)?];
        file.range(offset, length).map(<[u8]>::to_vec)
    }

    /// The ack mark that stable storage holds.
    #[must_use]
    pub fn durable_mark(&self) -> Option<AckRecord> {
        AckRecord::decode(&self.durable_record(&ACK_MARK_FILE)?)
    }

    /// The record that stable storage holds in both slots of the file of this kind; `None` where
    /// one of them holds another one, or none.
    #[must_use]
    pub fn durable_in_both(&self, kind: &SlotFileKind) -> Option<Record> {
        let image = self.image.borrow();
        let durable = image.files[image.find(kind.name)?].durable();
        slot_file::in_both(durable, kind.magic)
    }

    /// The newest record that stable storage holds in the slot file of this kind.
    #[must_use]
    pub fn durable_record(&self, kind: &SlotFileKind) -> Option<Record> {
        let image = self.image.borrow();
        let durable = image.files[image.find(kind.name)?].durable();
        slot_file::newest(durable, kind.magic).map(|(_, record)| record)
    }

    /// What the file holds, as a read would see it.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let image = self.image.borrow();
        let file = &image.files[image.find(name)?];
        file.range(0, file.length()).map(<[u8]>::to_vec)
    }
}

/// Makes the ack mark in this `slot` say that nothing is known to be committed: a planted fault.
/// Any other slot is left as it is.
pub fn forget_commit(slot: &mut [u8]) {
    let Some(block) = slot.first_chunk_mut::<BLOCK_LENGTH>() else {
        return;
    };
    let Some((sequence, record)) = slot_file::decode(block, ACK_MARK_FILE.magic) else {
        return;
    };
    if let Some(mark) = AckRecord::decode(&record) {
        let record = AckRecord { commit: 0, ..mark }.encode();
        slot_file::encode(block, ACK_MARK_FILE.magic, sequence, &record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_forgot_the_commit_is_a_good_mark_otherwise() {
        let mark = AckRecord {
            position: 640,
            commit: 320,
            ..AckRecord::default()
        };
        let mut block = [0; BLOCK_LENGTH];
        slot_file::encode(&mut block, ACK_MARK_FILE.magic, 7, &mark.encode());
        forget_commit(&mut block);
        let (sequence, record) = slot_file::decode(&block, ACK_MARK_FILE.magic).unwrap();
        let forgetful = AckRecord { commit: 0, ..mark };
        assert_eq!((sequence, AckRecord::decode(&record)), (7, Some(forgetful)));
        let mut other = [1; BLOCK_LENGTH];
        forget_commit(&mut other);
        assert_eq!(other, [1; BLOCK_LENGTH]);
    }
}
