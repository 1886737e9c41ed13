//! Raft over byte positions, sessions, and the node that assembles everything.
//!
//! [`consensus_module`] is the pure heart: elections, joining, commit. [`agent`] feeds it
//! events and carries out its actions, writes and applies the log, and serves clients; [`node`]
//! is the shell with real sockets and a real disk. With feature `sim`, `sim` runs all of it in
//! virtual time.
#![forbid(unsafe_code)]

pub mod action;
pub mod agent;
pub mod cluster_limits;
pub mod config;
pub mod consensus_module;
pub mod counters;
pub mod entry_body;
pub mod event;
pub mod formation;
pub mod leadership_term;
pub mod lengths;
pub mod log_clock;
pub mod member;
pub mod membership;
pub mod message;
pub mod node;
pub mod node_file;
pub mod notice;
pub mod notice_printer;
pub mod output_agreement;
pub mod protocol;
pub mod quantity;
pub mod session;
pub mod shared_file;
#[cfg(feature = "sim")]
pub mod sim;
pub mod slots;
pub mod start_line;
pub mod void_responses;
