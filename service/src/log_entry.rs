//! Entries of the replicated log: kinds and the 48-byte entry header (`log.md` 1.3–1.5).
//!
//! An entry is one or more adjacent frames of one term. The first frame's payload begins with
//! this header; everything after it, over all frames, is the entry's body.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind |
//! | 1 | 1 | service |
//! | 2 | 2 | flags |
//! | 4 | 4 | ordinal |
//! | 8 | 8 | log time, ns |
//! | 16 | 8 | session id |
//! | 24 | 8 | number (Request: request number; effect: cause position) |
//! | 32 | 8 | refers to (Request: last response position received; Response: its request) |
//! | 40 | 8 | leader's commit position when appended |

use lockstep_transport::codec::{decoded, encoded};
use lockstep_transport::ids::SessionId;

/// Bytes of the entry header.
pub const ENTRY_HEADER_LENGTH: usize = 48;

/// Flag of a Response that only says why the service could not emit what it wanted.
pub const RESPONSE_FAILED: u16 = 1;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// First entry of a leadership term. Body: see `consensus`.
    NewLeadershipTerm = 1,
    /// A session opens. Body: see `consensus`.
    SessionOpen = 2,
    /// A session closes. Body: the reason, u8.
    SessionClose = 3,
    /// Acknowledged positions of several sessions.
    SessionAck = 4,
    /// A client's request. Body: the message.
    Request = 5,
    /// A response of a service. Body: the message.
    Response = 6,
    /// A message published to a topic (reserved).
    Topic = 7,
    /// A message from one service to another (reserved).
    ServiceMessage = 8,
    /// A timer that fired (reserved).
    Timer = 9,
    /// What all members are to do at this place of the log. Body: see `consensus`.
    Action = 10,
    /// A change of membership (reserved).
    Membership = 11,
}

impl EntryKind {
    /// Whether a service may emit something when it is applied (`log.md` 5.1).
    #[inline]
    #[must_use]
    pub const fn is_causing(self) -> bool {
        matches!(self, Self::Request | Self::SessionOpen | Self::SessionClose)
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::NewLeadershipTerm,
            2 => Self::SessionOpen,
            3 => Self::SessionClose,
            4 => Self::SessionAck,
            5 => Self::Request,
            6 => Self::Response,
            7 => Self::Topic,
            8 => Self::ServiceMessage,
            9 => Self::Timer,
            10 => Self::Action,
            11 => Self::Membership,
            _ => return None,
        })
    }
}

/// The decoded entry header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// What the entry is.
    pub kind: EntryKind,
    /// The service it belongs to.
    pub service: u8,
    /// Response: [`RESPONSE_FAILED`] or 0. Otherwise reserved, 0.
    pub flags: u16,
    /// Which of its cause's effects a Response is, from 0.
    pub ordinal: u32,
    /// Log time in ns: never smaller than the previous entry's.
    pub log_time: i64,
    /// The session concerned, or 0.
    pub session: SessionId,
    /// Request: request number. Effect: position of its cause.
    pub number: i64,
    /// Request: greatest response position the client has acknowledged. Response: number of the
    /// request it answers, 0 where the cause is none.
    pub refers_to: i64,
    /// The leader's commit position when it appended this entry.
    pub leader_commit: i64,
}

impl EntryHeader {
    /// A header of this kind with nothing else in it.
    #[inline]
    #[must_use]
    pub const fn of_kind(kind: EntryKind) -> Self {
        Self {
            kind,
            service: 0,
            flags: 0,
            ordinal: 0,
            log_time: 0,
            session: SessionId::NONE,
            number: 0,
            refers_to: 0,
            leader_commit: 0,
        }
    }

    /// Encodes the header.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_HEADER_LENGTH] {
        encoded(|fields| {
            fields.u8(self.kind as u8).u8(self.service);
            fields.u16(self.flags).u32(self.ordinal);
            fields.i64(self.log_time).i64(self.session.get());
            fields.i64(self.number).i64(self.refers_to);
            fields.i64(self.leader_commit);
        })
    }

    /// Decodes the header at the start of `bytes`; `None` when short or of unknown kind.
    #[inline]
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENTRY_HEADER_LENGTH] = bytes.first_chunk()?;
        decoded(bytes, |fields| {
            Some(Self {
                kind: EntryKind::from_number(fields.u8()?)?,
                service: fields.u8()?,
                flags: fields.u16()?,
                ordinal: fields.u32()?,
                log_time: fields.i64()?,
                session: SessionId::new(fields.i64()?),
                number: fields.i64()?,
                refers_to: fields.i64()?,
                leader_commit: fields.i64()?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_header_survives_encoding() {
        let header = EntryHeader {
            kind: EntryKind::Response,
            service: 3,
            flags: 0x0102,
            ordinal: 7,
            log_time: 1_700_000_000_000_000_001,
            session: SessionId::new(9),
            number: 4096,
            refers_to: -1,
            leader_commit: 8192,
        };
        assert_eq!(EntryHeader::decode(&header.encode()), Some(header));
        for length in 0..ENTRY_HEADER_LENGTH {
            let refused = EntryHeader::decode(&header.encode()[..length]);
            assert_eq!(refused, None, "{length} bytes");
        }
        assert_eq!(EntryHeader::decode(&[0; 48]), None);
    }

    #[test]
    fn the_fields_lie_where_the_layout_says() {
        let header = EntryHeader {
            kind: EntryKind::Response,
            service: 3,
            flags: 0x0102,
            ordinal: 7,
            log_time: 8,
            session: SessionId::new(9),
            number: 10,
            refers_to: -1,
            leader_commit: 12,
        };
        let fields = [
            &[6, 3, 2, 1, 7, 0, 0, 0][..],
            &[8_i64, 9, 10, -1, 12].map(i64::to_le_bytes).concat(),
        ];
        assert_eq!(header.encode()[..], fields.concat());
    }
}
