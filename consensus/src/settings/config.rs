//! Configuration: what all members must agree on, and what each node chooses for itself.

use core::net::SocketAddr;
use std::path::PathBuf;

pub use lockstep_archive::log::recorder::SyncMode;
pub use lockstep_transport::fault::Faults;
use lockstep_transport::named_setting;
pub use lockstep_transport::setting::IoChoice;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use crate::module::member::MemberId;
use crate::settings::threading::{ThreadSettings, Threading};

/// Smallest frame the log may be cut into: the first entry of a term lies in one.
pub(crate) const LOG_MTU_MIN: usize = 512;

/// How responses reach clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponsesMode {
    /// Through the log: replicated, committed, exactly once.
    Replicated,
    /// Straight from the leader when the request is applied: at most once.
    Direct,
}

named_setting!(ResponsesMode {
    Replicated => "replicated",
    Direct => "direct",
});

impl ResponsesMode {
    /// How often the log is crossed from a request to its response.
    #[must_use]
    pub const fn crossings(self) -> u8 {
        match self {
            Self::Replicated => 2,
            Self::Direct => 1,
        }
    }
}

/// Addresses of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberEndpoints {
    /// Where clients send.
    pub ingress: SocketAddr,
    /// Where members send: log and consensus messages.
    pub member: SocketAddr,
}

/// What all members must agree on; hashed, and a mismatch is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Name of the cluster; its identity on disk and on the wire derives from it.
    pub name: String,
    /// The members, by id.
    pub members: Vec<MemberEndpoints>,
    /// Bytes in a term of the log (power of two).
    pub term_length: usize,
    /// Bytes in a segment file (power of two, at least a term).
    pub segment_length: usize,
    /// Largest frame of the log, in bytes (multiple of 32).
    pub log_mtu: usize,
    /// Largest request or response, in bytes.
    pub message_max: usize,
    /// Most effects one entry may have.
    pub effects_per_cause: u32,
    /// Most bytes of effects one entry may have.
    pub effect_bytes_per_cause: usize,
    /// Bytes the outbox may hold.
    pub outbox_bytes: usize,
    /// Most open sessions.
    pub sessions_max: usize,
    /// How responses reach clients.
    pub responses: ResponsesMode,
    /// A session without message or keepalive for so long is closed.
    pub session_timeout_ns: Nanos,
}

impl ClusterConfig {
    /// Votes that decide: a majority.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: "lockstep".to_owned(),
            members: Vec::new(),
            term_length: 16 * 1024 * 1024,
            segment_length: 64 * 1024 * 1024,
            log_mtu: 8 * 1024,
            message_max: 32 * 1024,
            effects_per_cause: 64,
            effect_bytes_per_cause: 64 * 1024,
            outbox_bytes: 32 * 1024 * 1024,
            sessions_max: 1024,
            responses: ResponsesMode::Replicated,
            session_timeout_ns: 10 * SECOND,
        }
    }
}

/// What one node chooses for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// This node's member id.
    pub member: MemberId,
    /// Its data directory.
    pub directory: PathBuf,
    /// When the log counts as durable.
    pub sync: SyncMode,
    /// How network and disk are reached.
    pub io: IoChoice,
    /// Which threads its agents have.
    pub threading: Threading,
    /// How each of these threads runs.
    pub threads: ThreadSettings,
    /// Interval of the leader's heartbeats.
    pub heartbeat_interval_ns: Nanos,
    /// Silence of a leader after which an election begins (randomised up to twice this).
    pub election_timeout_ns: Nanos,
    /// Most bytes of segment files this node may write.
    pub disk_budget_bytes: u64,
    /// While leading: bytes of log after which all members are asked for a snapshot; 0 for never.
    pub snapshot_interval_bytes: u64,
    /// While leading: bytes of log that a session may hold by leaving answers unacknowledged,
    /// before it is closed; a quarter of the budget at most.
    pub egress_retention_bytes: u64,
    /// Bytes of another member's snapshot that this one asks for per second.
    pub snapshot_rate_bytes: u64,
    /// So long at most a member that is told to stop waits for a snapshot of what it has applied,
    /// before it hands over and ends; 0: not at all.
    pub snapshot_on_stop_ns: Nanos,
    /// Bytes of log below the newest snapshot that a start looks at to find what has rotted; where
    /// there are more, it looks at none of them.
    pub start_scan_bytes: u64,
    /// Where counters and trace lie, mapped: a directory of a memory file system.
    pub shared_memory: PathBuf,
    /// Bytes of socket buffer to ask the host for, each way.
    pub socket_buffer_bytes: usize,
    /// Added to every durable write of the log: slow-disk injection.
    pub disk_delay_ns: Nanos,
    /// Added to every message of the service, computing: slow-service injection.
    pub service_time_ns: Nanos,
    /// The same, sleeping.
    pub service_pause_ns: Nanos,
    /// Faults on this node's links.
    pub faults: Faults,
    /// Seed of everything random in this node.
    pub seed: u64,
    /// Endpoints may be other than loopback although the transport is not authenticated.
    pub insecure: bool,
    /// Trace one message in so many (power of two); 0 turns tracing off.
    pub trace_every: u64,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            member: 0,
            directory: PathBuf::new(),
            sync: SyncMode::Data,
            io: IoChoice::Auto,
            threading: Threading::SHARED,
            threads: ThreadSettings::default(),
            heartbeat_interval_ns: 50 * MILLISECOND,
            election_timeout_ns: 500 * MILLISECOND,
            disk_budget_bytes: 2 << 30,
            snapshot_interval_bytes: 256 << 20,
            egress_retention_bytes: 512 << 20,
            snapshot_rate_bytes: 4 << 20,
            snapshot_on_stop_ns: 0,
            start_scan_bytes: 1 << 30,
            shared_memory: PathBuf::from("/dev/shm"),
            socket_buffer_bytes: 4 << 20,
            disk_delay_ns: 0,
            service_time_ns: 0,
            service_pause_ns: 0,
            faults: Faults::default(),
            seed: 1,
            insecure: false,
            trace_every: 0,
        }
    }
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; {remedy}")]
pub struct ConfigError {
    /// The key concerned.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}
