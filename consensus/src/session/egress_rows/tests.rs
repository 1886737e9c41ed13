//! In which order rows are served, what they lack, and what is left of those that go.

use lockstep_transport::ids::RequestNumber;
use lockstep_transport::stream::PublicationConfig;

use super::*;
use crate::log::entry_body::CloseReason;
use crate::session::egress_channels::EgressChannels;
use crate::session::session_table::Session;

#[test]
fn a_ring_keeps_the_oldest_in_order_and_refuses_the_rest() {
    let mut rings = PositionRings::new(2);
    for round in 0..3 {
        for at in 0..RING_LENGTH as Position {
            assert!(rings.push(1, round * 10_000 + at));
        }
        assert!(!rings.push(1, 5) && rings.is_empty(0));
        for at in 0..RING_LENGTH as Position {
            assert_eq!(rings.front(1), Some(round * 10_000 + at));
            rings.pop(1);
        }
        assert_eq!(rings.front(1), None);
        // The next round wraps around somewhere else.
        assert!(rings.push(1, 1));
        rings.pop(1);
    }
}

/// A name of a channel.
fn slot() -> Slot {
    let config = PublicationConfig {
        session_id: 1,
        stream_id: 2,
        initial_term_id: 3,
        term_length: 1 << 16,
        mtu: 1408,
        destination: ([10, 0, 0, 9], 7).into(),
    };
    let opened = EgressChannels::new(1, 1).open_answer(config, 0);
    opened.expect("there is room")
}

/// Rows of `sessions`, live, that have everything up to 100. Returns their numbers, too.
fn rows<const N: usize>(sessions: [i64; N]) -> (EgressRows, [u32; N]) {
    let mut rows = EgressRows::new(8);
    let channel = slot();
    for session in sessions {
        rows.insert(EgressRow {
            session: SessionId::new(session),
            channel,
            after: 100,
            lags_from: None,
            closed: None,
        });
    }
    let indices = sessions.map(|session| rows.find(SessionId::new(session)).unwrap());
    (rows, indices)
}

fn closed(id: i64) -> ClosedSession {
    ClosedSession {
        session: Session {
            id: SessionId::new(id),
            nonce: 0,
            principal_hash: 0,
            response_address: ([10, 0, 0, 9], 7).into(),
            response_stream_id: 2,
            connect_epoch: 1,
            incarnation: 0,
            open_position: 0,
            applied_number: RequestNumber::NONE,
            acknowledged: 0,
            answered: 0,
            owed_since: 0,
            timeout_ns: 0,
        },
        reason: CloseReason::Timeout,
    }
}

#[test]
fn a_live_row_may_send_until_something_is_queued_and_then_sends_that_first() {
    let (mut rows, [index, other]) = rows([5, 6]);
    assert!(rows.may_send(index) && rows.is_up_to_date(index));
    rows.queue(index, 200);
    rows.queue(index, 300);
    assert!(!rows.may_send(index) && !rows.is_up_to_date(index));
    assert!(rows.may_send(other) && rows.is_up_to_date(other));
    assert_eq!(rows.at(index).unwrap().after, 300, "it is as good as sent");
    for position in [200, 300] {
        assert_eq!(rows.queued(index), Some(position));
        rows.pop_queued(index);
    }
    assert_eq!(rows.queued(index), None);
    assert!(rows.is_up_to_date(index));
    rows.on_sent(index, 400);
    assert_eq!(rows.at(index).unwrap().after, 400);
}

#[test]
fn a_row_lags_from_the_response_its_ring_has_no_room_for() {
    let (mut rows, [index]) = rows([5]);
    for at in 0..RING_LENGTH as Position {
        rows.queue(index, 200 + at);
    }
    let last = 200 + RING_LENGTH as Position - 1;
    assert_eq!(rows.at(index).unwrap().lags_from, None);
    rows.queue(index, 9_000);
    let row = rows.at(index).unwrap();
    assert_eq!((row.lags_from, row.after), (Some(9_000), last));
    assert_eq!(rows.queued(index), Some(200), "what was queued goes first");
}

#[test]
fn a_row_lags_from_what_was_queued_when_that_has_left_memory() {
    let (mut rows, [index, idle]) = rows([5, 6]);
    rows.queue(index, 200);
    rows.queue(index, 300);
    rows.lag_from_queued(index);
    rows.lag_from_queued(idle);
    let row = rows.at(index).unwrap();
    assert_eq!((row.lags_from, row.after), (Some(200), 199));
    assert!(rows.may_send(index) && !rows.is_up_to_date(index));
    assert!(rows.is_up_to_date(idle));
}

#[test]
fn a_pass_serves_all_that_wait_from_the_first_position_that_one_of_them_lacks() {
    let (mut rows, [late, early, live]) = rows([5, 6, 7]);
    assert!(!rows.is_pass_wanted() && rows.is_pass_over());
    assert_eq!(rows.begin_pass(), None);
    rows.lag(late, 500);
    rows.lag(early, 300);
    for index in [late, early, live] {
        rows.await_scan(index, None);
    }
    assert!(rows.is_pass_wanted() && rows.is_pass_over());
    assert_eq!(rows.begin_pass(), Some(300));
    assert!(!rows.is_pass_wanted() && !rows.is_pass_over());
    assert!(rows.lacks(late, 101) && !rows.lacks(late, 100) && !rows.lacks(live, 101));
    // Whoever is served does not wait for the next pass.
    rows.await_scan(late, None);
    assert!(!rows.is_pass_wanted());
    rows.lag(early, 400);
    assert!(
        !rows.lacks(early, 401),
        "it could not be served, and lags anew"
    );
    rows.end_pass();
    assert!(rows.is_pass_over() && rows.is_up_to_date(late) && !rows.is_up_to_date(early));
    assert_eq!(rows.ready(), 0);
}

