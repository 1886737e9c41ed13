//! The client's side of its session: whom to ask, whom to follow, when to give up on a member.
//!
//! A pure state machine: events and time in, a state and the member to send to out. It knows
//! nothing of streams; whenever `Session::epoch` changes, a new ingress stream to
//! `Session::member` is wanted. All pauses are bounded and jittered from the seed (K6), so
//! that clients that lost one leader do not come back in step.

use core::net::SocketAddr;

use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::config::{ClientConfig, ResumePoint};
use crate::identity::ClientIdentity;
use crate::protocol::{
    ConnectRequest, Endpoints, EventCode, NewLeaderEvent, PROTOCOL_VERSION, SessionEvent,
};
use crate::sequence::ResponseCursor;

/// Redirects followed, and greater connect epochs asked for, without a pause. Two members that
/// point at each other during an election would otherwise be asked for ever (K6).
const REDIRECTS_MAX: u32 = 3;

/// Attempts and pauses grow up to `1 << GROWTH_MAX` times their first length.
const GROWTH_MAX: u32 = 3;

/// First pause when nobody leads, as a part of the connect timeout: an election takes about
/// twice the default connect timeout, so asking eight times in it is often enough.
const PAUSE_DIVISOR: Nanos = 4;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The application asked for it.
    ByClient,
    /// The cluster no longer has the session: it timed out. What was in flight and not
    /// answered may or may not have been executed, once at most.
    Expired,
    /// Requests are missing: the cluster and this client disagree about what was applied.
    SequenceGap,
    /// The client left answers unacknowledged for longer than the cluster keeps them.
    Retention,
    /// The cluster refused to open it; the detail says why.
    Rejected,
    /// Authentication failed.
    AuthenticationRejected,
    /// Another process continued it: its requests and answers are that process's from now on.
    Fenced,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// A stream to `member` is being set up.
    Connecting {
        /// The member asked.
        member: usize,
        /// Attempts since the last answer of a leader.
        attempt: u32,
    },
    /// As `Connecting`, to the member that another one named as leader.
    Redirected {
        /// The member asked.
        member: usize,
        /// Attempts since the last answer of a leader.
        attempt: u32,
    },
    /// The connect request is on its way to `member`.
    AwaitingOk {
        /// The member asked.
        member: usize,
        /// Attempts since the last answer of a leader.
        attempt: u32,
    },
    /// The session is open and `leader` serves it.
    Connected {
        /// The member that leads.
        leader: usize,
    },
    /// Nobody leads, as far as known: a pause before the next member is asked.
    AwaitingLeader {
        /// The member asked next.
        next: usize,
        /// Attempts since the last answer of a leader.
        attempt: u32,
    },
    /// The session is over.
    Closed(CloseReason),
}

/// What an event did to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionChange {
    /// Nothing: it was late, repeated or not for this session.
    None,
    /// Nothing but perhaps another member to ask: it was of an older leadership term than known.
    Stale,
    /// Nothing: it was for another process of this session.
    NotForThisProcess,
    /// Another member, or a pause.
    Moved,
    /// The session is open at the sender, which applied requests up to this number.
    Opened {
        /// Number of the last request applied.
        applied_number: RequestNumber,
        /// For the first time in this process.
        is_first: bool,
        /// The sender leads a greater term than the leader before it.
        is_new_leader: bool,
    },
    /// The session is over.
    Closed(CloseReason),
}

/// The state machine. See the module.
#[derive(Debug)]
pub(crate) struct Session {
    state: SessionState,
    deadline: Nanos,
    connect_timeout_ns: Nanos,
    endpoints: Endpoints,
    id: Option<SessionId>,
    nonce: u64,
    resume_token: u64,
    incarnation: u64,
    /// The connect epoch that this process has, or asks for until it is granted.
    connect_epoch: i64,
    is_granted: bool,
    is_resumed: bool,
    timeout_ns: Nanos,
    endpoints_invalid: u64,
    leadership_term_id: LeadershipTermId,
    correlation_id: i64,
    epoch: u32,
    redirects: u32,
    random: Prng,
}

impl Session {
    /// A session that begins by asking the first member.
    #[must_use]
    pub fn new(config: &ClientConfig, identity: &ClientIdentity) -> Self {
        let mut session = Self {
            state: SessionState::Connecting {
                member: config.first_member,
                attempt: 0,
            },
            deadline: Nanos::MAX,
            connect_timeout_ns: config.connect_timeout_ns,
            endpoints: Endpoints::new(&config.members),
            id: None,
            nonce: identity.nonce,
            resume_token: 0,
            incarnation: identity.incarnation,
            connect_epoch: 1,
            is_granted: false,
            is_resumed: config.resume.is_some(),
            timeout_ns: Nanos::from(config.session_timeout_ms) * MILLISECOND,
            endpoints_invalid: 0,
            leadership_term_id: LeadershipTermId::UNKNOWN,
            correlation_id: 0,
            epoch: 1,
            redirects: 0,
            random: Prng::new(identity.seed),
        };
        session.correlation_id = (session.random.next_u64() >> 2) as i64;
        if let Some(resume) = config.resume {
            session.id = Some(resume.session_id);
            session.nonce = resume.nonce;
            session.resume_token = resume.resume_token;
            session.connect_epoch = resume.connect_epoch.saturating_add(1);
            session.leadership_term_id = resume.leadership_term_id;
        }
        session
    }

