//! The cluster in one process: client and member 0 on one thread, the other members on
//! another; with five cores or more, each on its own. Real sockets, real files.
//!
//! Each thread launches its own members, because an io_uring belongs to the thread that made
//! it. Shell: threads and the real clock.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock, yields")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use lockstep_archive::log::log_memory::LOG_MEMORY_FILE;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::node::launch::{self, Node};
use lockstep_consensus::node::notice_printer::NoticePrinter;
use lockstep_consensus::node::shared_file::forget;
use lockstep_consensus::settings::config::{ClusterConfig, NodeConfig};
use lockstep_transport::agent::{Agent, IdleStrategy, Idler, WakeSource};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::{Nanos, earliest};
use lockstep_transport::trace::TraceRecord;

use super::bench_client::BenchClient;
use super::bench_error::BenchError;
use super::cluster_run::{ClusterRun, START_TIMEOUT_NS};
use super::service_choice::ServiceChoice;
use crate::floor::{has_core_for_each_agent, pin};
use crate::load::Load;
use crate::member_summary::MemberSummary;

/// What the embedded run needs to know.
pub(crate) struct EmbeddedRun<'a> {
    /// The cluster.
    pub cluster: &'a ClusterConfig,
    /// Its members.
    pub nodes: &'a [NodeConfig],
    /// What each of them serves.
    pub service: ServiceChoice,
    /// How threads idle.
    pub idle: IdleStrategy,
    /// Cores to pin threads to, in order; empty leaves it to the kernel.
    pub cores: &'a [usize],
}

const STARTING: u8 = 0;
const CONNECTED: u8 = 1;
const MEASURING: u8 = 2;
const DONE: u8 = 3;

/// What the threads tell each other. The phase only ever grows.
struct Stage {
    phase: AtomicU8,
    is_open: AtomicBool,
    failure: Mutex<Option<BenchError>>,
}

impl Stage {
    fn fail(&self, error: BenchError) {
        let mut failure = self
            .failure
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        failure.get_or_insert(error);
        self.phase.store(DONE, Ordering::Release);
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }
}

/// The members of one thread.
struct NodeGroup {
    nodes: Vec<Node>,
    printer: NoticePrinter,
    calls_before: i64,
    phase: u8,
    connect_trace: Vec<TraceRecord>,
}

impl NodeGroup {
    /// Launches these members on the calling thread, the `index`-th that drives some.
    fn launch(run: &EmbeddedRun<'_>, members: &[usize], index: usize) -> Result<Self, BenchError> {
        let launch = |member: &usize| {
            let service = run.service.create();
            launch::launch(run.cluster, &run.nodes[*member], service).map_err(|error| {
                BenchError::Launch {
                    member: *member,
                    problem: error.to_string(),
                }
            })
        };
        let mut nodes: Vec<Node> = members.iter().map(launch).collect::<Result<_, _>>()?;
        let printer =
            NoticePrinter::start().map_err(BenchError::io("a thread to print notices"))?;
        for node in &mut nodes {
            node.print_notices(&printer);
        }
        // After whatever starts threads of its own, which are to run elsewhere.
        pin(run.cores.get(index).copied())?;
        Ok(Self {
            nodes,
            printer,
            calls_before: 0,
            phase: STARTING,
            connect_trace: Vec::new(),
        })
    }

    fn cycle(&mut self, stage: &Stage) -> usize {
        let mut work = 0;
        for node in &mut self.nodes {
            work += node.do_work(monotonic_now());
        }
        if work == 0 || self.phase != stage.phase() {
            self.look_around(stage);
        }
        work
    }

    /// Names what brings its members work.
    fn name_wake_sources(&mut self, idle: &mut Idler) {
        if let Some(sources) = idle.wake_sources() {
            for node in &mut self.nodes {
                node.name_wake_sources(sources);
            }
        }
    }

    /// When one of its members has something to do even if nothing arrives.
    fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let deadlines = self.nodes.iter().map(|node| node.next_deadline(now));
        deadlines.fold(None, earliest)
    }

    /// The rare things, when nothing else is to be done.
    fn look_around(&mut self, stage: &Stage) {
        if self.phase == STARTING {
            let is_open = |node: &Node| node.counter(Counter::IngressOpen) == 1;
            if self.nodes.iter().any(is_open) {
                stage.is_open.store(true, Ordering::Release);
            }
        }
        for node in &self.nodes {
            if let Some(fault) = node.fault() {
                let problem = format!("{} has halted: {fault}", node.role_name());
                return stage.fail(BenchError::Cluster { problem });
            }
        }
        let phase = stage.phase();
        if phase > self.phase {
            self.phase = phase;
            match phase {
                CONNECTED => self.connect_trace = self.records(),
                MEASURING => self.calls_before = self.calls(),
                _ => {}
            }
        }
    }

    fn calls(&self) -> i64 {
        let calls = |node: &Node| node.counter(Counter::SystemCalls);
        self.nodes.iter().map(calls).sum()
    }

    fn records(&self) -> Vec<TraceRecord> {
        self.nodes.iter().flat_map(Node::trace_records).collect()
    }

    fn finish(mut self) -> GroupResult {
        let summary = |node: &Node| MemberSummary::read(|counter| node.counter(counter));
        for node in &mut self.nodes {
            node.say_notices();
        }
        let result = GroupResult {
            members: self.nodes.iter().map(summary).collect(),
            start_lines: self
                .nodes
                .iter()
                .map(|n| n.start_line().to_owned())
                .collect(),
            calls: self.calls() - self.calls_before,
            trace: [self.connect_trace.clone(), self.records()].concat(),
        };
        drop(self.nodes);
        self.printer.finish();
        result
    }
}

