//! A data directory under crashes and rot: it is made as a whole or not at all, what its small
//! files hold is the old or the new, and what it lost it says (`log.md` 2.4; `rules.md` D12).
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_archive::disk::{ColdFiles, Disk};
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::files::catalog::{CATALOG_FILE, Catalog, LOG_STREAM_ID};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_consensus::directory::member_directory::{Directory, Lost};
use lockstep_consensus::directory::node_state::{NODE_STATE_FILE, NodeState};
use lockstep_transport::ids::LeadershipTermId;

const TERM_LENGTH: usize = 64 * 1024;
const SEGMENT_LENGTH: usize = 128 * 1024;

fn catalog() -> Catalog {
    Catalog {
        cluster: 0xC0FFEE,
        session_id: 77,
        stream_id: LOG_STREAM_ID,
        initial_term_id: 9,
        term_length: TERM_LENGTH,
        segment_length: SEGMENT_LENGTH,
        mtu: 1408,
    }
}

/// A disk that tears and loses what this seed says.
fn disk(seed: u64) -> SimDisk {
    SimDisk::new(SimDiskConfig {
        seed,
        ..SimDiskConfig::default()
    })
}

/// The disk of a member that has started once and acknowledged some log, its process gone.
fn used(seed: u64) -> SimDisk {
    let disk = disk(seed);
    let mut handle = disk.clone();
    let mut directory = Directory::open_or_create(&mut handle, &catalog()).unwrap();
    directory.node_state.begin_incarnation(&mut handle).unwrap();
    let segment = handle.create("0-0.rec", SEGMENT_LENGTH as u64).unwrap();
    handle.write(segment, 0, &[0x5A; 4096]).unwrap();
    let mark = AckRecord {
        position: 4096,
        ..AckRecord::default()
    };
    directory.ack_mark.write(&mut handle, mark).unwrap();
    disk
}

#[test]
fn a_crash_at_any_step_of_making_a_directory_leaves_it_unmade_or_made() {
    let steps = {
        let disk = disk(0);
        Directory::open_or_create(&mut disk.clone(), &catalog()).unwrap();
        disk.cold_operations()
    };
    for seed in 0..40 {
        for step in 0..steps {
            let disk = disk(seed);
            disk.crash_at_cold_operation(step);
            assert!(Directory::open_or_create(&mut disk.clone(), &catalog()).is_err());
            disk.restart();
            let directory = Directory::open_or_create(&mut disk.clone(), &catalog())
                .unwrap_or_else(|error| panic!("seed {seed} step {step}: {error}"));
            assert_eq!(directory.node_state.state().incarnation, 0);
        }
    }
}

#[test]
fn a_crash_during_an_update_of_node_state_leaves_the_old_or_the_new() {
    for seed in 0..200 {
        let disk = disk(seed);
        let mut handle = disk.clone();
        let mut directory = Directory::open_or_create(&mut handle, &catalog()).unwrap();
        for _ in 0..seed % 3 {
            directory.node_state.begin_incarnation(&mut handle).unwrap();
        }
        let old = directory.node_state.state();
        disk.crash_at_cold_operation(disk.cold_operations());
        assert!(directory.node_state.begin_incarnation(&mut handle).is_err());
        disk.restart();
        let found = Directory::open_or_create(&mut handle, &catalog()).unwrap();
        let found = found.node_state.state().incarnation;
        assert!(
            found == old.incarnation || found == old.incarnation + 1,
            "{seed}"
        );
    }
}

#[test]
fn a_submitted_vote_counts_only_after_its_completion_and_then_for_ever() {
    for seed in 0..200 {
        let disk = disk(seed);
        let mut handle = disk.clone();
        let mut directory = Directory::open_or_create(&mut handle, &catalog()).unwrap();
        let state = &mut directory.node_state;
        state
            .submit_state(0, &mut handle, LeadershipTermId::new(4), Some(2))
            .unwrap();
        assert!(
            state
                .submit_state(0, &mut handle, LeadershipTermId::new(5), None)
                .is_err(),
            "one at a time"
        );
        let mut is_durable = false;
        for write in 0..seed % 3 {
            let completion = handle.poll_completion(1_000_000).unwrap();
            is_durable = write == 1;
            assert_eq!(state.on_completion(&completion), Some(Ok(is_durable)));
            assert_eq!(state.do_work(0, &mut handle), usize::from(!is_durable));
        }
        disk.crash(seed);
        disk.restart();
        let found = Directory::open_or_create(&mut handle, &catalog()).unwrap();
        let found = found.node_state.state();
        let is_new = found.leadership_term == LeadershipTermId::new(4) && found.vote == Some(2);
        let is_old = found.leadership_term == LeadershipTermId::NONE && found.vote.is_none();
        assert!(is_new || (is_old && !is_durable), "seed {seed}: {found:?}");
    }
}

