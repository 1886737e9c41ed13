//! The node as the tank runs it.

use crate::node::cluster_node::ClusterNode;
use crate::sim::tank::disk::TankDisk;
use crate::sim::tank::host::TankPort;
use crate::sim::tank::service::TankService;

/// The node as the tank runs it.
pub type TankNode = ClusterNode<TankDisk, TankPort, TankService>;

/// What a node has applied: position, and hashes of service state, output and sessions.
pub type AppliedState = (i64, u64, u64, u64);
