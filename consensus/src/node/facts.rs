//! Who a node is and what it has been told: values fixed at start, shared by its parts.

use core::net::SocketAddr;
use lockstep_client::cluster_id::cluster_id;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::log::log_session_id::log_session_id;
use crate::module::member::MemberId;
use crate::settings::cluster_limits::ClusterLimits;
use crate::settings::config::{ClusterConfig, MemberEndpoints, NodeConfig, ResponsesMode};
use crate::settings::config_digest::config_digest;
use crate::settings::lengths::Lengths;

/// A node's fixed facts.
#[derive(Debug)]
pub struct NodeFacts {
    /// This member.
    pub member: MemberId,
    /// Addresses of all members, by id.
    pub members: Vec<MemberEndpoints>,
    /// Hash of the cluster's name: in every handshake.
    pub cluster_id: u64,
    /// Hash of what all members must agree on.
    pub config_digest: u64,
    /// The limits of this node's configuration, as the log carries them.
    pub limits: ClusterLimits,
    /// Transport session id of the log stream, derived from the cluster's name.
    pub log_session_id: i32,
    /// All ingress endpoints as clients are told them: `0=host:port,1=host:port`.
    pub ingress_endpoints: String,
    /// What every way takes and needs.
    pub lengths: Lengths,
    /// Longest session timeout.
    pub session_timeout_ns: Nanos,
    /// Largest frame of the log.
    pub log_mtu: usize,
    /// Bytes that may be under way to this node's member port without overflowing its buffer.
    pub receive_window: usize,
    /// While leading: bytes of log after which all members are asked for a snapshot, 0 for never.
    pub snapshot_interval: Position,
    /// While leading: bytes of log that a session may hold by leaving answers unacknowledged.
    pub egress_retention: Position,
    /// So long at most this member waits for a snapshot before it ends, 0 for not at all.
    pub snapshot_on_stop: Nanos,
    /// Whether responses leave at apply.
    pub is_direct: bool,
}

impl NodeFacts {
    /// The facts of `node` in `cluster`, which must be valid.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, node: &NodeConfig) -> Self {
        let endpoints: Vec<String> = cluster
            .members
            .iter()
            .enumerate()
            .map(|(id, member)| format!("{id}={}", member.ingress))
            .collect();
        let id = cluster_id(&cluster.name);
        Self {
            member: node.member,
            members: cluster.members.clone(),
            cluster_id: id,
            config_digest: config_digest(cluster),
            limits: ClusterLimits::of(cluster),
            log_session_id: log_session_id(&cluster.name),
            ingress_endpoints: endpoints.join(","),
            lengths: Lengths::of(cluster).expect("the configuration was checked"),
            session_timeout_ns: cluster.session_timeout_ns,
            log_mtu: cluster.log_mtu,
            receive_window: usize::MAX,
            snapshot_interval: Position::try_from(node.snapshot_interval_bytes)
                .unwrap_or(Position::MAX),
            egress_retention: Position::try_from(
                node.egress_retention_bytes.min(node.disk_budget_bytes / 4),
            )
            .unwrap_or(Position::MAX),
            snapshot_on_stop: node.snapshot_on_stop_ns,
            is_direct: cluster.responses == ResponsesMode::Direct,
        }
    }

    /// Which member has this member-to-member address.
    #[must_use]
    pub fn member_at(&self, address: SocketAddr) -> Option<MemberId> {
        let index = self.members.iter().position(|m| m.member == address)?;
        u8::try_from(index).ok()
    }
}

#[cfg(test)]
impl NodeFacts {
    /// Member 0 of three at hosts 10.0.0.1 to 10.0.0.3, whose terms are the shortest there are.
    pub(crate) fn of_three() -> Self {
        let endpoints = |id: u8| MemberEndpoints {
            member: ([10, 0, 0, 1 + id], 1).into(),
            ingress: ([10, 0, 0, 1 + id], 2).into(),
        };
        let cluster = ClusterConfig {
            members: (0..3).map(endpoints).collect(),
            term_length: 1 << 16,
            message_max: 4096,
            ..ClusterConfig::default()
        };
        Self::new(&cluster, &NodeConfig::default())
    }
}
