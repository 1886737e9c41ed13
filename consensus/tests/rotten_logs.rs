//! Rot in the logs of real members, in virtual time: of a follower's, of the leader's, of the one
//! that holds what another lacks, and of the one that others are filled up from.
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_consensus::notice::NodeNotice;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

type Cluster = SmallCluster<Echo>;

/// Three members of which the first leads, and a client.
fn formed() -> Cluster {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.start_all(0);
    cluster.connect(|_| {});
    cluster
}

/// The log of a member up to `end`, from its first segment.
fn log(cluster: &Cluster, id: usize, end: i64) -> Vec<u8> {
    let bytes = cluster.disk(id).contents("0-0.rec").expect("a log");
    bytes[..end as usize].to_vec()
}

/// Everybody is up, and has everything that was committed and what comes now.
fn expect_whole(cluster: &mut Cluster, committed: &[u8]) {
    cluster.answer(5);
    cluster.run(2 * SECOND);
    for id in 0..3 {
        let parts = cluster.node(id).parts();
        assert!(!parts.module.is_damaged(), "member {id} is not repaired");
        let own = log(cluster, id, committed.len() as i64);
        assert!(own == committed, "member {id} differs");
        assert_eq!(cluster.durable(id), cluster.durable(0));
    }
}

/// Flips the bit at `at` in the log of the member `rotten` while those of `down` are down. Returns
/// what is committed, which goes far beyond.
fn rot(cluster: &mut Cluster, down: &[usize], rotten: usize, at: usize) -> Vec<u8> {
    let commit = cluster.node(0).parts().module.commit();
    let committed = log(cluster, 0, commit);
    cluster.run(100 * MILLISECOND);
    for id in down {
        cluster.kill(*id);
    }
    assert!(at < commit as usize / 2);
    assert!(cluster.disk(rotten).flip_bit("0-0.rec", at, 5));
    committed
}

#[test]
fn rot_in_a_followers_log_below_commit_is_told_and_repaired_and_costs_no_answer() {
    let mut cluster = formed();
    cluster.answer(50);
    let committed = rot(&mut cluster, &[1], 1, 5_000);
    cluster.start(1);
    cluster.run(2 * SECOND);
    assert!(cluster.has_told(1, NodeNotice::LogDamaged));
    assert!(cluster.has_told(1, NodeNotice::LogRepaired));
    assert_eq!(cluster.leader(), Some(0));
    expect_whole(&mut cluster, &committed);
}

#[test]
fn a_leader_whose_log_rots_while_it_is_down_leads_no_more_until_it_is_repaired() {
    let mut cluster = formed();
    cluster.answer(50);
    let committed = rot(&mut cluster, &[0], 0, 5_000);
    cluster.start(0);
    assert!(cluster.node(0).parts().module.is_damaged());
    for _ in 0..500 {
        cluster.run(10 * MILLISECOND);
        let is_damaged = cluster.node(0).parts().module.is_damaged();
        assert!(!is_damaged || cluster.leader() != Some(0));
    }
    assert!(cluster.has_told(0, NodeNotice::LogRepaired));
    expect_whole(&mut cluster, &committed);
}

#[test]
fn a_rotten_member_elects_nobody_who_lacks_what_it_acknowledged() {
    let mut cluster = formed();
    cluster.isolate(2);
    cluster.answer(50);
    // What is committed lies on the first two, and one of them rots where all three have the log:
    // what it has left is less than what the third has.
    let committed = rot(&mut cluster, &[0, 1], 1, 200);
    assert!(cluster.durable(2) > 200);
    cluster.network.heal();
    cluster.start(1);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), None, "the lagging member leads");
    assert!(cluster.has_told(1, NodeNotice::LogDamaged));
    cluster.start(0);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), Some(0));
    expect_whole(&mut cluster, &committed);
}

/// Cuts the last member off until the memory of the log has gone beyond what it has.
fn leave_behind(cluster: &mut Cluster) {
    cluster.answer(5);
    cluster.isolate(2);
    for number in 0..120 {
        cluster.offer(0, &[number; 2_000]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    let lagging = cluster.durable(2);
    assert!(cluster.node(0).parts().store.memory_start() > lagging);
}

#[test]
fn a_read_of_the_log_that_failed_once_is_told_and_tried_again() {
    let mut cluster = formed();
    leave_behind(&mut cluster);
    let commit = cluster.node(0).parts().module.commit();
    cluster.disk(0).fail_reads(1);
    cluster.network.heal();
    cluster.run(500 * MILLISECOND);
    assert!(cluster.has_told(0, NodeNotice::LogUnreadable));
    assert!(cluster.durable(2) < commit);
    cluster.run(3 * SECOND);
    assert!(
        cluster.durable(2) >= commit,
        "the follower is left behind for ever"
    );
    assert_eq!(cluster.leader(), Some(0));
}

#[test]
fn a_leader_that_cannot_read_its_rotten_log_says_so_and_another_fills_the_follower_up() {
    let mut cluster = formed();
    leave_behind(&mut cluster);
    let commit = cluster.node(0).parts().module.commit();
    let lagging = cluster.durable(2);
    let committed = log(&cluster, 0, 128 * 1024);
    let at = lagging as usize + 1_000;
    assert!(cluster.disk(0).flip_bit("0-0.rec", at, 3));
    cluster.network.heal();
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), Some(0));
    assert!(cluster.has_told(0, NodeNotice::LogUnreadable));
    assert!(cluster.durable(2) < commit);
    // As the notice advises.
    cluster.kill(0);
    cluster.start(0);
    cluster.run(5 * SECOND);
    assert!(cluster.has_told(0, NodeNotice::LogRepaired));
    expect_whole(&mut cluster, &committed);
}
