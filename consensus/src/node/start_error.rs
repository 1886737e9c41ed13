//! Why a node cannot start.

use lockstep_archive::disk::DiskError;
use lockstep_archive::log::budget::BudgetError;
use lockstep_archive::log::recovery::RecoveryError;
use lockstep_transport::position::Position;

use crate::directory::member_directory::DirectoryError;
use crate::log::logged_limits::LimitsError;
use crate::node::birth::{BirthError, BirthOrDiskError};
use crate::node::unusable_snapshot::UnusableSnapshot;

/// Why a node cannot start. Nothing has been written then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Whose directory it is.
    #[error(transparent)]
    Birth(#[from] BirthError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No room for the first segments of the log.
    #[error("the log's first segments do not fit: {0}")]
    Room(#[from] BudgetError),
    /// The log.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The log's limits.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// No snapshot can be used, and the log does not begin at 0.
    #[error(
        "the log starts at {log_start}, and no snapshot can be used ({reasons}): what it led to \
         before is not known here; keep the directory as it is and run the other members, which \
         have it"
    )]
    NoSnapshot {
        /// Where the log starts.
        log_start: Position,
        /// What is wrong with each of them.
        reasons: String,
    },
    /// The state in a snapshot, all of whose bytes are good.
    #[error(
        "the snapshot at {position} cannot be loaded: {error}; run the build of the service, and \
         the version of lockstep, that wrote it"
    )]
    Snapshot {
        /// Where it was taken.
        position: Position,
        /// Why not.
        error: Box<UnusableSnapshot>,
    },
    /// Memory.
    #[error("no memory for the node's buffers: {0}; lower term_length or sessions_max")]
    Memory(#[from] std::io::Error),
}

impl StartError {
    /// What its disk said, where that is why.
    #[must_use]
    pub const fn disk_error(&self) -> Option<&DiskError> {
        match self {
            Self::Disk(error)
            | Self::Directory(DirectoryError::Disk(error))
            | Self::Recovery(RecoveryError::Disk(error)) => Some(error),
            _ => None,
        }
    }

    /// What to do about a call that failed on a file, whose error says only which and why; empty
    /// for errors that say it themselves.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self.disk_error() {
            Some(DiskError::Io { .. } | DiskError::Missing { .. }) => {
                "; keep the directory as it is, see that this user may read and write each file \
                 in it, and look at the device's health (kernel log)"
            }
            Some(DiskError::Full { .. } | DiskError::ReadOnly { .. } | DiskError::Crashed)
            | None => "",
        }
    }
}

impl From<BirthOrDiskError> for StartError {
    fn from(error: BirthOrDiskError) -> Self {
        match error {
            BirthOrDiskError::Birth(error) => Self::Birth(error),
            BirthOrDiskError::Directory(error) => Self::Directory(error),
            BirthOrDiskError::Disk(error) => Self::Disk(error),
        }
    }
}
