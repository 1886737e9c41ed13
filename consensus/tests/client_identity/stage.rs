//! A whole cluster of three and its clients in virtual time, with faults by name: processes
//! that die, links that hold datagrams back. Every answer repeats its request.

use core::net::SocketAddr;

use lockstep_archive::sim::SimDisk;
use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::{ClientConfig, ResumePoint};
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::agent::identity::cluster_id;
use lockstep_consensus::config::{ClusterConfig, NodeConfig};
pub use lockstep_consensus::sim::scenario::boot::address;
use lockstep_consensus::sim::scenario::boot::{self, Boot, SimNode, boot};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND, earliest};

pub struct Echo;

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

type Node = SimNode<Echo>;

/// Where client `index` lives.
pub fn client_address(index: u8) -> SocketAddr {
    address(100 + index, 1)
}

/// A client's process and what its application has seen.
pub struct Process {
    pub client: ClusterClient<SimPort>,
    /// (number, payload) of every response handed over.
    pub answers: Vec<(i64, String)>,
    /// What else it was told, in words.
    pub news: Vec<String>,
    /// It does not run.
    pub is_stopped: bool,
}

impl Process {
    /// Whether the session ended for it, for the reason named.
    pub fn has_ended(&self, reason: &str) -> bool {
        let told = format!("closed: {reason}");
        self.news.last().is_some_and(|news| *news == told)
    }

    fn poll(&mut self, now: Nanos) -> usize {
        if self.is_stopped {
            return 0;
        }
        let (answers, news) = (&mut self.answers, &mut self.news);
        let work = self.client.do_work(now);
        work + self.client.poll_egress(now, 64, &mut |event| match event {
            EgressEvent::Response {
                number, payload, ..
            } => answers.push((number, String::from_utf8_lossy(payload).into_owned())),
            EgressEvent::Closed { reason } => news.push(format!("closed: {reason:?}")),
            other => news.push(format!("{other:?}")),
        })
    }
}

/// The cluster and its clients.
pub struct Stage {
    pub config: ClusterConfig,
    pub network: SimNetwork,
    pub nodes: Vec<Option<Node>>,
    pub processes: Vec<Process>,
    pub now: Nanos,
    disks: Vec<SimDisk>,
}

impl Stage {
    /// A cluster with its defaults, up but without a leader yet.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A cluster whose configuration `change` had a look at.
    pub fn with(change: impl FnOnce(&mut ClusterConfig)) -> Self {
        let mut config = boot::three_members();
        change(&mut config);
        let disk = |seed| boot::disk(seed, 100 * MICROSECOND, 64 << 20);
        let disks = (0..3).map(disk).collect();
        let profile = LinkProfile {
            delay_ns: 50 * MICROSECOND,
            ..LinkProfile::default()
        };
        let mut stage = Self {
            config,
            network: SimNetwork::new(1, profile),
            nodes: Vec::new(),
            processes: Vec::new(),
            now: 0,
            disks,
        };
        for member in 0..3 {
            let node = stage.start_node(member);
            stage.nodes.push(Some(node));
        }
        stage
    }

    fn start_node(&self, member: u8) -> Node {
        let config = NodeConfig {
            member,
            seed: u64::from(member) + 1,
            insecure: true,
            disk_budget_bytes: 8 << 20,
            ..NodeConfig::default()
        };
        let started = boot(Boot {
            cluster: &self.config,
            config: &config,
            disk: &self.disks[usize::from(member)],
            network: &self.network,
            service: Echo,
            wall_offset: 0,
            receive_window: 32 * 1024,
            seed: u64::from(member) + 1,
        });
        started.expect("the node starts")
    }

    /// The member whose leadership is open, if one's is.
    pub fn leader(&self) -> Option<usize> {
        let is_open = |node: &Option<Node>| {
            let node = node.as_ref();
            node.is_some_and(|node| node.parts().leadership.is_open())
        };
        self.nodes.iter().position(is_open)
    }

    /// The ingress address of the member that leads.
    pub fn leader_address(&self) -> SocketAddr {
        let leader = self.leader().expect("a leader");
        self.config.members[leader].ingress
    }

    /// The leader's process dies for good.
    pub fn kill_leader(&mut self) {
        let leader = self.leader().expect("a leader to kill");
        let endpoints = self.config.members[leader];
        self.network.close(endpoints.member);
        self.network.close(endpoints.ingress);
        self.nodes[leader] = None;
    }

