//! What `lockstep bench cluster` can be told, and the configurations that follow from it.

use std::path::{Path, PathBuf};

use lockstep_client::config::ClientConfig;
use lockstep_consensus::module::member::MEMBERS_MAX;
use lockstep_consensus::settings::config::{
    ClusterConfig, Faults, IoChoice, NodeConfig, ResponsesMode, SyncMode,
};
use lockstep_consensus::settings::threading::{ThreadSettings, Threading};
use lockstep_service::samples::order_book::codec::REPORT_LENGTH_MAX;
use lockstep_transport::agent::IdleStrategy;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};
use serde_json::{Map, Value, json};

use super::addresses::reserve;
use super::bench_error::BenchError;
use super::disk_plan::DiskPlan;
use super::service_choice::ServiceChoice;
use super::state_plan::StatePlan;
use super::thread_plan::ThreadPlan;
use super::workload::{NUMBER_LENGTH, Workload};
use crate::floor::{
    FloorConfig, FloorLayout, FloorSizes, MEMBERS as FLOOR_MEMBERS, has_core_for_each_agent,
    threads_of,
};
use crate::load::{LoadConfig, LoadLimit, LoadShape};
use crate::memory;

/// Election timeout of a member 0 that stands first, see [`ClusterBench::favour`]. Everybody
/// else, and in all other runs member 0 too, has the default.
const FIRST_ELECTION_TIMEOUT_NS: Nanos = 200 * MILLISECOND;

/// Timed round trips of each attempt at the floor, durable and not: a fifth of a second.
const FLOOR_MESSAGES_DURABLE: u32 = 500;
const FLOOR_MESSAGES: u32 = 8_000;

/// Default number of snapshots that are taken while as much log grows as the disk budget holds.
const SNAPSHOTS_PER_BUDGET: u64 = 8;

/// Checks that a client can have so many requests in flight.
///
/// # Errors
/// What it can have.
pub(super) fn check_window(window: usize) -> Result<(), BenchError> {
    let most = ClientConfig::default().in_flight_max;
    if window == 0 || window > most {
        let problem = format!("{window}: a client has 1 to {most} requests in flight");
        let option = "--window";
        return Err(BenchError::Option { option, problem });
    }
    Ok(())
}

/// Everything `lockstep bench cluster` can be told.
#[derive(Clone, Debug)]
pub struct ClusterBench {
    /// Members.
    pub nodes: usize,
    /// Bytes of a request.
    pub message_length: usize,
    /// Load.
    pub load: LoadConfig,
    /// When the log counts as durable.
    pub sync: SyncMode,
    /// How responses reach the client.
    pub responses: ResponsesMode,
    /// The service.
    pub service: ServiceChoice,
    /// Members as processes of their own.
    pub is_processes: bool,
    /// Under which directory the run's own is made.
    pub directory: PathBuf,
    /// Whether the run's directory stays.
    pub is_kept: bool,
    /// Cores to pin to, in order: client (and member 0), then members, then the threads that each
    /// member has besides; empty: no pinning.
    pub cores: Vec<usize>,
    /// Which threads a node's agents have.
    pub threading: Threading,
    /// How threads idle.
    pub idle: IdleStrategy,
    /// How nodes reach network and disk.
    pub io: IoChoice,
    /// Added to each durable write of members other than 0, ns.
    pub follower_disk_delay_ns: Nanos,
    /// Added to each durable write of member 0, ns.
    pub leader_disk_delay_ns: Nanos,
    /// Added to each message of each member's service, computing, ns.
    pub service_time_ns: Nanos,
    /// The same, sleeping, ns.
    pub service_pause_ns: Nanos,
    /// Faults on the links between members.
    pub faults: Faults,
    /// Seed of everything random.
    pub seed: u64,
    /// Most bytes of segment files per node.
    pub disk_budget_bytes: u64,
    /// Bytes of log after which a snapshot is taken, 0 for never; by default as many as suit the
    /// disk budget.
    pub snapshot_interval_bytes: Option<u64>,
    /// Trace one message in so many; 0 turns tracing off.
    pub trace_every: u64,
    /// Whether the floor is measured beside a closed loop.
    pub has_floor: bool,
}

