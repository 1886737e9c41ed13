//! A few real nodes and clients in virtual time, driven step by step by a test: each scenario
//! says when what happens, and looks at whatever it wants.
#![allow(
    dead_code,
    reason = "each test file uses the part of the harness that its scenarios need"
)]

#[path = "../small_node/mod.rs"]
mod small_node;

use core::net::SocketAddr;

use lockstep_archive::sim::SimDisk;
use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_client::protocol::{RefusalReason, ResponseFailure};
use lockstep_consensus::agent::closing::Closing;
use lockstep_consensus::agent::cluster_node::ClusterNode;
use lockstep_consensus::agent::fault::NodeFault;
use lockstep_consensus::agent::identity::cluster_id;
use lockstep_consensus::agent::start::StartError;
use lockstep_consensus::config::{ClusterConfig, NodeConfig};
use lockstep_consensus::counters::Counter;
use lockstep_consensus::membership::Standing;
use lockstep_consensus::notice::{Line, NodeNotice, Place};
use lockstep_consensus::sim::service_time;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};
use small_node::{Boot, SmallNode, address, boot};

/// Virtual time between two looks at everything.
const STEP: Nanos = 50 * MICROSECOND;

/// What a test decides about a cluster.
pub struct Setup {
    pub cluster: ClusterConfig,
    pub node: NodeConfig,
}

impl Setup {
    /// Three members with small buffers and the default timeouts.
    pub fn new() -> Self {
        Self {
            cluster: ClusterConfig {
                name: "small".to_owned(),
                effects_per_cause: 8,
                effect_bytes_per_cause: 16 * 1024,
                outbox_bytes: 256 * 1024,
                ..small_node::three_members()
            },
            node: NodeConfig {
                insecure: true,
                disk_budget_bytes: 32 << 20,
                ..NodeConfig::default()
            },
        }
    }
}

/// One member's host.
struct Host<S> {
    disk: SimDisk,
    node: Option<SmallNode<S>>,
    wall_offset: i64,
    busy_until: Nanos,
    longest_cycle: Nanos,
}

/// What a client was told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Response {
        number: i64,
        log_time: i64,
        payload: Vec<u8>,
    },
    Refused(i64, RefusalReason),
    Failed(i64, ResponseFailure),
    Other(String),
}

impl Told {
    /// What a response holds.
    fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Response { payload, .. } => Some(payload),
            _ => None,
        }
    }
}

/// Where a client hears.
pub fn client_address(client: usize) -> SocketAddr {
    address(100 + client as u8, 1)
}

pub struct Client {
    pub client: ClusterClient<SimPort>,
    pub told: Vec<Told>,
}

impl Client {
    /// The payloads of the responses so far.
    pub fn responses(&self) -> Vec<&[u8]> {
        self.told.iter().filter_map(Told::payload).collect()
    }
}

/// Nodes, clients and the network between them.
pub struct SmallCluster<S> {
    pub setup: Setup,
    pub network: SimNetwork,
    pub clients: Vec<Client>,
    pub now: Nanos,
    hosts: Vec<Host<S>>,
    service: Box<dyn Fn(usize) -> S>,
}

impl<S: ClusteredService> SmallCluster<S> {
    /// Hosts whose nodes have not been started; `service` makes the service of a member.
    pub fn new(setup: Setup, service: impl Fn(usize) -> S + 'static) -> Self {
        let profile = LinkProfile {
            delay_ns: 30 * MICROSECOND,
            ..LinkProfile::default()
        };
        let network = SimNetwork::new(1, profile);
        let hosts = (0..setup.cluster.members.len()).map(|id| Host {
            disk: small_node::disk(id as u64, 60 * MICROSECOND, setup.node.disk_budget_bytes),
            node: None,
            wall_offset: 1_700_000_000 * SECOND,
            busy_until: 0,
            longest_cycle: 0,
        });
        Self {
            hosts: hosts.collect(),
            setup,
            network,
            clients: Vec::new(),
            now: 0,
            service: Box::new(service),
        }
    }

    /// Starts all members, `first` so much sooner that it leads.
    pub fn start_all(&mut self, first: usize) {
        self.start(first);
        for id in 0..self.hosts.len() {
            if id != first {
                self.start(id);
            }
        }
        self.lead_first(first);
    }

