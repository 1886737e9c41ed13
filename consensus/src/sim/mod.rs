//! Deterministic simulators: one seed is one run, byte for byte (`simulator.md`).
//!
//! The *core tank* runs consensus modules over a positions-only log and exhausts schedules; the
//! *node tank* runs whole nodes and finds what falls between the parts. A [`scenario`] is a run
//! that is told step by step. Product code depends on none of them.

pub mod core_tank;
pub mod counting;
mod held;
mod log_range;
mod planted;
mod rule;
pub mod scenario;
pub mod service_time;
mod shared_memory;
pub mod shrink;
mod stored_log;
pub mod tank;
mod wall_clock;

pub use planted::{PlantedFault, Sighting};
pub use rule::{Broken, Rule};
