//! The node as an agent: the pure parts, wired to ports.

pub mod admission;
pub mod applier;
mod client_duties;
pub mod cluster_node;
mod connecting;
mod cycle_budget;
pub mod delivery;
pub mod egress_channel;
pub mod egress_channels;
pub mod entry_assembler;
pub mod fault;
pub mod follower_log;
mod housekeeping;
pub mod identity;
pub mod ingress;
pub mod ingress_images;
pub mod leadership;
pub mod log_store;
pub mod log_walk;
pub mod log_writer;
mod member_duties;
mod output_duties;
pub mod replication;
mod session_teller;
pub mod start;
pub mod watch;
