//! Snapshots go from member to member (`log.md` 8.7): who leads others takes none and has them all
//! the same, what members took is compared, and what comes is looked at before it is named.
#![cfg(feature = "sim")]

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::node::fault::NodeFault;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::counting::Counting;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::sim::LinkProfile;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};

/// Bytes of the state that never change.
const BULK: usize = 400 * 1024;

/// Of members, of which those in `odd` have another state than the others.
fn scenario(members: u8, odd: &'static [usize]) -> Scenario<Counting> {
    let service = move |id: usize| Counting {
        bulk: BULK,
        oddity: odd
            .iter()
            .position(|odd| *odd == id)
            .map_or(0, |at| 1 + at as u64 / 2),
        ..Counting::default()
    };
    Scenario::of(service)
        .members(members)
        .node(|node| node.snapshot_interval_bytes = 64 * 1024)
}

fn cluster() -> SimCluster<Counting> {
    scenario(3, &[]).led_by(0)
}

/// Answers until somebody has taken a snapshot, and one more than any before.
fn take_a_snapshot(cluster: &mut SimCluster<Counting>) {
    let taken = |cluster: &SimCluster<Counting>| {
        let ids = 0..cluster.setup.cluster.members.len();
        let up = ids.filter(|id| cluster.is_up(*id));
        up.map(|id| cluster.counter(id, Counter::SnapshotPosition))
            .max()
    };
    let before = taken(cluster);
    for _ in 0..1000 {
        if taken(cluster) > before {
            return;
        }
        cluster.answer(10);
        cluster.run(20 * MILLISECOND);
    }
    panic!("nobody takes a snapshot");
}

fn fetched(cluster: &SimCluster<Counting>, id: usize) -> i64 {
    cluster.counter(id, Counter::SnapshotsFetched)
}

fn position(cluster: &SimCluster<Counting>, id: usize) -> i64 {
    cluster.counter(id, Counter::SnapshotPosition)
}

/// The leader has the newest of the others, byte for byte.
fn expect_copied(cluster: &SimCluster<Counting>, from: usize, to: usize) {
    let taken = position(cluster, from);
    assert!(taken > 0);
    assert_eq!(position(cluster, to), taken);
    let content = |id, recording| {
        cluster
            .disk(id)
            .contents(&format!("{recording}-{taken}.rec"))
    };
    let copy = content(to, 2).expect("it was fetched");
    assert_eq!(content(from, 1).expect("it was taken"), copy);
}

#[test]
fn who_leads_fetches_what_the_others_took_and_starts_from_it() {
    let mut cluster = cluster();
    take_a_snapshot(&mut cluster);
    cluster.run(SECOND);
    expect_copied(&cluster, 1, 0);
    // Whoever takes one itself needs no copy.
    cluster.run(3 * SECOND);
    assert_eq!((fetched(&cluster, 1), fetched(&cluster, 2)), (0, 0));
    take_a_snapshot(&mut cluster);
    cluster.run(4 * SECOND);
    take_a_snapshot(&mut cluster);
    cluster.run(4 * SECOND);
    expect_copied(&cluster, 2, 0);
    assert_eq!(fetched(&cluster, 0), 3);
    // Two are kept, wherever they are from.
    let names = lockstep_archive::disk::ColdFiles::list(&mut cluster.disk(0)).expect("it is up");
    assert_eq!(
        names.iter().filter(|name| name.starts_with("2-")).count(),
        2
    );
    let taken = position(&cluster, 0);
    let answered = cluster.answers(0).len() as u64;
    cluster.everybody().kill();
    cluster.start_led_by(0);
    assert!(cluster.node(0).agents().consensus.applier.position() >= taken);
    cluster.answer(1);
    assert_eq!(
        cluster.answers(0)[answered as usize],
        (answered + 1).to_le_bytes()
    );
    cluster.expect_equal_logs();
}

#[test]
fn what_only_one_other_took_is_fetched_once_it_was_told_of_for_four_election_timeouts() {
    let mut cluster = cluster();
    cluster.member(2).kill();
    take_a_snapshot(&mut cluster);
    cluster.run(1500 * MILLISECOND);
    assert_eq!(fetched(&cluster, 0), 0);
    cluster.run(2 * SECOND);
    expect_copied(&cluster, 1, 0);
}

