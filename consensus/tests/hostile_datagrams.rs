//! Whole nodes under forged datagrams, in virtual time: copies of what members and clients
//! send, damaged in every way, from strangers and from the members' own addresses. Nobody
//! panics, nothing with a bad checksum enters a log, every request is answered exactly once.
#![cfg(feature = "sim")]

use core::net::{Ipv4Addr, SocketAddr};
use std::cell::RefCell;
use std::rc::Rc;

use lockstep_archive::disk::SegmentName;
use lockstep_archive::log::segment::LOG_RECORDING_ID;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::module::member::MemberId;
use lockstep_consensus::node::cluster_node::ClusterNode;
use lockstep_consensus::node::counters::{Counter, CounterBlocks};
use lockstep_consensus::node::start::{StartParts, start};
use lockstep_consensus::node::tracers::Tracers;
use lockstep_consensus::settings::config::{ClusterConfig, MemberEndpoints, NodeConfig};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::datagram_port::{DatagramPort, Received, SendOutcome};
use lockstep_transport::log_buffer::frame_seal::verify;
use lockstep_transport::log_buffer::frames;
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;
use lockstep_transport::protocol::{Packet, parse};
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND, earliest};

const MEMBERS: usize = 3;
const SEGMENT_LENGTH: usize = 128 * 1024;

const WINDOW: i64 = 4;

/// Runs, and the requests that each makes after the attack.
const SEEDS: u64 = 8;
const REQUESTS_AFTERWARDS: i64 = 200;

/// The attack, and the time the cluster gets to answer everything afterwards.
const ATTACK_NS: Nanos = 2 * SECOND;
const INTERVAL_NS: Nanos = 250 * MICROSECOND;
const PATIENCE_NS: Nanos = 60 * SECOND;

/// Datagrams kept as models.
const MODELS_MAX: usize = 128;

/// Numbers that arithmetic is most easily wrong about.
const EXTREMES: [u32; 6] = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFE0, 0xFFFF_FFFF];

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port))
}

/// What passed a port lately. A client's connect request is left out: whoever repeats it
/// verbatim holds the session's token, and is the client as far as anybody can tell.
#[derive(Clone, Debug, Default)]
struct Models {
    kept: Rc<RefCell<Vec<Vec<u8>>>>,
    seen: usize,
}

impl Models {
    fn keep(&mut self, datagram: &[u8]) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MODELS_MAX {
            kept.push(datagram.to_vec());
        } else {
            kept[self.seen % MODELS_MAX] = datagram.to_vec();
        }
        self.seen += 1;
    }
}

#[derive(Debug)]
struct TappedPort {
    port: SimPort,
    models: Models,
    is_open: bool,
}

impl DatagramPort for TappedPort {
    fn local_address(&self) -> SocketAddr {
        self.port.local_address()
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        self.port.receive(now, buffer)
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        if self.is_open || !matches!(parse(datagram), Ok(Packet::Data(_))) {
            self.models.keep(datagram);
        }
        self.port.send(now, to, datagram)
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.port.next_deadline()
    }
}

type Member = ClusterNode<SimDisk, TappedPort, Echo>;

fn cluster() -> ClusterConfig {
    let endpoints = |id: u8| MemberEndpoints {
        ingress: address(id + 1, 1),
        member: address(id + 1, 2),
    };
    ClusterConfig {
        name: "hostile".to_owned(),
        members: (0..MEMBERS as u8).map(endpoints).collect(),
        term_length: 64 * 1024,
        segment_length: SEGMENT_LENGTH,
        log_mtu: 1408,
        message_max: 4096,
        sessions_max: 64,
        ..ClusterConfig::default()
    }
}

/// A cluster, its client, and somebody who means them harm.
struct Siege {
    now: Nanos,
    random: Prng,
    network: SimNetwork,
    cluster: ClusterConfig,
    disks: Vec<SimDisk>,
    members: Vec<Member>,
    client: ClusterClient<TappedPort>,
    strangers: Vec<SimPort>,
    models: Models,
    goal: i64,
    offered: i64,
    answered: i64,
    forged: u64,
}

