//! `lockstep bench`: measures, and says what it measured on.

mod catch_up;
mod output;
mod restart;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockstep_bench::floor::{self, FloorConfig, FloorLayout, FloorSizes};
use lockstep_bench::load::{LoadConfig, LoadLimit, LoadShape};
use lockstep_bench::scenario::bench_error::BenchError;
use lockstep_bench::scenario::cluster;
use lockstep_bench::scenario::cluster_bench::ClusterBench;
use lockstep_bench::scenario::failover::{self, FailoverConfig};
use lockstep_bench::scenario::idle::{self, IdleConfig};
use lockstep_bench::scenario::planned_stop::{self, StopSignal};
use lockstep_bench::scenario::run_directory::RunDirectory;
use lockstep_bench::scenario::service_choice::ServiceChoice;
use lockstep_bench::scenario::thread_plan::ThreadPlan;
use lockstep_bench::scenario::trace_plan;
use lockstep_bench::scenario::victims::Victims;
use lockstep_consensus::settings::config::{Faults, IoChoice, ResponsesMode, SyncMode};
use lockstep_consensus::settings::quantity;
use lockstep_consensus::settings::threading::Threading;
use lockstep_transport::agent::IdleStrategy;
use lockstep_transport::time::Nanos;
use serde_json::json;

use self::output::{check_json, print};
use crate::named::one_of;
use crate::outcome::Outcome;
use crate::run_place::RunPlace;

/// Options of `lockstep bench`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArguments {
    #[command(subcommand)]
    scenario: Option<Scenario>,
    #[command(flatten)]
    cluster: ClusterArguments,
}

#[derive(Subcommand, Debug)]
enum Scenario {
    /// Three nodes under load, with the latency budget (the default).
    Cluster(Box<ClusterArguments>),
    /// The bare hops and disk writes under everything.
    Floor(FloorArguments),
    /// What a cluster with nothing to do costs, and the first message after a pause.
    Idle(IdleArguments),
    /// Members killed under load: how long until the next response, and is anything lost.
    Failover(FailoverArguments),
    /// Members started again with a long log and a snapshot: how long until they vote.
    Restart(restart::RestartArguments),
    /// A member that lacks log which the others have no more: what catching it up costs clients.
    CatchUp(catch_up::CatchUpArguments),
}

/// Options of `lockstep bench failover`.
#[derive(Args, Debug)]
pub struct FailoverArguments {
    /// Kills, one after the other.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// Whom they hit: the leader every second time, the leader every time, or all members at once.
    #[arg(long, value_parser = one_of::<Victims>(), default_value = "by-turns")]
    kill: Victims,
    /// How they end: KILL, as by a crash, or TERM, which tells them to stop: the leader hands over.
    #[arg(long, value_parser = one_of::<StopSignal>(), default_value = "KILL")]
    signal: StopSignal,
    /// The same as --kill leader.
    #[arg(long, conflicts_with = "kill")]
    leaders_only: bool,
    /// Take a snapshot before each kill: the members that follow have stored it by then.
    #[arg(long)]
    snapshots: bool,
    /// With each kill, kill the client too: another process goes on with its session, by turns
    /// before the kill and while those that were killed are down.
    #[arg(long)]
    client_restarts: bool,
    /// When the log counts as durable.
    #[arg(long, value_parser = one_of::<SyncMode>(), default_value = "data")]
    sync: SyncMode,
    /// Requests in flight.
    #[arg(long, default_value = "16", value_parser = quantity::positive)]
    window: usize,
    /// Which threads a node's agents have: shared, split, dedicated, or the agents by thread, as
    /// consensus+clients,archive,service.
    #[arg(long, default_value_t = Threading::SHARED)]
    threading: Threading,
    /// Bytes of a request, 1 to 32k.
    #[arg(long, default_value = "288", value_parser = quantity::size)]
    message_length: u64,
    #[command(flatten)]
    place: RunPlace,
    /// Seed of the choice of followers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cores as of `bench cluster`: one left to the client, then those that members are pinned to.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
}

