//! Many clients at once, and strangers: nobody with a session is locked out, and whoever is
//! refused is told.
#![cfg(feature = "sim")]

mod crowd;

use core::net::SocketAddr;

use crowd::{
    CLIENT_HOST, Cluster, are_connected, ask, ask_all, connect, connect_message, describe, join,
    sessions,
};
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::protocol::INGRESS_STREAM_ID;
use lockstep_client::session::CloseReason;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::boot::address;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::log_buffer::{ExclusiveAppender, Frame, LogBuffer, PlainSeal, frames};
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::protocol::{Packet, Setup, parse};
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

const MTU: usize = 1408;
const TERM: usize = 64 * 1024;

#[test]
fn seven_hundred_clients_that_die_and_resume_at_once_keep_their_sessions() {
    const CLIENTS: usize = 700;
    let mut cluster = crowd::led(3, 1024, 10 * SECOND);
    connect(&mut cluster, CLIENTS);
    ask_all(&mut cluster, 0..CLIENTS);
    let points = crowd::kill(&mut cluster, 0..CLIENTS);
    cluster.run(100 * MILLISECOND);
    for point in points {
        assert!(point.is_some());
        join(&mut cluster, point);
    }
    let back = CLIENTS..2 * CLIENTS;
    let is_settled = |cluster: &Cluster| {
        let mut clients = cluster.clients[back.clone()].iter();
        clients.all(|client| client.client.is_connected() || client.closed().is_some())
    };
    let took = cluster.run_until(20 * SECOND, is_settled);
    // Nobody's session has expired.
    assert!(
        are_connected(&cluster, back.clone()),
        "{}",
        describe(&cluster, back)
    );
    assert!(took < 5 * SECOND, "{took} ns");
    ask_all(&mut cluster, back);
}

#[test]
fn clients_that_resume_have_places_of_their_own_while_strangers_keep_connecting() {
    const CLIENTS: usize = 50;
    let mut cluster = crowd::led(1, CLIENTS, 10 * SECOND);
    connect(&mut cluster, CLIENTS);
    let points = crowd::kill(&mut cluster, 0..CLIENTS);
    let (to, id) = ingress(&cluster, 0);
    let mut strangers: Vec<Stranger> = (0..16)
        .map(|index: u16| Stranger::new(&cluster, 200, 1 + index))
        .collect();
    let mut nonce = 0;
    let mut step = |cluster: &mut Cluster| {
        for stranger in &mut strangers {
            nonce += 1;
            stranger.connect(cluster.now, to, id, nonce);
            stranger.heard(cluster.now);
        }
        cluster.step();
    };
    for _ in 0..100 {
        step(&mut cluster);
    }
    for point in points {
        join(&mut cluster, point);
    }
    let (began, back) = (cluster.now, CLIENTS..2 * CLIENTS);
    while !are_connected(&cluster, back.clone()) {
        step(&mut cluster);
        assert!(
            cluster.now - began < 100 * MILLISECOND,
            "{}",
            describe(&cluster, back)
        );
    }
}

/// Where a member hears clients, and what those call its cluster.
fn ingress(cluster: &Cluster, member: usize) -> (SocketAddr, u64) {
    let config = &cluster.setup.cluster;
    (config.members[member].ingress, cluster_id(&config.name))
}

/// Somebody who knows the protocol and is nobody's client.
struct Stranger {
    port: SimPort,
}

impl Stranger {
    fn new(cluster: &Cluster, host: u8, port: u16) -> Self {
        Self {
            port: cluster.network.port(address(host, port)),
        }
    }

    fn set_up(&mut self, now: Nanos, to: SocketAddr, session_id: i32) {
        let geometry = Geometry::new(7, TERM).expect("a term length");
        let setup = Setup::new(session_id, INGRESS_STREAM_ID, geometry, MTU, 0);
        self.port.send(now, to, &setup.encode());
    }

    /// Says at once all that a client says until it is answered.
    fn connect(&mut self, now: Nanos, to: SocketAddr, cluster: u64, nonce: u64) {
        self.set_up(now, to, nonce as i32);
        let frame = first_frame(nonce as i32, &connect_message(cluster, nonce));
        self.port.send(now, to, &frame);
    }

    fn heard(&mut self, now: Nanos) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2048];
        let mut heard = Vec::new();
        while let Some(datagram) = self.port.receive(now, &mut buffer) {
            heard.push(buffer[..datagram.length].to_vec());
        }
        heard
    }
}

/// The datagram of a stream's first message.
fn first_frame(session_id: i32, message: &[u8]) -> Vec<u8> {
    let geometry = Geometry::new(7, TERM).expect("a term length");
    let mut log = LogBuffer::allocate(geometry, MTU).expect("memory");
    let mut appender = ExclusiveAppender::new(geometry, session_id, INGRESS_STREAM_ID, MTU, 0);
    appender.offer(&mut log, Position::MAX, &[message], &mut PlainSeal);
    let frame: Frame<'_> = frames(log.bytes(0, TERM))
        .next()
        .expect("a frame was appended");
    frame.bytes().to_vec()
}

