//! Statistics, order and determinism of injected faults, over a port that loses nothing.

use std::collections::VecDeque;

use super::*;
use crate::time::MILLISECOND;

/// Keeps what is sent, and delivers what the test puts in.
struct Wire {
    local: SocketAddr,
    incoming: VecDeque<(SocketAddr, u64)>,
    outgoing: Vec<(SocketAddr, u64)>,
    is_full: bool,
}

impl DatagramPort for Wire {
    fn local_address(&self) -> SocketAddr {
        self.local
    }

    fn receive(&mut self, _now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        let (source, number) = self.incoming.pop_front()?;
        buffer[..8].copy_from_slice(&number.to_le_bytes());
        Some(Received { source, length: 8 })
    }

    fn send(&mut self, _now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        if self.is_full {
            return SendOutcome::BackPressured;
        }
        let number = u64::from_le_bytes(datagram.try_into().unwrap());
        self.outgoing.push((to, number));
        SendOutcome::Sent
    }
}

fn peer(number: u16) -> SocketAddr {
    ([127, 0, 0, 1], number).into()
}

fn faulty(seed: u64) -> FaultyPort<Wire> {
    let wire = Wire {
        local: peer(1),
        incoming: VecDeque::new(),
        outgoing: Vec::new(),
        is_full: false,
    };
    FaultyPort::new(wire, seed)
}

/// Sends `count` numbers to peer 2, one a microsecond, then waits out every delay.
fn sent(port: &mut FaultyPort<Wire>, count: u64) -> Vec<u64> {
    for number in 0..count {
        let now = number as Nanos * 1_000;
        port.flush(now);
        assert_eq!(
            port.send(now, peer(2), &number.to_le_bytes()),
            SendOutcome::Sent
        );
    }
    port.flush(Nanos::MAX);
    let outgoing = core::mem::take(&mut port.port.outgoing);
    outgoing.into_iter().map(|(_, number)| number).collect()
}

fn received(port: &mut FaultyPort<Wire>, now: Nanos) -> Vec<u64> {
    let mut buffer = [0; 8];
    core::iter::from_fn(|| {
        port.receive(now, &mut buffer)
            .map(|_| u64::from_le_bytes(buffer))
    })
    .collect()
}

fn set(port: &mut FaultyPort<Wire>, direction: Direction, faults: Faults) {
    assert!(port.set_faults(None, direction, faults));
}

#[test]
fn loss_and_duplicates_meet_their_share() {
    let mut port = faulty(1);
    let faults = Faults {
        loss: 0.1,
        duplicate: 0.05,
        ..Faults::default()
    };
    set(&mut port, Direction::Send, faults);
    let numbers = sent(&mut port, 10_000);
    let counters = port.counters();
    assert!((900..1_100).contains(&counters.lost), "{counters:?}");
    assert!((380..520).contains(&counters.duplicated), "{counters:?}");
    let expected = 10_000 - counters.lost + counters.duplicated;
    assert_eq!(numbers.len() as u64, expected);
    assert!(numbers.is_sorted(), "neither changes the order");
    assert_eq!(counters.overflowed, 0);
}

#[test]
fn delay_and_jitter_hold_back_and_keep_the_order() {
    let mut port = faulty(1);
    let faults = Faults {
        delay_ns: 100_000,
        jitter_ns: 50_000,
        ..Faults::default()
    };
    set(&mut port, Direction::Receive, faults);
    for number in 0..INTAKE_MAX as u64 {
        port.port.incoming.push_back((peer(2), number));
    }
    assert_eq!(received(&mut port, 0), [0; 0]);
    assert_eq!(received(&mut port, 99_999), [0; 0]);
    let due = port.next_deadline().unwrap();
    assert!((100_000..150_000).contains(&due));
    assert_eq!(
        received(&mut port, 150_000),
        (0..INTAKE_MAX as u64).collect::<Vec<u64>>()
    );
    assert_eq!(port.next_deadline(), None);
}

