//! The socket by which a real node can be asked for something.
#![allow(clippy::disallowed_methods, reason = "threads")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use lockstep_archive::storage::in_use;
use lockstep_bench::scenario::addresses::reserve;
use lockstep_consensus::node::control::{CONTROL_SOCKET, ControlRequest, ask};
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::node::launch::{Node, NodeService, launch};
use lockstep_consensus::settings::config::{ClusterConfig, NodeConfig};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::agent::Agent;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::{Nanos, SECOND};

fn node(directory: &Path, service: NodeService) -> Node {
    let cluster = ClusterConfig {
        name: "asked".to_owned(),
        members: reserve(1).expect("loopback has free ports"),
        ..ClusterConfig::default()
    };
    let node = NodeConfig {
        directory: directory.to_owned(),
        ..NodeConfig::default()
    };
    launch(&cluster, &node, service).expect("it can be launched")
}

/// Looks, when it goes, at the directory of its node.
struct Witness {
    directory: PathBuf,
    seen: Sender<(bool, bool)>,
}

impl ClusteredService for Witness {
    fn on_session_message(&mut self, _: &mut Cluster<'_>, _: ClientSession, _: &[u8]) {}

    fn state_hash(&self) -> u64 {
        0
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let is_locked = in_use(&self.directory).is_some();
        let has_socket = self.directory.join(CONTROL_SOCKET).exists();
        self.seen
            .send((is_locked, has_socket))
            .expect("it is heard");
    }
}

#[test]
fn a_node_that_ends_removes_its_socket_before_another_may_have_one_there() {
    let place = tempfile::tempdir().expect("a directory can be made");
    let (seen, sight) = channel();
    let directory = place.path().join("data-0");
    let witness = Witness {
        directory: directory.clone(),
        seen,
    };
    let node = node(&directory, Box::new(witness));
    assert!(directory.join(CONTROL_SOCKET).exists());
    drop(node);
    let (is_locked, has_socket) = sight.recv().expect("the service has gone");
    assert!(
        !is_locked,
        "the test sees nothing: the service goes too early"
    );
    assert!(!has_socket, "another process may have made it");
}

/// Longer than anything here takes.
const PATIENCE_NS: Nanos = 120 * SECOND;

/// Drives `node` until `is_so`.
fn drive_until(node: &mut Node, what: &str, mut is_so: impl FnMut(&Node) -> bool) {
    let until = monotonic_now() + PATIENCE_NS;
    while !is_so(node) {
        assert!(monotonic_now() < until, "waited in vain for {what}");
        node.do_work(monotonic_now());
    }
}

#[test]
fn a_node_that_is_asked_for_a_snapshot_writes_one() {
    let place = tempfile::tempdir().expect("a directory can be made");
    let directory = place.path().join("data-0");
    let mut node = node(&directory, Box::new(Echo::new()));
    // Before, it refuses.
    drive_until(&mut node, "a leader", |node| {
        node.counter(Counter::IngressOpen) == 1
    });
    let asked = directory.clone();
    let asking = thread::spawn(move || ask(&asked, ControlRequest::Snapshot));
    drive_until(&mut node, "an answer", |_| asking.is_finished());
    let words = asking.join().expect("it asks");
    let words = words.expect("it answers").expect("it does not refuse");
    let position = words.rsplit(' ').next().expect("where it is");
    let file = directory.join(format!("1-{position}.rec"));
    drive_until(&mut node, &file.display().to_string(), |_| file.exists());
}
