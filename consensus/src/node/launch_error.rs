//! Why a node could not be launched, or not end cleanly, and what to do about it.

use std::path::Path;

use lockstep_archive::storage::StorageError;
use lockstep_transport::media::PortError;
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use crate::node::agent_threads::END_PATIENCE_S;
use crate::node::fault::StoreFailure;
use crate::node::shared_file::SharedFileError;
use crate::node::start_error::StartError;
use crate::settings::config::ConfigError;

/// Writes under way when a node ends are waited for so long: a disk that is merely slow ends them.
pub(super) const CLOSE_PATIENCE_NS: Nanos = 10 * SECOND;

/// Why a node could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A socket.
    #[error("failed to {0}")]
    Port(#[from] PortError),
    /// Recovery.
    #[error("{directory}: {source}{}", source.remedy())]
    Start {
        /// The node's directory.
        directory: String,
        /// What is wrong with it.
        source: StartError,
    },
    /// The operating system has no randomness to give.
    #[error("no randomness for the node's ids: {0}; check that getrandom(2) is permitted here")]
    Randomness(std::io::Error),
    /// The operating system has no thread to give.
    #[error("no thread for its agents: {0}; raise `ulimit -u`, or set threading = \"shared\"")]
    Thread(std::io::Error),
    /// The counters or trace file.
    #[error(transparent)]
    Shared(#[from] SharedFileError),
    /// One of them cannot be mapped.
    #[error("{file}: {source}; check the limits on this process's memory")]
    Mapping {
        /// Which file.
        file: String,
        /// The operating system's words.
        source: std::io::Error,
    },
}

/// Why a node could not end cleanly.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The disk.
    #[error(
        "the log could not be made durable at the end: {0}; check the device, and start this \
         member again before its host goes down"
    )]
    Disk(#[from] StoreFailure),
    /// A write that was under way did not end.
    #[error(
        "the log could not be made durable at the end: a write has not ended for {seconds} s; \
         check the device, and start this member again before its host goes down",
        seconds = CLOSE_PATIENCE_NS / SECOND
    )]
    Patience,
    /// A write did not end, for the service, which did not return, has the disk's thread.
    #[error(
        "the log could not be made durable at the end: the service has not returned for \
         {seconds} s, it is at the entry at {position} or soon after it, and the disk is on its \
         thread; a service must not wait for anything; give the archive another thread, and start \
         this member again before its host goes down",
        seconds = CLOSE_PATIENCE_NS / SECOND
    )]
    ServiceHoldsDisk {
        /// The entry.
        position: Position,
    },
    /// The service did not return.
    #[error(
        "the service has not returned for {seconds} s, it is at the entry at {position} or soon \
         after it: its thread was left behind; the log is whole, and a start of this member \
         executes it anew; a service must not wait for anything",
        seconds = END_PATIENCE_S
    )]
    Service {
        /// The entry.
        position: Position,
    },
}

/// What is said of a directory that cannot be started from.
pub(super) fn start_error(directory: &Path, source: StartError) -> LaunchError {
    let directory = directory.display().to_string();
    LaunchError::Start { directory, source }
}

/// What is said of a file that cannot be mapped.
pub(super) fn mapping_error(path: &Path) -> impl FnOnce(std::io::Error) -> LaunchError {
    let file = path.display().to_string();
    move |source| LaunchError::Mapping { file, source }
}
