//! `lockstep node`: one member of a cluster, as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use lockstep_bench::scenario::service_choice::ServiceChoice;
use lockstep_consensus::node::launch::{Node, launch};
use lockstep_consensus::node::notice_printer::NoticePrinter;
use lockstep_consensus::settings::node_file;
use lockstep_transport::agent::{Agent, pin, run as run_agent};
use lockstep_transport::allocations;
use lockstep_transport::media::host::name_thread;
use lockstep_transport::media::monotonic_now;

use crate::outcome::Outcome;

/// Options of `lockstep node`.
#[derive(Args, Debug)]
pub struct NodeArguments {
    /// The node's configuration file.
    #[arg(long)]
    config: PathBuf,
}

/// A node's configuration, with one of the services that this binary carries.
type NodeFile = node_file::NodeFile<ServiceChoice>;

/// Runs the node until it is told to stop or halts.
pub fn run(arguments: &NodeArguments) -> Outcome {
    let file = match NodeFile::read(&arguments.config) {
        Ok(file) => file,
        Err(error) => return Outcome::usage(error),
    };
    name_thread(&format!("lockstep-node-{}", file.node.member));
    // Before there is a node: one that has started ends cleanly.
    let printer = match NoticePrinter::start() {
        Ok(printer) => printer,
        Err(error) => {
            return Outcome::failed(format!(
                "no thread to print notices: {error}; raise `ulimit -u`"
            ));
        }
    };
    match start(&file) {
        Ok((mut node, stop)) => {
            node.print_notices(&printer);
            // After whatever starts threads of its own, which are to run elsewhere.
            let thread = node.thread().clone();
            if let Some(Err(refused)) = thread.core.map(pin) {
                eprintln!("lockstep: {refused}; it goes on and moves between cores");
            }
            run_agent(&mut node, thread.idle, &stop, monotonic_now);
            node.say_notices();
            let outcome = match node.fault() {
                Some(fault) => {
                    let halted = format!("{} has halted: {fault}", node.role_name());
                    Outcome::failed(match node.close() {
                        Ok(()) => halted,
                        Err(error) => format!("{halted}; and then: {error}"),
                    })
                }
                None => match node.close() {
                    Ok(()) => Outcome::Good,
                    Err(error) => {
                        Outcome::failed(format!("{} has stopped: {error}", node.role_name()))
                    }
                },
            };
            drop(node);
            printer.finish();
            outcome
        }
        Err(outcome) => outcome,
    }
}

fn start(file: &NodeFile) -> Result<(Node, Arc<AtomicBool>), Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Outcome::failed)?;
    }
    let service = file.service.create();
    let mut node = launch(&file.cluster, &file.node, service).map_err(Outcome::failed)?;
    node.count_allocations_with(allocations::count);
    println!("{}", node.start_line());
    Ok((node, stop))
}
