//! A member that is told to stop has a snapshot of what it has applied before it ends, where
//! `snapshot_on_stop` asks for that (`log.md` 8.1).
#![cfg(feature = "sim")]

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::counting::{Counting, Writing};
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

/// What members here wait for at most.
const PATIENCE: Nanos = 5 * SECOND;

fn cluster_that(members: u8, writes: Writing) -> SimCluster<Counting> {
    let service = move |_| Counting {
        writes,
        ..Counting::default()
    };
    Scenario::of(service)
        .members(members)
        .node(|node| {
            node.snapshot_interval_bytes = 0;
            node.snapshot_on_stop_ns = PATIENCE;
        })
        .led_by(0)
}

fn cluster(members: u8) -> SimCluster<Counting> {
    let mut cluster = cluster_that(members, Writing::Right);
    cluster.answer(100);
    cluster.run(100 * MILLISECOND);
    cluster
}

fn applied<S: ClusteredService>(cluster: &SimCluster<S>, id: usize) -> Position {
    cluster.node(id).agents().consensus.applier.position()
}

/// Where the newest snapshot of a member that runs was taken, 0 without one.
fn newest<S: ClusteredService>(cluster: &SimCluster<S>, id: usize) -> Position {
    let index = cluster.node(id).agents().archive.snapshot_index();
    index.snapshots().next().map_or(0, |newest| newest.position)
}

/// Each of these is told to leave now, and all have left within `limit`. Returns how long it took.
fn leave_together<S: ClusteredService>(
    cluster: &mut SimCluster<S>,
    ids: &[usize],
    limit: Nanos,
) -> Nanos {
    let begin = cluster.now;
    for id in ids {
        cluster.node_mut(*id).leave(begin);
    }
    cluster.run_until(limit, |cluster| {
        ids.iter().all(|id| cluster.node(*id).has_left())
    });
    cluster.now - begin
}

/// A service without snapshots.
struct Silent;

impl ClusteredService for Silent {
    fn on_session_message(&mut self, _: &mut Cluster<'_>, _: ClientSession, _: &[u8]) {}

    fn state_hash(&self) -> u64 {
        0
    }
}

/// It said once why it stops without.
fn expect_why<S: ClusteredService>(cluster: &mut SimCluster<S>, id: usize, words: &str) {
    let lines = cluster.take_lines(id, NodeNotice::StopWithoutSnapshot);
    assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
}

#[test]
fn a_follower_that_stops_goes_on_from_a_snapshot_of_all_it_had_applied() {
    let mut cluster = cluster(3);
    let before = applied(&cluster, 1);
    let _before = marks::take();
    cluster.member(1).leave();
    assert!(marks::take().contains(Mark::SnapshotBeforeStop));
    cluster.member(1).start();
    assert!(newest(&cluster, 1) >= before);
    assert!(applied(&cluster, 1) >= before);
    cluster.answer(1);
    assert_eq!(cluster.answers(0)[100], 101_u64.to_le_bytes());
    cluster
        .everybody()
        .expect_not_told(NodeNotice::StopWithoutSnapshot);
}

#[test]
fn a_leader_that_stops_has_fetched_a_copy_before_it_hands_over() {
    let mut cluster = cluster(3);
    let before = applied(&cluster, 0);
    leave_together(&mut cluster, &[0], SECOND);
    assert!(newest(&cluster, 0) >= before);
    assert_eq!(cluster.counter(0, Counter::Snapshots), 0);
    cluster
        .member(0)
        .expect_not_told(NodeNotice::StopWithoutSnapshot)
        .stop();
    cluster.answer(100);
    assert_ne!(cluster.expect_some_leader(), 0);
    cluster.member(0).start();
    assert!(applied(&cluster, 0) >= before);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
}

#[test]
fn a_cluster_of_one_stops_with_a_snapshot_of_its_own() {
    let mut cluster = cluster(1);
    let before = applied(&cluster, 0);
    cluster.member(0).leave().start();
    assert!(newest(&cluster, 0) >= before);
    cluster.answer(1);
    assert_eq!(cluster.answers(0)[100], 101_u64.to_le_bytes());
}

#[test]
fn whoever_applied_nothing_since_its_snapshot_asks_for_none() {
    let mut cluster = cluster(3);
    cluster.member(1).leave().start();
    cluster.run(SECOND);
    let (taken, end) = (newest(&cluster, 1), applied(&cluster, 0));
    assert_eq!(taken, end);
    cluster.member(1).leave().start();
    assert_eq!((newest(&cluster, 1), applied(&cluster, 0)), (taken, end));
}

#[test]
fn members_that_are_told_to_stop_together_all_end_in_time() {
    let mut cluster = cluster(3);
    leave_together(&mut cluster, &[0, 1, 2], PATIENCE + SECOND);
    let before = cluster.commit(1);
    cluster.everybody().stop();
    cluster.start_led_by(1);
    assert!(newest(&cluster, 1) > 0 && newest(&cluster, 2) > 0);
    assert!(applied(&cluster, 1) >= before);
    cluster.answer(1);
    assert_eq!(cluster.answers(0)[100], 101_u64.to_le_bytes());
}

#[test]
fn a_snapshot_that_does_not_come_in_time_is_not_waited_for() {
    let mut cluster = cluster_that(3, Writing::Endless);
    cluster.answer(100);
    let took = leave_together(&mut cluster, &[1], PATIENCE + SECOND);
    assert!(took >= PATIENCE);
    let words = "its newest is at 0: it did not come within snapshot_on_stop; nothing is lost";
    expect_why(&mut cluster, 1, words);
}

#[test]
fn who_hears_no_leader_does_not_wait_for_its_snapshot_for_long() {
    let mut cluster = cluster(3);
    cluster.members(&[0, 2]).kill();
    let took = leave_together(&mut cluster, &[1], PATIENCE);
    assert!(took < PATIENCE);
    let words = "nobody leads who could ask for one";
    expect_why(&mut cluster, 1, words);
}

#[test]
fn a_service_without_snapshots_and_a_learner_stop_at_once() {
    let mut cluster = Scenario::of(|_| Silent)
        .node(|node| node.snapshot_on_stop_ns = PATIENCE)
        .led_by(0);
    assert!(leave_together(&mut cluster, &[1], SECOND) < SECOND / 10);
    let words = "its service has none";
    expect_why(&mut cluster, 1, words);

    let mut cluster = self::cluster(3);
    cluster.member(2).kill().copy_onto_itself().start();
    cluster.answer(1);
    cluster.run(SECOND);
    assert!(leave_together(&mut cluster, &[2], SECOND) < SECOND / 10);
    let words = "it is no voter";
    expect_why(&mut cluster, 2, words);
}

#[test]
fn a_leader_that_fails_while_a_member_waits_is_followed_by_one_that_asks() {
    let mut cluster = cluster(3);
    let before = applied(&cluster, 1);
    cluster.cut(0, 1);
    cluster.run(10 * MILLISECOND);
    let now = cluster.now;
    cluster.node_mut(1).leave(now);
    cluster.member(0).kill();
    cluster.run_until(PATIENCE, |cluster| cluster.node(1).has_left());
    assert!(newest(&cluster, 1) >= before);
    cluster
        .member(1)
        .expect_not_told(NodeNotice::StopWithoutSnapshot);
}
