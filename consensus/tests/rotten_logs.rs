//! Rot in the logs of real members, in virtual time: of a follower's, of the leader's, of the one
//! that holds what another lacks, and of the one that others are filled up from.
#![cfg(feature = "sim")]

use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

/// Kills the members once what is committed, far beyond `at`, is on all disks that it reaches.
/// Returns how much that is.
fn kill(cluster: &mut Cluster, down: &[usize], at: Position) -> Position {
    let committed = cluster.committed();
    cluster.run(100 * MILLISECOND);
    cluster.members(down).kill();
    assert!(at < committed / 2);
    committed
}

/// Everybody is up, and has everything that was committed and what comes now.
fn expect_whole(cluster: &mut Cluster, committed: Position) {
    cluster.answer(5);
    cluster.run(2 * SECOND);
    let mut everybody = cluster.everybody();
    everybody.expect_damaged(false).expect_kept(committed);
    cluster.expect_equal_logs();
}

#[test]
fn rot_in_a_followers_log_below_commit_is_told_and_repaired_and_costs_no_answer() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(50);
    let committed = kill(&mut cluster, &[1], 5_000);
    cluster.member(1).rot(5_000).start();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_told(NodeNotice::LogDamaged);
    cluster.member(1).expect_told(NodeNotice::LogRepaired);
    cluster.expect_leader(0);
    expect_whole(&mut cluster, committed);
}

#[test]
fn a_leader_whose_log_rots_while_it_is_down_leads_no_more_until_it_is_repaired() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(50);
    let committed = kill(&mut cluster, &[0], 5_000);
    cluster.member(0).rot(5_000).start().expect_damaged(true);
    for _ in 0..500 {
        cluster.run(10 * MILLISECOND);
        let is_damaged = cluster.node(0).agents().consensus.module.is_damaged();
        assert!(!is_damaged || cluster.leader() != Some(0));
    }
    cluster.member(0).expect_told(NodeNotice::LogRepaired);
    expect_whole(&mut cluster, committed);
}

#[test]
fn a_rotten_member_elects_nobody_who_lacks_what_it_acknowledged() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.member(2).isolate();
    cluster.answer(50);
    // What is committed lies on the first two, and one of them rots where all three have the log:
    // what it has left is less than what the third has.
    let committed = kill(&mut cluster, &[0, 1], 200);
    cluster.member(1).rot(200).start();
    assert!(cluster.durable(2) > 200);
    cluster.heal();
    cluster.run(5 * SECOND);
    cluster.expect_no_leader();
    cluster.member(1).expect_told(NodeNotice::LogDamaged);
    cluster.member(0).start();
    cluster.run(5 * SECOND);
    cluster.expect_leader(0);
    expect_whole(&mut cluster, committed);
}

/// Cuts the last member off until the memory of the log has gone beyond what it has.
fn with_one_left_behind() -> Cluster {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(5);
    cluster.member(2).isolate();
    for number in 0..120 {
        cluster.offer(0, &[number; 2_000]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    let lagging = cluster.durable(2);
    assert!(cluster.node(0).agents().consensus.log.memory_start() > lagging);
    cluster
}

#[test]
fn a_read_of_the_log_that_failed_once_is_told_and_tried_again() {
    let mut cluster = with_one_left_behind();
    let committed = cluster.committed();
    cluster.member(0).fail_reads(1);
    cluster.heal();
    cluster.run(500 * MILLISECOND);
    cluster.member(0).expect_told(NodeNotice::LogUnreadable);
    assert!(cluster.durable(2) < committed);
    cluster.run(3 * SECOND);
    // The follower is not left behind for ever.
    cluster.member(2).expect_kept(committed);
    cluster.expect_leader(0);
}

#[test]
fn a_leader_that_cannot_read_its_rotten_log_says_so_and_another_fills_the_follower_up() {
    let mut cluster = with_one_left_behind();
    let (committed, lagging) = (cluster.committed(), cluster.durable(2));
    cluster.member(0).rot(lagging + 1_000);
    cluster.heal();
    cluster.run(4 * SECOND);
    cluster.expect_leader(0);
    cluster.member(0).expect_told(NodeNotice::LogUnreadable);
    cluster.member(2).expect_told(NodeNotice::LogStuck);
    assert!(cluster.durable(2) < committed);
    // As the notice advises.
    cluster.member(0).restart();
    cluster.run(5 * SECOND);
    cluster.member(0).expect_told(NodeNotice::LogRepaired);
    expect_whole(&mut cluster, committed);
}
