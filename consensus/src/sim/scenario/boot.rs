//! One real node on a simulated disk and network, and the small configuration that it belongs to:
//! what scenarios begin with, and tests of a node between puppets too.

use core::net::{Ipv4Addr, SocketAddr};

use lockstep_archive::log::log_memory::LogMemory;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, Nanos};

use crate::node::cluster_node::ClusterNode;
use crate::node::counters::CounterBlocks;
use crate::node::start::{StartParts, start};
use crate::node::start_error::StartError;
use crate::node::tracers::Tracers;
use crate::settings::config::{ClusterConfig, MemberEndpoints, NodeConfig};

/// A node of the simulation.
pub type SimNode<S> = ClusterNode<SimDisk, SimPort, S>;

/// Where `host` of the simulated network hears on `port`.
#[must_use]
pub fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port))
}

/// Three members with small buffers and the default timeouts.
#[must_use]
pub fn three_members() -> ClusterConfig {
    ClusterConfig {
        members: (0..3).map(endpoints).collect(),
        term_length: 64 * 1024,
        segment_length: 128 * 1024,
        log_mtu: 1408,
        message_max: 4096,
        sessions_max: 8,
        ..ClusterConfig::default()
    }
}

/// The addresses of the member with this id.
#[must_use]
pub(crate) fn endpoints(id: u8) -> MemberEndpoints {
    MemberEndpoints {
        ingress: address(id + 1, 1),
        member: address(id + 1, 2),
    }
}

/// A disk whose operations take 20 µs to `latency_max_ns`.
#[must_use]
pub fn disk(seed: u64, latency_max_ns: Nanos, capacity_bytes: u64) -> SimDisk {
    SimDisk::new(SimDiskConfig {
        seed,
        latency_min_ns: 20 * MICROSECOND,
        latency_max_ns,
        capacity_bytes,
    })
}

/// What a node is started with.
#[derive(Debug)]
pub struct Boot<'a, S> {
    /// What all members have alike.
    pub cluster: &'a ClusterConfig,
    /// What is this member's own.
    pub config: &'a NodeConfig,
    /// Its host's disk.
    pub disk: &'a SimDisk,
    /// Its host's shared memory, as far as it is this member's.
    pub memory: Option<LogMemory>,
    /// What its ports are plugged into.
    pub network: &'a SimNetwork,
    /// Its service, which has seen nothing.
    pub service: S,
    /// What its wall clock adds to virtual time, ns.
    pub wall_offset: i64,
    /// Bytes of log that it lets its leader be ahead.
    pub receive_window: usize,
    /// Of the node's random ids.
    pub seed: u64,
}

/// Starts the member that `boot.config` names on what its disk holds.
///
/// # Errors
/// Why it does not start.
///
/// # Panics
/// Where there is no memory for its counters.
pub fn boot<S: ClusteredService>(boot: Boot<'_, S>) -> Result<SimNode<S>, StartError> {
    let endpoints = boot.cluster.members[usize::from(boot.config.member)];
    let parts = StartParts {
        disk: boot.disk.clone(),
        log_memory: boot.memory,
        member_port: boot.network.port(endpoints.member),
        ingress_port: boot.network.port(endpoints.ingress),
        service: boot.service,
        tracers: Tracers::disabled(),
        counters: CounterBlocks::in_memory().expect("some pages of memory"),
        wall_offset: boot.wall_offset,
        receive_window: boot.receive_window,
        randomness: Prng::new(boot.seed),
    };
    start(boot.cluster, boot.config, parts)
}
