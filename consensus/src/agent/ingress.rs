//! What clients say, and what becomes of it: connects are answered or sent to the leader,
//! requests enter the log or are refused with a reason (never silently dropped).
//!
//! A message that cannot be taken *now* (log or outbox full, leadership not open yet) stays in
//! its image; the closing receive window tells the client's publication to wait.

use core::net::SocketAddr;

use lockstep_archive::disk::Disk;
use lockstep_client::protocol::{
    ClientMessage, ConnectRequest, EventCode, KeepAlive, PROTOCOL_VERSION, RefusalReason, Refused,
    RequestHeader, SessionEvent,
};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::stream::PollAction;
use lockstep_transport::time::{MILLISECOND, Nanos};
use lockstep_transport::trace::{TracePoint, Tracer};

use super::admission::Admission;
use super::applier::Applier;
use super::delivery::Delivery;
use super::egress_channel::EVENT_LENGTH_MAX;
use super::egress_channels::{EgressChannels, Slot};
use super::identity::Identity;
use super::leadership::{AppendContext, Leadership, PendingConnect, blank_header};
use super::log_store::LogStore;
use crate::entry_body::{CloseReason, SessionOpen};
use crate::member::{LeadershipTermId, MemberId};
use crate::notice::{NodeNotice, NodeNotices};
use crate::session::Session;
use crate::stable_hash::stable_hash;

/// Shortest and longest session timeout a client may ask for.
const TIMEOUT_MIN_NS: Nanos = 10 * MILLISECOND;

/// One cycle's view of everything that taking a client's message may touch.
#[derive(Debug)]
pub struct Ingress<'a, S, D> {
    /// The time.
    pub now: Nanos,
    /// Where the log stands.
    pub append: AppendContext,
    /// It is not known whose answers are right: nothing new is taken.
    pub is_contested: bool,
    /// The leader of the current term, if known.
    pub leader: Option<MemberId>,
    /// The current term.
    pub term: LeadershipTermId,
    /// Who we are.
    pub identity: &'a Identity,
    /// The applied state.
    pub applier: &'a Applier<S>,
    /// The log.
    pub store: &'a mut LogStore<D>,
    /// The volatile state of a leader.
    pub leadership: &'a mut Leadership,
    /// Egress.
    pub delivery: &'a mut Delivery,
    /// Channels to clients.
    pub channels: &'a mut EgressChannels,
    /// Trace points.
    pub tracer: &'a mut Tracer,
    /// What is not taken.
    pub notices: &'a mut NodeNotices,
}

