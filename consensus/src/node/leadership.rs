//! The volatile state of a leader: all of it built after an election and dropped with the
//! leadership (C5).
//!
//! Nothing but the NewLeadershipTerm entry is appended before the module and the service have
//! applied it (`log.md` 5.7); from then on the leadership is *open*.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::log::entry_body::{ClientKey, NewLeadershipTerm, SessionOpen};
use crate::log::log_entry::LogEntry;
use crate::log::log_writer::{Appended, LogWriter};
use crate::session::leader_sessions::LeaderSessions;
use crate::session::pending_connect::{CONNECTS_MAX, PendingConnect};
use crate::session::session_table::{Session, SessionTable};

/// Where and when an entry would be appended now.
#[derive(Clone, Copy, Debug)]
pub struct AppendContext {
    /// No entry may end above this position.
    pub limit: Position,
    /// The log's clock, ns.
    pub log_time: i64,
    /// The leader's commit position.
    pub commit: Position,
}

/// A leader's volatile state; empty while this member does not lead.
#[derive(Debug)]
pub struct Leadership {
    term: LeadershipTermId,
    writer: Option<LogWriter>,
    own_entry_end: Option<Position>,
    is_open: bool,
    unapplied_causes: u64,
    /// The sessions as the leader knows them.
    pub sessions: LeaderSessions,
    connects: Vec<PendingConnect>,
    /// Connects whose entry is applied and that wait for their answer.
    decided: Vec<PendingConnect>,
}