    /// Where the session stands.
    #[must_use]
    pub const fn state(&self) -> SessionState {
        self.state
    }

    /// The session id, once known.
    #[must_use]
    pub const fn id(&self) -> Option<SessionId> {
        self.id
    }

    /// The leadership term last heard of, -1 before any.
    #[must_use]
    pub const fn leadership_term_id(&self) -> LeadershipTermId {
        self.leadership_term_id
    }

    /// The connect epoch that this process has, or asks for.
    #[must_use]
    pub const fn connect_epoch(&self) -> i64 {
        self.connect_epoch
    }

    /// Lists of members' addresses that could not be read.
    #[must_use]
    pub const fn endpoints_invalid(&self) -> u64 {
        self.endpoints_invalid
    }

    /// Silence after which the cluster closes the session, as far as known; else 0.
    #[must_use]
    pub const fn timeout_ns(&self) -> Nanos {
        self.timeout_ns
    }

    /// Correlation id of the current attempt.
    #[must_use]
    pub const fn correlation_id(&self) -> i64 {
        self.correlation_id
    }

    /// Members and their addresses, as far as known.
    #[must_use]
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Changes whenever a new ingress stream is wanted.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The member that ingress should lead to, if any.
    #[must_use]
    pub const fn member(&self) -> Option<usize> {
        match self.state {
            SessionState::Connecting { member, .. }
            | SessionState::Redirected { member, .. }
            | SessionState::AwaitingOk { member, .. } => Some(member),
            SessionState::Connected { leader } => Some(leader),
            SessionState::AwaitingLeader { .. } | SessionState::Closed(_) => None,
        }
    }

