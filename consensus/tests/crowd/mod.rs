//! A cluster under many clients, in virtual time. A node gets so many duty cycles per step and
//! no more, so that work that others cause it costs its clients time, as on a real host.
#![allow(dead_code, reason = "each test of this folder uses a part of it")]

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::{ClientConfig, ResumePoint};
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_client::session::{CloseReason, SessionState};
use lockstep_consensus::agent::identity::cluster_id;
use lockstep_consensus::config::{ClusterConfig, MemberEndpoints, NodeConfig};
pub use lockstep_consensus::sim::scenario::boot::address;
use lockstep_consensus::sim::scenario::boot::{self, Boot, SimNode, boot};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

pub type Node = SimNode<Echo>;

/// Duty cycles a node gets per step: cycles of 25 µs.
const CYCLES_PER_STEP: usize = 4;
pub const STEP_NS: Nanos = 100 * MICROSECOND;

/// Host of all clients: as on loopback, they share one.
pub const CLIENT_HOST: u8 = 100;

/// A client and what it has seen.
pub struct Client {
    pub client: ClusterClient<SimPort>,
    pub answered: u64,
    pub offered: u64,
    pub closed: Option<CloseReason>,
    /// When its request was offered, while it has one under way.
    pub asked: Option<Nanos>,
    /// The longest that an answer took.
    pub longest: Nanos,
    /// It is not run: a process that is gone, or stopped.
    pub is_stopped: bool,
}

impl Client {
    pub fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Makes one request.
    pub fn ask(&mut self, now: Nanos) -> bool {
        let is_taken = matches!(self.client.offer(now, &[7; 64]), OfferResult::Accepted(_));
        if is_taken {
            self.offered += 1;
            self.asked = Some(now);
        }
        is_taken
    }

    fn run(&mut self, now: Nanos) {
        if self.is_stopped {
            return;
        }
        self.client.do_work(now);
        let Self {
            client,
            answered,
            closed,
            asked,
            longest,
            ..
        } = self;
        client.poll_egress(now, 64, &mut |event| match event {
            EgressEvent::Response { .. } => {
                *answered += 1;
                if let Some(asked) = asked.take() {
                    *longest = (*longest).max(now - asked);
                }
            }
            EgressEvent::Closed { reason } => *closed = Some(reason),
            _ => {}
        });
    }
}

pub struct Crowd {
    pub now: Nanos,
    pub network: SimNetwork,
    pub cluster: ClusterConfig,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    /// Of clients that join from now on.
    pub keepalive_interval_ns: Nanos,
    next_port: u16,
}

impl Crowd {
    pub fn new(members: u8, sessions_max: usize, session_timeout_ns: Nanos) -> Self {
        let endpoints = |id: u8| MemberEndpoints {
            ingress: address(id + 1, 1),
            member: address(id + 1, 2),
        };
        let cluster = ClusterConfig {
            name: "crowd".to_owned(),
            members: (0..members).map(endpoints).collect(),
            term_length: 1 << 20,
            segment_length: 4 << 20,
            log_mtu: 1408,
            message_max: 4096,
            sessions_max,
            session_timeout_ns,
            ..ClusterConfig::default()
        };
        let network = SimNetwork::new(1, LinkProfile::default());
        let nodes = (0..members)
            .map(|id| node(id, &cluster, &network))
            .collect();
        Self {
            now: 0,
            network,
            cluster,
            nodes,
            clients: Vec::new(),
            keepalive_interval_ns: 200 * MILLISECOND,
            next_port: 1,
        }
    }

    fn config(&self) -> ClientConfig {
        ClientConfig {
            members: self.cluster.members.iter().map(|m| m.ingress).collect(),
            cluster_id: cluster_id(&self.cluster.name),
            term_length: 64 * 1024,
            keepalive_interval_ns: self.keepalive_interval_ns,
            ..ClientConfig::default()
        }
    }

