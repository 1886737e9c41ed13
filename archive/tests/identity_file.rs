//! The identity file on simulated and real disks: what a copy is, and what a crash leaves.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_archive::disk::{ColdFiles, Completion, Disk, DiskError};
use lockstep_archive::files::identity_file::{
    DirectoryIdentity, IDENTITY_FILE, IdentityContent, IdentityFile, NOTES_LENGTH,
};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_archive::storage::NodeDirectory;
use lockstep_transport::time::SECOND;

const ID: u128 = 77 << 64;

fn open(disk: &mut impl ColdFiles) -> IdentityFile {
    let IdentityContent::Valid(identity, sequence) = IdentityFile::inspect(disk).unwrap() else {
        panic!("the identity is readable");
    };
    IdentityFile::open(disk, *identity, sequence).unwrap()
}

fn read(disk: &mut impl ColdFiles) -> DirectoryIdentity {
    open(disk).identity().clone()
}

#[test]
fn a_copied_directory_knows_that_it_is_one_and_a_restored_one_in_place_does_not() {
    let disk = SimDisk::new(SimDiskConfig::default());
    let made = IdentityFile::create(&mut disk.clone(), ID, 1, "alpha").unwrap();
    assert!(!made.is_copy(&mut disk.clone()).unwrap());
    let backup = disk.backup();
    disk.restore_in_place(&backup);
    assert!(!open(&mut disk.clone()).is_copy(&mut disk.clone()).unwrap());
    disk.copy_from(&backup);
    let mut copy = open(&mut disk.clone());
    assert!(copy.is_copy(&mut disk.clone()).unwrap());
    copy.rename(&mut disk.clone(), ID + 1, &[3; NOTES_LENGTH])
        .unwrap();
    let renamed = open(&mut disk.clone());
    assert!(!renamed.is_copy(&mut disk.clone()).unwrap());
    assert_eq!(renamed.identity().directory, ID + 1);
    assert_eq!(renamed.identity().notes, [3; NOTES_LENGTH]);
}

#[test]
fn on_a_real_disk_a_moved_directory_is_the_same_and_a_copied_one_is_not() {
    let place = tempfile::tempdir().unwrap();
    let (first, moved, copied) = (
        place.path().join("first"),
        place.path().join("moved"),
        place.path().join("copied"),
    );
    let disk = |path: &std::path::Path| NodeDirectory::open(path, &[]).unwrap();
    IdentityFile::create(&mut disk(&first), ID, 2, "alpha").unwrap();
    std::fs::rename(&first, &moved).unwrap();
    let mut there = disk(&moved);
    let file = open(&mut there);
    assert!(!file.is_copy(&mut there).unwrap());
    drop(there);
    std::fs::create_dir(&copied).unwrap();
    std::fs::copy(moved.join(IDENTITY_FILE), copied.join(IDENTITY_FILE)).unwrap();
    let mut there = disk(&copied);
    let file = open(&mut there);
    assert!(file.is_copy(&mut there).unwrap());
    assert_eq!(read(&mut there).directory, ID);
}

#[test]
fn either_slot_may_rot_and_the_newest_content_is_still_there() {
    for slot in 0..2 {
        let disk = SimDisk::new(SimDiskConfig::default());
        let mut file = IdentityFile::create(&mut disk.clone(), ID, 0, "alpha").unwrap();
        file.write_notes(&mut disk.clone(), &[9; NOTES_LENGTH])
            .unwrap();
        assert!(disk.flip_bit(IDENTITY_FILE, slot * 4096 + 200, 3));
        assert_eq!(read(&mut disk.clone()).notes, [9; NOTES_LENGTH]);
    }
    let disk = SimDisk::new(SimDiskConfig::default());
    IdentityFile::create(&mut disk.clone(), ID, 0, "alpha").unwrap();
    for slot in 0..2 {
        assert!(disk.flip_bit(IDENTITY_FILE, slot * 4096 + 200, 3));
    }
    let content = IdentityFile::inspect(&mut disk.clone()).unwrap();
    assert_eq!(content, IdentityContent::Unreadable);
}

