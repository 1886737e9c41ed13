//! The session's transitions, and its manners towards members that do not answer.

use super::*;
use lockstep_transport::time::SECOND;

fn config() -> ClientConfig {
    ClientConfig {
        members: ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
            .map(|address| address.parse().unwrap())
            .to_vec(),
        ..ClientConfig::default()
    }
}

fn event(session: &Session, code: EventCode) -> SessionEvent<'static> {
    SessionEvent {
        session_id: SessionId::new(7),
        correlation_id: session.correlation_id(),
        leadership_term_id: LeadershipTermId::new(4),
        applied_number: RequestNumber::NONE,
        acknowledged: 0,
        resume_token: 99,
        leader_member_id: 2,
        code,
        version: 1,
        session_timeout_ms: 0,
        connect_epoch: session.connect_epoch(),
        detail: b"",
    }
}

fn new_leader(term: i64, member: i32) -> NewLeaderEvent<'static> {
    NewLeaderEvent {
        leadership_term_id: LeadershipTermId::new(term),
        session_id: SessionId::new(7),
        applied_number: RequestNumber::new(5),
        leader_member_id: member,
        connect_epoch: 1,
        endpoints: b"",
    }
}

/// One session in each state that can be reached.
fn in_state(name: &str) -> Session {
    let mut session = Session::new(&config(), &ClientIdentity::of_seed(1));
    session.tick(0);
    if name == "Connecting" {
        return session;
    }
    session.on_request_sent(0);
    match name {
        "AwaitingOk" => {}
        "Redirected" => {
            let redirect = event(&session, EventCode::Redirect);
            session.on_event(0, 0, &redirect);
        }
        "AwaitingLeader" => {
            let mut redirect = event(&session, EventCode::Redirect);
            redirect.leader_member_id = -1;
            session.on_event(0, 0, &redirect);
        }
        "Connected" => {
            let ok = event(&session, EventCode::Ok);
            session.on_event(0, 0, &ok);
        }
        _ => {
            session.end(CloseReason::ByClient);
        }
    }
    session
}

fn name(state: SessionState) -> &'static str {
    match state {
        SessionState::Connecting { .. } => "Connecting",
        SessionState::Redirected { .. } => "Redirected",
        SessionState::AwaitingOk { .. } => "AwaitingOk",
        SessionState::Connected { .. } => "Connected",
        SessionState::AwaitingLeader { .. } => "AwaitingLeader",
        SessionState::Closed(_) => "Closed",
    }
}

const STATES: [&str; 6] = [
    "Connecting",
    "Redirected",
    "AwaitingOk",
    "Connected",
    "AwaitingLeader",
    "Closed",
];

