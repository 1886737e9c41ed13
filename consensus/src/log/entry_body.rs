//! Bodies of the log entries that the consensus module itself writes: what follows the 48-byte
//! entry header in NewLeadershipTerm, SessionOpen, SessionClose and SessionAck entries.
//!
//! All integers little endian. Decoders check lengths and refuse what they do not know: a
//! committed entry that does not decode is a fault of this node, never skipped.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use lockstep_client::protocol::EventCode;
use lockstep_service::log_entry::ENTRY_HEADER_LENGTH;
use lockstep_transport::codec::{FieldReader, decoded, encoded};
use lockstep_transport::ids::{LeadershipTermId, SessionId};
use lockstep_transport::log_buffer::HEADER_LENGTH;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::module::formation::FormationRecord;
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::settings::cluster_limits::ClusterLimits;
use crate::settings::config::LOG_MTU_MIN;

/// Version of [`NewLeadershipTerm`]'s body.
const TERM_ENTRY_VERSION: u16 = 2;

/// First entry of a term. Fits one frame of the smallest log mtu.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 2 | version, 2 |
/// | 2 | 1 | member that leads it |
/// | 3 | 1 | members of the formation record |
/// | 4 | 4 | zeros |
/// | 8 | 8 | leadership term |
/// | 16 | 16 | random id of the term |
/// | 32 | 16 | cluster uuid |
/// | 48 | 8 | draw number |
/// | 56 | 56 | cluster-wide limits, see [`ClusterLimits`] |
/// | 112 | 7 × 16 | directory id of each member, zero beyond the last |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewLeadershipTerm {
    /// The term that begins.
    pub term: LeadershipTermId,
    /// Its leader.
    pub leader: MemberId,
    /// Random, drawn when the entry was appended: two terms of one number are told apart by it.
    pub id: u128,
    /// How the cluster was formed.
    pub formation: FormationRecord,
    /// What the meaning of the log depends on.
    pub limits: ClusterLimits,
}

impl NewLeadershipTerm {
    /// Bytes of the body.
    pub const LENGTH: usize = 56 + ClusterLimits::LENGTH + MEMBERS_MAX * 16;

    /// Encodes the body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let formation = &self.formation;
        encoded(|fields| {
            fields.u16(TERM_ENTRY_VERSION).u8(self.leader);
            fields.u8(formation.members).zeros(4);
            fields.i64(self.term.get()).u128(self.id);
            fields.u128(formation.cluster).u64(formation.draw);
            fields.bytes(&self.limits.encode());
            for directory in formation.directories {
                fields.u128(directory);
            }
        })
    }

    /// Decodes the body; `None` for another version, or bytes no leader writes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().ok()?;
        let entry = decoded(bytes, Self::read)?;
        let formation = &entry.formation;
        let is_plain = usize::from(entry.leader) < MEMBERS_MAX
            && formation
                .directories
                .get(usize::from(formation.members)..)
                .is_some_and(|unused| unused.iter().all(|directory| *directory == 0));
        (is_plain && entry.term > LeadershipTermId::NONE && entry.encode() == *bytes)
            .then_some(entry)
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        fields.skip(2)?;
        let (leader, members) = (fields.u8()?, fields.u8()?);
        fields.skip(4)?;
        let (term, id) = (LeadershipTermId::new(fields.i64()?), fields.u128()?);
        let (cluster, draw) = (fields.u128()?, fields.u64()?);
        let limits = ClusterLimits::decode(fields.array()?)?;
        let mut directories = [0; MEMBERS_MAX];
        for directory in &mut directories {
            *directory = fields.u128()?;
        }
        Some(Self {
            term,
            leader,
            id,
            formation: FormationRecord {
                cluster,
                draw,
                members,
                directories,
            },
            limits,
        })
    }
}

// Recovery and the walk over the log look for the entry in one frame.
const _: () = assert!(
    HEADER_LENGTH + ENTRY_HEADER_LENGTH + NewLeadershipTerm::LENGTH <= LOG_MTU_MIN,
    "the first entry of a term fits one frame"
);

/// Who a client is, on whatever stream it comes: its nonce and the hash of its principal.
pub type ClientKey = (u64, u64);

/// A session opens, or another process or address continues one. The session id is assigned
/// when the entry is applied (S5).
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
/// | 48 | 8 | connect epoch |
/// | 56 | 8 | incarnation of the client's process |
/// | 64 | 8 | session to continue, -1 to open one |
/// | 72 | 8 | position of the last response that the process has |
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
    /// The connect epoch asked for; granted to one incarnation, and only above those before it.
    pub connect_epoch: i64,
    /// The process that asks.
    pub incarnation: u64,
    /// The session to continue, or -1: one that is gone is not opened again.
    pub resume_session: SessionId,
    /// Position of the last response that the process has: what a process that takes the session
    /// over lacks is delivered to it, whatever the one before acknowledged.
    pub last_received: i64,
}

