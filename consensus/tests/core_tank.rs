//! The core tank over a range of seeds, and proof that it finds what is planted in it.

#![cfg(feature = "sim")]

use lockstep_consensus::sim::PlantedFault;
use lockstep_consensus::sim::core_tank::{CoreTankOptions, run};

/// Seeds that `cargo test` runs; `lockstep sim` runs as many as it is told.
const SEEDS: u64 = 300;

/// Seeds within which a planted fault must show.
const PLANTED_SEEDS: u64 = 300;

#[test]
fn no_seed_breaks_a_rule_and_every_cluster_heals() {
    let options = CoreTankOptions::default();
    let (mut elections, mut commits) = (0, 0);
    for seed in 0..SEEDS {
        let report = run(seed, &options).unwrap_or_else(|violation| panic!("{violation}"));
        elections += report.elections;
        commits += report.commits;
    }
    assert!(elections > SEEDS * 2, "only {elections} elections");
    assert!(commits > SEEDS * 200, "only {commits} commits");
}

#[test]
fn in_some_seeds_positions_grow_beyond_32_bits() {
    let options = CoreTankOptions::default();
    let ends = (0..40).map(|seed| run(seed, &options).unwrap().end);
    let far = ends.filter(|end| *end > 1 << 33).count();
    assert!((4..20).contains(&far), "{far} of 40 logs end above 8 GiB");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let options = CoreTankOptions::default();
    let mut hashes = Vec::new();
    for seed in 1000..1010 {
        let first = run(seed, &options).unwrap();
        assert_eq!(first, run(seed, &options).unwrap());
        hashes.push(first.event_hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 10, "different seeds are different runs");
}

#[test]
fn without_faults_one_election_is_enough() {
    for members in [1, 2, 3, 5, 7] {
        let options = CoreTankOptions {
            members: Some(members),
            fault_phase_ns: 0,
            planted: None,
        };
        for seed in 0..10 {
            let report = run(seed, &options).unwrap();
            assert_eq!(report.elections, 1, "{members} members, seed {seed}");
        }
    }
}

fn expect_found(planted: PlantedFault) {
    let found = (0..PLANTED_SEEDS).any(|seed| {
        let sighting = planted.look_for(|is_planted| {
            let options = CoreTankOptions {
                planted: is_planted.then_some(planted),
                ..CoreTankOptions::default()
            };
            run(seed, &options).map_err(|violation| violation.broken)
        });
        sighting.is_found()
    });
    assert!(
        found,
        "{} not found in {PLANTED_SEEDS} seeds",
        planted.name()
    );
}

#[test]
fn an_ack_before_fsync_is_found() {
    expect_found(PlantedFault::AckBeforeFsync);
}

#[test]
fn counting_older_terms_is_found() {
    expect_found(PlantedFault::CountOlderTermAcks);
}

#[test]
fn a_forgotten_vote_is_found() {
    expect_found(PlantedFault::ForgetVoteOnRestart);
}
