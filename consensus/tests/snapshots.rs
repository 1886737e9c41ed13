//! Snapshots (`log.md` 8): who takes one, what a start does with it, and what a service can do
//! wrongly.
#![cfg(feature = "sim")]

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::sim::counting::{Counting, Writing};
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::time::{MICROSECOND, SECOND};

/// Bytes of a segment of these logs.
const SEGMENT: i64 = 128 * 1024;

fn cluster(members: u8, writes: Writing) -> SimCluster<Counting> {
    let service = move |_| Counting {
        writes,
        ..Counting::default()
    };
    Scenario::of(service)
        .members(members)
        .node(|node| node.snapshot_interval_bytes = 16 * 1024)
        .led_by(0)
}

/// Three times a hundred answers, and time after each to ask for a snapshot and store it.
fn answer_a_while(cluster: &mut SimCluster<Counting>) {
    for _ in 0..3 {
        cluster.answer(100);
        cluster.run(SECOND);
    }
}

fn stored(cluster: &SimCluster<Counting>, id: usize) -> i64 {
    cluster.counter(id, Counter::Snapshots)
}

#[test]
fn those_who_follow_store_snapshots_and_who_leads_stores_none() {
    let mut cluster = cluster(3, Writing::Right);
    answer_a_while(&mut cluster);
    assert_eq!(stored(&cluster, 0), 0);
    assert!(stored(&cluster, 1) >= 2 && stored(&cluster, 2) >= 2);
}

#[test]
fn a_cluster_of_one_stores_its_own_and_goes_on_from_it() {
    let mut cluster = cluster(1, Writing::Right);
    answer_a_while(&mut cluster);
    assert!(stored(&cluster, 0) >= 2);
    let taken = cluster.counter(0, Counter::SnapshotPosition);
    cluster.member(0).kill().start();
    assert!(cluster.node(0).agents().consensus.applier.position() >= taken);
    cluster.answer(1);
    assert_eq!(cluster.answers(0)[300], 301_u64.to_le_bytes());
}

#[test]
fn a_member_that_starts_again_goes_on_from_its_snapshot_and_leads_with_the_same_answers() {
    let mut cluster = cluster(3, Writing::Right);
    answer_a_while(&mut cluster);
    let taken = cluster.counter(1, Counter::SnapshotPosition);
    cluster.everybody().kill();
    cluster.start_led_by(1);
    assert!(taken > 0);
    assert!(cluster.node(1).agents().consensus.applier.position() >= taken);
    cluster.answer(1);
    assert_eq!(cluster.answers(0)[300], 301_u64.to_le_bytes());
    cluster.expect_equal_logs();
}

#[test]
fn a_service_that_writes_its_part_wrongly_has_no_snapshot_and_goes_on() {
    let mut cluster = cluster(3, Writing::Wrong);
    answer_a_while(&mut cluster);
    cluster.member(1).expect_up();
    let lines = cluster.take_lines(1, NodeNotice::SnapshotUseless);
    let words = "came to nothing: the service did not end a section; mend";
    assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    assert_eq!(stored(&cluster, 1), 0);
    assert_eq!(cluster.answers(0).len(), 300);
}

#[test]
fn who_is_to_lead_gives_up_its_snapshot_and_answers() {
    let mut cluster = cluster(3, Writing::Endless);
    cluster.answer(100);
    cluster.run(SECOND);
    let applied =
        |cluster: &SimCluster<Counting>, id| cluster.node(id).agents().consensus.applier.position();
    let commit = cluster.commit(0);
    assert!(applied(&cluster, 1) < commit && applied(&cluster, 2) < commit);
    cluster.member(0).kill();
    let _before = marks::take();
    cluster.answer(1);
    assert!(marks::take().contains(Mark::SnapshotAbandoned));
    let leader = cluster.expect_some_leader();
    assert!(applied(&cluster, leader) > commit);
    assert_eq!(stored(&cluster, leader), 0);
    assert_eq!(cluster.answers(0)[100], 101_u64.to_le_bytes());
}

#[test]
fn a_service_that_writes_without_end_has_no_snapshot_and_goes_on_after_a_minute() {
    let mut cluster = cluster(1, Writing::Endless);
    cluster.answer(100);
    cluster.run(61 * SECOND);
    let lines = cluster.take_lines(0, NodeNotice::SnapshotUseless);
    let words = "the service had not written all of it within a minute";
    assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    cluster.answer(1);
    assert_eq!(stored(&cluster, 0), 0);
}

#[test]
fn a_disk_that_is_full_while_the_state_is_written_holds_nothing_up() {
    let mut cluster = cluster(3, Writing::Endless);
    cluster.member(1).fill_disk();
    cluster.answer(100);
    cluster.run(SECOND);
    cluster
        .member(1)
        .expect_up()
        .expect_told(NodeNotice::SnapshotNotStored);
    let applied = |id| cluster.node(id).agents().consensus.applier.position();
    assert_eq!(applied(1), cluster.commit(0));
    assert!(applied(2) < cluster.commit(0));
}

