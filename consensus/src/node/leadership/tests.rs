//! What a leader may append and when, and whose connects it remembers.

use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Geometry;
use lockstep_transport::stream::PublicationConfig;

use super::*;
use crate::log::entry_body::CloseReason;
use crate::log::log_entry::{Request, Response};
use crate::module::formation::FormationRecord;
use crate::session::egress_channels::EgressChannels;
use crate::settings::cluster_limits::ClusterLimits;
use crate::settings::config::ClusterConfig;

const CONTEXT: AppendContext = AppendContext {
    limit: 1 << 16,
    log_time: 40,
    commit: 0,
};

fn log() -> LogBuffer {
    LogBuffer::allocate(Geometry::new(0, 1 << 16).unwrap(), 1408).unwrap()
}

/// A leader of term 3 that has appended nothing yet.
fn begun(log: &LogBuffer) -> Leadership {
    let mut leadership = Leadership::new(4);
    assert!(!leadership.is_leading() && leadership.append_position().is_none());
    leadership.begin(
        LeadershipTermId::new(3),
        LogWriter::new(log, 1, 1408, 0, LeadershipTermId::new(3), 0),
    );
    assert_eq!(
        (leadership.term().get(), leadership.append_position()),
        (3, Some(0))
    );
    leadership
}

fn own_entry() -> NewLeadershipTerm {
    NewLeadershipTerm {
        term: LeadershipTermId::new(3),
        leader: 1,
        id: 9,
        formation: FormationRecord::default(),
        limits: ClusterLimits::of(&ClusterConfig::default()),
    }
}

fn request() -> LogEntry<'static> {
    LogEntry::Request(Request {
        session: SessionId::new(1),
        number: RequestNumber::FIRST,
        acknowledged: 0,
        message: b"x",
    })
}

/// The same, open.
fn open(log: &mut LogBuffer) -> Leadership {
    let mut leadership = begun(log);
    let own = leadership
        .append_own_entry(log, &CONTEXT, &own_entry())
        .unwrap();
    leadership.open(&SessionTable::new(4), own.end, 0);
    leadership
}

#[test]
fn a_leader_opens_once_its_own_first_entry_is_applied_and_appends_that_once() {
    let mut log = log();
    let mut leadership = begun(&log);
    assert!(!leadership.may_open(Position::MAX), "it has none yet");
    let own = leadership
        .append_own_entry(&mut log, &CONTEXT, &own_entry())
        .unwrap();
    assert!(
        leadership
            .append_own_entry(&mut log, &CONTEXT, &own_entry())
            .is_none()
    );
    assert!(!leadership.may_open(own.end - 1) && leadership.may_open(own.end));
    leadership.open(&SessionTable::new(4), own.end, 0);
    assert!(leadership.is_open() && !leadership.may_open(own.end));
    leadership.abdicate();
    assert!(!leadership.is_open() && !leadership.is_leading() && !leadership.may_open(own.end));
    assert_eq!(leadership.term(), LeadershipTermId::NONE);
}

#[test]
#[should_panic(expected = "S3: Request is appended before the leadership is open")]
fn nothing_else_is_appended_before_that() {
    let mut log = log();
    let mut leadership = begun(&log);
    leadership.append(&mut log, &CONTEXT, &request());
}

#[test]
fn requests_and_sessions_cause_effects_until_they_are_applied_and_responses_do_not() {
    let mut log = log();
    let mut leadership = open(&mut log);
    let close = LogEntry::SessionClose {
        session: SessionId::new(1),
        reason: CloseReason::Timeout,
    };
    let response = LogEntry::Response(Response {
        service: 0,
        session: SessionId::new(1),
        cause: 32,
        ordinal: 0,
        request_number: RequestNumber::FIRST,
        is_failure: false,
        message: b"x",
    });
    let open = LogEntry::SessionOpen(connect(1, 2, 3).open);
    for (entry, causes) in [(request(), 1), (open, 2), (close, 3), (response, 3)] {
        let appended = leadership.append(&mut log, &CONTEXT, &entry);
        assert!(appended.is_some());
        assert_eq!(leadership.unapplied_causes(), causes, "{entry:?}");
    }
    for causes in [2, 1, 0, 0] {
        leadership.on_cause_applied();
        assert_eq!(leadership.unapplied_causes(), causes);
    }
}

