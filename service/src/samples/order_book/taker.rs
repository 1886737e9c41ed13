//! An order that comes in.

use lockstep_transport::ids::SessionId;

use super::codec::Side;

/// An incoming order, after validation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taker {
    pub(super) id: u64,
    pub(super) session: SessionId,
    pub(super) symbol: u32,
    pub(super) side: Side,
    pub(super) price: i64,
    /// What is to trade or to rest.
    pub(super) quantity: u64,
    /// What has traded before.
    pub(super) filled: u64,
}
