//! What the client says and makes of what it hears, without any stream.

mod refusals;

use super::*;
use crate::event::EgressEvent;
use crate::notice::ClientNotice;
use crate::protocol::{
    EventCode, NewLeaderEvent, Progress, RefusalReason, Refused, ResponseHeader, SessionEvent,
};
use crate::session::SessionState;
use lockstep_transport::ids::{LeadershipTermId, RequestNumber, SessionId};
use lockstep_transport::time::SECOND;

const LEADER: Origin = Origin {
    member: 1,
    image: 10,
};
const NEXT_LEADER: Origin = Origin {
    member: 2,
    image: 11,
};
const HEALTHY: LeaderHealth = LeaderHealth {
    last_heard: Nanos::MAX / 2,
    is_ended: false,
    is_ingress_connected: true,
};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Connected(i64),
    Response(i64, i64),
    Refused(i64, RefusalReason),
    NewLeader(usize, i64),
    Closed(CloseReason),
}

fn heard(event: EgressEvent<'_>) -> Heard {
    match event {
        EgressEvent::Connected { session } => Heard::Connected(session.get()),
        EgressEvent::Response {
            number, position, ..
        } => Heard::Response(number.get(), position),
        EgressEvent::Refused { number, reason } => Heard::Refused(number.get(), reason),
        EgressEvent::ResponseFailed {
            number, position, ..
        } => Heard::Response(number.get(), position),
        EgressEvent::NewLeader { member, term } => Heard::NewLeader(member, term.get()),
        EgressEvent::Closed { reason } => Heard::Closed(reason),
    }
}

fn config() -> ClientConfig {
    ClientConfig {
        members: ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
            .map(|address| address.parse().unwrap())
            .to_vec(),
        in_flight_max: 16,
        ..ClientConfig::default()
    }
}

fn say(
    cluster_session: &mut ClusterSession,
    now: Nanos,
    origin: Origin,
    bytes: &[u8],
) -> Vec<Heard> {
    let mut events = Vec::new();
    cluster_session.on_message(now, origin, bytes, &mut |event| events.push(heard(event)));
    events
}

fn answer(
    cluster_session: &mut ClusterSession,
    now: Nanos,
    origin: Origin,
    code: EventCode,
    applied_number: i64,
) -> Vec<Heard> {
    let event = SessionEvent {
        session_id: SessionId::new(7),
        correlation_id: cluster_session.session().correlation_id(),
        leadership_term_id: LeadershipTermId::new(3),
        applied_number: RequestNumber::new(applied_number),
        acknowledged: 0,
        resume_token: 5,
        leader_member_id: origin.member as i32,
        code,
        version: 1,
        session_timeout_ms: 0,
        connect_epoch: cluster_session.session().connect_epoch(),
        detail: b"a detail",
    };
    let mut buffer = [0; 256];
    let length = event.encode(&mut buffer).unwrap();
    say(cluster_session, now, origin, &buffer[..length])
}

fn connected_with(config: ClientConfig) -> ClusterSession {
    let mut cluster_session = ClusterSession::new(config, &ClientIdentity::of_seed(1));
    cluster_session.tick(0, HEALTHY);
    assert!(cluster_session.connect_request().is_some());
    cluster_session.on_connect_request_sent(0);
    let events = answer(&mut cluster_session, 0, LEADER, EventCode::Ok, 0);
    assert_eq!(events, [Heard::Connected(7)]);
    cluster_session
}

fn connected() -> ClusterSession {
    connected_with(config())
}

fn send_all(cluster_session: &mut ClusterSession, now: Nanos) -> Vec<i64> {
    let mut numbers = Vec::new();
    while let Some((header, _)) = cluster_session.next_request(now) {
        numbers.push(i64::from_le_bytes(header[24..32].try_into().unwrap()));
        cluster_session.on_request_sent(now);
    }
    numbers
}

