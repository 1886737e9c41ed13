//! UNSAFE FENCE: real disks behind the [`Disk`](crate::disk::Disk) port (shell).
//!
//! [`NodeDisk`] is io_uring where the host allows it and a writer thread with `pwritev2` where
//! not; [`open`] takes the better, and [`DiskWay`] says what that is and what it costs.
//! Both share [`directory`]: files, cold calls and the lock that keeps a
//! second process out; and a helper thread that makes segments off the hot path. What carries out
//! reads and writes is an engine, on the caller's thread or on one that drives a [`StorageRunner`].
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: files and threads live here"
)]

mod boot_id;
mod calls;
mod desk;
pub mod directory;
mod error;
#[cfg(test)]
mod fault_tests;
mod helper_thread;
mod looks;
mod node_disk;
mod open_file;
mod operation;
mod preparer;
mod read_only;
mod real_disk;
mod ring;
mod thread_disk;

pub use directory::{NodeDirectory, in_use};
pub use error::StorageError;
pub use looks::free_bytes;
pub use node_disk::{DiskWay, NodeDisk, StorageRunner, open};
pub use read_only::{LookError, ReadOnlyDirectory};
pub use ring::UringDisk;
pub use thread_disk::ThreadDisk;