    /// One more client; `resume` continues a session.
    pub fn join(&mut self, resume: Option<ResumePoint>) -> usize {
        let config = ClientConfig {
            resume,
            ..self.config()
        };
        self.join_with(config)
    }

    pub fn join_with(&mut self, config: ClientConfig) -> usize {
        let port = self.network.port(address(CLIENT_HOST, self.next_port));
        let seed = u64::from(self.next_port) << 20;
        self.next_port += 1;
        self.clients.push(Client {
            client: ClusterClient::new(config, port, ClientIdentity::of_seed(seed))
                .expect("a valid configuration"),
            answered: 0,
            offered: 0,
            closed: None,
            asked: None,
            longest: 0,
            is_stopped: false,
        });
        self.clients.len() - 1
    }

    /// A client's process is gone, without a word.
    pub fn kill(&mut self, client: usize) {
        let port = &self.clients[client].client;
        self.network
            .close(lockstep_transport::datagram_port::DatagramPort::local_address(port.port()));
        self.clients[client].is_stopped = true;
    }

    pub fn step(&mut self) {
        for client in &mut self.clients {
            client.run(self.now);
        }
        for node in &mut self.nodes {
            for _ in 0..CYCLES_PER_STEP {
                if node.do_work(self.now) == 0 {
                    break;
                }
            }
            assert_eq!(node.fault(), None);
        }
        self.now += STEP_NS;
    }

    pub fn run(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }

    /// Runs until `is_done`, or for `patience` at most. Returns whether it is.
    pub fn run_until(&mut self, patience: Nanos, is_done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + patience;
        while !is_done(self) {
            if self.now >= end {
                return false;
            }
            for _ in 0..10 {
                self.step();
            }
        }
        true
    }

    /// `count` clients with sessions.
    pub fn connect(&mut self, count: usize) {
        let first = self.clients.len();
        for _ in 0..count {
            self.join(None);
        }
        let is_done = |crowd: &Self| crowd.clients[first..].iter().all(Client::is_connected);
        assert!(
            self.run_until(20 * SECOND, is_done),
            "{} of {count} connected",
            self.clients[first..]
                .iter()
                .filter(|client| client.is_connected())
                .count()
        );
    }

    /// The clients in `range` make a request each and are answered.
    pub fn ask_all(&mut self, range: core::ops::Range<usize>) {
        for client in &mut self.clients[range.clone()] {
            assert!(client.ask(self.now), "{:?}", client.client.state());
        }
        let is_done = |crowd: &Self| {
            let mut clients = crowd.clients[range.clone()].iter();
            clients.all(|client| client.answered == client.offered)
        };
        assert!(self.run_until(10 * SECOND, is_done), "all are answered");
    }

    /// The node that leads.
    pub fn leader(&self) -> &Node {
        let mut nodes = self.nodes.iter();
        nodes
            .find(|node| node.parts().leadership.is_open())
            .expect("somebody leads")
    }

    pub fn sessions(&self) -> usize {
        self.leader().parts().applier.sessions().sessions().len()
    }

    /// How many clients are in which state, for messages.
    pub fn describe(&self, range: core::ops::Range<usize>) -> String {
        let (mut connected, mut closed, mut waiting) = (0, 0, 0);
        for client in &self.clients[range] {
            match client.client.state() {
                SessionState::Connected { .. } => connected += 1,
                SessionState::Closed(_) => closed += 1,
                _ => waiting += 1,
            }
        }
        format!("{connected} connected, {closed} closed, {waiting} waiting")
    }
}

fn node(member: u8, cluster: &ClusterConfig, network: &SimNetwork) -> Node {
    let config = NodeConfig {
        member,
        insecure: true,
        seed: u64::from(member),
        ..NodeConfig::default()
    };
    let started = boot(Boot {
        cluster,
        config: &config,
        disk: &boot::disk(u64::from(member), 100 * MICROSECOND, 256 << 20),
        network,
        service: Echo::new(),
        wall_offset: 0,
        receive_window: 128 * 1024,
        seed: 1,
    });
    started.expect("the node starts")
}
