//! The node as the tank runs it.

use crate::node::cluster_node::ClusterNode;
use crate::sim::tank::far_ends::{MemberDisk, MemberPort};
use crate::sim::tank::service::TankService;

/// The node as the tank runs it.
pub type TankNode = ClusterNode<MemberDisk, MemberPort, TankService>;

/// What a node has applied: position, and hashes of service state, output and sessions.
pub type AppliedState = (i64, u64, u64, u64);
