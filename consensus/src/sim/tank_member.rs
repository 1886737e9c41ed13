//! A member in the node tank: its host's disk, and the node that runs on it while it is up.

use core::net::SocketAddr;
use std::path::PathBuf;

use lockstep_archive::disk::SegmentName;
use lockstep_archive::disk::{
    Busy, Completion, Disk, DiskError, DiskOp, Durability, FileId, FilePlace,
};
use lockstep_archive::segment::LOG_RECORDING_ID;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_transport::notices::Notice;
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{SimNetwork, SimPort};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};
use lockstep_transport::trace::Tracer;

use super::PlantedFault;
use super::service_time;
use super::tank_service::TankService;
use crate::action::HaltReason;
use crate::agent::cluster_node::ClusterNode;
use crate::agent::fault::NodeFault;
use crate::agent::start::{StartParts, start};
use crate::config::{ClusterConfig, NodeConfig, SyncMode};
use crate::counters::Counters;
use crate::notice::NodeNotice;

/// Notices kept of one member.
const NOTICES_MAX: usize = 1_000;

/// The node as the tank runs it.
pub type TankNode = ClusterNode<TankDisk, SimPort, TankService>;

/// A simulated disk that can be made to lie about syncs (planted fault).
#[derive(Debug)]
pub struct TankDisk {
    disk: SimDisk,
    is_lying: bool,
}

impl Disk for TankDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        self.disk.open(name)
    }

    fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        self.disk.create(name, length)
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        self.disk.length(file)
    }

    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError> {
        self.disk.place(file)
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        self.disk.read(file, offset, target)
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.write(file, offset, bytes)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        self.disk.free_bytes()
    }

    fn boot_id(&mut self) -> Option<u128> {
        self.disk.boot_id()
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        let operation = match operation {
            DiskOp::Write {
                token,
                file,
                offset,
                block,
                durability: Durability::Synced,
            } if self.is_lying => DiskOp::Write {
                token,
                file,
                offset,
                block,
                durability: Durability::Cached,
            },
            other => other,
        };
        self.disk.submit(now, operation)
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        self.disk.poll_completion(now)
    }

    fn flush(&mut self, now: Nanos) {
        self.disk.flush(now);
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.disk.next_deadline()
    }
}

/// What a node has applied: position, and hashes of service state, output and sessions.
pub type AppliedState = (i64, u64, u64, u64);

/// A member and its host.
#[derive(Debug)]
pub struct TankMember {
    cluster: ClusterConfig,
    config: NodeConfig,
    disk: SimDisk,
    node: Option<TankNode>,
    start_at: Option<Nanos>,
    paused_until: Nanos,
    planted: Option<PlantedFault>,
    wall_offset: i64,
    diverges_at: i64,
    service_ns: Nanos,
    randomness: Prng,
    notices: Vec<Notice<NodeNotice>>,
}

impl TankMember {
    /// A member whose node has never been started.
    #[must_use]
    pub fn new(id: u8, cluster: ClusterConfig, seed: u64, planted: Option<PlantedFault>) -> Self {
        let config = NodeConfig {
            member: id,
            directory: PathBuf::new(),
            heartbeat_interval_ns: 20 * MILLISECOND,
            election_timeout_ns: 150 * MILLISECOND,
            disk_budget_bytes: 64 << 20,
            seed,
            insecure: true,
            ..NodeConfig::default()
        };
        let disk = SimDisk::new(SimDiskConfig {
            seed,
            latency_min_ns: 20 * MICROSECOND,
            latency_max_ns: 400 * MICROSECOND,
            capacity_bytes: 64 << 20,
        });
        // Mostly milliseconds apart; one clock in eight is hours off, either way.
        let error = match seed % 16 {
            0 => 3 * 3_600 * SECOND,
            1 => -3 * 3_600 * SECOND,
            _ => (seed % 1000) as i64 * MILLISECOND,
        };
        let wall_offset = 1_700_000_000 * SECOND + error;
        Self {
            cluster,
            config,
            disk,
            node: None,
            start_at: None,
            paused_until: 0,
            planted,
            wall_offset,
            diverges_at: 0,
            service_ns: 0,
            randomness: Prng::new(seed),
            notices: Vec::new(),
        }
    }

    /// Its service takes so long over each request.
    pub fn slow_down(&mut self, service_ns: Nanos) {
        self.service_ns = service_ns;
    }

    /// It acknowledges what its page cache has.
    pub fn run_without_syncs(&mut self) {
        self.config.sync = SyncMode::None;
    }

    /// Its service answers this request of the first client otherwise than all others.
    pub fn diverge_at(&mut self, number: i64) {
        self.diverges_at = number;
    }

    /// Whether its service was made to diverge and it has stopped for that.
    #[must_use]
    pub fn has_diverged(&self) -> bool {
        let fault = self.node.as_ref().and_then(ClusterNode::fault);
        let is_told = matches!(fault, Some(NodeFault::Halted(HaltReason::Diverged { .. })));
        self.diverges_at > 0 && is_told
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
        node.map_or(0, |node| node.parts().applier.sessions().sessions().len())
    }

