//! The archive's simulated twins (feature `sim`): a disk that forgets what was not synced, and what
//! makes the two ends of a queued one of it.

mod cold_files;
mod controls;
mod disk;
mod image;
mod whole_disk;

pub use controls::forget_commit;
pub use disk::{SimBackup, SimDisk, SimDiskConfig};
pub use image::SECTOR_LENGTH;
pub use whole_disk::{Ordered, WholeDisk};
