//! The cluster-wide limits as values: what the meaning of the log depends on.
//!
//! Every NewLeadershipTerm entry carries them, so that a member can say which value differs, and
//! the digest tells at a glance whether any does. Members and their endpoints are no part of it:
//! they may change while a cluster lives. Pure.

use core::fmt;

use lockstep_transport::codec::{decoded, encoded};
use lockstep_transport::stable_hash::stable_hash;

use crate::settings::config::{ClusterConfig, ResponsesMode};

/// Everything of [`ClusterConfig`] that all members must have alike for the life of a log.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | term length |
/// | 8 | 8 | largest message |
/// | 16 | 8 | effect bytes per cause |
/// | 24 | 8 | outbox bytes |
/// | 32 | 8 | session timeout, ns |
/// | 40 | 4 | log mtu |
/// | 44 | 4 | effects per cause |
/// | 48 | 4 | most sessions |
/// | 52 | 1 | responses: 0 replicated, 1 direct |
/// | 53 | 3 | zeros |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLimits {
    /// Bytes in a term of the log.
    pub term_length: u64,
    /// Largest request or response, in bytes.
    pub message_max: u64,
    /// Most bytes of effects one entry may have.
    pub effect_bytes_per_cause: u64,
    /// Bytes the outbox may hold.
    pub outbox_bytes: u64,
    /// A session without message or keepalive for so long is closed, ns.
    pub session_timeout_ns: u64,
    /// Largest frame of the log, in bytes.
    pub log_mtu: u32,
    /// Most effects one entry may have.
    pub effects_per_cause: u32,
    /// Most open sessions.
    pub sessions_max: u32,
    /// How responses reach clients.
    pub responses: ResponsesMode,
}

/// The value of one limit, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitValue {
    /// A count or a number of bytes.
    Number(u64),
    /// A time, in ns.
    Nanoseconds(u64),
    /// A mode.
    Responses(ResponsesMode),
}

impl fmt::Display for LimitValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(formatter, "{value}"),
            Self::Nanoseconds(value) => write!(formatter, "{value} ns"),
            Self::Responses(mode) => write!(formatter, "{mode}"),
        }
    }
}

/// A limit that two sets do not have alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitDifference {
    /// Its key in the configuration.
    pub key: &'static str,
    /// Of the set that was asked.
    pub own: LimitValue,
    /// Of the other.
    pub other: LimitValue,
}

/// How many limits there are.
const LIMIT_COUNT: usize = 9;

impl ClusterLimits {
    /// Bytes of the encoding.
    pub const LENGTH: usize = 56;

    /// The limits of `cluster`, which must be valid.
    #[must_use]
    pub const fn of(cluster: &ClusterConfig) -> Self {
        Self {
            term_length: cluster.term_length as u64,
            message_max: cluster.message_max as u64,
            effect_bytes_per_cause: cluster.effect_bytes_per_cause as u64,
            outbox_bytes: cluster.outbox_bytes as u64,
            session_timeout_ns: cluster.session_timeout_ns.cast_unsigned(),
            log_mtu: cluster.log_mtu as u32,
            effects_per_cause: cluster.effects_per_cause,
            sessions_max: cluster.sessions_max as u32,
            responses: cluster.responses,
        }
    }

