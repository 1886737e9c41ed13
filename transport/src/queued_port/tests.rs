//! Where a datagram goes and what is told of it, with the operating system in the test's hands.

#![allow(clippy::disallowed_methods, reason = "two threads are what is tried")]

use std::collections::VecDeque;

use super::*;

/// An operating system in a test's hands: what is sent comes back, as from whom it was sent to.
#[derive(Debug, Default)]
struct Echo {
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Datagrams that it still has room for.
    room: usize,
    refused: Option<SocketAddr>,
    troubles: PortTroubles,
    flushes: usize,
    system_calls: u64,
}

impl DatagramPort for Echo {
    fn local_address(&self) -> SocketAddr {
        peer(1)
    }

    fn receive(&mut self, _now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        self.system_calls += 1;
        let (source, datagram) = self.waiting.pop_front()?;
        let length = datagram.len();
        buffer[..length].copy_from_slice(&datagram);
        Some(Received { source, length })
    }

    fn send(&mut self, _now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        self.system_calls += 1;
        if self.refused == Some(to) {
            self.troubles.note(TroubleKind::SendRefused, 101, Some(to));
            return SendOutcome::Refused;
        }
        if self.room == 0 {
            return SendOutcome::BackPressured;
        }
        self.room -= 1;
        self.waiting.push_back((to, datagram.to_vec()));
        SendOutcome::Sent
    }

    fn flush(&mut self, _now: Nanos) {
        self.flushes += 1;
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        self.troubles.take()
    }
}

fn peer(number: u16) -> SocketAddr {
    ([10, 0, 0, 1], number).into()
}

fn halves(room: usize) -> (QueuedPort, PortRunner<Echo>) {
    let port = Echo {
        room,
        ..Echo::default()
    };
    counted_port(port, |port| PortCounters {
        system_calls: port.system_calls,
        ..PortCounters::default()
    })
}

/// Numbers of the datagrams that wait at `near`.
fn received(near: &mut QueuedPort) -> Vec<u8> {
    let mut buffer = [0; 64];
    let next = |_| near.receive(0, &mut buffer).map(|_| buffer[0]);
    core::iter::successors(Some(0), |_| Some(0))
        .map_while(next)
        .collect()
}

#[test]
fn what_is_sent_reaches_the_port_in_order_and_what_comes_reaches_the_near_half() {
    let (mut near, mut far) = halves(100);
    for number in 0..5 {
        assert_eq!(near.send(0, peer(2), &[number; 3]), SendOutcome::Sent);
    }
    assert_eq!(received(&mut near), []);
    assert_eq!(far.do_work(0), 10);
    assert_eq!(far.port().flushes, 1);
    assert_eq!(received(&mut near), [0, 1, 2, 3, 4]);
    assert_eq!(far.do_work(0), 0);
}

#[test]
fn what_the_port_has_no_room_for_is_the_next_that_it_is_given() {
    let (mut near, mut far) = halves(2);
    for number in 0..5 {
        near.send(0, peer(2), &[number]);
    }
    assert_eq!(far.do_work(7), 2 + 2);
    assert_eq!(far.next_deadline(), Some(7 + RETRY_NS));
    assert_eq!(far.do_work(8), 0);
    far.port.room = 10;
    assert_eq!(far.do_work(9), 3 + 3);
    assert_eq!(far.next_deadline(), None);
    assert_eq!(received(&mut near), [0, 1, 2, 3, 4]);
}

#[test]
fn a_cycle_moves_a_bounded_number_each_way() {
    let (mut near, mut far) = halves(usize::MAX);
    for _ in 0..DATAGRAMS_PER_CYCLE + 1 {
        near.send(0, peer(2), &[1]);
    }
    assert_eq!(far.do_work(0), 2 * DATAGRAMS_PER_CYCLE);
    assert_eq!(far.do_work(0), 2);
}

#[test]
fn a_full_queue_to_the_port_is_told_at_once_and_has_a_time_to_try_again() {
    let (mut near, mut far) = halves(usize::MAX);
    while near.send(5, peer(2), &[1]) == SendOutcome::Sent {}
    assert_eq!(near.counters().back_pressured, 1);
    assert_eq!(near.next_deadline(), Some(5 + RETRY_NS));
    near.receive(4 + RETRY_NS, &mut [0; 8]);
    assert_eq!(near.next_deadline(), Some(5 + RETRY_NS));
    near.receive(5 + RETRY_NS, &mut [0; 8]);
    assert_eq!(near.next_deadline(), None);
    far.do_work(5 + RETRY_NS);
    assert_eq!(near.send(6, peer(2), &[1]), SendOutcome::Sent);
    // The same for bytes.
    let longest = [0; DATAGRAM_LENGTH_MAX];
    while near.send(7, peer(2), &longest) == SendOutcome::Sent {}
    assert_eq!(near.counters().back_pressured, 2);
}