impl Default for ClusterBench {
    fn default() -> Self {
        Self {
            nodes: 3,
            message_length: 288,
            load: LoadConfig {
                shape: LoadShape::Closed { window: 1 },
                warmup_ns: SECOND,
                limit: LoadLimit::Duration(5 * SECOND),
                messages_cap: u64::MAX,
            },
            sync: SyncMode::Data,
            responses: ResponsesMode::Replicated,
            service: ServiceChoice::Echo,
            is_processes: false,
            directory: PathBuf::from("lockstep-data"),
            is_kept: false,
            cores: Vec::new(),
            threading: Threading::SHARED,
            idle: IdleStrategy::Yield,
            io: IoChoice::Auto,
            follower_disk_delay_ns: 0,
            leader_disk_delay_ns: 0,
            service_time_ns: 0,
            service_pause_ns: 0,
            faults: Faults::default(),
            seed: 1,
            disk_budget_bytes: 2 << 30,
            snapshot_interval_bytes: None,
            trace_every: 1,
            has_floor: true,
        }
    }
}

impl ClusterBench {
    /// This run as the host permits it, and what is other than asked for.
    pub(super) fn fitted(&self) -> (Self, Vec<String>) {
        let others = self.nodes * self.threads_beside();
        let plan = ThreadPlan::new(&self.cores, self.idle, self.drivers() + others);
        let (asked, budget) = (self.service.state_bytes(), self.disk_budget_bytes);
        let state = StatePlan::new(asked, self.nodes.max(1), memory::available(), budget);
        let bench = Self {
            cores: plan.cores,
            idle: plan.idle,
            service: match self.service {
                ServiceChoice::BigState(_) => ServiceChoice::BigState(state.state_bytes),
                other => other,
            },
            disk_budget_bytes: state.disk_budget_bytes,
            ..self.clone()
        };
        (bench, [plan.notes, state.notes].concat())
    }

    /// Bytes of log after which a snapshot is taken: an eighth of the disk budget where nothing
    /// else was asked for, so that the log between two snapshots, twice, leaves most of it to what
    /// grows meanwhile.
    fn snapshot_interval_bytes(&self) -> u64 {
        let default = self.disk_budget_bytes / SNAPSHOTS_PER_BUDGET;
        self.snapshot_interval_bytes.unwrap_or(default)
    }

    /// Threads that drive client and members.
    fn drivers(&self) -> usize {
        threads_of(self.layout(), self.nodes)
    }

    /// Whether each member is driven by a thread that drives nobody else.
    fn has_driver_each(&self) -> bool {
        self.is_processes || has_core_for_each_agent()
    }

    /// Threads that each member has besides.
    fn threads_beside(&self) -> usize {
        self.threading.count() - 1
    }

    /// How the threads of a member run: the one that drives it has its place in `cores`, those
    /// beside it come behind all that drive.
    fn thread_settings(&self, member: usize) -> ThreadSettings {
        let mut settings = ThreadSettings::waiting(self.idle);
        let driver = if self.has_driver_each() {
            member + 1
        } else {
            member.min(1)
        };
        settings.node.core = self.cores.get(driver).copied();
        let beside = self.drivers() + member * self.threads_beside();
        for thread in 1..self.threading.count() {
            let core = self.cores.get(beside + thread - 1).copied();
            for agent in self.threading.agents_of(thread) {
                settings.of_mut(agent).core = core;
            }
        }
        settings
    }

    pub(super) fn check(&self) -> Result<(), BenchError> {
        let refuse = |option, problem| Err(BenchError::Option { option, problem });
        let longest = ClusterConfig::default().message_max;
        if self.message_length == 0 || self.message_length > longest {
            let problem = format!("use 1 to {longest} bytes");
            return refuse("--message-length", problem);
        }
        if self.service.state_bytes() > 0 && self.message_length < NUMBER_LENGTH {
            let problem =
                format!("with a state of some size use {NUMBER_LENGTH} to {longest} bytes");
            return refuse("--message-length", problem);
        }
        if self.nodes == 0 || self.nodes > MEMBERS_MAX {
            let problem = format!("use 1 to {MEMBERS_MAX} members, best 3");
            return refuse("--nodes", problem);
        }
        if let LoadShape::Closed { window } = self.load.shape {
            check_window(window)?;
        }
        self.check_faults()
    }

    /// Checks that every fault asked for hits something.
    fn check_faults(&self) -> Result<(), BenchError> {
        let refuse = |option, problem: &str| {
            let problem = problem.to_owned();
            Err(BenchError::Option { option, problem })
        };
        let has_delay = self.follower_disk_delay_ns > 0 || self.leader_disk_delay_ns > 0;
        if has_delay && self.sync == SyncMode::None {
            let problem = "nobody waits for the disk with --sync none; leave one of them out";
            return refuse("--follower-disk-delay or --leader-disk-delay", problem);
        }
        if self.nodes > 1 {
            return Ok(());
        }
        if self.faults != Faults::default() {
            let problem = "one member has no links; use --nodes 3";
            return refuse("--link-delay, --link-jitter or --link-loss", problem);
        }
        if self.follower_disk_delay_ns > 0 {
            let problem = "one member has no followers; use --nodes 3";
            return refuse("--follower-disk-delay", problem);
        }
        Ok(())
    }

