//! `lockstep node`: one member of a cluster, as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use lockstep_bench::allocations;
use lockstep_bench::scenario::cluster_bench::ServiceChoice;
use lockstep_consensus::node::{Node, launch};
use lockstep_transport::agent::{Agent, IdleStrategy, run as run_agent};
use lockstep_transport::media::host::cores_allowed;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::Nanos;

use crate::node_file::{self, NodeFile, ServiceName};
use crate::outcome::Outcome;

/// Options of `lockstep node`.
#[derive(Args, Debug)]
pub struct NodeArguments {
    /// The node's configuration file.
    #[arg(long)]
    config: PathBuf,
}

/// A node that ends its thread when it has halted.
struct UntilHalted {
    node: Node,
    stop: Arc<AtomicBool>,
}

impl Agent for UntilHalted {
    fn role_name(&self) -> &str {
        self.node.role_name()
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        let work = self.node.do_work(now);
        if work == 0 && self.node.fault().is_some() {
            self.stop.store(true, Ordering::Relaxed);
        }
        work
    }

    fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        self.node.next_deadline(now)
    }
}

/// Runs the node until it is told to stop or halts.
pub fn run(arguments: &NodeArguments) -> Outcome {
    let file = match node_file::read(&arguments.config) {
        Ok(file) => file,
        Err(error) => return Outcome::usage(error),
    };
    let mut idle = match IdleStrategy::checked(&file.idle, 1, cores_allowed().len()) {
        Ok(idle) => idle,
        Err(error) => return Outcome::usage(format!("idle: {error}")),
    };
    match start(&file) {
        Ok(mut node) => {
            let stop = Arc::clone(&node.stop);
            run_agent(&mut node, &mut idle, file.core, &stop, monotonic_now);
            match node.node.fault() {
                Some(fault) => Outcome::failed(format!("{} has halted: {fault}", node.role_name())),
                None => Outcome::Good,
            }
        }
        Err(outcome) => outcome,
    }
}

fn start(file: &NodeFile) -> Result<UntilHalted, Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Outcome::failed)?;
    }
    let service = match file.service {
        ServiceName::Echo => ServiceChoice::Echo,
        ServiceName::OrderBook => ServiceChoice::OrderBook,
    };
    let directory = &file.node.directory;
    std::fs::create_dir_all(directory).map_err(|error| {
        Outcome::failed(format!("failed to make {}: {error}", directory.display()))
    })?;
    let mut node = launch(&file.cluster, &file.node, service.create()).map_err(Outcome::failed)?;
    node.count_allocations_with(allocations::count);
    println!("{}", node.start_line());
    Ok(UntilHalted { node, stop })
}