/// Options of `lockstep bench cluster`.
#[derive(Args, Debug)]
pub struct ClusterArguments {
    /// Members of the cluster.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Bytes of a request, 1 to 32k, for example 288 (the default) or 4k; at least 8 with a state
    /// of some size, and not for the service orderbook, whose orders have a length of their own.
    #[arg(long, value_parser = quantity::size)]
    message_length: Option<u64>,
    /// Requests per second (open loop), for example 10k.
    #[arg(long, value_parser = quantity::rate, conflicts_with = "window")]
    rate: Option<f64>,
    /// Requests in flight (closed loop).
    #[arg(long, default_value = "1", value_parser = quantity::positive)]
    window: usize,
    /// Measured requests.
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Measured time, for example 5 or 500ms.
    #[arg(long, default_value = "5s", value_parser = quantity::some_seconds)]
    seconds: Nanos,
    /// Time before the measured part, for example 1 or 200ms.
    #[arg(long, default_value = "1s", value_parser = quantity::seconds)]
    warmup: Nanos,
    /// When the log counts as durable.
    #[arg(long, value_parser = one_of::<SyncMode>(), default_value = "data")]
    sync: SyncMode,
    /// How responses reach the client: through the log, or straight from the leader.
    #[arg(long, value_parser = one_of::<ResponsesMode>(), default_value = "replicated")]
    responses: ResponsesMode,
    /// The service: echo, orderbook, or bigstate:SIZE, for example bigstate:64m.
    #[arg(long, default_value_t = ServiceChoice::Echo)]
    service: ServiceChoice,
    /// Bytes of state of each member, for example 1g: the service bigstate of that size takes the
    /// place of echo. Where memory is short it is less, and that is said.
    #[arg(long, default_value = "0", value_parser = quantity::size)]
    state_size: u64,
    /// Members as processes of their own instead of threads of this one.
    #[arg(long)]
    processes: bool,
    #[command(flatten)]
    place: RunPlace,
    /// Cores to pin to: client (and member 0), then the other members, then the threads that each
    /// has besides.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// Which threads a node's agents have: shared, split, dedicated, or the agents by thread, as
    /// consensus+clients,archive,service.
    #[arg(long, default_value_t = Threading::SHARED)]
    threading: Threading,
    /// How threads wait.
    #[arg(long, value_parser = one_of::<IdleStrategy>(), default_value = "yield")]
    idle: IdleStrategy,
    /// How nodes reach network and disk.
    #[arg(long, value_parser = one_of::<IoChoice>(), default_value = "auto")]
    io: IoChoice,
    /// Added to each durable write of the followers, for example 200us.
    #[arg(long, default_value = "0", value_parser = quantity::duration)]
    follower_disk_delay: Nanos,
    /// Added to each durable write of the leader (member 0).
    #[arg(long, default_value = "0", value_parser = quantity::duration)]
    leader_disk_delay: Nanos,
    /// What each member's service computes for each message, for example 50us.
    #[arg(long, default_value = "0", value_parser = quantity::duration)]
    service_time: Nanos,
    /// For how long each member's service sleeps at each message, for example 4ms.
    #[arg(long, default_value = "0", value_parser = quantity::duration)]
    service_pause: Nanos,
    /// Added to each datagram between members.
    #[arg(long, default_value = "0", value_parser = quantity::duration)]
    link_delay: Nanos,
    /// Up to so much more, at random.
    #[arg(long, default_value = "0", value_parser = quantity::duration)]
    link_jitter: Nanos,
    /// Share of datagrams between members that is lost, for example 0.1%.
    #[arg(long, default_value = "0", value_parser = quantity::probability)]
    link_loss: f64,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most bytes of log per node, for example 2g; with --state-size three snapshots more.
    #[arg(long, default_value = "2g", value_parser = quantity::size)]
    disk_budget: u64,
    /// Bytes of log after which a snapshot is taken; 0 for never. The default is an eighth of the
    /// disk budget.
    #[arg(long, value_parser = quantity::size)]
    snapshot_interval: Option<u64>,
    /// Trace one message in so many (a power of two); 0 turns tracing off. The default is as
    /// many as the nodes' trace rings are likely to hold: all of a default run.
    #[arg(long)]
    trace_every: Option<u64>,
    /// Do not measure the floor.
    #[arg(long)]
    no_floor: bool,
    /// Write the result to this file as JSON; - is stdout, and then nothing else goes there.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Options of `lockstep bench idle`.
#[derive(Args, Debug)]
pub struct IdleArguments {
    /// How the members wait; `yield` and `park` are measured beside it.
    #[arg(long, value_parser = one_of::<IdleStrategy>(), default_value = "adaptive")]
    idle: IdleStrategy,
    /// Which threads a node's agents have: shared, split, dedicated, or the agents by thread, as
    /// consensus+clients,archive,service.
    #[arg(long, default_value_t = Threading::SHARED)]
    threading: Threading,
    /// Messages, each after a pause.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    samples: u64,
    /// Length of a pause, for example 1s or 200ms.
    #[arg(long, default_value = "1s", value_parser = quantity::some_seconds)]
    pause: Nanos,
    /// Bytes of a message, 1 to 32k.
    #[arg(long, default_value = "288", value_parser = quantity::size)]
    message_length: u64,
    /// When the log counts as durable.
    #[arg(long, value_parser = one_of::<SyncMode>(), default_value = "data")]
    sync: SyncMode,
    /// How responses reach the client: through the log, or straight from the leader.
    #[arg(long, value_parser = one_of::<ResponsesMode>(), default_value = "replicated")]
    responses: ResponsesMode,
    /// How nodes reach network and disk.
    #[arg(long, value_parser = one_of::<IoChoice>(), default_value = "auto")]
    io: IoChoice,
    #[command(flatten)]
    place: RunPlace,
    /// Write the result to this file as JSON; - is stdout, and then nothing else goes there.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Options of `lockstep bench floor`.
#[derive(Args, Debug)]
pub struct FloorArguments {
    /// Timed round trips.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// Bytes of a request; what does not fit one datagram is cut to it.
    #[arg(long, default_value = "288", value_parser = quantity::size)]
    message_length: u64,
    /// Whether each node writes a durable block per crossing.
    #[arg(long, value_parser = one_of::<SyncMode>(), default_value = "data")]
    sync: SyncMode,
    /// Whether the log is crossed twice.
    #[arg(long, value_parser = one_of::<ResponsesMode>(), default_value = "replicated")]
    responses: ResponsesMode,
    /// Four processes instead of two threads.
    #[arg(long)]
    processes: bool,
    /// Where the blocks are written.
    #[arg(long, default_value = "lockstep-data")]
    dir: PathBuf,
    /// Cores to pin to.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
}

/// Runs a scenario and prints what it found.
pub fn run(arguments: &BenchArguments) -> Outcome {
    match &arguments.scenario {
        None => run_cluster(&arguments.cluster),
        Some(Scenario::Cluster(cluster)) => run_cluster(cluster),
        Some(Scenario::Floor(floor)) => run_floor(floor),
        Some(Scenario::Idle(idle)) => run_idle(idle),
        Some(Scenario::Failover(failover)) => run_failover(failover),
        Some(Scenario::Restart(restart)) => restart::run(restart),
        Some(Scenario::CatchUp(catch_up)) => catch_up::run(catch_up),
    }
}

fn run_cluster(arguments: &ClusterArguments) -> Outcome {
    let bench = match cluster_bench(arguments) {
        Ok(bench) => bench,
        Err(outcome) => return outcome,
    };
    let json = arguments.json.as_deref();
    if let Err(outcome) = check_json(json) {
        return outcome;
    }
    match cluster::run(&bench) {
        Ok(report) => print(&report, || report.to_json(), report.is_good(), json),
        Err(error) => error.into(),
    }
}

fn cluster_bench(arguments: &ClusterArguments) -> Result<ClusterBench, Outcome> {
    let shape = match arguments.rate {
        Some(rate) => LoadShape::Open { rate },
        None => LoadShape::Closed {
            window: arguments.window,
        },
    };
    let limit = match arguments.messages {
        Some(messages) => LoadLimit::Messages(messages),
        None => LoadLimit::Duration(arguments.seconds),
    };
    let load = LoadConfig {
        shape,
        warmup_ns: arguments.warmup,
        limit,
        messages_cap: u64::MAX,
    };
    let (sync, responses) = (arguments.sync, arguments.responses);
    let trace_every = arguments.trace_every;
    Ok(ClusterBench {
        nodes: arguments.nodes,
        message_length: message_length(arguments)?,
        load,
        sync,
        responses,
        service: service(arguments)?,
        is_processes: arguments.processes,
        directory: arguments.place.dir.clone(),
        is_kept: arguments.place.keep,
        cores: arguments.cores.clone(),
        threading: arguments.threading,
        idle: arguments.idle,
        io: arguments.io,
        follower_disk_delay_ns: arguments.follower_disk_delay,
        leader_disk_delay_ns: arguments.leader_disk_delay,
        service_time_ns: arguments.service_time,
        service_pause_ns: arguments.service_pause,
        faults: Faults {
            loss: arguments.link_loss,
            delay_ns: arguments.link_delay,
            jitter_ns: arguments.link_jitter,
            ..Faults::default()
        },
        seed: arguments.seed,
        disk_budget_bytes: arguments.disk_budget,
        snapshot_interval_bytes: arguments.snapshot_interval,
        trace_every: trace_every.unwrap_or_else(|| trace_plan::trace_every(&load, sync, responses)),
        has_floor: !arguments.no_floor,
    })
}

/// The service that was asked for, or the one with so much state.
fn service(arguments: &ClusterArguments) -> Result<ServiceChoice, Outcome> {
    match (arguments.service, arguments.state_size) {
        (service, 0) => Ok(service),
        (ServiceChoice::Echo, size) => Ok(ServiceChoice::BigState(size)),
        (service, _) => Err(Outcome::usage(format!(
            "--state-size: the service {service} has a state of its own; leave one of them out"
        ))),
    }
}

/// What was asked for or the default; the requests of the matching engine have their own.
fn message_length(arguments: &ClusterArguments) -> Result<usize, Outcome> {
    let default = ClusterBench::default().message_length;
    match (arguments.message_length, arguments.service) {
        (None, _) => Ok(default),
        (Some(length), ServiceChoice::Echo | ServiceChoice::BigState(_)) => {
            usize::try_from(length).map_err(Outcome::usage)
        }
        (Some(_), ServiceChoice::OrderBook) => Err(Outcome::usage(
            "--message-length: orders have a length of their own; leave it out",
        )),
    }
}

fn run_idle(arguments: &IdleArguments) -> Outcome {
    let json = arguments.json.as_deref();
    if let Err(outcome) = check_json(json) {
        return outcome;
    }
    let config = IdleConfig {
        idle: arguments.idle,
        threading: arguments.threading,
        samples: arguments.samples,
        pause_ns: arguments.pause,
        message_length: arguments.message_length as usize,
        sync: arguments.sync,
        responses: arguments.responses,
        io: arguments.io,
        directory: arguments.place.dir.clone(),
        is_kept: arguments.place.keep,
    };
    match idle::run(&config) {
        Ok(report) => print(&report, || report.to_json(), report.is_good(), json),
        Err(error) => error.into(),
    }
}

fn run_failover(arguments: &FailoverArguments) -> Outcome {
    let config = FailoverConfig {
        kills: arguments.kills,
        victims: if arguments.leaders_only {
            Victims::Leader
        } else {
            arguments.kill
        },
        has_snapshots: arguments.snapshots,
        has_client_restarts: arguments.client_restarts,
        sync: arguments.sync,
        cores: arguments.cores.clone(),
        window: arguments.window,
        threading: arguments.threading,
        message_length: arguments.message_length as usize,
        directory: arguments.place.dir.clone(),
        is_kept: arguments.place.keep,
        seed: arguments.seed,
    };
    if arguments.signal == StopSignal::Term {
        return match planned_stop::run(&config) {
            Ok(report) => {
                print!("{report}");
                if report.is_good() {
                    Outcome::Good
                } else {
                    Outcome::failed("clients notice that members are told to stop, see above")
                }
            }
            Err(error) => error.into(),
        };
    }
    match failover::run(&config) {
        Ok(report) => {
            print!("{report}");
            if report.is_good() {
                Outcome::Good
            } else {
                Outcome::failed("not every request was answered exactly once, see above")
            }
        }
        Err(error) => error.into(),
    }
}

fn run_floor(arguments: &FloorArguments) -> Outcome {
    let run = || -> Result<String, BenchError> {
        let layout = if arguments.processes {
            FloorLayout::Processes
        } else {
            FloorLayout::Threads
        };
        let count = floor::threads_of(layout, floor::MEMBERS);
        let threads = ThreadPlan::new(&arguments.cores, IdleStrategy::Yield, count);
        for note in &threads.notes {
            eprintln!("lockstep: {note}");
        }
        let directory = RunDirectory::create(&arguments.dir, false)?;
        let length = arguments.message_length as usize;
        let result = floor::measure(&FloorConfig {
            messages: arguments.messages,
            warmup: arguments.messages / 10,
            sizes: FloorSizes::of_message(length),
            is_durable: matches!(arguments.sync, SyncMode::Data),
            crossings: arguments.responses.crossings(),
            layout,
            directory: directory.path().to_owned(),
            cores: threads.cores,
            idle: threads.idle,
        })?;
        let object = json!({
            "latency_ns": result.latencies.summary().to_json(),
            "udp_rtt_ns": result.udp_rtt_ns, "write_sync_ns": result.write_sync_ns,
        });
        Ok(format!("{object:#}"))
    };
    match run() {
        Ok(text) => {
            println!("{text}");
            Outcome::Good
        }
        Err(error) => error.into(),
    }
}
