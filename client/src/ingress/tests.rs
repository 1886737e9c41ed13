//! One stream to the member that is spoken to, and an orderly end of those before.

use lockstep_transport::position::Geometry;
use lockstep_transport::protocol::{Nak, StatusMessage, parse};
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::{MILLISECOND, SECOND};

use super::*;

const STREAM: i32 = 101;
const TERM_LENGTH: usize = 1 << 16;

fn address(member: u16) -> SocketAddr {
    ([10, 0, 0, 1], 100 + member).into()
}

fn config(session_id: i32, member: u16) -> PublicationConfig {
    PublicationConfig {
        session_id,
        stream_id: STREAM,
        initial_term_id: 3,
        term_length: TERM_LENGTH,
        mtu: 1408,
        destination: address(member),
    }
}

/// What a member that has everything up to `position` says of the stream `session_id`.
fn status(session_id: i32, position: i64) -> Packet<'static> {
    let geometry = Geometry::new(3, TERM_LENGTH).unwrap();
    let consumed = (geometry, position);
    let status = StatusMessage::new(session_id, STREAM, 1, consumed, TERM_LENGTH / 2);
    Packet::StatusMessage(status)
}

/// A stream of session 5 to member 1 that is connected at time 0, and the network's ends.
fn connected() -> (IngressStreams, SimPort, SimPort) {
    let network = SimNetwork::new(1, LinkProfile::default());
    let (port, member) = (network.port(address(0)), network.port(address(1)));
    let mut streams = IngressStreams::new();
    assert!(streams.is_done() && streams.next_deadline().is_none());
    streams.open(1, config(5, 1)).unwrap();
    assert!(!streams.is_connected(0) && !streams.offer(0, &[b"early"]));
    assert!(streams.on_packet(0, address(1), &status(5, 0)));
    assert!(streams.is_connected(0) && !streams.is_done());
    assert_eq!(streams.connected_until(), Some(5 * SECOND));
    (streams, port, member)
}

/// Bytes of messages and ends of streams that have arrived.
fn arrived(port: &mut SimPort, now: Nanos) -> (usize, usize) {
    let (mut bytes, mut ends, mut buffer) = (0, 0, [0; 2048]);
    while let Some(received) = port.receive(now, &mut buffer) {
        match parse(&buffer[..received.length]).unwrap() {
            Packet::Data(data) => bytes += data.advance(),
            Packet::Heartbeat(heartbeat) => ends += usize::from(heartbeat.is_end_of_stream()),
            _ => {}
        }
    }
    (bytes, ends)
}

#[test]
fn what_is_offered_leaves_at_once_and_only_on_the_present_stream() {
    let (mut streams, mut port, mut member) = connected();
    assert!(streams.offer(MILLISECOND, &[b"head", b"body"]));
    assert!(streams.send(MILLISECOND, &mut port) > 0);
    assert_eq!(arrived(&mut member, SECOND).0, 64);
    streams.end();
    assert!(!streams.offer(MILLISECOND, &[b"late"]) && !streams.is_connected(MILLISECOND));
    assert_eq!(streams.connected_until(), None);
    assert_eq!(streams.send(MILLISECOND, &mut port), 0);
}

#[test]
fn control_frames_are_taken_from_the_member_of_the_stream_only_and_where_they_fit() {
    let (mut streams, ..) = connected();
    assert!(streams.on_packet(1, address(1), &status(5, 0)));
    assert!(!streams.on_packet(1, address(2), &status(5, 0)));
    assert!(!streams.on_packet(1, address(1), &status(6, 0)));
    // A NAK of what was never sent.
    let geometry = Geometry::new(3, TERM_LENGTH).unwrap();
    let nak = Packet::Nak(Nak::new(5, STREAM, geometry, 4096, 64));
    assert!(!streams.on_packet(1, address(1), &nak));
    // The stream before is heard until it has ended.
    streams.open(2, config(6, 2)).unwrap();
    assert_eq!(streams.epoch(), 2);
    assert!(streams.on_packet(1, address(1), &status(5, 0)));
    assert!(streams.on_packet(1, address(2), &status(6, 0)));
}

#[test]
fn a_stream_that_cannot_be_had_leaves_the_present_one_as_it_is() {
    let (mut streams, ..) = connected();
    let impossible = PublicationConfig {
        mtu: 31,
        ..config(6, 2)
    };
    assert!(streams.open(2, impossible).is_err());
    assert_eq!(streams.epoch(), 1);
    assert!(streams.is_connected(0) && streams.offer(0, &[b"still"]));
}

#[test]
fn an_ended_stream_delivers_what_was_offered_says_so_and_is_dropped_once_heard() {
    let (mut streams, mut port, mut member) = connected();
    assert!(streams.offer(MILLISECOND, &[b"last"]));
    streams.end();
    assert!(!streams.is_done());
    assert!(streams.do_work(2 * MILLISECOND, &mut port) > 0);
    streams.do_work(3 * MILLISECOND, &mut port);
    let (bytes, ends) = arrived(&mut member, SECOND);
    assert_eq!((bytes, ends > 0), (64, true));
    assert!(
        streams
            .next_deadline()
            .is_some_and(|at| at > 3 * MILLISECOND)
    );
    // The member is silent: the stream goes when it counts as gone.
    let gone = 5 * SECOND;
    streams.do_work(gone - 1, &mut port);
    assert!(!streams.is_done());
    assert!(streams.next_deadline().is_some_and(|at| at <= gone));
    streams.do_work(gone, &mut port);
    assert!(streams.is_done() && streams.next_deadline().is_none());
}

#[test]
fn a_stream_that_was_never_connected_has_nobody_to_tell_of_its_end() {
    let (mut streams, mut port, _) = connected();
    streams.open(2, config(6, 2)).unwrap();
    streams.end();
    streams.do_work(MILLISECOND, &mut port);
    assert!(!streams.on_packet(MILLISECOND, address(2), &status(6, 0)));
    assert!(streams.on_packet(MILLISECOND, address(1), &status(5, 0)));
}

#[test]
fn of_four_streams_that_end_the_oldest_is_given_up() {
    let (mut streams, ..) = connected();
    for session in 6..10 {
        streams.open(2, config(session, 1)).unwrap();
    }
    let mut is_heard = |session| streams.on_packet(1, address(1), &status(session, 0));
    assert_eq!(
        [5, 6, 7, 8, 9].map(&mut is_heard),
        [false, true, true, true, true]
    );
}
