//! A slot file survives a crash that tears every write since its last sync.
#![cfg(feature = "sim")]

use lockstep_archive::disk::{Disk, DiskError, Durability};
use lockstep_archive::files::ack_mark::ACK_MARK_FILE;
use lockstep_archive::files::slot_file::{
    Opened, RECORD_LENGTH, SlotContent, SlotFile, SlotFileKind,
};
use lockstep_archive::log::token::OWNER_USER;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};

/// A file that the archive's user keeps.
const USER_FILE: SlotFileKind = SlotFileKind {
    name: "user.dat",
    magic: *b"LSUSERSF",
    owner: OWNER_USER,
};

fn write(slots: &mut SlotFile, disk: &mut SimDisk, value: u8, durability: Durability) {
    let record = [value; RECORD_LENGTH];
    let token = slots
        .submit(0, disk, &record, durability)
        .expect("one write at a time");
    let completion = disk.poll_completion(i64::MAX).expect("the write completes");
    assert_eq!(completion.token, token);
    assert_eq!(slots.on_completion(token), Some(true));
}

#[test]
fn unflushed_records_torn_by_a_crash_leave_the_last_synced_one() {
    for seed in 0..500 {
        let mut disk = SimDisk::new(SimDiskConfig {
            seed,
            ..SimDiskConfig::default()
        });
        let first = [1; RECORD_LENGTH];
        let mut slots = SlotFile::create(&mut disk, &ACK_MARK_FILE, &first).expect("created");
        write(&mut slots, &mut disk, 2, Durability::Synced);
        for value in 3..6 {
            write(&mut slots, &mut disk, value, Durability::Unflushed);
        }
        disk.crash(seed);
        disk.restart();
        let found = SlotFile::inspect(&mut disk, &ACK_MARK_FILE).expect("readable");
        let SlotContent::Valid { record, .. } = found else {
            panic!("seed {seed}: no valid slot is left");
        };
        assert!(
            (2..6).contains(&record[0]),
            "seed {seed}: record {} came back",
            record[0]
        );
    }
}

#[test]
fn a_loss_of_power_in_a_start_leaves_one_of_the_records_that_a_killed_process_left() {
    for seed in 0..500 {
        let mut disk = SimDisk::new(SimDiskConfig {
            seed,
            ..SimDiskConfig::default()
        });
        let first = [1; RECORD_LENGTH];
        let mut slots = SlotFile::create(&mut disk, &USER_FILE, &first).expect("created");
        // The process dies with the first of the two writes on its way.
        let second = [2; RECORD_LENGTH];
        assert_eq!(slots.submit_both(0, &mut disk, &second), Ok(()));
        disk.kill(seed);
        disk.restart();
        // So does the host, in each of the steps of a start that writes.
        disk.crash_at_cold_operation(disk.cold_operations() + seed % 3);
        let _ = start(&mut disk, &[3; RECORD_LENGTH]);
        disk.restart();
        let found = SlotFile::inspect(&mut disk, &USER_FILE).expect("readable");
        assert!(
            matches!(found, SlotContent::Valid { .. }),
            "seed {seed}: no valid slot is left"
        );
    }
}

fn start(disk: &mut SimDisk, record: &[u8; RECORD_LENGTH]) -> Result<(), DiskError> {
    let found = SlotFile::open(disk, &USER_FILE, |record| Some(*record))?;
    let Opened::Record((mut slots, _)) = found else {
        panic!("no valid slot is left by the process");
    };
    slots.write(disk, record)
}

#[test]
fn a_record_that_was_written_cold_is_in_both_slots() {
    for rotten in 0..2 {
        let mut disk = SimDisk::new(SimDiskConfig::default());
        let first = [1; RECORD_LENGTH];
        let mut slots = SlotFile::create(&mut disk, &ACK_MARK_FILE, &first).expect("created");
        let second = [2; RECORD_LENGTH];
        slots.write(&mut disk, &second).expect("written");
        assert!(disk.overwrite(ACK_MARK_FILE.name, rotten * 4096 + 20, &[0xA5; 16]));
        let found = SlotFile::inspect(&mut disk, &ACK_MARK_FILE).expect("readable");
        let SlotContent::Valid { record, .. } = found else {
            panic!("slot {rotten} has rotted, and the other one is no record");
        };
        assert_eq!(record, second, "slot {rotten} has rotted");
    }
}
