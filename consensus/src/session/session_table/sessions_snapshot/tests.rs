//! Sessions that were loaded are those that the log led to, and what no log leads to is refused.

use lockstep_transport::prng::Prng;

use super::*;
use crate::log::entry_body::SessionOpen;
use crate::test_snapshot::{content, forged, loaded, saved};

const CAPACITY: usize = 700;

fn saved_table(table: &SessionTable) -> Vec<u8> {
    saved(|from, writer| table.save(from, writer))
}

fn load(capacity: usize, applied: Position, stream: &[u8]) -> Result<SessionTable, SnapshotError> {
    loaded(stream, |reader| {
        SessionTable::load(capacity, applied, reader)
    })
}

/// Applies something at `position` that depends on `random` alone.
fn apply(table: &mut SessionTable, random: u64, position: Position) {
    let client = random % 900;
    let known = table.find((client, 3)).map(|session| session.id);
    let id = known.unwrap_or(SessionId::new(1));
    let number = table.applied_number(id).next();
    match random >> 32 & 7 {
        0 => drop(table.apply_close(id)),
        1 => drop(table.apply_request(id, number, position - 64)),
        2 => table.apply_acknowledgement(id, position - 32),
        _ => {
            let v6 = SocketAddr::from(([0x2001, 7, 0, 0, 0, 0, 0, client as u16], 9));
            let v4 = SocketAddr::from(([127, 0, 0, client as u8], 8));
            let open = SessionOpen {
                response_address: if client.is_multiple_of(2) { v6 } else { v4 },
                response_stream_id: -(client as i32),
                principal_hash: 3,
                connect_epoch: (random >> 40) as i64,
                ..SessionOpen::of_client(client)
            };
            let _ = table.apply_open(&open, position);
        }
    }
}

#[test]
fn a_table_that_was_restored_anywhere_goes_on_as_the_one_that_applied_the_log() {
    let mut random = Prng::new(7);
    let mut applied = SessionTable::new(CAPACITY);
    let mut restored = load(CAPACITY, 1, &saved_table(&applied)).unwrap();
    for step in 1..6_000 {
        let (word, position) = (random.next_u64(), step * 64);
        apply(&mut applied, word, position);
        apply(&mut restored, word, position);
        assert_eq!(restored.state_hash(), applied.state_hash(), "step {step}");
        if step % 97 == 0 {
            let stream = saved_table(&applied);
            assert_eq!(saved_table(&restored), stream);
            restored = load(CAPACITY, position + 64, &stream).unwrap();
            assert_eq!(restored.sessions(), applied.sessions());
            assert_eq!(restored.clients, applied.clients);
        }
    }
    assert!(applied.sessions().len() > 512, "more than one step");
}

/// A section with these sessions, each a number and its client, of which 3 were given.
fn section(next: i64, sessions: &[(i64, u64)], change: impl Fn(&mut Session)) -> Vec<u8> {
    let mut table = SessionTable::new(2);
    table.apply_open(&SessionOpen::of_client(1), 32);
    let first = table.sessions[0];
    let mut bytes = crate::test_snapshot::words(&[next, sessions.len() as i64]);
    for (id, nonce) in sessions {
        let mut session = Session {
            id: SessionId::new(*id),
            nonce: *nonce,
            open_position: id * 32,
            ..first
        };
        change(&mut session);
        bytes.extend_from_slice(&encode(&session));
    }
    forged(SECTION, &bytes)
}

#[test]
fn a_table_that_no_log_leads_to_is_refused() {
    let plain = |next, sessions: &[(i64, u64)]| section(next, sessions, |_| {});
    let said = |stream: &[u8]| load(4, 640, stream).map(drop).map_err(|e| e.to_string());
    assert_eq!(said(&plain(4, &[(1, 5), (3, 4)])), Ok(()));
    assert_eq!(said(&plain(1, &[])), Ok(()));
    let impossible = "a session that cannot be open here";
    let cases = [
        (plain(0, &[]), "0 sessions of 4, and 0 is the next"),
        (plain(i64::MAX, &[]), "is the next"),
        (
            plain(9, &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]),
            "5 sessions of 4",
        ),
        (plain(4, &[(3, 4), (1, 5)]), impossible),
        (plain(4, &[(1, 4), (1, 5)]), impossible),
        (plain(4, &[(0, 4)]), impossible),
        (plain(4, &[(4, 4)]), impossible),
        (plain(30, &[(20, 4)]), impossible),
        (
            plain(4, &[(1, 5), (3, 5)]),
            "session 3 is of a client that has one",
        ),
        (
            section(4, &[(1, 5), (3, 4)], |s| s.open_position = 32),
            impossible,
        ),
        (section(4, &[(1, 5)], |s| s.open_position = -32), impossible),
        (
            section(4, &[(1, 5)], |s| s.applied_number = RequestNumber::new(-1)),
            impossible,
        ),
        (
            section(4, &[(1, 5)], |s| {
                s.applied_number = RequestNumber::new(i64::MAX)
            }),
            impossible,
        ),
    ];
    for (stream, expected) in cases {
        let error = said(&stream).expect_err(expected);
        assert!(error.contains(expected), "{error}, not {expected}");
    }
    let mut zeros = content(&plain(4, &[(1, 5)]), SECTION);
    zeros[16 + 43] = 1;
    assert!(
        said(&forged(SECTION, &zeros)).is_err(),
        "bytes that nobody writes"
    );
    zeros.pop();
    assert!(said(&forged(SECTION, &zeros)).is_err(), "cut short");
}
