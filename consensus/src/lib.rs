//! Raft over byte positions, sessions, and the node that assembles everything.
//!
//! [`consensus_module`](crate::consensus_module) is the pure heart: elections, joining,
//! commit. The node agent feeds it events and carries out its actions.
#![forbid(unsafe_code)]

pub mod action;
pub mod config;
pub mod event;
pub mod member;
pub mod message;
