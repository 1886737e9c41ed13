//! What a service emitted, and its name.

use lockstep_transport::ids::SessionId;
use lockstep_transport::position::Position;

/// The name of an effect: unique in the life of a cluster, ordered as effects are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EffectName {
    /// Position of the entry that caused it.
    pub cause: Position,
    /// Service that emitted it.
    pub service: u8,
    /// Its rank among that service's effects of this cause, from 0.
    pub ordinal: u32,
}

/// One emitted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect<'a> {
    /// Its name.
    pub name: EffectName,
    /// The session it is for.
    pub session: SessionId,
    /// What is sent; of a failure, its reason as one byte:
    /// [`EmitError::number`](super::EmitError::number).
    pub message: &'a [u8],
    /// It only says that the service could not emit what it wanted.
    pub is_failure: bool,
}
