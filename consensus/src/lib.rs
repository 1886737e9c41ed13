//! Raft over byte positions, sessions, and the node that assembles everything.
//!
//! [`module`] is the pure heart: elections, joining, commit. [`log`] writes, walks and
//! replicates the log, [`apply`] applies it, [`session`] serves clients, [`directory`] is what a
//! member keeps beside its log, [`snapshot`] what spares it the log; [`node`] puts them together
//! and is the shell with real sockets and a real disk. With feature `sim`, `sim` runs all of it in
//! virtual time.
//!
//! # Surface
//! What is public though nobody in this workspace needs it:
//! - [`node::launch::Node::request_hashes`], [`node::launch::Node::set_link_faults`]: an
//!   application that compares its members' states, or tries out what a bad link does to it.
#![forbid(unsafe_code)]

pub mod apply;
pub mod directory;
pub mod log;
pub mod module;
pub mod node;
pub mod notice;
pub mod protocol;
pub mod session;
pub mod settings;
#[cfg(feature = "sim")]
pub mod sim;
pub mod slots;
pub mod snapshot;
#[cfg(test)]
mod test_snapshot;
