//! A member that is slow, stopped or gone does not make the others' answers take longer
//! (`rules.md` LV4).
#![cfg(feature = "sim")]

use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

/// How far time goes between two looks at the client.
const STEP: Nanos = 50 * MICROSECOND;

/// The longest that one of a hundred answers takes, one request after the other.
fn longest_answer(cluster: &mut SimCluster<Echo>) -> Nanos {
    let mut longest = 0;
    for _ in 0..100 {
        let before = cluster.answers(0).len();
        cluster.offer(0, b"request");
        let asked = cluster.now;
        while cluster.answers(0).len() == before {
            assert!(cluster.now < asked + SECOND, "no answer");
            cluster.run(STEP);
        }
        longest = longest.max(cluster.now - asked);
    }
    longest
}

/// Answers take no longer once this has happened to one of three members.
fn expect_not_felt(happens: impl FnOnce(&mut SimCluster<Echo>)) {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(1);
    cluster.run(SECOND);
    let usual = longest_answer(&mut cluster);
    happens(&mut cluster);
    let longest = longest_answer(&mut cluster);
    cluster.expect_leader(0);
    assert!(
        longest <= usual + 2 * STEP,
        "an answer took {longest} ns, {usual} ns before"
    );
}

#[test]
fn a_follower_whose_disk_is_slow_or_stands_still_is_not_felt() {
    expect_not_felt(|cluster| {
        let disk = cluster.disk(2);
        disk.set_latency(20 * MILLISECOND, 50 * MILLISECOND);
    });
    expect_not_felt(|cluster| {
        cluster.member(2).stall_disk(100 * SECOND);
    });
}

#[test]
fn a_follower_that_stops_vanishes_or_is_cut_off_is_not_felt() {
    expect_not_felt(|cluster| {
        cluster.member(2).pause(100 * SECOND);
    });
    expect_not_felt(|cluster| {
        cluster.member(2).kill();
    });
    expect_not_felt(|cluster| {
        cluster.member(2).isolate();
    });
}

#[test]
fn a_leader_whose_own_disk_stands_still_answers_as_fast() {
    expect_not_felt(|cluster| {
        cluster.member(0).stall_disk(100 * SECOND);
    });
}
