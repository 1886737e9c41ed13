//! What the side that faces clients is told of sessions, in the order of the log: a bounded queue
//! with one writer, who decides, and one reader, who tells the clients. While it is full, nothing
//! more is applied.

use crate::log::entry_body::{ClientKey, CloseReason};
use crate::session::pending_connect::PendingConnect;
use crate::session::session_events::SessionEventSender;
use crate::session::session_table::Session;

/// News that may wait: one for each of the 64 frames after which a call of applying ends. A run of
/// frames may be longer: then applying waits.
pub(crate) const NEWS_MAX: usize = 64;

/// The writer's end.
pub(crate) type NewsWriter = rtrb::Producer<ClientNews>;

/// The reader's end.
pub(crate) type NewsReader = rtrb::Consumer<ClientNews>;

/// An empty queue.
#[must_use]
pub(crate) fn queue() -> (NewsWriter, NewsReader) {
    rtrb::RingBuffer::new(NEWS_MAX)
}

/// What became of a session. On a member that serves clients with it comes in whose name they are
/// told; on any other member nobody is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientNews {
    /// It opened.
    Opened {
        /// As it is now.
        session: Session,
        /// Who asked for it here.
        connect: Option<PendingConnect>,
        /// In whose name.
        sender: Option<SessionEventSender>,
    },
    /// It is continued from where its entry says; of a leader that serves clients only.
    Continued {
        /// As it is now.
        session: Session,
        /// By another process, which has it from now on.
        is_takeover: bool,
        /// Who asked for it here.
        connect: Option<PendingConnect>,
        /// In whose name.
        sender: SessionEventSender,
    },
    /// Its entry had no effect.
    Ignored(ClientKey),
    /// It closed.
    Closed {
        /// As it was.
        session: Session,
        /// Why.
        reason: CloseReason,
        /// In whose name.
        sender: Option<SessionEventSender>,
    },
}
