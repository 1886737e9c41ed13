//! Which streams of members a client takes, asks for and gives up.

use lockstep_transport::position::Geometry;
use lockstep_transport::protocol::{Heartbeat, parse};
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::stream::{Offer, Publication, PublicationConfig};
use lockstep_transport::time::MILLISECOND;

use super::*;

const STREAM: i32 = 102;
const TERM_LENGTH: usize = 1 << 16;
const LIMITS: ImageLimits = ImageLimits {
    term_length_max: TERM_LENGTH,
    message_max: 100,
    window_length: TERM_LENGTH / 2,
};

fn geometry() -> Geometry {
    Geometry::new(3, TERM_LENGTH).unwrap()
}

fn address(member: usize) -> SocketAddr {
    ([10, 0, 0, 1], 100 + member as u16).into()
}

fn images() -> EgressImages {
    EgressImages::new(STREAM, 9, LIMITS)
}

/// A SETUP of `session` by `member`.
fn set_up(images: &mut EgressImages, now: Nanos, (member, session): (usize, i32)) -> Admitted {
    let setup = Setup::new(session, STREAM, geometry(), 1408, 0);
    images.on_packet(now, (address(member), member), &Packet::Setup(setup), None)
}

/// A heartbeat of `session` by `member` at `position`.
fn beat(
    images: &mut EgressImages,
    now: Nanos,
    (member, session): (usize, i32),
    position: i64,
) -> Admitted {
    let heartbeat = Heartbeat::new(session, STREAM, geometry(), position, false);
    let packet = Packet::Heartbeat(heartbeat);
    images.on_packet(now, (address(member), member), &packet, None)
}

fn asks(admitted: Admitted) -> bool {
    matches!(admitted, Admitted::Elicit(request) if request.is_send_setup())
}

#[test]
fn a_stream_that_is_not_known_is_asked_for_its_setup_once_a_second() {
    let mut images = images();
    let started = 7 * SECOND;
    assert!(asks(beat(&mut images, started, (1, 5), 0)));
    for now in [started, started + 1, started + SECOND - 1] {
        assert_eq!(beat(&mut images, now, (1, 5), 0), Admitted::Unexpected);
    }
    // Another session of that member and the same one of another are other streams.
    assert!(asks(beat(&mut images, started + 1, (1, 6), 0)));
    assert!(asks(beat(&mut images, started + 1, (2, 5), 0)));
    assert!(asks(beat(&mut images, started + SECOND, (1, 5), 0)));
    assert_eq!(
        beat(&mut images, started + SECOND, (2, 5), 0),
        Admitted::Unexpected
    );
}

#[test]
fn no_more_streams_are_asked_at_a_time_than_there_may_be_images() {
    let mut images = images();
    for session in 0..8 {
        assert!(asks(beat(&mut images, 1, (0, session), 0)), "{session}");
    }
    assert_eq!(beat(&mut images, 2, (0, 8), 0), Admitted::Unexpected);
    assert!(asks(beat(&mut images, 1 + SECOND, (0, 8), 0)));
}

#[test]
fn what_is_of_another_stream_or_has_no_place_in_its_own_is_unexpected() {
    let mut images = images();
    let member = (address(1), 1);
    let other = Heartbeat::new(5, STREAM + 1, geometry(), 0, false);
    let last = Heartbeat::new(5, STREAM, geometry(), 0, true);
    let status = StatusMessage::send_setup(5, STREAM, 9);
    for packet in [
        Packet::Heartbeat(other),
        Packet::Heartbeat(last),
        Packet::StatusMessage(status),
        Packet::Setup(Setup::new(5, STREAM + 1, geometry(), 1408, 0)),
    ] {
        let admitted = images.on_packet(0, member, &packet, None);
        assert_eq!(admitted, Admitted::Unexpected, "{packet:?}");
    }
    assert_eq!(images.health(0, Some(1)), None);
    assert_eq!(set_up(&mut images, 1, (1, 5)), Admitted::Yes);
    assert_eq!(beat(&mut images, 2, (1, 5), 0), Admitted::Yes);
    // Terms beyond what this receiver has room for.
    let far = 9 * TERM_LENGTH as i64;
    assert_eq!(beat(&mut images, 3, (1, 5), far), Admitted::Unexpected);
    // One that was refused before does not spoil the next.
    assert_eq!(beat(&mut images, 4, (1, 5), 0), Admitted::Yes);
    let long = Geometry::new(3, 2 * TERM_LENGTH).unwrap();
    let long = Packet::Setup(Setup::new(6, STREAM, long, 1408, 0));
    assert_eq!(images.on_packet(5, member, &long, None), Admitted::Refused);
}

#[test]
fn the_oldest_image_that_nobody_listens_to_gives_way_to_a_new_one() {
    let mut images = images();
    for session in 0..8 {
        assert_eq!(
            set_up(&mut images, session.into(), (0, session)),
            Admitted::Yes
        );
    }
    let setup = |session| Packet::Setup(Setup::new(session, STREAM, geometry(), 1408, 0));
    let member = (address(1), 1);
    for session in [8, 9] {
        // The first is listened to; the second and then the third are not.
        assert_eq!(
            images.on_packet(9, member, &setup(session), Some(1)),
            Admitted::Yes
        );
    }
    let heard = |number| images.health(9, Some(number)).map(|(heard, _)| heard);
    assert_eq!([1, 2, 3, 4].map(heard), [Some(0), None, None, Some(3)]);
    assert_eq!([9, 10, 11].map(heard), [Some(9), Some(9), None]);
    assert_eq!(images.health(9, None), None);
}

