//! A member whose log ends below what its leader still has gets a snapshot instead, and then the
//! log; what it lacks of it is delivered by others (`log.md` 8.7, 8.8).
#![cfg(feature = "sim")]

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::counting::Counting;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::position::Position;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};

fn scenario(members: u8) -> Scenario<Counting> {
    let service = |_| Counting {
        padding: 592,
        bulk: 200_000,
        ..Counting::default()
    };
    Scenario::of(service)
        .members(members)
        .node(|node| node.snapshot_interval_bytes = 128 * 1024)
}

/// Answers until the log of whoever is up has grown by so much, and all that is taken is
/// everywhere.
fn grow(cluster: &mut SimCluster<Counting>, bytes: Position) {
    let leader = cluster.expect_some_leader();
    let end = cluster.commit(leader) + bytes;
    while cluster.commit(leader) < end {
        cluster.answer(20);
    }
    cluster.run(4 * SECOND);
}

/// Those members let go of all of their logs that a snapshot stands for.
fn trim(cluster: &mut SimCluster<Counting>, ids: &[usize]) -> Position {
    let mut lowest = Position::MAX;
    cluster.everybody().overlook();
    for id in ids {
        let covered = cluster.counter(*id, Counter::SnapshotPosition);
        assert!(covered > 0, "member {id}");
        let agents = cluster.node_mut(*id).agents_mut();
        // It may have done so by itself.
        agents.archive.trim_below(covered, &agents.consensus.log);
    }
    cluster.run(100 * MILLISECOND);
    for id in ids {
        lowest = lowest.min(cluster.counter(*id, Counter::LogStart));
    }
    lowest
}

fn numbers(cluster: &SimCluster<Counting>, client: usize) -> Vec<u64> {
    let answers = cluster.answers(client);
    let number = |answer: &&[u8]| u64::from_le_bytes(*answer.first_chunk().expect("a number"));
    answers.iter().map(number).collect()
}

#[test]
fn a_member_whose_log_is_gone_at_its_leader_starts_again_from_a_snapshot_under_load() {
    let mut cluster = scenario(3).led_by(0);
    grow(&mut cluster, 150_000);
    cluster.member(2).kill();
    let end = cluster.committed();
    grow(&mut cluster, 700_000);
    let start = trim(&mut cluster, &[0, 1]);
    assert!(start > end);
    cluster.member(2).start();
    let mut slowest = 0;
    for _ in 0..60 {
        let before = cluster.now;
        cluster.answer(1);
        slowest = slowest.max(cluster.now - before);
        cluster.run(50 * MILLISECOND);
    }
    assert!(slowest <= 10 * MILLISECOND, "{slowest}");
    cluster.member(2).expect_up();
    assert!(cluster.counter(2, Counter::LogStart) >= start);
    assert_eq!(cluster.commit(2), cluster.commit(0));
    assert_eq!(
        cluster.counter(2, Counter::Applied),
        cluster.counter(0, Counter::Applied)
    );
    // Nobody is owed anything, so it may lead.
    cluster.run(2 * SECOND);
    let lines = cluster.take_lines(2, NodeNotice::AnswersMissing);
    assert!(lines.is_empty(), "{lines:?}");
    cluster.member(1).kill();
    cluster.answer(5);
    cluster.member(1).start();
    cluster.member(0).kill();
    cluster.answer(5);
    let count = numbers(&cluster, 0).len() as u64;
    assert_eq!(numbers(&cluster, 0), (1..=count).collect::<Vec<_>>());
}

