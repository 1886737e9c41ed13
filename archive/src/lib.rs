//! Lockstep's archive: makes the log durable and gives it back.
//!
//! A [`recorder`] writes the log's pages to segment files, group commit by overlap;
//! [`recovery`] finds where a crashed log ends (`log.md` 2.4); [`log_reader`] reads any
//! position from memory or from disk; [`directory`] holds the small files beside the log. All
//! of them reach storage through the [`disk::Disk`] port.
//!
//! # Colours
//! Everything here is *pure* or an *agent* part (arguments and ports only) except [`storage`],
//! the shell with the real disks, which alone may use `unsafe`.
#![deny(unsafe_code)]

pub mod ack_mark;
pub mod budget;
pub mod catalog;
pub mod chain;
pub mod directory;
pub mod disk;
pub mod identity_file;
pub mod log_reader;
pub mod log_view;
pub mod node_state;
pub mod recorder;
pub mod recovery;
pub mod segment;
#[cfg(feature = "sim")]
pub mod sim;
pub mod slot_file;
pub mod slow_disk;
pub mod spoiled_slots;
#[allow(unsafe_code, reason = "unsafe fence: system calls and io_uring")]
pub mod storage;
pub mod token;
