//! The applied state of a node besides its service, a function of the log: its sessions, what its
//! Responses are to it, and how far both have come. On every node alike they move with the next
//! entry and nowhere else (C4).
//!
//! Whoever drives it asks for one frame after the other, and is handed with each entry what it
//! moves.

use lockstep_archive::log::log_reader::LogReader;
use lockstep_archive::log::log_view::LogView;
use lockstep_transport::position::Position;

use crate::apply::answers::Answers;
use crate::apply::applied_log::AppliedLog;
use crate::log::entry_cursor::{EntryCursor, Passed, Run};
use crate::node::fault::NodeFault;
use crate::session::session_table::SessionTable;

/// What the next entry waits for before it is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The members' agreement on the output of this cause.
    Agreement(Position),
    /// This node's own service, which has yet to execute what it was handed up to this position.
    Service(Position),
    /// A snapshot, which is taken at the end of this entry.
    Snapshot,
}

/// See the module.
#[derive(Debug)]
pub struct Applier {
    sessions: SessionTable,
    /// What the log's Responses are to this node.
    pub(crate) answers: Answers,
    /// What is known of the log as far as it is applied.
    pub(crate) log: AppliedLog,
    cursor: EntryCursor,
    reader: LogReader,
    waiting: Option<Awaited>,
    #[cfg(feature = "sim")]
    applies_all: bool,
}

/// What an entry moves.
#[derive(Debug)]
pub(crate) struct Applied<'a> {
    /// The sessions.
    pub sessions: &'a mut SessionTable,
    /// What the log's Responses are to this node.
    pub answers: &'a mut Answers,
    /// What is known of the log.
    pub log: &'a mut AppliedLog,
}

/// One frame further, and what an entry that it completes moves.
pub(crate) type Next<'a> = (Passed<'a>, Applied<'a>);

impl Applier {
    /// Starts at the beginning of the log.
    pub fn new(sessions: SessionTable, reader: LogReader, body_max: usize) -> Self {
        Self {
            sessions,
            answers: Answers::new(),
            log: AppliedLog::new(),
            cursor: EntryCursor::new(body_max),
            reader,
            waiting: None,
            #[cfg(feature = "sim")]
            applies_all: false,
        }
    }

    /// Takes over the state `at` the position where a snapshot was taken.
    pub(crate) fn begin_at(&mut self, log: AppliedLog, sessions: SessionTable, answers: Answers) {
        self.cursor.move_to(log.head().position);
        self.log = log;
        self.sessions = sessions;
        self.answers = answers;
    }

    /// Whether entries are applied that are not committed, as only a planted fault does.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) const fn applies_all(&self) -> bool {
        self.applies_all
    }

    /// Breaks C4 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn apply_all(&mut self) {
        self.applies_all = true;
    }

    /// Looks for the next run of frames below `limit`.
    ///
    /// # Errors
    /// When the log cannot be read back here.
    pub(crate) fn begin_run(
        &mut self,
        view: LogView<'_>,
        limit: Position,
    ) -> Result<Run, NodeFault> {
        self.waiting = None;
        self.cursor.begin_run(&mut self.reader, view, limit)
    }

    /// Passes the next frame of the run.
    ///
    /// # Errors
    /// When no leader writes such a frame there.
    pub(crate) fn next<'a>(&'a mut self, view: LogView<'a>) -> Result<Next<'a>, NodeFault> {
        let passed = match self.cursor.frame(&self.reader, view) {
            Some(frame) => {
                self.log.pass(&frame);
                self.cursor.pass(&frame)?
            }
            None => Passed::RunOver,
        };
        let applied = Applied {
            sessions: &mut self.sessions,
            answers: &mut self.answers,
            log: &mut self.log,
        };
        Ok((passed, applied))
    }

    /// The entry at `position`, of this log time, is looked at again later from its first frame: it
    /// waits for this, or is held.
    pub(crate) fn put_off(
        &mut self,
        (position, log_time): (Position, i64),
        awaited: Option<Awaited>,
    ) {
        self.cursor.move_to(position);
        self.log.put_off(log_time);
        self.waiting = awaited;
    }

    /// What the next entry waits for.
    #[must_use]
    pub(crate) const fn waiting(&self) -> Option<Awaited> {
        self.waiting
    }

    /// The reader's completions come in here.
    pub(crate) const fn reader_mut(&mut self) -> &mut LogReader {
        &mut self.reader
    }

    /// The sessions, to break their rules on purpose.
    #[cfg(feature = "sim")]
    pub(crate) const fn sessions_mut(&mut self) -> &mut SessionTable {
        &mut self.sessions
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

    /// Whether the Response at `position` was what this node's service said; `None` while that
    /// is not known.
    #[must_use]
    pub(crate) fn has_matched(&self, position: Position) -> Option<bool> {
        let is_applied = position < self.position();
        let held = self.answers.held();
        let is_held = held.is_some_and(|held| held.position == position);
        if is_held || self.answers.void().contains(position) && is_applied {
            return Some(false);
        }
        is_applied.then_some(true)
    }
}

#[cfg(test)]
mod tests;
