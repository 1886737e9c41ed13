//! The index of snapshots survives a crash at any point of its change, and a start never takes a
//! log for one that begins at 0 because its index has gone.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_archive::disk::{ColdFiles, Disk, DiskError};
use lockstep_archive::files::slot_file::{Opened, SlotFile};
use lockstep_archive::files::snapshot_index::{
    SNAPSHOT_INDEX_FILE, SnapshotEntry, SnapshotIndex, SnapshotIndexError, SnapshotIndexFile,
};
use lockstep_archive::log::chain::Checkpoint;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_transport::ids::LeadershipTermId;

const SEGMENT_LENGTH: usize = 65_536;

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(SimDiskConfig {
        seed,
        ..SimDiskConfig::default()
    })
}

/// As a start opens it.
fn open(disk: &SimDisk) -> Result<SnapshotIndexFile, SnapshotIndexError> {
    let mut file = SnapshotIndexFile::open(&mut disk.clone(), SEGMENT_LENGTH)?;
    file.write(&mut disk.clone())?;
    Ok(file)
}

/// What the file says after its `n`th change.
fn content(n: i64) -> SnapshotIndex {
    let start = Checkpoint {
        position: n * 65_536,
        hash: n as u64,
    };
    SnapshotIndex::default()
        .with_log_start(start)
        .with_newest(SnapshotEntry {
            position: n * 65_536 + 320,
            term: LeadershipTermId::new(n),
            recording_id: 1,
            length: 4096 * n as u64,
            hash: n as u128,
        })
}

#[test]
fn a_start_makes_an_index_that_says_nothing_and_the_next_finds_what_was_written() {
    let disk = disk(1);
    let mut file = open(&disk).unwrap();
    assert_eq!(*file.durable(), SnapshotIndex::default());
    file.want(content(3));
    assert!(!file.is_settled());
    file.write(&mut disk.clone()).unwrap();
    assert!(file.is_settled());
    assert_eq!(*open(&disk).unwrap().durable(), content(3));
    let looked = SnapshotIndexFile::look(&mut disk.clone()).unwrap();
    assert!(matches!(looked, Opened::Record(found) if found == content(3)));
}

#[test]
fn a_crash_in_a_change_leaves_the_index_before_or_after_it() {
    for seed in 0..50 {
        let disk = disk(seed);
        let mut file = open(&disk).unwrap();
        file.want(content(1));
        file.write(&mut disk.clone()).unwrap();
        let mut now = 0;
        file.want(content(2));
        // So many completions are seen.
        for _ in 0..seed % 4 {
            file.do_work(now, &mut disk.clone());
            now = disk.next_deadline().unwrap_or(now);
            while let Some(completion) = disk.clone().poll_completion(now) {
                file.on_completion(&completion).unwrap().unwrap();
            }
        }
        let is_settled = file.is_settled();
        assert_eq!(is_settled, *file.durable() == content(2));
        file.do_work(now, &mut disk.clone());
        disk.crash(seed);
        disk.restart();
        let found = *open(&disk).unwrap().durable();
        assert!(found == content(2) || !is_settled && found == content(1));
        let is_spoiled = |disk: &SimDisk| {
            SlotFile::has_spoiled_slot(&mut disk.clone(), &SNAPSHOT_INDEX_FILE).unwrap()
        };
        assert!(!is_spoiled(&disk), "a start writes both");
        // Rot of either slot leaves the other.
        for slot in 0..2 {
            let copy = disk.fork();
            assert!(copy.flip_bit(SNAPSHOT_INDEX_FILE.name, slot * 4096 + 20, 3));
            assert!(is_spoiled(&copy));
            assert_eq!(*open(&copy).unwrap().durable(), found);
        }
    }
}

