//! Client → cluster: connect, request, keepalive, close.
//!
//! Offsets in the tables count from the start of the block; 8 bytes of message header precede.

use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::position::Position;

use super::block::{Message, message, write_with_var_data};
use super::{MESSAGE_HEADER_LENGTH, ProtocolError, Template};

/// Opens a session, or resumes one. Template 3, block 80, then `principal`.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | correlation id |
/// | 8 | 8 | cluster id |
/// | 16 | 8 | nonce |
/// | 24 | 8 | session to resume, -1 none |
/// | 32 | 8 | resume token |
/// | 40 | 8 | last received response: position |
/// | 48 | 4 | last received response: ordinal |
/// | 52 | 4 | response stream id |
/// | 56 | 4 | client protocol version |
/// | 60 | 4 | session timeout in milliseconds, 0 = the cluster's |
/// | 64 | 8 | connect epoch asked for |
/// | 72 | 8 | incarnation |
/// | – | 4+n | principal |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Echoed in the answer; new for every attempt.
    pub correlation_id: i64,
    /// The cluster the client means; another one refuses.
    pub cluster_id: u64,
    /// Identifies this connection across attempts: a repeat finds the session already opened.
    pub nonce: u64,
    /// Session to resume, or -1.
    pub resume_session: SessionId,
    /// Proof of owning it, from the session event that opened it.
    pub resume_token: u64,
    /// Position of the last response handed to the application; 0 none.
    pub last_received: Position,
    /// Ordinal of that response.
    pub last_received_ordinal: u32,
    /// Stream on which the client listens.
    pub response_stream_id: i32,
    /// Client protocol version, [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION).
    pub version: i32,
    /// Silence after which the cluster may close the session, in ms; 0 takes the cluster's.
    pub session_timeout_ms: u32,
    /// The connect epoch that this process asks for: 1 opens, a resume asks for a greater one
    /// than the session has. Granted at most once, to one incarnation.
    pub connect_epoch: i64,
    /// Drawn once by each process: tells its repeats from another process that asks for the
    /// same epoch.
    pub incarnation: u64,
    /// Who connects; opaque to the protocol.
    pub principal: &'a [u8],
}

impl<'a> ConnectRequest<'a> {
    /// Bytes of header and block.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 80;

    /// Encodes into `buffer` and returns the length, or `None` when it does not fit.
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        let fixed: [u8; ConnectRequest::LENGTH] = message(Template::ConnectRequest, |fields| {
            fields
                .i64(self.correlation_id)
                .u64(self.cluster_id)
                .u64(self.nonce)
                .i64(self.resume_session.get())
                .u64(self.resume_token)
                .i64(self.last_received)
                .u32(self.last_received_ordinal)
                .i32(self.response_stream_id)
                .i32(self.version)
                .u32(self.session_timeout_ms)
                .i64(self.connect_epoch)
                .u64(self.incarnation);
        });
        write_with_var_data(&fixed, self.principal, buffer)
    }

    fn read(mut message: Message<'a>) -> Result<Self, ProtocolError> {
        let connect = message.block::<80, _>(|fields| {
            Some(Self {
                correlation_id: fields.i64()?,
                cluster_id: fields.u64()?,
                nonce: fields.u64()?,
                resume_session: SessionId::new(fields.i64()?),
                resume_token: fields.u64()?,
                last_received: fields.i64()?,
                last_received_ordinal: fields.u32()?,
                response_stream_id: fields.i32()?,
                version: fields.i32()?,
                session_timeout_ms: fields.u32()?,
                connect_epoch: fields.i64()?,
                incarnation: fields.u64()?,
                principal: &[],
            })
        })?;
        let principal = message.var_data()?;
        message.finish()?;
        Ok(Self {
            principal,
            ..connect
        })
    }
}

/// What precedes the payload of a request. Template 1, block 40.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | leadership term id the client knows |
/// | 8 | 8 | session id |
/// | 16 | 8 | request number |
/// | 24 | 8 | acknowledged position |
/// | 32 | 8 | connect epoch |
/// | 40 | n | payload |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Leadership term the client knows.
    pub leadership_term_id: LeadershipTermId,
    /// The session.
    pub session_id: SessionId,
    /// Number of the request in its session, from 1.
    pub number: RequestNumber,
    /// Position up to which responses were handed to the application.
    pub acknowledged: Position,
    /// Connect epoch of the process that sent it; of an older one it is refused.
    pub connect_epoch: i64,
}

