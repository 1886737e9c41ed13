//! The node tank: whole nodes and clients on one thread, in virtual time, from one seed.
//!
//! Every agent is the one that runs in production, over a simulated network and simulated
//! disks. A run has a phase with faults (loss, duplicates, reordering, partitions, crashes of
//! processes and hosts, disk stalls, damaged datagrams between members, clients that pause or
//! leave) and then heals and demands that every request is answered.
//! The oracles (`rules.md`) look after every step; a violation names the seed.

use core::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::identity::ClientIdentity;
use lockstep_transport::marks;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{LinkProfile, SimNetwork};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

use super::client_twin::ClientRestarts;
use super::replay::ReplayOracle;
use super::tank_atlas::Atlas;
use super::tank_client::{Pace, TankClient, TankClientPlan};
use super::tank_member::TankMember;
use super::tank_moment::Attention;
pub use super::tank_options::{FaultMark, MemberNotices, TankOptions, TankReport, TankViolation};
use super::tank_oracle::LogOracle;
use super::tank_plan::FaultPlan;
pub use super::tank_plan::{FAULT_CLASSES, FaultClass, FaultCounts};
use super::{Broken, PlantedFault};
use crate::agent::identity::cluster_id;
use crate::config::{ClusterConfig, MemberEndpoints, ResponsesMode};

/// In one run out of so many the service takes a millisecond over each request.
const SLOW_SERVICE_SEEDS: u64 = 10;

/// Requests that a client keeps under way, mostly, and at times.
const WINDOW: i64 = 8;
const WIDE_WINDOW: i64 = 64;

/// What a client keeps of them at most: less than some want.
const IN_FLIGHT_MAX: usize = 48;
const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024;

/// In one run out of so many a member starts late for the first time.
const LATE_MEMBER_SEEDS: u64 = 24;

/// In one run out of so many reads see a write only once it has completed.
const LATE_SEEN_SEEDS: u64 = 3;

/// A run under way.
pub(super) struct Tank {
    pub(super) seed: u64,
    pub(super) now: Nanos,
    pub(super) random: Prng,
    pub(super) network: SimNetwork,
    pub(super) members: Vec<TankMember>,
    pub(super) clients: Vec<TankClient>,
    pub(super) oracle: LogOracle,
    /// Not where a service diverges: what a replay says may be said by nobody then.
    replay: Option<ReplayOracle>,
    pub(super) atlas: Atlas,
    pub(super) plan: FaultPlan,
    pub(super) attention: Attention,
    /// Links that are cut, and until when.
    pub(super) cuts: Vec<(Nanos, SocketAddr, SocketAddr)>,
    restarts: ClientRestarts,
    is_unfenced: bool,
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
    // Of a run on this thread that ended in a violation, or of none.
    let _left_over = marks::take();
    let mut tank = Tank::new(seed, options);
    let outcome = catch_unwind(AssertUnwindSafe(|| tank.run(options.fault_phase_ns)));
    let outcome = outcome.unwrap_or_else(|panic| Err(Broken::of_panic(panic.as_ref())));
    outcome.map_err(|broken| tank.violation(broken))?;
    let members = tank.members.iter();
    let notices = members.map(|member| member.notices().to_vec()).collect();
    Ok((tank.finish(), notices))
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port))
}

/// Every constant is small, so that terms and segments roll over every few hundred messages.
fn cluster(options: &TankOptions, members: usize, session_timeout_ns: Nanos) -> ClusterConfig {
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
        session_timeout_ns,
    }
}