#[test]
fn a_follower_that_is_up_and_cut_off_is_caught_up_as_well() {
    let mut cluster = scenario(3).led_by(0);
    grow(&mut cluster, 150_000);
    cluster.member(2).isolate();
    grow(&mut cluster, 700_000);
    let start = trim(&mut cluster, &[0, 1]);
    let _before = marks::take();
    cluster.heal();
    // It says so before it starts again.
    let said = |cluster: &SimCluster<Counting>| cluster.noted(2, NodeNotice::LogGoneAtLeader) > 0;
    cluster.run_until(5 * SECOND, said);
    let lines = cluster.take_lines(2, NodeNotice::LogGoneAtLeader);
    let words =
        format!("of the leader, member 0 at 10.0.0.1:2, starts at {start}: the snapshot at");
    assert!(lines.len() == 1 && lines[0].contains(&words), "{lines:?}");
    cluster.run(4 * SECOND);
    assert!(marks::take().contains(Mark::SnapshotReplacesLog));
    cluster.member(2).expect_up();
    assert!(cluster.counter(2, Counter::LogStart) >= start);
    cluster.answer(3);
    cluster.run(SECOND);
    assert_eq!(cluster.commit(2), cluster.commit(0));
}

#[test]
fn a_source_that_restarts_and_one_that_dies_only_cost_time() {
    let mut cluster = scenario(3)
        .node(|node| node.snapshot_rate_bytes = 64 * 1024)
        .led_by(0);
    cluster.member(2).kill();
    // The leader's copy takes long at such a rate.
    grow(&mut cluster, 400_000);
    cluster.run(20 * SECOND);
    let start = trim(&mut cluster, &[0, 1]);
    cluster.member(2).start();
    cluster.run(2 * SECOND);
    cluster.member(1).restart();
    cluster.run(3 * SECOND);
    cluster.member(0).restart();
    cluster.run(30 * SECOND);
    cluster.member(2).expect_up();
    assert!(cluster.counter(2, Counter::LogStart) >= start);
    cluster.answer(3);
}

#[test]
fn a_learner_on_a_blank_directory_gets_its_start_the_same_way() {
    let mut cluster = scenario(3).led_by(0);
    grow(&mut cluster, 700_000);
    let start = trim(&mut cluster, &[0, 1]);
    cluster.member(2).kill().wipe().start();
    cluster.run(5 * SECOND);
    cluster.member(2).expect_up();
    assert!(cluster.counter(2, Counter::LogStart) >= start);
    cluster.answer(3);
    cluster.run(SECOND);
    assert_eq!(cluster.commit(2), cluster.commit(0));
}

#[test]
fn who_lacks_answers_that_clients_are_owed_does_not_lead_and_another_one_delivers_them() {
    let mut cluster = scenario(3)
        .cluster(|cluster| cluster.session_timeout_ns = 600 * SECOND)
        .led_by(0);
    let client = cluster.connect(|_| {});
    grow(&mut cluster, 150_000);
    cluster.member(2).kill();
    grow(&mut cluster, 500_000);
    trim(&mut cluster, &[0, 1]);
    // This one asks, and takes nothing of what it is answered.
    for _ in 0..5 {
        cluster.offer(client, b"for later");
    }
    cluster.run(200 * MICROSECOND);
    cluster.pause_client(client);
    grow(&mut cluster, 300_000);
    cluster.member(2).start();
    cluster.run(5 * SECOND);
    cluster
        .member(2)
        .expect_told(NodeNotice::AnswersMissing)
        .expect_up();
    assert_eq!(cluster.commit(2), cluster.commit(0));
    // It alone hears that nobody leads, and does not so much as ask.
    cluster.member(0).kill();
    cluster.member(1).pause(2 * SECOND);
    let _before = marks::take();
    for _ in 0..150 {
        cluster.run(10 * MILLISECOND);
        assert_eq!(cluster.counter(2, Counter::Role), 0);
    }
    assert!(marks::take().contains(Mark::StandingLacksAnswers));
    cluster.run(4 * SECOND);
    cluster.expect_leader(1);
    cluster.wake_client(client);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.answers(client).len(), 5);
    // It took them, and says so: nothing keeps member 2 from leading any more.
    cluster.run(3 * SECOND);
    cluster.take_lines(2, NodeNotice::AnswersMissing);
    cluster.member(0).start();
    cluster.run(SECOND);
    cluster.member(1).kill();
    cluster.member(0).pause(SECOND);
    cluster.run(3 * SECOND);
    cluster.expect_some_leader();
    cluster.answer(3);
    let mut all = [numbers(&cluster, 0), numbers(&cluster, client)].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
}