type Step = (&'static str, fn(&mut Session));

const STEPS: [Step; 9] = [
    ("sent", |s| s.on_request_sent(1)),
    ("ok", |s| {
        let ok = event(s, EventCode::Ok);
        s.on_event(1, 2, &ok);
    }),
    ("redirect", |s| {
        let redirect = event(s, EventCode::Redirect);
        s.on_event(1, 0, &redirect);
    }),
    ("error", |s| {
        let error = event(s, EventCode::Error);
        s.on_event(1, 0, &error);
    }),
    ("closed", |s| {
        let closed = event(s, EventCode::Closed);
        s.on_event(1, 0, &closed);
    }),
    ("new leader", |s| {
        s.on_new_leader(1, &new_leader(9, 1));
    }),
    ("leader lost", |s| {
        s.on_leader_lost(1);
    }),
    ("timeout", |s| {
        s.tick(100 * SECOND);
    }),
    ("close", |s| {
        s.end(CloseReason::ByClient);
    }),
];

const TRANSITIONS: &str = "\
Connecting: sent=AwaitingOk timeout=Connecting close=Closed
Redirected: sent=AwaitingOk timeout=Connecting close=Closed
AwaitingOk: ok=Connected redirect=Redirected error=Closed closed=Closed timeout=Connecting \
close=Closed
Connected: redirect=Redirected closed=Closed new leader=Connected leader lost=AwaitingLeader \
close=Closed
AwaitingLeader: timeout=Connecting close=Closed
Closed:
";

#[test]
fn the_transitions_are_exactly_these() {
    let mut table = String::new();
    for from in STATES {
        table.push_str(from);
        table.push(':');
        for (step, apply) in STEPS {
            let mut session = in_state(from);
            assert_eq!(name(session.state()), from);
            let before = (session.state(), session.epoch());
            apply(&mut session);
            if (session.state(), session.epoch()) != before {
                table.push_str(&format!(" {step}={}", name(session.state())));
            }
        }
        table.push('\n');
    }
    assert_eq!(table, TRANSITIONS);
}

#[test]
fn a_redirect_leads_to_the_member_named_and_teaches_its_address() {
    let mut config = config();
    config.members.truncate(1);
    let mut session = Session::new(&config, &ClientIdentity::of_seed(1));
    session.tick(0);
    session.on_request_sent(0);
    let epoch = session.epoch();
    let mut redirect = event(&session, EventCode::Redirect);
    redirect.detail = b"0=127.0.0.1:1,1=127.0.0.1:2,2=127.0.0.1:3";
    assert_eq!(session.on_event(0, 0, &redirect), SessionChange::Moved);
    assert_eq!(session.address(), Some("127.0.0.1:3".parse().unwrap()));
    assert_ne!(session.epoch(), epoch);
    assert!(session.wants_connect_request());
}

#[test]
fn k6_redirects_in_a_circle_end_in_a_pause() {
    let mut session = in_state("AwaitingOk");
    let mut hops = 0;
    loop {
        let mut redirect = event(&session, EventCode::Redirect);
        redirect.leader_member_id = (hops % 2) + 1;
        session.on_event(0, 0, &redirect);
        if name(session.state()) == "AwaitingLeader" {
            break;
        }
        session.on_request_sent(0);
        hops += 1;
        assert!(hops <= REDIRECTS_MAX as i32);
    }
    assert!(session.deadline().is_some_and(|deadline| deadline > 0));
}

#[test]
fn members_that_do_not_answer_are_asked_in_turn_ever_more_patiently() {
    let mut session = in_state("Connecting");
    let mut now = 0;
    let mut asked = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..15 {
        asked.push(session.member().unwrap());
        let deadline = session.deadline().unwrap();
        waits.push(deadline - now);
        now = deadline;
        session.tick(now);
    }
    assert_eq!(asked[..6], [0, 1, 2, 0, 1, 2]);
    let timeout = config().connect_timeout_ns;
    assert!(
        waits[..3]
            .iter()
            .all(|wait| (timeout..2 * timeout).contains(wait))
    );
    assert!(waits[9..].iter().all(|wait| *wait >= 8 * timeout));
    assert!(waits.iter().all(|wait| *wait <= 10 * timeout + MILLISECOND));
}

#[test]
fn two_seeds_wait_differently_and_one_seed_always_the_same() {
    let deadline = |seed| {
        let mut session = Session::new(&config(), &ClientIdentity::of_seed(seed));
        session.tick(0);
        session.deadline()
    };
    assert_eq!(deadline(1), deadline(1));
    assert_ne!(deadline(1), deadline(2));
}

#[test]
fn k2_every_attempt_carries_the_same_nonce_and_a_correlation_id_of_its_own() {
    let config = config();
    let mut session = in_state("AwaitingOk");
    let first = session.connect_request(&config, ResponseCursor::default());
    assert!(session.tick(100 * SECOND));
    let second = session.connect_request(&config, ResponseCursor::default());
    assert_eq!(first.nonce, second.nonce);
    assert_ne!(first.correlation_id, second.correlation_id);
    assert_eq!(second.resume_session, SessionId::UNKNOWN);
}

#[test]
fn a_lost_leader_is_followed_by_attempts_to_resume() {
    let config = config();
    let mut session = in_state("Connected");
    assert!(session.on_leader_lost(0));
    assert_eq!(name(session.state()), "AwaitingLeader");
    session.tick(SECOND);
    assert_eq!(session.member(), Some(1));
    let received = ResponseCursor {
        position: 64,
        ordinal: 1,
    };
    let request = session.connect_request(&config, received);
    assert_eq!(
        (request.resume_session.get(), request.resume_token),
        (7, 99)
    );
    assert_eq!(
        (request.last_received, request.last_received_ordinal),
        (64, 1)
    );
}

#[test]
fn pauses_double_while_nobody_knows_a_leader_up_to_a_bound() {
    let mut session = Session::new(&config(), &ClientIdentity::of_seed(1));
    let first = config().connect_timeout_ns / PAUSE_DIVISOR;
    let mut now = 0;
    for times in [2, 4, 8, 8] {
        session.tick(now);
        session.on_request_sent(now);
        let mut answer = event(&session, EventCode::Redirect);
        answer.leader_member_id = -1;
        assert_eq!(session.on_event(now, 0, &answer), SessionChange::Moved);
        let deadline = session.deadline().unwrap();
        let pause = deadline - now;
        assert!(
            (times * first..times * first * 5 / 4).contains(&pause),
            "{pause} is not {times} times {first}"
        );
        now = deadline;
    }
}

#[test]
fn an_answer_to_another_attempt_changes_nothing() {
    let mut session = in_state("AwaitingOk");
    let mut late = event(&session, EventCode::Ok);
    late.correlation_id -= 1;
    assert_eq!(session.on_event(0, 0, &late), SessionChange::None);
}

#[test]
fn a_leader_of_the_past_is_not_followed() {
    let mut session = in_state("Connected");
    assert_eq!(
        session.on_new_leader(1, &new_leader(4, 1)),
        SessionChange::Stale
    );
    assert_eq!(
        session.on_new_leader(1, &new_leader(9, 2)),
        SessionChange::None
    );
    assert_eq!(
        session.on_new_leader(1, &new_leader(9, 1)),
        SessionChange::Opened {
            applied_number: RequestNumber::new(5),
            is_first: false,
            is_new_leader: true,
        }
    );
    session.on_leader_lost(0);
    session.tick(SECOND);
    session.on_request_sent(SECOND);
    let stale = event(&session, EventCode::Ok);
    assert_eq!(session.on_event(SECOND, 2, &stale), SessionChange::Stale);
    assert_eq!(name(session.state()), "AwaitingLeader");
}

#[test]
fn s8_a_session_the_cluster_no_longer_has_is_expired() {
    for code in [EventCode::Error, EventCode::Ok, EventCode::Closed] {
        let mut session = in_state("Connected");
        session.on_leader_lost(0);
        session.tick(SECOND);
        session.on_request_sent(SECOND);
        let mut answer = event(&session, code);
        answer.session_id = SessionId::new(8);
        assert_eq!(
            session.on_event(SECOND, 1, &answer),
            SessionChange::Closed(CloseReason::Expired)
        );
    }
}

#[test]
fn a_session_that_has_no_number_is_none() {
    let mut session = in_state("AwaitingOk");
    let mut answer = event(&session, EventCode::Ok);
    answer.session_id = SessionId::UNKNOWN;
    let closed = SessionChange::Closed(CloseReason::Expired);
    assert_eq!(session.on_event(1, 1, &answer), closed);
}

#[test]
fn the_reason_of_a_close_is_told() {
    let reasons = [
        (EventCode::Closed, CloseReason::ByClient),
        (EventCode::Expired, CloseReason::Expired),
        (EventCode::SequenceGap, CloseReason::SequenceGap),
        (EventCode::Retention, CloseReason::Retention),
    ];
    for (code, reason) in reasons {
        let mut session = in_state("Connected");
        // The words beside it are for people.
        let closed = SessionEvent {
            detail: b"session expired",
            ..event(&session, code)
        };
        assert_eq!(
            session.on_event(0, 0, &closed),
            SessionChange::Closed(reason)
        );
    }
}

#[test]
fn a_resumed_session_asks_for_its_old_id_with_its_old_nonce() {
    let resume = ResumePoint {
        session_id: SessionId::new(7),
        nonce: 1234,
        resume_token: 99,
        last_received: 640,
        last_received_ordinal: 0,
        connect_epoch: 3,
        leadership_term_id: LeadershipTermId::new(2),
    };
    let config = ClientConfig {
        resume: Some(resume),
        ..config()
    };
    let session = Session::new(&config, &ClientIdentity::of_seed(5));
    let received = ResponseCursor {
        position: 640,
        ordinal: 0,
    };
    let request = session.connect_request(&config, received);
    assert_eq!((request.resume_session.get(), request.nonce), (7, 1234));
    assert_eq!(
        request.connect_epoch, 4,
        "greater than that of the process before"
    );
    let expected = ResumePoint {
        connect_epoch: 4,
        ..resume
    };
    assert_eq!(session.resume_point(received), Some(expected));
}

fn resumed() -> Session {
    let resume = ResumePoint {
        session_id: SessionId::new(7),
        nonce: 1234,
        resume_token: 99,
        last_received: 640,
        last_received_ordinal: 0,
        connect_epoch: 3,
        leadership_term_id: LeadershipTermId::new(2),
    };
    let config = ClientConfig {
        resume: Some(resume),
        ..config()
    };
    let mut session = Session::new(&config, &ClientIdentity::of_seed(5));
    session.tick(0);
    session.on_request_sent(0);
    session
}

fn fenced(session: &Session, ruling: i64) -> SessionEvent<'static> {
    SessionEvent {
        connect_epoch: ruling,
        ..event(session, EventCode::Fenced)
    }
}

