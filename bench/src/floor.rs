//! The floor: the hops of a cluster request with nothing in them (`ARCHITECTURE.md` "Measuring").
//!
//! Plain non-blocking UDP sockets, the same number of threads or processes, pinning, idle
//! strategy and datagram sizes as the cluster of three measured beside it; one 4 KiB durable
//! write per node where the log would write one. What Lockstep costs is the ratio to this. It
//! is written to be as fast as it can be, and the best of several attempts counts: a slow
//! floor would flatter Lockstep.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: sockets, threads and files without anything between"
)]

mod block_writer;
mod driver;
mod host;
mod participant;
mod peer_process;
mod plan;

use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lockstep_transport::datagram_port::DATAGRAM_LENGTH_MAX;
use lockstep_transport::media::host::cores_allowed;
use lockstep_transport::time::Nanos;

use self::block_writer::BlockWriter;
use self::driver::{panicked, run_client, serve, writer_of};
use self::host::bind;
pub(crate) use self::host::pin;
use self::participant::{Client, Follower, Leader, Participant};
pub use self::peer_process::{PeerConfig, PeerRole, run_peer};
use self::plan::{DATAGRAM_LENGTH_MIN, STALL};
pub use self::plan::{FloorConfig, FloorError, FloorLayout, FloorResult, FloorSizes};
use crate::histogram::LatencyHistogram;

/// Times each measurement is made; the one with the smallest median counts. The kernel now and
/// then keeps two unpinned threads on one core, which doubles their round trip.
const ATTEMPTS: usize = 3;

/// Cores from which every agent, here and in the cluster, gets a thread of its own.
const CORES_FOR_THREADS_OF_THEIR_OWN: usize = 5;

/// Threads of one process where cores are fewer: client and leader, and the others.
const THREADS_SHARED: usize = 2;

/// Members of the floor.
pub const MEMBERS: usize = 3;

/// Round trips of the bare ping-pong: enough for a median, a few tens of milliseconds.
const PING_PONGS: u32 = 2_000;

/// Writes of the bare write measurement: a median within 50 ms on a good disk.
const BARE_WRITES: u32 = 200;

/// Whether this host has a core for each agent of a cluster of three and its client. Otherwise
/// client and leader share a thread, and so do the followers.
#[must_use]
pub(crate) fn has_core_for_each_agent() -> bool {
    cores_allowed().len() >= CORES_FOR_THREADS_OF_THEIR_OWN
}

/// Threads that `members` and their client take, here and in the cluster.
#[must_use]
pub fn threads_of(layout: FloorLayout, members: usize) -> usize {
    if layout == FloorLayout::Processes || has_core_for_each_agent() {
        members + 1
    } else {
        THREADS_SHARED
    }
}

/// The smallest of [`ATTEMPTS`] medians.
fn best<T>(
    mut attempt: impl FnMut() -> Result<T, FloorError>,
    median: impl Fn(&T) -> u64,
) -> Result<T, FloorError> {
    let mut best = attempt()?;
    for _ in 1..ATTEMPTS {
        let next = attempt()?;
        if median(&next) < median(&best) {
            best = next;
        }
    }
    Ok(best)
}

/// Measures the floor.
///
/// # Errors
/// When the operating system refuses something or a datagram is lost.
pub fn measure(config: &FloorConfig) -> Result<FloorResult, FloorError> {
    let sizes = config.sizes;
    for length in [sizes.request, sizes.replicate, sizes.ack, sizes.response] {
        if !(DATAGRAM_LENGTH_MIN..=DATAGRAM_LENGTH_MAX).contains(&length) {
            return Err(FloorError::Length { length });
        }
    }
    std::fs::create_dir_all(&config.directory)?;
    let whole = || match config.layout {
        FloorLayout::Threads => measure_threads(config),
        FloorLayout::Processes => peer_process::measure(config),
    };
    let round_trip = || measure_udp_rtt(sizes.request, &config.cores);
    Ok(FloorResult {
        latencies: best(whole, |latencies| latencies.quantile(0.5))?,
        udp_rtt_ns: best(round_trip, |median| *median)?,
        write_sync_ns: if config.is_durable {
            measure_write(&config.directory)?
        } else {
            0
        },
    })
}

fn measure_threads(config: &FloorConfig) -> Result<LatencyHistogram, FloorError> {
    let sockets = [bind()?, bind()?, bind()?, bind()?];
    let [client_socket, leader_socket, first, second] = sockets;
    let leader_address = leader_socket.local_addr()?;
    let addresses = [first.local_addr()?, second.local_addr()?];
    let mut followers = Vec::new();
    for (node, socket) in [(1, first), (2, second)] {
        let writer = writer_of(config, node)?;
        let follower = Follower::new(socket, &config.sizes, writer)?;
        followers.push(Participant::Follower(Box::new(follower)));
    }
    let writer = writer_of(config, 0)?;
    let crossings = config.crossings;
    let leader = Leader::new(leader_socket, addresses, &config.sizes, crossings, writer)?;
    let leader = Participant::Leader(Box::new(leader));
    let (warmup, messages) = (config.warmup, config.messages);
    let client = Client::new(
        client_socket,
        leader_address,
        &config.sizes,
        warmup,
        messages,
    )?;
    let mut groups: Vec<Vec<Participant>> = Vec::new();
    let beside = if has_core_for_each_agent() {
        groups.push(vec![leader]);
        groups.extend(followers.into_iter().map(|follower| vec![follower]));
        Vec::new()
    } else {
        groups.push(followers);
        vec![leader]
    };
    run_groups(config, client, beside, groups)
}

