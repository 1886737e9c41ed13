//! The container's rules with services of one line each.

use super::*;
use crate::log_entry::EntryKind;

const LIMITS: OutboxLimits = OutboxLimits {
    effects_per_cause: 2,
    effect_bytes_per_cause: 256,
    capacity_bytes: 1024,
    enabled: true,
    service: 0,
};

/// Answers with the message, its log time and position; panics on "panic".
#[derive(Default)]
struct Recorder {
    opened: Vec<i64>,
    closed: Vec<i64>,
    terms: Vec<(i64, i64)>,
}

impl ClusteredService for Recorder {
    fn on_session_open(&mut self, _: &mut Cluster<'_>, session: ClientSession) {
        self.opened.push(session.id.get());
    }

    fn on_session_close(&mut self, _: &mut Cluster<'_>, session: ClientSession) {
        self.closed.push(session.id.get());
    }

    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, session: ClientSession, m: &[u8]) {
        assert_ne!(m, b"panic", "told to");
        let mut answer = m.to_vec();
        answer.extend(cluster.log_time().to_le_bytes());
        answer.extend(cluster.position().to_le_bytes());
        cluster.respond(session, &answer).unwrap();
    }

    fn on_new_leadership_term(&mut self, leadership_term_id: LeadershipTermId, log_time: i64) {
        self.terms.push((leadership_term_id.get(), log_time));
    }

    fn state_hash(&self) -> u64 {
        42
    }
}

fn header(kind: EntryKind, log_time: i64) -> EntryHeader {
    EntryHeader {
        kind,
        service: 3,
        flags: 0,
        ordinal: 0,
        log_time,
        session: SessionId::new(9),
        number: 1,
        refers_to: 0,
        leader_commit: 0,
    }
}

fn container() -> Container<Recorder> {
    Container::new(Recorder::default(), 3, LIMITS, 128)
}

#[test]
fn every_kind_of_entry_reaches_its_callback_and_moves_applied() {
    let mut container = container();
    let term = header(EntryKind::NewLeadershipTerm, 100);
    container
        .apply_new_leadership_term(&term, 0, 96, LeadershipTermId::new(5))
        .unwrap();
    let open = header(EntryKind::SessionOpen, 101);
    container
        .apply_session_open(&open, 96, 192, SessionId::new(17))
        .unwrap();
    let request = header(EntryKind::Request, 102);
    container.apply_request(&request, 192, 320, b"hi").unwrap();
    container.outputs_mut().advance(416);
    let close = header(EntryKind::SessionClose, 102);
    container.apply_session_close(&close, 416, 512).unwrap();
    assert_eq!(container.service().terms, [(5, 100)]);
    assert_eq!(container.service().opened, [17]);
    assert_eq!(container.service().closed, [9]);
    assert_eq!(
        (
            container.outputs().applied(),
            container.outputs().log_time()
        ),
        (512, 102)
    );
    let effect = container.outputs().outbox().front().unwrap();
    assert_eq!((effect.name.cause, effect.name.service), (192, 3));
    assert_eq!(&effect.message[..2], b"hi");
    assert_eq!(effect.message[2..10], 102_i64.to_le_bytes());
    assert_eq!(effect.message[10..], 192_i64.to_le_bytes());
}

#[test]
fn a_panic_names_its_position_and_message_and_is_final() {
    let mut container = container();
    let request = header(EntryKind::Request, 1);
    container.apply_request(&request, 64, 160, b"fine").unwrap();
    let fault = container
        .apply_request(&request, 160, 256, b"panic")
        .unwrap_err();
    let ServiceFault::Panicked { position, message } = fault else {
        panic!("{fault:?}");
    };
    assert_eq!(position, 160);
    assert!(message.contains("told to"), "{message}");
    assert_eq!(
        container.outputs().applied(),
        160,
        "the entry is not applied"
    );
    assert_eq!(container.outputs().stopped(), Some(160));
    let again = container.apply_request(&request, 256, 352, b"fine");
    assert_eq!(again, Err(ServiceFault::Stopped { position: 160 }));
}

#[test]
fn the_response_in_the_log_is_compared_with_the_own_output() {
    let mut container = container();
    let request = header(EntryKind::Request, 1);
    container.apply_request(&request, 64, 160, b"q").unwrap();
    let answer = container
        .outputs()
        .outbox()
        .front()
        .unwrap()
        .message
        .to_vec();
    let response = EntryHeader {
        number: 64,
        ..header(EntryKind::Response, 2)
    };
    let foreign = EntryHeader {
        service: 4,
        ..response
    };
    container
        .outputs_mut()
        .apply_response(&foreign, 160, 256, b"other service")
        .unwrap();
    assert_eq!(container.outputs().outbox().len(), 1);
    container
        .outputs_mut()
        .apply_response(&response, 256, 352, &answer)
        .unwrap();
    assert!(container.outputs().outbox().is_empty());
    container
        .apply_request(&request_at(3), 352, 448, b"q")
        .unwrap();
    let wrong = EntryHeader {
        number: 352,
        ..header(EntryKind::Response, 3)
    };
    let fault = container
        .outputs_mut()
        .apply_response(&wrong, 448, 544, b"no")
        .unwrap_err();
    assert!(matches!(
        fault,
        ServiceFault::Diverged { position: 448, .. }
    ));
    assert_eq!(container.outputs().stopped(), Some(448));
}

fn request_at(log_time: i64) -> EntryHeader {
    header(EntryKind::Request, log_time)
}

#[test]
fn an_entry_that_no_leader_writes_stops_the_service() {
    let mut long = container();
    let fault = long
        .apply_request(&request_at(1), 0, 224, &[0; 129])
        .unwrap_err();
    assert!(matches!(
        fault,
        ServiceFault::EntryTooLong { length: 129, .. }
    ));
    let mut early = container();
    early.apply_request(&request_at(5), 0, 96, b"a").unwrap();
    let fault = early
        .apply_request(&request_at(4), 96, 192, b"b")
        .unwrap_err();
    assert!(matches!(
        fault,
        ServiceFault::LogTimeFell {
            before: 5,
            found: 4,
            ..
        }
    ));
}

#[test]
#[should_panic(expected = "at applied")]
fn applying_an_entry_twice_is_a_broken_invariant() {
    let mut container = container();
    container
        .apply_request(&request_at(1), 0, 96, b"a")
        .unwrap();
    let _ = container.apply_request(&request_at(1), 0, 96, b"a");
}