fn offer_and_send(cluster_session: &mut ClusterSession, count: i64) {
    for _ in 0..count {
        assert!(matches!(
            cluster_session.offer(0, b"request"),
            OfferResult::Accepted(_)
        ));
    }
    assert_eq!(send_all(cluster_session, 0).len() as i64, count);
}

fn response(position: i64, number: i64) -> Vec<u8> {
    response_in(3, position, number)
}

fn response_in(term: i64, position: i64, number: i64) -> Vec<u8> {
    ResponseHeader {
        leadership_term_id: LeadershipTermId::new(term),
        session_id: SessionId::new(7),
        position,
        cause: position - 32,
        number: RequestNumber::new(number),
        applied_number: RequestNumber::new(number),
        log_time: 0,
        ordinal: 0,
        flags: 0,
    }
    .encode()
    .to_vec()
}

fn refused(number: i64, reason: RefusalReason, expected_number: i64) -> [u8; Refused::LENGTH] {
    Refused {
        session_id: SessionId::new(7),
        number: RequestNumber::new(number),
        expected_number: RequestNumber::new(expected_number),
        reason,
        leadership_term_id: LeadershipTermId::new(3),
        connect_epoch: 1,
    }
    .encode()
}

fn new_leader(term: i64, applied_number: i64) -> Vec<u8> {
    let event = NewLeaderEvent {
        leadership_term_id: LeadershipTermId::new(term),
        session_id: SessionId::new(7),
        applied_number: RequestNumber::new(applied_number),
        leader_member_id: 2,
        connect_epoch: 1,
        endpoints: b"",
    };
    let mut buffer = [0; 128];
    let length = event.encode(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn nothing_can_be_offered_before_a_leader_serves_the_session() {
    let mut cluster_session = ClusterSession::new(config(), &ClientIdentity::of_seed(1));
    assert_eq!(cluster_session.offer(0, b"x"), OfferResult::NotConnected);
}

#[test]
fn responses_are_handed_over_once_and_acknowledged_by_the_next_request() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 2);
    let events = say(&mut cluster_session, 1, LEADER, &response(64, 1));
    assert_eq!(events, [Heard::Response(1, 64)]);
    assert_eq!(say(&mut cluster_session, 1, LEADER, &response(64, 1)), []);
    assert_eq!(cluster_session.counters().responses_duplicate, 1);
    cluster_session.offer(2, b"next");
    let (header, payload) = cluster_session.next_request(2).unwrap();
    assert_eq!(header[32..40], 64_i64.to_le_bytes());
    assert_eq!(payload, b"next");
}

#[test]
fn a_window_that_is_full_pushes_back() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 16);
    assert_eq!(cluster_session.offer(0, b"x"), OfferResult::BackPressured);
    say(&mut cluster_session, 1, LEADER, &response(64, 1));
    assert_eq!(
        cluster_session.offer(1, b"x"),
        OfferResult::Accepted(RequestNumber::new(17))
    );
    let long = vec![0; cluster_session.config().request_length_max() + 1];
    assert_eq!(cluster_session.offer(1, &long), OfferResult::TooLong);
}

#[test]
fn k2_a_new_leader_gets_what_was_not_applied_and_its_repeats_are_dropped() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 4);
    say(&mut cluster_session, 1, LEADER, &response(64, 1));
    let events = say(&mut cluster_session, 2, NEXT_LEADER, &new_leader(4, 2));
    assert_eq!(events, [Heard::NewLeader(2, 4)]);
    assert_eq!(send_all(&mut cluster_session, 2), [3, 4]);
    assert_eq!(
        say(&mut cluster_session, 3, NEXT_LEADER, &response_in(4, 64, 1)),
        []
    );
    let events = say(&mut cluster_session, 3, NEXT_LEADER, &response_in(4, 96, 2));
    assert_eq!(events, [Heard::Response(2, 96)]);
    // The old leader is not listened to any more.
    assert_eq!(say(&mut cluster_session, 3, LEADER, &response(128, 3)), []);
    assert_eq!(cluster_session.counters().messages_unexpected, 1);
}

