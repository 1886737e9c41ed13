//! Members that wait ask as often as they have to, and an answer asks nothing.
#![cfg(feature = "sim")]

use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::SECOND;

/// Members 0 and 1 wait for five seconds, and each sends the other one datagram per heartbeat
/// interval at least, and three at most: measured are two, 200 in 100 intervals, its question and
/// its answer to the other's.
fn expect_calm(cluster: &mut SimCluster<Echo>) {
    cluster.run(SECOND);
    let members = cluster.setup.cluster.members.clone();
    let pairs = [(0, 1), (1, 0)]
        .map(|(from, to): (usize, usize)| (members[from].member, members[to].member));
    let before = pairs.map(|(from, to)| cluster.network.sent(from, to));
    cluster.run(5 * SECOND);
    let intervals = 5 * SECOND / cluster.setup.node.heartbeat_interval_ns;
    for ((from, to), before) in pairs.into_iter().zip(before) {
        let sent = cluster.network.sent(from, to) - before;
        let intervals = intervals as u64;
        assert!(
            (intervals..=3 * intervals).contains(&sent),
            "{from} sent {to} {sent} datagrams in {intervals} heartbeat intervals"
        );
    }
}

#[test]
fn two_members_that_wait_for_a_third_to_form_a_cluster_ask_once_per_heartbeat() {
    let mut cluster = Scenario::echo().all_down();
    cluster.members(&[0, 1]).start();
    expect_calm(&mut cluster);
    cluster.members(&[0, 1]).expect_standing(Standing::Forming);
}

#[test]
fn a_member_that_returns_and_a_learner_ask_once_per_heartbeat() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(5);
    cluster.everybody().kill();
    cluster.member(1).wipe();
    cluster.members(&[0, 1]).start();
    expect_calm(&mut cluster);
    cluster.member(0).expect_standing(Standing::Returning);
    cluster.member(1).expect_standing(Standing::Learner);
}

#[test]
fn members_of_two_clusters_refuse_each_other_once_per_heartbeat() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(5);
    let old = cluster.old_state(1);
    cluster.everybody().kill().wipe();
    // Another cluster of the same name, one of whose directories is of the first.
    cluster.lose_history();
    cluster.everybody().start();
    cluster.run(5 * SECOND);
    cluster.expect_some_leader();
    cluster.everybody().kill();
    // What it takes for committed is of the history that is lost.
    cluster.member(1).put_back(&old).overlook();
    cluster.members(&[0, 1]).start();
    expect_calm(&mut cluster);
    cluster
        .members(&[0, 1])
        .expect_standing(Standing::Returning);
}

/// A member that hears two new starts and is heard by neither: every message of the leader is of a
/// start that it does not know.
#[test]
fn a_member_asks_a_start_that_never_announced_itself_once_per_heartbeat() {
    let mut cluster = Scenario::echo().led_by(1);
    cluster.answer(5);
    cluster.member(0).isolate();
    cluster.members(&[1, 2]).kill().start();
    cluster.run(5 * SECOND);
    let leader = cluster.expect_some_leader();
    cluster.heal();
    cluster.cut_one_way(0, 1);
    cluster.cut_one_way(0, 2);
    cluster.answer(1);
    let members = cluster.setup.cluster.members.clone();
    let (from, to) = (members[0].member, members[leader].member);
    let before = cluster.network.sent(from, to);
    let began = cluster.now;
    for _ in 0..200 {
        cluster.answer(1);
    }
    let intervals = (cluster.now - began) / cluster.setup.node.heartbeat_interval_ns;
    let sent = cluster.network.sent(from, to) - before;
    // Measured are 81 in 40 intervals.
    let intervals = intervals as u64;
    assert!(
        (intervals..=3 * intervals + 3).contains(&sent),
        "{sent} datagrams in {intervals} heartbeat intervals"
    );
}
