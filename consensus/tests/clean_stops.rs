//! A member that is asked to stop has stopped soon, whatever of its files is being written.
#![cfg(feature = "sim")]

use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::sim::scenario::Scenario;
use lockstep_transport::time::{MILLISECOND, SECOND};

#[test]
fn a_stop_at_any_moment_finds_its_end() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let mut cluster = Scenario::echo().sync(sync).led_by(0);
        // Its log falls idle, and the mark of that goes to one slot after the other.
        for moment in 0..40 {
            cluster.answer(1);
            for _ in 0..moment {
                cluster.step();
            }
            cluster.member(1).stop().start();
            cluster.run(SECOND / 2);
        }
    }
}

#[test]
#[should_panic(expected = "found Err")]
fn a_stop_whose_writes_fail_ends_and_says_so() {
    let mut cluster = Scenario::echo().sync(SyncMode::None).led_by(0);
    cluster.answer(1);
    cluster.run(SECOND);
    // What follows is in memory alone until the stop.
    cluster.answer(1);
    cluster.run(MILLISECOND);
    cluster.member(1).fail_writes(1).stop();
}