impl RequestHeader {
    /// Bytes in front of the payload.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 40;

    /// Encodes what goes in front of the payload.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        message(Template::Request, |fields| {
            fields
                .i64(self.leadership_term_id.get())
                .i64(self.session_id.get())
                .i64(self.number.get())
                .i64(self.acknowledged)
                .i64(self.connect_epoch);
        })
    }

    fn read(message: &Message<'_>) -> Result<Self, ProtocolError> {
        message.block::<40, _>(|fields| {
            Some(Self {
                leadership_term_id: LeadershipTermId::new(fields.i64()?),
                session_id: SessionId::new(fields.i64()?),
                number: RequestNumber::new(fields.i64()?),
                acknowledged: fields.i64()?,
                connect_epoch: fields.i64()?,
            })
        })
    }
}

/// Keeps a session alive and acknowledges. Template 5, block 32.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | leadership term id the client knows |
/// | 8 | 8 | session id |
/// | 16 | 8 | acknowledged position |
/// | 24 | 8 | connect epoch |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Leadership term the client knows.
    pub leadership_term_id: LeadershipTermId,
    /// The session.
    pub session_id: SessionId,
    /// Position up to which responses were handed to the application.
    pub acknowledged: Position,
    /// Connect epoch of the process that sent it.
    pub connect_epoch: i64,
}

impl KeepAlive {
    /// Bytes of the message.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 32;

    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        message(Template::KeepAlive, |fields| {
            fields
                .i64(self.leadership_term_id.get())
                .i64(self.session_id.get())
                .i64(self.acknowledged)
                .i64(self.connect_epoch);
        })
    }

    fn read(message: &Message<'_>) -> Result<Self, ProtocolError> {
        let keep_alive = message.block::<32, _>(|fields| {
            Some(Self {
                leadership_term_id: LeadershipTermId::new(fields.i64()?),
                session_id: SessionId::new(fields.i64()?),
                acknowledged: fields.i64()?,
                connect_epoch: fields.i64()?,
            })
        })?;
        message.finish()?;
        Ok(keep_alive)
    }
}

/// Ends a session. Template 4, block 24.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | leadership term id the client knows |
/// | 8 | 8 | session id |
/// | 16 | 8 | connect epoch |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseRequest {
    /// Leadership term the client knows.
    pub leadership_term_id: LeadershipTermId,
    /// The session.
    pub session_id: SessionId,
    /// Connect epoch of the process that sent it.
    pub connect_epoch: i64,
}

impl CloseRequest {
    /// Bytes of the message.
    pub const LENGTH: usize = MESSAGE_HEADER_LENGTH + 24;

    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        message(Template::CloseRequest, |fields| {
            fields
                .i64(self.leadership_term_id.get())
                .i64(self.session_id.get())
                .i64(self.connect_epoch);
        })
    }

    fn read(message: &Message<'_>) -> Result<Self, ProtocolError> {
        let close = message.block::<24, _>(|fields| {
            Some(Self {
                leadership_term_id: LeadershipTermId::new(fields.i64()?),
                session_id: SessionId::new(fields.i64()?),
                connect_epoch: fields.i64()?,
            })
        })?;
        message.finish()?;
        Ok(close)
    }
}

/// Any message a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// Opens or resumes a session.
    ConnectRequest(ConnectRequest<'a>),
    /// A request of the application.
    Request {
        /// Which request of which session.
        header: RequestHeader,
        /// The application's bytes.
        payload: &'a [u8],
    },
    /// Keeps a session alive.
    KeepAlive(KeepAlive),
    /// Ends a session.
    CloseRequest(CloseRequest),
}

impl<'a> ClientMessage<'a> {
    /// Decodes a message received on an ingress stream.
    ///
    /// # Errors
    /// When the bytes are not a whole message that clients send; see [`ProtocolError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        let message = Message::parse(bytes)?;
        Ok(match message.template {
            Template::Request => Self::Request {
                header: RequestHeader::read(&message)?,
                payload: message.payload(),
            },
            Template::ConnectRequest => Self::ConnectRequest(ConnectRequest::read(message)?),
            Template::KeepAlive => Self::KeepAlive(KeepAlive::read(&message)?),
            Template::CloseRequest => Self::CloseRequest(CloseRequest::read(&message)?),
            other => return Err(ProtocolError::UnexpectedTemplate(other as u16)),
        })
    }
}
