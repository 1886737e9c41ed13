//! What an application sees of Lockstep, and the container that runs it.
//!
//! Implement [`ClusteredService`](clustered_service::ClusteredService); the
//! [`container`] applies committed log entries to it on every node, in the same order, with the
//! same log time, and collects what it emits in an [`outbox`] whose content is a function of the
//! log alone (`log.md` 5). The `samples` (feature `samples`) are services to start from.
//!
//! # Surface
//! What is public though nobody in this workspace needs it:
//! - [`state_hash`]: for services that hash a state of their own;
//! - `samples`: all that clients of the sample services say and hear.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod clustered_service;
pub mod container;
pub mod log_entry;
pub mod outbox;
#[cfg(feature = "samples")]
pub mod samples;
pub mod snapshot;
pub mod state_hash;
