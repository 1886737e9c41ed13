//! What an application decides about its client, with the defaults and limits of each value.

use core::net::SocketAddr;

use lockstep_transport::datagram_port::DATAGRAM_LENGTH_MAX;
use lockstep_transport::ids::{LeadershipTermId, SessionId};
use lockstep_transport::log_buffer::message_length_max;
use lockstep_transport::position::{FRAME_ALIGNMENT, Geometry, Position};
use lockstep_transport::stream::ReceiverConfig;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use crate::protocol::{EGRESS_STREAM_ID, MEMBERS_MAX, MTU_DEFAULT, RequestHeader};

/// Longest principal in bytes: with it a connect request fits one datagram of any path.
pub(crate) const PRINCIPAL_LENGTH_MAX: usize = 256;

/// Smallest MTU: a data header and a useful piece of payload.
const MTU_MIN: usize = 256;

/// A session to continue after the client's own restart, as
/// [`ClusterClient::resume_point`](crate::cluster_client::ClusterClient::resume_point) gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The session.
    pub session_id: SessionId,
    /// Its nonce.
    pub nonce: u64,
    /// Its resume token.
    pub resume_token: u64,
    /// Position of the last response that the application has dealt with.
    pub last_received: Position,
    /// Ordinal of that response.
    pub last_received_ordinal: u32,
    /// The connect epoch of the process that wrote this down: whoever continues asks for a
    /// greater one, and that process is fenced.
    pub connect_epoch: i64,
    /// The greatest leadership term it knew: leaders of older ones are not believed.
    pub leadership_term_id: LeadershipTermId,
}

/// Configuration of a [`ClusterClient`](crate::cluster_client::ClusterClient).
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Ingress endpoints by member id. One is enough; the rest is learned from redirects.
    pub members: Vec<SocketAddr>,
    /// The member asked first. Default 0.
    pub first_member: usize,
    /// The cluster meant; another one refuses the connection. Default 0.
    pub cluster_id: u64,
    /// Who connects, at most `PRINCIPAL_LENGTH_MAX` bytes. Default empty.
    pub principal: Vec<u8>,
    /// Stream on which responses arrive. Default 102.
    pub response_stream_id: i32,
    /// Term length of the ingress stream in bytes. A request may be an eighth of it.
    /// Default 512 KiB.
    pub term_length: usize,
    /// Longest datagram sent, in bytes. Default [`MTU_DEFAULT`], which any path takes.
    pub mtu: usize,
    /// Window advertised to the leader for responses, in bytes. Default 128 KiB.
    pub window_length: usize,
    /// Longest term of an egress stream that is accepted, in bytes. Default 128 MiB, what the
    /// largest messages need.
    pub egress_term_length_max: usize,
    /// Longest response in bytes, with its header; no more is reserved than the stream can carry.
    /// Default 16 MiB, what any stream can.
    pub response_length_max: usize,
    /// Most requests in flight. Default 4096, the cluster's own limit.
    pub in_flight_max: usize,
    /// Most bytes of requests in flight. Default 4 MiB.
    pub in_flight_bytes_max: usize,
    /// How long one member is given to answer a connect request; grows up to eightfold while
    /// nobody answers. Default 250 ms.
    pub connect_timeout_ns: Nanos,
    /// Requests in flight without any progress for so long are sent again. Default 1 s.
    pub resend_timeout_ns: Nanos,
    /// A leader silent for so long (heartbeats come every 100 ms) is taken for lost.
    /// Default 1 s.
    pub leader_timeout_ns: Nanos,
    /// Longest pause between messages to the leader. Default 1 s; at most a quarter of the
    /// session's timeout is used, which the cluster tells when it opens the session.
    pub keepalive_interval_ns: Nanos,
    /// Silence after which the cluster closes the session, in ms; 0 takes the cluster's own.
    /// Default 0.
    pub session_timeout_ms: u32,
    /// Continue this session instead of opening one. Default none.
    pub resume: Option<ResumePoint>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            first_member: 0,
            cluster_id: 0,
            principal: Vec::new(),
            response_stream_id: EGRESS_STREAM_ID,
            term_length: 512 * 1024,
            mtu: MTU_DEFAULT,
            window_length: ReceiverConfig::WINDOW_LENGTH,
            egress_term_length_max: 128 * 1024 * 1024,
            response_length_max: 16 * 1024 * 1024,
            in_flight_max: 4096,
            in_flight_bytes_max: 4 * 1024 * 1024,
            connect_timeout_ns: 250 * MILLISECOND,
            resend_timeout_ns: SECOND,
            leader_timeout_ns: SECOND,
            keepalive_interval_ns: SECOND,
            session_timeout_ms: 0,
            resume: None,
        }
    }
}

