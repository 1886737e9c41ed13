//! The core tank: consensus modules alone, over a log of positions, in virtual time.
//!
//! A run has a fault phase, whose classes of faults are each drawn with probability one half
//! (swarm), then everything heals and one leader and progress are demanded within a bound
//! (LV1). Oracles look after every event. The same seed and options give the same run, event
//! for event, which the event hash shows.

mod log;
mod network;
mod node;
mod oracle;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep_transport::position::{FRAME_ALIGNMENT, Position};
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

use super::{Broken, PlantedFault, Rule};
use crate::module::action::HaltReason;
use crate::module::consensus_module::{ConsensusConfig, ConsensusModule, Role};
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::sim::core_tank::network::{CoreNetwork, Happening, LinkBehaviour, Scheduled};
use crate::sim::core_tank::node::{CoreNode, DiskBehaviour};
use crate::sim::core_tank::oracle::CoreOracle;

/// Heartbeat interval of the simulated members: the fast profile.
const HEARTBEAT_NS: Nanos = 5 * MILLISECOND;

/// Their election timeout.
const ELECTION_TIMEOUT_NS: Nanos = 50 * MILLISECOND;

/// Virtual time from the end of the faults until the cluster must be whole again: forty election
/// timeouts, room for several split votes and a chain of catch-ups.
const LIVENESS_BOUND_NS: Nanos = 2 * SECOND;

/// Entries that must commit on every member after the faults.
const PROGRESS_ENTRIES: usize = 8;

/// Uncommitted bytes above which a simulated leader takes no more entries.
const UNCOMMITTED_MAX: Position = 16 * 1024;

/// Some entries of that length, and positions need more than 31 bits, then more than 32.
const LONG_STRETCH: Position = 1 << 22;

/// Events a run may have: a hundred times the usual number. More is a livelock.
const RUN_EVENTS_MAX: u64 = 4_000_000;

/// What to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreTankOptions {
    /// Members of the cluster, drawn from the seed if not given.
    pub members: Option<usize>,
    /// Length of the phase with faults, 0 for none.
    pub fault_phase_ns: Nanos,
    /// A fault planted on purpose, that the oracles must find.
    pub planted: Option<PlantedFault>,
}

