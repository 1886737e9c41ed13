//! What the floor has of its host: sockets, cores and a clock.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;

use lockstep_transport::agent::PinRefused;
use lockstep_transport::time::Nanos;

/// The host's monotonic clock, ns since the first call in this process.
pub fn monotonic_now() -> Nanos {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as Nanos
}

/// A socket of a port of its own.
pub fn bind() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
}

/// Pins the calling thread to `core`, if there is one. The report names the cores asked for: a run
/// on others is none.
pub fn pin(core: Option<usize>) -> Result<(), PinRefused> {
    core.map_or(Ok(()), lockstep_transport::agent::pin)
}
