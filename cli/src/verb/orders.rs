//! `lockstep orders`: plays a file of orders through a cluster of three processes and checks
//! the outcome against a single-threaded replay.

use std::path::PathBuf;

use clap::Args;
use lockstep_bench::scenario::orders::{self, OrdersConfig};

use lockstep_consensus::settings::quantity;
use lockstep_consensus::settings::threading::Threading;

use crate::outcome::Outcome;
use crate::output_file;
use crate::run_place::RunPlace;

/// Options of `lockstep orders`.
#[derive(Args, Debug)]
pub struct OrdersArguments {
    /// The orders, one per line: seq,action,order_id,side,price,quantity,symbol.
    #[arg(long)]
    file: PathBuf,
    /// Kill the leader once so many orders are answered, and start it again.
    #[arg(long, value_name = "N")]
    kill_leader_at: Option<u64>,
    /// Orders in flight.
    #[arg(long, default_value = "256", value_parser = quantity::positive)]
    window: usize,
    /// Which threads a node's agents have: shared, split, dedicated, or the agents by thread, as
    /// consensus+clients,archive,service.
    #[arg(long, default_value_t = Threading::SHARED)]
    threading: Threading,
    /// Write all fills to this file.
    #[arg(long)]
    fills: Option<PathBuf>,
    /// Cores as of `bench cluster`: one left to the client, then those that members are pinned to.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    #[command(flatten)]
    place: RunPlace,
}

/// Plays the file and prints what came out.
pub fn run(arguments: &OrdersArguments) -> Outcome {
    let config = OrdersConfig {
        file: arguments.file.clone(),
        kill_leader_at: arguments.kill_leader_at,
        window: arguments.window,
        threading: arguments.threading,
        cores: arguments.cores.clone(),
        directory: arguments.place.dir.clone(),
        is_kept: arguments.place.keep,
    };
    if let Some(path) = &arguments.fills
        && let Err(problem) = output_file::check(path)
    {
        return Outcome::usage(format!("--fills: {problem}"));
    }
    let report = match orders::run(&config) {
        Ok(report) => report,
        Err(error) => return error.into(),
    };
    print!("{report}");
    if let Some(path) = &arguments.fills
        && let Err(error) = std::fs::write(path, report.fills_text())
    {
        return Outcome::failed(format!("failed to write {}: {error}", path.display()));
    }
    if report.is_good() {
        Outcome::Good
    } else {
        Outcome::failed("the cluster did not do what a single thread does, see above")
    }
}
