//! Which streams of clients get an image, for how long, and in which order they are heard.

use lockstep_transport::log_buffer::{ExclusiveAppender, LogBuffer, PlainSeal};
use lockstep_transport::position::Geometry;
use lockstep_transport::protocol::{Heartbeat, Setup, StatusMessage, parse};
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::{MILLISECOND, SECOND};

use super::*;

const TERM_LENGTH: usize = 1 << 16;
const MTU: usize = 1408;
const LIMITS: ImageLimits = ImageLimits {
    term_length_max: TERM_LENGTH,
    message_max: 2000,
    window_length: TERM_LENGTH / 2,
};
const ALICE: ClientKey = (1, 2);
const BOB: ClientKey = (3, 2);

fn geometry() -> Geometry {
    Geometry::new(3, TERM_LENGTH).unwrap()
}

fn images() -> IngressImages {
    IngressImages::new(4, LIMITS, 5, 1)
}

/// A client's process at a host.
fn at(host: u8, port: u16) -> SocketAddr {
    ([10, 0, 0, host], port).into()
}

fn setup_of(session_id: i32, stream_id: i32) -> Packet<'static> {
    Packet::Setup(Setup::new(session_id, stream_id, geometry(), MTU, 0))
}

/// What a client sends on its stream, one frame per datagram.
struct Stream {
    source: SocketAddr,
    log: LogBuffer,
    appender: ExclusiveAppender,
}

impl Stream {
    fn new(source: SocketAddr, session_id: i32) -> Self {
        let log = LogBuffer::allocate(geometry(), MTU).unwrap();
        let stream = INGRESS_STREAM_ID;
        let appender = ExclusiveAppender::new(geometry(), session_id, stream, MTU, 0);
        Self {
            source,
            log,
            appender,
        }
    }

    fn message(&mut self, payload: &[u8]) -> Vec<Vec<u8>> {
        let mut position = self.appender.position();
        let log = &mut self.log;
        self.appender
            .offer(log, Position::MAX, &[payload], &mut PlainSeal);
        let mut frames = Vec::new();
        while position < self.appender.position() {
            let room = TERM_LENGTH - geometry().term_offset(position);
            let frame = Frame::first(log.bytes(position, room)).unwrap();
            frames.push(frame.bytes().to_vec());
            position += frame.aligned_length() as Position;
        }
        frames
    }

    /// Sends `payload`; a first message is judged to be `standing`'s.
    fn say(
        &mut self,
        images: &mut IngressImages,
        now: Nanos,
        payload: &[u8],
        standing: Standing,
    ) -> Result<(), NodeNotice> {
        let source = self.source;
        let mut say = |frame: Vec<u8>| {
            images.on_packet(now, source, &parse(&frame).unwrap(), |_| Ok(standing))
        };
        self.message(payload).into_iter().try_for_each(&mut say)
    }

    /// Its SETUP is heard, and its first message, which is `payload`.
    fn begin(
        source: SocketAddr,
        session_id: i32,
        images: &mut IngressImages,
        (now, payload, standing): (Nanos, &[u8], Standing),
    ) -> Result<Self, NodeNotice> {
        let mut stream = Self::new(source, session_id);
        hear(images, source, &setup_of(session_id, INGRESS_STREAM_ID))?;
        stream.say(images, now, payload, standing)?;
        Ok(stream)
    }
}

/// A packet that is no first message.
fn hear(
    images: &mut IngressImages,
    from: SocketAddr,
    packet: &Packet<'_>,
) -> Result<(), NodeNotice> {
    images.on_packet(0, from, packet, |_| panic!("it begins nothing"))
}

/// What a poll handed over: ports of the sources, first bytes, standings, whether put off before.
type Heard = Vec<(u16, u8, Standing, bool)>;

fn poll(images: &mut IngressImages, action: PollAction) -> (usize, Heard) {
    let mut heard = Heard::new();
    let work = images.poll(&mut |source, standing, is_put_off, message| {
        heard.push((source.port(), message.payload[0], standing, is_put_off));
        (action, standing)
    });
    (work, heard)
}

