//! The Lockstep client protocol: what a client and the cluster say to each other inside the
//! ingress and egress streams.
//!
//! SBE style (`wire.md` B.1): an 8-byte message header, a fixed little-endian block, then
//! variable data as u32 length + bytes. Template ids are Aeron Cluster's where it has the
//! message. [`ingress`] holds client → cluster, [`egress`] cluster → client.
//!
//! Decoders check every length. A longer block comes from a newer peer: what is known is read
//! and the rest skipped. A shorter block, or bytes left over in a message of our own version,
//! is refused. Application payloads follow their block directly, without a length of their own.

mod block;
pub mod egress;
pub mod endpoints;
pub mod ingress;

#[cfg(test)]
mod tests;

pub(crate) use egress::ClusterMessage;
pub use egress::{
    EventCode, NewLeaderEvent, Progress, RESPONSE_FLAG_FAILED, RefusalReason, Refused,
    ResponseFailure, ResponseHeader, SessionEvent,
};
pub use endpoints::{Endpoints, MEMBERS_MAX};
pub use ingress::{ClientMessage, CloseRequest, ConnectRequest, KeepAlive, RequestHeader};

/// Schema id in every message header: `LS`.
pub(crate) const SCHEMA_ID: u16 = 0x4C53;

/// Version of the schema that this code writes.
pub(crate) const SCHEMA_VERSION: u16 = 1;

/// Client protocol version that connect requests and session events carry.
pub const PROTOCOL_VERSION: i32 = 1;

/// Bytes of the message header.
pub(crate) const MESSAGE_HEADER_LENGTH: usize = 8;

/// Stream id of ingress, as Aeron Cluster's default (`wire.md` C.1).
pub const INGRESS_STREAM_ID: i32 = 101;

/// Stream id of egress unless the client asks for another (`wire.md` C.1).
pub const EGRESS_STREAM_ID: i32 = 102;

/// Longest datagram between clients and members unless a client is told otherwise: it fits any
/// path that carries Ethernet frames.
pub const MTU_DEFAULT: usize = 1408;

/// Which message a header announces. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Template {
    /// A request of the application.
    Request = 1,
    /// An answer to a connect request, or news about a session.
    SessionEvent = 2,
    /// Opens or resumes a session.
    ConnectRequest = 3,
    /// Ends a session.
    CloseRequest = 4,
    /// Keeps a session alive.
    KeepAlive = 5,
    /// A new leader has taken over the session.
    NewLeaderEvent = 6,
    /// A response of a service.
    Response = 40,
    /// A request was not accepted.
    Refused = 41,
    /// How far the session's requests are applied.
    Progress = 42,
}

impl Template {
    /// The template with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Request,
            2 => Self::SessionEvent,
            3 => Self::ConnectRequest,
            4 => Self::CloseRequest,
            5 => Self::KeepAlive,
            6 => Self::NewLeaderEvent,
            40 => Self::Response,
            41 => Self::Refused,
            42 => Self::Progress,
            _ => return None,
        })
    }
}

/// Why bytes are not a message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Fewer bytes than the message says or its fixed part needs.
    #[error("message of {length} bytes where {needed} are needed")]
    Truncated {
        /// Bytes needed to go on.
        needed: usize,
        /// Bytes present.
        length: usize,
    },
    /// Another schema.
    #[error("schema id {0:#06x} is not that of the client protocol")]
    UnknownSchema(u16),
    /// A version this code cannot read.
    #[error("schema version {0} is not supported")]
    UnknownVersion(u16),
    /// A template unknown here, or one that only the other side sends.
    #[error("template id {0} is not expected here")]
    UnexpectedTemplate(u16),
    /// A block shorter than version 1 of its template.
    #[error("block of {length} bytes is too short for template {template}")]
    ShortBlock {
        /// The template.
        template: u16,
        /// The block length announced.
        length: u16,
    },
    /// An enumeration value that is not defined.
    #[error("code {0} is not defined")]
    UnknownCode(i32),
    /// Bytes left after the last field of a message of our own version.
    #[error("{0} bytes after the end of the message")]
    TrailingBytes(usize),
    /// Endpoints that are not `id=address:port,…`.
    #[error("endpoints are not a list of id=address:port")]
    InvalidEndpoints,
}
