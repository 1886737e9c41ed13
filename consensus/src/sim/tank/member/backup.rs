//! An old state of a directory, as a backup tool keeps it.

use lockstep_archive::sim::SimBackup;

use crate::module::membership::Found;

/// An old state of a directory.
#[derive(Clone, Debug)]
pub struct Backup {
    /// What was copied.
    pub content: SimBackup,
    /// The directory.
    pub directory: u128,
    /// How often it had been started.
    pub starts: u64,
    /// A start finds no more than this in it.
    pub most: Found,
}