#[test]
fn a_stream_gets_an_image_once_its_first_message_makes_sense() {
    let mut images = images();
    let unknown = Err(NodeNotice::UnknownIngressStream);
    let mut stream = Stream::new(at(9, 7), 1);
    let first = stream.message(b"hello").remove(0);
    let second = stream.message(b"more").remove(0);
    let (first, second) = (parse(&first).unwrap(), parse(&second).unwrap());
    assert_eq!(hear(&mut images, at(9, 7), &first), unknown);
    assert_eq!(
        hear(&mut images, at(9, 7), &setup_of(1, INGRESS_STREAM_ID)),
        Ok(())
    );
    let other = setup_of(1, INGRESS_STREAM_ID + 1);
    assert_eq!(
        hear(&mut images, at(9, 7), &other),
        Err(NodeNotice::IngressParameters)
    );
    assert!(images.half_open.get(at(9, 7), 1).is_some());
    assert_eq!(hear(&mut images, at(9, 8), &first), unknown);
    let status = Packet::StatusMessage(StatusMessage::send_setup(1, INGRESS_STREAM_ID, 1));
    assert_eq!(hear(&mut images, at(9, 7), &status), unknown);
    // The second came first: what is before it is asked for.
    assert_eq!(hear(&mut images, at(9, 7), &second), Ok(()));
    assert_eq!(images.next_deadline(), Some(0));
    let refuse = |_: &[u8]| Err(NodeNotice::IngressBeginning);
    let refused = images.on_packet(0, at(9, 7), &first, refuse);
    assert_eq!(
        (refused, images.count()),
        (Err(NodeNotice::IngressBeginning), 0)
    );
    let taken = images.on_packet(0, at(9, 7), &first, |payload| {
        assert_eq!(payload, b"hello");
        Ok(Standing::Resuming(ALICE))
    });
    assert_eq!((taken, images.count()), (Ok(()), 1));
    assert!(images.half_open.get(at(9, 7), 1).is_none());
    assert_eq!(hear(&mut images, at(9, 7), &second), Ok(()));
    let is_alice = |byte| (7, byte, Standing::Resuming(ALICE), false);
    let expected = vec![is_alice(b'h'), is_alice(b'm')];
    assert_eq!(poll(&mut images, PollAction::Continue), (2, expected));
    // Far beyond what there is room for.
    let far = Heartbeat::new(1, INGRESS_STREAM_ID, geometry(), 9 << 16, false);
    let misplaced = Err(NodeNotice::IngressFrameMisplaced);
    assert_eq!(
        hear(&mut images, at(9, 7), &Packet::Heartbeat(far)),
        misplaced
    );
    let near = Heartbeat::new(1, INGRESS_STREAM_ID, geometry(), 128, false);
    assert_eq!(
        hear(&mut images, at(9, 7), &Packet::Heartbeat(near)),
        Ok(())
    );
}

#[test]
fn what_a_heartbeat_says_was_sent_first_is_asked_for_three_times() {
    let network = SimNetwork::new(1, LinkProfile::default());
    let mut port = network.port(at(1, 1));
    let mut images = images();
    let beat = |position| {
        let heartbeat = Heartbeat::new(1, INGRESS_STREAM_ID, geometry(), position, false);
        Packet::Heartbeat(heartbeat)
    };
    let unknown = Err(NodeNotice::UnknownIngressStream);
    assert_eq!(hear(&mut images, at(9, 7), &beat(64)), unknown);
    hear(&mut images, at(9, 7), &setup_of(1, INGRESS_STREAM_ID)).unwrap();
    assert_eq!(images.do_work(0, &mut port), 1, "the SETUP is answered");
    assert_eq!(
        images.visits(),
        1,
        "it was looked at, and no image is there yet"
    );
    assert_eq!(hear(&mut images, at(9, 7), &beat(0)), Ok(()));
    assert_eq!(images.do_work(0, &mut port), 0, "nothing was sent yet");
    for _ in 0..3 {
        assert_eq!(hear(&mut images, at(9, 7), &beat(64)), Ok(()));
        assert_eq!(images.do_work(0, &mut port), 1);
    }
    assert_eq!(
        hear(&mut images, at(9, 7), &beat(64)),
        Err(NodeNotice::HalfOpenExhausted)
    );
    assert_eq!((images.next_deadline(), images.count()), (None, 0));
}

