//! What a member's directory holds beside its log, and whether all of it is there.

pub mod member_directory;
pub mod node_state;
pub mod spoiled_slots;