/// Services that take their time, one that diverges, and a member without syncs, where that is
/// wanted.
fn make_odd(seed: u64, options: &TankOptions, members: &mut [TankMember], random: &mut Prng) {
    if options.diverging {
        let id = random.range(0..members.len() as u64) as usize;
        members[id].diverge_at(random.range(1..options.requests as u64) as i64 | 1);
    }
    if options.fault_phase_ns > 0 && seed % LATE_SEEN_SEEDS == 1 {
        for member in &*members {
            member.disk().show_writes_late();
        }
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
        let options = &options.drawn(seed);
        let is_faulty = options.fault_phase_ns > 0;
        let member_count = options.members.unwrap_or_else(|| draw_members(&mut random));
        let profile = if is_faulty {
            draw_profile(&mut random)
        } else {
            LinkProfile::default()
        };
        let network = SimNetwork::new(random.next_u64(), profile);
        let may_expire = is_faulty && random.chance(0.35);
        let session_timeout_ns = if may_expire {
            200 * MILLISECOND
        } else {
            100 * SECOND
        };
        let config = cluster(options, member_count, session_timeout_ns);
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
            member.start_at(0);
        }
        if is_faulty && seed % LATE_MEMBER_SEEDS == 9 {
            let at = random.range(2_200..3_200) as Nanos * MILLISECOND;
            members[0].start_at(at);
        }
        let usual = usual_plan(options, may_expire, &mut random);
        let clients = (0..options.clients)
            .map(|index| open_client(&network, &config, index, usual, random.fork()))
            .collect();
        let plan = FaultPlan::draw(random.fork());
        Self {
            seed,
            now: 0,
            restarts: ClientRestarts::new(seed, options.clients),
            is_unfenced: options.planted == Some(PlantedFault::ResumeWithoutEpoch),
            random,
            network,
            attention: Attention::new(member_count, options.clients as usize),
            oracle: LogOracle::new(member_count),
            replay: (!options.diverging).then(|| {
                let is_logged = options.responses != ResponsesMode::Direct;
                ReplayOracle::new(member_count, config.sessions_max, is_logged)
            }),
            atlas: Atlas::new(member_count, plan.may_lose_all()),
            plan,
            cuts: Vec::new(),
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
        let is_done = client.restart(&self.network, &restart, self.is_unfenced);
        self.attention.alarm();
        self.report.client_restarts += u64::from(is_done);
        let clients = self.clients.len() as u64;
        self.restarts.on_tried(self.now, clients, is_done);
    }

    fn heal(&mut self) {
        self.attention.alarm();
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
        self.restart_rotten();
    }

    fn finish(mut self) -> TankReport {
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
        self.report.demoted = self.atlas.demoted() as u64;
        self.report.terms = self.members.iter().map(TankMember::term).max().unwrap_or(0);
        self.report.virtual_ns = self.now;
        let coverage = &mut self.report.coverage;
        coverage.add_marks(&marks::take());
        let members = self.members.iter().map(TankMember::coverage);
        for part in members.chain(self.clients.iter().map(TankClient::coverage)) {
            coverage.add(&part);
        }
        self.report
    }
}

/// What clients do, but for what each of them does otherwise.
fn usual_plan(options: &TankOptions, may_expire: bool, random: &mut Prng) -> TankClientPlan {
    let pace = Pace::draw(options, random);
    let padded = if random.chance(0.5) { 0.1 } else { 0.6 };
    let is_wide = random.chance(0.2);
    TankClientPlan {
        index: 0,
        goal: options.requests,
        is_direct: options.responses == ResponsesMode::Direct,
        leaves: false,
        may_expire,
        silence: (Nanos::MAX, 0),
        pace,
        window: if is_wide { WIDE_WINDOW } else { WINDOW },
        padded,
    }
}

/// A client that does as is usual, or less of it and leaves.
fn open_client(
    network: &SimNetwork,
    cluster: &ClusterConfig,
    index: u64,
    usual: TankClientPlan,
    mut random: Prng,
) -> TankClient {
    let mut plan = TankClientPlan { index, ..usual };
    if plan.may_expire {
        let at = random.range(100..3_000) as Nanos * MILLISECOND;
        let length = random.range(500..2_000) as Nanos * MILLISECOND;
        plan.silence = (at, at + length);
    }
    if random.chance(0.2) {
        plan.goal = random.range(1..usual.goal as u64 + 1) as i64;
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
        if random.chance(0.5) {
            profile.late_ns = random.range(100..2_000) as Nanos * MILLISECOND;
        }
    }
    if random.chance(0.5) {
        profile.reorder = random.unit() * 0.2;
    }
    profile
}
