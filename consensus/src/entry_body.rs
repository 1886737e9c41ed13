//! Bodies of the log entries that the consensus module itself writes: what follows the 48-byte
//! entry header in NewLeadershipTerm, SessionOpen, SessionClose and SessionAck entries.
//!
//! All integers little endian. Decoders check lengths and refuse what they do not know: a
//! committed entry that does not decode is a fault of this node, never skipped.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use lockstep_transport::time::Nanos;

use crate::member::{LeadershipTermId, MemberId};

/// First entry of a term.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | leadership term |
/// | 8 | 8 | digest of the cluster-wide configuration |
/// | 16 | 1 | member that leads it |
/// | 17 | 7 | zero |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewLeadershipTerm {
    /// The term that begins.
    pub term: LeadershipTermId,
    /// Hash of what all members must agree on.
    pub config_digest: u64,
    /// Its leader.
    pub leader: MemberId,
}

impl NewLeadershipTerm {
    /// Bytes of the body.
    pub const LENGTH: usize = 24;

    /// Encodes the body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0..8].copy_from_slice(&self.term.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.config_digest.to_le_bytes());
        bytes[16] = self.leader;
        bytes
    }

    /// Decodes the body.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::LENGTH {
            return None;
        }
        Some(Self {
            term: i64_at(bytes, 0)?,
            config_digest: i64_at(bytes, 8)? as u64,
            leader: bytes[16],
        })
    }
}

/// A session opens. The session id is assigned when the entry is applied (S5).
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | nonce |
/// | 8 | 8 | session timeout, ns |
/// | 16 | 16 | response address, IPv6 or IPv4-mapped |
/// | 32 | 2 | response port |
/// | 34 | 1 | session kind: 1 = Lockstep |
/// | 35 | 1 | zero |
/// | 36 | 4 | response stream id |
/// | 40 | 8 | hash of the principal |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOpen {
    /// Chosen by the client; finds the session again on a repeated connect, and is its secret.
    pub nonce: u64,
    /// Silence after which the session is closed.
    pub timeout_ns: Nanos,
    /// Where responses go.
    pub response_address: SocketAddr,
    /// On which stream.
    pub response_stream_id: i32,
    /// Hash of who opened it; a nonce counts only together with its principal.
    pub principal_hash: u64,
}

/// The only session kind so far; Aeron clients will be 2.
const KIND_LOCKSTEP: u8 = 1;

impl SessionOpen {
    /// Bytes of the body.
    pub const LENGTH: usize = 48;

    /// Encodes the body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0..8].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.timeout_ns.to_le_bytes());
        let address = match self.response_address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        bytes[16..32].copy_from_slice(&address.octets());
        bytes[32..34].copy_from_slice(&self.response_address.port().to_le_bytes());
        bytes[34] = KIND_LOCKSTEP;
        bytes[36..40].copy_from_slice(&self.response_stream_id.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.principal_hash.to_le_bytes());
        bytes
    }

    /// Decodes the body.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::LENGTH || bytes[34] != KIND_LOCKSTEP {
            return None;
        }
        let octets: [u8; 16] = bytes[16..32].try_into().ok()?;
        let address = Ipv6Addr::from(octets);
        let ip = address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4);
        let port = u16::from_le_bytes([bytes[32], bytes[33]]);
        Some(Self {
            nonce: i64_at(bytes, 0)? as u64,
            timeout_ns: i64_at(bytes, 8)?,
            response_address: SocketAddr::new(ip, port),
            response_stream_id: i32::from_le_bytes(bytes[36..40].try_into().ok()?),
            principal_hash: i64_at(bytes, 40)? as u64,
        })
    }
}

/// Why a session was closed; the body of SessionClose is this one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// The client asked for it.
    ClientAction = 1,
    /// Neither message nor keepalive within the session timeout.
    Timeout = 2,
    /// A request number was skipped: some of its requests are lost (S1).
    SequenceGap = 3,
}

impl CloseReason {
    /// The reason with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::ClientAction),
            2 => Some(Self::Timeout),
            3 => Some(Self::SequenceGap),
            _ => None,
        }
    }

    /// The words a client is told.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::ClientAction => "CLIENT_ACTION",
            Self::Timeout => "TIMEOUT",
            Self::SequenceGap => "SEQUENCE_GAP",
        }
    }
}

/// One session's acknowledgement in a SessionAck body, which is a sequence of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionAcknowledgement {
    /// The session.
    pub session: i64,
    /// Greatest response position its client has.
    pub position: i64,
}

impl SessionAcknowledgement {
    /// Bytes of one acknowledgement.
    pub const LENGTH: usize = 16;

    /// Encodes one acknowledgement.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0..8].copy_from_slice(&self.session.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.position.to_le_bytes());
        bytes
    }

    /// Decodes a whole body, or `None` when its length is not a multiple.
    pub fn decode_all(body: &[u8]) -> Option<impl Iterator<Item = Self> + '_> {
        if !body.len().is_multiple_of(Self::LENGTH) {
            return None;
        }
        Some(body.chunks_exact(Self::LENGTH).map(|bytes| Self {
            session: i64_at(bytes, 0).unwrap_or_default(),
            position: i64_at(bytes, 8).unwrap_or_default(),
        }))
    }
}

fn i64_at(bytes: &[u8], offset: usize) -> Option<i64> {
    Some(i64::from_le_bytes(
        bytes.get(offset..offset + 8)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_survive_encoding_and_refuse_other_lengths() {
        let term = NewLeadershipTerm {
            term: 9,
            config_digest: u64::MAX,
            leader: 2,
        };
        assert_eq!(NewLeadershipTerm::decode(&term.encode()), Some(term));
        assert_eq!(NewLeadershipTerm::decode(&term.encode()[..23]), None);
        for address in ["127.0.0.1:9", "[::1]:65535"] {
            let open = SessionOpen {
                nonce: 7,
                timeout_ns: 10,
                response_address: address.parse().unwrap(),
                response_stream_id: 102,
                principal_hash: 3,
            };
            assert_eq!(SessionOpen::decode(&open.encode()), Some(open));
        }
        assert_eq!(SessionOpen::decode(&[0; 48]), None);
        let ack = SessionAcknowledgement {
            session: 4,
            position: 64,
        };
        let body = [ack.encode(), ack.encode()].concat();
        assert_eq!(
            SessionAcknowledgement::decode_all(&body).unwrap().count(),
            2
        );
        assert!(SessionAcknowledgement::decode_all(&body[..31]).is_none());
    }
}