#[test]
fn a_directory_that_lost_a_part_is_never_taken_for_a_fresh_one() {
    let disk = used(9);
    let name = "archive.catalog";
    let whole = disk.contents(name).unwrap();
    assert!(disk.overwrite(name, 0, &vec![0; whole.len()]));
    let error = Directory::open_or_create(&mut disk.clone(), &catalog()).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    assert!(disk.overwrite(name, 0, &whole));
    let found = Directory::open_or_create(&mut disk.clone(), &catalog()).unwrap();
    assert_eq!((found.is_new, found.lost), (false, Lost::default()));
    let mut other = catalog();
    other.term_length *= 2;
    let error = Directory::open_or_create(&mut disk.clone(), &other).unwrap_err();
    assert!(error.to_string().contains("term_length"), "{error}");
}

/// Overwrites both slots of a file, or one of them.
fn spoil(disk: &SimDisk, name: &str, slots: &[usize]) {
    for slot in slots {
        assert!(disk.overwrite(name, slot * 4096 + 20, &[0xA5; 16]));
    }
}

#[test]
fn a_directory_opens_without_its_promises_and_says_so_until_they_are_written_again() {
    let disk = used(9);
    let lost_of = |disk: &SimDisk| {
        let found = Directory::open_or_create(&mut disk.clone(), &catalog()).unwrap();
        assert!(!found.is_new);
        (found.lost.node_state, found.lost.ack_mark)
    };
    for (name, expected) in [
        ("node-state.dat", (true, false)),
        ("ack-mark.dat", (false, true)),
    ] {
        let one = disk.fork();
        spoil(&one, name, &[1]);
        assert_eq!(lost_of(&one), (false, false), "one slot of {name}");
        let both = disk.fork();
        spoil(&both, name, &[0, 1]);
        let missing = disk.fork();
        missing.lose(name);
        for rotten in [both, missing] {
            // However often it is looked at: it is blank until its owner writes it.
            assert_eq!(lost_of(&rotten), expected, "{name}");
            assert_eq!(lost_of(&rotten), expected, "{name}");
            let mut handle = rotten.clone();
            let mut found = Directory::open_or_create(&mut handle, &catalog()).unwrap();
            found.node_state.begin_incarnation(&mut handle).unwrap();
            let record = found.ack_mark.record();
            found.ack_mark.write(&mut handle, record).unwrap();
            assert_eq!(lost_of(&rotten), (false, false), "{name}");
        }
    }
}

/// A copy of the disk in which a slot of a file, or a copy of the catalog, is spoiled.
fn spoilt(disk: &SimDisk, name: &str, slot: usize) -> SimDisk {
    let copy = disk.fork();
    assert!(copy.overwrite(name, slot * 4096, &[0x3C; 4096]));
    copy
}

#[test]
fn the_rot_of_either_slot_of_node_state_leaves_the_newest_term_and_vote() {
    for seed in 0..4 {
        let disk = disk(seed);
        let mut handle = disk.clone();
        let mut directory = Directory::open_or_create(&mut handle, &catalog()).unwrap();
        for term in 1..=5 {
            let state = &mut directory.node_state;
            let vote = Some((term % 3) as u8);
            state
                .submit_state(0, &mut handle, LeadershipTermId::new(term), vote)
                .unwrap();
            while state.is_writing() {
                state.do_work(0, &mut handle);
                let completion = handle.poll_completion(1 << 40).unwrap();
                assert!(state.on_completion(&completion).unwrap().is_ok());
            }
        }
        for slot in 0..2 {
            let copy = spoilt(&disk, NODE_STATE_FILE.name, slot);
            let mut found = Directory::open_or_create(&mut copy.clone(), &catalog()).unwrap();
            let NodeState {
                leadership_term,
                vote,
                ..
            } = found.node_state.state();
            assert_eq!((leadership_term.get(), vote), (5, Some(2)), "slot {slot}");
            // Counting a start mends the file: the other slot may rot next.
            found
                .node_state
                .begin_incarnation(&mut copy.clone())
                .unwrap();
            let copy = spoilt(&copy, NODE_STATE_FILE.name, 1 - slot);
            let found = Directory::open_or_create(&mut copy.clone(), &catalog()).unwrap();
            assert_eq!(
                found.node_state.state().leadership_term,
                LeadershipTermId::new(5)
            );
        }
    }
}

#[test]
fn the_rot_of_either_copy_of_the_catalog_is_mended_and_of_both_is_refused() {
    let disk = used(6);
    for copy in 0..2 {
        let rotten = spoilt(&disk, CATALOG_FILE, copy);
        Directory::open_or_create(&mut rotten.clone(), &catalog()).unwrap();
        let mended = spoilt(&rotten, CATALOG_FILE, 1 - copy);
        Directory::open_or_create(&mut mended.clone(), &catalog()).unwrap();
        let dead = spoilt(&spoilt(&disk, CATALOG_FILE, copy), CATALOG_FILE, 1 - copy);
        let error = Directory::open_or_create(&mut dead.clone(), &catalog()).unwrap_err();
        assert!(error.to_string().contains(CATALOG_FILE), "{error}");
    }
}
