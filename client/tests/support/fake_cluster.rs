//! A cluster as a client sees it: members that redirect, a leader that numbers and echoes, one
//! shared log in place of consensus.

use std::collections::VecDeque;
use std::net::SocketAddr;

use lockstep_client::protocol::{
    ClientMessage, ConnectRequest, Endpoints, EventCode, INGRESS_STREAM_ID, NewLeaderEvent,
    RefusalReason, Refused, RequestHeader, ResponseHeader, SessionEvent,
};
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::protocol::{Packet, parse};
use lockstep_transport::stream::{
    Image, ImageLimits, Offer, PollAction, Publication, PublicationConfig,
};
use lockstep_transport::time::Nanos;

use super::network::{Network, NetworkPort};

const TOKEN: u64 = 77;
const NONE: RequestNumber = RequestNumber::NONE;
const EXPIRED: &[u8] = b"session expired";
const LIMITS: ImageLimits = ImageLimits {
    term_length_max: 16 * 1024 * 1024,
    message_max: 256 * 1024,
    window_length: 128 * 1024,
};

/// An applied request; its response is its payload.
pub struct Applied {
    pub session: i64,
    pub number: RequestNumber,
    pub payload: Vec<u8>,
}

struct Session {
    id: i64,
    nonce: u64,
    connect_epoch: i64,
    incarnation: u64,
    applied: RequestNumber,
    address: SocketAddr,
    stream_id: i32,
    is_open: bool,
}

/// What all members agree on.
pub struct Shared {
    pub leader: usize,
    pub term: LeadershipTermId,
    pub log: Vec<Applied>,
    pub opened: usize,
    /// The next requests that are refused, and why.
    pub refuse: VecDeque<RefusalReason>,
    /// Requests are taken and never applied.
    pub is_stuck: bool,
    /// What clients are told of their session's timeout.
    pub session_timeout_ms: u32,
    /// Keepalives received.
    pub keepalives: usize,
    /// Greatest acknowledged position received.
    pub acknowledged: i64,
    sessions: Vec<Session>,
    endpoints: String,
}

struct Channel {
    publication: Publication,
    address: SocketAddr,
    session: Option<i64>,
    events: VecDeque<Vec<u8>>,
    /// Index in the log of the next entry to look at.
    next: usize,
}

struct Member {
    id: usize,
    port: NetworkPort,
    images: Vec<Image>,
    channels: Vec<Channel>,
    is_up: bool,
    /// The term that it believes to lead, without knowing any session, whoever leads.
    believes: Option<LeadershipTermId>,
    stream_ids: i32,
}

pub struct FakeCluster {
    pub shared: Shared,
    members: Vec<Member>,
    network: Network,
    buffer: Vec<u8>,
}

pub fn member_address(member: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9000 + member as u16))
}

/// Position of the response to the entry at `index`.
fn position(index: usize) -> i64 {
    64 * (index as i64 + 1)
}

impl FakeCluster {
    pub fn new(network: &Network, members: usize, leader: usize) -> Self {
        let addresses: Vec<_> = (0..members).map(member_address).collect();
        Self {
            shared: Shared {
                leader,
                term: LeadershipTermId::new(1),
                log: Vec::with_capacity(100_000),
                opened: 0,
                refuse: VecDeque::new(),
                is_stuck: false,
                session_timeout_ms: 0,
                keepalives: 0,
                acknowledged: 0,
                sessions: Vec::new(),
                endpoints: Endpoints::new(&addresses).to_string(),
            },
            members: (0..members)
                .map(|id| Member {
                    id,
                    port: network.port(member_address(id)),
                    images: Vec::new(),
                    channels: Vec::new(),
                    is_up: true,
                    believes: None,
                    stream_ids: 1000 * (id as i32 + 1),
                })
                .collect(),
            network: network.clone(),
            buffer: vec![0; 65_536],
        }
    }

    /// The member stops, and nothing of it is heard any more.
    pub fn kill(&mut self, member: usize) {
        self.members[member].is_up = false;
        self.network.cut(member_address(member), true);
    }

