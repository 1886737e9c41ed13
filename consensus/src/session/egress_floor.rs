//! The egress floor F (`log.md` 7.4): below it the log is needed to answer nobody.
//!
//! All sessions are looked at in turn, so many per call and in the order of their ids: the least of
//! what they need when all have been looked at. What is answered later lies above where the log was
//! applied up to when that began; who takes a session over and has less than the one before lowers
//! it at once.

use lockstep_transport::ids::SessionId;
use lockstep_transport::position::Position;

use crate::session::session_table::SessionTable;

/// Sessions that one call looks at: ten thousand in two seconds, at ten calls a second.
const SESSIONS_PER_CALL: usize = 512;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EgressFloor {
    floor: Position,
    /// The next one to be looked at.
    next: SessionId,
    /// The least so far, and where the log was applied up to when that began at most.
    least: Position,
    /// Planted: nobody is owed anything.
    #[cfg(feature = "sim")]
    owes_nothing: bool,
}

impl EgressFloor {
    /// Breaks `log.md` 7.4 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn owe_nothing(&mut self) {
        self.owes_nothing = true;
    }

    /// The floor as it was when all sessions had been looked at the last time.
    pub(crate) const fn position(&self) -> Position {
        #[cfg(feature = "sim")]
        if self.owes_nothing {
            return Position::MAX;
        }
        self.floor
    }

    /// Somebody is owed something from here on, who was not.
    pub(crate) fn lower_to(&mut self, position: Position) {
        self.floor = self.floor.min(position);
        self.least = self.least.min(position);
    }

    /// Looks at some of the sessions, of a log that is applied up to `applied`. Those that need the
    /// log below `kept_from` go to `on_holder`, with where they need it from.
    pub(crate) fn look(
        &mut self,
        (sessions, applied): (&SessionTable, Position),
        kept_from: Position,
        mut on_holder: impl FnMut(SessionId, Position),
    ) {
        if self.next <= SessionId::NONE {
            self.least = applied;
            self.next = SessionId::FIRST;
        }
        let mut seen = 0;
        for session in sessions.from(self.next).iter().take(SESSIONS_PER_CALL) {
            seen += 1;
            self.next = SessionId::new(session.id.get() + 1);
            if let Some(needed) = session.owed_from() {
                self.least = self.least.min(needed);
                if needed < kept_from {
                    on_holder(session.id, needed);
                }
            }
        }
        if seen < SESSIONS_PER_CALL {
            self.floor = self.least;
            self.next = SessionId::NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entry_body::SessionOpen;

    fn table(count: u64) -> SessionTable {
        let mut table = SessionTable::new(2 * SESSIONS_PER_CALL);
        for client in 1..=count {
            table.apply_open(&SessionOpen::of_client(client), 32 * client as Position);
        }
        table
    }

    fn look(floor: &mut EgressFloor, table: &SessionTable, applied: Position) -> Vec<SessionId> {
        let mut holders = Vec::new();
        floor.look((table, applied), 5000, |id, _| holders.push(id));
        holders
    }

    #[test]
    fn where_nobody_is_owed_anything_it_is_where_the_log_is_applied() {
        let (mut floor, table) = (EgressFloor::default(), table(3));
        assert!(look(&mut floor, &table, 9600).is_empty());
        assert_eq!(floor.position(), 9600);
    }

    #[test]
    fn it_is_the_least_that_any_session_is_owed_and_who_holds_it_too_long_is_named() {
        let (mut floor, mut table) = (EgressFloor::default(), table(3));
        table.apply_response(SessionId::new(2), 4992);
        table.apply_response(SessionId::new(3), 6400);
        assert_eq!(look(&mut floor, &table, 9600), [SessionId::new(2)]);
        assert_eq!(floor.position(), 4992);
        table.apply_acknowledgement(SessionId::new(2), 4992);
        assert!(look(&mut floor, &table, 9600).is_empty());
        assert_eq!(floor.position(), 6400);
    }

    #[test]
    fn who_takes_a_session_over_with_less_lowers_it_at_once_and_for_as_long_as_that_holds() {
        let (mut floor, mut table) = (EgressFloor::default(), table(2));
        let first = SessionId::FIRST;
        table.apply_response(first, 6400);
        table.apply_acknowledgement(first, 6400);
        look(&mut floor, &table, 9600);
        assert_eq!(floor.position(), 9600);
        let open = SessionOpen {
            connect_epoch: 2,
            last_received: 640,
            ..SessionOpen::of_client(1)
        };
        table.apply_open(&open, 9632);
        floor.lower_to(640);
        assert_eq!(floor.position(), 640);
        look(&mut floor, &table, 9664);
        assert_eq!(floor.position(), 640);
    }

    #[test]
    fn who_takes_a_session_over_with_less_while_others_are_looked_at_lowers_it_for_that_round_too()
    {
        let (mut floor, mut table) = (EgressFloor::default(), table(SESSIONS_PER_CALL as u64 + 9));
        let first = SessionId::FIRST;
        table.apply_response(first, 64_000);
        table.apply_acknowledgement(first, 64_000);
        look(&mut floor, &table, 96_000);
        assert_eq!(floor.position(), 0, "some are left, and it has all");
        let open = SessionOpen {
            connect_epoch: 2,
            last_received: 640,
            ..SessionOpen::of_client(1)
        };
        table.apply_open(&open, 96_032);
        floor.lower_to(640);
        look(&mut floor, &table, 96_064);
        assert_eq!(floor.position(), 640);
    }

    #[test]
    fn what_comes_while_sessions_are_looked_at_in_turn_is_not_below_it() {
        let (mut floor, mut table) = (EgressFloor::default(), table(SESSIONS_PER_CALL as u64 + 9));
        look(&mut floor, &table, 96_000);
        assert_eq!(floor.position(), 0, "some are left");
        // The first has been looked at; it is answered, and another one goes.
        table.apply_response(SessionId::new(1), 96_320);
        table.apply_close(SessionId::new(2));
        table.apply_response(SessionId::new(SESSIONS_PER_CALL as i64 + 1), 96_640);
        look(&mut floor, &table, 99_200);
        assert_eq!(floor.position(), 96_000);
    }
}