#[test]
fn a_silent_leader_is_given_up_and_the_session_resumed_elsewhere() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 2);
    let silent = LeaderHealth {
        last_heard: 0,
        ..HEALTHY
    };
    assert_eq!(cluster_session.tick(SECOND, silent), 1, "resends first");
    cluster_session.tick(SECOND + 1, silent);
    assert!(matches!(
        cluster_session.session().state(),
        SessionState::AwaitingLeader { .. }
    ));
    assert_eq!(
        cluster_session.offer(SECOND, b"x"),
        OfferResult::NotConnected
    );
    cluster_session.tick(2 * SECOND, silent);
    let request = cluster_session.connect_request().unwrap();
    assert_eq!((request.resume_session.get(), request.resume_token), (7, 5));
    cluster_session.on_connect_request_sent(2 * SECOND);
    let events = answer(
        &mut cluster_session,
        2 * SECOND,
        NEXT_LEADER,
        EventCode::Ok,
        1,
    );
    assert_eq!(events, [], "the term is the same: nobody was elected");
    assert_eq!(send_all(&mut cluster_session, 2 * SECOND), [2]);
}

#[test]
fn a_leader_has_its_time_to_be_heard_from_the_moment_it_serves_the_session() {
    let mut cluster_session = connected();
    // Connected again much later, to one of whom nothing was heard before.
    cluster_session.tick(3 * SECOND, HEALTHY);
    let ended = LeaderHealth {
        is_ended: true,
        ..HEALTHY
    };
    let again = 9 * SECOND;
    cluster_session.tick(again - SECOND, ended);
    cluster_session.tick(again, HEALTHY);
    assert!(cluster_session.connect_request().is_some());
    cluster_session.on_connect_request_sent(again);
    answer(&mut cluster_session, again, NEXT_LEADER, EventCode::Ok, 0);
    assert_eq!(cluster_session.counters().leader_losses, 1);
    let unheard = LeaderHealth {
        last_heard: 0,
        ..HEALTHY
    };
    let timeout = config().leader_timeout_ns;
    cluster_session.tick(again + timeout, unheard);
    assert!(cluster_session.session().is_connected());
    cluster_session.tick(again + timeout + 1, unheard);
    assert!(!cluster_session.session().is_connected());
    assert_eq!(cluster_session.counters().leader_losses, 2);
}

#[test]
fn an_ended_egress_or_a_dead_ingress_counts_as_silence() {
    let signs = [
        LeaderHealth {
            is_ended: true,
            ..HEALTHY
        },
        LeaderHealth {
            is_ingress_connected: false,
            ..HEALTHY
        },
    ];
    for sign in signs {
        let mut cluster_session = connected();
        cluster_session.tick(2 * SECOND, sign);
        assert!(!cluster_session.session().is_connected());
    }
}

#[test]
fn a_leader_that_does_not_receive_is_given_up_when_the_deadline_says_so() {
    let mut cluster_session = connected();
    let deaf = LeaderHealth {
        is_ingress_connected: false,
        ..HEALTHY
    };
    let at = cluster_session
        .next_deadline(deaf.last_heard, false)
        .unwrap();
    assert_eq!(cluster_session.tick(at - 1, deaf), 0);
    assert_eq!(cluster_session.tick(at, deaf), 1);
    assert!(!cluster_session.session().is_connected());
}

#[test]
fn direct_mode_a_response_that_is_gone_is_told() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 2);
    let bytes = refused(1, RefusalReason::AlreadyApplied, 3);
    let events = say(&mut cluster_session, 1, LEADER, &bytes);
    assert_eq!(events, [Heard::Refused(1, RefusalReason::AlreadyApplied)]);
    assert_eq!(say(&mut cluster_session, 1, LEADER, &bytes), []);
    assert_eq!(cluster_session.requests().in_flight(), 1);
}

#[test]
fn progress_releases_requests_that_have_no_response() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 3);
    let progress = Progress {
        session_id: SessionId::new(7),
        applied_number: RequestNumber::new(3),
        acknowledged: 0,
        leadership_term_id: LeadershipTermId::new(3),
    };
    say(&mut cluster_session, 1, LEADER, &progress.encode());
    assert_eq!(cluster_session.requests().in_flight(), 0);
}