/// The only session kind so far; Aeron clients will be 2.
const KIND_LOCKSTEP: u8 = 1;

impl SessionOpen {
    /// Bytes of the body.
    pub const LENGTH: usize = 80;

    /// Whose session it is.
    #[must_use]
    pub(crate) const fn client(&self) -> ClientKey {
        (self.nonce, self.principal_hash)
    }

    /// The first of a client with this nonce, on the loopback address.
    #[cfg(test)]
    pub(crate) fn of_client(nonce: u64) -> Self {
        Self {
            nonce,
            timeout_ns: 1,
            response_address: ([127, 0, 0, 1], 1).into(),
            response_stream_id: 102,
            principal_hash: 0,
            connect_epoch: 1,
            incarnation: nonce,
            resume_session: SessionId::UNKNOWN,
            last_received: 0,
        }
    }

    /// Encodes the body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let address = match self.response_address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        encoded(|fields| {
            fields.u64(self.nonce).i64(self.timeout_ns);
            fields.bytes(&address.octets());
            fields.u16(self.response_address.port());
            fields.u8(KIND_LOCKSTEP).zeros(1);
            fields.i32(self.response_stream_id).u64(self.principal_hash);
            fields.i64(self.connect_epoch).u64(self.incarnation);
            fields
                .i64(self.resume_session.get())
                .i64(self.last_received);
        })
    }

    /// Decodes the body.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().ok()?;
        decoded(bytes, Self::read)
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let (nonce, timeout_ns) = (fields.u64()?, fields.i64()?);
        let address = Ipv6Addr::from(*fields.array()?);
        let ip = address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4);
        let response_address = SocketAddr::new(ip, fields.u16()?);
        if fields.u8()? != KIND_LOCKSTEP {
            return None;
        }
        fields.skip(1)?;
        Some(Self {
            nonce,
            timeout_ns,
            response_address,
            response_stream_id: fields.i32()?,
            principal_hash: fields.u64()?,
            connect_epoch: fields.i64()?,
            incarnation: fields.u64()?,
            resume_session: SessionId::new(fields.i64()?),
            last_received: fields.i64()?,
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
    /// Its client left answers unacknowledged for longer than they are kept.
    Retention = 4,
}

impl CloseReason {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::ClientAction),
            2 => Some(Self::Timeout),
            3 => Some(Self::SequenceGap),
            4 => Some(Self::Retention),
            _ => None,
        }
    }

    /// Encodes the body.
    #[must_use]
    pub const fn encode(self) -> [u8; 1] {
        [self as u8]
    }

    /// Decodes the body; `None` for anything but one known reason.
    #[must_use]
    pub const fn decode(body: &[u8]) -> Option<Self> {
        match body {
            [number] => Self::from_number(*number),
            _ => None,
        }
    }

    /// The code a client is told, and words for people.
    #[must_use]
    pub const fn event(self) -> (EventCode, &'static str) {
        match self {
            Self::ClientAction => (EventCode::Closed, "closed, as its client asked"),
            Self::Timeout => (
                EventCode::Expired,
                "nothing was heard of its client within the session timeout",
            ),
            Self::SequenceGap => (EventCode::SequenceGap, "requests of its client are missing"),
            Self::Retention => (
                EventCode::Retention,
                "its client left answers unacknowledged for longer than they are kept",
            ),
        }
    }
}

/// What all members are to do where it stands in the log; the body of Action is this one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClusterAction {
    /// Those that are to write one write a snapshot of what the log below the end of this entry
    /// has led to.
    Snapshot = 1,
}

impl ClusterAction {
    /// Encodes the body.
    #[must_use]
    pub const fn encode(self) -> [u8; 1] {
        [self as u8]
    }

    /// Decodes the body; `None` for anything but one known action.
    #[must_use]
    pub const fn decode(body: &[u8]) -> Option<Self> {
        match body {
            [1] => Some(Self::Snapshot),
            _ => None,
        }
    }
}

/// One session's acknowledgement in a SessionAck entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionAcknowledgement {
    /// The session.
    pub session: SessionId,
    /// Greatest response position its client has.
    pub position: Position,
}

impl SessionAcknowledgement {
    /// Bytes of one acknowledgement.
    pub const LENGTH: usize = 16;

    /// Encodes one acknowledgement.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        encoded(|fields| {
            fields.i64(self.session.get()).i64(self.position);
        })
    }

    fn decode(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        decoded(bytes, |fields| {
            Some(Self {
                session: SessionId::new(fields.i64()?),
                position: fields.i64()?,
            })
        })
    }
}

/// What the clients of several sessions have: one encoded acknowledgement after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionAcks<'a> {
    encoded: &'a [[u8; SessionAcknowledgement::LENGTH]],
}

impl<'a> SessionAcks<'a> {
    /// These acknowledgements, each encoded.
    #[must_use]
    pub const fn new(encoded: &'a [[u8; SessionAcknowledgement::LENGTH]]) -> Self {
        Self { encoded }
    }

