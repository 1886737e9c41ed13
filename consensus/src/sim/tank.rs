//! The node tank: whole nodes and clients on one thread, in virtual time, from one seed.
//!
//! Every agent is the one that runs in production, over a simulated network and simulated
//! disks. A run has a phase with faults (loss, duplicates, reordering, partitions, crashes of
//! processes and hosts, disk stalls, damaged datagrams between members, clients that pause or
//! leave) and then heals and demands that every request is answered.
//! The oracles (`reliability.md` §3.5) look after every step; a violation names the seed.

use core::net::{Ipv4Addr, SocketAddr};

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::identity::ClientIdentity;
use lockstep_transport::notices::Notice;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{LinkProfile, SimNetwork};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND, earliest};

use super::PlantedFault;
use super::client_twin::ClientRestarts;
use super::tank_client::{TankClient, TankClientPlan};
use super::tank_member::TankMember;
use super::tank_oracle::LogOracle;
use crate::agent::identity::cluster_id;
use crate::config::{ClusterConfig, MemberEndpoints, ResponsesMode};
use crate::notice::NodeNotice;

/// Virtual time a run may take from the end of its faults until every request is answered.
const LIVENESS_BOUND_NS: Nanos = 30 * SECOND;

/// Cycles of all agents at one moment before time must move on; more is a livelock.
const CYCLES_PER_MOMENT: usize = 10_000;

/// In one run out of so many the service takes a millisecond over each request.
const SLOW_SERVICE_SEEDS: u64 = 10;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct TankOptions {
    /// Members of the cluster; `None` leaves it to the seed: 3, sometimes 1 or 5.
    pub members: Option<usize>,
    /// Clients.
    pub clients: u64,
    /// Requests per client.
    pub requests: i64,
    /// Length of the phase with faults, 0 for none.
    pub fault_phase_ns: Nanos,
    /// How responses reach clients.
    pub responses: ResponsesMode,
    /// One member's service answers one request otherwise than the others'.
    pub diverging: bool,
    /// One member runs with `sync = none`: from its first loss of power on it is a learner.
    pub unsynced: bool,
    /// A fault planted on purpose, that the oracles must find.
    pub planted: Option<PlantedFault>,
}

impl Default for TankOptions {
    fn default() -> Self {
        Self {
            members: None,
            clients: 2,
            requests: 120,
            fault_phase_ns: 4 * SECOND,
            responses: ResponsesMode::Replicated,
            diverging: false,
            unsynced: false,
            planted: None,
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TankReport {
    /// Hash of every delivery and of every committed byte: equal for equal runs.
    pub event_hash: u64,
    /// Moments simulated.
    pub moments: u64,
    /// Responses that clients received.
    pub responses: u64,
    /// Responses that clients will never receive, in direct mode.
    pub lost: u64,
    /// Times that another process continued a client's session.
    pub client_restarts: u64,
    /// Sessions open at the end.
    pub sessions: u64,
    /// Datagrams that arrived damaged.
    pub corrupted: u64,
    /// Bytes of log committed.
    pub committed: u64,
    /// Crashes of processes and hosts.
    pub crashes: u64,
    /// Members that stopped because their service diverged.
    pub diverged: u64,
    /// Greatest leadership term reached.
    pub terms: i64,
    /// Virtual time, ns.
    pub virtual_ns: Nanos,
}

/// What a member said about itself, in order.
pub type MemberNotices = Vec<Notice<NodeNotice>>;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed} at {time} ns: {what}")]
pub struct TankViolation {
    /// The seed of the run.
    pub seed: u64,
    /// Virtual time.
    pub time: Nanos,
    /// What went wrong.
    pub what: String,
}

struct Tank {
    seed: u64,
    now: Nanos,
    random: Prng,
    network: SimNetwork,
    members: Vec<TankMember>,
    clients: Vec<TankClient>,
    oracle: LogOracle,
    next_fault: Nanos,
    restarts: ClientRestarts,
    is_unfenced: bool,
    report: TankReport,
}

/// Runs one seed.
///
/// # Errors
/// The first violation.
pub fn run(seed: u64, options: &TankOptions) -> Result<TankReport, TankViolation> {
    run_and_hear(seed, options).map(|(report, _)| report)
}

/// Runs one seed. Also returns what each member said about itself.
///
/// # Errors
/// The first violation.
pub fn run_and_hear(
    seed: u64,
    options: &TankOptions,
) -> Result<(TankReport, Vec<MemberNotices>), TankViolation> {
    let mut tank = Tank::new(seed, options);
    let fault_end = options.fault_phase_ns;
    while tank.now < fault_end {
        tank.moment(true)?;
        if tank.clients.iter().all(TankClient::is_done) {
            break;
        }
    }
    tank.heal();
    let bound = tank.now + LIVENESS_BOUND_NS;
    while !tank.clients.iter().all(TankClient::is_done) {
        tank.moment(false)?;
        if tank.now > bound {
            let clients: Vec<String> = tank.clients.iter().map(TankClient::describe).collect();
            let members: Vec<String> = tank.members.iter().map(TankMember::describe).collect();
            let what = format!("LV1: no answer in time: {clients:?} {members:?}");
            return Err(tank.violation(what));
        }
    }
    let settled = tank.now + 10 * SECOND;
    while tank.now < settled {
        tank.moment(false)?;
    }
    tank.audit()?;
    let members = tank.members.iter();
    let notices = members.map(|member| member.notices().to_vec()).collect();
    Ok((tank.finish(), notices))
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port))
}

