//! The node tank: whole nodes and clients on one thread, in virtual time, from one seed.
//!
//! Every agent is the one that runs in production, over a simulated network and simulated
//! disks. A run has a phase with faults (loss, duplicates, reordering, partitions, crashes of
//! processes and hosts, disk stalls, damaged datagrams between members, clients that pause or
//! leave) and then heals and demands that every request is answered.
//! The oracles (`rules.md`) look after every step; a violation names the seed.

mod accident;
mod bounds;
mod client;
mod client_inbox;
mod client_twin;
pub mod coverage;
mod crash;
pub(super) mod damage_map;
mod deposed;
mod disk;
mod far_ends;
mod host;
mod impossible;
mod inject;
mod member;
mod moment;
mod operators;
mod options;
mod oracle;
mod plan;
pub(super) mod quorum;
mod replay;
mod rot;
mod service;
mod settle;
mod setup;
mod snapshot_rot;
mod stored_state;
mod strangers;
mod tank_node;
mod threads;
mod troubles;
mod work_schedule;

use core::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::ClientConfig;
use lockstep_client::identity::ClientIdentity;
use lockstep_transport::marks;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{LinkProfile, SimNetwork};
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use self::client_twin::ClientRestarts;
use self::replay::ReplayOracle;
use super::{Broken, PlantedFault};
use crate::settings::config::{ClusterConfig, MemberEndpoints, ResponsesMode};
use crate::sim::tank::bounds::Traffic;
use crate::sim::tank::client::{Pace, TankClient, TankClientPlan};
use crate::sim::tank::damage_map::DamageMap;
use crate::sim::tank::member::TankMember;
pub use crate::sim::tank::options::{
    FaultMark, MemberNotices, Subject, TankOptions, TankReport, TankViolation,
};
use crate::sim::tank::oracle::LogOracle;
use crate::sim::tank::plan::FaultPlan;
pub use crate::sim::tank::plan::{Decision, FAULT_CLASS_COUNT, FaultClass, FaultCounts, Target};
use crate::sim::tank::setup::Draws;
pub use crate::sim::tank::setup::{Load, TankSetup};
pub use crate::sim::tank::threads::{MemberBits, Threads};
use crate::sim::tank::work_schedule::WorkSchedule;

/// What a client keeps of its requests at most: less than some want under way.
const IN_FLIGHT_MAX: usize = 48;
const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024;

/// A run under way.
pub(super) struct Tank {
    seed: u64,
    pub(super) now: Nanos,
    pub(super) random: Prng,
    pub(super) network: SimNetwork,
    pub(super) members: Vec<TankMember>,
    pub(super) clients: Vec<TankClient>,
    pub(super) oracle: LogOracle,
    /// Not where a service diverges: what a replay says may be said by nobody then.
    replay: Option<ReplayOracle>,
    pub(super) damage_map: DamageMap,
    pub(super) plan: FaultPlan,
    schedule: WorkSchedule,
    pub(super) traffic: Traffic,
    /// Links that are cut, and until when.
    pub(super) cuts: Vec<(Nanos, SocketAddr, SocketAddr)>,
    /// Members that go down for their log to rot, once it is above their mark, and until when they
    /// run on at most.
    pub(super) awaiting_unmarked: Vec<(Nanos, usize, u32)>,
    /// Members whose newest snapshot rots once it is fetched, and by when it does at the latest.
    awaiting_fetch: Vec<(Nanos, usize, u32)>,
    restarts: ClientRestarts,
    planted: Option<PlantedFault>,
    /// At the end it is watched for long.
    pub(super) is_watched_long: bool,
    pub(super) report: TankReport,
    /// What was done to whom.
    pub(super) faults: Vec<FaultMark>,
}

/// Runs one seed.
///
/// # Errors
/// The first violation; a failed assertion is one.
pub fn run(seed: u64, options: &TankOptions) -> Result<TankReport, TankViolation> {
    run_and_hear(seed, options).map(|(report, _)| report)
}

/// Runs one seed. Also returns what each member said about itself.
///
/// # Errors
/// The first violation; a failed assertion is one.
pub fn run_and_hear(
    seed: u64,
    options: &TankOptions,
) -> Result<(TankReport, Vec<MemberNotices>), TankViolation> {
    run_through(&TankSetup::draw(seed, options))
}

/// Runs what a scenario file says.
///
/// # Errors
/// The first violation; a failed assertion is one.
pub fn run_setup(setup: &TankSetup) -> Result<TankReport, TankViolation> {
    run_through(setup).map(|(report, _)| report)
}

fn run_through(setup: &TankSetup) -> Result<(TankReport, Vec<MemberNotices>), TankViolation> {
    // Of a run on this thread that ended in a violation, or of none.
    let _left_over = marks::take();
    let made = catch_unwind(|| Tank::new(setup)).map_err(|panic| Broken::of_panic(panic.as_ref()));
    let mut tank = made.map_err(|broken| TankViolation {
        seed: setup.seed,
        time: 0,
        broken,
        faults: Vec::new(),
    })?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        tank.run(setup.fault_phase_ns)?;
        let members = tank.members.iter();
        let notices = members.map(|member| member.notices().to_vec()).collect();
        Ok((tank.finish(), notices))
    }));
    let outcome = outcome.unwrap_or_else(|panic| Err(Broken::of_panic(panic.as_ref())));
    outcome.map_err(|broken| tank.violation(broken))
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port))
}

