//! A log entry as a value: what the leader appends, and what every member applies.
//!
//! One variant for each kind of entry that is written. [`LogEntry::decode`] is the only way from
//! bytes to an entry and `LogEntry::header` with `LogEntry::with_body` the only way back;
//! messages are borrowed, so that a request is not copied. Kinds that nobody writes yet are
//! refused like bytes that are no entry.

use lockstep_service::log_entry::{ENTRY_HEADER_LENGTH, EntryHeader, EntryKind, RESPONSE_FAILED};
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;

use crate::log::entry_body::{
    CloseReason, ClusterAction, NewLeadershipTerm, SessionAcks, SessionOpen,
};

/// A client's request on its way to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The session.
    pub session: SessionId,
    /// Its number in the session.
    pub number: RequestNumber,
    /// Greatest position of a response that the client had received when it sent it.
    pub acknowledged: Position,
    /// The client's message.
    pub message: &'a [u8],
}

/// A response of a service to an entry before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The service that says it.
    pub service: u8,
    /// The session it goes to.
    pub session: SessionId,
    /// Position of the entry that caused it.
    pub cause: Position,
    /// Which of its cause's effects it is, from 0.
    pub ordinal: u32,
    /// Number of the request that it answers; of none where the cause is none of its session.
    pub request_number: RequestNumber,
    /// It only says why the service could not say what it wanted.
    pub is_failure: bool,
    /// The service's message.
    pub message: &'a [u8],
}

impl<'a> Response<'a> {
    /// The response that `header`, which is that of one, and the body behind it are.
    #[inline]
    #[must_use]
    pub const fn of(header: &EntryHeader, body: &'a [u8]) -> Self {
        Self {
            service: header.service,
            session: header.session,
            cause: header.number,
            ordinal: header.ordinal,
            request_number: RequestNumber::new(header.refers_to),
            is_failure: header.flags & RESPONSE_FAILED != 0,
            message: body,
        }
    }
}