/// Every constant is small, so that terms and segments roll over every few hundred messages.
fn cluster(options: &TankOptions, members: usize) -> ClusterConfig {
    let members = (0..members as u8)
        .map(|id| MemberEndpoints {
            ingress: address(id + 1, 1),
            member: address(id + 1, 2),
        })
        .collect();
    ClusterConfig {
        name: "tank".to_owned(),
        members,
        term_length: 64 * 1024,
        segment_length: 128 * 1024,
        log_mtu: 1408,
        message_max: 4096,
        effects_per_cause: 8,
        effect_bytes_per_cause: 16 * 1024,
        outbox_bytes: 128 * 1024,
        sessions_max: 8,
        responses: options.responses,
        session_timeout_ns: 100 * SECOND,
    }
}

/// Services that take their time, one that diverges, and a member without syncs, where that is
/// wanted.
fn make_odd(seed: u64, options: &TankOptions, members: &mut [TankMember], random: &mut Prng) {
    if options.diverging {
        let id = random.range(0..members.len() as u64) as usize;
        members[id].diverge_at(random.range(1..options.requests as u64) as i64 | 1);
    }
    if options.unsynced {
        let id = random.range(0..members.len() as u64) as usize;
        members[id].run_without_syncs();
    }
    if seed % SLOW_SERVICE_SEEDS == 3 {
        for member in members {
            member.slow_down(MILLISECOND);
        }
    }
}

impl Tank {
    fn new(seed: u64, options: &TankOptions) -> Self {
        let mut random = Prng::new(seed);
        let is_faulty = options.fault_phase_ns > 0;
        let member_count = options.members.unwrap_or_else(|| draw_members(&mut random));
        let profile = if is_faulty {
            draw_profile(&mut random)
        } else {
            LinkProfile::default()
        };
        let network = SimNetwork::new(random.next_u64(), profile);
        let config = cluster(options, member_count);
        if is_faulty && random.chance(0.3) {
            let corrupt = random.unit() * CORRUPT_MAX;
            for (from, to) in member_links(&config) {
                network.set_link(from, to, Some(LinkProfile { corrupt, ..profile }));
            }
        }
        let mut members: Vec<TankMember> = (0..member_count)
            .map(|id| {
                let planted = options.planted;
                TankMember::new(id as u8, config.clone(), random.next_u64(), planted)
            })
            .collect();
        make_odd(seed, options, &mut members, &mut random);
        for member in &mut members {
            member.start(0, &network);
        }
        let clients = (0..options.clients)
            .map(|index| {
                let port = network.port(address(100 + index as u8, 1));
                let client_config = ClientConfig {
                    members: config.members.iter().map(|m| m.ingress).collect(),
                    first_member: random.range(0..member_count as u64) as usize,
                    cluster_id: cluster_id(&config.name),
                    ..ClientConfig::default()
                };
                let identity = ClientIdentity::of_seed(random.next_u64());
                let client = ClusterClient::new(client_config, port, identity)
                    .expect("the tank's client configuration is valid");
                let mut plan = TankClientPlan {
                    index,
                    goal: options.requests,
                    is_direct: options.responses == ResponsesMode::Direct,
                    leaves: false,
                };
                if random.chance(0.2) {
                    plan.goal = random.range(1..options.requests as u64 + 1) as i64;
                    plan.leaves = true;
                }
                TankClient::new(client, identity, plan, random.fork())
            })
            .collect();
        Self {
            seed,
            now: 0,
            next_fault: 50 * MILLISECOND,
            restarts: ClientRestarts::new(seed, options.clients),
            is_unfenced: options.planted == Some(PlantedFault::ResumeWithoutEpoch),
            random,
            network,
            oracle: LogOracle::new(member_count),
            members,
            clients,
            report: TankReport::default(),
        }
    }

