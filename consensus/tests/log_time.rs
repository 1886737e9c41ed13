//! Log time under clocks that are wrong by hours or are set while nodes run (`log.md` 1.7).
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_consensus::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::{Nanos, SECOND};
use small_cluster::{Setup, SmallCluster, Told};

const HOUR: Nanos = 3_600 * SECOND;

/// Answers every message with itself.
struct Echo;

impl ClusteredService for Echo {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        cluster
            .respond(from, bytes)
            .expect("an echo is within the limits");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

/// Log time of an answer made now, and the time at which it was made.
fn ask(cluster: &mut SmallCluster<Echo>) -> (i64, i64) {
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
fn speed(cluster: &mut SmallCluster<Echo>) -> i64 {
    let (log_before, before) = ask(cluster);
    cluster.run(10 * SECOND);
    let (log_after, after) = ask(cluster);
    (log_after - log_before) * 100 / (after - before)
}

fn started(clocks: [i64; 3]) -> SmallCluster<Echo> {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo);
    for (id, ahead) in clocks.into_iter().enumerate() {
        cluster.set_clock(id, ahead);
    }
    cluster.start_all(0);
    cluster.connect(|_| {});
    cluster
}

fn lose_the_leader(cluster: &mut SmallCluster<Echo>) {
    let leader = cluster.leader().expect("somebody leads");
    cluster.kill(leader);
    cluster.run(4 * SECOND);
    assert!(cluster.leader().is_some_and(|other| other != leader));
}

#[test]
fn after_a_leader_three_hours_ahead_log_time_goes_on_and_approaches_the_true_time() {
    let mut cluster = started([3 * HOUR, 0, 0]);
    let (log_time, wall) = ask(&mut cluster);
    assert!((log_time - wall - 3 * HOUR).abs() < SECOND);
    lose_the_leader(&mut cluster);
    let speed = speed(&mut cluster);
    assert!((45..=55).contains(&speed), "{speed} percent");
    let leader = cluster.leader().expect("somebody leads");
    let offset = cluster.counter(leader, Counter::LogTimeOffset);
    assert!(
        (2 * HOUR..3 * HOUR).contains(&offset),
        "the offset is known: {offset} ns"
    );
    let told = cluster
        .node(leader)
        .parts()
        .notices
        .count(NodeNotice::LogTimeOffset);
    assert!(told > 0, "and its operator is told");
}

#[test]
fn under_a_leader_three_hours_behind_log_time_goes_on_at_half_speed() {
    let mut cluster = started([0; 3]);
    cluster.set_clock(1, -3 * HOUR);
    cluster.set_clock(2, -3 * HOUR);
    ask(&mut cluster);
    lose_the_leader(&mut cluster);
    let speed = speed(&mut cluster);
    assert!((45..=55).contains(&speed), "{speed} percent");
}

#[test]
fn a_leader_elected_with_a_clock_three_hours_ahead_does_not_make_log_time_leap() {
    let mut cluster = started([0; 3]);
    ask(&mut cluster);
    cluster.set_clock(1, 3 * HOUR);
    cluster.set_clock(2, 3 * HOUR);
    let (before, started) = ask(&mut cluster);
    lose_the_leader(&mut cluster);
    let (after, ended) = ask(&mut cluster);
    let ratio = (after - before) * 100 / (ended - started);
    assert!((95..=155).contains(&ratio), "{ratio} percent");
    let leader = cluster.leader().expect("somebody leads");
    let offset = cluster.counter(leader, Counter::LogTimeOffset);
    assert!(
        (-3 * HOUR..-2 * HOUR).contains(&offset),
        "the offset is known: {offset} ns of member {leader}"
    );
}

#[test]
fn a_wall_clock_set_back_or_forward_under_a_leader_only_slews_log_time() {
    let mut cluster = started([0, 0, 0]);
    assert!((98..=102).contains(&speed(&mut cluster)));
    let leader = cluster.leader().expect("somebody leads");
    cluster.set_clock(leader, HOUR);
    let fast = speed(&mut cluster);
    assert!((145..=155).contains(&fast), "{fast} percent");
    cluster.set_clock(leader, -HOUR);
    let slow = speed(&mut cluster);
    assert!((45..=55).contains(&slow), "{slow} percent");
}
