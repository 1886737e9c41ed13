//! A node's directory looked at from outside, with nothing in it changed: what a start would find,
//! and what the log says. For operators and auditors; the node may run meanwhile.

pub mod directory_look;
pub mod entry_counts;
pub mod listing;
pub mod log_source;
mod looks;
pub mod named_snapshots;
pub mod newest_entries;
pub mod next_start;
pub mod snapshot_verification;
pub mod verification;
