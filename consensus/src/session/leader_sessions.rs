//! The leader's rows, one for each open session: a message finds its row once and goes on with
//! the row's number.
//!
//! And what a leader owes sessions without their asking: to close those that fell silent, to log
//! what they acknowledged, to tell them how far they are applied. Each duty names the rows that
//! are due, so that nobody walks over the others. All in turn: who was served goes to the end of
//! the line.

use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::session::leader_session::{Admission, LeaderSession, NotAdmitted};
use crate::session::session_table::{Session, SessionTable, session_hash};
use crate::slots::{SlotHeap, SlotIndex, SlotList, SlotTable};

/// Number of a row: its session's until that is closed, so it is kept no longer than it takes to
/// deal with one message or one duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderRow(u32);

/// The leader's sessions.
#[derive(Debug)]
pub struct LeaderSessions {
    table: SlotTable<LeaderSession>,
    /// By session id.
    ids: SlotIndex,
    /// When to ask next whether a session has fallen silent: at or before it can have.
    silences: SlotHeap,
    /// Sessions that acknowledged something in a keepalive.
    acknowledgements: SlotList,
    /// Sessions with requests that they may not know to be applied.
    progress: SlotList,
    /// Nobody was listened to before.
    deaf_until: Nanos,
    #[cfg(feature = "sim")]
    planted: PlantedAdmission,
}

/// Rules that are broken on purpose: planted faults that the simulator must find.
#[cfg(feature = "sim")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlantedAdmission {
    /// A request that was appended before is appended again (`log.md` 6.3).
    pub repeats: bool,
    /// A process speaks on while another one is about to take its session over.
    pub never_waits: bool,
}

