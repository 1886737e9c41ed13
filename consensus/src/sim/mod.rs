//! Deterministic simulators: one seed is one run, byte for byte (`simulator.md`).
//!
//! The *core tank* runs consensus modules over a positions-only log and exhausts schedules; the
//! *node tank* runs whole nodes and finds what falls between the parts. A [`scenario`] is a run
//! that is told step by step. Product code depends on none of them.

mod client_inbox;
mod client_twin;
mod core_log;
mod core_network;
mod core_node;
mod core_oracle;
pub mod core_tank;
mod held;
mod planted;
mod replay;
mod rule;
pub mod scenario;
pub mod service_time;
pub mod shrink;
mod stored_log;
pub mod tank;
mod tank_accident;
mod tank_atlas;
mod tank_bounds;
mod tank_client;
pub mod tank_coverage;
mod tank_disk;
mod tank_host;
mod tank_impossible;
mod tank_inject;
mod tank_member;
mod tank_moment;
mod tank_operators;
mod tank_options;
mod tank_oracle;
mod tank_plan;
mod tank_quorum;
mod tank_service;
mod tank_settle;
mod tank_setup;
mod tank_strangers;
mod tank_troubles;

pub use planted::{PlantedFault, Sighting};
pub use rule::{Broken, Rule};
