//! A member in the node tank: its host's disk, and the node that runs on it while it is up.

mod backup;
mod directory;
mod last_life;
mod life_check;
mod looks;
mod planting;
mod running;
mod second_start;
mod snapshots;
mod stored_log;
mod turns;

use core::net::SocketAddr;
use std::path::PathBuf;

use lockstep_archive::log::log_memory::LogMemory;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_transport::notices::Notice;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::SimNetwork;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

use self::backup::Backup;
use self::last_life::{LastLife, MarkPromise};
use self::turns::Turns;
use crate::module::membership::Found;
use crate::node::cluster_node::ClusterNode;
use crate::node::counters::CounterBlocks;
use crate::node::start::{StartParts, start};
use crate::node::start_error::StartError;
use crate::node::tracers::Tracers;
use crate::notice::NodeNotice;
use crate::settings::config::{ClusterConfig, NodeConfig, SyncMode};
use crate::settings::threading::Threading;
use crate::sim::PlantedFault;
use crate::sim::service_time;
use crate::sim::shared_memory::SharedMemory;
use crate::sim::stored_log::MemoryTail;
use crate::sim::tank::accident::{Accident, Misplaced};
use crate::sim::tank::coverage::Coverage;
use crate::sim::tank::crash::Crash;
use crate::sim::tank::disk::TankDisk;
use crate::sim::tank::far_ends::{FarEnds, MemberDisk, MemberPort};
use crate::sim::tank::host::{TankHost, TankPort};
use crate::sim::tank::service::TankService;
use crate::sim::tank::tank_node::{AppliedState, TankNode};
use crate::sim::tank::threads::MemberThreads;
use crate::sim::wall_clock::TRUE_WALL_OFFSET;

/// Notices kept of one member.
const NOTICES_MAX: usize = 1_000;

const HEARTBEAT_INTERVAL_NS: Nanos = 10 * MILLISECOND;

/// Short, so that a run sees many terms; long against the links' delays.
pub const ELECTION_TIMEOUT_NS: Nanos = 80 * MILLISECOND;

const CAPACITY_BYTES: u64 = 64 << 20;

/// How long operations of a sound disk take.
const LATENCY_NS: (Nanos, Nanos) = (20 * MICROSECOND, 400 * MICROSECOND);

/// Those of a slow one.
const SLOW_LATENCY_NS: (Nanos, Nanos) = (MILLISECOND, 12 * MILLISECOND);

/// A member and its host.
#[derive(Debug)]
pub struct TankMember {
    cluster: ClusterConfig,
    config: NodeConfig,
    disk: SimDisk,
    /// Where its process keeps what is to outlive it.
    memory: SharedMemory,
    /// What the process before had in memory alone.
    left: MemoryTail,
    /// Of which start that was, and how far the log in memory reached.
    left_log: Option<(u64, Found)>,
    host: TankHost,
    node: Option<TankNode>,
    far_ends: FarEnds,
    start_at: Option<Nanos>,
    paused_until: Nanos,
    /// The node does nothing before, and what runs apart from it goes on.
    busy_until: Nanos,
    full_until: Nanos,
    stalled_until: Nanos,
    planted: Option<PlantedFault>,
    wall_offset: i64,
    diverges_at: i64,
    service_ns: Nanos,
    /// Which of its agents run apart.
    threads: MemberThreads,
    service_turns: Turns,
    archive_turns: Turns,
    client_turns: Turns,
    randomness: Prng,
    notices: Vec<Notice<NodeNotice>>,
    starts: u64,
    /// How far its log was durable when its process last ended.
    held: i64,
    /// What its last process left behind, unless something has happened to its directory since.
    last_life: Option<LastLife>,
    /// Where its snapshots were taken that have rotted.
    rotten_snapshots: Vec<i64>,
    promise: MarkPromise,
    /// How far its directory has ever said, before a start, that the log is committed.
    known_commit: i64,
    /// Before the next start this happens to the directory.
    accident: Option<(Accident, u32)>,
    /// The next start ends in this changing cold operation.
    crash_in_start: Option<(u64, Crash)>,
    /// No start may be ended by a loss of power before one has come to its end.
    starts_through_power: bool,
    /// It is about to be started on another member's directory.
    misplaced: Option<Misplaced>,
    /// An old state of the directory.
    backup: Option<Backup>,
    is_put_back: bool,
    /// What its processes reached that have ended.
    coverage: Coverage,
}

