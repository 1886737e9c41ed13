//! A publication and an image over a lossy in-memory link: everything published is delivered,
//! once, in order, byte for byte, whatever the link does.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::VecDeque;
use std::net::SocketAddr;

use lockstep_transport::datagram_port::{DatagramPort, Received, SendOutcome};
use lockstep_transport::position::Position;
use lockstep_transport::protocol::{Packet, StatusMessage, parse};
use lockstep_transport::stream::{
    Image, ImageLimits, Message, Offer, PollAction, Publication, PublicationConfig,
};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

const TERM: usize = 65_536;
const MTU: usize = 1408;
const SESSION: i32 = -77;
const STREAM: i32 = 1001;
const RECEIVER: i64 = 42;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A linear congruential generator: the test's only source of chance.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }
}

/// One direction of a link: what is sent here waits until the test takes it.
struct Link {
    datagrams: VecDeque<Vec<u8>>,
    chance: Chance,
    loss: u64,
    duplicate: u64,
    reorder: u64,
    back_pressure: u64,
}

impl Link {
    fn lossy(seed: u64, loss: u64) -> Self {
        Self {
            datagrams: VecDeque::new(),
            chance: Chance(seed),
            loss,
            duplicate: loss / 3,
            reorder: loss,
            back_pressure: loss / 4,
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front()
    }
}

impl DatagramPort for Link {
    fn local_address(&self) -> SocketAddr {
        address(1)
    }

    fn receive(&mut self, _now: Nanos, _buffer: &mut [u8]) -> Option<Received> {
        None
    }

    fn send(&mut self, _now: Nanos, _to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        if self.chance.percent(self.back_pressure) {
            return SendOutcome::BackPressured;
        }
        if self.chance.percent(self.loss) {
            return SendOutcome::Sent;
        }
        let copies = 1 + usize::from(self.chance.percent(self.duplicate));
        for _ in 0..copies {
            let back = if self.chance.percent(self.reorder) {
                self.chance.below(8).min(self.datagrams.len())
            } else {
                0
            };
            let at = self.datagrams.len() - back;
            self.datagrams.insert(at, datagram.to_vec());
        }
        SendOutcome::Sent
    }
}

fn publication(initial_term_id: i32) -> Publication {
    Publication::new(PublicationConfig {
        session_id: SESSION,
        stream_id: STREAM,
        initial_term_id,
        term_length: TERM,
        mtu: MTU,
        destination: address(2),
    })
    .unwrap()
}

const LIMITS: ImageLimits = ImageLimits {
    term_length_max: TERM,
    message_max: 64 * 1024,
    window_length: 128 * 1024,
};

/// Both ends and both directions.
struct Pair {
    now: Nanos,
    publication: Publication,
    image: Option<Image>,
    forward: Link,
    backward: Link,
    delivered: Vec<Vec<u8>>,
    chance: Chance,
}

impl Pair {
    fn new(seed: u64, loss: u64) -> Self {
        Self {
            now: SECOND,
            publication: publication(i32::MAX - 1),
            image: None,
            forward: Link::lossy(seed, loss),
            backward: Link::lossy(seed ^ 0xABCD, loss),
            delivered: Vec::new(),
            chance: Chance(!seed),
        }
    }

    /// One duty cycle of both ends.
    fn cycle(&mut self) {
        self.now += 50 * MICROSECOND;
        self.publication.do_work(self.now, &mut self.forward);
        while let Some(datagram) = self.forward.take() {
            let packet = parse(&datagram).unwrap();
            match (&mut self.image, &packet) {
                (Some(image), _) => image.on_packet(self.now, &packet),
                (None, Packet::Setup(setup)) => {
                    let image =
                        Image::from_setup(self.now, setup, address(1), RECEIVER, &LIMITS).unwrap();
                    self.image = Some(image);
                }
                (None, _) => {
                    let elicit = StatusMessage::send_setup(SESSION, STREAM, RECEIVER);
                    let mut bytes = [0; 44];
                    let bytes = elicit.encode(&mut bytes);
                    self.backward.send(self.now, address(1), bytes);
                }
            }
        }
        self.receive();
        while let Some(datagram) = self.backward.take() {
            let packet = parse(&datagram).unwrap();
            self.publication.on_packet(self.now, &packet);
        }
    }

