//! The log of one member: in memory and on disk, its writer, both ends of its stream between
//! members, and the entries in it.

pub mod archive_agent;
pub mod chain_query;
pub mod chain_rewind;
pub mod entry_assembler;
pub mod entry_body;
pub mod entry_cursor;
pub mod follower_log;
pub(crate) mod frame_meaning;
pub mod log_clock;
pub mod log_entry;
pub mod log_session_id;
pub mod log_walk;
pub mod log_writer;
pub mod logged_limits;
pub mod member_log;
pub mod replication;
pub(crate) mod snapshot_store;
mod trimming;