#[test]
fn requests_without_progress_are_sent_again_and_then_the_leader_is_asked() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 2);
    assert_eq!(cluster_session.tick(SECOND - 1, HEALTHY), 0);
    cluster_session.tick(SECOND, HEALTHY);
    assert_eq!(send_all(&mut cluster_session, SECOND), [1, 2]);
    cluster_session.tick(3 * SECOND - 1, HEALTHY);
    assert!(cluster_session.session().is_connected());
    cluster_session.tick(3 * SECOND, HEALTHY);
    assert!(!cluster_session.session().is_connected());
}

#[test]
fn a_cluster_that_forgot_applied_requests_is_not_believed() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 3);
    say(&mut cluster_session, 1, LEADER, &response(64, 2));
    let events = say(&mut cluster_session, 2, NEXT_LEADER, &new_leader(4, 1));
    assert_eq!(events, [Heard::Closed(CloseReason::SequenceGap)]);
    assert_eq!(cluster_session.offer(2, b"x"), OfferResult::Closed);
}

#[test]
fn an_applied_number_that_was_never_offered_ends_the_session() {
    let mut cluster_session = connected();
    offer_and_send(&mut cluster_session, 1);
    let events = say(&mut cluster_session, 1, LEADER, &response(64, 2));
    assert_eq!(events, [Heard::Closed(CloseReason::SequenceGap)]);
    assert_eq!(cluster_session.counters().numbers_impossible, 1);
    let noted = ClientNotice::ImpossibleNumber;
    assert_eq!(cluster_session.refusals().count(noted), 1);
}

#[test]
fn an_applied_number_without_room_for_the_next_ends_the_session() {
    let mut cluster_session = ClusterSession::new(config(), &ClientIdentity::of_seed(1));
    cluster_session.tick(0, HEALTHY);
    cluster_session.on_connect_request_sent(0);
    let code = EventCode::Ok;
    let events = answer(&mut cluster_session, 0, LEADER, code, i64::MAX - 1);
    assert_eq!(events, [Heard::Closed(CloseReason::SequenceGap)]);
    assert_eq!(cluster_session.offer(0, b"x"), OfferResult::Closed);
    assert_eq!(cluster_session.counters().numbers_impossible, 1);
}

#[test]
fn k1_a_restarted_client_gets_only_what_it_had_not_acknowledged() {
    let config = ClientConfig {
        resume: Some(ResumePoint {
            session_id: SessionId::new(7),
            nonce: 9,
            resume_token: 5,
            last_received: 96,
            last_received_ordinal: 0,
            connect_epoch: 1,
            leadership_term_id: LeadershipTermId::new(3),
        }),
        ..config()
    };
    let mut cluster_session = ClusterSession::new(config, &ClientIdentity::of_seed(1));
    cluster_session.tick(0, HEALTHY);
    cluster_session.on_connect_request_sent(0);
    let events = answer(&mut cluster_session, 0, LEADER, EventCode::Ok, 6);
    assert_eq!(events, [Heard::Connected(7)]);
    assert_eq!(say(&mut cluster_session, 1, LEADER, &response(96, 3)), []);
    let events = say(&mut cluster_session, 1, LEADER, &response(128, 6));
    assert_eq!(events, [Heard::Response(6, 128)]);
    assert_eq!(
        cluster_session.offer(2, b"x"),
        OfferResult::Accepted(RequestNumber::new(7))
    );
}

#[test]
fn a_refused_connection_says_why() {
    let mut cluster_session = ClusterSession::new(config(), &ClientIdentity::of_seed(1));
    cluster_session.tick(0, HEALTHY);
    cluster_session.on_connect_request_sent(0);
    let events = answer(&mut cluster_session, 0, LEADER, EventCode::Error, 0);
    assert_eq!(events, [Heard::Closed(CloseReason::Rejected)]);
    assert_eq!(cluster_session.close_detail(), b"a detail");
}