/// Every constant is small, so that terms and segments roll over every few hundred messages.
fn cluster(setup: &TankSetup) -> ClusterConfig {
    let members = (0..setup.members as u8)
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
        responses: setup.responses,
        session_timeout_ns: if setup.load.may_expire {
            200 * MILLISECOND
        } else {
            100 * SECOND
        },
    }
}

/// The members of a run, due to start.
fn set_up_members(setup: &TankSetup, config: &ClusterConfig) -> Vec<TankMember> {
    let mut random = Draws::Members.of(setup.seed);
    let mut member = |id| {
        let seed = random.next_u64();
        let mut member = TankMember::new(id as u8, config.clone(), seed, setup.planted);
        if setup.is_seen_late {
            member.disk().show_writes_late();
        }
        if setup.unsynced >> id & 1 == 1 {
            member.run_without_syncs();
        }
        member.run_apart(setup.threads.of(id));
        member.take_snapshots(setup.snapshot_interval);
        if setup.is_slow {
            member.slow_down(MILLISECOND);
        }
        if let Some((_, request)) = setup.diverging.filter(|(odd, _)| *odd == id) {
            member.diverge_at(request);
        }
        member.start_at(if id == 0 { setup.first_start_ns } else { 0 });
        member
    };
    (0..setup.members).map(&mut member).collect()
}

impl Tank {
    fn new(setup: &TankSetup) -> Self {
        let (seed, load) = (setup.seed, setup.load);
        let config = cluster(setup);
        let network = set_up_network(setup, &config);
        let members = set_up_members(setup, &config);
        let mut random = Draws::Clients.of(seed);
        let clients = (0..load.clients)
            .map(|index| open_client(&network, &config, (index, load), random.fork()))
            .collect();
        let restarts = Draws::Restarts.of(seed);
        Self {
            seed,
            now: 0,
            restarts: ClientRestarts::new(restarts, load.restarts, load.clients),
            planted: setup.planted,
            is_watched_long: setup.is_watched_long,
            random: Draws::Run.of(seed),
            schedule: WorkSchedule::new(setup.members, load.clients as usize),
            traffic: Traffic::on(&network),
            network,
            oracle: LogOracle::new(setup.members),
            replay: setup.diverging.is_none().then(|| {
                let is_logged = setup.responses != ResponsesMode::Direct;
                ReplayOracle::new(setup.members, config.sessions_max, is_logged)
            }),
            damage_map: known_damage(setup),
            plan: FaultPlan::new(&setup.faults),
            cuts: Vec::new(),
            awaiting_unmarked: Vec::new(),
            awaiting_fetch: Vec::new(),
            members,
            clients,
            report: TankReport::default(),
            faults: Vec::new(),
        }
    }

    fn run(&mut self, fault_phase_ns: Nanos) -> Result<(), Broken> {
        self.bring_up()?;
        while self.now < fault_phase_ns {
            self.moment(true)?;
        }
        self.heal();
        self.settle()
    }

    fn violation(&self, broken: Broken) -> TankViolation {
        TankViolation {
            seed: self.seed,
            time: self.now,
            broken,
            faults: self.faults.clone(),
        }
    }

    /// When the next client is replaced, or the network begins to hold back what it sends.
    pub(super) fn next_client_restart(&self) -> Option<Nanos> {
        let (hold, restart) = self.restarts.upcoming()?;
        Some(if self.now < hold { hold } else { restart.at })
    }

    /// Replays what is new in the log, and compares it with members and clients.
    pub(super) fn replay(&mut self) -> Result<(), Broken> {
        let Some(replay) = self.replay.as_mut() else {
            return Ok(());
        };
        replay.advance(self.oracle.log())?;
        for (id, member) in self.members.iter().enumerate() {
            replay.look(id, member)?;
        }
        for client in &mut self.clients {
            let index = client.index();
            for news in client.take_news() {
                replay.hear(index, &news)?;
            }
        }
        for (id, member) in self.members.iter().enumerate() {
            replay.look_at_log_start(id, member)?;
        }
        Ok(())
    }

    /// Holds back what the next client to be replaced sends, and replaces it.
    pub(super) fn restart_clients(&mut self) {
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
        let is_unfenced = self.planted == Some(PlantedFault::ResumeWithoutEpoch);
        let is_done = client.restart(&self.network, &restart, is_unfenced);
        self.schedule.call_everybody();
        self.report.client_restarts += u64::from(is_done);
        let clients = self.clients.len() as u64;
        self.restarts.on_tried(self.now, clients, is_done);
    }

