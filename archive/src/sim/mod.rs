//! The archive's simulated twins (feature `sim`): a disk that forgets what was not synced.

mod controls;
mod disk;
mod image;

pub use controls::forget_commit;
pub use disk::{SimBackup, SimDisk, SimDiskConfig};
pub use image::SECTOR_LENGTH;