impl Default for CoreTankOptions {
    fn default() -> Self {
        Self {
            members: None,
            fault_phase_ns: 3 * SECOND,
            planted: None,
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreTankReport {
    /// Hash over every event and its outcome.
    pub event_hash: u64,
    /// Events processed.
    pub events: u64,
    /// Elections won.
    pub elections: u64,
    /// Entries committed.
    pub commits: u64,
    /// End of the longest log.
    pub end: Position,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("core tank, seed {seed}, {time} ns, event {event}: {broken}")]
pub struct Violation {
    /// The seed of the run.
    pub seed: u64,
    /// Virtual time, ns.
    pub time: Nanos,
    /// Number of the event.
    pub event: u64,
    /// The rule, and how it was broken.
    pub broken: Broken,
}

/// What can be injected in the fault phase, besides lossy links and slow disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultClass {
    /// A host stops and starts again.
    Crash,
    /// All hosts stop at once.
    PowerCut,
    /// Two sides that do not hear each other.
    Partition,
    /// One direction of one link.
    OneWayCut,
    /// A process that does not run for a while.
    Pause,
    /// A disk that becomes twenty times slower, or well again.
    Stall,
    /// All cut links are whole again.
    Reconnect,
    /// A member is asked to hand its leadership over.
    HandOver,
}

/// Classes with their probability of being part of a run.
const FAULT_CLASSES: [(FaultClass, f64); 8] = [
    (FaultClass::Crash, 0.5),
    (FaultClass::PowerCut, 0.2),
    (FaultClass::Partition, 0.5),
    (FaultClass::OneWayCut, 0.5),
    (FaultClass::Pause, 0.5),
    (FaultClass::Stall, 0.5),
    (FaultClass::Reconnect, 1.0),
    (FaultClass::HandOver, 0.5),
];

/// Which faults a run has, and how often.
#[derive(Clone, Debug, Default)]
struct FaultPlan {
    links: LinkBehaviour,
    disk: DiskBehaviour,
    classes: Vec<FaultClass>,
    /// Mean time between injected faults, ns.
    interval_mean_ns: u64,
    /// Mean time between entries offered to a leader, ns.
    offer_mean_ns: u64,
    /// Entries are so many times as long as they need be: positions grow beyond 32 bits.
    stretch: Position,
    /// The one member whose disk may lose what it acknowledged: with a quorum of other good
    /// copies, no loss is allowed all the same.
    damaged_member: Option<MemberId>,
}

impl FaultPlan {
    fn draw(prng: &mut Prng, members: usize) -> Self {
        let mut maybe = |value: f64| {
            if prng.chance(0.5) {
                value * prng.unit()
            } else {
                0.0
            }
        };
        let loss = maybe(0.3);
        let duplicate = maybe(0.3);
        let reorder = maybe(0.5);
        let failure = maybe(0.01);
        let slow_links = maybe(15e6) as u64;
        let slow_disks = maybe(10e6) as u64;
        let is_damaging = maybe(1.0) > 0.5 && members >= 3;
        Self {
            links: LinkBehaviour {
                loss,
                duplicate,
                reorder,
                delay_min_ns: 20_000,
                delay_mean_ns: 50_000 + slow_links,
            },
            disk: DiskBehaviour {
                sync_mean_ns: 150_000 + slow_disks,
                state_mean_ns: 150_000 + slow_disks,
                failure,
            },
            classes: FAULT_CLASSES
                .into_iter()
                .filter_map(|(class, chance)| prng.chance(chance).then_some(class))
                .collect(),
            interval_mean_ns: 5_000_000 << prng.range(0..6),
            offer_mean_ns: 400_000 << prng.range(0..5),
            damaged_member: is_damaging.then(|| prng.range(0..members as u64) as MemberId),
            stretch: if prng.chance(0.25) { LONG_STRETCH } else { 1 },
        }
    }

    const fn quiet_links() -> LinkBehaviour {
        LinkBehaviour {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            delay_min_ns: 20_000,
            delay_mean_ns: 50_000,
        }
    }

    const fn quiet_disk() -> DiskBehaviour {
        DiskBehaviour {
            sync_mean_ns: 150_000,
            state_mean_ns: 150_000,
            failure: 0.0,
        }
    }
}

/// Runs one seed.
///
/// # Errors
/// The first rule that is broken, an assertion of the module included.
pub fn run(seed: u64, options: &CoreTankOptions) -> Result<CoreTankReport, Violation> {
    let mut tank = CoreTank::new(seed, options);
    let outcome = catch_unwind(AssertUnwindSafe(|| tank.run()));
    let broken = match outcome {
        Ok(Ok(())) => return Ok(tank.report()),
        Ok(Err(broken)) => broken,
        Err(panic) => Broken::of_panic(panic.as_ref()),
    };
    Err(Violation {
        seed,
        time: tank.net.now,
        event: tank.events,
        broken,
    })
}

#[derive(Debug)]
struct CoreTank {
    nodes: Vec<CoreNode>,
    net: CoreNetwork,
    oracle: CoreOracle,
    plan: FaultPlan,
    fault_phase_ns: Nanos,
    is_faulty: bool,
    hash: u64,
    events: u64,
}

impl CoreTank {
    fn new(seed: u64, options: &CoreTankOptions) -> Self {
        let mut prng = Prng::new(seed);
        let drawn = [1, 3, 3, 3, 5][prng.range(0..5) as usize];
        let members = options.members.unwrap_or(drawn).clamp(1, MEMBERS_MAX);
        let plan = FaultPlan::draw(&mut prng, members);
        let node = |index: usize| {
            let config = ConsensusConfig {
                member: index as MemberId,
                members,
                heartbeat_interval_ns: HEARTBEAT_NS,
                election_timeout_ns: ELECTION_TIMEOUT_NS,
            };
            CoreNode::new(config, options.planted)
        };
        Self {
            nodes: (0..members).map(node).collect(),
            net: CoreNetwork::new(prng, FaultPlan::quiet_links()),
            oracle: CoreOracle::default(),
            plan,
            fault_phase_ns: options.fault_phase_ns,
            is_faulty: false,
            hash: seed,
            events: 0,
        }
    }

    fn report(&self) -> CoreTankReport {
        CoreTankReport {
            event_hash: self.hash,
            events: self.events,
            elections: self.oracle.elections() as u64,
            commits: self.oracle.commits() as u64,
            end: self
                .nodes
                .iter()
                .map(|node| node.log.end())
                .max()
                .unwrap_or(0),
        }
    }

    fn run(&mut self) -> Result<(), Broken> {
        for node in &mut self.nodes {
            node.disk = FaultPlan::quiet_disk();
            node.start(&mut self.net);
        }
        self.net.schedule(0, 0, 0, Happening::Offer);
        if self.fault_phase_ns > 0 {
            self.begin_faults();
            let end = self.fault_phase_ns;
            while let Some(next) = self.net.next(end) {
                self.step(next)?;
            }
            self.heal();
        }
        let end = self.net.now + LIVENESS_BOUND_NS;
        let goal_count = self.oracle.commits() + PROGRESS_ENTRIES;
        let mut goal = None;
        while let Some(next) = self.net.next(end) {
            self.step(next)?;
            if goal.is_none() && self.oracle.commits() >= goal_count {
                goal = Some(self.oracle.committed_end());
            }
            if goal.is_some_and(|goal| self.is_whole(goal)) {
                return Ok(());
            }
        }
        Err(self.explain_stall())
    }

    /// One leader, followed by everybody, and everybody knows of a commit of at least `goal`.
    fn is_whole(&self, goal: Position) -> bool {
        let modules = || self.nodes.iter().filter_map(|node| node.module.as_ref());
        let is_leader = |module: &&ConsensusModule| module.role() == Role::Leader;
        let mut leaders = modules().filter(is_leader);
        let (Some(leader), None) = (leaders.next(), leaders.next()) else {
            return false;
        };
        let agrees = |module: &ConsensusModule| {
            module.term() == leader.term()
                && module.leader() == leader.leader()
                && module.commit() >= goal
        };
        modules().count() == self.nodes.len() && modules().all(agrees)
    }

    fn explain_stall(&self) -> Broken {
        let mut text = "no leader followed by all, or no progress, after the faults:".to_owned();
        for (index, node) in self.nodes.iter().enumerate() {
            let state = node.module.as_ref().map(|module| {
                let log = (node.log.end(), node.log.durable(), module.commit());
                (module.role(), module.term(), module.leader(), log)
            });
            text.push_str(&format!(" [{index}: {state:?}, halted {:?}]", node.halted));
        }
        Rule::LV1.broken(text)
    }

    fn step(&mut self, next: Scheduled) -> Result<(), Broken> {
        let id = next.member;
        let index = usize::from(id);
        let is_of_node = !matches!(
            next.happening,
            Happening::Offer | Happening::Fault | Happening::Restart
        );
        let paused_until = self.nodes[index].paused_until;
        if is_of_node && paused_until > self.net.now {
            self.net
                .schedule(paused_until, id, next.life, next.happening);
            return Ok(());
        }
        self.events += 1;
        if self.events > RUN_EVENTS_MAX {
            return Err(Rule::NoLivelock.broken("time does not move on".to_owned()));
        }
        match next.happening {
            Happening::Offer => self.offer(),
            Happening::Fault => self.inject(),
            Happening::Restart => self.restart(index),
            Happening::Arrival { from, slot } => {
                let datagram = self.net.take(slot);
                self.nodes[index].on_datagram(from, &datagram, &mut self.net);
            }
            happening => {
                let node = &mut self.nodes[index];
                if next.life == node.life && node.module.is_some() {
                    node.on_happening(happening, &mut self.net);
                }
            }
        }
        self.fold(&next);
        for id in 0..self.nodes.len() {
            if id == index || !is_of_node {
                self.oracle.observe(id as MemberId, &self.nodes)?;
                self.replace_failed(id);
            }
        }
        Ok(())
    }

    /// Folds the event and what it led to into the run's hash.
    fn fold(&mut self, next: &Scheduled) {
        let node = &self.nodes[usize::from(next.member)];
        let state = node.module.as_ref().map_or([0; 3], |module| {
            let role = module.role() as i64;
            [
                module.term().get() << 2 | role,
                module.commit(),
                node.log.end(),
            ]
        });
        for value in [next.time, i64::from(next.member)].into_iter().chain(state) {
            self.hash =
                (self.hash.rotate_left(5) ^ value as u64).wrapping_mul(0x517C_C1B7_2722_0A95);
        }
    }

    fn offer(&mut self) {
        let stretch = self.plan.stretch;
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            let commit = node.module.as_ref().map_or(0, ConsensusModule::commit);
            let is_paused = node.paused_until > self.net.now;
            if !node.is_taking() || is_paused || node.log.end() - commit > UNCOMMITTED_MAX * stretch
            {
                continue;
            }
            for _ in 0..=self.net.prng.range(0..3) {
                let length = (1 + self.net.prng.range(0..10)) as usize * FRAME_ALIGNMENT;
                node.offer(length as Position * stretch, &mut self.net);
            }
        }
        let time = self.net.now + self.net.prng.exponential(self.plan.offer_mean_ns) as Nanos;
        self.net.schedule(time, 0, 0, Happening::Offer);
    }

    fn begin_faults(&mut self) {
        self.is_faulty = true;
        self.net.links = self.plan.links;
        for node in &mut self.nodes {
            node.disk = self.plan.disk;
        }
        self.schedule_fault();
    }

    fn schedule_fault(&mut self) {
        let wait = self.net.prng.exponential(self.plan.interval_mean_ns);
        let time = self.net.now + wait as Nanos;
        self.net.schedule(time, 0, 0, Happening::Fault);
    }

    /// Injects one fault of an enabled class.
    fn inject(&mut self) {
        if !self.is_faulty {
            return;
        }
        self.schedule_fault();
        let members = self.nodes.len() as u64;
        let victim = self.net.prng.range(0..members) as usize;
        let class = self.net.prng.range(0..self.plan.classes.len() as u64) as usize;
        match self.plan.classes[class] {
            FaultClass::Crash => self.crash(victim),
            FaultClass::PowerCut => (0..self.nodes.len()).for_each(|id| self.crash(id)),
            FaultClass::Partition => self.partition(),
            FaultClass::OneWayCut => {
                let to = self.net.prng.range(0..members) as usize;
                self.net.is_cut[victim][to] = true;
            }
            FaultClass::Pause => {
                let length = self.net.prng.exponential(40_000_000) as Nanos;
                self.nodes[victim].paused_until = self.net.now + length;
            }
            FaultClass::Stall => {
                let (usual, disk) = (self.plan.disk, &mut self.nodes[victim].disk);
                if disk.sync_mean_ns == usual.sync_mean_ns {
                    disk.sync_mean_ns *= 20;
                } else {
                    *disk = usual;
                }
            }
            FaultClass::Reconnect => self.net.is_cut = [[false; MEMBERS_MAX]; MEMBERS_MAX],
            FaultClass::HandOver => {
                for node in &mut self.nodes {
                    node.hand_over(&mut self.net);
                }
            }
        }
    }

    /// Cuts the links between two random sides.
    fn partition(&mut self) {
        let side = self.net.prng.next_u64();
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                self.net.is_cut[from][to] = (side >> from & 1) != (side >> to & 1);
            }
        }
    }

    fn crash(&mut self, index: usize) {
        if self.nodes[index].module.is_none() {
            return;
        }
        let node = &mut self.nodes[index];
        node.crash(&mut self.net);
        let is_victim = self.plan.damaged_member == Some(index as MemberId);
        if is_victim && self.is_faulty && self.net.prng.chance(0.5) {
            node.rot(&mut self.net.prng);
        }
        let wait = 100 * MICROSECOND + self.net.prng.exponential(40_000_000) as Nanos;
        let time = self.net.now + wait;
        self.net
            .schedule(time, index as MemberId, 0, Happening::Restart);
    }

    fn restart(&mut self, index: usize) {
        if self.nodes[index].module.is_none() {
            self.nodes[index].start(&mut self.net);
        }
    }

    /// A member whose storage failed stops; its supervisor starts it again.
    fn replace_failed(&mut self, index: usize) {
        if self.nodes[index].halted == Some(HaltReason::StorageFailed) {
            self.crash(index);
        }
    }

    fn heal(&mut self) {
        self.is_faulty = false;
        self.net.links = FaultPlan::quiet_links();
        self.net.is_cut = [[false; MEMBERS_MAX]; MEMBERS_MAX];
        for node in &mut self.nodes {
            node.disk = FaultPlan::quiet_disk();
            node.paused_until = 0;
            if node.module.is_none() {
                node.start(&mut self.net);
            }
        }
    }
}
