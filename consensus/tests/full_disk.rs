//! Members whose disks have no room: the log stands still, elections do not run wild, and space
//! that returns is used.
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_consensus::notice::NodeNotice;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::{MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

struct Echo;

impl ClusteredService for Echo {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        let _ = cluster.respond(session, message);
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

/// Three members, a client, and one follower whose disk is full for good: it stopped at the end
/// of a segment while the other two went on. Returns the leader and that follower.
fn with_a_full_follower() -> (SmallCluster<Echo>, usize, usize) {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo);
    cluster.start_all(0);
    cluster.run(3 * SECOND);
    let leader = cluster.leader().expect("somebody leads");
    let full = (leader + 1) % 3;
    let client = cluster.connect(|_| {});
    cluster.run(SECOND);
    cluster.disk(full).set_capacity(0);
    let payload = [7; 2_000];
    for _ in 0..400 {
        cluster.offer(client, &payload);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    assert!(cluster.node(full).parts().store.is_full());
    let durable = |id: usize| cluster.node(id).parts().store.durable();
    assert!(durable(full) < durable(leader), "the follower kept up");
    (cluster, leader, full)
}

#[test]
fn a_full_follower_names_its_own_disk_and_not_its_leader() {
    let (mut cluster, _, full) = with_a_full_follower();
    cluster.run(5 * SECOND);
    assert!(cluster.has_told(full, NodeNotice::LogFull));
    assert!(!cluster.has_told(full, NodeNotice::LogStuck));
}

#[test]
fn a_full_follower_and_a_dead_leader_do_not_make_term_after_term() {
    let (mut cluster, leader, full) = with_a_full_follower();
    cluster.kill(leader);
    cluster.run(3 * SECOND);
    let before = cluster.term();
    cluster.run(20 * SECOND);
    let terms = cluster.term() - before;
    assert!(terms <= 2, "{terms} terms in 20 s");
    // Space that returns is used within a second, and the cluster goes on.
    cluster.disk(full).set_capacity(64 << 20);
    cluster.run(5 * SECOND);
    let now_leads = cluster.leader().expect("somebody leads");
    let parts = cluster.node(now_leads).parts();
    assert!(parts.leadership.is_open(), "the cluster does not go on");
    let terms = cluster.term() - before;
    assert!(terms <= 3, "{terms} terms");
}