    /// Decodes a body, or `None` when its length is not a multiple of theirs.
    #[must_use]
    pub const fn decode(body: &'a [u8]) -> Option<Self> {
        match body.as_chunks() {
            (encoded, []) => Some(Self { encoded }),
            _ => None,
        }
    }

    /// The body.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.encoded.as_flattened()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = SessionAcknowledgement> + 'a {
        self.encoded
            .iter()
            .filter_map(SessionAcknowledgement::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::config::ClusterConfig;

    fn term_entry() -> NewLeadershipTerm {
        let mut directories = [0; MEMBERS_MAX];
        directories[..3].copy_from_slice(&[1 << 100, 2 << 100, 3 << 100]);
        NewLeadershipTerm {
            term: LeadershipTermId::new(9),
            leader: 2,
            id: u128::MAX - 7,
            formation: FormationRecord {
                cluster: 5 << 90,
                draw: u64::MAX,
                members: 3,
                directories,
            },
            limits: ClusterLimits::of(&ClusterConfig::default()),
        }
    }

    #[test]
    fn the_first_entry_of_a_term_survives_encoding_and_every_byte_counts() {
        let term = term_entry();
        let bytes = term.encode();
        assert_eq!(NewLeadershipTerm::decode(&bytes), Some(term));
        assert_eq!(NewLeadershipTerm::decode(&bytes[..bytes.len() - 1]), None);
        for index in 0..bytes.len() {
            let mut other = bytes;
            other[index] ^= 1;
            assert_ne!(
                NewLeadershipTerm::decode(&other),
                Some(term),
                "byte {index}"
            );
        }
    }

    #[test]
    fn a_term_entry_of_another_version_or_with_strange_members_is_refused() {
        let bytes = term_entry().encode();
        for (index, value) in [(0, 1), (2, 7), (3, 8), (3, 2), (4, 1), (15, 0x80)] {
            let mut other = bytes;
            other[index] = value;
            assert_eq!(
                NewLeadershipTerm::decode(&other),
                None,
                "byte {index} = {value}"
            );
        }
        let mut nothing = bytes;
        nothing[8] = 0;
        assert_eq!(NewLeadershipTerm::decode(&nothing), None, "term 0");
    }

    #[test]
    fn bodies_survive_encoding_and_refuse_other_lengths() {
        for address in ["127.0.0.1:9", "[::1]:65535"] {
            let open = SessionOpen {
                nonce: 7,
                timeout_ns: 10,
                response_address: address.parse().unwrap(),
                response_stream_id: 102,
                principal_hash: 3,
                connect_epoch: 4,
                incarnation: 5,
                resume_session: SessionId::UNKNOWN,
                last_received: 6,
            };
            assert_eq!(SessionOpen::decode(&open.encode()), Some(open));
        }
        assert_eq!(SessionOpen::decode(&[0; SessionOpen::LENGTH]), None);
        let ack = SessionAcknowledgement {
            session: SessionId::new(4),
            position: 64,
        };
        let body = [ack.encode(), ack.encode()].concat();
        let acks = SessionAcks::decode(&body).unwrap();
        assert!(acks.iter().eq([ack, ack]) && acks.bytes() == body);
        for length in (0..32).filter(|length| length % 16 != 0) {
            assert_eq!(SessionAcks::decode(&body[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_fields_lie_where_the_layouts_say() {
        let term = term_entry();
        let fields = [
            &[2, 0, 2, 3, 0, 0, 0, 0][..],
            &9_i64.to_le_bytes(),
            &(u128::MAX - 7).to_le_bytes(),
            &(5_u128 << 90).to_le_bytes(),
            &u64::MAX.to_le_bytes(),
            &term.limits.encode(),
            &[1_u128 << 100, 2 << 100, 3 << 100]
                .map(u128::to_le_bytes)
                .concat(),
            &[0; 64],
        ];
        assert_eq!(term.encode()[..], fields.concat());
        let open = SessionOpen {
            nonce: u64::MAX,
            timeout_ns: 10,
            response_address: "1.2.3.4:258".parse().unwrap(),
            response_stream_id: 102,
            principal_hash: u64::MAX - 1,
            connect_epoch: 4,
            incarnation: u64::MAX - 2,
            resume_session: SessionId::UNKNOWN,
            last_received: 6,
        };
        let fields = [
            &u64::MAX.to_le_bytes()[..],
            &10_i64.to_le_bytes(),
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4],
            &[2, 1, 1, 0, 102, 0, 0, 0],
            &(u64::MAX - 1).to_le_bytes(),
            &4_i64.to_le_bytes(),
            &(u64::MAX - 2).to_le_bytes(),
            &[-1_i64, 6].map(i64::to_le_bytes).concat(),
        ];
        assert_eq!(open.encode()[..], fields.concat());
        let ack = SessionAcknowledgement {
            session: SessionId::new(4),
            position: 64,
        };
        assert_eq!(ack.encode()[..], [4_i64, 64].map(i64::to_le_bytes).concat());
    }
}