#[test]
fn an_entry_for_which_there_is_no_room_is_not_appended_and_causes_nothing() {
    let mut log = log();
    let mut leadership = open(&mut log);
    let full = AppendContext {
        limit: leadership.append_position().unwrap(),
        ..CONTEXT
    };
    assert!(leadership.append(&mut log, &full, &request()).is_none());
    assert_eq!(leadership.unapplied_causes(), 0);
}

/// A connect of a client that asks for an epoch.
fn connect(nonce: u64, principal_hash: u64, connect_epoch: i64) -> PendingConnect {
    let destination = ([10, 0, 0, 9], 7).into();
    let config = PublicationConfig {
        session_id: 1,
        stream_id: 2,
        initial_term_id: 3,
        term_length: 1 << 16,
        mtu: 1408,
        destination,
    };
    PendingConnect {
        open: SessionOpen {
            nonce,
            principal_hash,
            response_address: destination,
            response_stream_id: 2,
            connect_epoch,
            incarnation: 5,
            timeout_ns: 0,
            resume_session: SessionId::UNKNOWN,
            last_received: 0,
        },
        correlation_id: connect_epoch,
        channel: EgressChannels::new(1, 1).open_answer(config, 0).unwrap(),
        last_received: 0,
    }
}

#[test]
fn a_connect_is_found_by_its_client_and_process_and_taken_once() {
    let mut leadership = Leadership::new(4);
    let asked = connect(1, 2, 3);
    leadership.await_open(asked);
    let mut of_another_process = asked.open;
    of_another_process.incarnation = 6;
    for other in [
        connect(9, 2, 3).open,
        connect(1, 9, 3).open,
        connect(1, 2, 9).open,
        of_another_process,
    ] {
        assert!(leadership.pending_connect(&other).is_none());
        assert!(leadership.take_connect(&other).is_none());
    }
    assert!(leadership.pending_connect(&asked.open).is_some());
    assert_eq!(
        leadership
            .take_connect(&asked.open)
            .map(|c| c.correlation_id),
        Some(3)
    );
    assert!(leadership.take_connect(&asked.open).is_none());
}

#[test]
fn a_client_is_awaited_until_its_connect_is_answered() {
    let mut leadership = Leadership::new(4);
    let asked = connect(1, 2, 3);
    assert!(!leadership.awaits((1, 2)));
    leadership.await_open(asked);
    assert!(leadership.awaits((1, 2)) && !leadership.awaits((1, 3)) && !leadership.awaits((3, 2)));
    let decided = leadership.take_connect(&asked.open).unwrap();
    assert!(!leadership.awaits((1, 2)));
    leadership.await_answer(decided);
    assert!(leadership.awaits((1, 2)));
    assert_eq!(leadership.take_decided().map(|c| c.correlation_id), Some(3));
    assert!(leadership.take_decided().is_none() && !leadership.awaits((1, 2)));
}

#[test]
fn sixty_four_connects_may_wait_for_their_entry_or_their_answer() {
    let mut leadership = Leadership::new(4);
    for nonce in 0..64 {
        assert!(leadership.has_room_for_connect(), "{nonce}");
        let asked = connect(nonce, 2, 3);
        if nonce % 2 == 0 {
            leadership.await_open(asked);
        } else {
            leadership.await_answer(asked);
        }
    }
    assert!(!leadership.has_room_for_connect());
    assert!(leadership.take_decided().is_some() && leadership.has_room_for_connect());
}
