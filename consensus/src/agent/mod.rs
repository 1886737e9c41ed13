//! The node as an agent: the pure parts, wired to ports.

pub mod admission;
pub mod applier;
pub mod birth;
#[cfg(feature = "sim")]
pub mod bounds;
pub mod callers;
pub mod cause_numbers;
mod chain_query;
mod chain_rewind;
mod client_duties;
pub mod closing;
pub mod cluster_node;
mod connecting;
mod cycle_budget;
pub mod egress_channel;
pub mod egress_channels;
pub mod egress_rows;
pub mod entry_assembler;
pub mod fault;
pub mod follower_log;
pub mod half_open;
mod housekeeping;
pub mod identity;
pub mod ingress;
pub mod ingress_images;
pub mod leadership;
pub mod log_store;
pub mod log_walk;
pub mod log_writer;
pub mod logged_limits;
mod member_duties;
mod membership_duties;
mod output_duties;
#[cfg(feature = "sim")]
mod planting;
pub mod replication;
pub mod response_egress;
pub mod session_duties;
mod session_events;
pub mod start;
pub mod watch;
