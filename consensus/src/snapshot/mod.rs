//! Snapshots: when a member writes one, and what of it is no service's (`log.md` 8).

pub(crate) mod exchange;
pub(crate) mod header;
pub(crate) mod section_search;
pub(crate) mod stream;
pub(crate) mod taker;
pub mod transfer;
