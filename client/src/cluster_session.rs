//! The client's session with its cluster: what to say next, and what to make of what is
//! heard. Pure; the [`ClusterClient`](crate::cluster_client::ClusterClient) owns it and carries
//! its words.
//!
//! Three parts meet here: the `Session` (whom to talk to), the `RequestSequence` (what is
//! in flight) and the `ResponseCursor` (what was handed over). A request is never dropped
//! silently: it is retained until it is applied, refused, or the session ends.

use lockstep_transport::ids::RequestNumber;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{Nanos, earliest};
use lockstep_transport::trace::{TracePoint, Tracer};

use crate::config::{ClientConfig, ResumePoint};
use crate::counters::ClientCounters;
use crate::event::{OfferResult, PendingEvents};
use crate::identity::ClientIdentity;
use crate::notice::{ClientNotice, ClientNotices};
use crate::protocol::{CloseRequest, ConnectRequest, KeepAlive, RequestHeader};
use crate::sequence::{RequestSequence, ResponseCursor};
use crate::session::{CloseReason, Session};

/// Refusals of what was already under way when sending went back arrive within a part of the
/// resend timeout; they must not send it back again.
const REWIND_GUARD_DIVISOR: Nanos = 4;

/// Waiting for progress grows up to `1 << STALLS_GROWTH_MAX` times the resend timeout.
const STALLS_GROWTH_MAX: u32 = 3;

/// Bytes kept of the text that came with the end of the session.
const DETAIL_LENGTH_MAX: usize = 128;

/// Who sent a message: the member, and which of its egress streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The member.
    pub member: usize,
    /// Number of the egress image, never reused.
    pub image: u64,
}

/// What the streams show of the leader's health.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaderHealth {
    /// When a frame last arrived on the image given by [`ClusterSession::image`].
    pub last_heard: Nanos,
    /// The image has ended.
    pub is_ended: bool,
    /// The ingress stream is connected.
    pub is_ingress_connected: bool,
}

/// The session. See the module.
#[derive(Debug)]
pub(crate) struct ClusterSession {
    config: ClientConfig,
    session: Session,
    requests: RequestSequence,
    received: ResponseCursor,
    /// The image on which the present leader introduced itself; responses count only there.
    image: Option<u64>,
    pending_events: PendingEvents,
    counters: ClientCounters,
    refusals: ClientNotices,
    tracer: Tracer,
    connected_at: Nanos,
    progress_at: Nanos,
    stalls: u32,
    spoken_at: Nanos,
    hold_until: Nanos,
    /// Where sending went back to last, and when.
    rewound: (RequestNumber, Nanos),
    detail: [u8; DETAIL_LENGTH_MAX],
    detail_length: usize,
}

