//! The seam to the network: one unconnected UDP endpoint, non-blocking in both directions.
//!
//! Implemented by [`crate::media`] (system calls, io_uring), wrapped by the fault injecting
//! port, and twinned by the simulator's network. One conformance suite
//! (`transport/tests/datagram_port.rs`) runs against all of them.

use core::net::SocketAddr;

use crate::port_trouble::PortTrouble;
use crate::time::Nanos;

/// Largest datagram that a port sends or receives, in bytes.
pub const DATAGRAM_LENGTH_MAX: usize = 65_504;

/// Datagrams that an agent takes from one port per duty cycle, so that a flood can neither keep a
/// cycle from ending nor an agent from sending.
pub const DATAGRAMS_PER_CYCLE: usize = 64;

/// What became of a datagram handed to [`DatagramPort::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// Taken; it may still be lost, as any datagram may.
    Sent,
    /// The port's queue is full: nothing was taken, try again in a later cycle.
    BackPressured,
    /// The operating system refused this datagram for good; the port counted it.
    Refused,
}

/// A received datagram: where it came from and how many bytes of the buffer it filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Address the datagram was sent from.
    pub source: SocketAddr,
    /// Its length in bytes.
    pub length: usize,
}

/// One UDP endpoint. Nothing here blocks, allocates or fails loudly: loss is normal.
pub trait DatagramPort {
    /// The address that peers reach this endpoint by (real port number, never 0).
    fn local_address(&self) -> SocketAddr;

    /// Copies the oldest waiting datagram into `buffer`, or returns `None` when none waits.
    ///
    /// A datagram longer than `buffer` is dropped and counted, never truncated.
    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received>;

    /// Sends `datagram` to `to`, or queues it until [`flush`](Self::flush).
    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome;

    /// Pushes out whatever [`send`](Self::send) queued. Called at the end of each send phase.
    fn flush(&mut self, _now: Nanos) {}

    /// What the port could not do since it was last asked, one kind at a time.
    fn take_trouble(&mut self) -> Option<PortTrouble> {
        None
    }

    /// When this port wants to be polled even if nothing else happens (delayed datagrams).
    fn next_deadline(&self) -> Option<Nanos> {
        None
    }
}