impl<S: ClusteredService, D: Disk> Ingress<'_, S, D> {
    /// Takes one message that came from `source`, or leaves it for later.
    pub fn on_message(&mut self, source: SocketAddr, bytes: &[u8]) -> PollAction {
        let Ok(message) = ClientMessage::decode(bytes) else {
            let detail = Detail::at(source);
            self.notices
                .note(self.now, NodeNotice::DamagedClientMessage, detail);
            return PollAction::Continue;
        };
        if let ClientMessage::ConnectRequest(connect) = &message {
            return self.on_connect(source, connect);
        }
        if !self.leadership.is_leading() {
            return self.on_not_leader(source, &message);
        }
        if !self.leadership.is_open() {
            return PollAction::Abort;
        }
        match message {
            ClientMessage::Request { header, payload } => self.on_request(source, &header, payload),
            ClientMessage::KeepAlive(keep_alive) => self.on_keep_alive(source, &keep_alive),
            ClientMessage::CloseRequest(close) => self.on_close(source, close.session_id),
            ClientMessage::ConnectRequest(_) => PollAction::Continue,
        }
    }

    fn on_not_leader(&mut self, source: SocketAddr, message: &ClientMessage<'_>) -> PollAction {
        if let ClientMessage::Request { header, .. } = message {
            self.refuse(source, header, RefusalReason::NotLeader, 0);
        }
        PollAction::Continue
    }

    fn on_connect(&mut self, source: SocketAddr, connect: &ConnectRequest<'_>) -> PollAction {
        if connect.cluster_id != self.identity.cluster_id {
            let ids = [self.identity.cluster_id, connect.cluster_id].map(|id| id as i64);
            let detail = Detail::at(source).with_values([ids[0], ids[1], 0, 0]);
            self.notices
                .note(self.now, NodeNotice::ClientOfOtherCluster, detail);
            return PollAction::Continue;
        }
        if !self.leadership.is_leading() {
            self.redirect(source, connect);
            return PollAction::Continue;
        }
        if !self.leadership.is_open() {
            return PollAction::Abort;
        }
        let principal_hash = stable_hash(connect.principal);
        let sessions = self.applier.sessions();
        let known = sessions.find(connect.nonce, principal_hash).copied();
        if known.is_some_and(|session| self.has_unapplied_requests(&session)) {
            // The answer names the last request applied, and the client numbers on from there.
            return PollAction::Abort;
        }
        let known = known.map(|session| session.id);
        let refusal = self.refusal_of(connect);
        if known.is_none() && refusal.is_none() {
            return self.open_session(source, connect, principal_hash);
        }
        let Some(slot) = self.channel(source, connect.response_stream_id) else {
            return PollAction::Continue;
        };
        self.tracer
            .message(TracePoint::ConnectLeader, connect.correlation_id, 0);
        if let Some(id) = known {
            self.resume(id, slot, connect);
        } else if let Some((code, text)) = refusal {
            self.dismiss(slot, connect.correlation_id, code, text);
        }
        PollAction::Continue
    }

    /// Why no session can be opened for this request, if so.
    fn refusal_of(&self, connect: &ConnectRequest<'_>) -> Option<(EventCode, &'static [u8])> {
        if connect.resume_session >= 0 {
            Some((EventCode::Closed, b"session expired"))
        } else if connect.version != PROTOCOL_VERSION {
            Some((EventCode::Error, b"unsupported version"))
        } else if self.applier.sessions().is_full() {
            Some((EventCode::Error, b"concurrent session limit"))
        } else {
            None
        }
    }

    /// Whether the leader has appended requests of the session that are not applied yet.
    fn has_unapplied_requests(&mut self, session: &Session) -> bool {
        let leader_session = self.leadership.sessions.get_mut(session.id);
        leader_session.is_some_and(|known| known.appended_number > session.applied_number)
    }

    /// No channel is opened before the entry is appended: a request that has to wait is looked
    /// at in every cycle, and would open one each time.
    fn open_session(
        &mut self,
        source: SocketAddr,
        connect: &ConnectRequest<'_>,
        principal_hash: u64,
    ) -> PollAction {
        let correlation_id = connect.correlation_id;
        if self
            .leadership
            .pending_connect(connect.nonce, principal_hash)
            .is_some()
        {
            self.repeat_connect(source, connect, principal_hash);
            return PollAction::Continue;
        }
        if !self.leadership.has_room_for_connect() {
            return PollAction::Abort;
        }
        let asked = Nanos::from(connect.session_timeout_ms) * MILLISECOND;
        let most = self.identity.session_timeout_ns;
        let timeout_ns = if asked == 0 {
            most
        } else {
            asked.clamp(TIMEOUT_MIN_NS, most)
        };
        let open = SessionOpen {
            nonce: connect.nonce,
            timeout_ns,
            response_address: source,
            response_stream_id: connect.response_stream_id,
            principal_hash,
        };
        let header = blank_header(EntryKind::SessionOpen);
        if self.append_cause(header, &open.encode()).is_none() {
            return PollAction::Abort;
        }
        self.tracer
            .message(TracePoint::ConnectLeader, correlation_id, 0);
        self.tracer
            .message(TracePoint::ConnectAppend, correlation_id, 0);
        // Without a channel nobody is told; the client's next attempt finds the session.
        if let Some(channel) = self.channel(source, connect.response_stream_id) {
            self.leadership.await_open(PendingConnect {
                nonce: connect.nonce,
                principal_hash,
                correlation_id,
                channel,
            });
        }
        PollAction::Continue
    }

    /// The client asks again while its SessionOpen is on its way through the log: it is
    /// answered where it listens now.
    fn repeat_connect(
        &mut self,
        source: SocketAddr,
        connect: &ConnectRequest<'_>,
        principal_hash: u64,
    ) {
        let Some(slot) = self.channel(source, connect.response_stream_id) else {
            return;
        };
        let pending = self
            .leadership
            .pending_connect(connect.nonce, principal_hash);
        let Some(pending) = pending else { return };
        pending.correlation_id = connect.correlation_id;
        let given_up = core::mem::replace(&mut pending.channel, slot);
        if given_up != slot
            && let Some(channel) = self.channels.get_mut(given_up)
        {
            // It would live as long as the client goes on hearing it.
            channel.abandon();
        }
    }

    /// A follower names the leader and every member's ingress endpoint.
    fn redirect(&mut self, source: SocketAddr, connect: &ConnectRequest<'_>) {
        if self.leader.is_none() {
            return;
        }
        let Some(slot) = self.channel(source, connect.response_stream_id) else {
            return;
        };
        let identity = self.identity;
        let endpoints = identity.ingress_endpoints.as_bytes();
        self.dismiss(slot, connect.correlation_id, EventCode::Redirect, endpoints);
    }

    /// The client finds its session again: OK, then everything it lacks, from the log.
    fn resume(&mut self, id: i64, slot: Slot, connect: &ConnectRequest<'_>) {
        let Some(session) = self.applier.sessions().get(id).copied() else {
            return;
        };
        if let Some(leader_session) = self.leadership.sessions.get_mut(id) {
            leader_session.activity = self.now;
        }
        self.replace_channel(id, slot);
        let event = SessionEvent {
            session_id: id,
            correlation_id: connect.correlation_id,
            leadership_term_id: self.term,
            applied_number: session.applied_number,
            acknowledged: session.acknowledged,
            resume_token: session.nonce,
            leader_member_id: i32::from(self.identity.member),
            code: EventCode::Ok,
            version: PROTOCOL_VERSION,
            detail: b"",
        };
        queue_event(self.channels, slot, &event);
        let after = session
            .acknowledged
            .max(self.credible(connect.last_received));
        let from = self.store.frame_boundary(session.open_position, after);
        self.delivery.bind(id, slot, from, after);
    }

    fn replace_channel(&mut self, id: i64, slot: Slot) {
        if let Some(old) = self.delivery.channel(id).filter(|old| *old != slot)
            && let Some(channel) = self.channels.get_mut(old)
        {
            channel.abandon();
        }
        if let Some(channel) = self.channels.get_mut(slot) {
            channel.bind(id);
        }
    }

    fn on_request(
        &mut self,
        source: SocketAddr,
        request: &RequestHeader,
        payload: &[u8],
    ) -> PollAction {
        let id = request.session_id;
        if !self.is_own_session(source, id) {
            self.refuse(source, request, RefusalReason::UnknownSession, 0);
            return PollAction::Continue;
        }
        self.tracer
            .message(TracePoint::RequestIngress, id, request.number);
        match self.leadership.sessions.admit(id, request.number, self.now) {
            Admission::Append => self.append_request(source, request, payload),
            Admission::Duplicate => {
                self.notices.tally(NodeNotice::RequestDuplicate);
                PollAction::Continue
            }
            Admission::OutOfOrder { expected } => {
                self.refuse(source, request, RefusalReason::OutOfOrder, expected);
                PollAction::Continue
            }
            Admission::UnknownSession => {
                self.refuse(source, request, RefusalReason::UnknownSession, 0);
                PollAction::Continue
            }
        }
    }

    fn append_request(
        &mut self,
        source: SocketAddr,
        request: &RequestHeader,
        payload: &[u8],
    ) -> PollAction {
        let id = request.session_id;
        if self.is_contested {
            self.refuse(source, request, RefusalReason::Contested, request.number);
            return PollAction::Continue;
        }
        if payload.len() > self.identity.message_max {
            self.refuse(source, request, RefusalReason::TooLong, request.number);
            return PollAction::Continue;
        }
        let mut header = blank_header(EntryKind::Request);
        header.session = id;
        header.number = request.number;
        header.acknowledged = self.credible(request.acknowledged);
        let Some(appended) = self.append_cause(header, payload) else {
            return PollAction::Abort;
        };
        self.tracer.entry(
            TracePoint::RequestAppend,
            id,
            request.number,
            appended.position,
        );
        self.tracer
            .effect(TracePoint::RequestAppend, appended.position, appended.end);
        if let Some(session) = self.leadership.sessions.get_mut(id) {
            session.appended_number = request.number;
            session.acknowledged = session.acknowledged.max(header.acknowledged);
        }
        PollAction::Continue
    }

    /// What a client says it has received, but no more than was ever sent to anybody.
    fn credible(&self, acknowledged: Position) -> Position {
        acknowledged.clamp(0, self.applier.position())
    }

    fn on_keep_alive(&mut self, source: SocketAddr, keep_alive: &KeepAlive) -> PollAction {
        let acknowledged = self.credible(keep_alive.acknowledged);
        if self.is_own_session(source, keep_alive.session_id)
            && let Some(session) = self.leadership.sessions.get_mut(keep_alive.session_id)
        {
            session.activity = self.now;
            session.acknowledged = session.acknowledged.max(acknowledged);
        }
        PollAction::Continue
    }

    fn on_close(&mut self, source: SocketAddr, id: i64) -> PollAction {
        if !self.is_own_session(source, id) {
            return PollAction::Continue;
        }
        if self.append_close(id, CloseReason::ClientAction) {
            PollAction::Continue
        } else {
            PollAction::Abort
        }
    }

    /// Appends a SessionClose unless one is on its way. Returns false when there is no room.
    pub fn append_close(&mut self, id: i64, reason: CloseReason) -> bool {
        let Some(session) = self.leadership.sessions.get_mut(id) else {
            return true;
        };
        if session.is_closing {
            return true;
        }
        let mut header = blank_header(EntryKind::SessionClose);
        header.session = id;
        if self.append_cause(header, &[reason as u8]).is_none() {
            return false;
        }
        if let Some(session) = self.leadership.sessions.get_mut(id) {
            session.is_closing = true;
        }
        true
    }

    /// Appends a causing entry if the outbox can take its worst case (`log.md` 5.6).
    fn append_cause(
        &mut self,
        header: EntryHeader,
        body: &[u8],
    ) -> Option<super::log_writer::Appended> {
        let outbox = self.applier.container().outbox();
        if self.store.is_full() || !outbox.admits(self.leadership.unapplied_causes()) {
            return None;
        }
        self.leadership
            .append(self.store.log_mut(), &self.append, header, body)
    }

    /// Whether `source` is where the session's client is bound.
    fn is_own_session(&mut self, source: SocketAddr, id: i64) -> bool {
        let channel = self
            .delivery
            .channel(id)
            .and_then(|slot| self.channels.get(slot));
        let is_own = channel.is_some_and(|channel| channel.address() == source);
        if !is_own {
            let detail = Detail::at(source).with_values([id, 0, 0, 0]);
            self.notices
                .note(self.now, NodeNotice::ForeignSession, detail);
        }
        is_own
    }

    fn channel(&mut self, source: SocketAddr, stream_id: i32) -> Option<Slot> {
        match self.channels.find_fresh(source, stream_id) {
            Some(slot) => Some(slot),
            None => {
                let config = self.identity.egress_publication(source, stream_id);
                self.channels.open(config, self.now)
            }
        }
    }

    /// Answers a connect request that opens nothing, and ends the channel behind the answer.
    fn dismiss(&mut self, slot: Slot, correlation_id: i64, code: EventCode, detail: &[u8]) {
        let leader = self.leader.unwrap_or(self.identity.member);
        let event = SessionEvent {
            session_id: -1,
            correlation_id,
            leadership_term_id: self.term,
            applied_number: 0,
            acknowledged: 0,
            resume_token: 0,
            leader_member_id: i32::from(leader),
            code,
            version: PROTOCOL_VERSION,
            detail,
        };
        queue_event(self.channels, slot, &event);
        if let Some(channel) = self.channels.get_mut(slot) {
            channel.close();
        }
    }

    fn refuse(
        &mut self,
        source: SocketAddr,
        request: &RequestHeader,
        reason: RefusalReason,
        expected_number: i64,
    ) {
        // The client is told, whose error it is: a count is enough here.
        self.notices.tally(NodeNotice::of_refusal(reason));
        let refused = Refused {
            session_id: request.session_id,
            number: request.number,
            expected_number,
            reason,
        };
        let Some(slot) = self.channels.find_live(source, self.now) else {
            return;
        };
        if let Some(channel) = self.channels.get_mut(slot) {
            channel.offer(self.now, &[&refused.encode()]);
        }
    }
}

/// Encodes and queues a session event.
pub fn queue_event(channels: &mut EgressChannels, slot: Slot, event: &SessionEvent<'_>) {
    let mut bytes = [0; EVENT_LENGTH_MAX];
    let length = event
        .encode(&mut bytes)
        .expect("events are sized for seven endpoints");
    if let Some(channel) = channels.get_mut(slot) {
        channel.queue_event(&bytes[..length]);
    }
}
