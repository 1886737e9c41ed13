//! Cluster → client: session events, responses, refusals, progress.
//!
//! Offsets in the tables count from the start of the block; 8 bytes of message header precede.

use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::position::Position;

use super::block::{Message, message, write_with_var_data};
use super::{MESSAGE_HEADER_LENGTH, ProtocolError, Template};

/// What a [`SessionEvent`] says. The first five are Aeron Cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum EventCode {
    /// The session is open.
    Ok = 0,
    /// The request cannot be granted; the detail says why.
    Error = 1,
    /// Ask the leader instead; the detail lists all ingress endpoints. A negative leader
    /// member id says that no leader is known at the moment.
    Redirect = 2,
    /// Authentication failed.
    AuthenticationRejected = 3,
    /// The session is closed, as its client asked.
    Closed = 4,
    /// Another process has continued the session, under the connect epoch given: it is not the
    /// receiver's any more.
    Fenced = 5,
    /// The session is closed: its client was silent for longer than its timeout. To a process that
    /// wants to continue one: the cluster does not have it any more.
    Expired = 6,
    /// The session is closed: requests of its client are missing.
    SequenceGap = 7,
    /// The session is closed: its client left answers unacknowledged for longer than the cluster
    /// keeps them.
    Retention = 8,
}

impl EventCode {
    /// The code with this number.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Ok,
            1 => Self::Error,
            2 => Self::Redirect,
            3 => Self::AuthenticationRejected,
            4 => Self::Closed,
            5 => Self::Fenced,
            6 => Self::Expired,
            7 => Self::SequenceGap,
            8 => Self::Retention,
            _ => return None,
        })
    }
}

/// An answer to a connect request, or news about a session. Template 2, block 72, then
/// `detail`.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | session id, -1 none |
/// | 8 | 8 | correlation id |
/// | 16 | 8 | leadership term id |
/// | 24 | 8 | applied number |
/// | 32 | 8 | acknowledged position |
/// | 40 | 8 | resume token |
/// | 48 | 4 | leader member id, negative unknown |
/// | 52 | 4 | code |
/// | 56 | 4 | protocol version of the cluster |
/// | 60 | 4 | session timeout in milliseconds, 0 unknown |
/// | 64 | 8 | connect epoch of the session |
/// | – | 4+n | detail |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEvent<'a> {
    /// The session, or -1.
    pub session_id: SessionId,
    /// Correlation id of the request answered.
    pub correlation_id: i64,
    /// The current leadership term.
    pub leadership_term_id: LeadershipTermId,
    /// Number of the last request of the session that was applied: resend from the next one.
    pub applied_number: RequestNumber,
    /// Position up to which the cluster knows responses to be received.
    pub acknowledged: Position,
    /// Proves ownership of the session when it is resumed.
    pub resume_token: u64,
    /// The current leader, negative when unknown.
    pub leader_member_id: i32,
    /// What happened.
    pub code: EventCode,
    /// Protocol version of the cluster.
    pub version: i32,
    /// Silence after which the cluster closes the session, in ms; 0 when it is about none.
    pub session_timeout_ms: u32,
    /// The session's connect epoch: of OK the one granted, of FENCED the one that rules.
    pub connect_epoch: i64,
    /// Redirect: endpoints, see [`Endpoints`](super::Endpoints). Otherwise words for people.
    pub detail: &'a [u8],
}

impl<'a> SessionEvent<'a> {
    /// Bytes of header and block.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 72;

    /// Encodes into `buffer` and returns the length, or `None` when it does not fit.
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        let fixed: [u8; SessionEvent::LENGTH] = message(Template::SessionEvent, |fields| {
            fields
                .i64(self.session_id.get())
                .i64(self.correlation_id)
                .i64(self.leadership_term_id.get())
                .i64(self.applied_number.get())
                .i64(self.acknowledged)
                .u64(self.resume_token)
                .i32(self.leader_member_id)
                .i32(self.code as i32)
                .i32(self.version)
                .u32(self.session_timeout_ms)
                .i64(self.connect_epoch);
        });
        write_with_var_data(&fixed, self.detail, buffer)
    }

    fn read(mut message: Message<'a>) -> Result<Self, ProtocolError> {
        let (event, code) = message.block::<72, _>(|fields| {
            let mut event = Self {
                session_id: SessionId::new(fields.i64()?),
                correlation_id: fields.i64()?,
                leadership_term_id: LeadershipTermId::new(fields.i64()?),
                applied_number: RequestNumber::new(fields.i64()?),
                acknowledged: fields.i64()?,
                resume_token: fields.u64()?,
                leader_member_id: fields.i32()?,
                code: EventCode::Ok,
                version: 0,
                session_timeout_ms: 0,
                connect_epoch: 0,
                detail: &[],
            };
            let code = fields.i32()?;
            event.version = fields.i32()?;
            event.session_timeout_ms = fields.u32()?;
            event.connect_epoch = fields.i64()?;
            Some((event, code))
        })?;
        let detail = message.var_data()?;
        message.finish()?;
        let code = EventCode::from_number(code).ok_or(ProtocolError::UnknownCode(code))?;
        Ok(Self {
            code,
            detail,
            ..event
        })
    }
}

