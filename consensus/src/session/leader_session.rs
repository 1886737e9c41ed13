//! One session as only the leader knows it: may a message of it enter the log now?
//!
//! Volatile: built when ingress opens, dropped with leadership (C5). Numbers start from the
//! replicated table (`log.md` 6.3), activity clocks start afresh (`log.md` 6.6). Where the
//! session's client is, and whether it is bound, is not known here: the side that faces clients
//! has a row of egress for that.

use core::cmp::Ordering;

use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::session::session_table::Session;

/// The leader's view of one open session.
#[derive(Clone, Copy, Debug)]
pub struct LeaderSession {
    /// Its id.
    pub id: SessionId,
    /// The connect epoch that is applied.
    pub connect_epoch: i64,
    /// The greatest connect epoch appended, and the process that asked for it.
    pub asked: (i64, u64),
    /// Number of the last request appended.
    pub appended_number: RequestNumber,
    /// When the client was last heard.
    pub activity: Nanos,
    /// Greatest position the client acknowledged in a keepalive.
    pub acknowledged: Position,
    /// The applied number the client was last told by a progress message.
    pub told_number: RequestNumber,
    /// A SessionClose was appended.
    pub is_closing: bool,
}

/// What becomes of a request that may enter the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Append it.
    Append,
    /// Appended before: its responses come from the log, there is nothing to append.
    Duplicate,
}

/// Why a message may not enter the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Numbers were skipped; the next one to come is `expected`.
    OutOfOrder {
        /// The number that would be accepted.
        expected: RequestNumber,
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
    /// As it is when the leader has just learnt of it.
    #[must_use]
    pub const fn opened(session: &Session, now: Nanos) -> Self {
        Self {
            id: session.id,
            connect_epoch: session.connect_epoch,
            asked: (session.connect_epoch, session.incarnation),
            appended_number: session.applied_number,
            activity: now,
            acknowledged: session.acknowledged,
            told_number: session.applied_number,
            is_closing: false,
        }
    }

    /// It was continued (the entry is applied).
    pub(crate) const fn on_continued(&mut self, session: &Session, now: Nanos) {
        if session.connect_epoch > self.connect_epoch {
            self.acknowledged = session.acknowledged;
        }
        self.connect_epoch = session.connect_epoch;
        if self.asked.0 <= session.connect_epoch {
            self.asked = (session.connect_epoch, session.incarnation);
        }
        self.activity = now;
    }

    /// Whether another process is about to take the session over: what the present one has
    /// acknowledged says nothing about that one.
    #[must_use]
    pub(crate) const fn is_undecided(&self) -> bool {
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
    ///
    /// # Errors
    /// Why not.
    pub(crate) const fn speaks_for(&self, connect_epoch: i64) -> Result<(), NotAdmitted> {
        if connect_epoch < self.connect_epoch {
            Err(NotAdmitted::Fenced)
        } else if connect_epoch < self.asked.0 {
            Err(NotAdmitted::Wait)
        } else if connect_epoch > self.connect_epoch || self.is_closing {
            Err(NotAdmitted::UnknownSession)
        } else {
            Ok(())
        }
    }

    /// Decides on request `number`, heard at `now` from the process that has the session
    /// (`log.md` 6.3).
    ///
    /// # Errors
    /// Why it may not enter the log.
    pub fn admit(&mut self, number: RequestNumber, now: Nanos) -> Result<Admission, NotAdmitted> {
        self.activity = now;
        let expected = self.appended_number.next();
        match number.cmp(&expected) {
            Ordering::Less => Ok(Admission::Duplicate),
            Ordering::Equal => Ok(Admission::Append),
            Ordering::Greater => Err(NotAdmitted::OutOfOrder { expected }),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

    use super::*;

    const OPENED: Session = Session {
        id: SessionId::new(1),
        nonce: 1,
        principal_hash: 0,
        response_address: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1)),
        response_stream_id: 102,
        connect_epoch: 1,
        incarnation: 7,
        open_position: 32,
        applied_number: RequestNumber::FIRST,
        acknowledged: 0,
        answered: 0,
        owed_since: 0,
        timeout_ns: 1,
    };

    #[test]
    fn s1_numbers_are_admitted_once_and_in_order() {
        let mut session = LeaderSession::opened(&OPENED, 0);
        let [first, expected, later] = [1, 2, 3].map(RequestNumber::new);
        assert_eq!(session.admit(first, 5), Ok(Admission::Duplicate));
        let ahead = Err(NotAdmitted::OutOfOrder { expected });
        assert_eq!((session.admit(later, 6), session.activity), (ahead, 6));
        assert_eq!(session.admit(expected, 7), Ok(Admission::Append));
        session.is_closing = true;
        assert_eq!(session.speaks_for(1), Err(NotAdmitted::UnknownSession));
    }

    #[test]
    fn a_process_waits_while_another_one_asks_for_its_session_and_is_fenced_then() {
        let mut session = LeaderSession::opened(&OPENED, 0);
        assert_eq!(session.speaks_for(1), Ok(()));
        session.asked = (2, 8);
        assert_eq!(session.speaks_for(1), Err(NotAdmitted::Wait));
        assert_eq!(session.speaks_for(2), Err(NotAdmitted::UnknownSession));
        let next = Session {
            connect_epoch: 2,
            incarnation: 8,
            ..OPENED
        };
        session.on_continued(&next, 6);
        assert_eq!(session.speaks_for(1), Err(NotAdmitted::Fenced));
        assert_eq!((session.speaks_for(2), session.activity), (Ok(()), 6));
    }

    #[test]
    fn what_a_process_had_received_says_nothing_of_the_one_that_takes_over() {
        let mut session = LeaderSession::opened(&OPENED, 0);
        session.acknowledged = 640;
        let mut next = Session {
            acknowledged: 320,
            ..OPENED
        };
        session.on_continued(&next, 1);
        assert_eq!(session.acknowledged, 640, "it has only moved");
        next.connect_epoch = 2;
        session.on_continued(&next, 1);
        assert_eq!(session.acknowledged, 320);
    }

    #[test]
    fn an_epoch_is_granted_to_one_process() {
        let mut session = LeaderSession::opened(&OPENED, 0);
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
