//! One number for what all members must agree on: it is in everything that they say to each other,
//! so that a member with other settings is told from one that is lost. Pure.

use lockstep_transport::stable_hash::stable_hash;

use crate::settings::cluster_limits::ClusterLimits;
use crate::settings::config::ClusterConfig;

/// Hash of everything that members must agree on: the cluster's name, how many members it has
/// and its limits. Addresses are not identity: members may be moved one by one.
#[must_use]
pub fn config_digest(cluster: &ClusterConfig) -> u64 {
    let limits = ClusterLimits::of(cluster).digest();
    let mut bytes = cluster.name.as_bytes().to_vec();
    bytes.push(cluster.members.len() as u8);
    bytes.extend_from_slice(&limits.to_le_bytes());
    stable_hash(&bytes)
}
