//! Why a service stopped.

use lockstep_transport::position::Position;

use crate::outbox::Divergence;
use crate::snapshot::SnapshotError;

/// Why a service stopped. Final: the node stops with it and is restarted by its operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFault {
    /// A callback panicked.
    #[error("the service panicked at position {position}: {message}")]
    Panicked {
        /// Position of the entry being applied.
        position: Position,
        /// The panic's message.
        message: String,
    },
    /// The log holds another response than this node's service emitted (`log.md` 5.8).
    #[error("the service diverged from the log at position {position}: {divergence:?}")]
    Diverged {
        /// Position of the Response entry.
        position: Position,
        /// What differs.
        divergence: Divergence,
    },
    /// An entry's payload exceeds the cluster-wide limit.
    #[error("the entry at {position} has {length} bytes, more than the limit of {limit}")]
    EntryTooLong {
        /// Position of the entry.
        position: Position,
        /// Bytes of its payload.
        length: usize,
        /// Most bytes of a message.
        limit: usize,
    },
    /// Log time ran backwards (`log.md` 1.7): the entry is not of a correct leader.
    #[error("log time fell from {before} to {found} ns at position {position}")]
    LogTimeFell {
        /// Position of the entry.
        position: Position,
        /// Log time of the entry before, in ns.
        before: i64,
        /// Its own log time, in ns.
        found: i64,
    },
    /// The service's state could not be written to a snapshot, or taken from one.
    #[error("no snapshot of the service at position {position} of the log: {error}")]
    Snapshot {
        /// Up to where the log is applied, or was where the snapshot was taken.
        position: Position,
        /// Why not.
        error: Box<SnapshotError>,
    },
    /// The service stopped earlier.
    #[error("the service stopped at position {position}")]
    Stopped {
        /// Position of the entry at which it stopped.
        position: Position,
    },
}