    /// Runs until some member leads; the others pause so that it is `first`.
    fn lead_first(&mut self, first: usize) {
        for _ in 0..40 {
            self.run(100 * MILLISECOND);
            match self.leader() {
                Some(leader) if leader == first => return,
                Some(leader) => {
                    // It hears nobody and nobody it, for a while: another is elected.
                    self.isolate(leader);
                    self.run(2 * SECOND);
                    self.network.heal();
                    self.run(SECOND);
                }
                None => {}
            }
        }
        panic!("member {first} was never elected");
    }

    /// Starts a member on what its disk holds.
    pub fn start(&mut self, id: usize) {
        self.try_start(id)
            .unwrap_or_else(|error| panic!("member {id} does not start: {error}"));
    }

    /// Starts a member unless it refuses.
    pub fn try_start(&mut self, id: usize) -> Result<(), StartError> {
        self.hosts[id].disk.restart();
        self.try_start_as_it_is(id)
    }

    /// As [`try_start`](Self::try_start), on a disk that does what the test has told it to.
    pub fn try_start_as_it_is(&mut self, id: usize) -> Result<(), StartError> {
        let members = self.setup.cluster.members[id];
        let host = &mut self.hosts[id];
        let config = NodeConfig {
            member: id as u8,
            seed: 40 + id as u64,
            ..self.setup.node.clone()
        };
        let started = boot(Boot {
            cluster: &self.setup.cluster,
            config: &config,
            disk: &host.disk,
            network: &self.network,
            service: (self.service)(id),
            wall_offset: host.wall_offset,
            receive_window: 32 * 1024,
            seed: 1 + id as u64 + self.now as u64 * 8,
        });
        match started {
            Ok(node) => {
                let mut node = node;
                node.measure_cycles_with(service_time::spent);
                host.node = Some(node);
                Ok(())
            }
            Err(error) => {
                self.network.close(members.member);
                self.network.close(members.ingress);
                Err(error)
            }
        }
    }

    /// The member's process dies.
    pub fn kill(&mut self, id: usize) {
        let members = self.setup.cluster.members[id];
        let host = &mut self.hosts[id];
        host.node = None;
        host.disk.kill(9);
        self.network.close(members.member);
        self.network.close(members.ingress);
    }

    /// The member's host loses power, and what was not synced with it.
    pub fn lose_power(&mut self, id: usize) {
        self.kill(id);
        let seed = self.now as u64 + id as u64;
        self.hosts[id].disk.crash(seed);
    }

    /// The member is told to stop, and ends cleanly.
    pub fn stop(&mut self, id: usize) {
        let (now, node) = (self.now, self.hosts[id].node.as_mut());
        let node = node.expect("the member runs");
        let closed = (now..).step_by(STEP as usize).take(1_000).find_map(|now| {
            let closing = node.close(now).expect("a good disk");
            (closing == Closing::Closed).then_some(())
        });
        closed.expect("the member ends within fifty milliseconds");
        self.kill(id);
    }

    /// Nothing passes between the member and the others.
    pub fn isolate(&mut self, id: usize) {
        let members = &self.setup.cluster.members;
        for other in 0..members.len() {
            if other != id {
                let (from, to) = (members[id].member, members[other].member);
                self.network.partition_both(from, to);
            }
        }
    }

    /// The member's wall clock is `ahead` of the true time from now on.
    pub fn set_clock(&mut self, id: usize, ahead: i64) {
        let host = &mut self.hosts[id];
        host.wall_offset = 1_700_000_000 * SECOND + ahead;
        if let Some(node) = host.node.as_mut() {
            node.set_wall_offset(host.wall_offset);
        }
    }

    /// The true time, as log times are compared with it.
    pub fn wall(&self) -> i64 {
        self.now + 1_700_000_000 * SECOND
    }

    pub fn node(&self, id: usize) -> &SmallNode<S> {
        self.hosts[id].node.as_ref().expect("the member runs")
    }

    pub fn node_mut(&mut self, id: usize) -> &mut SmallNode<S> {
        self.hosts[id].node.as_mut().expect("the member runs")
    }

    /// The member's disk, to be looked at and changed behind its back.
    pub fn disk(&self, id: usize) -> SimDisk {
        self.hosts[id].disk.clone()
    }

    /// The longest duty cycle of the member so far, in its service's time.
    pub fn longest_cycle(&self, id: usize) -> Nanos {
        self.hosts[id].longest_cycle
    }

    pub fn fault(&self, id: usize) -> Option<&NodeFault> {
        self.hosts[id].node.as_ref().and_then(ClusterNode::fault)
    }

    pub fn counter(&self, id: usize, counter: Counter) -> i64 {
        self.node(id).parts().counters.get(counter)
    }