/// The session has a new leader: the sender. Template 6, block 40, then `endpoints`.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | leadership term id |
/// | 8 | 8 | session id |
/// | 16 | 8 | applied number |
/// | 24 | 4 | leader member id |
/// | 28 | 4 | zero |
/// | 32 | 8 | connect epoch of the session |
/// | – | 4+n | endpoints |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewLeaderEvent<'a> {
    /// The new leadership term.
    pub leadership_term_id: LeadershipTermId,
    /// The session.
    pub session_id: SessionId,
    /// Number of the last request of the session that was applied: resend from the next one.
    pub applied_number: RequestNumber,
    /// The new leader.
    pub leader_member_id: i32,
    /// The session's connect epoch: the event is for the process that has it.
    pub connect_epoch: i64,
    /// Ingress endpoints of all members, see [`Endpoints`](super::Endpoints).
    pub endpoints: &'a [u8],
}

impl<'a> NewLeaderEvent<'a> {
    /// Bytes of header and block.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 40;

    /// Encodes into `buffer` and returns the length, or `None` when it does not fit.
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        let fixed: [u8; NewLeaderEvent::LENGTH] = message(Template::NewLeaderEvent, |fields| {
            fields
                .i64(self.leadership_term_id.get())
                .i64(self.session_id.get())
                .i64(self.applied_number.get())
                .i32(self.leader_member_id)
                .zeros(4)
                .i64(self.connect_epoch);
        });
        write_with_var_data(&fixed, self.endpoints, buffer)
    }

    fn read(mut message: Message<'a>) -> Result<Self, ProtocolError> {
        let event = message.block::<40, _>(|fields| {
            Some(Self {
                leadership_term_id: LeadershipTermId::new(fields.i64()?),
                session_id: SessionId::new(fields.i64()?),
                applied_number: RequestNumber::new(fields.i64()?),
                leader_member_id: fields.i32()?,
                connect_epoch: fields.skip(4).and_then(|()| fields.i64())?,
                endpoints: &[],
            })
        })?;
        let endpoints = message.var_data()?;
        message.finish()?;
        Ok(Self { endpoints, ..event })
    }
}

/// Flag of a response that only says why the service could not say what it wanted; the payload
/// is one byte, a [`ResponseFailure`].
pub const RESPONSE_FLAG_FAILED: u32 = 2;

/// Why a service's response failed. The same on every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ResponseFailure {
    /// The request had as many effects as it may have.
    TooManyEffects = 1,
    /// The request's effects would have exceeded their bytes.
    TooManyBytes = 2,
    /// The response was longer than the cluster's `message_max`.
    TooLong = 3,
    /// A reason that this client does not know.
    Other = 255,
}

impl ResponseFailure {
    /// The reason in the payload of a response with [`RESPONSE_FLAG_FAILED`].
    #[must_use]
    pub(crate) const fn from_payload(payload: &[u8]) -> Self {
        match payload {
            [1] => Self::TooManyEffects,
            [2] => Self::TooManyBytes,
            [3] => Self::TooLong,
            _ => Self::Other,
        }
    }
}

