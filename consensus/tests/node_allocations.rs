//! After warm-up a node's duty cycle allocates nothing, through the whole way of a request and
//! its response (`ARCHITECTURE.md` "Invariants, as absences"). Counted are the cycles of three
//! nodes; what the simulated network and disks allocate is theirs and left out.
#![cfg(feature = "sim")]

use core::cell::Cell;
use core::net::{Ipv4Addr, SocketAddr};

use lockstep_archive::disk::{Busy, Completion, Disk, DiskOp};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::node::cluster_node::ClusterNode;
use lockstep_consensus::node::counters::CounterBlocks;
use lockstep_consensus::node::start::{StartParts, start};
use lockstep_consensus::node::tracers::Tracers;
use lockstep_consensus::settings::config::{ClusterConfig, MemberEndpoints, NodeConfig};
use lockstep_consensus::settings::threading::Threading;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::allocations::{CountingAllocator, count_of_thread};
use lockstep_transport::datagram_port::{DatagramPort, Received, SendOutcome};
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, Nanos, SECOND};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

thread_local! {
    /// Whether the node is at work, and not what is simulated around it.
    static IS_COUNTING: Cell<bool> = const { Cell::new(false) };
    /// Allocations of the node.
    static OF_NODE: Cell<u64> = const { Cell::new(0) };
    /// Allocations of this thread when [`settle`] was called last.
    static SETTLED: Cell<u64> = const { Cell::new(0) };
}

/// Adds what was allocated since the last call to the node's, if it was at work.
fn settle() {
    let before = SETTLED.replace(count_of_thread());
    if IS_COUNTING.get() {
        OF_NODE.set(OF_NODE.get() + SETTLED.get() - before);
    }
}

/// Runs `body`, counting or not, and goes back to what was before.
fn counting<R>(is_counting: bool, body: impl FnOnce() -> R) -> R {
    settle();
    let before = IS_COUNTING.replace(is_counting);
    let result = body();
    settle();
    IS_COUNTING.set(before);
    result
}

/// A port whose allocations are not the node's.
struct UncountedPort(SimPort);

impl DatagramPort for UncountedPort {
    fn local_address(&self) -> SocketAddr {
        self.0.local_address()
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        counting(false, || self.0.receive(now, buffer))
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        counting(false, || self.0.send(now, to, datagram))
    }

    fn next_deadline(&self) -> Option<Nanos> {
        counting(false, || self.0.next_deadline())
    }
}

/// A disk whose allocations are not the node's.
struct UncountedDisk(SimDisk);

impl Disk for UncountedDisk {
    type Files = SimDisk;

    fn files(&mut self) -> &mut Self::Files {
        &mut self.0
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        counting(false, || self.0.submit(now, operation))
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        counting(false, || self.0.poll_completion(now))
    }

    fn flush(&mut self, now: Nanos) {
        counting(false, || self.0.flush(now));
    }

    fn next_deadline(&self) -> Option<Nanos> {
        counting(false, || self.0.next_deadline())
    }
}

struct Echo;

impl ClusteredService for Echo {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        let sent = cluster.respond(session, message);
        assert!(sent.is_ok(), "one small response is within every limit");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

type Node = ClusterNode<UncountedDisk, UncountedPort, Echo>;

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port))
}

fn cluster() -> ClusterConfig {
    let endpoints = |id: u8| MemberEndpoints {
        ingress: address(id + 1, 1),
        member: address(id + 1, 2),
    };
    ClusterConfig {
        members: (0..3).map(endpoints).collect(),
        term_length: 1 << 20,
        segment_length: 4 << 20,
        log_mtu: 1408,
        sessions_max: 8,
        ..ClusterConfig::default()
    }
}

fn node(member: u8, cluster: &ClusterConfig, network: &SimNetwork, threading: Threading) -> Node {
    let config = NodeConfig {
        member,
        threading,
        insecure: true,
        ..NodeConfig::default()
    };
    let endpoints = cluster.members[usize::from(member)];
    let disk = SimDisk::new(SimDiskConfig {
        seed: u64::from(member),
        latency_min_ns: 20 * MICROSECOND,
        latency_max_ns: 100 * MICROSECOND,
        capacity_bytes: 256 << 20,
    });
    let parts = StartParts {
        disk: UncountedDisk(disk),
        log_memory: None,
        member_port: UncountedPort(network.port(endpoints.member)),
        ingress_port: UncountedPort(network.port(endpoints.ingress)),
        service: Echo,
        tracers: Tracers::disabled(),
        counters: CounterBlocks::in_memory().expect("some pages of memory"),
        wall_offset: 0,
        receive_window: 128 * 1024,
        randomness: Prng::new(1),
    };
    start(cluster, &config, parts).expect("the node starts")
}

/// Runs until the client has `goal` answers, with up to 16 requests under way.
fn run_until(
    goal: u64,
    now: &mut Nanos,
    nodes: &mut [Node],
    client: &mut ClusterClient<SimPort>,
    received: &mut u64,
    offered: &mut u64,
) {
    let bound = *now + 30 * SECOND;
    while *received < goal {
        assert!(*now < bound, "{received} of {goal} answers");
        for node in &mut *nodes {
            counting(true, || node.do_work(*now));
            counting(true, || node.step_service(*now));
            assert_eq!(node.fault(), None);
        }
        client.do_work(*now);
        client.poll_egress(*now, 64, &mut |event| {
            *received += u64::from(matches!(event, EgressEvent::Response { .. }));
        });
        while *offered < goal && *offered - *received < 16 {
            let OfferResult::Accepted(_) = client.offer(*now, &[7; 288]) else {
                break;
            };
            *offered += 1;
        }
        *now += 5 * MICROSECOND;
    }
}

#[test]
fn a_duty_cycle_in_steady_state_allocates_nothing() {
    expect_no_allocations(Threading::SHARED);
}

#[test]
fn nor_does_a_service_on_a_thread_of_its_own() {
    expect_no_allocations(Threading::SPLIT);
}

fn expect_no_allocations(threading: Threading) {
    let network = SimNetwork::new(1, LinkProfile::default());
    let cluster = cluster();
    let mut nodes: Vec<Node> = (0..3)
        .map(|id| node(id, &cluster, &network, threading))
        .collect();
    let config = ClientConfig {
        members: cluster.members.iter().map(|m| m.ingress).collect(),
        cluster_id: cluster_id(&cluster.name),
        ..ClientConfig::default()
    };
    let port = network.port(address(100, 1));
    let mut client =
        ClusterClient::new(config, port, ClientIdentity::of_seed(5)).expect("it can be made");
    let (mut now, mut received, mut offered) = (0, 0, 0);
    let mut run_to = |goal: u64| {
        run_until(
            goal,
            &mut now,
            &mut nodes,
            &mut client,
            &mut received,
            &mut offered,
        );
        OF_NODE.replace(0)
    };
    let warm_up = run_to(500);
    assert!(warm_up > 0, "the counter counts: connecting allocates");
    // Over a megabyte of log: terms of the log and of the streams roll over too.
    assert_eq!(run_to(3_000), 0, "allocations in 2500 requests");
}
