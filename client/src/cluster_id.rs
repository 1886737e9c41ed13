//! The number by which clients and members of one cluster know each other.

use lockstep_transport::stable_hash::stable_hash;

/// The id that all members and clients of a cluster of this name share.
#[must_use]
pub fn cluster_id(name: &str) -> u64 {
    stable_hash(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_in_every_version() {
        assert_eq!(cluster_id(""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(cluster_id("a"), 0xAF63_DC4C_8601_EC8C);
        assert_ne!(cluster_id("orders"), cluster_id("order"));
    }
}
