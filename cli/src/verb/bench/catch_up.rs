//! `lockstep bench catch-up`: what it costs clients that a member is caught up.

use std::path::PathBuf;

use clap::Args;
use lockstep_bench::scenario::catch_up::{self, CatchUpConfig};
use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::settings::quantity;
use lockstep_transport::agent::IdleStrategy;
use lockstep_transport::time::Nanos;

use super::output::{check_json, print};
use crate::named::one_of;
use crate::outcome::Outcome;
use crate::run_place::RunPlace;

/// Options of `lockstep bench catch-up`.
#[derive(Args, Debug)]
pub(super) struct CatchUpArguments {
    /// Requests per second (open loop): what the machine holds easily.
    #[arg(long, default_value = "2k", value_parser = quantity::rate)]
    rate: f64,
    /// How often a member is killed, left behind and caught up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long the load runs before each kill, and after it at least, for example 5 or 500ms.
    #[arg(long, default_value = "5s", value_parser = quantity::some_seconds)]
    steady: Nanos,
    /// Bytes of state of each member, and so of the snapshot that is fetched; less where memory is
    /// short, which is said.
    #[arg(long, default_value = "64m", value_parser = quantity::size)]
    state_size: u64,
    /// Most bytes of log per member; three snapshots more.
    #[arg(long, default_value = "128m", value_parser = quantity::size)]
    disk_budget: u64,
    /// Bytes of log after which a snapshot is taken.
    #[arg(long, default_value = "16m", value_parser = quantity::size)]
    snapshot_interval: u64,
    /// When the log counts as durable.
    #[arg(long, value_parser = one_of::<SyncMode>(), default_value = "data")]
    sync: SyncMode,
    /// How members and client wait.
    #[arg(long, value_parser = one_of::<IdleStrategy>(), default_value = "yield")]
    idle: IdleStrategy,
    /// Bytes of a request, 1 to 32k; at least 8 with a state of some size.
    #[arg(long, default_value = "288", value_parser = quantity::size)]
    message_length: u64,
    #[command(flatten)]
    place: RunPlace,
    /// Write the result to this file as JSON; - is stdout, and then nothing else goes there.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(arguments: &CatchUpArguments) -> Outcome {
    let json = arguments.json.as_deref();
    if let Err(outcome) = check_json(json) {
        return outcome;
    }
    let config = CatchUpConfig {
        rate: arguments.rate,
        rounds: arguments.rounds,
        steady_ns: arguments.steady,
        state_bytes: arguments.state_size,
        disk_budget_bytes: arguments.disk_budget,
        snapshot_interval_bytes: arguments.snapshot_interval,
        sync: arguments.sync,
        idle: arguments.idle,
        message_length: arguments.message_length as usize,
        directory: arguments.place.dir.clone(),
        is_kept: arguments.place.keep,
    };
    match catch_up::run(&config) {
        Ok(report) => print(&report, || report.to_json(), report.is_good(), json),
        Err(error) => error.into(),
    }
}