    /// `member` leads from now on and, if it `announces`, tells every session.
    pub fn elect(&mut self, member: usize, announces: bool) {
        self.shared.leader = member;
        self.shared.term = self.shared.term.next();
        if announces {
            for index in 0..self.shared.sessions.len() {
                if self.shared.sessions[index].is_open {
                    self.members[member].announce(&self.shared, index);
                }
            }
        }
    }

    /// The cluster closes a session as one whose client was silent for too long.
    pub fn expire_session(&mut self, id: i64) {
        for session in &mut self.shared.sessions {
            session.is_open &= session.id != id;
        }
        let event = self.shared.event(id, 0, EventCode::Expired, NONE, EXPIRED);
        for channel in &mut self.members[self.shared.leader].channels {
            if channel.session == Some(id) {
                channel.events.push_back(event.clone());
            }
        }
    }

    /// `member` tells the session's client an event of `term` on the stream it has to it.
    pub fn say(
        &mut self,
        member: usize,
        id: i64,
        term: LeadershipTermId,
        code: EventCode,
        detail: &[u8],
    ) {
        let present = std::mem::replace(&mut self.shared.term, term);
        let event = self.shared.event(id, 0, code, NONE, detail);
        self.shared.term = present;
        for channel in &mut self.members[member].channels {
            if channel.session == Some(id) {
                channel.events.push_back(event.clone());
            }
        }
    }

    /// `member` goes on believing that it leads `term`, and knows no session.
    pub fn believe(&mut self, member: usize, term: LeadershipTermId) {
        self.members[member].believes = Some(term);
    }

    pub fn do_work(&mut self, now: Nanos) {
        for member in &mut self.members {
            if member.is_up {
                member.do_work(now, &mut self.shared, &mut self.buffer);
            }
        }
    }
}

impl Shared {
    fn connect_epoch(&self, session_id: i64) -> i64 {
        let session = self.sessions.iter().find(|s| s.id == session_id);
        session.map_or(0, |session| session.connect_epoch)
    }

    fn event(
        &self,
        session_id: i64,
        correlation_id: i64,
        code: EventCode,
        applied_number: RequestNumber,
        detail: &[u8],
    ) -> Vec<u8> {
        let event = SessionEvent {
            session_id: SessionId::new(session_id),
            correlation_id,
            leadership_term_id: self.term,
            applied_number,
            acknowledged: 0,
            resume_token: TOKEN,
            leader_member_id: self.leader as i32,
            code,
            version: 1,
            session_timeout_ms: self.session_timeout_ms,
            connect_epoch: self.connect_epoch(session_id),
            detail,
        };
        let mut bytes = vec![0; 512];
        let length = event.encode(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }
}

impl Member {
    fn channel(
        &mut self,
        address: SocketAddr,
        stream_id: i32,
        session: Option<i64>,
    ) -> &mut Channel {
        self.stream_ids += 1;
        let config = PublicationConfig {
            session_id: self.stream_ids,
            stream_id,
            initial_term_id: 7,
            term_length: 1024 * 1024,
            mtu: 1408,
            destination: address,
        };
        self.channels.push(Channel {
            publication: Publication::new(config).unwrap(),
            address,
            session,
            events: VecDeque::new(),
            next: 0,
        });
        self.channels.last_mut().unwrap()
    }

    fn end_channels(&mut self, session: i64) {
        for channel in &mut self.channels {
            if channel.session == Some(session) {
                channel.session = None;
                channel.publication.close();
            }
        }
    }

    fn announce(&mut self, shared: &Shared, index: usize) {
        let session = &shared.sessions[index];
        let event = NewLeaderEvent {
            leadership_term_id: shared.term,
            session_id: SessionId::new(session.id),
            applied_number: session.applied,
            leader_member_id: self.id as i32,
            connect_epoch: session.connect_epoch,
            endpoints: shared.endpoints.as_bytes(),
        };
        let mut bytes = vec![0; 512];
        let length = event.encode(&mut bytes).unwrap();
        bytes.truncate(length);
        self.end_channels(session.id);
        let channel = self.channel(session.address, session.stream_id, Some(session.id));
        channel.events.push_back(bytes);
    }

