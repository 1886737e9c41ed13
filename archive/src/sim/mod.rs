//! The archive's simulated twins (feature `sim`): a disk that forgets what was not synced.

mod disk;
mod image;

pub use disk::{SimBackup, SimDisk, SimDiskConfig};