#[test]
fn a_row_joins_the_pass_that_has_not_yet_come_to_what_it_lacks() {
    let (mut rows, [first, at, behind]) = rows([5, 6, 7]);
    rows.lag(first, 100);
    rows.await_scan(first, None);
    assert_eq!(rows.begin_pass(), Some(100));
    rows.lag(at, 300);
    rows.lag(behind, 299);
    // One that waited for the next pass joins this one after all.
    rows.await_scan(at, None);
    rows.await_scan(at, Some(300));
    rows.await_scan(behind, Some(300));
    assert!(rows.lacks(at, 400) && !rows.lacks(behind, 400));
    rows.end_pass();
    assert_eq!(rows.begin_pass(), Some(299));
    assert!(rows.lacks(behind, 400) && !rows.lacks(at, 400));
}

#[test]
fn a_row_of_a_closed_session_is_ready_at_once_and_again_when_it_has_been_served() {
    let (mut rows, [index, other]) = rows([5, 6]);
    rows.lag(index, 300);
    rows.hold_closed(index, closed(5));
    assert_eq!(
        (rows.ready(), rows.pop_ready(), rows.pop_ready()),
        (1, Some(index), None)
    );
    rows.lag(other, 300);
    for index in [index, other] {
        rows.await_scan(index, None);
    }
    rows.begin_pass();
    rows.end_pass();
    assert_eq!((rows.pop_ready(), rows.pop_ready()), (Some(index), None));
    rows.mark_ready(other);
    assert_eq!((rows.ready(), rows.pop_ready()), (1, Some(other)));
}

#[test]
fn the_oldest_row_of_a_closed_session_is_surplus_when_there_are_more_than_so_many() {
    let (mut rows, [first, second, _]) = rows([5, 6, 7]);
    assert_eq!(
        (rows.surplus_closed(0), rows.surplus_closed(1)),
        (None, None)
    );
    rows.hold_closed(second, closed(6));
    rows.hold_closed(first, closed(5));
    assert_eq!(
        (rows.surplus_closed(0), rows.surplus_closed(1)),
        (Some(second), Some(second))
    );
    assert_eq!(
        (rows.surplus_closed(2), rows.surplus_closed(3)),
        (None, None)
    );
    rows.remove(second);
    assert_eq!(rows.surplus_closed(0), Some(first));
}

/// A row in every state that a row can be in.
fn busy() -> (EgressRows, [u32; 3]) {
    let (mut rows, [queued, waiting, served]) = rows([5, 6, 7]);
    rows.queue(queued, 200);
    rows.hold_closed(queued, closed(5));
    rows.lag(served, 300);
    rows.await_scan(served, None);
    rows.begin_pass();
    rows.lag(waiting, 200);
    rows.await_scan(waiting, None);
    (rows, [queued, waiting, served])
}

#[test]
fn of_a_row_that_was_removed_nothing_waits_for_the_one_that_takes_its_place() {
    for at in 0..3 {
        let (mut rows, indices) = busy();
        let session = SessionId::new([5, 6, 7][at]);
        let removed = rows.remove(indices[at]).unwrap();
        assert_eq!(
            (removed.session, rows.find(session), rows.count()),
            (session, None, 2)
        );
        assert!(rows.remove(indices[at]).is_none());
        let is_left = [
            rows.ready() > 0,
            rows.is_pass_wanted(),
            !rows.is_pass_over(),
        ];
        assert_eq!(is_left, [at != 0, at != 1, at != 2]);
        rows.insert(EgressRow {
            lags_from: None,
            closed: None,
            ..removed
        });
        assert_eq!(rows.find(session), Some(indices[at]), "the same place");
        assert!(rows.is_up_to_date(indices[at]));
        assert_eq!(rows.surplus_closed(0), (at != 0).then_some(indices[0]));
    }
}

#[test]
fn when_leadership_is_lost_no_row_is_left_and_nothing_waits() {
    let (mut rows, _) = busy();
    rows.clear();
    assert_eq!(
        [5, 6, 7].map(|session| rows.find(SessionId::new(session))),
        [None; 3]
    );
    assert_eq!(
        (rows.count(), rows.ready(), rows.surplus_closed(0)),
        (0, 0, None)
    );
    assert!(!rows.is_pass_wanted() && rows.is_pass_over());
    let channel = slot();
    for session in [8, 9, 10] {
        rows.insert(EgressRow {
            session: SessionId::new(session),
            channel,
            after: 0,
            lags_from: None,
            closed: None,
        });
        let index = rows.find(SessionId::new(session)).unwrap();
        assert!(
            rows.is_up_to_date(index),
            "nothing queued of whose row this was"
        );
    }
    assert_eq!(rows.count(), 3);
}
