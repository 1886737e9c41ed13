//! Twins of the ports for simulation: virtual time, one thread, one seed.

mod link;
mod network;

pub use link::LinkProfile;
pub use network::{NetworkCounters, PORT_QUEUE_MAX, SimNetwork, SimPort};

#[cfg(test)]
mod tests;
