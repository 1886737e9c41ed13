//! The small files beside the log, and the slots that their user keeps one of its own in.

pub mod ack_mark;
pub mod ack_record;
pub mod catalog;
pub mod identity_file;
pub mod slot_file;
pub mod snapshot_index;
