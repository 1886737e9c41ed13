//! A service that panics or hangs on its thread, in a real node: the node names the entry, and
//! ends when it is told to.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "threads and the clock"
)]

use std::path::Path;
use std::thread::{park, yield_now};
use std::time::{Duration, Instant};

use lockstep_bench::scenario::addresses::reserve;
use lockstep_consensus::node::launch::{Node, launch};
use lockstep_consensus::node::launch_error::CloseError;
use lockstep_consensus::settings::config::{ClusterConfig, MemberEndpoints, NodeConfig};
use lockstep_consensus::settings::threading::Threading;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::agent::Agent;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::media::monotonic_now;

/// For what needs a leader, on a loaded host.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does not come through the first term.
struct Lost {
    hangs: bool,
}

impl ClusteredService for Lost {
    fn on_session_message(&mut self, _: &mut Cluster<'_>, _: ClientSession, _: &[u8]) {}

    fn on_new_leadership_term(&mut self, _term: LeadershipTermId, _log_time: i64) {
        assert!(self.hangs, "as it was told");
        loop {
            park();
        }
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

/// The one member of a cluster, with such a service.
fn node(directory: &Path, hangs: bool, members: &[MemberEndpoints]) -> Node {
    node_of(Threading::SPLIT, directory, hangs, members)
}

/// The same with these threads.
fn node_of(
    threading: Threading,
    directory: &Path,
    hangs: bool,
    members: &[MemberEndpoints],
) -> Node {
    let cluster = ClusterConfig {
        name: "lost".to_owned(),
        members: members.to_vec(),
        ..ClusterConfig::default()
    };
    let node = NodeConfig {
        directory: directory.join("data-0"),
        threading,
        ..NodeConfig::default()
    };
    launch(&cluster, &node, Box::new(Lost { hangs })).expect("it can be launched")
}

fn run_until(node: &mut Node, mut is_over: impl FnMut(&mut Node) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_over(node) {
        assert!(Instant::now() < until, "not within {PATIENCE:?}");
        if node.do_work(monotonic_now()) == 0 {
            yield_now();
        }
    }
}

#[test]
fn a_service_that_panics_on_its_thread_halts_its_node_which_names_the_entry() {
    for threading in ["split", "consensus, archive+clients+service"] {
        let place = tempfile::tempdir().expect("a directory can be made");
        let members = reserve(1).expect("loopback has free ports");
        let threading = threading.parse().expect("a threading");
        let mut node = node_of(threading, place.path(), false, &members);
        run_until(&mut node, |node| node.has_ended());
        let fault = node.fault().expect("it has halted").to_string();
        assert!(
            fault.contains("panicked at position 0: as it was told"),
            "{fault}"
        );
    }
}

#[test]
fn a_node_whose_service_hangs_names_the_entry_and_ends_all_the_same_when_told_to() {
    let place = tempfile::tempdir().expect("a directory can be made");
    let members = reserve(1).expect("loopback has free ports");
    let mut node = node(place.path(), true, &members);
    let mut said = String::new();
    run_until(&mut node, |node| {
        said = node.take_notice().unwrap_or_default();
        said.contains("the service has been at the entry at 0 for")
    });
    let begun = Instant::now();
    let closed = node.close().expect_err("the service has not returned");
    assert!(
        matches!(closed, CloseError::Service { position: 0 }),
        "{closed}"
    );
    drop(node);
    assert!(begun.elapsed() < PATIENCE);
    // The directory is free, and the log whole.
    drop(self::node(place.path(), true, &members));
}

#[test]
fn where_the_disk_waits_for_a_service_that_hangs_the_service_is_blamed_at_the_end() {
    let place = tempfile::tempdir().expect("a directory can be made");
    let members = reserve(1).expect("loopback has free ports");
    let threading = "consensus, archive+service, clients".parse();
    let threading = threading.expect("a threading");
    let mut node = node_of(threading, place.path(), true, &members);
    let mut said = String::new();
    run_until(&mut node, |node| {
        said.push_str(&node.take_notice().unwrap_or_default());
        said.contains("has been under way for")
            && said.contains("the service has been at the entry at 0 for")
    });
    let closed = node.close().expect_err("the disk is not free");
    assert!(
        matches!(closed, CloseError::ServiceHoldsDisk { position: 0 }),
        "{closed}"
    );
}