/// An entry of the log, without what is stamped on it when it is appended: log time and the
/// leader's commit position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEntry<'a> {
    /// A leadership term begins.
    NewLeadershipTerm(NewLeadershipTerm),
    /// A session opens, or another process or address continues it.
    SessionOpen(SessionOpen),
    /// A session closes.
    SessionClose {
        /// Which one.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// What the clients of several sessions have received.
    SessionAck(SessionAcks<'a>),
    /// A client asks.
    Request(Request<'a>),
    /// A service answers.
    Response(Response<'a>),
    /// All members are to do this here.
    Action(ClusterAction),
}

/// Why bytes are no entry that a leader of this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Shorter than an entry's header, or of a kind that is not known.
    #[error("no header of an entry is there")]
    Header,
    /// No version writes entries of this kind yet.
    #[error("nobody writes entries of kind {0:?} yet")]
    Reserved(EntryKind),
    /// The body is not one of such an entry.
    #[error("the body is not that of an entry of kind {0:?}")]
    Body(EntryKind),
}

impl<'a> LogEntry<'a> {
    /// The entry that `header` and the `body` behind it are.
    ///
    /// # Errors
    /// When no leader of this version writes it.
    #[inline]
    pub fn decode(header: &EntryHeader, body: &'a [u8]) -> Result<Self, EntryError> {
        let kind = header.kind;
        let entry = match kind {
            EntryKind::Request => Some(Self::Request(Request {
                session: header.session,
                number: RequestNumber::new(header.number),
                acknowledged: header.refers_to,
                message: body,
            })),
            EntryKind::Response => Some(Self::Response(Response::of(header, body))),
            EntryKind::NewLeadershipTerm => {
                NewLeadershipTerm::decode(body).map(Self::NewLeadershipTerm)
            }
            EntryKind::SessionOpen => SessionOpen::decode(body).map(Self::SessionOpen),
            EntryKind::SessionClose => CloseReason::decode(body).map(|reason| Self::SessionClose {
                session: header.session,
                reason,
            }),
            EntryKind::SessionAck => SessionAcks::decode(body).map(Self::SessionAck),
            EntryKind::Action => ClusterAction::decode(body).map(Self::Action),
            EntryKind::Topic
            | EntryKind::ServiceMessage
            | EntryKind::Timer
            | EntryKind::Membership => return Err(EntryError::Reserved(kind)),
        };
        entry.ok_or(EntryError::Body(kind))
    }

    /// The entry that `payload` is: header and body.
    ///
    /// # Errors
    /// When no leader of this version writes it.
    pub(crate) fn decode_whole(payload: &'a [u8]) -> Result<Self, EntryError> {
        let header = EntryHeader::decode(payload).ok_or(EntryError::Header)?;
        Self::decode(&header, &payload[ENTRY_HEADER_LENGTH..])
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::NewLeadershipTerm(_) => EntryKind::NewLeadershipTerm,
            Self::SessionOpen(_) => EntryKind::SessionOpen,
            Self::SessionClose { .. } => EntryKind::SessionClose,
            Self::SessionAck(_) => EntryKind::SessionAck,
            Self::Request(_) => EntryKind::Request,
            Self::Response(_) => EntryKind::Response,
            Self::Action(_) => EntryKind::Action,
        }
    }

    /// Whether it makes services emit effects.
    #[must_use]
    pub(crate) const fn is_causing(&self) -> bool {
        self.kind().is_causing()
    }

    /// Its header; what is stamped on it when it is appended is 0.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> EntryHeader {
        let mut header = EntryHeader::of_kind(self.kind());
        match self {
            Self::Request(request) => {
                header.session = request.session;
                header.number = request.number.get();
                header.refers_to = request.acknowledged;
            }
            Self::Response(response) => {
                header.service = response.service;
                header.flags = if response.is_failure {
                    RESPONSE_FAILED
                } else {
                    0
                };
                header.ordinal = response.ordinal;
                header.session = response.session;
                header.number = response.cause;
                header.refers_to = response.request_number.get();
            }
            Self::SessionClose { session, .. } => header.session = *session,
            Self::NewLeadershipTerm(_)
            | Self::SessionOpen(_)
            | Self::SessionAck(_)
            | Self::Action(_) => {}
        }
        header
    }

    /// Hands the bytes of its body to `append`.
    #[inline]
    pub(crate) fn with_body<T>(&self, append: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Request(request) => append(request.message),
            Self::Response(response) => append(response.message),
            Self::NewLeadershipTerm(term) => append(&term.encode()),
            Self::SessionOpen(open) => append(&open.encode()),
            Self::SessionClose { reason, .. } => append(&reason.encode()),
            Self::SessionAck(acks) => append(acks.bytes()),
            Self::Action(action) => append(&action.encode()),
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::ids::LeadershipTermId;
    use proptest::prelude::*;

    use super::*;
    use crate::log::entry_body::SessionAcknowledgement;
    use crate::module::formation::FormationRecord;
    use crate::settings::cluster_limits::ClusterLimits;
    use crate::settings::config::ClusterConfig;

    fn term() -> LogEntry<'static> {
        LogEntry::NewLeadershipTerm(NewLeadershipTerm {
            term: LeadershipTermId::new(1),
            leader: 0,
            id: 2,
            formation: FormationRecord::default(),
            limits: ClusterLimits::of(&ClusterConfig::default()),
        })
    }

    fn open() -> LogEntry<'static> {
        LogEntry::SessionOpen(SessionOpen {
            nonce: 1,
            timeout_ns: 2,
            response_address: "127.0.0.1:3".parse().unwrap(),
            response_stream_id: 4,
            principal_hash: 5,
            connect_epoch: 6,
            incarnation: 7,
            resume_session: SessionId::UNKNOWN,
            last_received: 8,
        })
    }

    fn close() -> LogEntry<'static> {
        LogEntry::SessionClose {
            session: SessionId::new(9),
            reason: CloseReason::Timeout,
        }
    }

    fn request(message: &[u8]) -> LogEntry<'_> {
        LogEntry::Request(Request {
            session: SessionId::new(1),
            number: RequestNumber::new(2),
            acknowledged: 3,
            message,
        })
    }

    fn response(message: &[u8]) -> LogEntry<'_> {
        LogEntry::Response(Response {
            service: 1,
            session: SessionId::new(2),
            cause: 3,
            ordinal: 4,
            request_number: RequestNumber::new(5),
            is_failure: true,
            message,
        })
    }

    const ACTION: LogEntry<'static> = LogEntry::Action(ClusterAction::Snapshot);

    fn whole(entry: &LogEntry<'_>) -> Vec<u8> {
        entry.with_body(|body| [&entry.header().encode(), body].concat())
    }

    #[test]
    fn an_entry_of_each_kind_survives_encoding() {
        let ack = |session| SessionAcknowledgement {
            session,
            position: 32,
        };
        let acks = [
            ack(SessionId::new(1)).encode(),
            ack(SessionId::new(2)).encode(),
        ];
        let acks = LogEntry::SessionAck(SessionAcks::new(&acks));
        let entries = [
            term(),
            open(),
            close(),
            acks,
            request(b"q"),
            response(b""),
            ACTION,
        ];
        for entry in entries {
            let bytes = whole(&entry);
            assert_eq!(bytes[0], entry.kind() as u8);
            assert_eq!(LogEntry::decode_whole(&bytes), Ok(entry));
        }
    }

    #[test]
    fn an_entry_that_is_cut_short_at_any_length_is_refused() {
        for entry in [term(), open(), close(), ACTION] {
            let bytes = whole(&entry);
            for length in 0..bytes.len() {
                let expected = if length < ENTRY_HEADER_LENGTH {
                    EntryError::Header
                } else {
                    EntryError::Body(entry.kind())
                };
                let refused = LogEntry::decode_whole(&bytes[..length]);
                assert_eq!(refused, Err(expected), "{length} bytes");
            }
        }
    }

    #[test]
    fn a_kind_that_nobody_writes_yet_is_refused_by_name() {
        for number in 0..=u8::MAX {
            let mut bytes = whole(&request(&[]));
            bytes[0] = number;
            let refused = LogEntry::decode_whole(&bytes).err();
            match number {
                0 | 12.. => assert_eq!(refused, Some(EntryError::Header), "{number}"),
                7..=9 | 11 => {
                    let kind = EntryKind::from_number(number).unwrap();
                    assert_eq!(refused, Some(EntryError::Reserved(kind)));
                }
                _ => assert_ne!(refused, Some(EntryError::Header), "{number}"),
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            kind in 0_u8..14,
            template in 0_usize..7,
            change in proptest::collection::vec(any::<u8>(), 0..300),
            from in 0_usize..300,
        ) {
            let acks = [[3; 16]];
            let acks = LogEntry::SessionAck(SessionAcks::new(&acks));
            let entries = [term(), open(), close(), acks, request(b"q"), response(b"r"), ACTION];
            let mut bytes = whole(&entries[template]);
            bytes.truncate(from.max(1));
            bytes.extend_from_slice(&change);
            bytes[0] = kind;
            if let Ok(entry) = LogEntry::decode_whole(&bytes) {
                let again = whole(&entry);
                prop_assert_eq!(LogEntry::decode_whole(&again), Ok(entry));
            }
        }
    }

    #[test]
    fn requests_opens_and_closes_are_what_services_answer() {
        let causing = [open(), close(), request(&[])];
        assert!(causing.iter().all(LogEntry::is_causing));
        let acks = LogEntry::SessionAck(SessionAcks::new(&[]));
        let others = [term(), acks, response(&[]), ACTION];
        assert!(!others.iter().any(LogEntry::is_causing));
    }
}