/// Runs the client and what shares its thread here, every other group on a thread of its own.
fn run_groups(
    config: &FloorConfig,
    client: Client,
    beside: Vec<Participant>,
    groups: Vec<Vec<Participant>>,
) -> Result<LatencyHistogram, FloorError> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = groups
            .into_iter()
            .enumerate()
            .map(|(index, mut group)| {
                let core = config.cores.get(index + 1).copied();
                let (stop, idle) = (&stop, config.idle);
                scope.spawn(move || {
                    pin(core)?;
                    serve(&mut group, idle, || stop.load(Ordering::Relaxed))?;
                    Ok::<_, FloorError>(())
                })
            })
            .collect();
        // The client's thread is a fresh one too, so that pinning does not outlive the floor.
        let core = config.cores.first().copied();
        let first = scope.spawn(move || {
            pin(core)?;
            run_client(client, beside, config.idle)
        });
        let outcome = first.join().unwrap_or_else(|_| Err(panicked().into()));
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().unwrap_or_else(|_| Err(panicked().into()))?;
        }
        outcome.map(|client| client.latencies().clone())
    })
}

/// Median round trip between two bare sockets on two threads.
fn measure_udp_rtt(length: usize, cores: &[usize]) -> Result<u64, FloorError> {
    let (near, far) = (bind()?, bind()?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let stop = AtomicBool::new(false);
    // Two threads on one core would be something else.
    let near_core = cores.first().copied();
    let echo_core = cores.iter().copied().find(|core| Some(*core) != near_core);
    std::thread::scope(|scope| {
        let stop = &stop;
        let echo = scope.spawn(move || {
            pin(echo_core)?;
            let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
            while !stop.load(Ordering::Relaxed) {
                match far.recv(&mut buffer) {
                    Ok(received) => drop(far.send(&buffer[..received])),
                    // Nothing has come yet.
                    Err(_) => std::thread::yield_now(),
                }
            }
            Ok::<_, FloorError>(())
        });
        let ping = scope.spawn(move || {
            pin(near_core)?;
            ping_pong(&near, length)
        });
        let outcome = ping.join().unwrap_or_else(|_| Err(panicked().into()));
        stop.store(true, Ordering::Relaxed);
        echo.join().map_err(|_| panicked())??;
        outcome
    })
}

fn ping_pong(socket: &UdpSocket, length: usize) -> Result<u64, FloorError> {
    let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
    let mut latencies = LatencyHistogram::default();
    for round in 0..PING_PONGS {
        let start = Instant::now();
        socket.send(&buffer[..length])?;
        while socket.recv(&mut buffer).is_err() {
            std::thread::yield_now();
            if start.elapsed() > STALL {
                let completed = i64::from(round);
                return Err(FloorError::Stalled { completed });
            }
        }
        latencies.record(start.elapsed().as_nanos() as Nanos);
    }
    Ok(latencies.quantile(0.5))
}

/// Median of one durable 4 KiB write, alone: the smaller of waiting for it as the nodes do, with
/// `sched_yield` between two polls, and of sleeping in the kernel until it is done. Where nothing
/// else runs, a thread that never sleeps may keep the kernel's completion work from its core for
/// a whole tick although it yields; the nodes have each other's system calls to be spared that.
fn measure_write(directory: &Path) -> Result<u64, FloorError> {
    let mut writer = BlockWriter::create(&directory.join("floor-write.dat"))?;
    let mut median = |sleeps: bool| -> Result<u64, FloorError> {
        let mut latencies = LatencyHistogram::default();
        for _ in 0..BARE_WRITES {
            let start = Instant::now();
            writer.start()?;
            if sleeps {
                writer.sleep_until_done()?;
            }
            while !writer.poll()? {
                std::thread::yield_now();
            }
            latencies.record(start.elapsed().as_nanos() as Nanos);
        }
        Ok(latencies.quantile(0.5))
    };
    let polled = best(|| median(false), |median| *median)?;
    Ok(polled.min(median(true)?))
}

#[cfg(test)]
mod tests {
    use lockstep_transport::agent::IdleStrategy;

    use super::*;

    fn config(directory: &Path) -> FloorConfig {
        FloorConfig {
            messages: 200,
            warmup: 10,
            sizes: FloorSizes {
                request: 352,
                replicate: 384,
                ack: 96,
                response: 384,
            },
            is_durable: false,
            crossings: 1,
            layout: FloorLayout::Threads,
            directory: directory.to_owned(),
            cores: Vec::new(),
            idle: IdleStrategy::Yield,
        }
    }

    #[test]
    fn every_round_trip_is_timed_once_whatever_the_crossings() {
        let directory = tempfile::tempdir().unwrap();
        for crossings in [1, 2] {
            let mut config = config(directory.path());
            config.crossings = crossings;
            let result = measure(&config).unwrap();
            assert_eq!(result.latencies.count(), 200);
            assert!(result.udp_rtt_ns > 0);
            assert_eq!(result.write_sync_ns, 0);
        }
    }

    #[test]
    fn a_durable_floor_waits_for_disks() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.is_durable = true;
        config.messages = 30;
        let result = measure(&config).unwrap();
        assert_eq!(result.latencies.count(), 30);
        assert!(result.write_sync_ns > 0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.sizes.ack = 3;
        let error = measure(&config).unwrap_err();
        assert!(matches!(error, FloorError::Length { length: 3 }));
    }
}
