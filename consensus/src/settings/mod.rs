//! What a cluster and a node are told before they start, with the checks.

pub mod cluster_limits;
pub mod config;
mod config_check;
pub mod config_digest;
pub mod lengths;
pub mod node_file;
pub mod quantity;
pub mod threading;