#[test]
fn a_change_that_is_asked_for_while_one_is_written_comes_after_it() {
    let disk = disk(9);
    let mut file = open(&disk).unwrap();
    let mut now = 0;
    for n in 1..4 {
        file.want(content(n));
        file.do_work(now, &mut disk.clone());
    }
    let mut seen = Vec::new();
    while !file.is_settled() {
        now = disk.next_deadline().unwrap();
        let completion = disk.clone().poll_completion(now).unwrap();
        if file.on_completion(&completion).unwrap().unwrap() {
            seen.push(file.durable().log_start().hash);
        }
        file.do_work(now, &mut disk.clone());
    }
    assert_eq!(seen, [1, 3]);
    assert_eq!(*file.wanted(), content(3));
}

#[test]
fn a_failed_write_is_told() {
    let disk = disk(2);
    let mut file = open(&disk).unwrap();
    file.want(content(1));
    disk.fail_writes(1);
    file.do_work(0, &mut disk.clone());
    let completion = disk.clone().poll_completion(1_000_000).unwrap();
    assert!(file.on_completion(&completion).unwrap().is_err());
    assert_eq!(*file.durable(), SnapshotIndex::default());
}

#[test]
fn without_its_index_a_log_is_whole_if_its_first_segment_is_there_and_else_refused() {
    let spoil = |disk: &SimDisk| {
        for slot in 0..2 {
            assert!(disk.flip_bit(SNAPSHOT_INDEX_FILE.name, slot * 4096 + 20, 3));
        }
    };
    for is_missing in [false, true] {
        let disk = disk(4);
        let mut file = open(&disk).unwrap();
        file.want(content(1));
        file.write(&mut disk.clone()).unwrap();
        for base in [0, 65_536, 131_072] {
            let name = format!("0-{base}.rec");
            disk.clone().create(&name, SEGMENT_LENGTH as u64).unwrap();
        }
        // A snapshot's file is no segment of the log.
        disk.clone().create("1-0.rec", 0).unwrap();
        match is_missing {
            true => disk.lose(SNAPSHOT_INDEX_FILE.name),
            false => spoil(&disk),
        }
        let copy = disk.fork();
        assert_eq!(*open(&copy).unwrap().durable(), SnapshotIndex::default());
        disk.lose("0-0.rec");
        let before = disk.backup();
        let refused = open(&disk).unwrap_err();
        let oldest = "0-65536.rec".to_owned();
        assert_eq!(refused, SnapshotIndexError::Lost { oldest });
        assert!(refused.to_string().contains("0-65536.rec"));
        assert!(disk.backup() == before, "it was changed");
    }
}

#[test]
fn a_crash_while_it_is_made_leaves_a_directory_that_can_be_opened() {
    let first = disk(0).cold_operations();
    for operation in first..first + 3 {
        for seed in 0..10 {
            let disk = disk(seed);
            disk.crash_at_cold_operation(operation);
            let crashed = open(&disk).unwrap_err();
            assert_eq!(crashed, SnapshotIndexError::Disk(DiskError::Crashed));
            disk.restart();
            assert_eq!(*open(&disk).unwrap().durable(), SnapshotIndex::default());
        }
    }
}

#[test]
fn the_newest_snapshots_are_kept_and_any_may_go() {
    let positions = |index: SnapshotIndex| {
        let positions = index.snapshots().map(|entry| entry.position);
        positions.collect::<Vec<_>>()
    };
    let at = |n: i64| n * 65_536 + 320;
    let entry = |n| content(n).snapshots().next().unwrap();
    let two = content(1).with_newest(entry(2));
    assert_eq!(positions(two), [at(2), at(1)]);
    let index = two.with_newest(entry(3));
    assert_eq!(positions(index), [at(3), at(2)]);
    assert_eq!(positions(index.without(at(3))), [at(2)]);
    assert_eq!(positions(index.without(at(2))), [at(3)]);
    assert_eq!(positions(index.without(at(1))), [at(3), at(2)]);
    assert_eq!(index.log_start(), content(1).log_start());
}