    /// The address clients send to.
    pub fn ingress(&self) -> SocketAddr {
        self.cluster.members[usize::from(self.config.member)].ingress
    }

    /// Starts the node on what its disk holds.
    pub fn start(&mut self, now: Nanos, network: &SimNetwork) {
        self.start_at = None;
        self.disk.restart();
        let parts = StartParts {
            disk: TankDisk {
                disk: self.disk.clone(),
                is_lying: self.planted == Some(PlantedFault::AckBeforeFsync),
            },
            member_port: network.port(self.member()),
            ingress_port: network.port(self.ingress()),
            service: TankService::new(self.diverges_at, self.service_ns),
            tracer: Tracer::disabled(),
            counters: Counters::in_memory().expect("a page of memory"),
            wall_offset: self.wall_offset,
            receive_window: 32 * 1024,
            randomness: self.randomness.fork(),
        };
        let started = start(&self.cluster, &self.config, parts);
        let mut node = started.unwrap_or_else(|error| panic!("at {now} ns: cannot start: {error}"));
        node.measure_cycles_with(service_time::spent);
        self.node = Some(node);
    }

    /// The process dies, or its host loses power; it starts again at `until`.
    pub fn crash(&mut self, network: &SimNetwork, power_loss: bool, seed: u64, until: Nanos) {
        if self.node.take().is_none() {
            return;
        }
        network.close(self.member());
        network.close(self.ingress());
        if power_loss {
            self.disk.crash(seed);
        } else {
            self.disk.kill(seed);
        }
        self.start_at = Some(until);
    }

    /// Whether it is time to start again.
    #[must_use]
    pub fn is_due_to_start(&self, now: Nanos) -> bool {
        self.start_at.is_some_and(|at| at <= now)
    }

    /// The disk completes nothing before `until`.
    pub fn stall_disk(&mut self, until: Nanos) {
        self.disk.stall_until(until);
    }

    /// The process does not run before `until`, as under SIGSTOP.
    pub fn pause(&mut self, until: Nanos) {
        self.paused_until = until;
    }

    /// Ends all faults of this member.
    pub fn heal(&mut self, now: Nanos) {
        self.paused_until = 0;
        self.disk.stall_until(now);
        if let Some(at) = self.start_at {
            self.start_at = Some(at.min(now));
        }
    }

    /// One duty cycle, unless it is down or paused.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        if now < self.paused_until {
            return 0;
        }
        let Some(node) = self.node.as_mut() else {
            return 0;
        };
        if self.planted == Some(PlantedFault::AppendBeforeOwnFirstEntryApplied) {
            node.open_leadership_early(now);
        }
        let before = service_time::spent();
        let work = node.do_work(now);
        self.paused_until = self.paused_until.max(now + service_time::spent() - before);
        while let Some(notice) = node.take_notice() {
            if self.notices.len() < NOTICES_MAX {
                self.notices.push(notice);
            }
        }
        work
    }

    /// What it has said about itself, in all its lives; the first thousand.
    #[must_use]
    pub fn notices(&self) -> &[Notice<NodeNotice>] {
        &self.notices
    }

    /// When it has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        if self.node.is_none() {
            return self.start_at;
        }
        if now < self.paused_until {
            return Some(self.paused_until);
        }
        self.node.as_ref().and_then(|node| node.next_deadline(now))
    }

    /// The node, while it runs.
    #[must_use]
    pub const fn node(&self) -> Option<&TankNode> {
        self.node.as_ref()
    }

    /// Its leadership term.
    #[must_use]
    pub fn term(&self) -> i64 {
        self.node
            .as_ref()
            .map_or(0, |node| node.parts().module.term())
    }

    /// What it has applied.
    #[must_use]
    pub fn applied_state(&self) -> AppliedState {
        self.node.as_ref().map_or((0, 0, 0, 0), |node| {
            let applier = &node.parts().applier;
            let container = applier.container();
            let sessions = applier.sessions().state_hash();
            (
                applier.position(),
                container.state_hash(),
                container.output_hash(),
                sessions,
            )
        })
    }

    /// What its disk holds of the log at `position`, to the end of the segment.
    #[must_use]
    pub fn stored_log(&self, position: i64) -> Option<Vec<u8>> {
        let length = self.cluster.segment_length as i64;
        let base = position / length * length;
        let name = SegmentName {
            recording_id: LOG_RECORDING_ID,
            position: base,
        };
        let bytes = self.disk.contents(&name.file_name())?;
        Some(bytes.get((position - base) as usize..)?.to_vec())
    }

    /// Where it stands, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.node {
            None => format!("member {} is down", self.config.member),
            Some(node) => {
                let parts = node.parts();
                format!(
                    "member {} {:?} term {} leader {:?} commit {} append {} durable {} \
                     applied {} open {} follows {:?} fault {:?}",
                    self.config.member,
                    parts.module.role(),
                    parts.module.term(),
                    parts.module.leader(),
                    parts.module.commit(),
                    parts.store.append(),
                    parts.store.durable(),
                    parts.applier.position(),
                    parts.leadership.is_open(),
                    node.followed_position(),
                    node.fault(),
                )
            }
        }
    }
}
