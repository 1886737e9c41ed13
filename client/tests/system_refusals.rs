//! What the operating system refuses a client is told with its error number, and the client
//! goes on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::identity::ClientIdentity;
use lockstep_client::notice::ClientNotice;
use lockstep_transport::port_trouble::{PortTroubles, TroubleKind};
use lockstep_transport::sim::TroubledPort;
use lockstep_transport::time::{MILLISECOND, SECOND};

use support::fake_cluster::{FakeCluster, member_address};
use support::network::{Network, NetworkPort};

/// Set for the processes in which a test of this file runs with little memory.
const IS_CONFINED: &str = "LOCKSTEP_TEST_IS_CONFINED";

fn config() -> ClientConfig {
    ClientConfig {
        members: vec![member_address(0)],
        ..ClientConfig::default()
    }
}

fn address() -> SocketAddr {
    ([127, 0, 0, 1], 100).into()
}

#[test]
fn what_a_port_could_not_do_is_told_with_its_kind_number_and_peer() {
    let troubles = Rc::new(RefCell::new(PortTroubles::default()));
    let port = TroubledPort::new(Network::new(1).port(address()), Rc::clone(&troubles));
    let mut client = ClusterClient::new(config(), port, ClientIdentity::of_seed(1)).unwrap();
    let cases = [
        (TroubleKind::SendRefused, ClientNotice::SendRefused),
        (TroubleKind::ReceiveFailed, ClientNotice::PortTrouble),
        (TroubleKind::TooLong, ClientNotice::PortTrouble),
        (TroubleKind::UnknownSource, ClientNotice::PortTrouble),
        (TroubleKind::RingFailed, ClientNotice::PortTrouble),
        (TroubleKind::NotTaken, ClientNotice::PortTrouble),
    ];
    for (errno, (trouble, expected)) in (101..).zip(cases) {
        let peer = Some(member_address(0)).filter(|_| trouble == TroubleKind::SendRefused);
        troubles.borrow_mut().note(trouble, errno, peer);
        let before = client.notices().count(expected);
        client.do_work(MILLISECOND);
        assert_eq!(client.notices().count(expected), before + 1, "{trouble:?}");
        let told = client.take_notice().unwrap();
        let detail = told.detail;
        assert_eq!((told.kind, detail.source), (expected, peer));
        assert_eq!(detail.subject, trouble as u8);
        assert_eq!(detail.values[0], i64::from(errno));
    }
}

/// A client whose streams take three times 512 MiB, after ten seconds.
fn client_of_long_streams() -> ClusterClient<NetworkPort> {
    let network = Network::new(1);
    let mut cluster = FakeCluster::new(&network, 1, 0);
    let config = ClientConfig {
        term_length: 512 << 20,
        in_flight_bytes_max: 64 << 20,
        ..config()
    };
    let port = network.port(address());
    let mut client = ClusterClient::new(config, port, ClientIdentity::of_seed(1)).unwrap();
    for now in (1..=10 * SECOND).step_by(MILLISECOND as usize) {
        cluster.do_work(now);
        client.do_work(now);
    }
    client
}

/// Runs the test of that name in a process of its own that has little memory: such a limit is
/// the whole process's.
fn run_confined(name: &str) {
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 1000000 && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(IS_CONFINED, "yes")
        .output()
        .unwrap();
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("1 passed"), "{words}");
}

#[test]
fn a_stream_that_finds_no_memory_is_told_and_tried_again() {
    if std::env::var_os(IS_CONFINED).is_none() {
        return run_confined("a_stream_that_finds_no_memory_is_told_and_tried_again");
    }
    let mut client = client_of_long_streams();
    assert!(!client.is_connected());
    assert!(client.notices().count(ClientNotice::IngressRefused) > 1);
    let mut told = std::iter::from_fn(|| client.take_notice());
    let told = told.find(|notice| notice.kind == ClientNotice::IngressRefused);
    let detail = told.unwrap().detail;
    // ENOMEM.
    assert_eq!(detail.values[0], 12);
    assert_eq!(detail.source, Some(member_address(0)));
}
