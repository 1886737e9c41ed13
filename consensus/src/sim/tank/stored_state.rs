//! What a member's disk holds of its term and vote, looked at from outside: the oracles ask, no
//! node does.

use lockstep_archive::sim::SimDisk;

use crate::directory::node_state::{NODE_STATE_FILE, NodeState};

/// The node state that stable storage holds.
#[must_use]
pub fn durable_state(disk: &SimDisk) -> Option<NodeState> {
    NodeState::decode(&disk.durable_record(&NODE_STATE_FILE)?)
}
