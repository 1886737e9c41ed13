//! What keeps a start from using a snapshot.

use lockstep_archive::disk::DiskError;
use lockstep_service::snapshot::SnapshotError;

use crate::node::fault::NodeFault;

/// Why a snapshot is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSnapshot {
    /// Its file cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What it says cannot be read.
    #[error(transparent)]
    Content(#[from] SnapshotError),
    /// It is whole, and another one than the index names.
    #[error("it is not the one that was stored there")]
    Other,
    /// It is whole, and of another cluster than the directory.
    #[error("it is of another cluster, {found:032x}")]
    Foreign {
        /// That cluster's uuid.
        found: u128,
    },
    /// The log starts above it.
    #[error("the log that follows it is gone")]
    Gone,
    /// Its header is none.
    #[error("its header is of another version, or of no snapshot")]
    Header,
    /// The service does not take it.
    #[error(transparent)]
    Service(#[from] Box<NodeFault>),
    /// Its leadership terms are none of a log.
    #[error("its leadership terms are those of no log")]
    Terms,
}

impl From<NodeFault> for UnusableSnapshot {
    fn from(fault: NodeFault) -> Self {
        Self::Service(Box::new(fault))
    }
}
