//! Lockstep's archive: makes the log durable and gives it back.
//!
//! A [`recorder`](crate::recorder) writes the log's pages to segment files, group commit by
//! overlap; [`recovery`](crate::recovery) finds where a crashed log ends (`log.md` 2.4);
//! [`log_reader`](crate::log_reader) reads any position from memory or from disk. All of them
//! reach storage through the [`disk::Disk`] port.
#![deny(unsafe_code)]

pub mod disk;
