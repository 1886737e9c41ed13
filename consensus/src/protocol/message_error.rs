//! Why a datagram is no message of a member of this cluster.

use crate::module::member::MemberId;

/// Why a datagram is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberMessageError {
    /// Shorter than it says, or not one whole DATA frame of this stream.
    #[error("not one whole member message")]
    Malformed,
    /// The checksum does not match the bytes.
    #[error("the checksum does not match the bytes")]
    Checksum,
    /// Another schema, an unknown template, or a block that is too short.
    #[error("template {template} of schema {schema}, version {version}, is not known")]
    Unknown {
        /// Its schema id.
        schema: u16,
        /// Its template id.
        template: u16,
        /// Its schema version.
        version: u16,
    },
    /// A field holds what no sender may write.
    #[error("a field is out of range")]
    Field,
    /// The sender belongs to another cluster.
    #[error("member {from} belongs to cluster {cluster_id:#x}: check its cluster name and address")]
    OtherCluster {
        /// The sender.
        from: MemberId,
        /// Its cluster.
        cluster_id: u64,
    },
    /// The sender's configuration differs where all members must agree.
    #[error("member {from} has other cluster-wide settings: all members need the same ones")]
    OtherConfig {
        /// The sender.
        from: MemberId,
        /// Its digest.
        config_digest: u64,
    },
}