#[test]
fn sockets_that_only_send_setups_keep_nobody_out() {
    let mut cluster = crowd::led(1, 1024, 10 * SECOND);
    let (to, _) = ingress(&cluster, 0);
    // From the host of the clients, as on loopback.
    let mut strangers: Vec<Stranger> = (0..80)
        .map(|port| Stranger::new(&cluster, CLIENT_HOST, 30_000 + port))
        .collect();
    for round in 0..25_000 {
        if round == 5_000 {
            for _ in 0..20 {
                join(&mut cluster, None);
            }
        }
        // Sixteen streams each, over and over.
        for stranger in &mut strangers {
            stranger.set_up(cluster.now, to, round % 16);
        }
        cluster.step();
    }
    let all = describe(&cluster, 0..20);
    assert!(are_connected(&cluster, 0..20), "{all}");
    ask_all(&mut cluster, 0..20);
    cluster.member(0).expect_told(NodeNotice::HalfOpenDisplaced);
}

#[test]
fn a_flood_of_setups_from_another_host_is_not_felt() {
    let mut cluster = crowd::led(1, 1024, 10 * SECOND);
    let (to, _) = ingress(&cluster, 0);
    let mut stranger = Stranger::new(&cluster, 200, 1);
    for _ in 0..20 {
        join(&mut cluster, None);
    }
    let mut serial = 0;
    for _ in 0..300 {
        for _ in 0..500 {
            serial += 1;
            stranger.set_up(cluster.now, to, serial);
        }
        stranger.heard(cluster.now);
        cluster.step();
    }
    let all = describe(&cluster, 0..20);
    assert!(are_connected(&cluster, 0..20), "{all}");
}

#[test]
fn every_refused_connect_is_answered() {
    const MEMBERS: usize = 64;
    const REFUSED: usize = 1_500;
    let mut cluster = crowd::led(1, MEMBERS, 10 * SECOND);
    connect(&mut cluster, MEMBERS);
    for _ in 0..REFUSED {
        join(&mut cluster, None);
    }
    let all = MEMBERS..MEMBERS + REFUSED;
    cluster.run_until(20 * SECOND, |cluster| {
        let mut clients = cluster.clients[all.clone()].iter();
        clients.all(|client| client.closed().is_some())
    });
    for client in all {
        cluster.expect_closed(client, Some(CloseReason::Rejected));
        let detail = cluster.clients[client].client.close_detail();
        assert_eq!(detail, b"concurrent session limit".as_slice());
    }
    ask_all(&mut cluster, 0..MEMBERS);
    assert_eq!(sessions(&cluster), MEMBERS);
    let refused = cluster.noted(0, NodeNotice::SessionLimit);
    assert!(refused >= REFUSED as u64, "{refused} refused");
}

/// Of each of some clients that has a request under way when it asked, and how many answers it had
/// then.
type Open = Vec<Option<(Nanos, usize)>>;

/// Asks in turns for `duration`; returns the longest that an answer took, or has taken so far.
fn longest_answer(cluster: &mut Cluster, open: &mut Open, duration: Nanos) -> Nanos {
    let answered = |cluster: &Cluster, client: usize| cluster.clients[client].answered();
    let (end, mut longest, mut turn) = (cluster.now + duration, 0, 0);
    while cluster.now < end {
        let client = turn % open.len();
        if open[client].is_none() {
            open[client] = Some((cluster.now, answered(cluster, client)));
            assert!(ask(cluster, client), "{}", describe(cluster, 0..open.len()));
        }
        turn += 1;
        cluster.step();
        for (client, open) in open.iter_mut().enumerate() {
            let Some((asked, before)) = *open else {
                continue;
            };
            longest = longest.max(cluster.now - asked);
            if answered(cluster, client) > before {
                *open = None;
            }
        }
    }
    longest
}

