//! Snapshots: when a member writes one, and what of it is no service's (`log.md` 8).

pub mod transfer;
