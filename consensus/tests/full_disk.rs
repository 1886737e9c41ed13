//! Members whose disks have no room: the log stands still, elections do not run wild, and space
//! that returns is used.
#![cfg(feature = "sim")]

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};

/// Three members of which the first leads, a client, and a second one whose disk is full for good:
/// it stopped at the end of a segment while the other two went on.
fn with_a_full_follower() -> SimCluster<Echo> {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.run(4 * SECOND);
    cluster.member(1).fill_disk();
    for _ in 0..400 {
        cluster.offer(0, &[7; 2_000]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    cluster.expect_leader(0);
    assert!(cluster.node(1).agents().archive.is_full());
    assert!(cluster.durable(1) < cluster.durable(0), "it kept up");
    cluster
}

#[test]
fn a_full_follower_names_its_own_disk_and_not_its_leader() {
    let mut cluster = with_a_full_follower();
    cluster.run(5 * SECOND);
    cluster.member(1).expect_told(NodeNotice::LogFull);
    cluster.member(1).expect_not_told(NodeNotice::LogStuck);
}

#[test]
fn a_full_follower_and_a_dead_leader_do_not_make_term_after_term() {
    let mut cluster = with_a_full_follower();
    cluster.member(0).kill();
    cluster.run(3 * SECOND);
    let before = cluster.term().get();
    cluster.run(20 * SECOND);
    let terms = cluster.term().get() - before;
    assert!(terms <= 2, "{terms} terms in 20 s");
    // Space that returns is used within a second, and the cluster goes on.
    cluster.member(1).free_disk(64 << 20);
    cluster.run(5 * SECOND);
    cluster.expect_some_leader();
    let terms = cluster.term().get() - before;
    assert!(terms <= 3, "{terms} terms");
}

/// The one member of a cluster whose log is full to below the reserve, for want of budget.
fn full_to_below_the_reserve() -> SimCluster<Echo> {
    let mut cluster = Scenario::echo()
        .members(1)
        .cluster(|cluster| {
            cluster.effects_per_cause = 1;
            cluster.effect_bytes_per_cause = 1024;
            cluster.message_max = 1024;
        })
        .node(|node| {
            node.disk_budget_bytes = 512 * 1024;
            node.snapshot_interval_bytes = 0;
        })
        .led_by(0);
    // Of the disk there is more, for what is not of the log.
    cluster.member(0).free_disk(4 << 20);
    for _ in 0..600 {
        cluster.offer(0, &[7; 900]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.member(0).expect_told(NodeNotice::LogFull);
    // Each start has a first entry, which goes into the reserve.
    for _ in 0..100 {
        if cluster.node(0).agents().archive.is_full() {
            return cluster;
        }
        cluster.member(0).restart();
        cluster.run(2 * SECOND);
    }
    panic!("it is not full");
}

#[test]
fn a_full_log_takes_what_asks_for_the_snapshot_that_is_to_free_it() {
    let mut cluster = full_to_below_the_reserve();
    let now = cluster.now;
    let asked = cluster.node_mut(0).ask_for_snapshot(now);
    let asked = asked.expect("the reserve is for it");
    cluster.run(SECOND);
    assert_eq!(cluster.counter(0, Counter::SnapshotPosition), asked);
}
