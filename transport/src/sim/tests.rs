//! What the simulated network promises: fates from a seed, one-way faults, clean crashes.

use core::net::SocketAddr;

use super::network::PORT_QUEUE_MAX;
use super::*;
use crate::datagram_port::{DatagramPort, SendOutcome};
use crate::time::{MICROSECOND, MILLISECOND, Nanos};

fn address(number: u16) -> SocketAddr {
    ([127, 0, 0, 1], number).into()
}

fn quiet() -> SimNetwork {
    SimNetwork::new(1, LinkProfile::default())
}

fn drain(port: &mut SimPort, now: Nanos) -> Vec<u8> {
    let mut buffer = [0; 16];
    core::iter::from_fn(|| port.receive(now, &mut buffer).map(|_| buffer[0])).collect()
}

fn rough() -> LinkProfile {
    LinkProfile {
        jitter_ns: 50 * MICROSECOND,
        loss: 0.1,
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.1,
        ..LinkProfile::default()
    }
}

/// Sends 1,000 datagrams over a rough link and returns what became of them.
fn rough_run(seed: u64) -> (u64, NetworkCounters, Vec<u8>) {
    let network = SimNetwork::new(seed, rough());
    let mut near = network.port(address(1));
    let mut far = network.port(address(2));
    let mut seen = Vec::new();
    for number in 0..1_000_i64 {
        let now = number * 10 * MICROSECOND;
        near.send(now, address(2), &[number as u8; 4]);
        seen.extend(drain(&mut far, now));
    }
    while let Some(now) = network.next_delivery() {
        seen.extend(drain(&mut far, now));
    }
    (network.event_hash(), network.counters(), seen)
}

#[test]
fn the_same_seed_gives_the_same_run_byte_for_byte() {
    assert_eq!(rough_run(7), rough_run(7));
    assert_ne!(rough_run(7).0, rough_run(8).0);
}

#[test]
fn faults_meet_their_share_and_the_counts_add_up() {
    let (_, counters, seen) = rough_run(7);
    assert!((70..130).contains(&counters.lost), "{counters:?}");
    assert!((60..130).contains(&counters.duplicated), "{counters:?}");
    assert!((60..140).contains(&counters.corrupted), "{counters:?}");
    let arrived = counters.sent - counters.lost + counters.duplicated;
    assert_eq!(counters.delivered, arrived);
    assert_eq!(seen.len() as u64, arrived);
}

#[test]
fn a_datagram_arrives_when_its_delay_is_over() {
    let network = quiet();
    let mut near = network.port(address(1));
    let mut far = network.port(address(2));
    near.send(0, address(2), &[1]);
    assert_eq!(network.next_delivery(), Some(20 * MICROSECOND));
    assert_eq!(drain(&mut far, 20 * MICROSECOND - 1), [0; 0]);
    assert_eq!(drain(&mut far, 20 * MICROSECOND), [1]);
    assert_eq!(network.next_delivery(), None);
}

#[test]
fn a_partition_is_one_way_until_it_heals() {
    let network = quiet();
    let mut near = network.port(address(1));
    let mut far = network.port(address(2));
    network.partition(address(1), address(2));
    near.send(0, address(2), &[1]);
    far.send(0, address(1), &[2]);
    assert_eq!(drain(&mut far, MILLISECOND), [0; 0]);
    assert_eq!(drain(&mut near, MILLISECOND), [2]);
    network.heal();
    near.send(MILLISECOND, address(2), &[3]);
    assert_eq!(drain(&mut far, 2 * MILLISECOND), [3]);
    assert_eq!(network.counters().partitioned, 1);
}

#[test]
fn a_clogged_link_delivers_late_and_loses_nothing() {
    let network = quiet();
    let mut near = network.port(address(1));
    let mut far = network.port(address(2));
    network.clog(address(1), address(2), MILLISECOND);
    for number in 0..5 {
        near.send(0, address(2), &[number]);
    }
    assert_eq!(drain(&mut far, MILLISECOND), [0; 0]);
    let late = MILLISECOND + 20 * MICROSECOND;
    assert_eq!(drain(&mut far, late), [0, 1, 2, 3, 4]);
}

#[test]
fn a_crashed_port_loses_its_queue_and_a_new_one_starts_fresh() {
    let network = quiet();
    let mut near = network.port(address(1));
    let mut far = network.port(address(2));
    near.send(0, address(2), &[1]);
    network.advance(MILLISECOND);
    assert_eq!(far.next_deadline(), Some(20 * MICROSECOND));
    network.close(address(2));
    near.send(MILLISECOND, address(2), &[2]);
    network.advance(2 * MILLISECOND);
    let mut again = network.port(address(2));
    assert_eq!(drain(&mut again, 2 * MILLISECOND), [0; 0]);
    near.send(2 * MILLISECOND, address(2), &[3]);
    assert_eq!(drain(&mut far, 3 * MILLISECOND), [0; 0]);
    assert_eq!(far.send(0, address(1), &[4]), SendOutcome::Refused);
    assert_eq!(drain(&mut again, 3 * MILLISECOND), [3]);
    assert_eq!(network.counters().unreachable, 1);
}

#[test]
fn a_link_of_its_own_profile_leaves_the_others_alone() {
    let network = quiet();
    let mut near = network.port(address(1));
    let mut far = network.port(address(2));
    let slow = LinkProfile {
        delay_ns: MILLISECOND,
        ..LinkProfile::default()
    };
    network.set_link(address(1), address(2), Some(slow));
    near.send(0, address(2), &[1]);
    far.send(0, address(1), &[2]);
    assert_eq!(drain(&mut near, 20 * MICROSECOND), [2]);
    assert_eq!(drain(&mut far, MILLISECOND - 1), [0; 0]);
    assert_eq!(drain(&mut far, MILLISECOND), [1]);
}

#[test]
fn a_queue_that_nobody_drains_is_bounded() {
    let network = quiet();
    let mut near = network.port(address(1));
    let mut far = network.port(address(2));
    for _ in 0..PORT_QUEUE_MAX + 10 {
        near.send(0, address(2), &[1]);
    }
    assert_eq!(drain(&mut far, MILLISECOND).len(), PORT_QUEUE_MAX);
    assert_eq!(network.counters().overflowed, 10);
}