    fn receive(&mut self) {
        let Some(image) = &mut self.image else { return };
        let delivered = &mut self.delivered;
        let chance = &mut self.chance;
        image.poll(64, &mut |message: Message<'_>| {
            if chance.percent(10) {
                return PollAction::Abort;
            }
            delivered.push(message.payload.to_vec());
            PollAction::Continue
        });
        image.do_work(self.now, &mut self.backward);
    }

    fn cycle_until(&mut self, cycles_max: usize, mut is_reached: impl FnMut(&Self) -> bool) {
        for _ in 0..cycles_max {
            if is_reached(self) {
                return;
            }
            self.cycle();
        }
        panic!("not reached within {cycles_max} cycles");
    }

    fn connect(&mut self) {
        self.cycle_until(100_000, |pair| pair.publication.is_connected(pair.now));
    }
}

fn message(number: u32, length: usize) -> Vec<u8> {
    let mut message = number.to_le_bytes().to_vec();
    message.extend((0..length).map(|i| (number as usize * 31 + i) as u8));
    message
}

#[test]
fn everything_published_is_delivered_once_and_in_order_over_several_terms() {
    for (seed, loss) in [
        (1, 0),
        (2, 1),
        (3, 5),
        (4, 10),
        (5, 20),
        (6, 30),
        (7, 30),
        (8, 3),
    ] {
        let mut pair = Pair::new(seed, loss);
        pair.connect();
        let mut published = Vec::new();
        let mut sizes = Chance(seed + 100);
        while pair.publication.position() < 6 * TERM as Position {
            let length = if sizes.percent(20) { 8000 } else { 600 };
            let next = message(published.len() as u32, sizes.below(length));
            let (header, payload) = next.split_at(4);
            match pair.publication.offer(pair.now, &[header, payload]) {
                Offer::Accepted(_) => published.push(next),
                Offer::BackPressured => pair.cycle(),
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        let count = published.len();
        pair.cycle_until(200_000, |pair| pair.delivered.len() == count);
        assert!(pair.delivered == published, "seed {seed}, loss {loss} %");
        let image = pair.image.as_ref().unwrap();
        assert_eq!(image.counters().fragments_dropped, 0);
        assert_eq!(image.position(), pair.publication.position());
        let repeated = pair.publication.counters().retransmits_sent;
        assert_eq!(
            repeated > 0,
            loss > 0,
            "seed {seed}: {repeated} repetitions"
        );
    }
}

#[test]
fn a_lost_tail_is_discovered_by_the_heartbeat_and_repeated() {
    let mut pair = Pair::new(1, 0);
    pair.connect();
    pair.cycle();
    pair.forward.loss = 100;
    assert!(matches!(
        pair.publication.offer(pair.now, &[b"tail"]),
        Offer::Accepted(64)
    ));
    pair.cycle();
    pair.forward.loss = 0;
    assert!(pair.delivered.is_empty());
    pair.cycle_until(2500, |pair| pair.delivered.len() == 1);
    assert_eq!(pair.delivered, [b"tail"]);
    assert_eq!(pair.publication.counters().retransmits_sent, 1);
}

#[test]
fn a_late_receiver_joins_at_the_senders_position() {
    let mut pair = Pair::new(1, 0);
    pair.connect();
    for number in 0..10 {
        let _ = pair.publication.offer(pair.now, &[&message(number, 100)]);
        pair.cycle();
    }
    pair.image = None;
    pair.delivered.clear();
    let joined = pair.publication.position();
    // The new receiver sees a heartbeat, asks for a SETUP, and joins where the stream stands.
    pair.cycle_until(10_000, |pair| pair.image.is_some());
    assert_eq!(pair.image.as_ref().unwrap().position(), joined);
    let _ = pair.publication.offer(pair.now, &[b"late"]);
    pair.cycle_until(100, |pair| pair.delivered.len() == 1);
    assert_eq!(pair.delivered, [b"late"]);
}

#[test]
fn a_closed_publication_drains_announces_its_end_and_both_ends_finish() {
    for loss in [0, 20] {
        let mut pair = Pair::new(9, loss);
        pair.connect();
        let last = message(7, 5000);
        while pair.publication.offer(pair.now, &[&last]) == Offer::BackPressured {
            pair.cycle();
        }
        pair.publication.close();
        assert_eq!(pair.publication.offer(pair.now, &[b"more"]), Offer::Closed);
        let closed_at = pair.now;
        pair.cycle_until(100_000, |pair| pair.image.as_ref().unwrap().has_ended());
        assert_eq!(pair.delivered, [last]);
        pair.cycle_until(100_000, |pair| pair.publication.is_done(pair.now));
        if loss == 0 {
            // At once, by the receiver's end-of-stream status, not after the linger time.
            assert!(pair.now - closed_at < 300 * MILLISECOND);
        }
        pair.cycle_until(100_000, |pair| {
            pair.image.as_ref().unwrap().is_closed(pair.now)
        });
        let quiet = pair.now + SECOND;
        assert_eq!(pair.publication.do_work(quiet, &mut pair.forward), 0);
    }
}

#[test]
fn a_publication_takes_nothing_before_a_receiver_is_there_and_sends_only_setups() {
    let mut publication = publication(0);
    let mut link = Link::lossy(0, 0);
    assert_eq!(publication.offer(0, &[b"x"]), Offer::NotConnected);
    for step in 0..100 {
        publication.do_work(step * 10 * MILLISECOND, &mut link);
    }
    assert_eq!(link.datagrams.len(), 10);
    for datagram in &link.datagrams {
        assert!(matches!(parse(datagram), Ok(Packet::Setup(_))));
    }
    assert_eq!(publication.next_deadline(), Some(1000 * MILLISECOND));
}

#[test]
fn a_silent_receiver_is_gone_after_five_seconds_and_comes_back_with_a_status() {
    let mut pair = Pair::new(1, 0);
    pair.connect();
    let later = pair.now + 6 * SECOND;
    assert!(!pair.publication.is_connected(later));
    assert_eq!(pair.publication.offer(later, &[b"x"]), Offer::NotConnected);
    pair.now = later;
    pair.cycle();
    assert!(pair.publication.is_connected(pair.now));
}

#[test]
fn an_image_whose_sender_is_silent_closes_after_ten_seconds() {
    let mut pair = Pair::new(1, 0);
    pair.connect();
    let image = pair.image.as_ref().unwrap();
    assert!(!image.is_closed(pair.now + 9 * SECOND));
    assert!(image.is_closed(pair.now + 11 * SECOND));
}

#[test]
fn an_image_that_leaves_disconnects_its_sender_at_once() {
    let mut pair = Pair::new(1, 0);
    pair.connect();
    pair.image.as_mut().unwrap().close(pair.now);
    pair.cycle();
    assert!(!pair.publication.is_connected(pair.now));
    let image = pair.image.as_ref().unwrap();
    assert!(!image.is_closed(pair.now) && image.is_closed(pair.now + SECOND));
}

#[test]
fn whoever_heeds_only_deadlines_drops_an_image_that_left_after_a_second() {
    let mut pair = Pair::new(1, 0);
    pair.connect();
    let left = pair.now;
    let image = pair.image.as_mut().unwrap();
    image.close(left);
    let mut now = left;
    while !image.is_closed(now) {
        image.do_work(now, &mut pair.backward);
        let next = image.next_deadline().expect("it is to be dropped");
        assert!(next > now, "nothing is to be done again at {now}");
        now = next;
    }
    assert_eq!(now, left + SECOND);
}