    /// Address of [`member`](Self::member).
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.endpoints.get(self.member()?)
    }

    /// Whether the connect request is still to be sent to the member.
    #[must_use]
    pub const fn wants_connect_request(&self) -> bool {
        matches!(
            self.state,
            SessionState::Connecting { .. } | SessionState::Redirected { .. }
        )
    }

    /// Whether the session is open and a leader serves it.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.state, SessionState::Connected { .. })
    }

    /// Whether the session is over.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, SessionState::Closed(_))
    }

    /// When [`tick`](Self::tick) has something to do, ns.
    #[must_use]
    pub const fn deadline(&self) -> Option<Nanos> {
        match self.state {
            SessionState::Connected { .. } | SessionState::Closed(_) => None,
            _ => Some(self.deadline),
        }
    }

    /// What is needed to continue this session after a restart.
    #[must_use]
    pub fn resume_point(&self, received: ResponseCursor) -> Option<ResumePoint> {
        Some(ResumePoint {
            session_id: self.id?,
            nonce: self.nonce,
            resume_token: self.resume_token,
            last_received: received.position,
            last_received_ordinal: received.ordinal,
            connect_epoch: self.connect_epoch,
            leadership_term_id: self.leadership_term_id,
        })
    }

    /// The connect request of the current attempt.
    #[must_use]
    pub fn connect_request<'a>(
        &self,
        config: &'a ClientConfig,
        received: ResponseCursor,
    ) -> ConnectRequest<'a> {
        ConnectRequest {
            correlation_id: self.correlation_id,
            cluster_id: config.cluster_id,
            nonce: self.nonce,
            resume_session: self.id.unwrap_or(SessionId::UNKNOWN),
            resume_token: self.resume_token,
            last_received: received.position,
            last_received_ordinal: received.ordinal,
            response_stream_id: config.response_stream_id,
            version: PROTOCOL_VERSION,
            session_timeout_ms: config.session_timeout_ms,
            connect_epoch: self.connect_epoch,
            incarnation: self.incarnation,
            principal: &config.principal,
        }
    }

    /// The member that was asked and has not answered by now.
    #[must_use]
    pub fn unheard(&self, now: Nanos) -> Option<usize> {
        match self.state {
            SessionState::Connecting { member, .. }
            | SessionState::Redirected { member, .. }
            | SessionState::AwaitingOk { member, .. } => (now >= self.deadline).then_some(member),
            _ => None,
        }
    }

    /// Time passes. Returns whether anything changed.
    pub fn tick(&mut self, now: Nanos) -> bool {
        if self.deadline == Nanos::MAX {
            // The first tick: the origin of time is not known before.
            self.deadline = self.attempt_deadline(now, 0);
        }
        if now < self.deadline {
            return false;
        }
        match self.state {
            SessionState::Connecting { member, attempt }
            | SessionState::Redirected { member, attempt }
            | SessionState::AwaitingOk { member, attempt } => {
                let next = self.member_after(member);
                self.connect(now, next, attempt.saturating_add(1));
            }
            SessionState::AwaitingLeader { next, attempt } => self.connect(now, next, attempt),
            SessionState::Connected { .. } | SessionState::Closed(_) => return false,
        }
        true
    }

    /// The connect request entered the stream; the member has a full timeout to answer it.
    pub fn on_request_sent(&mut self, now: Nanos) {
        if let SessionState::Connecting { member, attempt }
        | SessionState::Redirected { member, attempt } = self.state
        {
            self.state = SessionState::AwaitingOk { member, attempt };
            self.deadline = self.attempt_deadline(now, attempt);
        }
    }

    /// `sender` answered a connect request or has news about the session.
    pub fn on_event(
        &mut self,
        now: Nanos,
        sender: usize,
        event: &SessionEvent<'_>,
    ) -> SessionChange {
        let is_answer = matches!(self.state, SessionState::AwaitingOk { .. })
            && event.correlation_id == self.correlation_id;
        let is_own = self.id == Some(event.session_id);
        if self.is_closed() || !(is_answer || is_own) {
            return SessionChange::None;
        }
        if event.leadership_term_id < self.leadership_term_id {
            if is_answer {
                // A leader of the past that does not know it yet, or who follows one.
                self.pause(now, self.member_after(sender), self.attempt());
            }
            return SessionChange::Stale;
        }
        match event.code {
            EventCode::Ok if is_answer => self.on_ok(sender, event),
            EventCode::Redirect if is_answer => self.on_redirect(now, event),
            EventCode::Redirect if is_own && self.is_connected() => self.on_redirect(now, event),
            EventCode::Error | EventCode::Closed if is_answer && self.id.is_some() => {
                self.end(CloseReason::Expired)
            }
            EventCode::Expired => self.end(CloseReason::Expired),
            EventCode::SequenceGap => self.end(CloseReason::SequenceGap),
            EventCode::Retention => self.end(CloseReason::Retention),
            EventCode::Error if is_answer => self.end(CloseReason::Rejected),
            EventCode::AuthenticationRejected if is_answer => {
                self.end(CloseReason::AuthenticationRejected)
            }
            EventCode::Closed => self.end(CloseReason::ByClient),
            EventCode::Fenced => self.on_fenced(now, is_answer, event.connect_epoch),
            _ => SessionChange::None,
        }
    }

    /// Another process has a connect epoch at or above the one this process has or asks for. A
    /// process that starts again asks for a greater one; whoever had its turn has to stop.
    fn on_fenced(&mut self, now: Nanos, is_answer: bool, ruling: i64) -> SessionChange {
        if self.is_granted && ruling > self.connect_epoch {
            return self.end(CloseReason::Fenced);
        }
        if !is_answer || ruling < self.connect_epoch {
            return SessionChange::NotForThisProcess;
        }
        if self.is_granted || !self.is_resumed {
            return self.end(CloseReason::Fenced);
        }
        self.connect_epoch = ruling.saturating_add(1);
        let (member, attempt) = (self.member().unwrap_or_default(), self.attempt());
        if self.redirects < REDIRECTS_MAX {
            self.redirects += 1;
            self.connect(now, member, attempt);
            return SessionChange::Moved;
        }
        self.pause(now, member, attempt.saturating_add(1))
    }

    fn on_ok(&mut self, sender: usize, event: &SessionEvent<'_>) -> SessionChange {
        if event.connect_epoch != self.connect_epoch {
            return SessionChange::NotForThisProcess;
        }
        if self.id.is_some_and(|id| id != event.session_id) || !event.session_id.is_known() {
            return self.end(CloseReason::Expired);
        }
        self.id = Some(event.session_id);
        self.resume_token = event.resume_token;
        if event.session_timeout_ms > 0 {
            self.timeout_ns = Nanos::from(event.session_timeout_ms) * MILLISECOND;
        }
        self.on_served(sender, event.leadership_term_id, event.applied_number)
    }

    fn on_served(
        &mut self,
        leader: usize,
        term: LeadershipTermId,
        applied_number: RequestNumber,
    ) -> SessionChange {
        let is_first = !self.is_granted;
        if is_first && self.is_resumed {
            sometimes(Mark::SessionResumed);
        }
        let is_new_leader = !is_first && term > self.leadership_term_id;
        self.is_granted = true;
        self.leadership_term_id = term;
        self.redirects = 0;
        self.state = SessionState::Connected { leader };
        SessionChange::Opened {
            applied_number,
            is_first,
            is_new_leader,
        }
    }

    fn on_redirect(&mut self, now: Nanos, event: &SessionEvent<'_>) -> SessionChange {
        self.learn(event.detail);
        let attempt = self.attempt();
        let leader = usize::try_from(event.leader_member_id)
            .ok()
            .filter(|member| self.endpoints.get(*member).is_some());
        match leader {
            Some(member) if self.redirects < REDIRECTS_MAX => {
                self.redirects += 1;
                self.connect(now, member, attempt);
                self.state = SessionState::Redirected { member, attempt };
                SessionChange::Moved
            }
            Some(member) => {
                sometimes(Mark::RedirectsExhausted);
                self.pause(now, member, attempt.saturating_add(1))
            }
            None => {
                let asked = self.member().unwrap_or_default();
                self.pause(now, self.member_after(asked), attempt.saturating_add(1))
            }
        }
    }

    /// `sender` says that it leads now and has taken over the session.
    pub fn on_new_leader(&mut self, sender: usize, event: &NewLeaderEvent<'_>) -> SessionChange {
        let is_own = !self.is_closed()
            && self.id == Some(event.session_id)
            && usize::try_from(event.leader_member_id) == Ok(sender);
        if !is_own {
            return SessionChange::None;
        }
        if !self.is_granted || event.connect_epoch != self.connect_epoch {
            return SessionChange::NotForThisProcess;
        }
        if event.leadership_term_id <= self.leadership_term_id {
            return SessionChange::Stale;
        }
        sometimes(Mark::LeaderIntroducesItself);
        self.learn(event.endpoints);
        self.epoch = self.epoch.wrapping_add(1);
        self.on_served(sender, event.leadership_term_id, event.applied_number)
    }

    /// Takes over addresses of members that are not known yet.
    fn learn(&mut self, text: &[u8]) {
        match Endpoints::decode(text) {
            Ok(endpoints) => self.endpoints.learn(&endpoints),
            // Whoever has none to tell tells none.
            Err(_) if text.is_empty() => {}
            // Noted by the cluster session.
            Err(_) => self.endpoints_invalid += 1,
        }
    }

    /// The leader fell silent, or does not lead any more. Returns whether that was news.
    pub fn on_leader_lost(&mut self, now: Nanos) -> bool {
        let SessionState::Connected { leader } = self.state else {
            return false;
        };
        self.pause(now, self.member_after(leader), 0);
        true
    }

    /// Ends the session from this side.
    pub fn end(&mut self, reason: CloseReason) -> SessionChange {
        self.state = SessionState::Closed(reason);
        SessionChange::Closed(reason)
    }

    fn attempt(&self) -> u32 {
        match self.state {
            SessionState::Connecting { attempt, .. }
            | SessionState::Redirected { attempt, .. }
            | SessionState::AwaitingOk { attempt, .. }
            | SessionState::AwaitingLeader { attempt, .. } => attempt,
            SessionState::Connected { .. } | SessionState::Closed(_) => 0,
        }
    }

    fn member_after(&self, member: usize) -> usize {
        self.endpoints.at_or_after(member + 1).unwrap_or(member)
    }

    fn connect(&mut self, now: Nanos, member: usize, attempt: u32) {
        self.state = SessionState::Connecting { member, attempt };
        self.epoch = self.epoch.wrapping_add(1);
        self.correlation_id = self.correlation_id.wrapping_add(1);
        self.deadline = self.attempt_deadline(now, attempt);
    }

    fn pause(&mut self, now: Nanos, next: usize, attempt: u32) -> SessionChange {
        self.redirects = 0;
        self.state = SessionState::AwaitingLeader { next, attempt };
        let first = self.connect_timeout_ns / PAUSE_DIVISOR;
        self.deadline = now + self.jittered(first << attempt.min(GROWTH_MAX));
        SessionChange::Moved
    }

    /// Attempts grow only after everybody was asked once at the present length.
    fn attempt_deadline(&mut self, now: Nanos, attempt: u32) -> Nanos {
        let rounds = attempt / (self.endpoints.count().max(1) as u32);
        now + self.jittered(self.connect_timeout_ns << rounds.min(GROWTH_MAX))
    }

    /// `duration` and up to a quarter more.
    fn jittered(&mut self, duration: Nanos) -> Nanos {
        let span = (duration / 4).max(MILLISECOND) as u64;
        duration + self.random.range(0..span) as Nanos
    }

    /// An id for a new transport stream: unlikely to be one that the peer still remembers.
    pub fn next_stream_id(&mut self) -> i32 {
        self.random.next_u64() as i32
    }
}

#[cfg(test)]
mod tests;