    fn violation(&self, what: String) -> TankViolation {
        TankViolation {
            seed: self.seed,
            time: self.now,
            what,
        }
    }

    /// Runs everything at this moment, checks, and moves to the next.
    fn moment(&mut self, with_faults: bool) -> Result<(), TankViolation> {
        self.report.moments += 1;
        for cycle in 0.. {
            let mut work = 0;
            let first = self.random.range(0..self.members.len() as u64) as usize;
            for index in 0..self.members.len() {
                let id = (first + index) % self.members.len();
                work += self.members[id].do_work(self.now);
            }
            for client in &mut self.clients {
                work += client.do_work(self.now);
            }
            self.check()?;
            if work == 0 {
                break;
            }
            if cycle > CYCLES_PER_MOMENT {
                return Err(self.violation("livelock: work without end".to_owned()));
            }
        }
        if with_faults && self.now >= self.next_fault {
            self.inject();
        }
        if with_faults {
            self.restart_clients();
        }
        for id in 0..self.members.len() {
            if self.members[id].is_due_to_start(self.now) {
                self.members[id].start(self.now, &self.network);
                self.oracle.on_restart(id);
            }
        }
        let mut next = self.network.next_delivery();
        for member in &self.members {
            next = earliest(next, member.next_deadline(self.now));
        }
        for client in &self.clients {
            next = earliest(next, client.next_deadline(self.now));
        }
        if with_faults {
            next = earliest(next, Some(self.next_fault));
            let upcoming = self.restarts.upcoming();
            next = earliest(
                next,
                upcoming.map(
                    |(hold, restart)| {
                        if self.now < hold { hold } else { restart.at }
                    },
                ),
            );
        }
        let latest = self.now + 10 * MILLISECOND;
        self.now = next.unwrap_or(latest).clamp(self.now + MICROSECOND, latest);
        Ok(())
    }

    fn check(&mut self) -> Result<(), TankViolation> {
        for id in 0..self.members.len() {
            let outcome = self.oracle.look(id, &self.members[id]);
            outcome.map_err(|what| self.violation(what))?;
        }
        for client in &self.clients {
            if let Some(what) = client.violation() {
                return Err(self.violation(what.to_owned()));
            }
            if client.received() > 0 && client.last_position() >= self.oracle.committed() as i64 {
                let what = format!(
                    "oracle 3: a response at {} although {} is committed",
                    client.last_position(),
                    self.oracle.committed()
                );
                return Err(self.violation(what));
            }
        }
        Ok(())
    }

    /// One fault, and the time of the next.
    fn inject(&mut self) {
        self.next_fault = self.now + self.random.exponential(150 * MILLISECOND as u64) as Nanos;
        let id = self.random.range(0..self.members.len() as u64) as usize;
        match self.random.range(0..11) {
            0..3 => {
                let delay = self.random.range(1..800) as Nanos * MILLISECOND;
                let is_power_loss = self.random.chance(0.5);
                let seed = self.random.next_u64();
                let until = self.now + delay;
                self.members[id].crash(&self.network, is_power_loss, seed, until);
                self.oracle.on_crash(id);
                self.report.crashes += 1;
            }
            3 => {
                // All members lose power at once.
                for member in 0..self.members.len() {
                    let seed = self.random.next_u64();
                    let until = self.now + self.random.range(1..300) as Nanos * MILLISECOND;
                    self.members[member].crash(&self.network, true, seed, until);
                    self.oracle.on_crash(member);
                }
                self.report.crashes += 1;
            }
            4..7 => {
                let other = self.random.range(0..self.members.len() as u64) as usize;
                let (from, to) = (self.members[id].member(), self.members[other].member());
                if self.random.chance(0.5) {
                    self.network.partition(from, to);
                } else {
                    self.network.partition_both(from, to);
                }
            }
            7 => {
                let until = self.now + self.random.range(1..600) as Nanos * MILLISECOND;
                self.members[id].stall_disk(until);
            }
            8 => {
                let until = self.now + self.random.range(1..900) as Nanos * MILLISECOND;
                self.members[id].pause(until);
            }
            9 => {
                let until = self.now + self.random.range(1..3_000) as Nanos * MILLISECOND;
                let index = self.random.range(0..self.clients.len() as u64) as usize;
                self.clients[index].pause(until);
            }
            _ => self.network.heal(),
        }
    }

