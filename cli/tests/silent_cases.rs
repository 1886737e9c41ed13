//! What used to be refused, dropped or waited for in silence gives its line within five seconds,
//! on the side that can mend it. Real processes; each test has a cluster of its own.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, sockets and the clock"
)]

mod lines;
mod place;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lockstep_bench::scenario::addresses::reserve;
use lockstep_consensus::node::counters::{Counter, Counters};
use lockstep_consensus::settings::config::MemberEndpoints;
use place::{LOCKSTEP, Running};
use tempfile::TempDir;

/// What the lines of a silent case may take.
const LINE_WITHIN: Duration = Duration::from_secs(5);

/// For what the test needs before the case begins; more than a loaded host takes.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The configuration of one member: small buffers, as it is written and as others change it.
fn config(name: &str, members: &[MemberEndpoints], member: usize) -> String {
    let list: Vec<String> = members
        .iter()
        .map(|m| {
            format!(
                "{{ ingress = \"{}\", member = \"{}\" }}",
                m.ingress, m.member
            )
        })
        .collect();
    let list = list.join(", ");
    format!(
        "[cluster]\nname = \"{name}\"\nterm_length = \"64k\"\nsegment_length = \"64k\"\n\
         message_max = \"4k\"\nmembers = [{list}]\n\n[node]\nmember = {member}\n\
         directory = \"data-{member}\"\nsync = \"data\"\ndisk_budget = \"64m\"\n"
    )
}

/// Starts a member in `place`; it says on its standard error what it misses.
fn speak(place: &Path, member: usize, config: &str) -> Running {
    let file = format!("node-{member}.toml");
    std::fs::write(place.join(&file), config).expect("the file can be written");
    let mut command = Command::new(LOCKSTEP);
    command.current_dir(place);
    Running::start(command.args(["node", "--config", &file]))
}

fn place() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

fn members(count: usize) -> Vec<MemberEndpoints> {
    reserve(count).expect("loopback has free ports")
}

/// Waits until one of three members in `place` leads, so that the cluster has formed.
fn await_leader(place: &Path) {
    let until = Instant::now() + READY_WITHIN;
    let is_open = |member: &usize| {
        let directory = place.join(format!("data-{member}"));
        let counters = Counters::open(&directory).expect("counters can be read");
        counters.is_some_and(|counters| counters.get(Counter::IngressOpen) == 1)
    };
    while !(0..3).any(|member| is_open(&member)) {
        assert!(Instant::now() < until, "no leader within {READY_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn text(address: SocketAddr) -> String {
    address.to_string()
}

#[test]
fn a_member_that_waits_for_others_names_those_it_has_not_heard() {
    let (place, members) = (place(), members(3));
    let mut node = speak(place.path(), 0, &config("alpha", &members, 0));
    let others = members[1..].iter().map(|m| text(m.member));
    let others: Vec<String> = others.collect();
    let line = node.lines.expect(
        LINE_WITHIN,
        &[
            "lockstep: node-0: no leader for",
            &format!("member 1 at {} has not been heard since start", others[0]),
            &format!("member 2 at {} has not been heard since start", others[1]),
            "a majority of the members must run",
        ],
    );
    assert!(!line.contains("member 0 at"), "{line}");
}

#[test]
fn a_leader_names_the_member_that_was_not_started_again() {
    let (place, members) = (place(), members(3));
    let start = |member| speak(place.path(), member, &config("alpha", &members, member));
    let formed = [start(0), start(1), start(2)];
    await_leader(place.path());
    drop(formed);
    let (mut first, mut second) = (start(0), start(1));
    let expected = format!(
        "member 2 at {} has not been heard since start",
        members[2].member
    );
    // Which of the two leads is theirs to decide; the leader has heard the other.
    let until = Instant::now() + READY_WITHIN;
    let leader = loop {
        assert!(
            Instant::now() < until,
            "{:?} {:?}",
            first.lines.heard(),
            second.lines.heard()
        );
        let says_so = |node: &mut Running| {
            let mut heard = node.lines.heard().iter();
            heard.any(|line| line.contains(&expected))
        };
        if says_so(&mut first) {
            break &mut first;
        }
        if says_so(&mut second) {
            break &mut second;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    leader.lines.expect(
        LINE_WITHIN,
        &[&expected, "; start it, or check the network"],
    );
}

#[test]
fn members_whose_configurations_differ_both_say_so() {
    let (place, members) = (place(), members(2));
    let other =
        config("alpha", &members, 1).replace("message_max = \"4k\"", "message_max = \"2k\"");
    let mut first = speak(place.path(), 0, &config("alpha", &members, 0));
    let mut second = speak(place.path(), 1, &other);
    for (node, own, peer) in [(&mut first, 0, 1), (&mut second, 1, 0)] {
        let start = format!(
            "lockstep: node-{own}: member {peer} at {} has other cluster-wide settings",
            members[peer].member
        );
        node.lines
            .expect(LINE_WITHIN, &[&start, "restart the one that was wrong"]);
        let address = members[peer].member;
        let why = format!("member {peer} at {address} has other cluster-wide settings");
        node.lines.expect(LINE_WITHIN, &["no leader for", &why]);
    }
}

#[test]
fn members_of_two_clusters_both_say_so() {
    let (place, members) = (place(), members(2));
    let mut first = speak(place.path(), 0, &config("alpha", &members, 0));
    let mut second = speak(place.path(), 1, &config("beta", &members, 1));
    for (node, own, peer) in [(&mut first, "alpha", 1), (&mut second, "beta", 0)] {
        let start = format!(
            "{}, configured here as member {peer}, belongs to another cluster",
            members[peer].member
        );
        let not = format!("not \"{own}\"");
        node.lines
            .expect(LINE_WITHIN, &[&start, &not, "make the cluster names"]);
    }
}

#[test]
fn a_member_at_another_address_than_configured_is_named() {
    let (place, members) = (place(), members(3));
    // Member 1 sends from where member 0 does not expect it.
    let moved = [members[0], members[2]];
    let mut first = speak(place.path(), 0, &config("alpha", &members[..2], 0));
    let _second = speak(place.path(), 1, &config("alpha", &moved, 1));
    let start = format!(
        "{} talks to the member address {} but is no member's address",
        members[2].member, members[0].member
    );
    first
        .lines
        .expect(LINE_WITHIN, &[&start, "name it in `members`"]);
}

#[test]
fn a_stranger_and_a_damaged_datagram_at_the_clients_address_are_named() {
    let (place, members) = (place(), members(1));
    let mut node = speak(place.path(), 0, &config("alpha", &members, 0));
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
    let sent = stranger.send_to(b"GET / HTTP/1.1", members[0].ingress);
    sent.expect("loopback takes a datagram");
    let source = text(stranger.local_addr().expect("it is bound"));
    let start = format!("lockstep: node-0: {source} sent a datagram that is no frame");
    node.lines.expect(LINE_WITHIN, &[&start]);
}

#[test]
fn a_member_that_cannot_be_reached_from_this_host_is_named_with_the_systems_error() {
    let (place, mut members) = (place(), members(2));
    members[1].member = "192.0.2.1:9001".parse().expect("an address");
    let text = config("alpha", &members, 0);
    let text = text.replace("[node]", "[node]\ninsecure = true");
    let mut node = speak(place.path(), 0, &text);
    let start = "cannot send to member 1 at 192.0.2.1:9001: ";
    node.lines
        .expect(LINE_WITHIN, &[start, "(os error ", "routes and firewall"]);
}
