//! The node tank with clients that start again: processes that do not know that they were
//! replaced, and datagrams of those that are gone.
#![cfg(feature = "sim")]

use lockstep_consensus::sim::PlantedFault;
use lockstep_consensus::sim::tank::{TankOptions, run};

#[test]
fn clients_that_start_again_among_faults_keep_exactly_once() {
    let options = TankOptions::default();
    let reports = (500..530).map(|seed| run(seed, &options).unwrap_or_else(|v| panic!("{v}")));
    let restarts: u64 = reports.map(|report| report.client_restarts).sum();
    assert!(restarts > 10, "only {restarts} restarts");
}

#[test]
fn a_new_process_that_passes_for_the_old_one_is_found() {
    let (clean, planted) = (TankOptions::default(), PlantedFault::ResumeWithoutEpoch);
    let options = TankOptions {
        planted: Some(planted),
        ..clean
    };
    let found = (0..40).find(|seed| {
        let broken = run(*seed, &options).err().map(|violation| violation.broken);
        broken.is_some_and(|broken| planted.is_shown_by(&broken)) && run(*seed, &clean).is_ok()
    });
    assert!(found.is_some(), "not found in 40 seeds");
}