impl TankMember {
    /// A member whose node has never been started.
    #[must_use]
    pub fn new(id: u8, cluster: ClusterConfig, seed: u64, planted: Option<PlantedFault>) -> Self {
        let config = NodeConfig {
            member: id,
            directory: PathBuf::new(),
            heartbeat_interval_ns: HEARTBEAT_INTERVAL_NS,
            election_timeout_ns: ELECTION_TIMEOUT_NS,
            disk_budget_bytes: CAPACITY_BYTES,
            seed,
            insecure: true,
            ..NodeConfig::default()
        };
        let disk = SimDisk::new(SimDiskConfig {
            seed,
            latency_min_ns: LATENCY_NS.0,
            latency_max_ns: LATENCY_NS.1,
            capacity_bytes: CAPACITY_BYTES,
        });
        // Mostly milliseconds apart; one clock in eight is hours off, either way.
        let error = match seed % 16 {
            0 => 3 * 3_600 * SECOND,
            1 => -3 * 3_600 * SECOND,
            _ => (seed % 1000) as i64 * MILLISECOND,
        };
        Self {
            cluster,
            config,
            disk,
            memory: SharedMemory::default(),
            left: MemoryTail::default(),
            left_log: None,
            host: TankHost::default(),
            node: None,
            far_ends: FarEnds::default(),
            start_at: None,
            paused_until: 0,
            busy_until: 0,
            full_until: 0,
            stalled_until: 0,
            planted,
            wall_offset: TRUE_WALL_OFFSET + error,
            diverges_at: 0,
            service_ns: 0,
            threads: MemberThreads::default(),
            service_turns: Turns::new(seed.rotate_left(17)),
            archive_turns: Turns::new(seed.rotate_left(29)),
            client_turns: Turns::new(seed.rotate_left(41)),
            randomness: Prng::new(seed),
            notices: Vec::new(),
            starts: 0,
            held: 0,
            last_life: None,
            rotten_snapshots: Vec::new(),
            promise: MarkPromise::default(),
            known_commit: 0,
            accident: None,
            crash_in_start: None,
            starts_through_power: false,
            misplaced: None,
            backup: None,
            is_put_back: false,
            coverage: Coverage::default(),
        }
    }

    /// Its service takes so long over each request.
    pub fn slow_down(&mut self, service_ns: Nanos) {
        self.service_ns = service_ns;
    }

    /// These agents have threads of their own, which stall now and then until faults end.
    pub fn run_apart(&mut self, threads: MemberThreads) {
        self.threads = threads;
        if threads.service {
            self.config.threading = Threading::SPLIT;
        }
    }

    /// Whether any of its agents has a thread of its own.
    #[must_use]
    pub const fn has_threads(&self) -> bool {
        self.threads.is_any()
    }

    /// It acknowledges what its page cache has.
    pub fn run_without_syncs(&mut self) {
        self.config.sync = SyncMode::None;
    }

    /// Its service answers this request of the first client otherwise than all others.
    pub fn diverge_at(&mut self, number: i64) {
        self.diverges_at = number;
    }

    /// Whether its service is made to diverge.
    #[must_use]
    pub const fn will_diverge(&self) -> bool {
        self.diverges_at > 0
    }

    /// Whether its service was made to diverge and it has stopped for that.
    #[must_use]
    pub fn has_diverged(&self) -> bool {
        let fault = self.node.as_ref().and_then(ClusterNode::fault);
        let is_told = fault.is_some_and(|fault| fault.diverged_at().is_some());
        self.will_diverge() && is_told
    }

    /// The address other members send to.
    #[must_use]
    pub fn member(&self) -> SocketAddr {
        self.cluster.members[usize::from(self.config.member)].member
    }

