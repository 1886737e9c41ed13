//! `lockstep`: parses the command line, assembles, prints. Everything it does is in the
//! crates below.
#![forbid(unsafe_code)]

mod directory_words;
#[cfg(test)]
mod documented_commands;
mod lines;
mod looked_at;
mod named;
mod outcome;
mod output_file;
mod run_place;
mod utc;
mod verb;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lockstep_transport::allocations::CountingAllocator;
use verb::{bench, floor_peer, log, node, orders, sim, snapshot, snapshots, transfer};

/// Counts allocations for the reports.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A replicated state machine you can set your clock by.
#[derive(Parser, Debug)]
#[command(name = "lockstep", version, about, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Measure a cluster: latency, throughput, and where the time goes.
    Bench(Box<bench::BenchArguments>),
    /// Look at the log in a node's directory, running or not; nothing in it is changed.
    Log(log::LogArguments),
    /// Run one member of a cluster.
    Node(node::NodeArguments),
    /// Play a file of orders through a cluster and check the outcome.
    Orders(orders::OrdersArguments),
    /// Run simulator seeds.
    Sim(sim::SimArguments),
    /// Ask a running node's cluster for a snapshot, now.
    Snapshot(snapshot::SnapshotArguments),
    /// Look at the snapshots in a node's directory, running or not; nothing in it is changed.
    Snapshots(snapshots::SnapshotsArguments),
    /// Ask a running node to hand its leadership over, without an error at any client.
    Transfer(transfer::TransferArguments),
    /// Print the version.
    Version,
    #[command(hide = true)]
    FloorPeer(floor_peer::FloorPeerArguments),
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().verb {
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Log(arguments) => log::run(&arguments),
        Verb::Node(arguments) => node::run(&arguments),
        Verb::Orders(arguments) => orders::run(&arguments),
        Verb::Sim(arguments) => sim::run(&arguments),
        Verb::Snapshot(arguments) => snapshot::run(&arguments),
        Verb::Snapshots(arguments) => snapshots::run(&arguments),
        Verb::Transfer(arguments) => transfer::run(&arguments),
        Verb::Version => {
            verb::version::run();
            outcome::Outcome::Good
        }
        Verb::FloorPeer(arguments) => floor_peer::run(&arguments),
    };
    outcome.report()
}

#[cfg(test)]
mod tests {
    use lockstep_transport::allocations;

    #[test]
    fn the_binary_counts_its_allocations() {
        let before = allocations::count();
        let allocated = std::hint::black_box(vec![1_u8; 100]);
        assert!(allocations::count() > before);
        drop(allocated);
    }

    #[test]
    fn a_thread_that_is_left_out_does_not_count_for_the_binary() {
        let counted = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                allocations::leave_out_this_thread();
                // Others may count meanwhile, but not as many.
                let before = allocations::count();
                for length in 1..100_000 {
                    drop(std::hint::black_box(vec![1_u8; length % 64 + 1]));
                }
                (
                    allocations::count() - before,
                    allocations::count_of_thread(),
                )
            });
            thread.join().unwrap()
        });
        assert!(counted.0 < 50_000 && counted.1 > 99_000, "{counted:?}");
    }
}
