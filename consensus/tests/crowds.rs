//! Many clients at once, and strangers: nobody with a session is locked out, and whoever is
//! refused is told.
#![cfg(feature = "sim")]

mod crowd;

use core::net::SocketAddr;

use crowd::{CLIENT_HOST, Client, Crowd, STEP_NS, address};
use lockstep_client::protocol::{ConnectRequest, EGRESS_STREAM_ID, INGRESS_STREAM_ID};
use lockstep_client::session::CloseReason;
use lockstep_consensus::agent::identity::cluster_id;
use lockstep_consensus::notice::NodeNotice;
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
    let mut crowd = Crowd::new(3, 1024, 10 * SECOND);
    crowd.run(2 * SECOND);
    crowd.connect(CLIENTS);
    crowd.ask_all(0..CLIENTS);
    let points: Vec<_> = (0..CLIENTS)
        .map(|client| crowd.clients[client].client.resume_point())
        .collect();
    for client in 0..CLIENTS {
        crowd.kill(client);
    }
    crowd.run(100 * MILLISECOND);
    let began = crowd.now;
    crowd.clients.clear();
    for point in points {
        assert!(point.is_some());
        crowd.join(point);
    }
    let is_settled = |crowd: &Crowd| {
        let is_settled = |client: &Client| client.is_connected() || client.closed.is_some();
        crowd.clients.iter().all(is_settled)
    };
    assert!(
        crowd.run_until(20 * SECOND, is_settled),
        "{}",
        crowd.describe(0..CLIENTS)
    );
    let expired = crowd.clients.iter().filter(|c| c.closed.is_some()).count();
    assert_eq!(expired, 0, "{}", crowd.describe(0..CLIENTS));
    assert!(crowd.now - began < 5 * SECOND, "{} ns", crowd.now - began);
    crowd.ask_all(0..CLIENTS);
}

#[test]
fn clients_that_resume_have_places_of_their_own_while_strangers_keep_connecting() {
    const CLIENTS: usize = 50;
    let mut crowd = Crowd::new(1, CLIENTS, 10 * SECOND);
    crowd.run(SECOND);
    crowd.connect(CLIENTS);
    let points: Vec<_> = (0..CLIENTS)
        .map(|client| crowd.clients[client].client.resume_point())
        .collect();
    for client in 0..CLIENTS {
        crowd.kill(client);
    }
    crowd.clients.clear();
    let (to, cluster) = (
        crowd.cluster.members[0].ingress,
        cluster_id(&crowd.cluster.name),
    );
    let mut strangers: Vec<Stranger> = (0..16)
        .map(|index: u16| Stranger::new(&crowd, 200, 1 + index))
        .collect();
    let mut nonce = 0;
    let mut step = |crowd: &mut Crowd| {
        for stranger in &mut strangers {
            nonce += 1;
            stranger.connect(crowd.now, to, cluster, nonce);
            stranger.heard(crowd.now);
        }
        crowd.step();
    };
    for _ in 0..100 {
        step(&mut crowd);
    }
    for point in points {
        crowd.join(point);
    }
    let began = crowd.now;
    while !crowd.clients.iter().all(Client::is_connected) {
        step(&mut crowd);
        assert!(
            crowd.now - began < 100 * MILLISECOND,
            "{}",
            crowd.describe(0..CLIENTS)
        );
    }
}

/// Somebody who knows the protocol and is nobody's client.
struct Stranger {
    port: SimPort,
}