#[test]
fn a_snapshot_shows_what_was_acknowledged_below_it() {
    let mut cluster = cluster(3, Writing::Right);
    let before = cluster.counter(1, Counter::Snapshots);
    while cluster.counter(1, Counter::Snapshots) == before {
        cluster.answer(1);
    }
    let taken = cluster.counter(1, Counter::SnapshotPosition);
    // What was written last rots while the mark is behind, and the power goes.
    cluster.member(1).lose_power().rot(taken - 32).start();
    cluster.member(1).expect_damaged(true);
    cluster.run(SECOND);
    cluster.member(1).expect_damaged(false);
    cluster.answer(1);
    cluster.expect_equal_logs();
}

#[test]
fn one_that_cannot_be_used_takes_no_place_from_one_that_can() {
    let mut cluster = cluster(3, Writing::Right);
    answer_a_while(&mut cluster);
    let newest = cluster.counter(1, Counter::SnapshotPosition);
    cluster
        .member(1)
        .kill()
        .rot_file(&format!("1-{newest}.rec"))
        .start();
    cluster.run(SECOND);
    let older = cluster.counter(1, Counter::SnapshotPosition);
    assert!(older > 0 && older < newest);
    answer_a_while(&mut cluster);
    let third = cluster.counter(1, Counter::SnapshotPosition);
    cluster
        .member(1)
        .kill()
        .rot_file(&format!("1-{third}.rec"))
        .start();
    cluster.run(SECOND);
    assert!(cluster.counter(1, Counter::SnapshotPosition) >= older);
    cluster.answer(1);
    assert!(cluster.node(1).agents().consensus.applier.position() > newest);
}

#[test]
fn a_member_that_has_stopped_asks_nobody() {
    let mut cluster = cluster(1, Writing::Right);
    cluster.answer(1);
    cluster.member(0).fail_writes(1);
    cluster.offer(0, b"lost");
    cluster.run(SECOND);
    assert!(cluster.fault(0).is_some());
    let now = cluster.now;
    let refusal = cluster.node_mut(0).ask_for_snapshot(now).unwrap_err();
    assert!(refusal.to_string().contains("has stopped"), "{refusal}");
}

#[test]
fn tools_see_whether_a_snapshot_is_being_stored() {
    for (writes, is_being_stored) in [(Writing::Right, 0), (Writing::Endless, 1)] {
        let mut cluster = cluster(3, writes);
        let writing = |cluster: &SimCluster<Counting>| cluster.counter(1, Counter::SnapshotWriting);
        assert_eq!(writing(&cluster), 0);
        cluster.answer(100);
        cluster.run(SECOND);
        assert_eq!(writing(&cluster), is_being_stored, "{writes:?}");
    }
}

#[test]
fn a_start_knows_that_all_below_its_snapshot_is_committed_whatever_became_of_its_mark() {
    let service = |_| Counting::default();
    let mut cluster = Scenario::of(service)
        .sync(SyncMode::None)
        .node(|node| node.snapshot_interval_bytes = 16 * 1024)
        .led_by(0);
    answer_a_while(&mut cluster);
    // What leaders said of commit after that lies in the log buffer alone.
    let taken = cluster.counter(1, Counter::SnapshotPosition);
    cluster.member(1).kill().lose_log_buffer().start();
    let agents = cluster.node(1).agents();
    assert!(agents.consensus.applier.position() >= taken);
    let mark = cluster.disk(1).durable_mark();
    let commit = mark.expect("it was written anew").commit;
    assert!(taken > 0 && commit >= taken, "{commit} and {taken}");
}

#[test]
fn where_nobody_else_has_the_answers_that_clients_are_owed_a_member_without_them_leads() {
    let mut cluster = cluster(1, Writing::Right);
    // Its answer keeps the log from its start on.
    let away = cluster.connect(|_| {});
    cluster.offer(away, b"for later");
    cluster.run(200 * MICROSECOND);
    cluster.pause_client(away);
    while cluster.counter(0, Counter::SnapshotPosition) < 2 * SEGMENT {
        cluster.answer(100);
    }
    cluster.run(SECOND);
    cluster
        .member(0)
        .kill()
        .lose_segment(0)
        .lose_segment(SEGMENT)
        .start();
    cluster.run(SECOND);
    cluster.expect_leader(0);
    let next = cluster.connect(|_| {});
    let number = 2 + cluster.answers(0).len() as u64;
    assert_eq!(cluster.ask(next, b"next"), number.to_le_bytes());
}