#[test]
fn a_file_that_was_never_written_is_blank_and_one_whose_bytes_are_no_identity_is_not() {
    let content = |disk: &SimDisk| IdentityFile::inspect(&mut disk.clone()).unwrap();
    let disk = SimDisk::new(SimDiskConfig::default());
    assert_eq!(content(&disk), IdentityContent::Blank, "there is none");
    // Made, but nothing was written to it; of the second one not even both slots are there.
    for length in [8192, 4096 + 4095, 4096, 4095] {
        let disk = SimDisk::new(SimDiskConfig::default());
        disk.clone().create(IDENTITY_FILE, length).unwrap();
        assert_eq!(
            content(&disk),
            IdentityContent::Blank,
            "{length} bytes of zeros"
        );
    }
    for slot in 0..2 {
        let disk = SimDisk::new(SimDiskConfig::default());
        disk.clone().create(IDENTITY_FILE, 8192).unwrap();
        assert!(disk.flip_bit(IDENTITY_FILE, slot * 4096 + 200, 3));
        assert_eq!(content(&disk), IdentityContent::Unreadable);
    }
}

/// Submits a change and drives it until `completions` of its two writes are there.
fn change(disk: &SimDisk, file: &mut IdentityFile, completions: usize) -> bool {
    let mut handle = disk.clone();
    let notes = [5; NOTES_LENGTH];
    file.submit(0, &mut handle, ID + 5, &notes).unwrap();
    let mut is_durable = false;
    for round in 0..completions {
        let now = SECOND * (round as i64 + 1);
        let completion: Completion = handle.poll_completion(now).expect("a write was submitted");
        is_durable = file.on_completion(&completion).expect("it is its").unwrap();
        file.do_work(now, &mut handle);
    }
    is_durable
}

#[test]
fn a_crash_during_a_change_leaves_the_old_content_or_the_new_one_and_durable_is_for_ever() {
    for seed in 0..200 {
        for completions in 0..=2 {
            let disk = SimDisk::new(SimDiskConfig::default());
            let mut file = IdentityFile::create(&mut disk.clone(), ID, 0, "alpha").unwrap();
            let is_durable = change(&disk, &mut file, completions);
            assert_eq!(is_durable, completions == 2);
            disk.crash(seed);
            disk.restart();
            let found = read(&mut disk.clone());
            let is_new = found.directory == ID + 5 && found.notes == [5; NOTES_LENGTH];
            let is_old = found.directory == ID && found.notes == [0; NOTES_LENGTH];
            assert!(is_new || (is_old && !is_durable), "seed {seed}");
        }
    }
}

#[test]
fn a_loss_of_power_in_a_start_leaves_one_of_the_contents_that_a_killed_process_left() {
    for seed in 0..600 {
        let disk = SimDisk::new(SimDiskConfig {
            seed,
            ..SimDiskConfig::default()
        });
        let mut file = IdentityFile::create(&mut disk.clone(), ID, 0, "alpha").unwrap();
        change(&disk, &mut file, (seed % 2) as usize);
        disk.kill(seed);
        disk.restart();
        disk.crash_at_cold_operation(disk.cold_operations() + seed % 4);
        let _ = repair_and_change(&mut disk.clone());
        disk.restart();
        let content = IdentityFile::inspect(&mut disk.clone()).unwrap();
        assert!(
            matches!(content, IdentityContent::Valid(..)),
            "seed {seed}: no valid slot is left"
        );
    }
}

fn repair_and_change(disk: &mut SimDisk) -> Result<(), DiskError> {
    let IdentityContent::Valid(identity, sequence) = IdentityFile::inspect(disk)? else {
        panic!("no valid slot is left by the process");
    };
    let mut file = IdentityFile::open(disk, *identity, sequence)?;
    file.repair(disk)?;
    file.write_notes(disk, &[7; NOTES_LENGTH])
}