impl Stranger {
    fn new(crowd: &Crowd, host: u8, port: u16) -> Self {
        Self {
            port: crowd.network.port(address(host, port)),
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
        let connect = ConnectRequest {
            correlation_id: nonce as i64,
            cluster_id: cluster,
            nonce,
            resume_session: -1,
            resume_token: 0,
            last_received: 0,
            last_received_ordinal: 0,
            response_stream_id: EGRESS_STREAM_ID,
            version: lockstep_client::protocol::PROTOCOL_VERSION,
            session_timeout_ms: 0,
            connect_epoch: 1,
            incarnation: nonce,
            principal: b"",
        };
        let mut bytes = [0; 512];
        let length = connect.encode(&mut bytes).expect("it fits");
        let frame = first_frame(nonce as i32, &bytes[..length]);
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
    let mut crowd = Crowd::new(1, 1024, 10 * SECOND);
    crowd.run(SECOND);
    let to = crowd.cluster.members[0].ingress;
    // From the host of the clients, as on loopback.
    let mut strangers: Vec<Stranger> = (0..80)
        .map(|port| Stranger::new(&crowd, CLIENT_HOST, 30_000 + port))
        .collect();
    for round in 0..25_000 {
        if round == 5_000 {
            for _ in 0..20 {
                crowd.join(None);
            }
        }
        // Sixteen streams each, over and over.
        for stranger in &mut strangers {
            stranger.set_up(crowd.now, to, round % 16);
        }
        crowd.step();
    }
    let is_done = |crowd: &Crowd| crowd.clients.iter().all(Client::is_connected);
    assert!(is_done(&crowd), "{}", crowd.describe(0..20));
    crowd.ask_all(0..20);
    let notices = &crowd.nodes[0].parts().notices;
    assert!(notices.count(NodeNotice::HalfOpenDisplaced) > 0);
}

#[test]
fn a_flood_of_setups_from_another_host_is_not_felt() {
    let mut crowd = Crowd::new(1, 1024, 10 * SECOND);
    crowd.run(SECOND);
    let to = crowd.cluster.members[0].ingress;
    let mut stranger = Stranger::new(&crowd, 200, 1);
    for _ in 0..20 {
        crowd.join(None);
    }
    let mut serial = 0;
    for _ in 0..300 {
        for _ in 0..500 {
            serial += 1;
            stranger.set_up(crowd.now, to, serial);
        }
        stranger.heard(crowd.now);
        crowd.step();
    }
    assert!(
        crowd.clients.iter().all(Client::is_connected),
        "{}",
        crowd.describe(0..20)
    );
}

#[test]
fn every_refused_connect_is_answered() {
    const MEMBERS: usize = 64;
    const REFUSED: usize = 1_500;
    let mut crowd = Crowd::new(1, MEMBERS, 10 * SECOND);
    crowd.run(SECOND);
    crowd.connect(MEMBERS);
    for _ in 0..REFUSED {
        crowd.join(None);
    }
    let all = MEMBERS..MEMBERS + REFUSED;
    let is_done = |crowd: &Crowd| {
        let mut clients = crowd.clients[all.clone()].iter();
        clients.all(|client| client.closed.is_some())
    };
    let is_done = crowd.run_until(20 * SECOND, is_done);
    assert!(is_done, "{}", crowd.describe(all.clone()));
    for client in &crowd.clients[all] {
        assert_eq!(client.closed, Some(CloseReason::Rejected));
        assert_eq!(
            client.client.close_detail(),
            b"concurrent session limit".as_slice()
        );
    }
    crowd.ask_all(0..MEMBERS);
    assert_eq!(crowd.sessions(), MEMBERS);
    let refused = crowd
        .leader()
        .parts()
        .notices
        .count(NodeNotice::SessionLimit);
    assert!(refused >= REFUSED as u64, "{refused} refused");
}

/// Asks in turns for `duration`; returns the longest that an answer took.
fn longest_answer(crowd: &mut Crowd, healthy: usize, duration: Nanos) -> Nanos {
    for client in &mut crowd.clients[..healthy] {
        client.longest = 0;
    }
    let end = crowd.now + duration;
    let mut turn = 0;
    while crowd.now < end {
        let client = &mut crowd.clients[turn % healthy];
        if client.asked.is_none() {
            assert!(client.ask(crowd.now), "{:?}", client.client.state());
        }
        turn += 1;
        crowd.step();
    }
    let now = crowd.now;
    let clients = &crowd.clients[..healthy];
    let longest = clients.iter().map(|client| client.longest).max();
    let open = clients.iter().filter_map(|client| client.asked);
    let waiting = open.map(|asked| now - asked).max();
    longest.max(waiting).unwrap_or(0)
}

#[test]
fn five_thousand_connects_from_strangers_cost_healthy_clients_nothing() {
    const HEALTHY: usize = 50;
    let mut crowd = Crowd::new(1, HEALTHY, 10 * SECOND);
    crowd.run(SECOND);
    crowd.connect(HEALTHY);
    let usual = longest_answer(&mut crowd, HEALTHY, SECOND);
    let (to, cluster) = (
        crowd.cluster.members[0].ingress,
        cluster_id(&crowd.cluster.name),
    );
    let now = crowd.now;
    let mut strangers: Vec<Stranger> = (0..5_000)
        .map(|index: u16| Stranger::new(&crowd, 200 + (index % 4) as u8, 1 + index))
        .collect();
    // Within a tenth of a second, never to be heard of again.
    let mut longest = 0;
    for (index, group) in strangers.chunks_mut(500).enumerate() {
        for (at, stranger) in group.iter_mut().enumerate() {
            let nonce = (index * 1_000 + at) as u64 + 1;
            stranger.connect(crowd.now, to, cluster, nonce);
        }
        longest = longest.max(longest_answer(&mut crowd, HEALTHY, 10 * MILLISECOND));
    }
    longest = longest.max(longest_answer(&mut crowd, HEALTHY, 10 * SECOND));
    assert!(crowd.now > now + 10 * SECOND);
    assert!(
        longest <= usual + 3 * MILLISECOND,
        "an answer took {longest} ns, {usual} without strangers"
    );
    assert_eq!(crowd.sessions(), HEALTHY);
    assert!(crowd.clients.iter().all(Client::is_connected));
    // Most were not even given memory.
    let notices = &crowd.leader().parts().notices;
    let refused = notices.count(NodeNotice::IngressImagesFull);
    assert!(refused > 4_000, "{refused} refused");
    // Who was given some made room for later ones.
    assert!(notices.count(NodeNotice::StrangerDisplaced) > 0);
}

#[test]
fn a_stream_is_answered_three_times_before_its_first_message() {
    let mut crowd = Crowd::new(1, 8, 10 * SECOND);
    crowd.run(SECOND);
    let to = crowd.cluster.members[0].ingress;
    let mut stranger = Stranger::new(&crowd, 200, 1);
    let mut answers = 0;
    for _ in 0..30 {
        stranger.set_up(crowd.now, to, 5);
        crowd.run(100 * MILLISECOND);
        answers += stranger.heard(crowd.now).len();
    }
    assert_eq!(answers, 3);
    let notices = &crowd.nodes[0].parts().notices;
    assert_eq!(notices.count(NodeNotice::HalfOpenExhausted), 27);
}

#[test]
fn whoever_has_not_been_heard_of_is_sent_three_setups_per_connect() {
    let mut crowd = Crowd::new(1, 8, 10 * SECOND);
    crowd.run(SECOND);
    let (to, cluster) = (
        crowd.cluster.members[0].ingress,
        cluster_id(&crowd.cluster.name),
    );
    // A forged source: it says what a client says, and never answers.
    let mut stranger = Stranger::new(&crowd, 200, 1);
    stranger.connect(crowd.now, to, cluster, 77);
    crowd.run(3 * SECOND);
    let heard = stranger.heard(crowd.now);
    let is_setup = |bytes: &&Vec<u8>| matches!(parse(bytes), Ok(Packet::Setup(_)));
    assert_eq!(heard.iter().filter(is_setup).count(), 3);
    assert!(crowd.now > STEP_NS);
    let notices = &crowd.nodes[0].parts().notices;
    assert_eq!(notices.count(NodeNotice::ClientUnheard), 1);
}

/// What a stranger is sent that says at once all that a client says, and never answers.
fn sent_to_stranger(crowd: &mut Crowd, member: usize) -> usize {
    let to = crowd.cluster.members[member].ingress;
    let cluster = cluster_id(&crowd.cluster.name);
    let mut stranger = Stranger::new(crowd, 200, 1);
    stranger.connect(crowd.now, to, cluster, 77);
    crowd.run(3 * SECOND);
    let heard = stranger.heard(crowd.now);
    let is_setup = |bytes: &&Vec<u8>| matches!(parse(bytes), Ok(Packet::Setup(_)));
    assert_eq!(heard.iter().filter(is_setup).count(), 3);
    heard.iter().map(Vec::len).sum()
}

#[test]
fn a_member_without_a_leader_sends_a_stranger_no_more_than_one_with_a_leader() {
    let mut crowd = Crowd::new(3, 8, 10 * SECOND);
    crowd.run(3 * SECOND);
    let is_follower = |node: &crowd::Node| !node.parts().leadership.is_leading();
    let follower = crowd.nodes.iter().position(is_follower);
    let follower = follower.expect("two of three follow");
    let with_leader = sent_to_stranger(&mut crowd, follower);
    let mut crowd = Crowd::new(3, 8, 10 * SECOND);
    // The others never start: nobody leads.
    crowd.nodes.truncate(1);
    crowd.run(3 * SECOND);
    let without = sent_to_stranger(&mut crowd, 0);
    assert!(
        without <= with_leader,
        "{without} bytes, {with_leader} with a leader"
    );
    let notices = &crowd.nodes[0].parts().notices;
    assert_eq!(notices.count(NodeNotice::ConnectWithoutLeader), 1);
}

#[test]
fn connects_that_find_no_place_to_be_answered_from_are_counted_once_each() {
    const CONNECTS: u64 = 200;
    let mut crowd = Crowd::new(3, 8, 10 * SECOND);
    crowd.nodes.truncate(1);
    crowd.run(SECOND);
    let (to, cluster) = (
        crowd.cluster.members[0].ingress,
        cluster_id(&crowd.cluster.name),
    );
    let mut strangers: Vec<Stranger> = (0..CONNECTS as u16)
        .map(|port| Stranger::new(&crowd, 200, 1 + port))
        .collect();
    for (nonce, stranger) in (1..).zip(&mut strangers) {
        stranger.connect(crowd.now, to, cluster, nonce);
    }
    crowd.run(100 * MILLISECOND);
    let notices = &crowd.nodes[0].parts().notices;
    let waited = notices.count(NodeNotice::ConnectAwaitsChannel);
    let displaced = notices.count(NodeNotice::AnswerDisplaced);
    assert!((1..=CONNECTS).contains(&waited), "{waited} waited");
    // Those that waited took the places of older ones, which were not heard.
    assert!((1..=CONNECTS).contains(&displaced), "{displaced} displaced");
}