/// What precedes the payload of a response. Template 40, block 64.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | leadership term id |
/// | 8 | 8 | session id |
/// | 16 | 8 | position of the response (`direct`: of its cause) |
/// | 24 | 8 | position of its cause |
/// | 32 | 8 | request number of the cause, 0 when the cause is no request of this session |
/// | 40 | 8 | applied number |
/// | 48 | 8 | log time of the entry at that position, ns |
/// | 56 | 4 | ordinal |
/// | 60 | 4 | flags |
/// | 64 | n | payload |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// Leadership term of the sender.
    pub leadership_term_id: LeadershipTermId,
    /// The session.
    pub session_id: SessionId,
    /// Position of the response entry; in direct mode that of its cause.
    pub position: Position,
    /// Position of the entry that caused it.
    pub cause: Position,
    /// Number of the request that caused it, or [`RequestNumber::NONE`].
    pub number: RequestNumber,
    /// Number of the last request of the session that was applied.
    pub applied_number: RequestNumber,
    /// Log time of the entry at `position`, ns.
    pub log_time: i64,
    /// Which of its cause's effects this is, from 0.
    pub ordinal: u32,
    /// [`RESPONSE_FLAG_FAILED`], or 0; the lowest bit is reserved.
    pub flags: u32,
}

impl ResponseHeader {
    /// Bytes in front of the payload.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 64;

    /// Encodes what goes in front of the payload.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        message(Template::Response, |fields| {
            fields
                .i64(self.leadership_term_id.get())
                .i64(self.session_id.get())
                .i64(self.position)
                .i64(self.cause)
                .i64(self.number.get())
                .i64(self.applied_number.get())
                .i64(self.log_time)
                .u32(self.ordinal)
                .u32(self.flags);
        })
    }

    fn read(message: &Message<'_>) -> Result<Self, ProtocolError> {
        message.block::<64, _>(|fields| {
            Some(Self {
                leadership_term_id: LeadershipTermId::new(fields.i64()?),
                session_id: SessionId::new(fields.i64()?),
                position: fields.i64()?,
                cause: fields.i64()?,
                number: RequestNumber::new(fields.i64()?),
                applied_number: RequestNumber::new(fields.i64()?),
                log_time: fields.i64()?,
                ordinal: fields.u32()?,
                flags: fields.u32()?,
            })
        })
    }
}

/// Why a request was not accepted. A refused number is not consumed (`log.md` 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum RefusalReason {
    /// Numbers were skipped; the expected one is given.
    OutOfOrder = 1,
    /// No room at the moment: try again.
    BackPressured = 2,
    /// The member does not lead.
    NotLeader = 3,
    /// No such session: expired or never opened.
    UnknownSession = 4,
    /// Direct mode: applied, but its response cannot be delivered again.
    AlreadyApplied = 5,
    /// Longer than the cluster's limit.
    TooLong = 6,
    /// The client's leadership term is not the member's.
    WrongTerm = 7,
    /// The leader is handing over: ask the next one.
    Draining = 8,
    /// The connect epoch is an older one: another process has continued the session.
    Fenced = 9,
    /// The members' services do not agree whose answers are right: try again later.
    Contested = 10,
}

impl RefusalReason {
    /// The reason with this number.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::OutOfOrder,
            2 => Self::BackPressured,
            3 => Self::NotLeader,
            4 => Self::UnknownSession,
            5 => Self::AlreadyApplied,
            6 => Self::TooLong,
            7 => Self::WrongTerm,
            8 => Self::Draining,
            9 => Self::Fenced,
            10 => Self::Contested,
            _ => return None,
        })
    }
}

/// A request was not accepted. Template 41, block 48.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | session id |
/// | 8 | 8 | number refused |
/// | 16 | 8 | number expected next |
/// | 24 | 4 | reason |
/// | 28 | 4 | zero |
/// | 32 | 8 | leadership term id |
/// | 40 | 8 | connect epoch of the request |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The session.
    pub session_id: SessionId,
    /// The request refused.
    pub number: RequestNumber,
    /// The number that would be accepted.
    pub expected_number: RequestNumber,
    /// Why.
    pub reason: RefusalReason,
    /// The leadership term of the member that refuses.
    pub leadership_term_id: LeadershipTermId,
    /// Connect epoch that the request came with: the refusal is for the process that has it.
    pub connect_epoch: i64,
}