    fn do_work(&mut self, now: Nanos, shared: &mut Shared, buffer: &mut [u8]) {
        while let Some(received) = self.port.receive(now, buffer) {
            let packet = parse(&buffer[..received.length]).unwrap();
            self.on_packet(now, received.source, &packet);
        }
        let mut images = std::mem::take(&mut self.images);
        for image in &mut images {
            let source = image.source();
            image.poll(256, &mut |message| {
                self.on_message(now, shared, source, message.payload);
                PollAction::Continue
            });
            image.do_work(now, &mut self.port);
        }
        images.retain(|image| !image.is_closed(now));
        self.images = images;
        for channel in &mut self.channels {
            channel.fill(now, shared, self.id);
            channel.publication.do_work(now, &mut self.port);
        }
    }

    fn on_packet(&mut self, now: Nanos, source: SocketAddr, packet: &Packet<'_>) {
        let session_id = packet.session_id();
        if matches!(packet, Packet::StatusMessage(_) | Packet::Nak(_)) {
            for channel in &mut self.channels {
                if channel.address == source && Some(channel.publication.session_id()) == session_id
                {
                    channel.publication.on_packet(now, packet);
                }
            }
            return;
        }
        let known = self
            .images
            .iter_mut()
            .find(|image| image.source() == source && Some(image.session_id()) == session_id);
        match (known, packet) {
            (Some(image), _) => image.on_packet(now, packet),
            (None, Packet::Setup(setup)) => {
                assert_eq!(setup.stream_id(), INGRESS_STREAM_ID);
                let image = Image::from_setup(now, setup, source, 5, &LIMITS).unwrap();
                self.images.push(image);
            }
            _ => {}
        }
    }

    fn on_message(&mut self, now: Nanos, shared: &mut Shared, source: SocketAddr, bytes: &[u8]) {
        let leads = shared.leader == self.id;
        match ClientMessage::decode(bytes).unwrap() {
            ClientMessage::ConnectRequest(connect) if self.believes.is_some() => {
                let term = self.believes.unwrap_or_default();
                let present = std::mem::replace(&mut shared.term, term);
                let id = connect.correlation_id;
                let event = shared.event(-1, id, EventCode::Expired, NONE, EXPIRED);
                shared.term = present;
                let channel = self.channel(source, connect.response_stream_id, None);
                channel.events.push_back(event);
            }
            ClientMessage::ConnectRequest(connect) if leads => {
                self.on_connect(shared, source, &connect);
            }
            ClientMessage::ConnectRequest(connect) => {
                let endpoints = shared.endpoints.clone();
                let event = shared.event(
                    -1,
                    connect.correlation_id,
                    EventCode::Redirect,
                    NONE,
                    endpoints.as_bytes(),
                );
                let channel = self.channel(source, connect.response_stream_id, None);
                channel.events.push_back(event);
            }
            ClientMessage::Request { header, payload } if leads => {
                self.on_request(now, shared, &header, payload);
            }
            ClientMessage::Request { header, .. } => {
                self.refuse((now, shared.term), &header, RefusalReason::NotLeader, NONE);
            }
            ClientMessage::KeepAlive(keep_alive) => {
                shared.keepalives += 1;
                shared.acknowledged = shared.acknowledged.max(keep_alive.acknowledged);
            }
            ClientMessage::CloseRequest(close) => {
                for session in &mut shared.sessions {
                    session.is_open &= session.id != close.session_id.get();
                }
            }
        }
    }

