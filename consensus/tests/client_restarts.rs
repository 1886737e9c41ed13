//! The node tank with clients that start again: processes that do not know that they were
//! replaced, and datagrams of those that are gone.
#![cfg(feature = "sim")]

use lockstep_consensus::sim::tank::{TankOptions, run};

#[test]
fn clients_that_start_again_among_faults_keep_exactly_once() {
    let options = TankOptions::default();
    let reports = (500..530).map(|seed| run(seed, &options).unwrap_or_else(|v| panic!("{v}")));
    let restarts: u64 = reports.map(|report| report.client_restarts).sum();
    assert!(restarts > 10, "only {restarts} restarts");
}
