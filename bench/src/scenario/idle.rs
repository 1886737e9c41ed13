//! What a cluster costs that has nothing to do, and what the first message after a pause costs:
//! three processes, one message after each pause, once for each way of waiting.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock, sleeps")]

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_consensus::settings::config::{IoChoice, ResponsesMode, SyncMode};
use lockstep_consensus::settings::threading::Threading;
use lockstep_transport::agent::{Agent, IdleStrategy};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};
use serde_json::{Value, json};

use super::bench_client::BenchClient;
use super::bench_error::BenchError;
use super::cluster_bench::ClusterBench;
use super::process_cluster::ProcessCluster;
use super::run_directory::RunDirectory;
use crate::environment::Environment;
use crate::histogram::LatencySummary;
use crate::load::{Load, LoadConfig, LoadLimit, LoadShape};

/// Beside these every way of waiting is measured: the fastest and the simplest.
const BESIDE: [IdleStrategy; 2] = [IdleStrategy::Yield, IdleStrategy::Park];

/// The client sleeps through pauses, but is up so long before it sends: what is measured is the
/// members' waking.
const CLIENT_EARLY_NS: Nanos = 2 * MILLISECOND;

/// The longest that the client sleeps: it answers its members' questions meanwhile.
const CLIENT_NAP_NS: Nanos = 10 * MILLISECOND;

/// Fewest messages of which a 90th or a 99th percentile says more than the greatest does.
const P90_FROM: u64 = 10;
const P99_FROM: u64 = 100;

/// What `lockstep bench idle` can be told.
#[derive(Clone, Debug)]
pub struct IdleConfig {
    /// How the members wait.
    pub idle: IdleStrategy,
    /// Which threads a member's agents have.
    pub threading: Threading,
    /// Messages, one after each pause.
    pub samples: u64,
    /// Length of a pause, ns.
    pub pause_ns: Nanos,
    /// Bytes of a message.
    pub message_length: usize,
    /// When the log counts as durable.
    pub sync: SyncMode,
    /// How responses reach the client.
    pub responses: ResponsesMode,
    /// How members reach network and disk.
    pub io: IoChoice,
    /// Under which directory the run's own is made.
    pub directory: PathBuf,
    /// Whether the run's directory stays.
    pub is_kept: bool,
}

/// What came out for one way of waiting.
#[derive(Clone, Debug)]
struct IdleRun {
    idle: IdleStrategy,
    /// Part of a core that each member used.
    shares: Vec<f64>,
    latency: LatencySummary,
    sent: u64,
    answered: u64,
    faults: Vec<String>,
}

impl IdleRun {
    fn is_good(&self) -> bool {
        self.faults.is_empty() && self.sent == self.answered && self.sent > 0
    }

    fn to_json(&self) -> Value {
        json!({
            "idle": self.idle.name(), "cpu_shares": self.shares,
            "latency_ns": self.latency.to_json(),
            "sent": self.sent, "received": self.answered, "errors": self.faults,
        })
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct IdleReport {
    config: IdleConfig,
    environment: Environment,
    runs: Vec<IdleRun>,
    notes: Vec<String>,
}

impl IdleReport {
    /// Whether every message came back.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.runs.iter().all(IdleRun::is_good)
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let config = &self.config;
        let runs: Vec<Value> = self.runs.iter().map(IdleRun::to_json).collect();
        let mut environment = self.environment.to_json();
        environment["notes"] = json!(self.notes);
        json!({
            "config": {
                "nodes": self.runs.first().map_or(0, |run| run.shares.len()),
                "idle": config.idle.name(), "threading": config.threading.to_string(),
                "samples": config.samples,
                "pause_ns": config.pause_ns, "message_length": config.message_length,
                "sync": config.sync.name(), "responses": config.responses.name(),
                "io": config.io.name(),
            },
            "environment": environment,
            "runs": runs,
        })
    }
}

impl Display for IdleReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (config, environment) = (&self.config, &self.environment);
        writeln!(
            f,
            "idle cluster (processes), one message of {} bytes after each {} ms of silence, sync \
             {}, responses {}, threading {}",
            config.message_length,
            config.pause_ns / MILLISECOND,
            config.sync,
            config.responses,
            config.threading,
        )?;
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        writeln!(
            f,
            "  on {}, {} cores, kernel {}, {}",
            environment.cpu, environment.cores, environment.kernel, environment.file_system,
        )?;
        writeln!(f, "  {}", environment.io_backend)?;
        writeln!(
            f,
            "  {:<10} {:<24} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}",
            "idle", "% of a core, by member", "min us", "p50", "p90", "p99", "max", "messages"
        )?;
        for run in &self.runs {
            write_run(f, run)?;
        }
        let fastest = self.runs.iter().find(|run| run.idle == IdleStrategy::Yield);
        if let (Some(own), Some(fastest)) = (self.runs.first(), fastest) {
            let more = own.latency.p50 as f64 - fastest.latency.p50 as f64;
            let word = if more < 0.0 { "less" } else { "more" };
            writeln!(
                f,
                "  in the middle, a message after a pause takes {:.0} us {word} with {} than {}",
                more.abs() / 1_000.0,
                own.idle,
                fastest.idle
            )?;
        }
        for (run, fault) in self.runs.iter().flat_map(|run| {
            let faults = run.faults.iter();
            faults.map(move |fault| (run, fault))
        }) {
            writeln!(f, "  ERROR: {}: {fault}", run.idle)?;
        }
        Ok(())
    }
}