impl Siege {
    fn new(seed: u64) -> Self {
        let (mut random, cluster, models) = (Prng::new(seed), cluster(), Models::default());
        let network = SimNetwork::new(random.next_u64(), LinkProfile::default());
        let tap = |address: SocketAddr, is_open: bool| TappedPort {
            port: network.port(address),
            models: models.clone(),
            is_open,
        };
        let disk = |id: usize| {
            SimDisk::new(SimDiskConfig {
                seed: seed ^ id as u64,
                latency_min_ns: 20 * MICROSECOND,
                latency_max_ns: 200 * MICROSECOND,
                capacity_bytes: 64 << 20,
            })
        };
        let disks: Vec<SimDisk> = (0..MEMBERS).map(disk).collect();
        let member = |id: usize| {
            let config = NodeConfig {
                member: id as MemberId,
                disk_budget_bytes: 64 << 20,
                heartbeat_interval_ns: 20 * MILLISECOND,
                election_timeout_ns: 150 * MILLISECOND,
                seed: seed.wrapping_add(id as u64),
                ..NodeConfig::default()
            };
            let parts = StartParts {
                disk: disks[id].clone(),
                log_memory: None,
                member_port: tap(cluster.members[id].member, true),
                ingress_port: tap(cluster.members[id].ingress, true),
                service: Echo::new(),
                tracers: Tracers::disabled(),
                counters: CounterBlocks::in_memory().expect("some pages of memory"),
                wall_offset: 0,
                receive_window: 32 * 1024,
                randomness: Prng::new(seed ^ (id as u64) << 8),
            };
            start(&cluster, &config, parts).expect("the node starts")
        };
        let members = (0..MEMBERS).map(member).collect();
        let config = ClientConfig {
            members: cluster.members.iter().map(|m| m.ingress).collect(),
            cluster_id: cluster_id(&cluster.name),
            ..ClientConfig::default()
        };
        let port = tap(address(100, 1), false);
        let client = ClusterClient::new(config, port, ClientIdentity::of_seed(random.next_u64()));
        Self {
            now: 0,
            strangers: (0..4)
                .map(|id| network.port(address(200 + id, 1)))
                .collect(),
            client: client.expect("a valid configuration"),
            random,
            network,
            cluster,
            disks,
            members,
            models,
            goal: i64::MAX,
            offered: 0,
            answered: 0,
            forged: 0,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.range(0..end as u64) as usize
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.random.next_u64() as u8).collect()
    }