    /// The cluster it belongs to.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterConfig {
        &self.cluster
    }

    /// Sessions open according to what it has applied.
    #[must_use]
    pub fn sessions(&self) -> usize {
        let node = self.node.as_ref();
        node.map_or(0, |node| {
            node.agents().consensus.applier.sessions().sessions().len()
        })
    }

    /// The address clients send to.
    pub fn ingress(&self) -> SocketAddr {
        self.cluster.members[usize::from(self.config.member)].ingress
    }

    /// Starts the node on what its disk holds.
    ///
    /// # Errors
    /// Why it does not start. It is down then.
    pub fn start(&mut self, network: &SimNetwork) -> Result<(), StartError> {
        self.start_at = None;
        self.starts += 1;
        self.end_failures();
        self.disk.restart();
        self.host.begin();
        if let Some((operation, crash)) = self.crash_in_start.take() {
            let operation = self.disk.cold_operations() + operation;
            match crash {
                Crash::PowerLoss if !self.starts_through_power => {
                    self.disk.crash_at_cold_operation(operation)
                }
                _ => self.disk.kill_at_cold_operation(operation),
            }
        }
        let randomness = self.randomness.fork();
        let mut memory = std::mem::take(&mut self.memory);
        let place = (&self.disk, self.open_memory(&mut memory));
        let (parts, far_ends) = self.start_parts(place, &self.host, network, randomness);
        self.memory = memory;
        match start(&self.cluster, &self.config, parts) {
            Ok(mut node) => {
                node.measure_cycles_with(service_time::spent);
                self.begin_turns();
                planting::at_start(self.planted, &mut node);
                self.node = Some(node);
                self.starts_through_power = false;
                self.far_ends = far_ends;
                // A crash that was to come later in the start does not come any more.
                self.disk.restart();
                Ok(())
            }
            Err(error) => {
                network.close(self.member());
                network.close(self.ingress());
                Err(error)
            }
        }
    }

    fn open_memory(&self, memory: &mut SharedMemory) -> Option<LogMemory> {
        memory.open(self.config.sync, self.cluster.term_length)
    }

    /// What a node of its is started with, on this disk, memory, host and network, and what of it
    /// runs apart.
    fn start_parts(
        &self,
        (disk, log_memory): (&SimDisk, Option<LogMemory>),
        host: &TankHost,
        network: &SimNetwork,
        randomness: Prng,
    ) -> (StartParts<MemberDisk, MemberPort, TankService>, FarEnds) {
        let disk = TankDisk::new(disk.clone(), host.clone(), self.planted, self.starts);
        let (disk, far_disk) = if self.threads.archive {
            let (near, far) = MemberDisk::cut(disk);
            (near, Some(far))
        } else {
            (MemberDisk::Whole(disk), None)
        };
        let member_port = TankPort::new(network.port(self.member()), host.clone());
        let ingress_port = TankPort::new(network.port(self.ingress()), host.clone());
        let (ingress_port, far_port) = if self.threads.clients {
            let (near, far) = MemberPort::cut(ingress_port, host.clone());
            (near, Some(far))
        } else {
            (MemberPort::Whole(ingress_port), None)
        };
        let parts = StartParts {
            log_memory,
            disk,
            member_port: MemberPort::Whole(member_port),
            ingress_port,
            service: TankService::new(self.diverges_at, self.service_ns),
            tracers: Tracers::disabled(),
            counters: CounterBlocks::in_memory().expect("some pages of memory"),
            wall_offset: self.wall_offset,
            receive_window: 32 * 1024,
            randomness,
        };
        let far_ends = FarEnds {
            disk: far_disk,
            port: far_port,
        };
        (parts, far_ends)
    }

    /// The process ends, or its host does; it starts again at `until`.
    pub fn crash(&mut self, network: &SimNetwork, crash: Crash, seed: u64, until: Nanos) {
        let left_log = self.log_in_memory();
        let Some(node) = self.node.take() else {
            return;
        };
        self.held = node.agents().archive.durable(&node.agents().consensus.log);
        self.left = MemoryTail::of(&node.agents().archive, &node.agents().consensus.log);
        self.left_log = left_log;
        self.coverage.add_node(&node);
        let kind = self.host.death().unwrap_or(crash);
        self.last_life = Some(LastLife::of(&node, kind, &self.promise));
        node.agents().archive.disk().end();
        drop(node);
        self.far_ends.end();
        network.close(self.member());
        network.close(self.ingress());
        match crash {
            Crash::PowerLoss => self.disk.crash(seed),
            Crash::Kill => self.disk.kill(seed),
            Crash::InCycle => {}
        }
        if kind == Crash::PowerLoss {
            self.lose_memory();
        }
        self.start_at = Some(until);
    }

    /// What it had in shared memory has gone.
    pub fn lose_memory(&mut self) {
        self.memory.lose();
        self.left = MemoryTail::default();
        self.left_log = None;
    }

    /// What it has reached in all its lives.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage;
        if let Some(node) = &self.node {
            coverage.add_node(node);
        }
        coverage
    }

    /// It is down, and starts at `at`.
    pub fn start_at(&mut self, at: Nanos) {
        self.start_at = Some(at);
    }

    /// Starts so far, tried ones too.
    #[must_use]
    pub const fn starts(&self) -> u64 {
        self.starts
    }

    /// How far its log is durable, or was when its process ended.
    #[must_use]
    pub fn held(&self) -> i64 {
        let node = self.node.as_ref();
        node.map_or(self.held, |node| {
            let agents = node.agents();
            agents.archive.durable(&agents.consensus.log)
        })
    }

    /// Its disk.
    #[must_use]
    pub const fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// What happens to its directory before its next start.
    pub fn await_accident(&mut self, accident: Accident, draw: u32) {
        self.accident = Some((accident, draw));
    }

    /// What happens to its directory now.
    pub const fn take_accident(&mut self) -> Option<(Accident, u32)> {
        self.accident.take()
    }

    /// Its next start ends in the changing cold operation with this number.
    pub const fn crash_in_start(&mut self, operation: u64, crash: Crash) {
        self.crash_in_start = Some((operation, crash));
    }

    /// No start before the next one that comes to its end may be ended by a loss of power,
    /// whenever that was or is to be.
    pub const fn start_through_power(&mut self) {
        self.starts_through_power = true;
    }

    /// Whether it is time to start again.
    #[must_use]
    pub fn is_due_to_start(&self, now: Nanos) -> bool {
        self.start_at.is_some_and(|at| at <= now)
    }

    /// The disk completes nothing before `until`.
    pub fn stall_disk(&mut self, until: Nanos) {
        self.promise.excuse(until);
        self.stalled_until = self.stalled_until.max(until);
        self.disk.stall_until(self.stalled_until);
    }

    /// The disk is slow from now on, or not.
    pub fn slow_disk(&mut self, is_slow: bool) {
        self.promise.set_slow(is_slow);
        let (shortest, longest) = if is_slow { SLOW_LATENCY_NS } else { LATENCY_NS };
        self.disk.set_latency(shortest, longest);
    }

    /// The next `count` writes fail.
    pub fn fail_writes(&mut self, count: u32) {
        self.disk.fail_writes(count);
    }

    /// The next `count` reads of the running node fail.
    pub fn fail_reads(&mut self, count: u32) {
        self.disk.fail_reads(count);
    }

    /// The next segment cannot be made.
    pub fn fail_preparation(&mut self) {
        self.disk.fail_preparations(1);
    }

    fn end_failures(&mut self) {
        self.disk.fail_writes(0);
        self.disk.fail_reads(0);
        self.disk.spoil_reads(0);
        self.disk.fail_preparations(0);
    }

    /// There is no space before `until`.
    pub fn fill_disk(&mut self, until: Nanos) {
        self.full_until = until;
        self.disk.set_capacity(0);
    }

    /// When space returns.
    #[must_use]
    pub const fn full_until(&self) -> Option<Nanos> {
        if self.full_until > 0 {
            Some(self.full_until)
        } else {
            None
        }
    }

    /// Space returns if it is time.
    pub fn free_disk(&mut self, now: Nanos) {
        if self.full_until > 0 && self.full_until <= now {
            self.full_until = 0;
            self.disk.set_capacity(CAPACITY_BYTES);
        }
    }

    /// Whether its storage has failed, or misread, since its last start.
    #[must_use]
    pub fn has_storage_failed(&self) -> bool {
        self.disk.has_failed()
    }

    /// The wall clock is off by `error` from now on.
    pub fn set_clock(&mut self, error: Nanos) {
        self.wall_offset = TRUE_WALL_OFFSET + error;
        if let Some(node) = self.node.as_mut() {
            node.set_wall_offset(self.wall_offset);
        }
    }

    /// Its monotonic clock runs so much faster from now on, in millionths.
    pub fn set_clock_rate(&mut self, now: Nanos, rate: i64) {
        self.host.set_clock_rate(now, rate);
    }

    /// The process ends in the middle of a duty cycle: once it has handed so many more operations
    /// to its disk.
    pub fn crash_in_cycle(&mut self, operations: u64, crash: Crash, seed: u64) {
        self.host.crash_after(operations, crash, seed);
    }

    /// Whether its process has ended in the middle of a duty cycle.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.node.is_some() && self.host.is_dead()
    }

    /// The next reads of the running node come back with what is not there.
    pub fn spoil_reads(&mut self, count: u32) {
        self.disk.spoil_reads(count);
    }

    /// Ends all faults of this member.
    pub fn heal(&mut self, now: Nanos) {
        self.paused_until = 0;
        self.busy_until = 0;
        self.end_stalls();
        self.host.begin();
        self.set_clock_rate(now, 0);
        self.accident = None;
        self.crash_in_start = None;
        self.stalled_until = now;
        self.disk.stall_until(now);
        self.slow_disk(false);
        self.end_failures();
        self.full_until = self.full_until.min(now);
        self.free_disk(now);
        if let Some(at) = self.start_at {
            self.start_at = Some(at.min(now));
        }
    }

    /// What it has said about itself, in all its lives; the first thousand.
    #[must_use]
    pub fn notices(&self) -> &[Notice<NodeNotice>] {
        &self.notices
    }

    /// The node, while it runs.
    #[must_use]
    pub const fn node(&self) -> Option<&TankNode> {
        self.node.as_ref()
    }

    /// Whether it runs without syncs.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.config.sync == SyncMode::None
    }

    /// Whether it has just found that it cannot answer for what it promised.
    #[must_use]
    pub fn has_forfeited(&self) -> bool {
        let membership = self
            .node
            .as_ref()
            .map(|node| &node.agents().consensus.membership);
        membership.is_some_and(|membership| membership.forfeit().is_some())
    }
}