fn write_run(f: &mut Formatter<'_>, run: &IdleRun) -> fmt::Result {
    let shares: Vec<String> = run
        .shares
        .iter()
        .map(|share| format!("{:.1}", 100.0 * share))
        .collect();
    let latency = &run.latency;
    let us = |ns: u64| format!("{:.0}", ns as f64 / 1_000.0);
    let from = |fewest: u64, ns: u64| match latency.count >= fewest {
        true => us(ns),
        false => "-".to_owned(),
    };
    writeln!(
        f,
        "  {:<10} {:<24} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}",
        run.idle,
        shares.join("  "),
        us(latency.min),
        us(latency.p50),
        from(P90_FROM, latency.p90),
        from(P99_FROM, latency.p99),
        us(latency.max),
        format!("{}/{}", run.answered, run.sent)
    )
}

/// Runs the scenario.
///
/// # Errors
/// When it cannot be run; messages that did not come back are a report with errors.
pub fn run(config: &IdleConfig) -> Result<IdleReport, BenchError> {
    let bench = |idle: IdleStrategy| ClusterBench {
        message_length: config.message_length,
        sync: config.sync,
        responses: config.responses,
        directory: config.directory.clone(),
        io: config.io,
        threading: config.threading,
        idle,
        is_processes: true,
        trace_every: 0,
        ..ClusterBench::default()
    };
    let (fitted, notes) = bench(config.idle).fitted();
    fitted.check()?;
    let directory = RunDirectory::create(&config.directory, config.is_kept)?;
    let mut report = IdleReport {
        config: IdleConfig {
            idle: fitted.idle,
            ..config.clone()
        },
        environment: Environment::read(directory.path()),
        runs: Vec::new(),
        notes,
    };
    let beside = BESIDE.into_iter().filter(|idle| *idle != fitted.idle);
    for idle in std::iter::once(fitted.idle).chain(beside) {
        let place = directory.path().join(idle.name());
        let (run, start_line) = run_one(config, &bench(idle), &place)?;
        report.runs.push(run);
        if report.environment.io_backend.is_empty() {
            report.environment.io_backend = start_line;
        }
    }
    Ok(report)
}

/// Measures one way of waiting; returns also what a member said when it started.
fn run_one(
    config: &IdleConfig,
    bench: &ClusterBench,
    place: &Path,
) -> Result<(IdleRun, String), BenchError> {
    let cluster = bench.cluster_config()?;
    let mut members = ProcessCluster::start(bench, &cluster, place)?;
    let mut client = members.connected_client(&cluster, bench.workload())?;
    // The first request leaves at once and is not measured: what came before was no pause.
    client.start(LoadConfig {
        shape: LoadShape::Open {
            rate: SECOND as f64 / config.pause_ns as f64,
        },
        warmup_ns: config.pause_ns / 2,
        limit: LoadLimit::Messages(config.samples),
        messages_cap: u64::MAX,
    });
    let began = monotonic_now();
    let before = members.cpu_times()?;
    drive(&mut client, &mut members)?;
    let took = (monotonic_now() - began).max(1) as f64;
    let share = |(before, after): (&Nanos, Nanos)| (after - before) as f64 / took;
    let after = members.cpu_times()?;
    let shares = before.iter().zip(after).map(share).collect();
    let mut faults = client.faults();
    let load = client.load();
    let unsent = load.map_or(config.samples, Load::unsent);
    if unsent > 0 {
        faults.push(format!("{unsent} messages were never sent"));
    }
    let run = IdleRun {
        idle: bench.idle,
        shares,
        latency: load
            .map(|load| load.latencies().summary())
            .unwrap_or_default(),
        sent: load.map_or(0, Load::sent),
        answered: load.map_or(0, Load::received),
        faults,
    };
    Ok((run, members.members[0].start_line()))
}

/// Drives the client to its last answer. It sleeps through the pauses, so that it takes no core
/// from the members, and is up when it sends and until the answer is there.
fn drive(client: &mut BenchClient, members: &mut ProcessCluster) -> Result<(), BenchError> {
    loop {
        let now = monotonic_now();
        let work = client.do_work(now);
        if client.is_done(now) {
            return Ok(());
        }
        let is_waiting = client
            .load()
            .is_some_and(|load| load.sent() > load.received());
        let due = client.next_deadline(now).unwrap_or(now + CLIENT_NAP_NS);
        let nap = (due - CLIENT_EARLY_NS - now).min(CLIENT_NAP_NS);
        if work > 0 || is_waiting || nap <= 0 {
            std::thread::yield_now();
        } else {
            members.check()?;
            std::thread::sleep(Duration::from_nanos(nap as u64));
        }
    }
}
