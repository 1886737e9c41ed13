//! Log time under clocks that are wrong by hours or are set while nodes run (`log.md` 1.7).
#![cfg(feature = "sim")]

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, Told};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{Nanos, SECOND};

type Cluster = SimCluster<Echo>;

const HOUR: Nanos = 3_600 * SECOND;

/// Log time of an answer made now, and the time at which it was made.
fn ask(cluster: &mut Cluster) -> (i64, i64) {
    let before = cluster.clients[0].told.len();
    cluster.offer(0, b"what time is it");
    for _ in 0..100 {
        cluster.run(SECOND / 20);
        let told = &cluster.clients[0].told[before..];
        let answer = told.iter().find_map(|told| match told {
            Told::Response { log_time, .. } => Some(*log_time),
            _ => None,
        });
        if let Some(log_time) = answer {
            return (log_time, cluster.wall());
        }
    }
    panic!("no answer");
}

/// How fast log time runs over ten seconds, in percent of real time.
fn speed(cluster: &mut Cluster) -> i64 {
    let (log_before, before) = ask(cluster);
    cluster.run(10 * SECOND);
    let (log_after, after) = ask(cluster);
    (log_after - log_before) * 100 / (after - before)
}

/// The first member leads, with a clock that is so far ahead.
fn led_by_a_clock(ahead: Nanos) -> Cluster {
    let mut cluster = Scenario::echo().all_down();
    cluster.member(0).set_clock(ahead);
    cluster.start_led_by(0);
    cluster.connect(|_| {});
    cluster
}

/// The first member dies, and another one leads.
fn lose_the_leader(cluster: &mut Cluster) -> usize {
    cluster.member(0).kill();
    cluster.run(4 * SECOND);
    cluster.expect_some_leader()
}

#[test]
fn after_a_leader_three_hours_ahead_log_time_goes_on_and_approaches_the_true_time() {
    let mut cluster = led_by_a_clock(3 * HOUR);
    let (log_time, wall) = ask(&mut cluster);
    assert!((log_time - wall - 3 * HOUR).abs() < SECOND);
    let leader = lose_the_leader(&mut cluster);
    let speed = speed(&mut cluster);
    assert!((45..=55).contains(&speed), "{speed} percent");
    // The offset is known, and the operator is told.
    cluster.expect_leader(leader);
    let offset = cluster.counter(leader, Counter::LogTimeOffset);
    assert!((2 * HOUR..3 * HOUR).contains(&offset), "{offset} ns");
    cluster
        .member(leader)
        .expect_told(NodeNotice::LogTimeOffset);
}

#[test]
fn under_a_leader_three_hours_behind_log_time_goes_on_at_half_speed() {
    let mut cluster = led_by_a_clock(0);
    cluster.members(&[1, 2]).set_clock(-3 * HOUR);
    ask(&mut cluster);
    lose_the_leader(&mut cluster);
    let speed = speed(&mut cluster);
    assert!((45..=55).contains(&speed), "{speed} percent");
}

#[test]
fn a_leader_elected_with_a_clock_three_hours_ahead_does_not_make_log_time_leap() {
    let mut cluster = led_by_a_clock(0);
    ask(&mut cluster);
    cluster.members(&[1, 2]).set_clock(3 * HOUR);
    let (before, started) = ask(&mut cluster);
    let leader = lose_the_leader(&mut cluster);
    let (after, ended) = ask(&mut cluster);
    let ratio = (after - before) * 100 / (ended - started);
    assert!((95..=155).contains(&ratio), "{ratio} percent");
    // The offset is known.
    let offset = cluster.counter(leader, Counter::LogTimeOffset);
    assert!((-3 * HOUR..-2 * HOUR).contains(&offset), "{offset} ns");
}

#[test]
fn a_wall_clock_set_back_or_forward_under_a_leader_only_slews_log_time() {
    let mut cluster = led_by_a_clock(0);
    assert!((98..=102).contains(&speed(&mut cluster)));
    cluster.expect_leader(0);
    cluster.member(0).set_clock(HOUR);
    let fast = speed(&mut cluster);
    assert!((145..=155).contains(&fast), "{fast} percent");
    cluster.member(0).set_clock(-HOUR);
    let slow = speed(&mut cluster);
    assert!((45..=55).contains(&slow), "{slow} percent");
}
