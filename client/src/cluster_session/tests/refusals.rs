//! What a client makes of requests that were refused.

use lockstep_transport::ids::{RequestNumber, SessionId};

use super::*;

#[test]
fn out_of_order_refusals_send_back_once_per_burst() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 6);
    for number in 4..=6 {
        let bytes = refused(number, RefusalReason::OutOfOrder, 3);
        assert_eq!(say(&mut cluster_session, 1, LEADER, &bytes), []);
    }
    assert_eq!(send_all(&mut cluster_session, 1), [3, 4, 5, 6]);
    let late = refused(6, RefusalReason::OutOfOrder, 3);
    say(&mut cluster_session, 2, LEADER, &late);
    assert_eq!(send_all(&mut cluster_session, 2), []);
}

#[test]
fn back_pressure_of_the_cluster_is_waited_out() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 3);
    let bytes = refused(2, RefusalReason::BackPressured, 2);
    assert_eq!(say(&mut cluster_session, 1, LEADER, &bytes), []);
    assert_eq!(send_all(&mut cluster_session, 1), []);
    let later = cluster_session.next_words().unwrap();
    assert_eq!(send_all(&mut cluster_session, later), [2, 3]);
}

#[test]
fn refusals_that_mean_another_leader_lead_to_a_resume() {
    for reason in [
        RefusalReason::NotLeader,
        RefusalReason::WrongTerm,
        RefusalReason::Draining,
        RefusalReason::UnknownSession,
    ] {
        let mut cluster_session = connected();
        offer_and_send(&mut cluster_session, 1);
        assert_eq!(
            say(&mut cluster_session, 1, LEADER, &refused(1, reason, 0)),
            []
        );
        assert!(!cluster_session.session().is_connected());
        assert_eq!(cluster_session.requests().in_flight(), 1);
    }
}

#[test]
fn a_request_that_is_too_long_takes_the_ones_after_it_along_and_frees_the_numbers() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 3);
    let bytes = refused(2, RefusalReason::TooLong, 2);
    let events = say(&mut cluster_session, 1, LEADER, &bytes);
    let expected = [
        Heard::Refused(2, RefusalReason::TooLong),
        Heard::Refused(3, RefusalReason::OutOfOrder),
    ];
    assert_eq!(events, expected);
    assert_eq!(
        cluster_session.offer(1, b"short"),
        OfferResult::Accepted(RequestNumber::new(2))
    );
}

#[test]
fn an_ambiguous_refusal_ends_the_session_rather_than_lose_a_request() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 2);
    say(
        &mut cluster_session,
        1,
        LEADER,
        &refused(2, RefusalReason::OutOfOrder, 1),
    );
    send_all(&mut cluster_session, 1);
    let bytes = refused(2, RefusalReason::TooLong, 2);
    let events = say(&mut cluster_session, 1, LEADER, &bytes);
    assert_eq!(events, [Heard::Closed(CloseReason::Rejected)]);
}

#[test]
fn a_refusal_of_what_is_not_under_way_any_more_changes_nothing() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 2);
    say(&mut cluster_session, 1, LEADER, &response(64, 1));
    for reason in [RefusalReason::TooLong, RefusalReason::AlreadyApplied] {
        for number in [1, 3] {
            let late = refused(number, reason, number);
            assert_eq!(say(&mut cluster_session, 1, LEADER, &late), []);
        }
    }
    assert_eq!(cluster_session.counters().refusals_late, 4);
    assert_eq!(cluster_session.requests().in_flight(), 1);
    assert_eq!(
        cluster_session.offer(1, b"next"),
        OfferResult::Accepted(RequestNumber::new(3))
    );
}

#[test]
fn a_refusal_of_another_process_concerns_nobody_and_its_own_as_fenced_ends_the_session() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 2);
    let mut other = Refused {
        session_id: SessionId::new(7),
        number: RequestNumber::FIRST,
        expected_number: RequestNumber::NONE,
        reason: RefusalReason::TooLong,
        leadership_term_id: LeadershipTermId::new(3),
        connect_epoch: 0,
    };
    for reason in [RefusalReason::TooLong, RefusalReason::Fenced] {
        other.reason = reason;
        assert_eq!(say(&mut cluster_session, 1, LEADER, &other.encode()), []);
    }
    assert_eq!(cluster_session.counters().messages_of_other_processes, 2);
    assert_eq!(cluster_session.requests().in_flight(), 2);
    other.connect_epoch = 1;
    let events = say(&mut cluster_session, 1, LEADER, &other.encode());
    assert_eq!(events, [Heard::Closed(CloseReason::Fenced)]);
}