/// A member with a stream to the client at `address(0)`.
struct Member {
    publication: Publication,
    port: SimPort,
    number: usize,
}

impl Member {
    fn new(network: &SimNetwork, number: usize) -> Self {
        let config = PublicationConfig {
            session_id: number as i32,
            stream_id: STREAM,
            initial_term_id: 3,
            term_length: TERM_LENGTH,
            mtu: 1408,
            destination: address(0),
        };
        let publication = Publication::new(config).unwrap();
        let port = network.port(address(number));
        Self {
            publication,
            port,
            number,
        }
    }

    fn offer(&mut self, now: Nanos, messages: &[&[u8]]) {
        for message in messages {
            let offered = self.publication.offer(now, &[message]);
            assert!(matches!(offered, Offer::Accepted(_)), "{offered:?}");
        }
    }
}

/// Lets time pass, with images at one end and two members at the other.
fn run(images: &mut EgressImages, port: &mut SimPort, members: &mut [Member], span: (i64, i64)) {
    let mut buffer = [0; 2048];
    for now in span.0..span.1 {
        let now = now * MILLISECOND;
        for member in &mut *members {
            member.publication.do_work(now, &mut member.port);
            while let Some(received) = member.port.receive(now, &mut buffer) {
                let packet = parse(&buffer[..received.length]).unwrap();
                member.publication.on_packet(now, &packet);
            }
        }
        while let Some(received) = port.receive(now, &mut buffer) {
            let packet = parse(&buffer[..received.length]).unwrap();
            let of = |member: &&Member| address(member.number) == received.source;
            let member = members.iter().find(of).unwrap().number;
            let admitted = images.on_packet(now, (received.source, member), &packet, None);
            assert_eq!(admitted, Admitted::Yes);
        }
        images.do_work(now, port);
    }
}

fn network() -> (EgressImages, SimPort, Vec<Member>) {
    let network = SimNetwork::new(1, LinkProfile::default());
    let port = network.port(address(0));
    let members = [1, 2].map(|number| Member::new(&network, number));
    (images(), port, members.into())
}

#[test]
fn messages_are_handed_over_up_to_the_limit_and_too_long_ones_are_counted_by_member() {
    let (mut images, mut port, mut members) = network();
    run(&mut images, &mut port, &mut members, (1, 50));
    members[0].offer(50 * MILLISECOND, &[b"a", b"b", &[0; 101]]);
    members[1].offer(50 * MILLISECOND, &[b"c", &[0; 100], &[0; 101], &[0; 101]]);
    run(&mut images, &mut port, &mut members, (50, 90));
    let mut poll = |limit, action| {
        let mut seen = Vec::new();
        let work = images.poll(limit, &mut |origin, message| {
            seen.push((origin.member, message.first().copied(), message.len()));
            action
        });
        (work, seen, images.take_too_long())
    };
    let (a, b, c) = ((1, Some(b'a'), 1), (1, Some(b'b'), 1), (2, Some(b'c'), 1));
    // Each image hands one over, and it is left for later.
    assert_eq!(poll(9, PollAction::Abort), (0, vec![a, c], None));
    assert_eq!(poll(1, PollAction::Continue), (1, vec![a], None));
    assert_eq!(poll(3, PollAction::Continue), (3, vec![b, c], Some((1, 1))));
    let rest = vec![(2, Some(0), 100)];
    assert_eq!(poll(9, PollAction::Continue), (3, rest, Some((2, 2))));
    assert_eq!(poll(9, PollAction::Continue), (0, vec![], None));
}

#[test]
fn an_image_that_is_left_is_ended_told_for_a_second_and_dropped() {
    let (mut images, mut port, mut members) = network();
    assert_eq!(images.next_deadline(), None);
    run(&mut images, &mut port, &mut members, (1, 50));
    let closed = 50 * MILLISECOND;
    assert!(members[0].publication.is_connected(closed));
    assert!(images.next_deadline().is_some_and(|at| at > closed));
    assert!(
        images
            .health(closed, Some(1))
            .is_some_and(|(_, is_ended)| !is_ended)
    );
    images.close(closed);
    assert!(
        images.do_work(closed, &mut port) >= 2,
        "both senders are told"
    );
    assert_eq!(images.do_work(closed, &mut port), 0, "once");
    run(&mut images, &mut port, &mut members, (51, 60));
    assert!(!members[0].publication.is_connected(closed));
    let (before, after) = (closed + SECOND - 1, closed + SECOND);
    assert!(
        images
            .health(before, Some(1))
            .is_some_and(|(_, is_ended)| !is_ended)
    );
    assert!(
        images
            .health(after, Some(1))
            .is_some_and(|(_, is_ended)| is_ended)
    );
    images.do_work(before, &mut port);
    assert!(images.health(after, Some(2)).is_some());
    assert!(images.do_work(after, &mut port) >= 2, "two are dropped");
    assert_eq!(
        (images.health(after, Some(1)), images.next_deadline()),
        (None, None)
    );
}