#[test]
fn a_process_that_starts_again_asks_for_more_than_the_epoch_that_rules() {
    // A process that died before it wrote anything down had epoch 4.
    let mut session = resumed();
    let answer = fenced(&session, 4);
    assert_eq!(session.on_event(1, 0, &answer), SessionChange::Moved);
    assert_eq!((session.connect_epoch(), session.member()), (5, Some(0)));
    session.on_request_sent(1);
    let ok = event(&session, EventCode::Ok);
    session.on_event(1, 0, &ok);
    assert!(session.is_connected());
}

#[test]
fn a_process_that_had_its_turn_ends_when_it_is_fenced() {
    let mut session = in_state("Connected");
    let mut of_another_attempt = fenced(&session, 2);
    of_another_attempt.correlation_id = 0;
    let mut before = of_another_attempt;
    before.connect_epoch = 1;
    let ignored = SessionChange::NotForThisProcess;
    assert_eq!(session.on_event(1, 0, &before), ignored);
    let closed = SessionChange::Closed(CloseReason::Fenced);
    assert_eq!(session.on_event(1, 0, &of_another_attempt), closed);
    // The same as the answer to an attempt to resume.
    let mut session = in_state("Connected");
    session.on_leader_lost(0);
    session.tick(SECOND);
    session.on_request_sent(SECOND);
    let answer = fenced(&session, 2);
    assert_eq!(session.on_event(SECOND, 0, &answer), closed);
}

