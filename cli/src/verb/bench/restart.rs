//! `lockstep bench restart`: members started again with a long log.

use std::path::PathBuf;

use clap::Args;
use lockstep_bench::scenario::restart::{self, RestartConfig};
use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::settings::quantity;

use super::output::{check_json, print};
use crate::named::one_of;
use crate::outcome::Outcome;
use crate::run_place::RunPlace;

/// Options of `lockstep bench restart`.
#[derive(Args, Debug)]
pub(super) struct RestartArguments {
    /// Bytes of log of each member below its snapshot, for example 1g; the run makes them first,
    /// and needs three times as much disk.
    #[arg(long, default_value = "10g", value_parser = quantity::size)]
    log_size: u64,
    /// Bytes of log above the snapshot, which each start executes.
    #[arg(long, default_value = "256m", value_parser = quantity::size)]
    above_snapshot: u64,
    /// Restarts of a member that follows, and then of all members at once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    restarts: u32,
    /// When the log counts as durable.
    #[arg(long, value_parser = one_of::<SyncMode>(), default_value = "data")]
    sync: SyncMode,
    /// Requests in flight while the log is made.
    #[arg(long, default_value = "1024", value_parser = quantity::positive)]
    window: usize,
    /// Bytes of a request, 1 to 32k.
    #[arg(long, default_value = "288", value_parser = quantity::size)]
    message_length: u64,
    #[command(flatten)]
    place: RunPlace,
    /// Write the result to this file as JSON; - is stdout, and then nothing else goes there.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(arguments: &RestartArguments) -> Outcome {
    let json = arguments.json.as_deref();
    if let Err(outcome) = check_json(json) {
        return outcome;
    }
    let config = RestartConfig {
        log_bytes: arguments.log_size,
        above_bytes: arguments.above_snapshot,
        restarts: arguments.restarts,
        sync: arguments.sync,
        window: arguments.window,
        message_length: arguments.message_length as usize,
        directory: arguments.place.dir.clone(),
        is_kept: arguments.place.keep,
    };
    match restart::run(&config) {
        Ok(report) => print(&report, || report.to_json(), report.is_good(), json),
        Err(error) => error.into(),
    }
}
