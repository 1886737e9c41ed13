//! The cluster client: connect to any member, follow the redirect to the leader, offer
//! requests, receive every response once and in order, survive leader changes.
//!
//! The whole client is plain structs driven by `do_work(now, …)`; [`protocol`] holds the
//! messages exchanged with the cluster.
#![forbid(unsafe_code)]

pub mod cluster_client;
pub mod cluster_id;
pub mod cluster_session;
pub mod config;
pub mod counters;
mod egress;
pub mod event;
pub mod identity;
mod ingress;
pub mod notice;
pub mod protocol;
pub mod sequence;
pub mod session;
