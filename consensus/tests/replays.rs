//! What a member makes of its log when it starts, before it hears of a leader: what it knew to be
//! committed is applied again (`log.md` 4.4).
#![cfg(feature = "sim")]

use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::counter::Counter;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, SECOND};

type Cluster = SimCluster<Counter>;

/// Three members that have added up 1 to 20, and have written down that it is committed.
fn having_counted() -> Cluster {
    let mut cluster = Scenario::of(|_| Counter::new()).led_by(0);
    for amount in 1..=20_i64 {
        cluster.ask(0, &amount.to_le_bytes());
    }
    cluster.run(SECOND);
    cluster
}

fn sum(cluster: &Cluster, id: usize) -> i64 {
    let container = cluster.node(id).agents().service.container();
    container.expect("on its own thread").service().sum()
}

fn applied(cluster: &Cluster, id: usize) -> Position {
    cluster.node(id).agents().consensus.applier.position()
}

#[test]
fn a_member_that_is_started_alone_has_its_state_again_without_a_leader() {
    let mut cluster = having_counted();
    let committed = cluster.committed();
    cluster.everybody().kill();
    for id in 0..3 {
        cluster.member(id).start();
        cluster.run(100 * MILLISECOND);
        cluster.expect_no_leader();
        assert_eq!(cluster.commit(id), committed);
        assert_eq!(applied(&cluster, id), committed);
        assert_eq!(sum(&cluster, id), 210);
        cluster.member(id).kill();
    }
    cluster.everybody().start();
    cluster.run(3 * SECOND);
    cluster.ask(0, &1_i64.to_le_bytes());
    cluster.run(SECOND);
    cluster.expect_equal_logs();
}

#[test]
fn a_damaged_member_applies_nothing_before_a_leader_has_repaired_it() {
    let mut cluster = having_counted();
    let committed = cluster.committed();
    cluster.everybody().kill();
    cluster.member(1).rot(committed - 200).start();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_damaged(true);
    assert_eq!(cluster.commit(1), 0);
    cluster.members(&[0, 2]).start();
    cluster.run(3 * SECOND);
    cluster
        .member(1)
        .expect_damaged(false)
        .expect_commit(committed);
    assert_eq!(sum(&cluster, 1), 210);
}

#[test]
fn a_member_that_may_have_lost_its_unsynced_log_no_longer_says_what_was_committed_in_it() {
    let scenario = Scenario::of(|_| Counter::new()).sync(SyncMode::None);
    let mut cluster = scenario.led_by(0);
    for amount in 1..=200_i64 {
        cluster.ask(0, &amount.to_le_bytes());
    }
    cluster.run(2 * SECOND);
    cluster.everybody().kill();
    // All is in the page cache, and goes; whatever is lost later, what is gone is not known again.
    cluster.member(1).lose_power().start();
    let marked = |cluster: &Cluster| cluster.disk(1).durable_mark().expect("a mark").commit;
    let end = cluster.durable(1);
    assert!(marked(&cluster) <= end, "{} of {end}", marked(&cluster));
    cluster.member(1).kill().rot_file("node-state.dat").start();
    cluster.run(100 * MILLISECOND);
    assert!(marked(&cluster) <= end && cluster.commit(1) <= end);
}
