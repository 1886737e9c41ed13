//! The floor over four processes: this one is the client, its children are the nodes. A child
//! is the same binary, started with a hidden command; it prints `ready <address>` and serves
//! until told to stop.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use lockstep_transport::agent::IdleStrategy;

use super::block_writer::BlockWriter;
use super::driver::{panicked, run_client, serve};
use super::host::{bind, pin};
use super::participant::{Client, Follower, Leader, Participant};
use super::plan::{FloorConfig, FloorError, FloorSizes, STALL};
use crate::histogram::LatencyHistogram;

/// What a peer process plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerRole {
    /// The leader, with the addresses of its followers.
    Leader {
        /// Both followers.
        followers: [SocketAddr; 2],
        /// 1 for direct responses, 2 for replicated ones.
        crossings: u8,
    },
    /// A follower.
    Follower,
}

/// What the hidden command line of a peer process says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its role.
    pub role: PeerRole,
    /// Datagram lengths.
    pub sizes: FloorSizes,
    /// Its block file, when durable.
    pub file: Option<PathBuf>,
    /// Core to pin to.
    pub core: Option<usize>,
    /// How it idles.
    pub idle: IdleStrategy,
}

/// Serves as a peer of the floor until told to stop, or until nobody has spoken for a while.
///
/// # Errors
/// The operating system's.
pub fn run_peer(config: &PeerConfig) -> Result<(), FloorError> {
    pin(config.core)?;
    let socket = bind()?;
    let address = socket.local_addr()?;
    let open = |path: &PathBuf| BlockWriter::create(path);
    let writer = config.file.as_ref().map(open).transpose()?;
    let participant = match config.role {
        PeerRole::Leader {
            followers,
            crossings,
        } => {
            let leader = Leader::new(socket, followers, &config.sizes, crossings, writer)?;
            Participant::Leader(Box::new(leader))
        }
        PeerRole::Follower => {
            let follower = Follower::new(socket, &config.sizes, writer)?;
            Participant::Follower(Box::new(follower))
        }
    };
    println!("ready {address}");
    let parent = std::os::unix::process::parent_id();
    // An orphan must not spin for ever: its parent is gone when its parent's id has changed.
    let polls = std::cell::Cell::new(0_u32);
    serve(&mut [participant], config.idle, || {
        polls.set(polls.get().wrapping_add(1));
        polls.get().is_multiple_of(4_096) && std::os::unix::process::parent_id() != parent
    })?;
    Ok(())
}

/// A peer process, killed when dropped.
struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    fn start(binary: &Path, arguments: &[String]) -> io::Result<Self> {
        let mut child = Command::new(binary)
            .arg("floor-peer")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        match parse_ready(&line) {
            Some(address) => Ok(Self { child, address }),
            None => {
                // It is of no use to anybody; whether it has ended by itself is no matter.
                let _ = child.kill();
                let _ = child.wait();
                Err(io::Error::other("a floor process did not start"))
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Fails only where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arguments(config: &FloorConfig, node: usize) -> Vec<String> {
    let sizes = config.sizes;
    let list = [sizes.request, sizes.replicate, sizes.ack, sizes.response];
    let list: Vec<String> = list.iter().map(usize::to_string).collect();
    let mut arguments = vec![
        format!("--sizes={}", list.join(",")),
        format!("--idle={}", config.idle.name()),
    ];
    if config.is_durable {
        let file = config.directory.join(format!("floor-{node}.dat"));
        arguments.push(format!("--file={}", file.display()));
    }
    if let Some(core) = config.cores.get(node + 1) {
        arguments.push(format!("--core={core}"));
    }
    arguments
}

/// Measures with three child processes of the running binary.
pub(super) fn measure(config: &FloorConfig) -> Result<LatencyHistogram, FloorError> {
    let binary = std::env::current_exe()?;
    let first = Peer::start(&binary, &arguments(config, 1))?;
    let second = Peer::start(&binary, &arguments(config, 2))?;
    let mut leader_arguments = arguments(config, 0);
    leader_arguments.push(format!("--followers={},{}", first.address, second.address));
    leader_arguments.push(format!("--crossings={}", config.crossings));
    let leader = Peer::start(&binary, &leader_arguments)?;
    let (warmup, messages) = (config.warmup, config.messages);
    let client = Client::new(bind()?, leader.address, &config.sizes, warmup, messages)?;
    let core = config.cores.first().copied();
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(move || {
            pin(core)?;
            run_client(client, Vec::new(), config.idle)
        });
        run.join().unwrap_or_else(|_| Err(panicked().into()))
    });
    let mut client = outcome?;
    client.stop()?;
    for mut peer in [leader, first, second] {
        let since = Instant::now();
        while peer.child.try_wait()?.is_none() && since.elapsed() < STALL {
            std::thread::yield_now();
        }
    }
    Ok(client.latencies().clone())
}

/// Parses the address a peer process printed.
fn parse_ready(line: &str) -> Option<SocketAddr> {
    line.trim().strip_prefix("ready ")?.parse().ok()
}
