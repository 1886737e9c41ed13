//! One real node on a simulated disk and network, and the small cluster that it belongs to: what
//! the scenarios of several test files begin with.
#![allow(
    dead_code,
    reason = "each test file uses the part that its scenarios need"
)]

use core::net::{Ipv4Addr, SocketAddr};

use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_consensus::agent::cluster_node::ClusterNode;
use lockstep_consensus::agent::start::{StartError, StartParts, start};
use lockstep_consensus::config::{ClusterConfig, MemberEndpoints, NodeConfig};
use lockstep_consensus::counters::Counters;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, Nanos};
use lockstep_transport::trace::Tracer;

/// A node of the simulation.
pub type SmallNode<S> = ClusterNode<SimDisk, SimPort, S>;

pub fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port))
}

/// Three members with small buffers and the default timeouts.
pub fn three_members() -> ClusterConfig {
    let endpoints = |id: u8| MemberEndpoints {
        ingress: address(id + 1, 1),
        member: address(id + 1, 2),
    };
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

/// A disk whose operations take 20 µs to `latency_max_ns`.
pub fn disk(seed: u64, latency_max_ns: Nanos, capacity_bytes: u64) -> SimDisk {
    SimDisk::new(SimDiskConfig {
        seed,
        latency_min_ns: 20 * MICROSECOND,
        latency_max_ns,
        capacity_bytes,
    })
}

/// What a node is started with.
pub struct Boot<'a, S> {
    pub cluster: &'a ClusterConfig,
    pub config: &'a NodeConfig,
    pub disk: &'a SimDisk,
    pub network: &'a SimNetwork,
    pub service: S,
    pub wall_offset: i64,
    pub receive_window: usize,
    /// Of the node's random ids.
    pub seed: u64,
}

/// Starts the member that `boot.config` names on what its disk holds.
pub fn boot<S: ClusteredService>(boot: Boot<'_, S>) -> Result<SmallNode<S>, StartError> {
    let endpoints = boot.cluster.members[usize::from(boot.config.member)];
    let parts = StartParts {
        disk: boot.disk.clone(),
        member_port: boot.network.port(endpoints.member),
        ingress_port: boot.network.port(endpoints.ingress),
        service: boot.service,
        tracer: Tracer::disabled(),
        counters: Counters::in_memory().expect("a page of memory"),
        wall_offset: boot.wall_offset,
        receive_window: boot.receive_window,
        randomness: Prng::new(boot.seed),
    };
    start(boot.cluster, boot.config, parts)
}
