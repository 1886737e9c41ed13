//! Twins of the ports for simulation: virtual time, one thread, one seed (`reliability.md` 3.2).

mod link;
mod network;

pub use link::LinkProfile;
pub use network::{NetworkCounters, PORT_QUEUE_MAX, SimNetwork, SimPort};

#[cfg(test)]
mod tests;