    /// The member whose leadership is open.
    pub fn leader(&self) -> Option<usize> {
        let leads = |host: &Host<S>| {
            let node = host.node.as_ref().filter(|node| node.fault().is_none());
            node.is_some_and(|node| node.parts().leadership.is_open())
        };
        self.hosts.iter().position(leads)
    }

    /// The greatest term that a running member knows.
    pub fn term(&self) -> i64 {
        let nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
        let terms = nodes.map(|node| node.parts().module.term());
        terms.max().unwrap_or(0)
    }

    /// Adds a client that connects.
    pub fn connect(&mut self, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let index = self.join(change);
        for _ in 0..100 {
            self.run(50 * MILLISECOND);
            if self.clients[index].client.is_connected() {
                return index;
            }
        }
        panic!("the client is not connected");
    }

    /// Adds a client, whether it can connect or not.
    pub fn join(&mut self, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let index = self.clients.len();
        let port = self.network.port(client_address(index));
        let mut config = ClientConfig {
            members: self
                .setup
                .cluster
                .members
                .iter()
                .map(|m| m.ingress)
                .collect(),
            cluster_id: cluster_id(&self.setup.cluster.name),
            ..ClientConfig::default()
        };
        change(&mut config);
        let client = ClusterClient::new(config, port, ClientIdentity::of_seed(77 + index as u64));
        let client = client.expect("a valid client");
        self.clients.push(Client {
            client,
            told: Vec::new(),
        });
        index
    }

    /// Offers a request as soon as it is taken, and returns its number.
    pub fn offer(&mut self, client: usize, payload: &[u8]) -> i64 {
        for _ in 0..1_000 {
            match self.clients[client].client.offer(self.now, payload) {
                OfferResult::Accepted(number) => return number,
                OfferResult::BackPressured | OfferResult::NotConnected => self.run(MILLISECOND),
                refused => panic!("the offer is refused: {refused:?}"),
            }
        }
        panic!("the offer is not taken");
    }

    /// The first client makes `count` requests and waits for their answers.
    pub fn answer(&mut self, count: usize) {
        let before = self.clients[0].responses().len();
        for number in 0..count {
            self.offer(0, &[number as u8; 100]);
        }
        for _ in 0..300 {
            if self.clients[0].responses().len() == before + count {
                return;
            }
            self.run(10 * MILLISECOND);
        }
        panic!("not every request is answered");
    }

    /// What the member is in its cluster.
    pub fn standing(&self, id: usize) -> Standing {
        self.node(id).parts().membership.standing()
    }

    /// How far the member's log is durable.
    pub fn durable(&self, id: usize) -> i64 {
        self.node(id).parts().store.durable()
    }

    /// Whether the member had something to say of this kind in its present life.
    pub fn has_told(&self, id: usize, kind: NodeNotice) -> bool {
        self.node(id).parts().notices.count(kind) > 0
    }

    /// The lines that the member would say of this kind, of those that wait.
    pub fn take_lines(&mut self, id: usize, kind: NodeNotice) -> Vec<String> {
        let place = &Place {
            directory: "data".to_owned(),
            members: self.setup.cluster.members.clone(),
            ..Place::default()
        };
        let node = self.node_mut(id);
        std::iter::from_fn(|| node.take_notice())
            .filter(|notice| notice.kind == kind)
            .map(|notice| Line { notice, place }.to_string())
            .collect()
    }

    /// Runs everything for so long.
    pub fn run(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while self.now < end {
            for host in &mut self.hosts {
                if let Some(node) = host.node.as_mut().filter(|_| self.now >= host.busy_until) {
                    let before = service_time::spent();
                    node.do_work(self.now);
                    let took = service_time::spent() - before;
                    host.busy_until = self.now + took;
                    host.longest_cycle = host.longest_cycle.max(took);
                }
            }
            for client in &mut self.clients {
                client.client.do_work(self.now);
                let told = &mut client.told;
                client
                    .client
                    .poll_egress(self.now, 64, &mut |event| told.push(told_of(&event)));
            }
            self.now += STEP;
        }
    }
}

fn told_of(event: &EgressEvent<'_>) -> Told {
    match event {
        EgressEvent::Response {
            number,
            log_time,
            payload,
            ..
        } => Told::Response {
            number: *number,
            log_time: *log_time,
            payload: payload.to_vec(),
        },
        EgressEvent::Refused { number, reason } => Told::Refused(*number, *reason),
        EgressEvent::ResponseFailed { number, reason, .. } => Told::Failed(*number, *reason),
        other => Told::Other(format!("{other:?}")),
    }
}