#[test]
fn what_is_told_to_the_process_before_at_the_same_address_is_not_for_this_one() {
    let mut session = resumed();
    let mut old = fenced(&session, 4);
    old.correlation_id = 0;
    let ignored = SessionChange::NotForThisProcess;
    assert_eq!(session.on_event(1, 0, &old), ignored);
    assert_eq!(session.on_new_leader(1, &new_leader(9, 1)), ignored);
    assert_eq!(name(session.state()), "AwaitingOk");
}

#[test]
fn a_client_whose_nonce_is_in_use_does_not_take_the_session_over() {
    let mut session = in_state("AwaitingOk");
    let answer = fenced(&session, 1);
    let closed = SessionChange::Closed(CloseReason::Fenced);
    assert_eq!(session.on_event(1, 0, &answer), closed);
}

#[test]
fn a_leader_that_serves_the_session_again_in_the_same_term_is_no_new_one() {
    let mut session = in_state("Connected");
    for (term, is_new_leader) in [(4, false), (5, true)] {
        session.on_leader_lost(0);
        session.tick(SECOND);
        session.on_request_sent(SECOND);
        let mut ok = event(&session, EventCode::Ok);
        ok.leadership_term_id = LeadershipTermId::new(term);
        let opened = SessionChange::Opened {
            applied_number: RequestNumber::NONE,
            is_first: false,
            is_new_leader,
        };
        assert_eq!(session.on_event(SECOND, 2, &ok), opened);
    }
}

#[test]
fn the_clusters_timeout_of_the_session_is_taken_over() {
    let mut session = in_state("AwaitingOk");
    assert_eq!(session.timeout_ns(), 0);
    let mut ok = event(&session, EventCode::Ok);
    ok.session_timeout_ms = 400;
    session.on_event(0, 0, &ok);
    assert_eq!(session.timeout_ns(), 400 * MILLISECOND);
}