    /// Encodes the limits.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        encoded(|fields| {
            fields.u64(self.term_length).u64(self.message_max);
            fields.u64(self.effect_bytes_per_cause);
            fields.u64(self.outbox_bytes).u64(self.session_timeout_ns);
            fields.u32(self.log_mtu).u32(self.effects_per_cause);
            fields.u32(self.sessions_max);
            let responses = match self.responses {
                ResponsesMode::Replicated => 0,
                ResponsesMode::Direct => 1,
            };
            fields.u8(responses).zeros(3);
        })
    }

    /// Decodes limits; `None` for bytes that [`encode`](Self::encode) does not write.
    #[must_use]
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let limits = decoded(bytes, |fields| {
            let limits = Self {
                term_length: fields.u64()?,
                message_max: fields.u64()?,
                effect_bytes_per_cause: fields.u64()?,
                outbox_bytes: fields.u64()?,
                session_timeout_ns: fields.u64()?,
                log_mtu: fields.u32()?,
                effects_per_cause: fields.u32()?,
                sessions_max: fields.u32()?,
                responses: match fields.u8()? {
                    0 => ResponsesMode::Replicated,
                    1 => ResponsesMode::Direct,
                    _ => return None,
                },
            };
            fields.skip(3)?;
            Some(limits)
        })?;
        (limits.encode() == *bytes).then_some(limits)
    }

    /// One number for all of them.
    #[must_use]
    pub(crate) fn digest(&self) -> u64 {
        stable_hash(&self.encode())
    }

    /// The first limit that `other` has differently, in the order of the configuration.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<LimitDifference> {
        self.differences(other).next()
    }

    /// All limits that `other` has differently, in the order of the configuration.
    pub fn differences(&self, other: &Self) -> impl Iterator<Item = LimitDifference> {
        let pairs = self.named().into_iter().zip(other.named());
        let pairs = pairs.map(|((key, own), (_, other))| LimitDifference { key, own, other });
        pairs.filter(|difference| difference.own != difference.other)
    }

    fn named(&self) -> [(&'static str, LimitValue); LIMIT_COUNT] {
        let bytes = LimitValue::Number;
        [
            ("term_length", bytes(self.term_length)),
            ("log_mtu", bytes(self.log_mtu.into())),
            ("message_max", bytes(self.message_max)),
            ("effects_per_cause", bytes(self.effects_per_cause.into())),
            ("effect_bytes_per_cause", bytes(self.effect_bytes_per_cause)),
            ("outbox_bytes", bytes(self.outbox_bytes)),
            ("sessions_max", bytes(self.sessions_max.into())),
            ("responses", LimitValue::Responses(self.responses)),
            (
                "session_timeout",
                LimitValue::Nanoseconds(self.session_timeout_ns),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_encoding_and_every_byte_counts() {
        let limits = ClusterLimits::of(&ClusterConfig::default());
        let bytes = limits.encode();
        assert_eq!(ClusterLimits::decode(&bytes), Some(limits));
        for index in 0..ClusterLimits::LENGTH {
            let mut other = bytes;
            other[index] ^= 1;
            let decoded = ClusterLimits::decode(&other);
            assert_ne!(decoded, Some(limits), "byte {index}");
            if let Some(decoded) = decoded {
                assert_ne!(decoded.digest(), limits.digest(), "byte {index}");
                assert!(limits.difference(&decoded).is_some(), "byte {index}");
            }
        }
    }

    #[test]
    fn a_difference_is_named_by_its_key_with_both_values() {
        let own = ClusterLimits::of(&ClusterConfig::default());
        assert_eq!(own.difference(&own), None);
        let other = ClusterLimits {
            responses: ResponsesMode::Direct,
            ..own
        };
        let difference = own.difference(&other).unwrap();
        assert_eq!(difference.key, "responses");
        assert_eq!(difference.own.to_string(), "replicated");
        assert_eq!(difference.other.to_string(), "direct");
        let other = ClusterLimits {
            session_timeout_ns: 1,
            message_max: 7,
            ..own
        };
        let difference = own.difference(&other).unwrap();
        assert_eq!(
            (difference.key, difference.other.to_string().as_str()),
            ("message_max", "7")
        );
    }

    #[test]
    fn members_and_their_endpoints_are_no_part_of_the_limits() {
        let cluster = ClusterConfig::default();
        let endpoint = "127.0.0.1:9".parse().unwrap();
        let with_members = ClusterConfig {
            members: vec![crate::settings::config::MemberEndpoints {
                ingress: endpoint,
                member: endpoint,
            }],
            name: "other".to_owned(),
            ..cluster.clone()
        };
        let digest = |cluster| ClusterLimits::of(cluster).digest();
        assert_eq!(digest(&cluster), digest(&with_members));
    }

    #[test]
    fn the_fields_lie_where_the_layout_says() {
        let limits = ClusterLimits {
            term_length: 1,
            message_max: 2,
            effect_bytes_per_cause: 3,
            outbox_bytes: 4,
            session_timeout_ns: 5,
            log_mtu: 6,
            effects_per_cause: 7,
            sessions_max: 8,
            responses: ResponsesMode::Direct,
        };
        let fields = [
            [1_u64, 2, 3, 4, 5].map(u64::to_le_bytes).concat(),
            [6_u32, 7, 8].map(u32::to_le_bytes).concat(),
            vec![1, 0, 0, 0],
        ];
        assert_eq!(limits.encode()[..], fields.concat());
    }
}
