//! Sessions that are over while their clients still lack answers.

use crate::log::entry_body::CloseReason;
use crate::session::session_table::Session;

/// Closed sessions whose clients still lack responses, at a time. Beyond it the oldest is given
/// up: its client learns that it is closed when it asks.
pub(crate) const CLOSED_SESSIONS_MAX: usize = 64;

/// A closed session whose client still lacks responses; CLOSED follows them (`log.md` 6.2).
#[derive(Clone, Copy, Debug)]
pub struct ClosedSession {
    /// The session as it was.
    pub session: Session,
    /// Why it closed.
    pub reason: CloseReason,
}