#[test]
fn a_first_message_of_several_frames_is_a_strangers_and_one_without_its_beginning_nobodys() {
    let mut images = images();
    let mut stream = Stream::new(at(9, 7), 1);
    let frames = stream.message(&[b'l'; 1900]);
    assert_eq!(frames.len(), 2);
    hear(&mut images, at(9, 7), &setup_of(1, INGRESS_STREAM_ID)).unwrap();
    for frame in &frames {
        assert_eq!(hear(&mut images, at(9, 7), &parse(frame).unwrap()), Ok(()));
    }
    let expected = vec![(7, b'l', Standing::Stranger, false)];
    assert_eq!(poll(&mut images, PollAction::Continue), (2, expected));
    // The second half of a message where the stream begins.
    let geometry = geometry();
    let begins_late = Setup::new(2, INGRESS_STREAM_ID, geometry, MTU, MTU as Position);
    hear(&mut images, at(9, 7), &Packet::Setup(begins_late)).unwrap();
    let mut other = Stream::new(at(9, 7), 2);
    let half = other.message(&[b'l'; 1900]).remove(1);
    let refused = hear(&mut images, at(9, 7), &parse(&half).unwrap());
    assert_eq!(
        (refused, images.count()),
        (Err(NodeNotice::IngressBeginning), 1)
    );
}

#[test]
fn a_message_left_for_later_comes_again_and_says_so_and_nobody_is_asked_in_vain() {
    let mut images = images();
    let begin = |images: &mut IngressImages, port, standing| {
        Stream::begin(at(9, port), 1, images, (0, b"a", standing)).unwrap()
    };
    let (alice, bob) = (Standing::Served(ALICE), Standing::Served(BOB));
    let mut first = begin(&mut images, 7, alice);
    let mut second = begin(&mut images, 8, bob);
    let network = SimNetwork::new(1, LinkProfile::default());
    let mut port = network.port(at(1, 1));
    images.do_work(0, &mut port);
    assert_eq!(images.next_deadline(), Some(0), "both are to be asked");
    let expected = vec![(7, b'a', alice, false), (8, b'a', bob, false)];
    assert_eq!(poll(&mut images, PollAction::Abort), (0, expected));
    assert!(images.next_deadline() > Some(0), "both have to wait");
    first.say(&mut images, 1, b"b", alice).unwrap();
    images.do_work(1, &mut port);
    assert!(images.next_deadline() > Some(0), "it waits anyway");
    let expected = vec![(7, b'a', alice, true), (8, b'a', bob, true)];
    assert_eq!(poll(&mut images, PollAction::Abort), (0, expected));
    // One is taken: the other may be now, too.
    let mut is_first = true;
    let work = images.poll(&mut |source, standing, is_put_off, _| {
        assert!(is_put_off == is_first || source.port() == 8);
        let action = if std::mem::take(&mut is_first) {
            PollAction::Continue
        } else {
            PollAction::Abort
        };
        (action, standing)
    });
    assert_eq!(
        work,
        1 + 1,
        "one message, and word of the other that is to be asked again"
    );
    let expected = vec![(7, b'b', alice, true), (8, b'a', bob, true)];
    assert_eq!(poll(&mut images, PollAction::Continue), (2, expected));
    assert_eq!(poll(&mut images, PollAction::Continue), (0, vec![]));
    second.say(&mut images, 2, b"c", bob).unwrap();
    assert_eq!(
        poll(&mut images, PollAction::Continue),
        (1, vec![(8, b'c', bob, false)])
    );
}

