//! Members whose disks stall: a write that does not end is told, and a slow one is not.
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_consensus::notice::NodeNotice;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

/// A follower.
const STALLED: usize = 1;

/// Member 0 leads, and a client is connected.
fn serving() -> SmallCluster<Echo> {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.start_all(0);
    cluster.connect(|_| {});
    cluster.answer(1);
    cluster.run(SECOND);
    cluster
}

/// How often the member noted that its disk stalls.
fn noted(cluster: &SmallCluster<Echo>, id: usize) -> u64 {
    cluster
        .node(id)
        .parts()
        .notices
        .count(NodeNotice::DiskStalled)
}

#[test]
fn a_write_of_the_log_that_does_not_end_is_told_while_it_lasts() {
    let mut cluster = serving();
    cluster.disk(STALLED).stall_until(cluster.now + 10 * SECOND);
    // The others' disks are a majority's: there are answers.
    cluster.answer(1);
    cluster.run(9 * SECOND);
    // Twice a second from the second one on.
    let during = noted(&cluster, STALLED);
    assert!((14..=18).contains(&during), "{during}");
    let told = cluster.take_lines(STALLED, NodeNotice::DiskStalled);
    assert_eq!(told.len(), 1, "{told:?}");
    let words = "a write to 0-0.rec in data has been under way for 1";
    assert!(told[0].starts_with(words), "{told:?}");
    assert_eq!(noted(&cluster, 0) + noted(&cluster, 2), 0);
    // It ends, and so does what is said of it.
    cluster.run(2 * SECOND);
    let after = noted(&cluster, STALLED);
    assert!(after <= during + 4, "{after} after {during}");
    cluster.answer(1);
    cluster.run(3 * SECOND);
    assert_eq!(noted(&cluster, STALLED), after);
}

#[test]
fn a_write_of_the_mark_that_does_not_end_is_told() {
    let mut cluster = serving();
    cluster.offer(0, b"one more");
    cluster.run(5 * MILLISECOND);
    // The log's writes are done, and the mark's is due ten milliseconds after the last of them.
    cluster.disk(STALLED).stall_until(cluster.now + 3 * SECOND);
    cluster.run(2 * SECOND);
    let told = cluster.take_lines(STALLED, NodeNotice::DiskStalled);
    assert_eq!(told.len(), 1, "{told:?}");
    let words = "a write to ack-mark.dat in data has been under way for 1";
    assert!(told[0].starts_with(words), "{told:?}");
}

#[test]
fn a_disk_that_is_slow_for_less_than_a_second_is_not_told() {
    let mut cluster = serving();
    for _ in 0..5 {
        let stall = cluster.now + 900 * MILLISECOND;
        cluster.disk(STALLED).stall_until(stall);
        cluster.answer(3);
        cluster.run(1_200 * MILLISECOND);
    }
    assert_eq!(noted(&cluster, STALLED), 0);
}