    /// Holds back what the next client to be replaced sends, and replaces it.
    fn restart_clients(&mut self) {
        let Some((hold, restart)) = self.restarts.upcoming() else {
            return;
        };
        if self.now < hold {
            return;
        }
        let client = &mut self.clients[restart.client];
        let members = || self.members.iter().map(TankMember::ingress);
        if self.now < restart.at {
            for member in members() {
                self.network
                    .clog(client.address(), member, restart.held_until);
            }
            return;
        }
        for member in members() {
            self.network.heal_link(client.address(), member);
        }
        let is_done = client.restart(&self.network, &restart, self.is_unfenced);
        self.report.client_restarts += u64::from(is_done);
        let clients = self.clients.len() as u64;
        self.restarts.on_tried(self.now, clients, is_done);
    }

    fn heal(&mut self) {
        self.network.heal();
        self.network.set_profile(LinkProfile::default());
        for (from, to) in member_links(self.members[0].cluster()) {
            self.network.set_link(from, to, None);
        }
        for client in &mut self.clients {
            client.resume();
        }
        for member in &mut self.members {
            member.heal(self.now);
        }
    }

    /// After a second of quiet everybody has applied the same log to the same effect.
    fn audit(&mut self) -> Result<(), TankViolation> {
        let sound = || self.members.iter().filter(|member| !member.has_diverged());
        let states: Vec<_> = sound().map(TankMember::applied_state).collect();
        for (id, state) in states.iter().enumerate() {
            if *state != states[0] {
                let what = format!(
                    "oracle 6: member {id} has {state:?}, member 0 {:?}; {} {}",
                    states[0],
                    self.members[id].describe(),
                    self.members[0].describe()
                );
                return Err(self.violation(what));
            }
        }
        for id in 0..self.members.len() {
            let outcome = self.oracle.audit_disk(&self.members[id]);
            outcome.map_err(|what| self.violation(what))?;
        }
        Ok(())
    }

    fn finish(mut self) -> TankReport {
        self.report.event_hash = self.network.event_hash() ^ self.oracle.hash();
        self.report.committed = self.oracle.committed() as u64;
        self.report.responses = self.clients.iter().map(TankClient::received).sum();
        self.report.lost = self.clients.iter().map(TankClient::lost).sum();
        self.report.diverged = self.members.iter().filter(|m| m.has_diverged()).count() as u64;
        let sound = self.members.iter().find(|member| !member.has_diverged());
        self.report.sessions = sound.map_or(0, TankMember::sessions) as u64;
        self.report.corrupted = self.network.counters().corrupted;
        self.report.terms = self.members.iter().map(TankMember::term).max().unwrap_or(0);
        self.report.virtual_ns = self.now;
        self.report
    }
}

/// Most of the datagrams between members that are damaged by one bit, as a probability: UDP's
/// checksum lets far fewer pass.
const CORRUPT_MAX: f64 = 0.05;

/// Mostly the usual three.
fn draw_members(random: &mut Prng) -> usize {
    match random.range(0..10) {
        0 => 1,
        1 => 5,
        _ => 3,
    }
}

/// Every link from one member to another.
fn member_links(cluster: &ClusterConfig) -> Vec<(SocketAddr, SocketAddr)> {
    let addresses = || cluster.members.iter().map(|endpoints| endpoints.member);
    let pairs = addresses().flat_map(|from| addresses().map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to).collect()
}

/// Swarm: each class of link fault is on in half of the seeds.
fn draw_profile(random: &mut Prng) -> LinkProfile {
    let mut profile = LinkProfile {
        delay_ns: random.range(5..200) as Nanos * MICROSECOND,
        ..LinkProfile::default()
    };
    if random.chance(0.5) {
        profile.jitter_ns = random.range(1..2_000) as Nanos * MICROSECOND;
    }
    if random.chance(0.5) {
        profile.loss = random.unit() * 0.2;
    }
    if random.chance(0.5) {
        profile.duplicate = random.unit() * 0.2;
    }
    if random.chance(0.5) {
        profile.reorder = random.unit() * 0.2;
    }
    profile
}
