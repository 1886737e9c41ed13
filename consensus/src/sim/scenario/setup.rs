//! What a scenario's members and their hosts are started with.

use lockstep_transport::time::{MICROSECOND, Nanos};

use super::boot::three_members;
use crate::settings::config::{ClusterConfig, NodeConfig};

/// How fast hosts are: what others cause a node costs its clients time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Virtual time between two looks at everything, ns.
    pub step_ns: Nanos,
    /// Duty cycles that a node has in it at most; it has no more once it finds nothing to do.
    pub cycles: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            step_ns: 50 * MICROSECOND,
            cycles: 1,
        }
    }
}

/// What the hosts of a scenario and the members on them are started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What all members have alike.
    pub cluster: ClusterConfig,
    /// What each member has; its id and its seed are its own.
    pub node: NodeConfig,
    /// How fast hosts are.
    pub pace: Pace,
    /// Bytes of log that a member lets its leader be ahead.
    pub receive_window: usize,
    /// Members may stop for what their service does.
    pub is_service_faulty: bool,
}

impl Setup {
    /// Three members with small buffers and the default timeouts.
    pub(super) fn small() -> Self {
        Self {
            cluster: ClusterConfig {
                name: "small".to_owned(),
                effects_per_cause: 8,
                effect_bytes_per_cause: 16 * 1024,
                outbox_bytes: 256 * 1024,
                ..three_members()
            },
            node: NodeConfig {
                insecure: true,
                disk_budget_bytes: 32 << 20,
                ..NodeConfig::default()
            },
            pace: Pace::default(),
            receive_window: 32 * 1024,
            is_service_faulty: false,
        }
    }
}
