//! The small files beside the log, and the directory that they make up.

pub mod ack_mark;
pub mod catalog;
pub mod directory;
pub mod identity_file;
pub mod node_state;
pub mod slot_file;
pub mod spoiled_slots;
