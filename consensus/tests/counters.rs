//! What a member counts for its operator.
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_consensus::counters::Counter;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::SECOND;
use small_cluster::{Setup, SmallCluster};

#[test]
fn a_member_counts_the_elections_it_stood_in() {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.start_all(0);
    cluster.run(SECOND);
    let first = cluster.leader().expect("somebody leads");
    let stood = |cluster: &SmallCluster<Echo>, id| cluster.counter(id, Counter::Elections);
    assert_eq!(stood(&cluster, first), 1);
    cluster.kill(first);
    cluster.run(4 * SECOND);
    let second = cluster.leader().expect("somebody leads");
    assert!(second != first && stood(&cluster, second) > 0);
}
