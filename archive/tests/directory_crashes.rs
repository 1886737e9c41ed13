//! A data directory under crashes and rot: it is made as a whole or not at all, what its small
//! files hold is the old or the new, and what it lost it says (`log.md` 2.4; `rules.md` D12).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::disk::Disk;
use lockstep_archive::files::directory::{Directory, Lost};
use lockstep_archive::sim::SimDisk;
use lockstep_transport::ids::LeadershipTermId;
use recorded_log::{catalog, disk, recorded};

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
    let (disk, ..) = recorded(9, 5);
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
    let (disk, ..) = recorded(9, 5);
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