#[test]
fn what_the_near_half_does_not_take_stays_at_the_port_whole_and_in_order_and_is_told() {
    let (mut near, mut far) = halves(0);
    let longest = |number: usize| vec![number as u8; DATAGRAM_LENGTH_MAX];
    let waiting = (0..40).map(|number| (peer(2), longest(number)));
    far.port.waiting.extend(waiting);
    let room = BYTES_MAX / DATAGRAM_LENGTH_MAX;
    assert_eq!(far.do_work(3), room);
    assert_eq!(far.do_work(4), 0);
    assert_eq!(far.next_deadline(), Some(4 + RETRY_NS));
    assert_eq!(far.port.waiting.len(), 40 - room);
    let trouble = near.take_trouble().expect("it is told");
    assert_eq!((trouble.kind, trouble.count), (TroubleKind::NotTaken, 1));
    let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
    for number in 0..40 {
        let received = near.receive(5, &mut buffer).expect("it waits");
        assert_eq!((received.source, received.length), (peer(2), buffer.len()));
        assert_eq!(buffer, longest(number));
        far.do_work(5);
    }
    assert_eq!(near.receive(6, &mut buffer), None);
    assert_eq!(far.next_deadline(), None);
}

#[test]
fn what_either_half_refuses_is_told_at_the_near_one() {
    let (mut near, mut far) = halves(10);
    far.port.refused = Some(peer(3));
    for to in [peer(3), peer(3), peer(2)] {
        assert_eq!(near.send(0, to, &[7; 9]), SendOutcome::Sent);
    }
    let longer = [0; DATAGRAM_LENGTH_MAX + 1];
    assert_eq!(near.send(0, peer(4), &longer), SendOutcome::Refused);
    far.do_work(0);
    assert_eq!(near.receive(0, &mut [0; 8]), None);
    let told: Vec<_> = core::iter::from_fn(|| near.take_trouble())
        .map(|trouble| (trouble.kind, trouble.errno, trouble.peer, trouble.count))
        .collect();
    let (refused, too_long) = (TroubleKind::SendRefused, TroubleKind::TooLong);
    let expected = [
        (refused, libc::EMSGSIZE, Some(peer(4)), 1),
        (too_long, 0, None, 1),
        (refused, 101, Some(peer(3)), 2),
    ];
    assert_eq!(told, expected);
    let counters = near.counters();
    assert_eq!((counters.refused, counters.too_long), (1, 1));
    assert_eq!(counters.system_calls(), far.port().system_calls);
}

#[test]
fn troubles_that_nobody_takes_are_kept_and_counted() {
    let (mut near, mut far) = halves(0);
    for _ in 0..100 {
        far.port.troubles.note(TroubleKind::RingFailed, 9, None);
        far.do_work(0);
    }
    let told = core::iter::from_fn(|| {
        let trouble = near.take_trouble();
        far.do_work(0);
        trouble
    });
    assert_eq!(told.map(|trouble| trouble.count).sum::<u64>(), 100);
}

#[test]
fn the_far_half_ends_when_the_near_one_is_gone_and_all_of_its_datagrams_are_sent() {
    let (mut near, mut far) = halves(1);
    near.send(0, peer(2), &[1]);
    near.send(0, peer(2), &[2]);
    assert!(!far.has_ended());
    drop(near);
    assert!(!far.has_ended());
    far.do_work(0);
    assert!(!far.has_ended(), "one is in its hands");
    far.port.room = 1;
    far.do_work(0);
    assert!(far.has_ended());
}

#[test]
fn two_threads_hand_over_datagrams_whole_and_in_order_both_ways() {
    const COUNT: usize = 20_000;
    let (mut near, mut far) = halves(usize::MAX);
    let thread = std::thread::spawn(move || {
        while !far.has_ended() {
            if far.do_work(0) == 0 {
                std::thread::yield_now();
            }
        }
        far
    });
    let datagram = |number: usize| vec![number as u8; 1 + number % 1_400];
    let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
    let (mut sent, mut came) = (0, 0);
    while came < COUNT {
        // Few under way: the port keeps whatever the near half does not take.
        let may_send = sent < COUNT && sent - came < 500;
        let to = peer(1 + sent as u16 % 100);
        if may_send && near.send(0, to, &datagram(sent)) == SendOutcome::Sent {
            sent += 1;
        }
        near.flush(0);
        match near.receive(0, &mut buffer) {
            Some(Received { source, length }) => {
                assert_eq!(source, peer(1 + came as u16 % 100));
                assert_eq!(buffer[..length], datagram(came));
                came += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    let calls = near.counters().system_calls();
    assert!(calls >= COUNT as u64, "{calls}");
    drop(near);
    let far = thread.join().unwrap();
    assert!(far.port().waiting.is_empty());
}
