//! `lockstep node`: one member of a cluster, as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use lockstep_bench::scenario::cluster_bench::ServiceChoice;
use lockstep_consensus::node::launch::{Node, launch};
use lockstep_consensus::node::notice_printer::NoticePrinter;
use lockstep_consensus::settings::config::Threading;
use lockstep_consensus::settings::node_file;
use lockstep_transport::agent::{Agent, IdleStrategy, pin, run as run_agent};
use lockstep_transport::allocations;
use lockstep_transport::media::host::{cores_allowed, name_thread};
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

/// How the node's thread runs on this host.
#[derive(Debug)]
struct ThreadPlan {
    idle: IdleStrategy,
    /// Of the service's thread, where it has one.
    service_idle: IdleStrategy,
    core: Option<usize>,
    words: String,
}

impl ThreadPlan {
    /// As near to what the file asks for as `cores` permit; the words say what is missing and
    /// what that costs.
    fn new(file: &NodeFile, cores: &[usize]) -> Self {
        let threads = match file.node.threading {
            Threading::Shared => 1,
            Threading::Split => 2,
        };
        let core = file.core.filter(|core| cores.contains(core));
        let is_shared = threads > 1 && core.is_some() && core == file.node.service_core;
        // Where the service has this very core, neither may keep it to itself.
        let room = if is_shared { 1 } else { cores.len() };
        let (idle, downgrade) = file.idle.fit(threads, room);
        let mut words = match downgrade {
            None => format!("thread {idle}"),
            Some(_) if is_shared => format!("thread {idle} instead of {}", file.idle),
            Some(reason) => format!("thread {reason}"),
        };
        match (core, file.core) {
            (Some(core), _) => words.push_str(&format!(" on core {core}")),
            (None, Some(core)) => words.push_str(&format!(
                ", not pinned: this process may not use core {core}, only {cores:?}; costs moves \
                 between cores"
            )),
            (None, None) => words.push_str(", not pinned"),
        }
        let mut service_idle = file.node.service_idle;
        if is_shared {
            let (granted, downgrade) = service_idle.fit(threads, room);
            words.push_str(", with its service");
            if downgrade.is_some() {
                words.push_str(&format!(", which has {granted} instead of {service_idle}"));
            }
            words.push_str(": costs waiting for turns");
            service_idle = granted;
        }
        if cores.len() < 2 {
            words.push_str("; no core is free for other work: costs waiting for turns");
        }
        Self {
            idle,
            service_idle,
            core,
            words,
        }
    }
}

/// Runs the node until it is told to stop or halts.
pub fn run(arguments: &NodeArguments) -> Outcome {
    let mut file = match NodeFile::read(&arguments.config) {
        Ok(file) => file,
        Err(error) => return Outcome::usage(error),
    };
    let plan = ThreadPlan::new(&file, &cores_allowed());
    file.node.service_idle = plan.service_idle;
    name_thread(&format!("lockstep-node-{}", file.node.member));
    match start(&file, &plan.words) {
        Ok((mut node, stop)) => {
            let printer = match NoticePrinter::start() {
                Ok(printer) => printer,
                Err(error) => return Outcome::failed(error),
            };
            node.print_notices(&printer);
            // After whatever starts threads of its own, which are to run elsewhere.
            if let Some(Err(refused)) = plan.core.map(pin) {
                eprintln!("lockstep: {refused}; it goes on and moves between cores");
            }
            run_agent(&mut node, plan.idle, &stop, monotonic_now);
            node.say_notices();
            let outcome = match node.fault() {
                Some(fault) => Outcome::failed(format!("{} has halted: {fault}", node.role_name())),
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

fn start(file: &NodeFile, thread: &str) -> Result<(Node, Arc<AtomicBool>), Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Outcome::failed)?;
    }
    let service = file.service.create();
    let mut node = launch(&file.cluster, &file.node, service).map_err(Outcome::failed)?;
    node.count_allocations_with(allocations::count);
    println!("{}; {thread}", node.start_line());
    Ok((node, stop))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The plan of a node whose threads are to spin on these cores, where 0 to 3 are allowed.
    fn spinning_on(core: usize, service_core: usize) -> ThreadPlan {
        let text = format!(
            "[cluster]\nmembers = [{{ ingress = \"127.0.0.1:1\", member = \"127.0.0.1:2\" }}]\n\
             [node]\nmember = 0\ndirectory = \"data\"\nservice = \"echo\"\n\
             threading = \"split\"\n\
             idle = \"busy-spin\"\nservice_idle = \"busy-spin\"\n\
             core = {core}\nservice_core = {service_core}\n"
        );
        let file = NodeFile::parse(Path::new("node.toml"), &text).unwrap();
        ThreadPlan::new(&file, &[0, 1, 2, 3])
    }

    #[test]
    fn a_node_and_its_service_spin_unless_they_share_a_core_that_they_have() {
        const SPIN: IdleStrategy = IdleStrategy::BusySpin;
        for plan in [spinning_on(0, 1), spinning_on(9, 9)] {
            assert_eq!((plan.idle, plan.service_idle), (SPIN, SPIN), "{plan:?}");
        }
        let shared = spinning_on(1, 1);
        let yielding = IdleStrategy::Yield;
        assert_eq!((shared.idle, shared.service_idle), (yielding, yielding));
        assert_eq!(
            shared.words,
            "thread yield instead of busy-spin on core 1, with its service, which has yield \
             instead of busy-spin: costs waiting for turns"
        );
    }
}