    fn heal(&mut self) {
        self.schedule.call_everybody();
        self.network.heal();
        self.cuts.clear();
        self.network.set_profile(LinkProfile::default());
        for (from, to) in member_links(self.members[0].cluster()) {
            self.network.set_link(from, to, None);
        }
        for client in &mut self.clients {
            client.heal(self.now);
        }
        for member in &mut self.members {
            member.heal(self.now);
        }
        self.restart_unsettled();
    }

    /// What the run did, once it has ended well.
    fn finish(&mut self) -> TankReport {
        self.report.event_hash = self.network.event_hash() ^ self.oracle.hash();
        self.report.committed = self.oracle.committed() as u64;
        self.report.responses = self.clients.iter().map(TankClient::received).sum();
        self.report.lost = self.clients.iter().map(TankClient::lost).sum();
        self.report.expired = self.clients.iter().map(TankClient::expiries).sum();
        self.report.diverged = self.members.iter().filter(|m| m.has_diverged()).count() as u64;
        let sound = self.members.iter().find(|member| !member.has_diverged());
        self.report.sessions = sound.map_or(0, TankMember::sessions) as u64;
        self.report.log_terms = sound.map_or(0, TankMember::log_terms) as u64;
        self.report.corrupted = self.network.counters().corrupted;
        self.report.starts = self.members.iter().map(TankMember::starts).sum();
        self.report.demoted = self.damage_map.demoted() as u64;
        self.report.terms = self
            .members
            .iter()
            .map(|member| member.term().get())
            .max()
            .unwrap_or(0);
        self.report.virtual_ns = self.now;
        let coverage = &mut self.report.coverage;
        coverage.add_marks(&marks::take());
        let members = self.members.iter().map(TankMember::coverage);
        for part in members.chain(self.clients.iter().map(TankClient::coverage)) {
            coverage.add(&part);
        }
        core::mem::take(&mut self.report)
    }
}

#[cfg(test)]
impl Tank {
    /// A run of `seed` without faults, at its end.
    pub(super) fn settled(seed: u64) -> Self {
        let options = TankOptions {
            members: Some(3),
            fault_phase_ns: 0,
            ..TankOptions::default()
        };
        let mut tank = Self::new(&TankSetup::draw(seed, &options));
        tank.run(0).expect("the seed is clean");
        tank
    }
}

/// The directories of a run, all whole.
fn known_damage(setup: &TankSetup) -> DamageMap {
    let mut damage_map = DamageMap::new(setup.members, setup.may_lose_all);
    if let Some((id, _)) = setup.diverging {
        damage_map.expect_stop(id);
    }
    damage_map
}

/// The network of a run: only what passes between members is damaged.
fn set_up_network(setup: &TankSetup, config: &ClusterConfig) -> SimNetwork {
    let whole = LinkProfile {
        corrupt: 0.0,
        ..setup.network
    };
    let network = SimNetwork::new(Draws::Network.of(setup.seed).next_u64(), whole);
    if setup.network.corrupt > 0.0 {
        for (from, to) in member_links(config) {
            network.set_link(from, to, Some(setup.network));
        }
    }
    network
}

/// A client that does as is usual, or less of it and leaves.
fn open_client(
    network: &SimNetwork,
    cluster: &ClusterConfig,
    (index, load): (u64, Load),
    mut random: Prng,
) -> TankClient {
    let mut plan = TankClientPlan {
        index,
        goal: load.requests,
        is_direct: cluster.responses == ResponsesMode::Direct,
        leaves: false,
        may_expire: load.may_expire,
        silence: (Nanos::MAX, 0),
        pace: Pace {
            pause_ns: load.pause_ns,
            wave_ns: load.wave_ns,
        },
        window: load.window,
        padded: load.padded,
    };
    if plan.may_expire {
        let at = random.range(100..3_000) as Nanos * MILLISECOND;
        let length = random.range(500..2_000) as Nanos * MILLISECOND;
        plan.silence = (at, at + length);
    }
    if random.chance(0.2) {
        plan.goal = random.range(1..load.requests as u64 + 1) as i64;
        plan.leaves = true;
    }
    let port = network.port(address(100 + plan.index as u8, 1));
    let members: Vec<SocketAddr> = cluster.members.iter().map(|m| m.ingress).collect();
    let config = ClientConfig {
        first_member: random.range(0..members.len() as u64) as usize,
        members,
        cluster_id: cluster_id(&cluster.name),
        connect_timeout_ns: 60 * MILLISECOND,
        resend_timeout_ns: 250 * MILLISECOND,
        leader_timeout_ns: 350 * MILLISECOND,
        in_flight_max: IN_FLIGHT_MAX,
        in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
        ..ClientConfig::default()
    };
    let identity = ClientIdentity::of_seed(random.next_u64());
    let client = ClusterClient::new(config, port, identity)
        .expect("the tank's client configuration is valid");
    TankClient::new(client, identity, plan, random)
}

/// Every link from one member to another.
fn member_links(cluster: &ClusterConfig) -> Vec<(SocketAddr, SocketAddr)> {
    let addresses = || cluster.members.iter().map(|endpoints| endpoints.member);
    let pairs = addresses().flat_map(|from| addresses().map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to).collect()
}
