//! In what a Response of the log and this node's own output differ (`log.md` 5.3, 5.8). Pure.

use lockstep_transport::ids::SessionId;

use super::effect::{Effect, EffectName};

/// In what an applied Response differs from what this node's service emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The name was answered before by what this node's service said then.
    AnsweredBefore,
    /// One is an effect, the other says that there is none.
    Failure,
    /// This node emitted nothing of that name at this place of the FIFO.
    Name,
    /// For another session.
    Session {
        /// The session this node's service answered.
        own: i64,
        /// The session in the log.
        logged: i64,
    },
    /// Another length.
    Length {
        /// Bytes this node's service emitted.
        own: usize,
        /// Bytes in the log.
        logged: usize,
    },
    /// Another content.
    Byte {
        /// Offset of the first byte that differs.
        offset: usize,
        /// That byte as this node's service emitted it.
        own: u8,
        /// That byte in the log.
        logged: u8,
    },
}

/// Evidence that this node's service and the log disagree (`log.md` 5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The name the Response in the log bears.
    pub logged: EffectName,
    /// The name at the front of this node's FIFO.
    pub own: Option<EffectName>,
    /// What differs.
    pub difference: Difference,
}

/// Outcome of applying a Response entry (`log.md` 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ResponseVerdict {
    /// It is the front of the FIFO, byte for byte; the front was popped.
    Matched,
    /// Its name was popped before; counted, nothing changed.
    Ignored,
    /// It is not what this node emitted; nothing changed.
    Diverged(Divergence),
}

/// In what a Response of the right name differs from `own`.
pub(super) fn difference(
    own: &Effect<'_>,
    session: SessionId,
    logged: &[u8],
) -> Option<Difference> {
    if own.session != session {
        return Some(Difference::Session {
            own: own.session.get(),
            logged: session.get(),
        });
    }
    if own.message == logged {
        return None;
    }
    if own.message.len() != logged.len() {
        return Some(Difference::Length {
            own: own.message.len(),
            logged: logged.len(),
        });
    }
    let offset = own.message.iter().zip(logged).position(|(a, b)| a != b)?;
    Some(Difference::Byte {
        offset,
        own: own.message[offset],
        logged: logged[offset],
    })
}
