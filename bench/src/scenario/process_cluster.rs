//! The cluster as processes: members are children of this one, which is the client.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock, yields")]

use std::path::Path;

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::node::tracers::{TRACE_FILE, read_trace};
use lockstep_consensus::settings::config::{ClusterConfig, NodeConfig};
use lockstep_consensus::settings::node_file::NodeFile;
use lockstep_transport::agent::{Agent, Idler, WakeSource};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::{MILLISECOND, Nanos, earliest};
use lockstep_transport::trace::TraceRecord;

use super::bench_client::{BenchClient, client};
use super::bench_error::BenchError;
use super::cluster_bench::ClusterBench;
use super::cluster_run::{ClusterRun, START_TIMEOUT_NS};
use super::node_process::NodeProcess;
use super::workload::Workload;
use crate::floor::pin;
use crate::load::Load;
use crate::member_summary::MemberSummary;

/// Interval at which the children are looked at while the client runs.
const WATCH_INTERVAL_NS: Nanos = 100 * MILLISECOND;

/// Members as processes. Killed when dropped.
pub struct ProcessCluster {
    /// The members, by id.
    pub members: Vec<NodeProcess>,
}

impl ProcessCluster {
    /// Starts the members of `cluster` as `bench` says, each in a directory of its own below
    /// `directory`, and waits until one of them leads.
    ///
    /// # Errors
    /// When a member cannot be started or ends, or nobody becomes leader.
    pub(super) fn start(
        bench: &ClusterBench,
        cluster: &ClusterConfig,
        directory: &Path,
    ) -> Result<Self, BenchError> {
        let what = "failed to find the running binary";
        let binary = std::env::current_exe().map_err(BenchError::io(what))?;
        let start = |(member, node): (usize, NodeConfig)| {
            let file = NodeFile {
                cluster: cluster.clone(),
                node,
                service: bench.service,
            };
            let what = format!("failed to start member {member}");
            NodeProcess::start(&binary, &file).map_err(BenchError::io(what))
        };
        let nodes = bench.node_configs(directory).into_iter();
        let mut this = Self {
            members: nodes.enumerate().map(start).collect::<Result<_, _>>()?,
        };
        this.await_leader()?;
        Ok(this)
    }

    /// A client of these members, those of `cluster`, whose session is open.
    ///
    /// # Errors
    /// When it cannot be made, no session opens in time, or a member ends.
    pub(super) fn connected_client(
        &mut self,
        cluster: &ClusterConfig,
        workload: Workload,
    ) -> Result<BenchClient, BenchError> {
        let leader = self.await_leader()?;
        let mut client = client(cluster, workload, leader, 0)?;
        self.connect(&mut client)?;
        Ok(client)
    }

    /// Drives `client` until its session is open.
    fn connect(&mut self, client: &mut BenchClient) -> Result<(), BenchError> {
        let started = monotonic_now();
        while !client.is_connected() {
            let now = monotonic_now();
            if client.do_work(now) == 0 {
                std::thread::yield_now();
                self.check()?;
            }
            let waited = now - started;
            if waited > START_TIMEOUT_NS {
                return Err(BenchError::NotConnected { waited });
            }
        }
        Ok(())
    }