#[test]
fn a_member_that_missed_one_fetches_it_while_requests_are_answered() {
    let mut cluster = cluster();
    take_a_snapshot(&mut cluster);
    // Who led then follows by the time that it fetches.
    cluster.member(0).isolate();
    cluster.run(2 * SECOND);
    cluster.heal();
    let mut slowest = 0;
    for _ in 0..50 {
        let begun = cluster.now;
        cluster.answer(1);
        slowest = slowest.max(cluster.now - begun);
        cluster.run(100 * MILLISECOND);
    }
    assert!(cluster.leader().is_some_and(|leader| leader != 0));
    expect_copied(&cluster, 1, 0);
    assert!(slowest <= 10 * MILLISECOND, "{slowest} ns");
    cluster
        .everybody()
        .expect_not_told(NodeNotice::SnapshotNotFetched);
}

#[test]
fn links_that_lose_repeat_and_reorder_only_cost_time() {
    let mut cluster = cluster();
    take_a_snapshot(&mut cluster);
    cluster.network.set_profile(LinkProfile {
        delay_ns: 30 * MICROSECOND,
        jitter_ns: 100 * MICROSECOND,
        loss: 0.05,
        duplicate: 0.05,
        late_ns: 20 * MILLISECOND,
        reorder: 0.05,
        ..LinkProfile::default()
    });
    cluster.run(6 * SECOND);
    expect_copied(&cluster, 1, 0);
}

#[test]
fn no_more_is_fetched_in_a_second_than_the_rate_allows() {
    let mut cluster = scenario(3, &[])
        .node(|node| node.snapshot_rate_bytes = 100 * 1024)
        .led_by(0);
    take_a_snapshot(&mut cluster);
    cluster.run(3 * SECOND);
    assert_eq!(fetched(&cluster, 0), 0);
    cluster.run(2 * SECOND);
    expect_copied(&cluster, 1, 0);
}

#[test]
fn another_member_goes_on_where_one_dies_and_what_is_gone_is_not_waited_for() {
    let mut cluster = scenario(3, &[])
        .node(|node| node.snapshot_rate_bytes = 100 * 1024)
        .led_by(0);
    take_a_snapshot(&mut cluster);
    cluster.run(4 * SECOND);
    let _before = marks::take();
    cluster.member(1).kill();
    cluster.run(9 * SECOND);
    assert!(marks::take().contains(Mark::SnapshotSourceLeft));
    expect_copied(&cluster, 2, 0);
    cluster.member(1).start();
    // What is fetched is out of date, and goes, before all of it has come.
    for _ in 0..4 {
        take_a_snapshot(&mut cluster);
        cluster.run(SECOND);
    }
    cluster.run(10 * SECOND);
    assert!(marks::take().contains(Mark::SnapshotRefused));
    cluster.everybody().expect_up();
    cluster.answer(1);
}

#[test]
fn what_a_member_takes_itself_comes_before_what_it_fetches() {
    let mut cluster = scenario(3, &[])
        .node(|node| node.snapshot_rate_bytes = 64 * 1024)
        .led_by(0);
    take_a_snapshot(&mut cluster);
    cluster.run(3 * SECOND);
    cluster.member(0).isolate();
    cluster.run(2 * SECOND);
    cluster.heal();
    cluster.run(SECOND);
    let _before = marks::take();
    take_a_snapshot(&mut cluster);
    cluster.run(SECOND);
    assert!(marks::take().contains(Mark::SnapshotMakesWay));
    let newest = position(&cluster, 1).max(position(&cluster, 2));
    assert_eq!(position(&cluster, 0), newest);
    assert_eq!(cluster.counter(0, Counter::Snapshots), 1);
    assert_eq!(fetched(&cluster, 0), 0);
}

#[test]
fn rotten_bytes_are_not_named_and_come_from_another_member() {
    let mut cluster = cluster();
    take_a_snapshot(&mut cluster);
    let taken = position(&cluster, 1);
    let file = format!("1-{taken}.rec");
    assert!(cluster.disk(1).flip_bit(&file, 200_000, 3));
    cluster.run(4 * SECOND);
    let lines = cluster.take_lines(0, NodeNotice::SnapshotNotFetched);
    let words = "member 1 at 10.0.0.2:2 and is not what its name says";
    assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    assert_eq!(fetched(&cluster, 0), 0);
    cluster.run(10 * SECOND);
    expect_copied(&cluster, 2, 0);
}

