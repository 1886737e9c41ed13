//! What only the leader knows about sessions, and may a message enter the log now.
//!
//! Volatile: built when ingress opens, dropped with leadership (C5). Numbers start from the
//! replicated table (`log.md` 6.3), activity clocks start afresh (`log.md` 6.6).

use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::session::session_duties::SessionDuties;
use crate::session::session_table::{Session, SessionTable};

/// The leader's view of one open session.
#[derive(Clone, Copy, Debug)]
pub struct LeaderSession {
    /// Its id.
    pub id: i64,
    /// The connect epoch that is applied.
    pub connect_epoch: i64,
    /// The greatest connect epoch appended, and the process that asked for it.
    pub asked: (i64, u64),
    /// Number of the last request appended.
    pub appended_number: i64,
    /// When the client was last heard.
    pub activity: Nanos,
    /// Greatest position the client acknowledged in a keepalive.
    pub acknowledged: Position,
    /// The applied number the client was last told by a progress message.
    pub told_number: i64,
    /// A SessionClose was appended.
    pub is_closing: bool,
    /// Its row among the duties.
    pub duty: u32,
}

/// May this request enter the log?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Append it.
    Append,
    /// Appended before: its responses come from the log, there is nothing to append.
    Duplicate,
    /// Numbers were skipped; the next one to come is `expected`.
    OutOfOrder {
        /// The number that would be accepted.
        expected: i64,
    },
    /// No such session, or it is closing.
    UnknownSession,
    /// Another process has continued the session.
    Fenced,
    /// Another process is about to: what becomes of it decides.
    Wait,
}

/// May a process that asks for a connect epoch have it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochClaim {
    /// It has it.
    Granted,
    /// It is greater than all before: append it.
    Append,
    /// It is on its way through the log.
    Appended,
    /// Another process has it or a greater one.
    Fenced,
    /// Another process is about to: what becomes of it decides.
    Wait,
}

impl LeaderSession {
    /// Whether another process is about to take the session over: what the present one has
    /// acknowledged says nothing about that one.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        self.asked.0 > self.connect_epoch
    }

    /// What becomes of a process that asks for `connect_epoch`.
    #[must_use]
    pub fn claim(&self, connect_epoch: i64, incarnation: u64, is_granted: bool) -> EpochClaim {
        let is_undecided = self.is_undecided();
        if is_undecided && self.asked == (connect_epoch, incarnation) {
            EpochClaim::Appended
        } else if connect_epoch > self.asked.0 {
            EpochClaim::Append
        } else if is_undecided && (is_granted || connect_epoch > self.connect_epoch) {
            EpochClaim::Wait
        } else if is_granted {
            EpochClaim::Granted
        } else {
            EpochClaim::Fenced
        }
    }

    /// Whether a message of `connect_epoch` is one of the process that has the session.
    const fn admits(&self, connect_epoch: i64) -> Result<(), Admission> {
        if connect_epoch < self.connect_epoch {
            Err(Admission::Fenced)
        } else if connect_epoch < self.asked.0 {
            Err(Admission::Wait)
        } else if connect_epoch > self.connect_epoch || self.is_closing {
            Err(Admission::UnknownSession)
        } else {
            Ok(())
        }
    }
}

/// The leader's sessions, ordered by id.
#[derive(Debug)]
pub struct LeaderSessions {
    sessions: Vec<LeaderSession>,
    duties: SessionDuties,
    #[cfg(feature = "sim")]
    planted: PlantedAdmission,
}