    /// A copy of something real, more or less damaged.
    fn forgery(&mut self) -> Vec<u8> {
        let count = self.models.kept.borrow().len();
        let chosen = self.below(count);
        let mut bytes = self.models.kept.borrow()[chosen].clone();
        match self.below(8) {
            0 => {}
            1..4 => {
                for _ in 0..=self.below(4) {
                    let bit = self.below(bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            4 => bytes.truncate(self.below(bytes.len())),
            5 => {
                let length = self.below(128);
                bytes.extend(self.noise(length));
            }
            6 => {
                let field = self.below(bytes.len().min(64) / 4) * 4;
                let extreme = EXTREMES[self.below(EXTREMES.len())];
                bytes[field..field + 4].copy_from_slice(&extreme.to_le_bytes());
            }
            _ => {
                let length = self.below(2_048);
                bytes = self.noise(length);
            }
        }
        bytes
    }

    /// Sends one forgery: to any port, from a stranger or under a member's own address.
    fn attack(&mut self) {
        let bytes = self.forgery();
        let target = self.below(MEMBERS);
        let endpoints = self.cluster.members[target];
        let to = if self.random.chance(0.7) {
            endpoints.member
        } else {
            endpoints.ingress
        };
        if self.random.chance(0.8) {
            let from = self.below(MEMBERS);
            let port = &mut self.members[from].agents_mut().consensus.port.port;
            port.send(self.now, to, &bytes);
        } else {
            let from = self.below(self.strangers.len());
            self.strangers[from].send(self.now, to, &bytes);
        }
        self.forged += 1;
    }

    fn drive_client(&mut self) -> usize {
        let mut work = self.client.do_work(self.now);
        let answered = &mut self.answered;
        work += self
            .client
            .poll_egress(self.now, 64, &mut |event| match event {
                EgressEvent::Response {
                    number, payload, ..
                } => {
                    *answered += 1;
                    assert_eq!(number.get(), *answered, "answered once and in order");
                    assert_eq!(payload, request(*answered), "answered with the same bytes");
                }
                EgressEvent::Connected { .. } | EgressEvent::NewLeader { .. } => {}
                other => panic!("the client was told {other:?}"),
            });
        self.client.port_mut().is_open |= self.client.is_connected();
        while self.offered < self.goal && self.offered - self.answered < WINDOW {
            match self.client.offer(self.now, &request(self.offered + 1)) {
                OfferResult::Accepted(number) => {
                    self.offered += 1;
                    assert_eq!(number.get(), self.offered);
                    work += 1;
                }
                OfferResult::BackPressured | OfferResult::NotConnected => break,
                refused => panic!("offer {refused:?}"),
            }
        }
        work
    }

    /// Runs everything at this moment and moves to the next, at most to `latest`.
    fn moment(&mut self, latest: Nanos) {
        loop {
            let mut work = 0;
            for member in &mut self.members {
                work += member.do_work(self.now);
                assert_eq!(member.fault(), None, "at {} ns", self.now);
            }
            if work + self.drive_client() == 0 {
                break;
            }
        }
        let mut next = earliest(self.network.next_delivery(), self.client.next_deadline());
        for member in &self.members {
            next = earliest(next, member.next_deadline(self.now));
        }
        let next = next.unwrap_or(latest);
        self.now = next.clamp(self.now + MICROSECOND, latest.max(self.now + MICROSECOND));
    }

    fn committed(&self) -> Position {
        let applied = |member: &Member| member.agents().consensus.applier.position();
        self.members.iter().map(applied).min().unwrap_or(0)
    }

    /// The recorded log of a member below `end`.
    fn recorded(&self, id: usize, end: Position) -> Vec<u8> {
        let mut log = Vec::new();
        while (log.len() as Position) < end {
            let name = SegmentName {
                recording_id: LOG_RECORDING_ID,
                position: log.len() as Position,
            };
            let segment = self.disks[id].contents(&name.file_name());
            log.extend(segment.expect("the log is recorded without gaps"));
        }
        log.truncate(end as usize);
        log
    }
}

fn request(number: i64) -> Vec<u8> {
    let mut random = Prng::new(number as u64);
    let length = 8 + random.range(0..600) as usize;
    let tail = (8..length).map(|_| random.next_u64() as u8);
    number.to_le_bytes().into_iter().chain(tail).collect()
}

fn run(seed: u64) -> Siege {
    let mut siege = Siege::new(seed);
    while !siege.client.is_connected() {
        let latest = siege.now + MILLISECOND;
        siege.moment(latest);
        assert!(siege.now < 10 * SECOND, "seed {seed}: no session");
    }
    let end = siege.now + ATTACK_NS;
    while siege.now < end {
        siege.attack();
        let next = siege.now + INTERVAL_NS;
        while siege.now < next {
            siege.moment(next);
        }
    }
    assert!(siege.answered > 500, "seed {seed}: {}", siege.answered);
    siege.goal = siege.offered + REQUESTS_AFTERWARDS;
    let end = siege.now + PATIENCE_NS;
    while siege.answered < siege.goal {
        let latest = siege.now + 10 * MILLISECOND;
        siege.moment(latest);
        let answered = siege.answered;
        assert!(siege.now < end, "seed {seed}: {answered} answers");
    }
    // Whoever follows learns the last commit, and everybody flushes.
    let end = siege.now + SECOND;
    while siege.now < end {
        siege.moment(end);
    }
    siege
}

#[test]
fn forged_datagrams_from_any_address_are_counted_and_change_no_log() {
    for seed in 1..=SEEDS {
        let siege = run(seed);
        let end = siege.committed();
        assert!(end > siege.goal * 400, "seed {seed}: committed {end}");
        let log = siege.recorded(0, end);
        for id in 1..MEMBERS {
            assert!(log == siege.recorded(id, end), "seed {seed}: logs differ");
        }
        for frame in frames(&log) {
            assert!(verify(frame.bytes()).is_ok(), "seed {seed}: a bad checksum");
        }
        let states: Vec<u64> = siege
            .members
            .iter()
            .map(|member| member.container().unwrap().state_hash())
            .collect();
        assert!(states.iter().all(|state| *state == states[0]), "{states:?}");
        for member in &siege.members {
            let refused = member.counter(Counter::Refused);
            assert!(refused > 500, "seed {seed}: {refused} of {}", siege.forged);
        }
    }
}