#[test]
fn reordering_lets_others_overtake_and_loses_nothing() {
    let mut port = faulty(3);
    let faults = Faults {
        reorder: 0.05,
        ..Faults::default()
    };
    set(&mut port, Direction::Send, faults);
    let mut numbers = sent(&mut port, 10_000);
    assert!(!numbers.is_sorted());
    assert!((400..600).contains(&port.counters().reordered));
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10_000).collect::<Vec<u64>>());
}

#[test]
fn a_partition_is_one_way_and_of_one_peer() {
    let mut port = faulty(1);
    let faults = Faults {
        partitioned: true,
        ..Faults::default()
    };
    assert!(port.set_faults(Some(peer(2)), Direction::Send, faults));
    assert_eq!(sent(&mut port, 10), [0; 0]);
    port.send(0, peer(3), &7_u64.to_le_bytes());
    assert_eq!(port.inner().outgoing, [(peer(3), 7)]);
    port.port.incoming.push_back((peer(2), 5));
    assert_eq!(received(&mut port, 0), [5]);
    assert_eq!(port.counters().partitioned, 10);
    port.heal();
    assert_eq!(sent(&mut port, 3), [7, 0, 1, 2]);
}

#[test]
fn a_peers_own_faults_replace_those_of_all() {
    let mut port = faulty(1);
    let partitioned = Faults {
        partitioned: true,
        ..Faults::default()
    };
    set(&mut port, Direction::Send, partitioned);
    assert!(port.set_faults(Some(peer(2)), Direction::Send, Faults::default()));
    assert_eq!(sent(&mut port, 3), [0, 1, 2]);
    port.send(0, peer(3), &9_u64.to_le_bytes());
    assert!(port.inner().outgoing.is_empty());
}

#[test]
fn the_same_seed_injects_the_same_faults() {
    let faults = Faults {
        loss: 0.05,
        duplicate: 0.05,
        reorder: 0.05,
        delay_ns: 10_000,
        jitter_ns: 10_000,
        partitioned: false,
    };
    let run = |seed| {
        let mut port = faulty(seed);
        set(&mut port, Direction::Send, faults);
        (sent(&mut port, 1_000), port.counters())
    };
    assert_eq!(run(42), run(42));
    assert_ne!(run(42).0, run(43).0);
}

#[test]
fn a_full_pool_drops_and_counts() {
    let mut port = faulty(1);
    let faults = Faults {
        delay_ns: MILLISECOND,
        ..Faults::default()
    };
    set(&mut port, Direction::Send, faults);
    for number in 0..DELAYED_MAX as u64 + 10 {
        port.send(0, peer(2), &number.to_le_bytes());
    }
    assert_eq!(port.counters().overflowed, 10);
    port.flush(MILLISECOND);
    assert_eq!(port.inner().outgoing.len(), DELAYED_MAX);
}

#[test]
fn what_is_delayed_survives_healing_and_back_pressure() {
    let mut port = faulty(1);
    let faults = Faults {
        delay_ns: 1_000,
        ..Faults::default()
    };
    set(&mut port, Direction::Send, faults);
    port.send(0, peer(2), &1_u64.to_le_bytes());
    port.heal();
    port.port.is_full = true;
    port.flush(1_000);
    assert!(port.inner().outgoing.is_empty());
    assert_eq!(port.next_deadline(), Some(1_000));
    port.port.is_full = false;
    assert_eq!(received(&mut port, 2_000), [0; 0]);
    assert_eq!(port.inner().outgoing, [(peer(2), 1)]);
    assert_eq!(port.next_deadline(), None);
}

#[test]
fn the_table_of_links_is_bounded_but_all_links_can_always_be_set() {
    let mut port = faulty(1);
    let mut set = |peer| port.set_faults(peer, Direction::Receive, Faults::default());
    assert!((0..LINKS_MAX as u16).all(|number| set(Some(peer(number)))));
    assert!(!set(Some(peer(LINKS_MAX as u16))));
    assert!(set(None));
    assert!(set(Some(peer(0))));
}
