//! Datagrams that no member or client of this run sends: of strangers, of nodes with another
//! configuration at a member's address, of clients of other clusters and versions.
//!
//! All of them must be refused, with a word; none may change anything.

use core::net::{Ipv4Addr, SocketAddr};

use lockstep_archive::files::catalog::LOG_STREAM_ID;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::protocol::{
    ConnectRequest, EGRESS_STREAM_ID, INGRESS_STREAM_ID, PROTOCOL_VERSION,
};
use lockstep_transport::ids::{LeadershipTermId, SessionId};
use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::log_buffer::{
    ExclusiveAppender, HEADER_LENGTH, LogBuffer, PlainSeal, Seal, frames,
};
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::protocol::{Heartbeat, Setup};

use crate::module::member::MemberId;
use crate::module::membership::Sender;
use crate::protocol::message::MemberMessage;
use crate::protocol::{Envelope, MEMBER_MESSAGE_MAX, encode};
use crate::sim::tank::Tank;

const TERM: usize = 64 * 1024;
const MTU: usize = 1408;

/// A leadership term that no run reaches.
const NO_TERM: u32 = 1 << 30;

impl Tank {
    /// Somebody who is not of this cluster says something to a member or to a client.
    pub(super) fn hear_strangers(&mut self, id: usize) -> bool {
        match self.random.range(0..5) {
            0 => self.hear_noise(id),
            1 => self.hear_odd_member(id),
            4 => self.hear_odd_log(id),
            2 => self.hear_odd_client(id),
            _ => self.hear_noise_at_client(id),
        }
    }

    fn stranger(&mut self) -> SocketAddr {
        let (host, port) = (self.random.range(1..255), self.random.range(1..60_000));
        SocketAddr::from((Ipv4Addr::new(10, 9, 0, host as u8), port as u16))
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.random.range(1..200);
        (0..length).map(|_| self.random.next_u64() as u8).collect()
    }

    fn hear_noise(&mut self, id: usize) -> bool {
        let (from, noise) = (self.stranger(), self.noise());
        let member = &self.members[id];
        let to = [member.member(), member.ingress()][self.random.range(0..2) as usize];
        self.network.forge(self.now, from, to, &noise);
        true
    }

    /// A node whose configuration is wrong, at another member's address, or a second process of
    /// its directory.
    fn hear_odd_member(&mut self, id: usize) -> bool {
        let other = (id + 1) % self.members.len();
        let agents = self.members[other].node().map(|node| node.agents());
        let Some(agents) = agents.filter(|_| other != id) else {
            return false;
        };
        let sender = agents.consensus.membership.sender();
        let mut envelope = Envelope {
            cluster_id: agents.consensus.facts.cluster_id,
            config_digest: agents.consensus.facts.config_digest,
            from: other as MemberId,
            sender,
            message: MemberMessage::PreVoteRequest {
                term: LeadershipTermId::new(self.random.range(1..100) as i64),
                log_term: LeadershipTermId::NONE,
                position: 0,
            },
        };
        let odd = self.random.next_u64();
        let mut is_of_other_version = false;
        match self.random.range(0..6) {
            0 => envelope.cluster_id ^= odd | 1,
            1 => envelope.config_digest ^= odd | 1,
            2 => envelope.from = id as MemberId,
            3 if sender.cluster != 0 => {
                envelope.sender = Sender {
                    cluster: sender.cluster ^ u128::from(odd | 1),
                    ..sender
                };
            }
            // Whoever has not heard of this life would take the other for it.
            4 if self.knows_start_of(id, other) => envelope.sender.incarnation.nonce ^= odd | 1,
            _ => is_of_other_version = true,
        }
        let mut bytes = [0; MEMBER_MESSAGE_MAX];
        let length = encode(&envelope, &mut bytes);
        let bytes = &mut bytes[..length];
        if is_of_other_version {
            make_unknown(bytes, envelope.from);
        }
        let (from, to) = (self.members[other].member(), self.members[id].member());
        self.network.forge(self.now, from, to, bytes);
        true
    }

    /// The leader's log as nobody sends it: its end is announced, or a whole frame of it is of a
    /// leadership term that never was.
    fn hear_odd_log(&mut self, id: usize) -> bool {
        let agents = self.members[id].node().map(|node| node.agents());
        let leader = agents.and_then(|agents| agents.consensus.module.leader().zip(Some(agents)));
        let Some((leader, agents)) = leader.filter(|(leader, _)| usize::from(*leader) != id) else {
            return false;
        };
        let session_id = agents.consensus.facts.log_session_id;
        let (geometry, end) = (
            agents.consensus.log.buffer().geometry(),
            agents.consensus.log.append(),
        );
        let bytes = if self.random.chance(0.5) {
            let end = Heartbeat::new(session_id, LOG_STREAM_ID, geometry, end, true);
            end.encode().to_vec()
        } else {
            let mut log = LogBuffer::allocate(geometry, MTU).expect("three short terms of memory");
            let mut appender = ExclusiveAppender::new(geometry, session_id, LOG_STREAM_ID, MTU, 0);
            let mut seal = FrameSeal::new(NO_TERM);
            appender.offer(&mut log, Position::MAX, &[b"odd"], &mut seal);
            let bytes = log.bytes(0, appender.position() as usize);
            bytes.to_vec()
        };
        let from = self.members[usize::from(leader)].member();
        self.network
            .forge(self.now, from, self.members[id].member(), &bytes);
        true
    }