#[test]
fn a_disk_that_is_full_stops_nothing_and_is_tried_again() {
    let mut cluster = cluster();
    take_a_snapshot(&mut cluster);
    cluster.member(0).fill_disk();
    cluster.run(5 * SECOND);
    assert_eq!(fetched(&cluster, 0), 0);
    cluster
        .member(0)
        .expect_up()
        .expect_told(NodeNotice::SnapshotNotFetched)
        .free_disk(32 << 20);
    cluster.run(12 * SECOND);
    expect_copied(&cluster, 1, 0);
    cluster.answer(1);
}

#[test]
fn a_source_that_cannot_read_its_own_says_so_and_another_one_is_asked() {
    let mut cluster = cluster();
    take_a_snapshot(&mut cluster);
    cluster.member(1).fail_reads(2);
    cluster.run(12 * SECOND);
    let lines = cluster.take_lines(1, NodeNotice::SnapshotUnreadable);
    assert_eq!(lines.len(), 1, "{lines:?}");
    cluster.member(1).expect_up();
    expect_copied(&cluster, 2, 0);
}

#[test]
fn one_that_the_budget_does_not_hold_is_not_fetched_and_both_figures_are_said() {
    let mut cluster = cluster();
    take_a_snapshot(&mut cluster);
    let taken = position(&cluster, 1);
    cluster.member(0).kill();
    cluster.setup.node.disk_budget_bytes = 512 * 1024;
    cluster.member(0).start();
    cluster.run(8 * SECOND);
    let lines = cluster.take_lines(0, NodeNotice::SnapshotNotFetched);
    let words = "and disk_budget is 524288";
    assert!(!lines.is_empty() && lines[0].contains(words), "{lines:?}");
    assert_eq!(
        (position(&cluster, 0), fetched(&cluster, 0)),
        (0, 0),
        "{taken}"
    );
    // Where it is raised as the line says, it comes.
    cluster.member(0).kill();
    cluster.setup.node.disk_budget_bytes = 4 << 20;
    cluster.member(0).start();
    cluster.run(12 * SECOND);
    assert_eq!(position(&cluster, 0), position(&cluster, 1));
}

#[test]
fn of_two_that_differ_neither_is_fetched_nor_stops_and_all_say_so() {
    let mut cluster = scenario(3, &[2]).led_by(0);
    take_a_snapshot(&mut cluster);
    cluster.run(5 * SECOND);
    assert_eq!(fetched(&cluster, 0), 0);
    for id in 0..3 {
        cluster.member(id).expect_up();
        let lines = cluster.take_lines(id, NodeNotice::SnapshotsDiffer);
        let words = "member 1 at 10.0.0.2:2, member 2 at 10.0.0.3:2";
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    }
    cluster.run(60 * SECOND);
    assert_eq!(cluster.take_lines(1, NodeNotice::SnapshotsDiffer).len(), 1);
    cluster.answer(1);
}

#[test]
fn who_differs_from_a_majority_stops_and_gives_up_what_it_took() {
    let mut cluster = scenario(5, &[3]).faulty_service().led_by(0);
    take_a_snapshot(&mut cluster);
    let taken = position(&cluster, 1);
    cluster.run(2 * SECOND);
    let found = cluster.fault(3);
    let is_named = matches!(
        found,
        Some(NodeFault::SnapshotDiverged { position, .. }) if *position == taken
    );
    assert!(is_named, "{found:?}");
    let words = "the first section that differs is service/messages";
    cluster.member(3).expect_stopped(words);
    for id in [0, 1, 2, 4] {
        cluster.member(id).expect_up();
    }
    cluster.run(3 * SECOND);
    expect_copied(&cluster, 1, 0);
    cluster.member(3).stop();
    let names = lockstep_archive::disk::ColdFiles::list(&mut cluster.disk(3)).expect("it is there");
    cluster.member(3).start();
    assert_eq!(position(&cluster, 3), 0, "{names:?}");
}

#[test]
fn messages_about_what_nobody_asked_for_change_nothing() {
    let mut cluster = cluster();
    take_a_snapshot(&mut cluster);
    // What is sent twice comes when somebody else is asked, or nobody is.
    cluster.network.set_profile(LinkProfile {
        delay_ns: 30 * MICROSECOND,
        duplicate: 0.5,
        late_ns: 500 * MILLISECOND,
        ..LinkProfile::default()
    });
    cluster.run(6 * SECOND);
    expect_copied(&cluster, 1, 0);
    assert!(cluster.noted(0, NodeNotice::SnapshotMessageUnexpected) > 0);
    let lines = cluster.take_lines(0, NodeNotice::SnapshotMessageUnexpected);
    assert!(lines.is_empty(), "{lines:?}");
}
