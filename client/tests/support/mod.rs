//! What the client's tests share: a network and a cluster that live in memory.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(missing_docs, reason = "test support")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod fake_cluster;
pub mod network;
pub mod world;
