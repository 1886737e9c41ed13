//! `lockstep floor-peer`: one node of the floor, started by `lockstep bench`. Hidden.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use lockstep_bench::floor::{FloorSizes, PeerConfig, PeerRole, run_peer};
use lockstep_transport::agent::IdleStrategy;
use lockstep_transport::media::host::cores_allowed;

use crate::named::one_of;
use crate::outcome::Outcome;

/// Options that the parent process passes.
#[derive(Args, Debug)]
pub struct FloorPeerArguments {
    /// Lengths of request, replicate, ack and response.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Addresses of both followers; makes this the leader.
    #[arg(long, value_delimiter = ',')]
    followers: Vec<SocketAddr>,
    /// Times the log is crossed per request.
    #[arg(long, default_value_t = 1)]
    crossings: u8,
    /// File for durable blocks.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Core to pin to.
    #[arg(long)]
    core: Option<usize>,
    /// How to wait.
    #[arg(long, value_parser = one_of::<IdleStrategy>(), default_value = "yield")]
    idle: IdleStrategy,
}

/// Serves until told to stop.
pub fn run(arguments: &FloorPeerArguments) -> Outcome {
    let [request, replicate, ack, response] = arguments.sizes[..] else {
        return Outcome::usage("--sizes needs four lengths");
    };
    let role = match arguments.followers[..] {
        [first, second] => PeerRole::Leader {
            followers: [first, second],
            crossings: arguments.crossings.max(1),
        },
        _ => PeerRole::Follower,
    };
    // Whoever starts it has said so if this is another one.
    let (idle, _) = arguments.idle.fit(1, cores_allowed().len());
    let config = PeerConfig {
        role,
        sizes: FloorSizes {
            request,
            replicate,
            ack,
            response,
        },
        file: arguments.file.clone(),
        core: arguments.core,
        idle,
    };
    match run_peer(&config) {
        Ok(()) => Outcome::Good,
        Err(error) => Outcome::failed(error),
    }
}
