//! Twins of the ports for simulation: virtual time, one thread, one seed.

mod link;
mod network;
mod troubled_port;

pub use link::LinkProfile;
pub use network::{NetworkCounters, PORT_QUEUE_MAX, SimNetwork, SimPort};
pub use troubled_port::TroubledPort;

#[cfg(test)]
mod tests;