#[test]
fn sixty_four_images_and_sixty_four_messages_of_each_are_heard_in_a_round() {
    let mut images = images();
    let standing = Standing::Stranger;
    let mut begin =
        |port| Stream::begin(at(9, port), 1, &mut images, (SECOND, b"a", standing)).unwrap();
    let mut streams: Vec<Stream> = (0..70).map(&mut begin).collect();
    for _ in 0..70 {
        streams[0].say(&mut images, 0, b"b", standing).unwrap();
    }
    let (work, heard) = poll(&mut images, PollAction::Continue);
    // Others have not been asked yet.
    assert_eq!((work, heard.len()), (64 + 63 + 1, 64 + 63));
    let (work, heard) = poll(&mut images, PollAction::Continue);
    assert_eq!((work, heard.len()), (6 + 7, 6 + 7));
    assert!(heard[..6].iter().all(|(port, ..)| (64..70).contains(port)));
}

#[test]
fn messages_that_are_too_long_are_counted_and_told_with_their_client() {
    let mut images = images();
    let alice = Standing::Served(ALICE);
    let mut stream = Stream::begin(at(9, 7), 1, &mut images, (0, b"a", alice)).unwrap();
    assert_eq!(poll(&mut images, PollAction::Continue).0, 1);
    for count in [1, 2] {
        for _ in 0..count {
            stream.say(&mut images, 0, &[0; 2001], alice).unwrap();
        }
        let (_, heard) = poll(&mut images, PollAction::Continue);
        assert_eq!(heard, []);
    }
    let told = (NodeNotice::IngressMessageTooLong, at(9, 7), 3);
    assert_eq!(images.take_mishap(), Some(told));
    assert_eq!(images.take_mishap(), None);
    stream.say(&mut images, 0, &[1; 2000], alice).unwrap();
    assert_eq!(
        poll(&mut images, PollAction::Continue).1,
        [(7, 1, alice, false)]
    );
    assert_eq!(images.take_mishap(), None);
}

#[test]
fn a_client_has_two_images_and_the_one_that_serves_it_stays() {
    let mut images = images();
    let (alice, bob) = (Standing::Resuming(ALICE), Standing::Resuming(BOB));
    let begin = |images: &mut IngressImages, session: i32, standing| {
        Stream::begin(at(9, 7), session, images, (0, b"a", standing)).unwrap();
    };
    begin(&mut images, 1, Standing::Served(ALICE));
    begin(&mut images, 2, bob);
    begin(&mut images, 3, alice);
    assert_eq!(images.count(), 3);
    begin(&mut images, 4, alice);
    let there = |images: &IngressImages| {
        let is_there = |session: &i32| images.find(at(9, 7), *session).is_some();
        (1..=6).filter(is_there).collect::<Vec<_>>()
    };
    assert_eq!(there(&images), [1, 2, 4]);
    // Of two that do not serve it the older one gives way.
    let mut other = super::tests::images();
    begin(&mut other, 1, alice);
    begin(&mut other, 2, alice);
    begin(&mut other, 3, alice);
    assert_eq!(there(&other), [2, 3]);
    images.on_closed(ALICE);
    assert_eq!(images.count(), 3, "a stranger's now");
    let standings: Vec<Standing> = poll(&mut images, PollAction::Continue)
        .1
        .into_iter()
        .map(|(_, _, standing, _)| standing)
        .collect();
    assert_eq!(standings, [Standing::Dismissed, bob, Standing::Dismissed]);
}

#[test]
fn a_client_that_asks_for_a_session_is_served_or_ignored_by_its_outcome() {
    let mut images = images();
    for (session, client) in [(1, ALICE), (2, BOB)] {
        let awaited = Standing::Awaited(client);
        Stream::begin(at(9, 7), session, &mut images, (0, b"a", awaited)).unwrap();
    }
    images.on_served((9, 9));
    images.on_ignored((9, 9));
    images.on_served(ALICE);
    // Only one that waits for a session is ignored.
    images.on_ignored(ALICE);
    images.on_ignored(BOB);
    images.on_served(BOB);
    let (_, heard) = poll(&mut images, PollAction::Continue);
    let standings = heard.into_iter().map(|(_, _, standing, _)| standing);
    let expected = [Standing::Served(ALICE), Standing::Dismissed];
    assert_eq!(standings.collect::<Vec<_>>(), expected);
}

