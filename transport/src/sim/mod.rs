//! Twins of the ports for simulation: virtual time, one thread, one seed.

mod link;
mod network;
mod troubled_port;

pub use link::LinkProfile;
pub use network::{NetworkCounters, SimNetwork, SimPort};
pub use troubled_port::TroubledPort;

#[cfg(test)]
mod tests;
