//! Packets that have no place in a stream there is, and messages longer than any that is taken,
//! are counted by their cause on the side that drops them.
#![cfg(feature = "sim")]

mod crowd;

use core::net::SocketAddr;

use crowd::Cluster;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::protocol::{EGRESS_STREAM_ID, INGRESS_STREAM_ID};
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::boot::address;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::log_buffer::{ExclusiveAppender, LogBuffer, PlainSeal, frames};
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::protocol::{
    Packet, STATUS_MESSAGE_LENGTH_MAX, Setup, StatusMessage, parse,
};
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::{MILLISECOND, SECOND};

const MTU: usize = 1408;
const TERM: usize = 1 << 20;
const SESSION: i32 = 9;

/// The frames of a stream that carries these messages.
fn stream(messages: &[&[u8]]) -> Vec<Vec<u8>> {
    let geometry = Geometry::new(7, TERM).expect("a term length");
    let mut log = LogBuffer::allocate(geometry, MTU).expect("memory");
    let mut appender = ExclusiveAppender::new(geometry, SESSION, INGRESS_STREAM_ID, MTU, 0);
    for message in messages {
        appender.offer(&mut log, Position::MAX, &[*message], &mut PlainSeal);
    }
    let end = appender.position() as usize;
    let all = frames(log.bytes(0, end));
    all.map(|frame| frame.bytes().to_vec()).collect()
}

fn connect_message(cluster: &Cluster) -> Vec<u8> {
    crowd::connect_message(cluster_id(&cluster.setup.cluster.name), 77)
}

/// One member, and somebody who set up an ingress stream there.
fn scene() -> (Cluster, SimPort, SocketAddr) {
    let cluster = crowd::led(1, 8, 10 * SECOND);
    let to = cluster.setup.cluster.members[0].ingress;
    let mut stranger = cluster.network.port(address(200, 1));
    let geometry = Geometry::new(7, TERM).expect("a term length");
    let setup = Setup::new(SESSION, INGRESS_STREAM_ID, geometry, MTU, 0);
    stranger.send(cluster.now, to, &setup.encode());
    (cluster, stranger, to)
}

#[test]
fn a_status_message_that_cannot_be_of_an_egress_stream_is_counted() {
    let (mut cluster, mut stranger, to) = scene();
    let frames = stream(&[&connect_message(&cluster)]);
    stranger.send(cluster.now, to, &frames[0]);
    cluster.run(50 * MILLISECOND);
    let mut buffer = [0; 2048];
    let heard = loop {
        let received = stranger.receive(cluster.now, &mut buffer).expect("a SETUP");
        if let Ok(Packet::Setup(setup)) = parse(&buffer[..received.length]) {
            break setup;
        }
    };
    let geometry = heard.geometry().expect("a stream's terms");
    let far = 3 * geometry.term_length() as Position;
    let status = StatusMessage::new(
        heard.session_id(),
        EGRESS_STREAM_ID,
        1,
        (geometry, far),
        4096,
    );
    let mut bytes = [0; STATUS_MESSAGE_LENGTH_MAX];
    stranger.send(cluster.now, to, status.encode(&mut bytes));
    cluster.run(MILLISECOND);
    assert_eq!(cluster.noted(0, NodeNotice::EgressPacketRefused), 1);
}

#[test]
fn a_frame_that_has_no_place_in_its_ingress_stream_is_counted() {
    let (mut cluster, mut stranger, to) = scene();
    let mut frames = stream(&[&connect_message(&cluster), b"next"]);
    stranger.send(cluster.now, to, &frames[0]);
    cluster.run(5 * MILLISECOND);
    // Of a term before the stream's first.
    frames[1][20..24].copy_from_slice(&6_i32.to_le_bytes());
    stranger.send(cluster.now, to, &frames[1]);
    cluster.run(MILLISECOND);
    assert_eq!(cluster.noted(0, NodeNotice::IngressFrameMisplaced), 1);
}

#[test]
fn a_message_longer_than_any_that_is_taken_is_counted() {
    let (mut cluster, mut stranger, to) = scene();
    let half = vec![7; 100 * 1024];
    let mut frames = stream(&[&half, &half]);
    // One message of both: the first has no end, and the second no beginning.
    let (begin, end) = (0x80, 0x40);
    let is_last = |frame: &Vec<u8>| frame[5] & end != 0;
    let last = frames.iter().position(is_last).expect("the first ends");
    frames[last][5] &= !end;
    frames[last + 1][5] &= !begin;
    for frame in &frames {
        stranger.send(cluster.now, to, frame);
        cluster.step();
    }
    cluster.run(5 * MILLISECOND);
    assert_eq!(cluster.noted(0, NodeNotice::IngressMessageTooLong), 1);
}

#[test]
fn damage_is_told_once_a_minute_whether_it_begins_a_stream_or_comes_later() {
    let (mut cluster, mut stranger, to) = scene();
    for frame in &stream(&[&connect_message(&cluster), b"next"]) {
        stranger.send(cluster.now, to, frame);
        cluster.run(5 * MILLISECOND);
    }
    let mut other = cluster.network.port(address(200, 2));
    let geometry = Geometry::new(7, TERM).expect("a term length");
    let setup = Setup::new(SESSION, INGRESS_STREAM_ID, geometry, MTU, 0);
    other.send(cluster.now, to, &setup.encode());
    other.send(cluster.now, to, &stream(&[b"first"])[0]);
    cluster.run(5 * MILLISECOND);
    let kind = NodeNotice::DamagedClientMessage;
    assert_eq!(cluster.noted(0, kind), 2);
    assert_eq!(cluster.take_lines(0, kind).len(), 1);
}
