//! The number by which the members of a cluster know the stream that carries their log.

use lockstep_client::cluster_id::cluster_id;

/// Transport session id of the log stream of a cluster of this name.
#[must_use]
pub fn log_session_id(name: &str) -> i32 {
    (cluster_id(name) >> 32) as i32
}