impl Refused {
    /// Bytes of the message.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 48;

    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        message(Template::Refused, |fields| {
            fields
                .i64(self.session_id.get())
                .i64(self.number.get())
                .i64(self.expected_number.get())
                .i32(self.reason as i32)
                .zeros(4)
                .i64(self.leadership_term_id.get())
                .i64(self.connect_epoch);
        })
    }

    fn read(message: &Message<'_>) -> Result<Self, ProtocolError> {
        let (refused, reason) = message.block::<48, _>(|fields| {
            let mut refused = Self {
                session_id: SessionId::new(fields.i64()?),
                number: RequestNumber::new(fields.i64()?),
                expected_number: RequestNumber::new(fields.i64()?),
                reason: RefusalReason::OutOfOrder,
                leadership_term_id: LeadershipTermId::NONE,
                connect_epoch: 0,
            };
            let reason = fields.i32()?;
            fields.skip(4)?;
            refused.leadership_term_id = LeadershipTermId::new(fields.i64()?);
            refused.connect_epoch = fields.i64()?;
            Some((refused, reason))
        })?;
        message.finish()?;
        let unknown = ProtocolError::UnknownCode(reason);
        let reason = RefusalReason::from_number(reason).ok_or(unknown)?;
        Ok(Self { reason, ..refused })
    }
}

/// How far a session's requests are applied, when no response said so. Template 42, block 32.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | session id |
/// | 8 | 8 | applied number |
/// | 16 | 8 | acknowledged position |
/// | 24 | 8 | leadership term id |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The session.
    pub session_id: SessionId,
    /// Number of the last request of the session that was applied.
    pub applied_number: RequestNumber,
    /// Position up to which the cluster knows responses to be received.
    pub acknowledged: Position,
    /// The leader's term.
    pub leadership_term_id: LeadershipTermId,
}

impl Progress {
    /// Bytes of the message.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 32;

    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        message(Template::Progress, |fields| {
            fields
                .i64(self.session_id.get())
                .i64(self.applied_number.get())
                .i64(self.acknowledged)
                .i64(self.leadership_term_id.get());
        })
    }

    fn read(message: &Message<'_>) -> Result<Self, ProtocolError> {
        let progress = message.block::<32, _>(|fields| {
            Some(Self {
                session_id: SessionId::new(fields.i64()?),
                applied_number: RequestNumber::new(fields.i64()?),
                acknowledged: fields.i64()?,
                leadership_term_id: LeadershipTermId::new(fields.i64()?),
            })
        })?;
        message.finish()?;
        Ok(progress)
    }
}

/// Any message the cluster sends to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterMessage<'a> {
    /// An answer to a connect request, or news about a session.
    SessionEvent(SessionEvent<'a>),
    /// The session has a new leader.
    NewLeaderEvent(NewLeaderEvent<'a>),
    /// A response of a service.
    Response {
        /// Which response to what.
        header: ResponseHeader,
        /// The service's bytes.
        payload: &'a [u8],
    },
    /// A request was not accepted.
    Refused(Refused),
    /// How far the session's requests are applied.
    Progress(Progress),
}

impl<'a> ClusterMessage<'a> {
    /// Decodes a message received on an egress stream.
    ///
    /// # Errors
    /// When the bytes are not a whole message that the cluster sends; see [`ProtocolError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        let message = Message::parse(bytes)?;
        Ok(match message.template {
            Template::Response => Self::Response {
                header: ResponseHeader::read(&message)?,
                payload: message.payload(),
            },
            Template::SessionEvent => Self::SessionEvent(SessionEvent::read(message)?),
            Template::NewLeaderEvent => Self::NewLeaderEvent(NewLeaderEvent::read(message)?),
            Template::Refused => Self::Refused(Refused::read(&message)?),
            Template::Progress => Self::Progress(Progress::read(&message)?),
            other => return Err(ProtocolError::UnexpectedTemplate(other as u16)),
        })
    }

    /// The session the message is about, -1 when it is about none.
    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        match self {
            Self::SessionEvent(event) => event.session_id,
            Self::NewLeaderEvent(event) => event.session_id,
            Self::Response { header, .. } => header.session_id,
            Self::Refused(refused) => refused.session_id,
            Self::Progress(progress) => progress.session_id,
        }
    }

    /// The leadership term in which it was said.
    #[must_use]
    pub const fn leadership_term_id(&self) -> LeadershipTermId {
        match self {
            Self::SessionEvent(event) => event.leadership_term_id,
            Self::NewLeaderEvent(event) => event.leadership_term_id,
            Self::Response { header, .. } => header.leadership_term_id,
            Self::Refused(refused) => refused.leadership_term_id,
            Self::Progress(progress) => progress.leadership_term_id,
        }
    }
}
