//! One snapshot in one file: written while the node runs, read while it starts, served to others.
//!
//! The file holds the bytes it was given and nothing about them, zeros up to a whole block at its
//! end. How long it truly is, and that it is whole, somebody else remembers, elsewhere and later:
//! until then a file found here counts for nothing.

pub mod reader;
pub mod source;
pub mod writer;

/// The recordings that are snapshots: the position is where one was taken.
pub const SNAPSHOT_RECORDING_ID: i64 = 1;
