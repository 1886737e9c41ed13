//! The main job: a cluster under load, the floor beside it, and the report.

use std::path::Path;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::ClientConfig;
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::node::notice_printer::NoticePrinter;
use lockstep_consensus::settings::config::ClusterConfig;
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::media::{Backend, NetworkPort, SocketOptions, monotonic_now, randomness};
use lockstep_transport::trace::{CLIENT_MEMBER, TraceRecord, Tracer};

use super::bench_error::BenchError;
use super::cluster_bench::{ClusterBench, ServiceChoice};
use super::embedded::{self, EmbeddedRun};
use super::load_client::LoadClient;
use super::process_cluster::{self, ProcessRun};
use super::run_directory::RunDirectory;
use super::workload::Workload;
use crate::budget::budget;
use crate::environment::Environment;
use crate::floor;
use crate::load::{Load, LoadConfig, LoadLimit};
use crate::member_summary::MemberSummary;
use crate::report::{FloorReport, Report};
use crate::shortfall::shortfalls;

/// Trace ring of the client: a quarter of a million records, minutes of a closed loop.
const CLIENT_TRACE_LENGTH: usize = 10 << 20;

/// Datagrams to and from clients are frames of at most this length.
const CLIENT_MTU: usize = 1408;

/// The client of a run.
pub type BenchClient = LoadClient<NetworkPort>;

/// What a run of either kind leaves.
pub struct ClusterRun {
    /// The client.
    pub client: BenchClient,
    /// The members at the end.
    pub members: Vec<MemberSummary>,
    /// What they said when they started.
    pub start_lines: Vec<String>,
    /// Everybody's trace records.
    pub trace: Vec<TraceRecord>,
    /// System calls of all ports during the measured part.
    pub calls: i64,
    /// Heap allocations of other processes during the measured part.
    pub other_allocations: i64,
}

impl ClusterRun {
    pub(super) fn of_client(client: BenchClient) -> Self {
        Self {
            members: Vec::new(),
            start_lines: Vec::new(),
            trace: client.trace_records(),
            calls: client.calls().unwrap_or(0) as i64,
            other_allocations: 0,
            client,
        }
    }
}

/// A client of `cluster` with its workload; it asks a follower first, where there is one.
///
/// # Errors
/// When its socket cannot be opened.
pub fn client(
    cluster: &ClusterConfig,
    workload: Workload,
    leader: usize,
    trace_every: u64,
) -> Result<BenchClient, BenchError> {
    let unusable = |problem: String| BenchError::Cluster { problem };
    let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let port = NetworkPort::bind(address, SocketOptions::default(), Backend::Syscall)
        .map_err(|error| unusable(error.to_string()))?;
    let config = ClientConfig {
        members: cluster.members.iter().map(|m| m.ingress).collect(),
        first_member: (leader + 1) % cluster.members.len(),
        cluster_id: cluster_id(&cluster.name),
        mtu: CLIENT_MTU,
        ..ClientConfig::default()
    };
    let longest = config.request_length_max();
    if workload.length_max() > longest {
        let problem = format!("a request may have at most {longest} bytes");
        let option = "--message-length";
        return Err(BenchError::Option { option, problem });
    }
    let what = "the operating system has no randomness for the client's identity";
    let identity = ClientIdentity::draw(&mut randomness().map_err(BenchError::io(what))?);
    let mut client =
        ClusterClient::new(config, port, identity).map_err(|error| unusable(error.to_string()))?;
    if trace_every > 0 {
        let what = "failed to allocate the client's trace";
        let ring = AtomicBuffer::allocate(CLIENT_TRACE_LENGTH).map_err(BenchError::io(what))?;
        client.set_tracer(Tracer::new(CLIENT_MEMBER, ring, monotonic_now, trace_every));
    }
    let count_calls = |port: &NetworkPort| port.counters().system_calls();
    let mut client = LoadClient::new(client, workload, monotonic_now, count_calls);
    let printer = NoticePrinter::start().map_err(BenchError::io("a thread to print notices"))?;
    client.print_notices(printer);
    Ok(client)
}

/// Runs the scenario.
///
/// # Errors
/// When it could not be run; a run that went wrong is a report with errors.
pub fn run(bench: &ClusterBench) -> Result<Report, BenchError> {
    bench.check()?;
    let cluster = bench.cluster_config()?;
    let plan = bench.disk_plan(&cluster);
    if let LoadLimit::Messages(messages) = bench.load.limit {
        plan.check(messages)?;
    }
    if let Some(messages) = bench.load.scheduled() {
        plan.check(messages)?;
    }
    for node in bench.node_configs(&bench.directory) {
        node.validate(&cluster)?;
    }
    let directory = RunDirectory::create(&bench.directory, bench.is_kept)?;
    let nodes = bench.node_configs(directory.path());
    let floor_config = bench
        .has_floor()
        .then(|| bench.floor_config(directory.path()));
    let before = floor_config.as_ref().map(floor::measure).transpose()?;
    let capped = LoadConfig {
        messages_cap: plan.messages_max(),
        ..bench.load
    };
    let run = if bench.is_processes {
        let run = ProcessRun {
            cluster: &cluster,
            nodes: &nodes,
            bench,
        };
        process_cluster::run(&run, capped)?
    } else {
        let service = match bench.service {
            ServiceChoice::Echo => || ServiceChoice::Echo.create(),
            ServiceChoice::OrderBook => || ServiceChoice::OrderBook.create(),
        };
        let run = EmbeddedRun {
            cluster: &cluster,
            nodes: &nodes,
            service,
            idle: bench.idle,
            cores: &bench.cores,
        };
        let open = || client(&cluster, bench.workload(), 0, bench.trace_every);
        embedded::run(&run, open, capped)?
    };
    let after = floor_config.as_ref().map(floor::measure).transpose()?;
    let floor = before
        .zip(after)
        .map(|(before, after)| FloorReport::smaller_of(&before, &after));
    Ok(report(bench, directory.path(), run, floor))
}

fn report(
    bench: &ClusterBench,
    directory: &Path,
    run: ClusterRun,
    floor: Option<FloorReport>,
) -> Report {
    let mut environment = Environment::read(directory);
    environment.io_backend = run.start_lines.first().cloned().unwrap_or_default();
    let mut errors = run.client.faults();
    let load = run.client.load();
    let sent = load.map_or(0, Load::sent);
    let received = load.map_or(0, Load::received);
    match load {
        Some(load) => errors.extend(shortfalls(load)),
        None => errors.push("the load never started".to_owned()),
    }
    let measured = load.map_or(0, |load| load.latencies().count());
    let per_message = |count: i64| (measured > 0).then(|| count as f64 / measured as f64);
    let allocations = run.client.allocations().unwrap_or(0) as i64 + run.other_allocations;
    Report {
        title: bench.title(),
        notes: bench.notes(),
        config: bench.to_json(),
        environment,
        throughput_per_s: load.map_or(0.0, Load::throughput),
        sent,
        received,
        errors,
        members: run.members,
        latency: load
            .map(|load| load.latencies_of_all_due().summary())
            .unwrap_or_default(),
        budget: (bench.trace_every > 0).then(|| budget(&run.trace)),
        allocations_per_message: per_message(allocations),
        syscalls_per_message: per_message(run.calls).filter(|calls| *calls > 0.0),
        floor,
    }
}
