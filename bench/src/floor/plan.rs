//! What the floor is to measure, what it found, and why there is none.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use lockstep_client::protocol::{RequestHeader, ResponseHeader};
use lockstep_service::log_entry::ENTRY_HEADER_LENGTH;
use lockstep_transport::agent::{IdleStrategy, PinRefused};
use lockstep_transport::datagram_port::DATAGRAM_LENGTH_MAX;
use lockstep_transport::log_buffer::HEADER_LENGTH;
use lockstep_transport::position::align_frame;

use crate::histogram::LatencyHistogram;

/// The floor gives up when nothing has moved for so long.
pub const STALL: Duration = Duration::from_secs(20);

/// Shortest datagram: kind and number.
pub const DATAGRAM_LENGTH_MIN: usize = 16;

/// Lengths of the datagrams, in bytes; the same as those of the cluster beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloorSizes {
    /// Client to leader.
    pub request: usize,
    /// Leader to each follower.
    pub replicate: usize,
    /// Follower to leader.
    pub ack: usize,
    /// Leader to client.
    pub response: usize,
}

/// Bytes of headers around a request: frame header and message header.
const REQUEST_OVERHEAD: usize = HEADER_LENGTH + RequestHeader::LENGTH;

/// Bytes of headers around a response: frame header and message header.
const RESPONSE_OVERHEAD: usize = HEADER_LENGTH + ResponseHeader::LENGTH;

/// Bytes of headers around an entry: frame header and entry header.
const ENTRY_OVERHEAD: usize = HEADER_LENGTH + ENTRY_HEADER_LENGTH;

/// Bytes of a follower's acknowledgement.
const ACK_LENGTH: usize = 128;

impl FloorSizes {
    /// The datagrams of a cluster whose requests and responses have `length` bytes.
    #[must_use]
    pub fn of_message(length: usize) -> Self {
        let framed = |overhead: usize| (overhead + length).min(DATAGRAM_LENGTH_MAX);
        Self {
            request: framed(REQUEST_OVERHEAD),
            replicate: align_frame(framed(ENTRY_OVERHEAD)).min(DATAGRAM_LENGTH_MAX),
            ack: ACK_LENGTH,
            response: framed(RESPONSE_OVERHEAD),
        }
    }
}

/// Where the four participants run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorLayout {
    /// One process: client and leader on a thread, both followers on another; with five or
    /// more cores, each on its own.
    Threads,
    /// Four processes.
    Processes,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct FloorConfig {
    /// Timed round trips.
    pub messages: u32,
    /// Round trips before them.
    pub warmup: u32,
    /// Datagram lengths.
    pub sizes: FloorSizes,
    /// Whether each node writes a durable block per crossing.
    pub is_durable: bool,
    /// 1 for direct responses, 2 for replicated ones.
    pub crossings: u8,
    /// Threads or processes.
    pub layout: FloorLayout,
    /// Where the blocks are written: the run's directory.
    pub directory: PathBuf,
    /// Cores to pin threads or processes to, the client's first; empty leaves it to the kernel.
    pub cores: Vec<usize>,
    /// How threads and processes idle.
    pub idle: IdleStrategy,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct FloorResult {
    /// Latency of the whole floor, in the attempt with the smallest median.
    pub latencies: LatencyHistogram,
    /// Median round trip of two bare sockets on two threads, ns.
    pub udp_rtt_ns: u64,
    /// Median of one durable 4 KiB write alone, ns; 0 when not durable.
    pub write_sync_ns: u64,
}

/// Why there is no floor.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// The operating system refused something.
    #[error("the floor failed: {0}; check that loopback UDP works and the directory is writable")]
    Io(#[from] io::Error),
    /// A thread is not where it was to be.
    #[error(transparent)]
    Pin(#[from] PinRefused),
    /// Nothing moved any more.
    #[error(
        "the floor stalled after {completed} round trips: for {} s neither a loopback datagram nor \
         a write came back; measure when the host does nothing else",
        STALL.as_secs()
    )]
    Stalled {
        /// Round trips that had completed.
        completed: i64,
    },
    /// A length that cannot be sent.
    #[error(
        "a floor datagram of {length} bytes: use {DATAGRAM_LENGTH_MIN} to {DATAGRAM_LENGTH_MAX}"
    )]
    Length {
        /// The length asked for.
        length: usize,
    },
}
