//! From where on the log is read for a client that comes back, or that a new leader finds.

use lockstep_transport::position::Position;

use crate::log::member_log::MemberLog;
use crate::session::session_table::Session;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// It has all.
    Nothing,
    /// From this frame boundary on.
    From(Position),
    /// Some of it may not be in the log any more: it can be served no further, and its session is
    /// closed (`log.md` 7.4).
    Gone,
}

impl Owed {
    /// What the client of `session` is owed that has what it was answered up to `received`.
    pub(crate) fn of(session: &Session, received: Position, log: &MemberLog) -> Self {
        match session.needed_from(received) {
            None => Self::Nothing,
            Some(needed) if needed < log.start() => Self::Gone,
            Some(_) => Self::From(log.frame_boundary(session.open_position, received)),
        }
    }
}
