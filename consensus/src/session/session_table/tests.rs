//! Who has a session, what is applied for it, and what it is owed.

use super::*;

fn opened(verdict: OpenVerdict) -> i64 {
    match verdict {
        OpenVerdict::Opened(session) => session.id.get(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_are_assigned_at_apply_and_never_reused() {
    let mut table = SessionTable::new(2);
    assert_eq!(opened(table.apply_open(&SessionOpen::of_client(1), 32)), 1);
    assert_eq!(opened(table.apply_open(&SessionOpen::of_client(2), 96)), 2);
    assert_eq!(
        table.apply_open(&SessionOpen::of_client(3), 128),
        OpenVerdict::Full
    );
    assert_eq!(
        table.apply_close(SessionId::new(1)).map(|s| s.id),
        Some(SessionId::FIRST)
    );
    assert_eq!(opened(table.apply_open(&SessionOpen::of_client(3), 160)), 3);
}

#[test]
fn a_session_is_continued_by_its_own_process_or_under_a_greater_epoch() {
    let mut table = SessionTable::new(2);
    let first = SessionOpen::of_client(1);
    table.apply_open(&first, 32);
    let continued = |verdict| match verdict {
        OpenVerdict::Continued { is_takeover, .. } => Some(is_takeover),
        _ => None,
    };
    // Its own process, from another address.
    let moved = SessionOpen {
        response_address: "127.0.0.1:2".parse().unwrap(),
        ..first
    };
    assert_eq!(continued(table.apply_open(&moved, 64)), Some(false));
    let next = SessionOpen {
        connect_epoch: 2,
        incarnation: 9,
        resume_session: SessionId::new(1),
        response_address: "127.0.0.1:3".parse().unwrap(),
        ..first
    };
    assert_eq!(continued(table.apply_open(&next, 96)), Some(true));
    // The old process, and one that asks for the same epoch.
    assert_eq!(table.apply_open(&first, 128), OpenVerdict::Fenced);
    let same = SessionOpen {
        incarnation: 10,
        ..next
    };
    assert_eq!(table.apply_open(&same, 160), OpenVerdict::Fenced);
    let session = table.get(SessionId::new(1)).unwrap();
    assert_eq!(session.response_address, next.response_address);
    assert!(session.is_granted(2, 9));
    assert_eq!(session.open_position, 32);
}

#[test]
fn a_process_that_takes_over_gets_what_it_lacks_whatever_the_one_before_had() {
    let mut table = SessionTable::new(2);
    table.apply_open(&SessionOpen::of_client(1), 32);
    table.apply_acknowledgement(SessionId::new(1), 640);
    let next = SessionOpen {
        connect_epoch: 2,
        last_received: 320,
        ..SessionOpen::of_client(1)
    };
    table.apply_open(&next, 960);
    assert_eq!(
        table.get(SessionId::new(1)).map(|s| s.acknowledged),
        Some(320)
    );
    // Its own repeat, with what it knew then, takes nothing back.
    table.apply_acknowledgement(SessionId::new(1), 480);
    table.apply_open(&next, 992);
    assert_eq!(
        table.get(SessionId::new(1)).map(|s| s.acknowledged),
        Some(480)
    );
}

#[test]
fn a_session_is_owed_what_it_was_answered_and_has_not_acknowledged() {
    let mut table = SessionTable::new(2);
    let first = SessionId::FIRST;
    table.apply_open(&SessionOpen::of_client(1), 32);
    let owed = |table: &SessionTable| {
        let session = table.get(first).unwrap();
        session.needed_from(session.acknowledged)
    };
    assert_eq!(owed(&table), None);
    table.apply_response(first, 320);
    table.apply_response(first, 480);
    assert_eq!(owed(&table), Some(320));
    table.apply_acknowledgement(first, 320);
    assert_eq!(owed(&table), Some(320));
    table.apply_acknowledgement(first, 480);
    assert_eq!(owed(&table), None);
    // However long ago it was that it had all.
    table.apply_response(first, 6400);
    assert_eq!(owed(&table), Some(6400));
}

#[test]
fn a_process_that_has_less_than_the_one_before_is_owed_that_again() {
    let mut table = SessionTable::new(2);
    let first = SessionId::FIRST;
    table.apply_open(&SessionOpen::of_client(1), 32);
    for position in [320, 640] {
        table.apply_response(first, position);
        table.apply_acknowledgement(first, position);
    }
    let mut needed = |connect_epoch, last_received| {
        let open = SessionOpen {
            connect_epoch,
            last_received,
            ..SessionOpen::of_client(1)
        };
        table.apply_open(&open, 960);
        let session = table.get(first).unwrap();
        assert!(session.owed_since <= session.answered);
        session.needed_from(session.acknowledged)
    };
    assert_eq!(needed(2, 320), Some(320));
    assert_eq!(needed(3, Position::MAX), None);
    assert_eq!(needed(4, Position::MAX - 32), None);
    assert_eq!(needed(5, 0), Some(32), "there is none before it was opened");
}

#[test]
fn a_session_that_is_gone_is_not_opened_by_whoever_wants_to_continue_it() {
    let mut table = SessionTable::new(2);
    let resume = SessionOpen {
        resume_session: SessionId::new(1),
        ..SessionOpen::of_client(1)
    };
    assert_eq!(table.apply_open(&resume, 32), OpenVerdict::Gone);
}

#[test]
fn each_field_of_a_session_is_in_the_hash() {
    let hash = |change: &dyn Fn(&mut Session)| {
        let mut table = SessionTable::new(2);
        table.apply_open(&SessionOpen::of_client(1), 32);
        change(&mut table.sessions[0]);
        table.state_hash()
    };
    let changes: [&dyn Fn(&mut Session); 13] = [
        &|session| session.id = session.id.next(),
        &|session| session.nonce += 1,
        &|session| session.principal_hash += 1,
        &|session| session.response_address.set_port(2),
        &|session| session.response_address = "127.0.0.2:1".parse().unwrap(),
        &|session| session.response_stream_id += 1,
        &|session| session.connect_epoch += 1,
        &|session| session.incarnation += 1,
        &|session| session.open_position += 32,
        &|session| session.applied_number = session.applied_number.next(),
        &|session| session.acknowledged += 32,
        &|session| session.answered += 32,
        &|session| session.timeout_ns += 1,
    ];
    let mut hashes: Vec<u64> = changes.into_iter().map(hash).collect();
    hashes.push(hash(&|_| {}));
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 14);
}

#[test]
fn s1_a_request_is_applied_once_and_a_gap_is_noticed() {
    let mut table = SessionTable::new(2);
    table.apply_open(&SessionOpen::of_client(1), 32);
    assert_eq!(
        table.apply_request(SessionId::new(1), RequestNumber::new(1), 0),
        RequestVerdict::Apply
    );
    assert_eq!(
        table.apply_request(SessionId::new(1), RequestNumber::new(1), 0),
        RequestVerdict::Ignore
    );
    assert_eq!(
        table.apply_request(SessionId::new(1), RequestNumber::new(3), 0),
        RequestVerdict::Gap
    );
    assert_eq!(
        table.apply_request(SessionId::new(1), RequestNumber::new(2), 64),
        RequestVerdict::Apply
    );
    assert_eq!(
        table.get(SessionId::new(1)).map(|s| s.acknowledged),
        Some(64)
    );
    assert_eq!(
        table.apply_request(SessionId::new(9), RequestNumber::new(1), 0),
        RequestVerdict::Ignore
    );
}

#[test]
fn a_client_is_found_as_long_as_its_session_is_open_and_others_are_not_taken_for_it() {
    let mut table = SessionTable::new(8);
    let nonces = [7, 3, 9, 1, 5];
    let ids = nonces.map(|nonce| opened(table.apply_open(&SessionOpen::of_client(nonce), 32)));
    let found = |table: &SessionTable, nonce| table.find((nonce, 0)).map(|s| s.id.get());
    assert_eq!(nonces.map(|nonce| found(&table, nonce)), ids.map(Some));
    assert_eq!(found(&table, 4), None);
    assert!(table.find((7, 1)).is_none(), "another principal's");
    assert!(
        table.apply_close(SessionId::new(ids[0])).is_some()
            && table.apply_close(SessionId::new(ids[0])).is_none()
    );
    let left = [None, Some(ids[1]), Some(ids[2]), Some(ids[3]), Some(ids[4])];
    assert_eq!(nonces.map(|nonce| found(&table, nonce)), left);
    let again = opened(table.apply_open(&SessionOpen::of_client(7), 64));
    assert_eq!(found(&table, 7), Some(again));
}
