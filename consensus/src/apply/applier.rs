//! The applied state of a node, a function of the log: its sessions, its service, and how far
//! they have come. Both move here, on every node alike, and nowhere else (C4).
//!
//! Whoever drives it asks for one frame after the other; what an entry does to clients, it is
//! told (`SessionNews`).

use lockstep_archive::log::log_reader::LogReader;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::Container;
use lockstep_transport::position::Position;

use crate::apply::service_agent::ServiceAgent;
use crate::log::entry_cursor::EntryCursor;
use crate::session::session_table::SessionTable;

/// See the module.
#[derive(Debug)]
pub struct Applier<S> {
    /// The sessions.
    pub sessions: SessionTable,
    /// The service.
    pub service: ServiceAgent<S>,
    /// Where it stands in the log.
    pub cursor: EntryCursor,
    /// Reads the log for it: its completions come in here.
    pub reader: LogReader,
    /// Log time of the last entry applied, ns.
    pub log_time: i64,
    /// The answer here waits for its cause, at this position, to be agreed on.
    pub waiting: Option<Position>,
}

impl<S: ClusteredService> Applier<S> {
    /// Starts at the beginning of the log.
    pub fn new(
        container: Container<S>,
        sessions: SessionTable,
        reader: LogReader,
        body_max: usize,
        is_direct: bool,
    ) -> Self {
        Self {
            sessions,
            service: ServiceAgent::new(container, is_direct),
            cursor: EntryCursor::new(body_max),
            reader,
            log_time: 0,
            waiting: None,
        }
    }

    /// Everything before this position is applied.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.cursor.position()
    }

    /// The sessions.
    #[must_use]
    pub const fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// The container.
    #[must_use]
    pub const fn container(&self) -> &Container<S> {
        self.service.container()
    }

    /// Whether the Response at `position` was what this node's service said; `None` while that
    /// is not known.
    #[must_use]
    pub(crate) fn has_matched(&self, position: Position) -> Option<bool> {
        let is_applied = position < self.position();
        let is_held = self
            .service
            .held()
            .is_some_and(|held| held.position == position);
        if is_held || self.service.void_responses().contains(position) && is_applied {
            return Some(false);
        }
        is_applied.then_some(true)
    }
}

#[cfg(test)]
mod tests;
