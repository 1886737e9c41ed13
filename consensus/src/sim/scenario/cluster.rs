//! Real nodes and clients, and the network between them, in virtual time.

use core::fmt;

use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::sim::{LinkProfile, SimNetwork};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos};

use super::boot::{Boot, boot, disk};
use super::client::Client;
use super::host::Host;
use super::setup::Setup;
use super::verb_history::VerbHistory;
use super::watch::{Life, Watch, stored};
use crate::node::closing::Closing;
use crate::node::start_error::StartError;
use crate::settings::config::{NodeConfig, SyncMode};
use crate::sim::service_time;

/// The cluster of a scenario.
pub struct SimCluster<S> {
    /// What members are started with from now on.
    pub setup: Setup,
    /// The network, for what the verbs do not say.
    pub network: SimNetwork,
    /// Its clients, in the order in which they came.
    pub clients: Vec<Client>,
    /// Virtual time, ns.
    pub now: Nanos,
    pub(super) hosts: Vec<Host<S>>,
    pub(super) watch: Watch,
    verbs: VerbHistory,
    service: Box<dyn Fn(usize) -> S>,
}

impl<S> fmt::Debug for SimCluster<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SimCluster");
        shown.field("now", &self.now);
        shown.field("setup", &self.setup);
        shown.finish_non_exhaustive()
    }
}

impl<S: ClusteredService> SimCluster<S> {
    /// Hosts whose nodes have not been started; `service` makes the service of a member.
    pub(super) fn new(setup: Setup, service: Box<dyn Fn(usize) -> S>) -> Self {
        let profile = LinkProfile {
            delay_ns: 30 * MICROSECOND,
            ..LinkProfile::default()
        };
        let count = setup.cluster.members.len();
        let capacity = setup.node.disk_budget_bytes;
        let host = |id| Host::new(disk(id as u64, 60 * MICROSECOND, capacity));
        Self {
            hosts: (0..count).map(host).collect(),
            setup,
            network: SimNetwork::new(1, profile),
            clients: Vec::new(),
            now: 0,
            watch: Watch::new(count),
            verbs: VerbHistory::default(),
            service,
        }
    }

    /// Starts the process of a member on what its disk holds, and on a disk that does what the
    /// scenario has told it to.
    #[track_caller]
    pub(super) fn boot(&mut self, id: usize) -> Result<(), StartError> {
        let host = &mut self.hosts[id];
        let config = NodeConfig {
            member: id as u8,
            seed: 40 + id as u64,
            ..self.setup.node.clone()
        };
        let term_length = self.setup.cluster.term_length;
        let started = boot(Boot {
            memory: host.memory.open(config.sync, term_length),
            cluster: &self.setup.cluster,
            config: &config,
            disk: &host.disk,
            network: &self.network,
            service: (self.service)(id),
            wall_offset: host.wall_offset,
            receive_window: self.setup.receive_window,
            seed: 1 + id as u64 + self.now as u64 * 8,
        });
        match started {
            Ok(mut node) => {
                node.measure_cycles_with(service_time::spent);
                let life = Life::of(&node);
                host.memory.on_start(config.sync);
                host.node = Some(node);
                host.is_unsynced = config.sync == SyncMode::None;
                let stored = (!host.is_unsynced).then_some(stored(host, &self.setup));
                let begun = self.watch.begin(id, &life, stored);
                if let Err(broken) = begun {
                    self.fail(&broken.to_string());
                }
                Ok(())
            }
            Err(error) => {
                self.unplug(id);
                Err(error)
            }
        }
    }

    pub(super) fn unplug(&self, id: usize) {
        let endpoints = self.setup.cluster.members[id];
        self.network.close(endpoints.member);
        self.network.close(endpoints.ingress);
    }

    /// Runs everything for so long.
    ///
    /// # Panics
    /// Where the watch sees a rule broken.
    #[track_caller]
    pub fn run(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }

    /// Runs everything for one step of its pace.
    ///
    /// # Panics
    /// Where the watch sees a rule broken.
    #[track_caller]
    pub fn step(&mut self) {
        for id in 0..self.hosts.len() {
            for _ in 0..self.setup.pace.cycles {
                let work = self.hosts[id].run(self.now);
                if work.is_some() {
                    self.look(id);
                }
                if work.is_none_or(|work| work == 0) {
                    break;
                }
            }
            if self.hosts[id].is_to_start_again() {
                self.start_again(id);
            }
        }
        for client in &mut self.clients {
            client.run(self.now);
        }
        self.now += self.setup.pace.step_ns;
    }

    /// Runs everything until it is so. Returns how long that took.
    ///
    /// # Panics
    /// Where it is not so within `limit`, or the watch sees a rule broken.
    #[track_caller]
    pub fn run_until(&mut self, limit: Nanos, is_so: impl Fn(&Self) -> bool) -> Nanos {
        let begun = self.now;
        while !is_so(self) {
            if self.now - begun >= limit {
                self.fail(&format!(
                    "it should be so within {} ms",
                    limit / MILLISECOND
                ));
            }
            self.step();
        }
        self.now - begun
    }

    /// As a shell does with a node that is to start again.
    #[track_caller]
    fn start_again(&mut self, id: usize) {
        match self.hosts[id].close(self.now) {
            Ok(Closing::Waiting) => {}
            Ok(Closing::Closed) => {
                self.note(format!("member {id} starts again by itself"));
                self.end_process(id);
                self.hosts[id].lose_memory();
                if let Err(error) = self.boot(id) {
                    self.fail(&format!("member {id} should start: {error}"));
                }
            }
            Err(error) => self.fail(&format!("member {id} should end: {error}")),
        }
    }

    #[track_caller]
    fn look(&mut self, id: usize) {
        if let Err(broken) = self.watch.look(id, &self.hosts, &self.setup) {
            self.fail(&broken.to_string());
        }
    }

    /// What was committed so far may be lost, or become other bytes: the scenario has taken it
    /// from a majority, beyond what any rule promises. The watch begins anew, and members that
    /// have more than their leader may stop for that.
    ///
    /// # Panics
    /// Where somebody is up, who would go on with what is lost.
    #[track_caller]
    pub fn lose_history(&mut self) {
        for id in 0..self.hosts.len() {
            self.demand_down(id, "loses what was committed");
        }
        self.note("what was committed may be lost".to_owned());
        self.watch.lose_history();
    }

    /// The scenario did this.
    #[track_caller]
    pub(super) fn note(&mut self, verb: String) {
        self.verbs.tell(self.now, verb);
    }

    /// Ends the scenario: what was expected, what is, and how it came to that.
    #[track_caller]
    pub(super) fn fail(&self, what: &str) -> ! {
        let members = self.hosts.iter().enumerate();
        let members = members.map(|(id, host)| format!("  member {id} {}\n", host.describe()));
        panic!(
            "{what}\n{}after\n{}  at {} ms",
            members.collect::<String>(),
            self.verbs,
            self.now / MILLISECOND
        )
    }
}
