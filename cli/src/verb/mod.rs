//! The verbs of the command line, one small file each.

pub mod bench;
pub mod floor_peer;
pub mod log;
pub mod node;
pub mod orders;
pub mod sim;
pub mod snapshot;
pub mod snapshots;
pub mod transfer;
pub mod version;