    /// Whether `id` durably knows the present start of `other`.
    fn knows_start_of(&self, id: usize, other: usize) -> bool {
        let agents = self.members[other].node().map(|node| node.agents());
        agents.is_some_and(|agents| {
            let sender = agents.consensus.membership.sender();
            let known = self.members[id].known_start(other, sender.directory);
            sender.cluster != 0 && known == Some(sender.incarnation.counter)
        })
    }

    /// Somebody who speaks the clients' protocol and means another cluster, speaks another
    /// version, asks for a session that never was, or says what nobody understands.
    fn hear_odd_client(&mut self, id: usize) -> bool {
        let from = self.stranger();
        let to = self.members[id].ingress();
        let session_id = self.random.next_u64() as i32;
        let kind = self.random.range(0..6);
        // Terms longer than any that are taken.
        let term = if kind == 0 { 1 << 30 } else { TERM };
        let Some(geometry) = Geometry::new(self.random.next_u64() as i32, term) else {
            return false;
        };
        let setup = Setup::new(session_id, INGRESS_STREAM_ID, geometry, MTU, 0);
        self.network.forge(self.now, from, to, &setup.encode());
        if kind == 0 {
            return true;
        }
        let own = cluster_id(&self.members[id].cluster().name);
        let nonce = self.random.next_u64();
        let connect = ConnectRequest {
            correlation_id: nonce as i64,
            cluster_id: if matches!(kind, 1 | 5) { own ^ 1 } else { own },
            nonce,
            resume_session: if kind == 3 {
                SessionId::new(1 << 40)
            } else {
                SessionId::UNKNOWN
            },
            resume_token: 0,
            last_received: 0,
            last_received_ordinal: 0,
            response_stream_id: EGRESS_STREAM_ID,
            version: if kind == 2 {
                PROTOCOL_VERSION + 1
            } else {
                PROTOCOL_VERSION
            },
            session_timeout_ms: 0,
            connect_epoch: 1,
            incarnation: nonce,
            principal: b"",
        };
        let mut bytes = [0; 512];
        let length = connect
            .encode(&mut bytes)
            .expect("a connect without a principal fits");
        let (first, noise) = (bytes[..length].to_vec(), self.noise());
        let messages = match kind {
            4 => vec![noise],
            5 => vec![first, noise],
            _ => vec![first],
        };
        for frame in frames_of(geometry, session_id, &messages) {
            self.network.forge(self.now, from, to, &frame);
        }
        true
    }

    /// What a client hears is noise, from anybody or from a member's address, or the
    /// description of a stream with longer terms than it takes.
    fn hear_noise_at_client(&mut self, id: usize) -> bool {
        let client = self.random.range(0..self.clients.len() as u64) as usize;
        let to = self.clients[client].address();
        let from = match self.random.range(0..3) {
            0 => self.stranger(),
            _ => self.members[id].ingress(),
        };
        let bytes = match Geometry::new(7, 1 << 30) {
            Some(geometry) if self.random.chance(0.5) => {
                let session_id = self.random.next_u64() as i32;
                let setup = Setup::new(session_id, EGRESS_STREAM_ID, geometry, MTU, 0);
                setup.encode().to_vec()
            }
            _ => self.noise(),
        };
        self.network.forge(self.now, from, to, &bytes);
        true
    }
}

/// The datagrams of the first messages of a stream.
fn frames_of(geometry: Geometry, session_id: i32, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut log = LogBuffer::allocate(geometry, MTU).expect("three short terms of memory");
    let mut appender = ExclusiveAppender::new(geometry, session_id, INGRESS_STREAM_ID, MTU, 0);
    let append = |message: &Vec<u8>| {
        let start = appender.position();
        appender.offer(&mut log, Position::MAX, &[message], &mut PlainSeal);
        let bytes = log.bytes(start, (appender.position() - start) as usize);
        let frame = frames(bytes).next().expect("a frame was appended");
        frame.bytes().to_vec()
    };
    messages.iter().map(append).collect()
}

/// Makes a whole message of `from` one of a version that is not known, with a good checksum.
fn make_unknown(message: &mut [u8], from: MemberId) {
    message[HEADER_LENGTH + 6..HEADER_LENGTH + 8].fill(0);
    message[24..HEADER_LENGTH].fill(0);
    let (header, body) = message
        .split_first_chunk::<HEADER_LENGTH>()
        .expect("a message has a header");
    let reserved = FrameSeal::new(u32::from(from)).reserved_value(header, body);
    message[24..HEADER_LENGTH].copy_from_slice(&reserved.to_le_bytes());
}