#[test]
fn whoever_speaks_for_a_session_takes_the_place_of_its_clients_older_image() {
    let mut images = images();
    let begin = |images: &mut IngressImages, session: i32, standing| {
        Stream::begin(at(9, 7), session, images, (0, b"a", standing)).unwrap();
    };
    begin(&mut images, 1, Standing::Served(ALICE));
    begin(&mut images, 2, Standing::Resuming(ALICE));
    poll(&mut images, PollAction::Continue);
    begin(&mut images, 3, Standing::Stranger);
    let work = images.poll(&mut |_, _, _, _| (PollAction::Continue, Standing::Served(ALICE)));
    assert_eq!(work, 1);
    let there = [1, 2, 3].map(|session| images.find(at(9, 7), session).is_some());
    assert_eq!(there, [true, false, true]);
}

/// A stranger's image. `now` is late enough for another one.
fn stranger(images: &mut IngressImages, now: Nanos, from: SocketAddr) -> Result<(), NodeNotice> {
    let standing = Standing::Stranger;
    Stream::begin(from, 1, images, (now, b"a", standing)).map(|_| ())
}

#[test]
fn strangers_cause_128_images_at_once_and_then_one_in_a_quarter_of_a_millisecond() {
    let mut images = images();
    let interval = 250 * MICROSECOND;
    let full = Err(NodeNotice::IngressImagesFull);
    let begun = 10 * SECOND;
    let mut port = 0;
    let mut ask = |images: &mut IngressImages, now| {
        port += 1;
        stranger(images, now, at(9, port))
    };
    // The burst, and the one whose moment it is.
    for number in 0..129 {
        assert_eq!(ask(&mut images, begun), Ok(()), "{number}");
    }
    assert_eq!(ask(&mut images, begun), full);
    assert_eq!(ask(&mut images, begun + interval - 1), full);
    assert_eq!(ask(&mut images, begun + interval), Ok(()));
    assert_eq!(ask(&mut images, begun + interval), full);
    assert_eq!(ask(&mut images, begun + 3 * interval), Ok(()));
    assert_eq!(ask(&mut images, begun + 3 * interval), Ok(()));
    assert_eq!(ask(&mut images, begun + 3 * interval), full);
    // A known client need not wait.
    let known = Standing::Resuming(ALICE);
    assert!(Stream::begin(at(9, 500), 1, &mut images, (begun, b"a", known)).is_ok());
}

#[test]
fn of_a_hosts_strangers_those_that_were_dismissed_give_way_first_and_then_the_oldest() {
    let mut images = images();
    for port in 0..128 {
        stranger(&mut images, SECOND, at(9, port)).unwrap();
    }
    assert_eq!((images.count(), images.take_mishap()), (128, None));
    // One of them asked for a session and was refused.
    let index = images.find(at(9, 100), 1).unwrap();
    images.dismiss(index);
    for (round, gone) in [100, 0, 1].into_iter().enumerate() {
        stranger(&mut images, 2 * SECOND, at(9, 200 + round as u16)).unwrap();
        let told = (NodeNotice::StrangerDisplaced, at(9, gone), 1);
        assert_eq!(images.take_mishap(), Some(told));
        assert_eq!((images.count(), images.find(at(9, gone), 1)), (128, None));
    }
}