impl LeaderSessions {
    /// Room for `capacity` sessions.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            table: SlotTable::new(capacity),
            ids: SlotIndex::new(capacity),
            silences: SlotHeap::new(capacity),
            acknowledgements: SlotList::new(capacity),
            progress: SlotList::new(capacity),
            deaf_until: 0,
            #[cfg(feature = "sim")]
            planted: PlantedAdmission::default(),
        }
    }

    /// Breaks rules on purpose.
    #[cfg(feature = "sim")]
    pub(crate) const fn plant(&mut self, planted: PlantedAdmission) {
        self.planted = planted;
    }

    /// Sessions known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.count()
    }

    /// Looks at rows since the start.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.table.visits()
    }

    /// Takes over the replicated table when ingress opens.
    pub fn open(&mut self, table: &SessionTable, now: Nanos) {
        self.clear();
        for session in table.sessions() {
            self.on_opened(session, now);
        }
    }

    /// Forgets everything: leadership is lost.
    pub fn clear(&mut self) {
        self.silences.clear();
        self.acknowledgements.clear();
        self.progress.clear();
        self.deaf_until = 0;
        self.ids.clear();
        self.table.clear();
    }

    /// Clients' words have waited until now: of the time before nothing is their silence.
    pub(crate) const fn listen_again(&mut self, now: Nanos) {
        self.deaf_until = now;
    }

    /// When a session's client was heard, or could have been, last.
    pub(crate) fn heard(&self, known: &LeaderSession) -> Nanos {
        known.activity.max(self.deaf_until)
    }

    /// A session was opened (its entry applied).
    pub fn on_opened(&mut self, session: &Session, now: Nanos) {
        let slot = self
            .table
            .insert(LeaderSession::opened(session, now))
            .expect("there are as many rows as there may be sessions");
        self.ids.insert(session_hash(session.id), slot.index());
        let silent_at = now.saturating_add(session.timeout_ns);
        self.silences.set(slot.index(), silent_at);
    }

    /// A session was continued (its entry applied).
    pub(crate) fn on_continued(&mut self, session: &Session, now: Nanos) {
        let row = self.find(session.id);
        if let Some(known) = row.and_then(|row| self.at_mut(row)) {
            known.on_continued(session, now);
        }
    }

    /// A session was closed (its entry applied).
    pub(crate) fn on_closed(&mut self, id: SessionId) {
        if let Some(LeaderRow(index)) = self.find(id) {
            self.table.remove(index);
            self.ids.remove(session_hash(id), index);
            self.silences.remove(index);
            self.acknowledgements.remove(index);
            self.progress.remove(index);
        }
    }

    /// The row of this session.
    #[must_use]
    pub fn find(&self, id: SessionId) -> Option<LeaderRow> {
        let is_it = |index| self.table.at(index).is_some_and(|row| row.id == id);
        self.ids.find(session_hash(id), is_it).map(LeaderRow)
    }

    /// The session in this row.
    #[must_use]
    pub fn at(&self, row: LeaderRow) -> Option<&LeaderSession> {
        self.table.at(row.0)
    }

    /// The session in this row.
    pub(crate) fn at_mut(&mut self, row: LeaderRow) -> Option<&mut LeaderSession> {
        self.table.at_mut(row.0)
    }

    /// The session in this row, as it is known here and as `table` has it from the log.
    #[must_use]
    pub(crate) fn with_logged<'a>(
        &'a self,
        row: LeaderRow,
        table: &'a SessionTable,
    ) -> Option<(&'a LeaderSession, &'a Session)> {
        let known = self.at(row)?;
        Some((known, table.get(known.id)?))
    }

    /// Whether a message of `connect_epoch` is one of the process that has this row's session.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn speaks_for(&self, row: LeaderRow, connect_epoch: i64) -> Result<(), NotAdmitted> {
        let session = self.at(row).ok_or(NotAdmitted::UnknownSession)?;
        match session.speaks_for(connect_epoch) {
            #[cfg(feature = "sim")]
            Err(NotAdmitted::Wait) if self.planted.never_waits => Ok(()),
            judged => judged,
        }
    }

    /// Decides on request `number` of this row's session, heard at `now` from the process that
    /// has it (`log.md` 6.3).
    ///
    /// # Errors
    /// Why it may not enter the log.
    pub fn admit(
        &mut self,
        row: LeaderRow,
        number: RequestNumber,
        now: Nanos,
    ) -> Result<Admission, NotAdmitted> {
        let session = self.at_mut(row).ok_or(NotAdmitted::UnknownSession)?;
        match session.admit(number, now) {
            #[cfg(feature = "sim")]
            Ok(Admission::Duplicate) if self.planted.repeats => Ok(Admission::Append),
            judged => judged,
        }
    }

    /// Request `number` of this row's session was appended.
    pub(crate) fn on_appended(
        &mut self,
        row: LeaderRow,
        number: RequestNumber,
        acknowledged: Position,
    ) {
        if let Some(session) = self.at_mut(row) {
            session.appended_number = number;
            session.acknowledged = session.acknowledged.max(acknowledged);
            self.await_progress(row);
        }
    }

    /// The client was heard of without a request, and has received up to `acknowledged`.
    pub(crate) fn on_heard(&mut self, row: LeaderRow, acknowledged: Position, now: Nanos) {
        let Some(session) = self.at_mut(row) else {
            return;
        };
        session.activity = now;
        if acknowledged > session.acknowledged {
            session.acknowledged = acknowledged;
            self.await_acknowledgement(row);
        }
    }

    /// A session that may have fallen silent by `now`.
    pub(crate) fn pop_silent(&mut self, now: Nanos) -> Option<LeaderRow> {
        self.silences.pop_until(now).map(LeaderRow)
    }

    /// This row's session is to be asked about at `silent_at`.
    pub(crate) fn await_silence(&mut self, row: LeaderRow, silent_at: Nanos) {
        self.silences.set(row.0, silent_at);
    }

    /// Sessions that acknowledged something that is not on its way to the log.
    #[must_use]
    pub(crate) const fn acknowledgements(&self) -> usize {
        self.acknowledgements.len()
    }

    /// The next of them.
    pub(crate) fn pop_acknowledgement(&mut self) -> Option<LeaderRow> {
        self.acknowledgements.pop_front().map(LeaderRow)
    }

    /// What this row's session acknowledged is to be logged.
    pub(crate) fn await_acknowledgement(&mut self, row: LeaderRow) {
        self.acknowledgements.push_back(row.0);
    }

    /// Sessions that may not know how far they are applied.
    #[must_use]
    pub(crate) const fn progress(&self) -> usize {
        self.progress.len()
    }

    /// The next of them.
    pub(crate) fn pop_progress(&mut self) -> Option<LeaderRow> {
        self.progress.pop_front().map(LeaderRow)
    }

    /// This row's session is to be told how far it is applied.
    pub(crate) fn await_progress(&mut self, row: LeaderRow) {
        self.progress.push_back(row.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entry_body::SessionOpen;

    const FIRST: RequestNumber = RequestNumber::FIRST;

    /// A table of `count` sessions, the first of which times out after 100 ns, the next after
    /// 200 ns and so on.
    fn opened(count: u64) -> (SessionTable, LeaderSessions) {
        let mut table = SessionTable::new(count as usize);
        for nonce in 1..=count {
            let open = SessionOpen {
                timeout_ns: 100 * nonce as Nanos,
                ..SessionOpen::of_client(nonce)
            };
            table.apply_open(&open, 32 * nonce as Position);
        }
        let mut sessions = LeaderSessions::new(count as usize);
        sessions.open(&table, 0);
        (table, sessions)
    }

    fn id(sessions: &LeaderSessions, row: LeaderRow) -> i64 {
        sessions.at(row).unwrap().id.get()
    }

    #[test]
    fn a_session_is_found_until_it_closes_and_its_row_is_anothers_then() {
        let (table, mut sessions) = opened(2);
        let rows = [1, 2].map(|id| sessions.find(SessionId::new(id)).unwrap());
        assert_eq!(rows.map(|row| id(&sessions, row)), [1, 2]);
        sessions.await_progress(rows[0]);
        sessions.await_acknowledgement(rows[0]);
        sessions.on_closed(SessionId::new(1));
        assert!(sessions.find(SessionId::new(1)).is_none() && sessions.at(rows[0]).is_none());
        let gone = NotAdmitted::UnknownSession;
        assert_eq!(sessions.speaks_for(rows[0], 1), Err(gone));
        assert_eq!(sessions.admit(rows[0], FIRST, 0), Err(gone));
        let next = Session {
            id: SessionId::new(3),
            ..*table.get(SessionId::new(2)).unwrap()
        };
        sessions.on_opened(&next, 0);
        assert_eq!(
            (sessions.find(SessionId::new(3)), sessions.count()),
            (Some(rows[0]), 2)
        );
        assert!(sessions.pop_progress().is_none() && sessions.pop_acknowledgement().is_none());
        sessions.open(&table, 0);
        assert!(
            sessions.find(SessionId::new(1)).is_some()
                && sessions.find(SessionId::new(3)).is_none()
        );
    }

    #[test]
    fn what_is_appended_or_heard_of_a_session_is_known_in_its_row_and_due() {
        let (_, mut sessions) = opened(2);
        let row = sessions.find(SessionId::new(2)).unwrap();
        assert_eq!(sessions.speaks_for(row, 1), Ok(()));
        assert_eq!(sessions.admit(row, FIRST, 5), Ok(Admission::Append));
        sessions.on_appended(row, FIRST, 64);
        assert_eq!(sessions.admit(row, FIRST, 5), Ok(Admission::Duplicate));
        assert_eq!(sessions.pop_progress(), Some(row));
        sessions.on_heard(row, 64, 9);
        assert_eq!(sessions.acknowledgements(), 0, "that came with the request");
        sessions.on_heard(row, 96, 9);
        assert_eq!(sessions.pop_acknowledgement(), Some(row));
        let known = sessions.at(row).unwrap();
        let heard = (known.appended_number, known.acknowledged, known.activity);
        assert_eq!(heard, (FIRST, 96, 9));
    }

    #[test]
    fn everybody_with_news_has_a_turn_before_anybody_has_a_second() {
        let (_, mut sessions) = opened(4);
        let rows = [1, 2, 3, 4].map(|id| sessions.find(SessionId::new(id)).unwrap());
        for row in rows {
            sessions.await_acknowledgement(row);
        }
        assert_eq!(sessions.pop_acknowledgement(), Some(rows[0]));
        sessions.await_acknowledgement(rows[0]);
        sessions.await_acknowledgement(rows[1]);
        let pop = || sessions.pop_acknowledgement();
        let turns: Vec<LeaderRow> = core::iter::from_fn(pop).collect();
        assert_eq!(turns, [rows[1], rows[2], rows[3], rows[0]]);
    }

    #[test]
    fn only_those_that_may_be_silent_are_named() {
        let (_, mut sessions) = opened(2);
        let rows = [1, 2].map(|id| sessions.find(SessionId::new(id)).unwrap());
        assert_eq!(sessions.pop_silent(99), None);
        assert_eq!(sessions.pop_silent(100), Some(rows[0]));
        sessions.await_silence(rows[0], 300);
        assert_eq!(sessions.pop_silent(250), Some(rows[1]));
        sessions.on_closed(SessionId::new(1));
        assert_eq!(sessions.pop_silent(1_000), None);
    }

    #[test]
    fn to_deal_with_one_session_looks_at_no_other() {
        let looks = |count| {
            let (_, mut sessions) = opened(count);
            let before = sessions.visits();
            let row = sessions.find(SessionId::new(1)).unwrap();
            assert_eq!(sessions.speaks_for(row, 1), Ok(()));
            assert_eq!(sessions.admit(row, FIRST, 5), Ok(Admission::Append));
            sessions.on_appended(row, FIRST, 64);
            sessions.visits() - before
        };
        assert_eq!((looks(1), looks(1000)), (4, 4));
    }
}