impl Leadership {
    /// Of a member that does not lead.
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        Self {
            term: LeadershipTermId::NONE,
            writer: None,
            own_entry_end: None,
            is_open: false,
            unapplied_causes: 0,
            sessions: LeaderSessions::new(sessions_max),
            connects: Vec::with_capacity(CONNECTS_MAX),
            decided: Vec::with_capacity(CONNECTS_MAX),
        }
    }

    /// Leads `term` from now on, writing with `writer`.
    pub fn begin(&mut self, term: LeadershipTermId, writer: LogWriter) {
        self.abdicate();
        self.term = term;
        self.writer = Some(writer);
    }

    /// Forgets everything a leader knows.
    pub(crate) fn abdicate(&mut self) {
        self.term = LeadershipTermId::NONE;
        self.writer = None;
        self.own_entry_end = None;
        self.is_open = false;
        self.unapplied_causes = 0;
        self.sessions.clear();
        self.connects.clear();
        self.decided.clear();
    }

    /// Connects whose entry, or answer, is on its way.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) const fn connects_waiting(&self) -> usize {
        self.connects.len() + self.decided.len()
    }

    /// The term led, 0 while not leading.
    #[must_use]
    pub const fn term(&self) -> LeadershipTermId {
        self.term
    }

    /// Whether this member leads.
    #[must_use]
    pub const fn is_leading(&self) -> bool {
        self.writer.is_some()
    }

    /// End of the log as this leader has appended it.
    #[must_use]
    pub fn append_position(&self) -> Option<Position> {
        self.writer.as_ref().map(LogWriter::position)
    }

    /// Whether clients' messages and services' effects may be appended.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the leadership may open now: its own first entry is applied.
    #[must_use]
    pub(crate) fn may_open(&self, applied: Position) -> bool {
        !self.is_open && self.own_entry_end.is_some_and(|end| applied >= end)
    }

    /// Opens, for its own first entry is `applied`: the replicated sessions become the leader's.
    pub fn open(&mut self, table: &SessionTable, applied: Position, now: Nanos) {
        invariant!(
            OpensAfterOwnEntry,
            self.own_entry_end.is_some_and(|end| applied >= end),
            "S3: opened at {applied}, and the own entry ends at {:?}",
            self.own_entry_end
        );
        self.open_at_once(table, now);
    }

    /// Opens whatever is applied: but for [`open`](Self::open) only a planted fault does.
    pub(super) fn open_at_once(&mut self, table: &SessionTable, now: Nanos) {
        self.is_open = true;
        self.sessions.open(table, now);
    }

    /// Appends the first entry of the term, once.
    pub(crate) fn append_own_entry(
        &mut self,
        log: &mut LogBuffer,
        context: &AppendContext,
        entry: &NewLeadershipTerm,
    ) -> Option<Appended> {
        if self.own_entry_end.is_some() {
            return None;
        }
        let base = self.append_position();
        let entry = LogEntry::NewLeadershipTerm(*entry);
        let appended = self.append(log, context, &entry)?;
        if base != Some(appended.position) {
            sometimes(Mark::FirstEntryPadded);
        } else if appended.position > 0 && log.geometry().term_offset(appended.position) == 0 {
            sometimes(Mark::FirstEntryAtTermStart);
        }
        self.own_entry_end = Some(appended.end);
        Some(appended)
    }

    /// Appends an entry if there is room for it.
    pub fn append(
        &mut self,
        log: &mut LogBuffer,
        context: &AppendContext,
        entry: &LogEntry<'_>,
    ) -> Option<Appended> {
        invariant!(
            NothingElseBeforeOpening,
            self.is_open || matches!(entry, LogEntry::NewLeadershipTerm(_)),
            "S3: {:?} is appended before the leadership is open",
            entry.kind()
        );
        let mut header = entry.header();
        header.leader_commit = context.commit;
        let AppendContext {
            limit, log_time, ..
        } = *context;
        let writer = self.writer.as_mut()?;
        let appended = entry.with_body(|body| writer.append(log, limit, log_time, header, body))?;
        if entry.is_causing() {
            self.unapplied_causes += 1;
        }
        Some(appended)
    }

    /// Causing entries appended and not yet applied (`log.md` 5.6).
    #[must_use]
    pub(crate) const fn unapplied_causes(&self) -> u64 {
        self.unapplied_causes
    }

    /// A causing entry was applied.
    pub(crate) fn on_cause_applied(&mut self) {
        self.unapplied_causes = self.unapplied_causes.saturating_sub(1);
    }

    /// Whether another connect may wait.
    #[must_use]
    pub(crate) fn has_room_for_connect(&self) -> bool {
        self.connects.len() + self.decided.len() < CONNECTS_MAX
    }

    /// The connect that waits for such an entry, if any.
    pub(crate) fn pending_connect(&mut self, open: &SessionOpen) -> Option<&mut PendingConnect> {
        self.connects.iter_mut().find(|c| c.is_for(open))
    }

    /// Whether a connect of this client waits for its entry, or for its answer.
    #[must_use]
    pub(crate) fn awaits(&self, client: ClientKey) -> bool {
        let mut connects = self.connects.iter().chain(&self.decided);
        connects.any(|connect| connect.open.client() == client)
    }

    /// Remembers a connect until its SessionOpen is applied.
    pub(crate) fn await_open(&mut self, connect: PendingConnect) {
        self.connects.push(connect);
    }

    /// Takes the connect that a SessionOpen answers.
    fn take_connect(&mut self, open: &SessionOpen) -> Option<PendingConnect> {
        let index = self.connects.iter().position(|c| c.is_for(open))?;
        Some(self.connects.swap_remove(index))
    }

    /// A session opened. Returns the connect that asked for it here.
    pub(crate) fn on_session_opened(
        &mut self,
        session: &Session,
        open: &SessionOpen,
        now: Nanos,
    ) -> Option<PendingConnect> {
        self.sessions.on_opened(session, now);
        self.take_connect(open)
    }

    /// A session is continued. Returns the connect that asked for it here, whose answer waits.
    pub(crate) fn on_session_continued(
        &mut self,
        session: &Session,
        open: &SessionOpen,
        now: Nanos,
    ) -> Option<PendingConnect> {
        self.sessions.on_continued(session, now);
        let pending = self.take_connect(open);
        if let Some(connect) = pending {
            self.await_answer(connect);
        }
        pending
    }

    /// A SessionOpen had no effect: whoever asked for it here is to be answered.
    pub(crate) fn on_open_ignored(&mut self, open: &SessionOpen) {
        if let Some(connect) = self.take_connect(open) {
            self.await_answer(connect);
        }
    }

    /// Keeps a connect whose entry is applied until it can be answered.
    fn await_answer(&mut self, connect: PendingConnect) {
        self.decided.push(connect);
    }

    /// Takes a connect whose entry is applied.
    pub(crate) fn take_decided(&mut self) -> Option<PendingConnect> {
        self.decided.pop()
    }
}

#[cfg(test)]
mod tests;