    /// Kills a member as a crash would.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn kill(&mut self, member: usize) -> Result<(), BenchError> {
        let what = format!("failed to kill member {member}");
        self.members[member].kill().map_err(BenchError::io(what))
    }

    /// Kills all members at once, as a crash would that all of them have in common.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn kill_all(&mut self) -> Result<(), BenchError> {
        for (member, process) in self.members.iter_mut().enumerate() {
            let what = format!("failed to kill member {member}");
            process.strike().map_err(BenchError::io(what))?;
        }
        (0..self.members.len()).try_for_each(|member| self.kill(member))
    }

    /// Starts a member that was killed again, in its directory.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn restart(&mut self, member: usize) -> Result<(), BenchError> {
        let what = format!("failed to restart member {member}");
        self.members[member].restart().map_err(BenchError::io(what))
    }

    /// The member that leads and accepts clients now.
    pub fn leader(&mut self) -> Option<usize> {
        self.members.iter_mut().position(NodeProcess::is_open)
    }

    /// Waits until a member leads and accepts clients; returns which.
    ///
    /// # Errors
    /// When a member has ended by itself, or nobody becomes leader.
    pub fn await_leader(&mut self) -> Result<usize, BenchError> {
        let started = monotonic_now();
        loop {
            if let Some(leader) = self.leader() {
                return Ok(leader);
            }
            self.check()?;
            let waited = monotonic_now() - started;
            if waited > START_TIMEOUT_NS {
                return Err(BenchError::NoLeader { waited });
            }
            std::thread::yield_now();
        }
    }

    /// Checks that all members still run.
    ///
    /// # Errors
    /// The last words of one that does not.
    pub fn check(&mut self) -> Result<(), BenchError> {
        for (member, process) in self.members.iter_mut().enumerate() {
            if let Some(problem) = process.ended() {
                return Err(BenchError::Launch { member, problem });
            }
        }
        Ok(())
    }

    /// Processor time of each member so far.
    ///
    /// # Errors
    /// When the host does not tell it.
    pub(super) fn cpu_times(&self) -> Result<Vec<Nanos>, BenchError> {
        let times = self.members.iter().map(NodeProcess::cpu_time);
        times.collect::<Option<_>>().ok_or(BenchError::Cluster {
            problem: "this host does not show what processes use (/proc)".to_owned(),
        })
    }

    fn sum(&mut self, counter: Counter) -> i64 {
        let each = |member: &mut NodeProcess| member.counter(counter);
        self.members.iter_mut().map(each).sum()
    }

    fn trace(&self) -> Vec<TraceRecord> {
        let read = |member: &NodeProcess| {
            read_trace(&member.directory().join(TRACE_FILE)).unwrap_or_default()
        };
        self.members.iter().flat_map(read).collect()
    }
}

/// What the members used while the client measured.
#[derive(Clone, Debug, Default)]
struct Usage {
    calls: i64,
    allocations: i64,
    connect_trace: Vec<TraceRecord>,
}

/// Runs `cluster` below `directory`, and a client with `load`, start to end.
///
/// # Errors
/// When a member cannot start or ends, or nobody becomes leader.
pub(super) fn run(
    bench: &ClusterBench,
    cluster: &ClusterConfig,
    directory: &Path,
    load: Load,
) -> Result<ClusterRun, BenchError> {
    let mut members = ProcessCluster::start(bench, cluster, directory)?;
    let leader = members.await_leader()?;
    let mut client = client(cluster, bench.workload(), leader, bench.trace_every)?;
    // On a thread of its own, so that pinning ends with the run.
    let usage = std::thread::scope(|scope| {
        let drive = scope.spawn(|| {
            pin(bench.cores.first().copied())?;
            drive(bench, &mut members, &mut client, load)
        });
        drive.join().unwrap_or(Err(BenchError::panicked()))
    })?;
    let mut result = ClusterRun::of_client(client);
    result.calls += usage.calls;
    result.other_allocations = usage.allocations;
    result.trace.extend(usage.connect_trace);
    result.trace.extend(members.trace());
    for member in &mut members.members {
        let summary = member
            .counters()
            .map(|counters| MemberSummary::read(|counter| counters.get(counter)));
        result.members.extend(summary);
        result.start_lines.push(member.start_line());
    }
    Ok(result)
}

fn drive(
    bench: &ClusterBench,
    members: &mut ProcessCluster,
    client: &mut BenchClient,
    load: Load,
) -> Result<Usage, BenchError> {
    members.connect(client)?;
    let mut usage = Usage {
        connect_trace: members.trace(),
        ..Usage::default()
    };
    client.start(load);
    let mut idle = Idler::new(bench.idle);
    if let Some(sources) = idle.wake_sources() {
        client.client().port().name_wake_sources(sources);
    }
    let mut next_watch = 0;
    let mut is_measuring = false;
    loop {
        let now = monotonic_now();
        let work = client.do_work(now);
        if client.is_done(now) {
            break;
        }
        if !is_measuring && client.is_measuring() {
            is_measuring = true;
            usage.calls = -members.sum(Counter::SystemCalls);
            usage.allocations = -members.sum(Counter::Allocations);
        }
        if work == 0 && now >= next_watch {
            next_watch = now + WATCH_INTERVAL_NS;
            members.check()?;
        }
        idle.idle_until(work, now, || {
            earliest(client.next_deadline(now), Some(next_watch))
        });
    }
    usage.calls += members.sum(Counter::SystemCalls);
    usage.allocations += members.sum(Counter::Allocations);
    Ok(usage)
}