    pub(super) fn cluster_config(&self) -> Result<ClusterConfig, BenchError> {
        let what = "failed to find free loopback ports";
        Ok(ClusterConfig {
            name: format!("bench-{}", std::process::id()),
            members: reserve(self.nodes).map_err(BenchError::io(what))?,
            responses: self.responses,
            ..ClusterConfig::default()
        })
    }

    pub(super) fn node_configs(&self, directory: &Path) -> Vec<NodeConfig> {
        let default = NodeConfig::default();
        let node = |member: usize| NodeConfig {
            member: member as u8,
            directory: directory.join(format!("node-{member}")),
            sync: self.sync,
            io: self.io,
            threading: self.threading,
            threads: self.thread_settings(member),
            election_timeout_ns: if member == 0 && self.favour().is_some() {
                FIRST_ELECTION_TIMEOUT_NS
            } else {
                default.election_timeout_ns
            },
            disk_budget_bytes: self.disk_budget_bytes,
            snapshot_interval_bytes: self.snapshot_interval_bytes(),
            disk_delay_ns: if member == 0 {
                self.leader_disk_delay_ns
            } else {
                self.follower_disk_delay_ns
            },
            service_time_ns: self.service_time_ns,
            service_pause_ns: self.service_pause_ns,
            faults: self.faults,
            seed: self.seed.wrapping_mul(31).wrapping_add(member as u64),
            trace_every: self.trace_every,
            ..NodeConfig::default()
        };
        (0..self.nodes).map(node).collect()
    }

