//! `lockstep node`: one member of a cluster, as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use lockstep_bench::scenario::service_choice::ServiceChoice;
use lockstep_consensus::node::launch::{Node, launch};
use lockstep_consensus::node::notice_printer::NoticePrinter;
use lockstep_consensus::settings::node_file;
use lockstep_transport::agent::{Agent, IdleStrategy, pin, run as run_agent};
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

/// Runs the node until it is told to stop or halts, and starts it again where that is all that it
/// asks for.
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
    let outcome = stop_on_signals().and_then(|stop| {
        loop {
            // Where there is none yet, it is to start again.
            if let Some(outcome) = run_once(&file, &stop, &printer)? {
                return Ok(outcome);
            }
        }
    });
    printer.finish();
    outcome.unwrap_or_else(|outcome| outcome)
}

/// Runs the node from its start to its end; `None` where it is to start again.
fn run_once(
    file: &NodeFile,
    stop: &AtomicBool,
    printer: &NoticePrinter,
) -> Result<Option<Outcome>, Outcome> {
    let mut node = start(file)?;
    node.print_notices(printer);
    // After whatever starts threads of its own, which are to run elsewhere.
    let thread = node.thread().clone();
    if let Some(Err(refused)) = thread.core.map(pin) {
        eprintln!("lockstep: {refused}; it goes on and moves between cores");
    }
    run_agent(&mut node, thread.idle, stop, monotonic_now);
    if node.fault().is_none() {
        leave(&mut node, thread.idle)?;
    }
    node.say_notices();
    let closed = node.close();
    let again = node.fault().filter(|fault| fault.is_to_start_again());
    if let (Some(again), Ok(())) = (again, &closed) {
        println!("{}: {again}", node.role_name());
        return Ok(None);
    }
    Ok(Some(match (node.fault(), closed) {
        (None, Ok(())) => Outcome::Good,
        (None, Err(error)) => Outcome::failed(format!("{} has stopped: {error}", node.role_name())),
        (Some(fault), closed) => {
            let halted = format!("{} has halted: {fault}", node.role_name());
            Outcome::failed(match closed {
                Ok(()) => halted,
                Err(error) => format!("{halted}; and then: {error}"),
            })
        }
    }))
}

/// The node was told to stop: if it leads, it hands over first. A second signal ends it at once.
fn leave(node: &mut Node, idle: IdleStrategy) -> Result<(), Outcome> {
    let at_once = stop_on_signals()?;
    node.leave(monotonic_now());
    run_agent(node, idle, &at_once, monotonic_now);
    Ok(())
}

fn stop_on_signals() -> Result<Arc<AtomicBool>, Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Outcome::failed)?;
    }
    Ok(stop)
}

fn start(file: &NodeFile) -> Result<Node, Outcome> {
    let service = file.service.create();
    let mut node = launch(&file.cluster, &file.node, service).map_err(Outcome::failed)?;
    node.count_allocations_with(allocations::count);
    println!("{}", node.start_line());
    Ok(node)
}