#[test]
fn closing_tells_the_leader_once() {
    let mut cluster_session = connected();
    assert!(cluster_session.close().is_some());
    assert!(cluster_session.close().is_none());
    let mut events = Vec::new();
    cluster_session.deliver_events(&mut |event| events.push(heard(event)));
    assert_eq!(events, [Heard::Closed(CloseReason::ByClient)]);
}

#[test]
fn keepalives_go_out_only_after_a_silence_of_our_own() {
    let mut cluster_session = connected();
    assert!(cluster_session.keep_alive(SECOND - 1).is_none());
    assert!(cluster_session.keep_alive(SECOND).is_some());
    cluster_session.offer(SECOND, b"x");
    send_all(&mut cluster_session, SECOND);
    assert!(cluster_session.keep_alive(SECOND).is_none());
    assert_eq!(cluster_session.counters().keepalives, 0);
    for count in [1, 2] {
        let now = (1 + count) * SECOND;
        assert!(cluster_session.keep_alive(now).is_some());
        cluster_session.on_keep_alive_sent(now);
        assert!(cluster_session.keep_alive(now + SECOND - 1).is_none());
        assert_eq!(cluster_session.counters().keepalives as i64, count);
    }
}

#[test]
fn control_messages_wait_for_nobody_and_responses_for_the_application() {
    let mut cluster_session = connected();
    assert!(!cluster_session.on_control(0, LEADER, &response(64, 0)));
    assert!(cluster_session.on_control(0, LEADER, b"garbage"));
    assert_eq!(cluster_session.counters().messages_invalid, 1);
    let told = cluster_session.refusals_mut().take();
    let kind = told.map(|notice| notice.kind);
    assert_eq!(kind, Some(ClientNotice::DamagedMessage));
    assert!(cluster_session.on_control(0, NEXT_LEADER, &new_leader(4, 0)));
    let mut events = Vec::new();
    cluster_session.deliver_events(&mut |event| events.push(heard(event)));
    assert_eq!(events, [Heard::NewLeader(2, 4)]);
}

#[test]
fn whatever_is_of_an_older_term_is_counted_and_ignored() {
    let mut cluster_session = connected();
    say(&mut cluster_session, 1, NEXT_LEADER, &new_leader(4, 0));
    offer_and_send(&mut cluster_session, 2);
    let progress = Progress {
        session_id: SessionId::new(7),
        applied_number: RequestNumber::new(2),
        acknowledged: 0,
        leadership_term_id: LeadershipTermId::new(3),
    };
    // On the image of the present leader, as a leader that was deposed in between would.
    assert_eq!(
        say(&mut cluster_session, 1, NEXT_LEADER, &progress.encode()),
        []
    );
    assert_eq!(
        say(&mut cluster_session, 1, NEXT_LEADER, &response(64, 1)),
        []
    );
    let refusal = refused(1, RefusalReason::TooLong, 0);
    assert_eq!(say(&mut cluster_session, 1, NEXT_LEADER, &refusal), []);
    assert_eq!(
        say(&mut cluster_session, 1, NEXT_LEADER, &new_leader(4, 2)),
        []
    );
    assert_eq!(cluster_session.counters().messages_stale, 4);
    assert_eq!(cluster_session.requests().in_flight(), 2);
}

#[test]
fn a_list_of_addresses_that_cannot_be_read_is_told() {
    let mut cluster_session = ClusterSession::new(config(), &ClientIdentity::of_seed(1));
    cluster_session.tick(0, HEALTHY);
    cluster_session.on_connect_request_sent(0);
    // Its detail is no list.
    answer(&mut cluster_session, 0, LEADER, EventCode::Redirect, 0);
    assert_eq!(cluster_session.counters().endpoints_invalid, 1);
    let refusals = cluster_session.refusals_mut();
    let told = refusals.take().map(|notice| notice.kind);
    assert_eq!(told, Some(ClientNotice::DamagedEndpoints));
}