/// What is left of a thread's members.
struct GroupResult {
    members: Vec<MemberSummary>,
    start_lines: Vec<String>,
    calls: i64,
    trace: Vec<TraceRecord>,
}

/// Runs the cluster and `client` with `load`, start to end.
///
/// # Errors
/// When a member cannot start, no leader is found, or a member halts.
pub(crate) fn run(
    run: &EmbeddedRun<'_>,
    client: impl FnOnce() -> Result<BenchClient, BenchError> + Send,
    load: Load,
) -> Result<ClusterRun, BenchError> {
    let stage = Stage {
        phase: AtomicU8::new(STARTING),
        is_open: AtomicBool::new(false),
        failure: Mutex::new(None),
    };
    let members: Vec<usize> = (0..run.nodes.len()).collect();
    let groups: Vec<Vec<usize>> = if has_core_for_each_agent() {
        std::iter::once(Vec::new())
            .chain(members.iter().map(|member| vec![*member]))
            .collect()
    } else {
        vec![members[..1].to_vec(), members[1..].to_vec()]
    };
    let outcome = std::thread::scope(|scope| {
        let stage = &stage;
        let others: Vec<_> = groups
            .iter()
            .enumerate()
            .skip(1)
            .map(|(index, group)| scope.spawn(move || drive_nodes(run, index, group, stage)))
            .collect();
        let first = &groups[0];
        let main = scope.spawn(move || drive_client(run, first, client, load, stage));
        let outcome = main.join().unwrap_or(Err(BenchError::panicked()));
        if outcome.is_err() {
            stage.phase.store(DONE, Ordering::Release);
        }
        let mut results = Vec::new();
        for thread in others {
            results.extend(thread.join().unwrap_or(None));
        }
        if let Some(error) = stage.failure.lock().ok().and_then(|mut f| f.take()) {
            return Err(error);
        }
        let (client, own) = outcome?;
        results.insert(0, own);
        Ok(assemble(client, results))
    });
    // They ended as killed ones do, and nobody goes on from what they left.
    for node in run.nodes {
        forget(&node.directory, LOG_MEMORY_FILE);
    }
    outcome
}

fn assemble(client: BenchClient, results: Vec<GroupResult>) -> ClusterRun {
    let mut run = ClusterRun::of_client(client);
    let mut calls = 0;
    for group in results {
        run.members.extend(group.members);
        run.start_lines.extend(group.start_lines);
        run.trace.extend(group.trace);
        calls += group.calls;
    }
    run.calls += calls;
    run
}

fn drive_nodes(
    run: &EmbeddedRun<'_>,
    index: usize,
    members: &[usize],
    stage: &Stage,
) -> Option<GroupResult> {
    let mut group = match NodeGroup::launch(run, members, index) {
        Ok(group) => group,
        Err(error) => {
            stage.fail(error);
            return None;
        }
    };
    let mut idle = Idler::new(run.idle);
    group.name_wake_sources(&mut idle);
    while stage.phase() < DONE {
        let now = monotonic_now();
        let work = group.cycle(stage);
        idle.idle_until(work, now, || group.next_deadline(now));
    }
    Some(group.finish())
}

fn drive_client(
    run: &EmbeddedRun<'_>,
    members: &[usize],
    client: impl FnOnce() -> Result<BenchClient, BenchError>,
    load: Load,
    stage: &Stage,
) -> Result<(BenchClient, GroupResult), BenchError> {
    let mut group = NodeGroup::launch(run, members, 0)?;
    let mut idle = Idler::new(run.idle);
    group.name_wake_sources(&mut idle);
    let started = monotonic_now();
    while !stage.is_open.load(Ordering::Acquire) {
        let now = monotonic_now();
        let work = group.cycle(stage);
        idle.idle_until(work, now, || group.next_deadline(now));
        let waited = now - started;
        if stage.phase() == DONE || waited > START_TIMEOUT_NS {
            return Err(BenchError::NoLeader { waited });
        }
    }
    let mut client = client()?;
    if let Some(sources) = idle.wake_sources() {
        client.client().port().name_wake_sources(sources);
    }
    let (mut phase, mut load) = (STARTING, Some(load));
    loop {
        let now = monotonic_now();
        let work = client.do_work(now) + group.cycle(stage);
        idle.idle_until(work, now, || {
            earliest(client.next_deadline(now), group.next_deadline(now))
        });
        let reached = match phase {
            STARTING if client.is_connected() => {
                if let Some(load) = load.take() {
                    client.start(load);
                }
                CONNECTED
            }
            CONNECTED if client.is_measuring() => MEASURING,
            _ if client.is_done(now) => DONE,
            _ if stage.phase() == DONE => break,
            STARTING if now - started > 2 * START_TIMEOUT_NS => {
                let waited = now - started;
                return Err(BenchError::NotConnected { waited });
            }
            _ => continue,
        };
        phase = phase.max(reached);
        stage.phase.fetch_max(phase, Ordering::AcqRel);
        if phase == DONE {
            break;
        }
    }
    group.look_around(stage);
    Ok((client, group.finish()))
}