    /// What clients are configured with.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig {
            members: self.config.members.iter().map(|m| m.ingress).collect(),
            cluster_id: cluster_id(&self.config.name),
            ..ClientConfig::default()
        }
    }

    /// Starts a client's process at `at`; continues a session if one is given. Returns its
    /// index.
    pub fn start_client(&mut self, at: SocketAddr, resume: Option<ResumePoint>) -> usize {
        let config = ClientConfig {
            resume,
            ..self.client_config()
        };
        let identity = ClientIdentity::of_seed(1000 + self.processes.len() as u64);
        self.start_client_as(at, config, identity)
    }

    /// Starts a client's process with this configuration and identity. Returns its index.
    pub fn start_client_as(
        &mut self,
        at: SocketAddr,
        config: ClientConfig,
        identity: ClientIdentity,
    ) -> usize {
        let index = self.processes.len();
        let port = self.network.port(at);
        let client = ClusterClient::new(config, port, identity);
        let client = client.expect("a valid configuration");
        self.processes.push(Process {
            client,
            answers: Vec::new(),
            news: Vec::new(),
            is_stopped: false,
        });
        index
    }

    /// Starts a client's process and waits until it is served.
    #[track_caller]
    pub fn connect(&mut self, at: SocketAddr, resume: Option<ResumePoint>) -> usize {
        let index = self.start_client(at, resume);
        self.run_until(10 * SECOND, |stage| {
            stage.processes[index].client.is_connected()
        });
        index
    }

    /// The process dies. Returns what it had written down.
    pub fn kill_client(&mut self, index: usize) -> Option<ResumePoint> {
        self.processes[index].is_stopped = true;
        self.processes[index].client.resume_point()
    }

    /// Offers `payload`, and returns its number.
    #[track_caller]
    pub fn offer(&mut self, index: usize, payload: &str) -> i64 {
        let result = self.processes[index]
            .client
            .offer(self.now, payload.as_bytes());
        let OfferResult::Accepted(number) = result else {
            panic!("{payload} was not taken: {result:?}");
        };
        number
    }

    /// Offers `payload` and waits for the answer to it, which must repeat it.
    #[track_caller]
    pub fn ask(&mut self, index: usize, payload: &str) {
        let number = self.offer(index, payload);
        let before = self.processes[index].answers.len();
        self.run_until(10 * SECOND, |stage| {
            stage.processes[index].answers.len() > before
        });
        let answer = &self.processes[index].answers[before];
        assert_eq!(*answer, (number, payload.to_owned()));
    }

    fn work(&mut self) -> usize {
        let mut work = 0;
        for node in self.nodes.iter_mut().flatten() {
            work += node.do_work(self.now);
            assert_eq!(node.fault(), None);
        }
        for process in &mut self.processes {
            work += process.poll(self.now);
        }
        work
    }

    /// Runs everything at this moment and moves to the next, at most to `latest`.
    pub fn step(&mut self, latest: Nanos) {
        for cycle in 0.. {
            assert!(cycle < 10_000, "work without end at {}", self.now);
            if self.work() == 0 {
                break;
            }
        }
        let mut next = self.network.next_delivery();
        for node in self.nodes.iter().flatten() {
            next = earliest(next, node.next_deadline(self.now));
        }
        for process in self.processes.iter().filter(|p| !p.is_stopped) {
            next = earliest(next, process.client.next_deadline());
        }
        let soonest = self.now + MICROSECOND;
        let latest = latest.max(soonest).min(self.now + 10 * MILLISECOND);
        self.now = next.unwrap_or(latest).clamp(soonest, latest);
    }

    /// Runs for `duration`.
    pub fn run(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while self.now < end {
            self.step(end);
        }
    }

    /// Runs until it is so, and returns how long it took.
    #[track_caller]
    pub fn run_until(&mut self, limit: Nanos, mut is_so: impl FnMut(&Self) -> bool) -> Nanos {
        let start = self.now;
        while !is_so(self) {
            let news: Vec<_> = self
                .processes
                .iter()
                .map(|p| (&p.answers, &p.news))
                .collect();
            assert!(self.now < start + limit, "not within {limit} ns: {news:?}");
            self.step(start + limit);
        }
        self.now - start
    }
}