#[test]
fn five_thousand_connects_from_strangers_cost_healthy_clients_nothing() {
    const HEALTHY: usize = 50;
    let mut cluster = crowd::led(1, HEALTHY, 10 * SECOND);
    connect(&mut cluster, HEALTHY);
    let mut open: Open = vec![None; HEALTHY];
    let usual = longest_answer(&mut cluster, &mut open, SECOND);
    let (to, id) = ingress(&cluster, 0);
    let mut strangers: Vec<Stranger> = (0..5_000)
        .map(|index: u16| Stranger::new(&cluster, 200 + (index % 4) as u8, 1 + index))
        .collect();
    // Within a tenth of a second, never to be heard of again.
    let mut longest = 0;
    for (index, group) in strangers.chunks_mut(500).enumerate() {
        for (at, stranger) in group.iter_mut().enumerate() {
            let nonce = (index * 1_000 + at) as u64 + 1;
            stranger.connect(cluster.now, to, id, nonce);
        }
        longest = longest.max(longest_answer(&mut cluster, &mut open, 10 * MILLISECOND));
    }
    longest = longest.max(longest_answer(&mut cluster, &mut open, 10 * SECOND));
    assert!(
        longest <= usual + 3 * MILLISECOND,
        "an answer took {longest} ns, {usual} without strangers"
    );
    assert_eq!(sessions(&cluster), HEALTHY);
    assert!(are_connected(&cluster, 0..HEALTHY));
    // Most were not even given memory.
    let refused = cluster.noted(0, NodeNotice::IngressImagesFull);
    assert!(refused > 4_000, "{refused} refused");
    // Who was given some made room for later ones.
    cluster.member(0).expect_told(NodeNotice::StrangerDisplaced);
}

#[test]
fn a_stream_is_answered_three_times_before_its_first_message() {
    let mut cluster = crowd::led(1, 8, 10 * SECOND);
    let (to, _) = ingress(&cluster, 0);
    let mut stranger = Stranger::new(&cluster, 200, 1);
    let mut answers = 0;
    for _ in 0..30 {
        stranger.set_up(cluster.now, to, 5);
        cluster.run(100 * MILLISECOND);
        answers += stranger.heard(cluster.now).len();
    }
    assert_eq!(answers, 3);
    assert_eq!(cluster.noted(0, NodeNotice::HalfOpenExhausted), 27);
}

#[test]
fn whoever_has_not_been_heard_of_is_sent_three_setups_per_connect() {
    let mut cluster = crowd::led(1, 8, 10 * SECOND);
    let (to, id) = ingress(&cluster, 0);
    // A forged source: it says what a client says, and never answers.
    let mut stranger = Stranger::new(&cluster, 200, 1);
    stranger.connect(cluster.now, to, id, 77);
    cluster.run(3 * SECOND);
    let heard = stranger.heard(cluster.now);
    let is_setup = |bytes: &&Vec<u8>| matches!(parse(bytes), Ok(Packet::Setup(_)));
    assert_eq!(heard.iter().filter(is_setup).count(), 3);
    assert_eq!(cluster.noted(0, NodeNotice::ClientUnheard), 1);
}

/// What a stranger is sent that says at once all that a client says, and never answers.
fn sent_to_stranger(cluster: &mut Cluster, member: usize) -> usize {
    let (to, id) = ingress(cluster, member);
    let mut stranger = Stranger::new(cluster, 200, 1);
    stranger.connect(cluster.now, to, id, 77);
    cluster.run(3 * SECOND);
    let heard = stranger.heard(cluster.now);
    let is_setup = |bytes: &&Vec<u8>| matches!(parse(bytes), Ok(Packet::Setup(_)));
    assert_eq!(heard.iter().filter(is_setup).count(), 3);
    heard.iter().map(Vec::len).sum()
}

#[test]
fn a_member_without_a_leader_sends_a_stranger_no_more_than_one_with_a_leader() {
    let mut cluster = crowd::led(3, 8, 10 * SECOND);
    let with_leader = sent_to_stranger(&mut cluster, 1);
    let mut cluster = crowd::down(3, 8, 10 * SECOND);
    // The others never start: nobody leads.
    cluster.member(0).start();
    cluster.run(3 * SECOND);
    let without = sent_to_stranger(&mut cluster, 0);
    assert!(
        without <= with_leader,
        "{without} bytes, {with_leader} with a leader"
    );
    assert_eq!(cluster.noted(0, NodeNotice::ConnectWithoutLeader), 1);
}

#[test]
fn connects_that_find_no_place_to_be_answered_from_are_counted_once_each() {
    const CONNECTS: u64 = 200;
    let mut cluster = crowd::down(3, 8, 10 * SECOND);
    cluster.member(0).start();
    cluster.run(SECOND);
    let (to, id) = ingress(&cluster, 0);
    let mut strangers: Vec<Stranger> = (0..CONNECTS as u16)
        .map(|port| Stranger::new(&cluster, 200, 1 + port))
        .collect();
    for (nonce, stranger) in (1..).zip(&mut strangers) {
        stranger.connect(cluster.now, to, id, nonce);
    }
    cluster.run(100 * MILLISECOND);
    let waited = cluster.noted(0, NodeNotice::ConnectAwaitsChannel);
    let displaced = cluster.noted(0, NodeNotice::AnswerDisplaced);
    assert!((1..=CONNECTS).contains(&waited), "{waited} waited");
    // Those that waited took the places of older ones, which were not heard.
    assert!((1..=CONNECTS).contains(&displaced), "{displaced} displaced");
}
