//! The directory that is looked at, and how it is reached.

use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_archive::log::log_memory::LogMemoryOwner;
use lockstep_archive::storage::{ReadOnlyDirectory, StorageError, in_use};
use lockstep_consensus::node::log_file::copy_log_memory;
use lockstep_consensus::node::offline::directory_look::OfflineError;
use lockstep_consensus::node::offline::log_source::LogSource;

use crate::outcome::Outcome;

/// The directory, and for whom it is looked at.
#[derive(Args, Debug)]
pub struct LookedAt {
    /// The data directory of a node.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Print JSON, for machines.
    #[arg(long)]
    pub json: bool,
}

/// The process that uses the directory, as it wrote its number.
pub fn holder(directory: &Path) -> Option<String> {
    match in_use(directory) {
        Some(StorageError::InUse { holder, .. }) => Some(holder),
        _ => None,
    }
}

/// Lets `look` look at the directory.
pub fn with_source(
    directory: &Path,
    look: impl FnOnce(&mut LogSource<'_, ReadOnlyDirectory>) -> Result<Outcome, OfflineError>,
) -> Outcome {
    let mut disk = match ReadOnlyDirectory::open(directory) {
        Ok(disk) => disk,
        Err(error) => return Outcome::usage(error),
    };
    let mut read_memory = |owner: &LogMemoryOwner| copy_log_memory(directory, owner);
    let is_in_use = || holder(directory).is_some();
    let mut source = LogSource {
        disk: &mut disk,
        is_in_use: &is_in_use,
        read_memory: &mut read_memory,
    };
    look(&mut source)
        .unwrap_or_else(|error| Outcome::usage(format!("{}: {error}", directory.display())))
}