#[test]
fn of_all_strangers_one_of_the_fullest_group_gives_way() {
    let mut images = images();
    let group = |images: &IngressImages, host| images.group(at(host, 1));
    let first = group(&images, 1);
    let second = (2..).find(|host| group(&images, *host) != first).unwrap();
    let of_second = group(&images, second);
    let is_third = |host: &u8| ![first, of_second].contains(&group(&images, *host));
    let third = (2..).find(is_third).unwrap();
    for port in 0..128 {
        stranger(&mut images, SECOND, at(1, port)).unwrap();
    }
    for port in 0..127 {
        stranger(&mut images, 2 * SECOND, at(second, port)).unwrap();
    }
    stranger(&mut images, 3 * SECOND, at(third, 1)).unwrap();
    assert_eq!((images.count(), images.take_mishap()), (256, None));
    stranger(&mut images, 3 * SECOND, at(third, 2)).unwrap();
    let told = (NodeNotice::StrangerDisplaced, at(1, 0), 1);
    assert_eq!((images.count(), images.take_mishap()), (256, Some(told)));
}

#[test]
fn the_oldest_client_whose_connect_was_forgotten_is_a_stranger_again() {
    let mut images = images();
    for number in 0..=CONNECTS_MAX {
        let awaited = Standing::Awaited((number as u64, 0));
        let source = at(9, number as u16);
        Stream::begin(source, 1, &mut images, (0, b"a", awaited)).unwrap();
    }
    let standing = |number: usize| {
        let index = images.find(at(9, number as u16), 1).unwrap();
        images.table.at(index).unwrap().standing
    };
    assert_eq!(standing(0), Standing::Dismissed);
    assert_eq!(standing(1), Standing::Awaited((1, 0)));
    assert_eq!(images.awaited.len(), CONNECTS_MAX);
}

/// Images of `count` clients that were heard at time 0, and a port; one cycle has passed.
fn answered(count: u16) -> (IngressImages, SimPort) {
    let network = SimNetwork::new(1, LinkProfile::default());
    let mut port = network.port(at(1, 1));
    let mut images = IngressImages::new(400, LIMITS, 5, 1);
    for number in 0..count {
        let client = Standing::Served((number.into(), 0));
        Stream::begin(at(9, number), 1, &mut images, (0, b"a", client)).unwrap();
    }
    let work = images.do_work(0, &mut port);
    let expected = usize::from(count.min(256)) + usize::from(count > 256);
    assert_eq!(work, expected);
    (images, port)
}

#[test]
fn a_cycle_looks_at_256_images_and_says_that_others_wait() {
    let (mut images, mut port) = answered(300);
    assert_eq!(images.next_deadline(), Some(0));
    assert_eq!(images.do_work(0, &mut port), 44);
    assert!((0..9).any(|_| poll(&mut images, PollAction::Continue).0 == 0));
    assert!((0..9).any(|_| images.do_work(0, &mut port) == 0));
    let before = images.visits();
    assert!(images.next_deadline() > Some(0));
    images.do_work(1, &mut port);
    assert_eq!(images.visits(), before, "nothing happened");
}

#[test]
fn a_client_that_is_silent_for_long_loses_its_image() {
    let (mut images, mut port) = answered(1);
    poll(&mut images, PollAction::Continue);
    let mut now = 0;
    while images.count() == 1 {
        images.do_work(now, &mut port);
        let due = images.next_deadline();
        assert!(due.is_none_or(|due| due > now), "{due:?} at {now}");
        now = due.unwrap_or(now).max(now + 1);
        assert!(now < 60 * SECOND);
    }
    assert!(now >= SECOND, "{} ms", now / MILLISECOND);
    assert_eq!(
        (images.next_deadline(), images.find(at(9, 0), 1)),
        (None, None)
    );
}

#[test]
fn streams_and_clients_have_hashes_of_their_own() {
    let images = images();
    let all = (0..100).flat_map(|one| (0..100).map(move |other| (one, other)));
    let streams = all
        .clone()
        .map(|(one, other)| images.stream_hash(at(9, one), other - 50));
    let clients = all.map(|(one, other)| images.client_hash((one.into(), other as u64)));
    let count = |hashes: Vec<u64>| {
        hashes
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    // Else strangers make searches long.
    assert_eq!(
        (count(streams.collect()), count(clients.collect())),
        (10_000, 10_000)
    );
    assert_ne!(images.client_hash((1, 2)), images.client_hash((2, 1)));
}