    /// Why member 0 stands first, where it does: only where a run means something else if
    /// another member leads.
    fn favour(&self) -> Option<&'static str> {
        if self.leader_disk_delay_ns > 0 || self.follower_disk_delay_ns > 0 {
            return Some("member 0 stands first so that the disk delays hit whom they name");
        }
        let shares_thread = !self.is_processes && !has_core_for_each_agent();
        shares_thread.then_some(
            "member 0 stands first so that leader and client share a thread as in the floor",
        )
    }

    const fn layout(&self) -> FloorLayout {
        if self.is_processes {
            FloorLayout::Processes
        } else {
            FloorLayout::Threads
        }
    }

    /// Whether the floor is measured beside this run.
    pub(super) fn has_floor(&self) -> bool {
        let is_closed = matches!(self.load.shape, LoadShape::Closed { .. });
        is_closed && self.has_floor && self.nodes == FLOOR_MEMBERS
    }

    /// What a reader must know about the run besides its title.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.favour().map(str::to_owned).into_iter().collect();
        // Beside any other number of them it would measure something else.
        if self.has_floor && self.nodes != FLOOR_MEMBERS {
            notes.push(format!("no floor: it has {FLOOR_MEMBERS} members"));
        }
        notes
    }

    pub(super) fn workload(&self) -> Workload {
        match self.service {
            ServiceChoice::Echo => Workload::echo(self.message_length),
            ServiceChoice::BigState(_) => Workload::pages(self.message_length),
            ServiceChoice::OrderBook => Workload::orders(),
        }
    }

    /// Bytes of the longest request: the matching engine's requests have a length of their own.
    pub(super) fn request_length(&self) -> usize {
        self.workload().length_max()
    }

    /// What the run can record in all, where no snapshots make room for more.
    pub(super) fn disk_plan(&self, cluster: &ClusterConfig) -> Option<DiskPlan> {
        if self.snapshot_interval_bytes() > 0 {
            return None;
        }
        let (longest, answers) = match self.service {
            ServiceChoice::Echo | ServiceChoice::BigState(_) => (self.message_length, 1),
            // Each order is answered with one message: that it was taken, and its one trade.
            ServiceChoice::OrderBook => (2 * REPORT_LENGTH_MAX, 1),
        };
        let budget = self.disk_budget_bytes;
        Some(DiskPlan::new(cluster, longest, answers, budget))
    }

    pub(super) fn floor_config(&self, directory: &Path) -> FloorConfig {
        let is_durable = self.sync == SyncMode::Data;
        let messages = if is_durable {
            FLOOR_MESSAGES_DURABLE
        } else {
            FLOOR_MESSAGES
        };
        FloorConfig {
            messages,
            warmup: messages / 10,
            sizes: FloorSizes::of_message(self.request_length()),
            is_durable,
            crossings: self.responses.crossings(),
            layout: self.layout(),
            directory: directory.to_owned(),
            cores: self.cores.clone(),
            // The floor never waits longer than for what it measures.
            idle: match self.idle {
                IdleStrategy::Adaptive => IdleStrategy::Yield,
                idle => idle,
            },
        }
    }

    pub(super) fn title(&self) -> String {
        let load = match self.load.shape {
            LoadShape::Closed { window } => format!("closed loop, {window} in flight"),
            LoadShape::Open { rate } => format!("open loop, {rate:.0}/s"),
        };
        let place = if self.is_processes {
            "processes"
        } else {
            "threads of one process"
        };
        let (sync, responses) = (self.sync.name(), self.responses.name());
        let verify = self.verify_name();
        let mut service = self.service.name().to_owned();
        let state = self.service.state_bytes();
        if state > 0 {
            service.push_str(&format!(" of {} MiB", state as f64 / 1_048_576.0));
        }
        for (what, ns) in [
            ("computing", self.service_time_ns),
            ("pausing", self.service_pause_ns),
        ] {
            if ns > 0 {
                let us = ns as f64 / MICROSECOND as f64;
                service.push_str(&format!(" {what} {us} us per message"));
            }
        }
        let mut title = format!(
            "cluster of {} ({place}), {load}, {} bytes, service {service}, sync {sync}, responses \
             {responses}, verify {verify}",
            self.nodes,
            self.request_length(),
        );
        if self.threading != Threading::SHARED {
            title.push_str(&format!(", threading {}", self.threading));
        }
        if self.sync == SyncMode::None {
            title.push_str(" (RELAXED: the log is not fsynced)");
        }
        if self.responses == ResponsesMode::Direct {
            title.push_str(" (RELAXED: responses at most once)");
        }
        if self.faults != Faults::default()
            || self.follower_disk_delay_ns > 0
            || self.leader_disk_delay_ns > 0
        {
            title.push_str(", with injected faults");
        }
        title
    }

    pub(super) fn to_json(&self) -> Map<String, Value> {
        let (window, rate) = match self.load.shape {
            LoadShape::Closed { window } => (Some(window), None),
            LoadShape::Open { rate } => (None, Some(rate)),
        };
        let (messages, duration_ns) = match self.load.limit {
            LoadLimit::Messages(messages) => (Some(messages), None),
            LoadLimit::Duration(duration) => (None, Some(duration)),
        };
        let object = json!({
            "nodes": self.nodes, "message_length": self.request_length(),
            "window": window, "rate": rate, "messages": messages,
            "duration_ns": duration_ns, "warmup_ns": self.load.warmup_ns,
            "sync": self.sync.name(), "responses": self.responses.name(),
            "verify": self.verify_name(),
            "service": self.service.name(), "processes": self.is_processes,
            "threading": self.threading.to_string(), "cores": self.cores, "idle": self.idle.name(),
            "io": self.io.name(),
            "follower_disk_delay_ns": self.follower_disk_delay_ns,
            "leader_disk_delay_ns": self.leader_disk_delay_ns,
            "service_time_ns": self.service_time_ns,
            "service_pause_ns": self.service_pause_ns,
            "link_delay_ns": self.faults.delay_ns, "link_jitter_ns": self.faults.jitter_ns,
            "link_loss": self.faults.loss, "seed": self.seed,
            "disk_budget_bytes": self.disk_budget_bytes,
            "snapshot_interval_bytes": self.snapshot_interval_bytes(),
            "state_bytes": self.service.state_bytes(),
            "trace_every": self.trace_every,
        });
        match object {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// When the members' outputs are compared: `module::output_agreement` says why.
    const fn verify_name(&self) -> &'static str {
        match self.responses {
            ResponsesMode::Replicated => "before-delivery",
            ResponsesMode::Direct => "after-delivery",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut ClusterBench)) -> String {
        let mut bench = ClusterBench::default();
        assert!(bench.check().is_ok());
        change(&mut bench);
        let error = bench.check().unwrap_err();
        assert!(error.is_usage());
        error.to_string()
    }

    #[test]
    fn what_a_run_could_not_do_is_refused_before_it_starts() {
        let window = |window| LoadShape::Closed { window };
        let said = refused(|bench| bench.load.shape = window(4_097));
        assert!(said.contains("--window: 4097"), "{said}");
        let said = refused(|bench| {
            bench.sync = SyncMode::None;
            bench.leader_disk_delay_ns = 1;
        });
        assert!(said.contains("nobody waits"), "{said}");
        let said = refused(|bench| {
            bench.nodes = 1;
            bench.faults.loss = 0.1;
        });
        assert!(said.contains("no links"), "{said}");
        let said = refused(|bench| {
            bench.nodes = 1;
            bench.follower_disk_delay_ns = 1;
        });
        assert!(said.contains("no followers"), "{said}");
    }
}