/// Rules that are broken on purpose: planted faults that the simulator must find.
#[cfg(feature = "sim")]
#[derive(Clone, Copy, Debug, Default)]
pub struct PlantedAdmission {
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
            sessions: Vec::with_capacity(capacity),
            duties: SessionDuties::new(capacity),
            #[cfg(feature = "sim")]
            planted: PlantedAdmission::default(),
        }
    }

    /// Breaks rules on purpose.
    #[cfg(feature = "sim")]
    pub const fn plant(&mut self, planted: PlantedAdmission) {
        self.planted = planted;
    }

    /// What is to be done for sessions without their asking.
    pub const fn duties_mut(&mut self) -> &mut SessionDuties {
        &mut self.duties
    }

    /// What is to be done for sessions without their asking.
    #[must_use]
    pub const fn duties(&self) -> &SessionDuties {
        &self.duties
    }

    /// Takes over the replicated table when ingress opens.
    pub fn open(&mut self, table: &SessionTable, now: Nanos) {
        self.clear();
        for session in table.sessions() {
            self.on_opened(session, now);
        }
    }

    /// A session was opened (its entry applied).
    pub fn on_opened(&mut self, session: &Session, now: Nanos) {
        let duty = self
            .duties
            .insert(session.id, now.saturating_add(session.timeout_ns));
        self.sessions.push(LeaderSession {
            id: session.id,
            connect_epoch: session.connect_epoch,
            asked: (session.connect_epoch, session.incarnation),
            appended_number: session.applied_number,
            activity: now,
            acknowledged: session.acknowledged,
            told_number: session.applied_number,
            is_closing: false,
            duty,
        });
    }

    /// A session was continued (its entry applied).
    pub fn on_continued(&mut self, session: &Session, now: Nanos) {
        if let Some(known) = self.get_mut(session.id) {
            if session.connect_epoch > known.connect_epoch {
                known.acknowledged = session.acknowledged;
            }
            known.connect_epoch = session.connect_epoch;
            if known.asked.0 <= session.connect_epoch {
                known.asked = (session.connect_epoch, session.incarnation);
            }
            known.activity = now;
        }
    }

    /// A session was closed (its entry applied).
    pub fn on_closed(&mut self, id: i64) {
        if let Ok(index) = self.sessions.binary_search_by_key(&id, |s| s.id) {
            let session = self.sessions.remove(index);
            self.duties.remove(session.duty);
        }
    }

    /// Forgets everything: leadership is lost.
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.duties.clear();
    }

    /// The session with this id.
    pub fn get_mut(&mut self, id: i64) -> Option<&mut LeaderSession> {
        let index = self.sessions.binary_search_by_key(&id, |s| s.id).ok()?;
        Some(&mut self.sessions[index])
    }

    /// Request `number` of the session was appended.
    pub fn on_appended(&mut self, id: i64, number: i64, acknowledged: Position) {
        let Some(session) = self.get_mut(id) else {
            return;
        };
        session.appended_number = number;
        session.acknowledged = session.acknowledged.max(acknowledged);
        let duty = session.duty;
        self.duties.note_request(duty);
    }

    /// The client was heard of without a request, and has received up to `acknowledged`.
    pub fn on_heard(&mut self, id: i64, acknowledged: Position, now: Nanos) {
        let Some(session) = self.get_mut(id) else {
            return;
        };
        session.activity = now;
        if acknowledged > session.acknowledged {
            session.acknowledged = acknowledged;
            let duty = session.duty;
            self.duties.note_acknowledgement(duty);
        }
    }

    /// Sessions known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Whether a message of session `id` and `connect_epoch` is one of the process that has the
    /// session.
    ///
    /// # Errors
    /// Why not.
    pub fn speaks_for(&mut self, id: i64, connect_epoch: i64) -> Result<(), Admission> {
        #[cfg(feature = "sim")]
        let never_waits = self.planted.never_waits;
        let session = self.get_mut(id).ok_or(Admission::UnknownSession)?;
        match session.admits(connect_epoch) {
            #[cfg(feature = "sim")]
            Err(Admission::Wait) if never_waits => Ok(()),
            judged => judged,
        }
    }

    /// Decides on request `number` of session `id`, heard at `now` from the process that has it
    /// (`log.md` 6.3).
    pub fn admit(&mut self, id: i64, number: i64, now: Nanos) -> Admission {
        #[cfg(feature = "sim")]
        let repeats = self.planted.repeats;
        let Some(session) = self.get_mut(id) else {
            return Admission::UnknownSession;
        };
        session.activity = now;
        let expected = session.appended_number + 1;
        match number.cmp(&expected) {
            #[cfg(feature = "sim")]
            core::cmp::Ordering::Less if repeats => Admission::Append,
            core::cmp::Ordering::Less => Admission::Duplicate,
            core::cmp::Ordering::Equal => Admission::Append,
            core::cmp::Ordering::Greater => Admission::OutOfOrder { expected },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entry_body::SessionOpen;
    use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

    const OPEN: SessionOpen = SessionOpen {
        nonce: 1,
        timeout_ns: 1,
        response_address: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1)),
        response_stream_id: 102,
        principal_hash: 0,
        connect_epoch: 1,
        incarnation: 7,
        resume_session: -1,
        last_received: 0,
    };

    fn opened() -> (SessionTable, LeaderSessions) {
        let mut table = SessionTable::new(4);
        table.apply_open(&OPEN, 32);
        table.apply_request(1, 1, 0);
        let mut sessions = LeaderSessions::new(4);
        sessions.open(&table, 0);
        (table, sessions)
    }

    #[test]
    fn s1_numbers_are_admitted_once_and_in_order() {
        let (_, mut sessions) = opened();
        assert_eq!(sessions.admit(1, 1, 5), Admission::Duplicate);
        let ahead = Admission::OutOfOrder { expected: 2 };
        assert_eq!(sessions.admit(1, 3, 5), ahead);
        assert_eq!(sessions.admit(1, 2, 5), Admission::Append);
        let unknown = Err(Admission::UnknownSession);
        assert_eq!(sessions.speaks_for(2, 1), unknown);
        sessions.get_mut(1).unwrap().is_closing = true;
        assert_eq!(sessions.speaks_for(1, 1), unknown);
    }

    #[test]
    fn a_process_waits_while_another_one_asks_for_its_session_and_is_fenced_then() {
        let (mut table, mut sessions) = opened();
        sessions.get_mut(1).unwrap().asked = (2, 8);
        assert_eq!(sessions.speaks_for(1, 1), Err(Admission::Wait));
        let early = Err(Admission::UnknownSession);
        assert_eq!(sessions.speaks_for(1, 2), early);
        let next = SessionOpen {
            connect_epoch: 2,
            incarnation: 8,
            ..OPEN
        };
        table.apply_open(&next, 64);
        sessions.on_continued(table.get(1).unwrap(), 6);
        assert_eq!(sessions.speaks_for(1, 1), Err(Admission::Fenced));
        assert_eq!(sessions.speaks_for(1, 2), Ok(()));
        assert_eq!(sessions.get_mut(1).unwrap().activity, 6);
    }

    #[test]
    fn an_epoch_is_granted_to_one_process() {
        let (_, mut sessions) = opened();
        let session = sessions.get_mut(1).unwrap();
        assert_eq!(session.claim(1, 7, true), EpochClaim::Granted);
        assert_eq!(session.claim(1, 8, false), EpochClaim::Fenced);
        assert_eq!(session.claim(2, 8, false), EpochClaim::Append);
        session.asked = (2, 8);
        assert_eq!(session.claim(2, 8, false), EpochClaim::Appended);
        assert_eq!(session.claim(2, 9, false), EpochClaim::Wait);
        assert_eq!(session.claim(1, 7, true), EpochClaim::Wait);
        assert_eq!(session.claim(0, 6, false), EpochClaim::Fenced);
        assert_eq!(session.claim(3, 9, false), EpochClaim::Append);
    }
}
