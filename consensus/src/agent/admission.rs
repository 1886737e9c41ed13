//! What only the leader knows about sessions, and may a message enter the log now.
//!
//! Volatile: built when ingress opens, dropped with leadership (C5). Numbers start from the
//! replicated table (`log.md` 6.3), activity clocks start afresh (6.6).

use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::session::{Session, SessionTable};

/// The leader's view of one open session.
#[derive(Clone, Copy, Debug)]
pub struct LeaderSession {
    /// Its id.
    pub id: i64,
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
}

/// The leader's sessions, ordered by id.
#[derive(Debug)]
pub struct LeaderSessions {
    sessions: Vec<LeaderSession>,
}

impl LeaderSessions {
    /// Room for `capacity` sessions.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            sessions: Vec::with_capacity(capacity),
        }
    }

    /// Takes over the replicated table when ingress opens.
    pub fn open(&mut self, table: &SessionTable, now: Nanos) {
        self.sessions.clear();
        for session in table.sessions() {
            self.on_opened(session, now);
        }
    }

    /// A session was opened (its entry applied).
    pub fn on_opened(&mut self, session: &Session, now: Nanos) {
        self.sessions.push(LeaderSession {
            id: session.id,
            appended_number: session.applied_number,
            activity: now,
            acknowledged: session.acknowledged,
            told_number: session.applied_number,
            is_closing: false,
        });
    }

    /// A session was closed (its entry applied).
    pub fn on_closed(&mut self, id: i64) {
        if let Ok(index) = self.sessions.binary_search_by_key(&id, |s| s.id) {
            self.sessions.remove(index);
        }
    }

    /// Forgets everything: leadership is lost.
    pub fn clear(&mut self) {
        self.sessions.clear();
    }

    /// The session with this id.
    pub fn get_mut(&mut self, id: i64) -> Option<&mut LeaderSession> {
        let index = self.sessions.binary_search_by_key(&id, |s| s.id).ok()?;
        Some(&mut self.sessions[index])
    }

    /// The session at `index`, in order of id.
    pub fn at_mut(&mut self, index: usize) -> Option<&mut LeaderSession> {
        self.sessions.get_mut(index)
    }

    /// Sessions known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Decides on request `number` of session `id`, heard at `now` (6.3).
    pub fn admit(&mut self, id: i64, number: i64, now: Nanos) -> Admission {
        let Some(session) = self.get_mut(id) else {
            return Admission::UnknownSession;
        };
        session.activity = now;
        if session.is_closing {
            return Admission::UnknownSession;
        }
        let expected = session.appended_number + 1;
        match number.cmp(&expected) {
            core::cmp::Ordering::Less => Admission::Duplicate,
            core::cmp::Ordering::Equal => Admission::Append,
            core::cmp::Ordering::Greater => Admission::OutOfOrder { expected },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry_body::SessionOpen;

    #[test]
    fn s1_numbers_are_admitted_once_and_in_order() {
        let mut table = SessionTable::new(4);
        let open = SessionOpen {
            nonce: 1,
            timeout_ns: 1,
            response_address: "127.0.0.1:1".parse().unwrap(),
            response_stream_id: 102,
            principal_hash: 0,
        };
        table.apply_open(&open, 32);
        table.apply_request(1, 1, 0);
        let mut sessions = LeaderSessions::new(4);
        sessions.open(&table, 0);
        assert_eq!(sessions.admit(1, 1, 5), Admission::Duplicate);
        assert_eq!(
            sessions.admit(1, 3, 5),
            Admission::OutOfOrder { expected: 2 }
        );
        assert_eq!(sessions.admit(1, 2, 5), Admission::Append);
        assert_eq!(sessions.admit(2, 1, 5), Admission::UnknownSession);
        sessions.get_mut(1).unwrap().is_closing = true;
        assert_eq!(sessions.admit(1, 2, 5), Admission::UnknownSession);
    }
}