    fn on_connect(&mut self, shared: &mut Shared, source: SocketAddr, connect: &ConnectRequest) {
        let known = shared
            .sessions
            .iter()
            .position(|session| session.nonce == connect.nonce && session.is_open);
        if known.is_none() && connect.resume_session.is_known() {
            let correlation = connect.correlation_id;
            let event = shared.event(-1, correlation, EventCode::Expired, NONE, EXPIRED);
            let channel = self.channel(source, connect.response_stream_id, None);
            channel.events.push_back(event);
            return;
        }
        let index = known.unwrap_or_else(|| {
            shared.opened += 1;
            shared.sessions.push(Session {
                id: shared.opened as i64,
                nonce: connect.nonce,
                connect_epoch: connect.connect_epoch,
                incarnation: connect.incarnation,
                applied: RequestNumber::NONE,
                address: source,
                stream_id: connect.response_stream_id,
                is_open: true,
            });
            shared.sessions.len() - 1
        });
        let session = &mut shared.sessions[index];
        if connect.resume_session.is_known() {
            assert_eq!(connect.resume_token, TOKEN);
        }
        let asked = (connect.connect_epoch, connect.incarnation);
        if asked != (session.connect_epoch, session.incarnation) {
            let is_greater = connect.connect_epoch > session.connect_epoch;
            assert!(is_greater, "no test asks for an epoch that is taken");
            (session.connect_epoch, session.incarnation) = asked;
            (session.address, session.stream_id) = (source, connect.response_stream_id);
        }
        let (id, applied) = (session.id, session.applied);
        let event = shared.event(id, connect.correlation_id, EventCode::Ok, applied, b"");
        let next = (connect.last_received / 64) as usize;
        let stream_id = connect.response_stream_id;
        let present = self
            .channels
            .iter()
            .position(|channel| channel.session == Some(id) && channel.address == source);
        let channel = match present {
            Some(index) => &mut self.channels[index],
            None => {
                self.end_channels(id);
                self.channel(source, stream_id, Some(id))
            }
        };
        channel.events.push_back(event);
        channel.next = next;
    }

    fn on_request(
        &mut self,
        now: Nanos,
        shared: &mut Shared,
        header: &RequestHeader,
        payload: &[u8],
    ) {
        shared.acknowledged = shared.acknowledged.max(header.acknowledged);
        let session = shared
            .sessions
            .iter_mut()
            .find(|session| session.id == header.session_id.get() && session.is_open);
        let Some(session) = session else {
            return self.refuse(
                (now, shared.term),
                header,
                RefusalReason::UnknownSession,
                NONE,
            );
        };
        let expected = session.applied.next();
        if header.number > expected {
            return self.refuse(
                (now, shared.term),
                header,
                RefusalReason::OutOfOrder,
                expected,
            );
        }
        if header.number < expected || shared.is_stuck {
            return;
        }
        if let Some(reason) = shared.refuse.pop_front() {
            return self.refuse((now, shared.term), header, reason, expected);
        }
        session.applied = header.number;
        shared.log.push(Applied {
            session: header.session_id.get(),
            number: header.number,
            payload: payload.to_vec(),
        });
    }

    fn refuse(
        &mut self,
        (now, term): (Nanos, LeadershipTermId),
        header: &RequestHeader,
        reason: RefusalReason,
        expected_number: RequestNumber,
    ) {
        let refused = Refused {
            session_id: header.session_id,
            number: header.number,
            expected_number,
            reason,
            leadership_term_id: term,
            connect_epoch: header.connect_epoch,
        };
        for channel in &mut self.channels {
            if channel.session == Some(header.session_id.get()) {
                channel.publication.offer(now, &[&refused.encode()]);
            }
        }
    }
}

impl Channel {
    /// Events first, then responses from the log while there is room.
    fn fill(&mut self, now: Nanos, shared: &Shared, member: usize) {
        while let Some(event) = self.events.front() {
            if !matches!(self.publication.offer(now, &[event]), Offer::Accepted(_)) {
                return;
            }
            self.events.pop_front();
        }
        let Some(id) = self.session.filter(|_| shared.leader == member) else {
            return;
        };
        while let Some(entry) = shared.log.get(self.next) {
            if entry.session == id {
                let header = ResponseHeader {
                    leadership_term_id: shared.term,
                    session_id: SessionId::new(id),
                    position: position(self.next),
                    cause: position(self.next) - 32,
                    number: entry.number,
                    applied_number: entry.number,
                    log_time: 0,
                    ordinal: 0,
                    flags: 0,
                };
                let parts: [&[u8]; 2] = [&header.encode(), &entry.payload];
                if !matches!(self.publication.offer(now, &parts), Offer::Accepted(_)) {
                    return;
                }
            }
            self.next += 1;
        }
    }
}