/// Why a configuration cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nobody to connect to, or more members than a cluster has.
    #[error("{0} member endpoints given: give 1 to {MEMBERS_MAX}")]
    Members(usize),
    /// The first member is not in the list.
    #[error("first member {first} is not among the {count} member endpoints")]
    FirstMember {
        /// The member asked for.
        first: usize,
        /// Members given.
        count: usize,
    },
    /// Not a term length.
    #[error("term length {0} is not a power of two between 64 KiB and 1 GiB")]
    TermLength(usize),
    /// Not a usable MTU.
    #[error("mtu {mtu} is not a multiple of 32 between {MTU_MIN} and {max}")]
    Mtu {
        /// The MTU given.
        mtu: usize,
        /// What a datagram and a term of this length permit.
        max: usize,
    },
    /// A bound too small for anything to pass.
    #[error("{name} is {value}: the smallest that works is {min}")]
    TooSmall {
        /// The value's name.
        name: &'static str,
        /// What it is.
        value: u64,
        /// What it must at least be.
        min: u64,
    },
    /// The principal does not fit the connect request.
    #[error("principal of {0} bytes: at most {PRINCIPAL_LENGTH_MAX} fit the connect request")]
    Principal(usize),
}

impl ClientConfig {
    /// Longest request payload in bytes.
    #[must_use]
    pub const fn request_length_max(&self) -> usize {
        message_length_max(self.term_length) - RequestHeader::LENGTH
    }

    /// The pause after which a keepalive is due in a session of this timeout, in ns; a timeout
    /// of 0 is not known yet.
    #[must_use]
    pub(crate) fn keepalive_ns(&self, session_timeout_ns: Nanos) -> Nanos {
        if session_timeout_ns > 0 {
            self.keepalive_interval_ns.min(session_timeout_ns / 4)
        } else {
            self.keepalive_interval_ns
        }
    }

    /// Checks every value against what can work.
    ///
    /// # Errors
    /// The first value found that cannot, with the limit it breaks.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let count = self.members.len();
        if count == 0 || count > MEMBERS_MAX {
            return Err(ConfigError::Members(count));
        }
        if self.first_member >= count {
            return Err(ConfigError::FirstMember {
                first: self.first_member,
                count,
            });
        }
        if Geometry::new(0, self.term_length).is_none() {
            return Err(ConfigError::TermLength(self.term_length));
        }
        let (mtu, max) = (
            self.mtu,
            DATAGRAM_LENGTH_MAX.min(message_length_max(self.term_length)),
        );
        if !(MTU_MIN..=max).contains(&mtu) || !mtu.is_multiple_of(FRAME_ALIGNMENT) {
            return Err(ConfigError::Mtu { mtu, max });
        }
        if self.principal.len() > PRINCIPAL_LENGTH_MAX {
            return Err(ConfigError::Principal(self.principal.len()));
        }
        self.validate_lower_bounds()
    }

    fn validate_lower_bounds(&self) -> Result<(), ConfigError> {
        let millisecond = MILLISECOND as u64;
        let bounds = [
            ("in_flight_max", self.in_flight_max as u64, 1),
            (
                "in_flight_bytes_max",
                self.in_flight_bytes_max as u64,
                self.request_length_max() as u64,
            ),
            (
                "window_length",
                self.window_length as u64,
                2 * self.mtu as u64,
            ),
            ("response_length_max", self.response_length_max as u64, 256),
            (
                "egress_term_length_max",
                self.egress_term_length_max as u64,
                64 * 1024,
            ),
            (
                "connect_timeout_ns",
                self.connect_timeout_ns.max(0) as u64,
                millisecond,
            ),
            (
                "resend_timeout_ns",
                self.resend_timeout_ns.max(0) as u64,
                millisecond,
            ),
            (
                "leader_timeout_ns",
                self.leader_timeout_ns.max(0) as u64,
                millisecond,
            ),
            (
                "keepalive_interval_ns",
                self.keepalive_interval_ns.max(0) as u64,
                millisecond,
            ),
        ];
        for (name, value, min) in bounds {
            if value < min {
                return Err(ConfigError::TooSmall { name, value, min });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClientConfig {
        ClientConfig {
            members: vec!["127.0.0.1:9".parse().unwrap(); 3],
            ..ClientConfig::default()
        }
    }

    #[test]
    fn defaults_with_members_are_valid() {
        assert!(config().validate().is_ok());
    }

    #[test]
    fn each_value_that_cannot_work_is_named() {
        type Break = fn(&mut ClientConfig);
        let broken: [(Break, &str); 9] = [
            (|c| c.members.clear(), "0 member endpoints"),
            (|c| c.first_member = 3, "first member 3"),
            (|c| c.term_length = 100_000, "term length 100000"),
            (|c| c.mtu = 1400, "mtu 1400"),
            (|c| (c.mtu, c.term_length) = (8224, 65536), "mtu 8224"),
            (|c| c.in_flight_max = 0, "in_flight_max is 0"),
            (|c| c.in_flight_bytes_max = 9, "in_flight_bytes_max is 9"),
            (|c| c.leader_timeout_ns = -1, "leader_timeout_ns is 0"),
            (|c| c.principal = vec![0; 257], "principal of 257"),
        ];
        for (break_it, message) in broken {
            let mut config = config();
            break_it(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn keepalives_come_at_least_four_times_per_session_timeout() {
        let config = config();
        assert_eq!(config.keepalive_ns(0), SECOND);
        assert_eq!(config.keepalive_ns(10 * SECOND), SECOND);
        assert_eq!(config.keepalive_ns(200 * MILLISECOND), 50 * MILLISECOND);
    }
}
