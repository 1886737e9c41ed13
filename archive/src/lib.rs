//! Lockstep's archive: makes the log durable and gives it back.
//!
//! In [`log`], a recorder writes the log's pages to segment files, group commit by overlap,
//! recovery finds where a crashed log ends (`log.md` 2.4), and a reader reads any position from
//! memory or from disk; [`files`] are the small ones beside the log. All of them reach storage
//! through the [`disk::Disk`] port.
//!
//! # Colours
//! Everything here is *pure* or an *agent* part (arguments and ports only) except [`storage`],
//! the shell with the real disks, which alone may use `unsafe`.
#![deny(unsafe_code)]

pub mod disk;
pub mod files;
pub mod log;
pub mod queued_disk;
#[cfg(feature = "sim")]
pub mod sim;
pub mod slow_disk;
pub mod snapshot_file;
#[allow(unsafe_code, reason = "unsafe fence: system calls and io_uring")]
pub mod storage;