impl ClusterSession {
    /// A session that has not begun. `config` must be valid.
    #[must_use]
    pub fn new(config: ClientConfig, identity: &ClientIdentity) -> Self {
        let received = config
            .resume
            .map_or_else(ResponseCursor::default, |resume| ResponseCursor {
                position: resume.last_received,
                ordinal: resume.last_received_ordinal,
            });
        Self {
            session: Session::new(&config, identity),
            requests: RequestSequence::new(config.in_flight_max, config.in_flight_bytes_max),
            received,
            image: None,
            pending_events: PendingEvents::default(),
            counters: ClientCounters::default(),
            refusals: ClientNotices::new(),
            tracer: Tracer::disabled(),
            connected_at: 0,
            progress_at: 0,
            stalls: 0,
            spoken_at: 0,
            hold_until: 0,
            rewound: (RequestNumber::NONE, 0),
            detail: [0; DETAIL_LENGTH_MAX],
            detail_length: 0,
            config,
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The session, for new stream ids.
    pub const fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What is in flight.
    #[must_use]
    pub const fn requests(&self) -> &RequestSequence {
        &self.requests
    }

    /// The image on which the present leader speaks.
    #[must_use]
    pub const fn image(&self) -> Option<u64> {
        self.image
    }

    /// Counts.
    #[must_use]
    pub const fn counters(&self) -> &ClientCounters {
        &self.counters
    }

    /// Counts, to add to.
    pub const fn counters_mut(&mut self) -> &mut ClientCounters {
        &mut self.counters
    }

    /// What was refused, counted and to be told.
    #[must_use]
    pub const fn refusals(&self) -> &ClientNotices {
        &self.refusals
    }

    /// What was refused, to note more.
    pub const fn refusals_mut(&mut self) -> &mut ClientNotices {
        &mut self.refusals
    }

    /// The trace.
    #[must_use]
    pub const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Records trace points into `tracer` from now on.
    pub fn set_tracer(&mut self, tracer: Tracer) {
        self.tracer = tracer;
    }

    /// What is needed to continue this session after a restart.
    #[must_use]
    pub fn resume_point(&self) -> Option<ResumePoint> {
        self.session.resume_point(self.received)
    }

    /// The text that came with the end of the session, if any.
    #[must_use]
    pub fn close_detail(&self) -> &[u8] {
        &self.detail[..self.detail_length]
    }

    /// Takes a request of the application.
    pub fn offer(&mut self, now: Nanos, payload: &[u8]) -> OfferResult {
        if self.session.is_closed() {
            return OfferResult::Closed;
        }
        let Some(session) = self.session.id().filter(|_| self.session.is_connected()) else {
            return OfferResult::NotConnected;
        };
        if payload.len() > self.config.request_length_max() {
            return OfferResult::TooLong;
        }
        let was_idle = self.requests.in_flight() == 0;
        let Some(number) = self.requests.push(payload) else {
            return OfferResult::BackPressured;
        };
        if was_idle {
            self.progress_at = now;
        }
        self.counters.requests_offered += 1;
        self.tracer
            .message(TracePoint::RequestSend, session.get(), number.get());
        OfferResult::Accepted(number)
    }

    /// The next request to put on the wire: what goes in front of it, and its payload.
    #[must_use]
    pub fn next_request(&self, now: Nanos) -> Option<([u8; RequestHeader::LENGTH], &[u8])> {
        if !self.session.is_connected() || now < self.hold_until {
            return None;
        }
        let (number, payload) = self.requests.next_unsent()?;
        let header = RequestHeader {
            leadership_term_id: self.session.leadership_term_id(),
            session_id: self.session.id()?,
            number,
            acknowledged: self.received.position,
            connect_epoch: self.session.connect_epoch(),
        };
        Some((header.encode(), payload))
    }

    /// That request is on the wire.
    pub fn on_request_sent(&mut self, now: Nanos) {
        self.requests.mark_sent();
        self.counters.requests_sent += 1;
        self.spoken_at = now;
    }

    /// The keepalive that is due, if one is.
    #[must_use]
    pub fn keep_alive(&self, now: Nanos) -> Option<[u8; KeepAlive::LENGTH]> {
        if !self.session.is_connected() || now - self.spoken_at < self.keepalive_ns() {
            return None;
        }
        let keep_alive = KeepAlive {
            leadership_term_id: self.session.leadership_term_id(),
            session_id: self.session.id()?,
            acknowledged: self.received.position,
            connect_epoch: self.session.connect_epoch(),
        };
        Some(keep_alive.encode())
    }

    fn keepalive_ns(&self) -> Nanos {
        self.config.keepalive_ns(self.session.timeout_ns())
    }

    /// The keepalive is on the wire.
    pub fn on_keep_alive_sent(&mut self, now: Nanos) {
        self.counters.keepalives += 1;
        self.spoken_at = now;
    }

    /// The connect request that is due, if one is.
    #[must_use]
    pub fn connect_request(&self) -> Option<ConnectRequest<'_>> {
        self.session
            .wants_connect_request()
            .then(|| self.session.connect_request(&self.config, self.received))
    }

    /// The connect request is on the wire.
    pub fn on_connect_request_sent(&mut self, now: Nanos) {
        let correlation_id = self.session.correlation_id();
        self.tracer
            .message(TracePoint::ConnectRequest, correlation_id, 0);
        self.counters.connect_requests += 1;
        self.session.on_request_sent(now);
    }

    /// Ends the session. Returns the words for the leader, if one listens.
    pub fn close(&mut self) -> Option<[u8; CloseRequest::LENGTH]> {
        if self.session.is_closed() {
            return None;
        }
        let close = self
            .session
            .id()
            .filter(|_| self.session.is_connected())
            .map(|session_id| CloseRequest {
                leadership_term_id: self.session.leadership_term_id(),
                session_id,
                connect_epoch: self.session.connect_epoch(),
            });
        self.end(CloseReason::ByClient, b"");
        close.map(|close| close.encode())
    }

    /// Time passes. Returns the work done.
    pub fn tick(&mut self, now: Nanos, health: LeaderHealth) -> usize {
        if let Some(member) = self.session.unheard(now) {
            self.counters.attempts_unanswered += 1;
            self.note_member(now, ClientNotice::MemberUnheard, member);
        }
        let mut work = usize::from(self.session.tick(now));
        if !self.session.is_connected() {
            return work;
        }
        let timeout = self.config.leader_timeout_ns;
        let is_settled = now - self.connected_at > timeout;
        let is_silent = is_settled && now - health.last_heard > timeout;
        let is_deaf = is_settled && !health.is_ingress_connected;
        if health.is_ended || is_silent || is_deaf {
            sometimes(if health.is_ended {
                Mark::LeaderEndsStream
            } else if is_silent {
                Mark::LeaderSilentToClient
            } else {
                Mark::LeaderDeafToClient
            });
            self.lose_leader(now);
            return work + 1;
        }
        if self.requests.in_flight() > 0 && now >= self.stall_deadline() {
            self.on_stall(now);
            work += 1;
        }
        work
    }

    fn stall_deadline(&self) -> Nanos {
        self.progress_at + (self.config.resend_timeout_ns << self.stalls.min(STALLS_GROWTH_MAX))
    }

    /// First what is in flight is sent again, which costs little; then the leader is asked
    /// what it has, which settles it.
    fn on_stall(&mut self, now: Nanos) {
        self.stalls += 1;
        self.progress_at = now;
        if self.stalls % 2 == 1 {
            sometimes(Mark::StallRewinds);
            self.rewind(now, RequestNumber::NONE);
        } else {
            sometimes(Mark::StallLosesLeader);
            self.lose_leader(now);
        }
    }

    /// When [`tick`](Self::tick) wants attention, given when the leader was last heard and whether
    /// it receives the ingress stream.
    #[must_use]
    pub fn next_deadline(&self, last_heard: Nanos, is_ingress_connected: bool) -> Option<Nanos> {
        if !self.session.is_connected() {
            return self.session.deadline();
        }
        let heard = if is_ingress_connected { last_heard } else { 0 };
        let leader = heard.max(self.connected_at) + self.config.leader_timeout_ns + 1;
        if self.requests.in_flight() > 0 {
            return Some(leader.min(self.stall_deadline()));
        }
        Some(leader)
    }

    /// When a keepalive or a request wants to go on the wire, if there is somebody to send it to.
    #[must_use]
    pub fn next_words(&self) -> Option<Nanos> {
        if !self.session.is_connected() {
            return None;
        }
        let keep_alive = self.spoken_at + self.keepalive_ns();
        let request = self.requests.next_unsent().map(|_| self.hold_until);
        earliest(Some(keep_alive), request)
    }

    fn rewind(&mut self, now: Nanos, number: RequestNumber) {
        let number = number.max(self.requests.applied_number().next());
        let guard = self.config.resend_timeout_ns / REWIND_GUARD_DIVISOR;
        if self.rewound.0 == number && now - self.rewound.1 < guard {
            return;
        }
        if self.requests.rewind(number) {
            self.rewound = (number, now);
            self.counters.rewinds += 1;
        }
    }

    /// Notes something about a member, at the address at which it is asked.
    fn note_member(&mut self, now: Nanos, kind: ClientNotice, member: usize) {
        let detail = Detail {
            subject: member as u8,
            source: self.session.endpoints().get(member),
            values: [0; 4],
        };
        self.refusals.note(now, kind, detail);
    }

    /// Messages of `member` were longer than is taken: they are lost.
    pub fn on_too_long_messages(&mut self, now: Nanos, member: usize, count: u64) {
        self.counters.messages_too_long += count;
        self.note_member(now, ClientNotice::MessageTooLong, member);
    }

    fn lose_leader(&mut self, now: Nanos) {
        if self.session.on_leader_lost(now) {
            self.counters.leader_losses += 1;
        }
    }

    fn end(&mut self, reason: CloseReason, detail: &[u8]) {
        self.session.end(reason);
        self.pending_events.closed(reason);
        let length = detail.len().min(DETAIL_LENGTH_MAX);
        self.detail[..length].copy_from_slice(&detail[..length]);
        self.detail_length = length;
    }
}

mod inbound;
#[cfg(test)]
mod tests;
