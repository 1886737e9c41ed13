//! When promises are written down, and that what is heard besides takes them along.

use lockstep_transport::ids::LeadershipTermId;

use super::super::{Found, MembershipConfig};
use super::*;
use crate::module::formation::Incarnation;
use crate::protocol::message::MemberMessage;

const SILENCE: Nanos = 500;

/// Member 0 of a cluster of so many, on a blank directory.
fn member(member: MemberId, members: usize) -> Membership {
    let config = MembershipConfig {
        member,
        members,
        heartbeat_interval_ns: 50,
        silence_ns: SILENCE,
        uuid: 1000,
        next_directory: 500,
        found: Found::default(),
    };
    let incarnation = Incarnation {
        counter: 1,
        nonce: 7,
    };
    let directory = 10 + u128::from(member);
    Membership::new(
        config,
        directory,
        MembershipNotes::default(),
        incarnation,
        false,
    )
}

/// Writes down whatever is wanted at once.
fn settle(member: &mut Membership) {
    for _ in 0..9 {
        let Some((directory, notes)) = member.wanted(0) else {
            return;
        };
        member.begin_write(directory, &notes);
        member.on_written();
    }
    panic!("there is always something to write");
}

/// A cluster of one, which says no hellos: its deadlines are those of its writes.
fn settled() -> Membership {
    let mut membership = member(0, 1);
    settle(&mut membership);
    assert_eq!(membership.next_deadline(), Nanos::MAX);
    membership
}

/// A vote of member 1 for member 0.
const fn vote(term: i64) -> MemberMessage {
    let granted = true;
    MemberMessage::Vote {
        term: LeadershipTermId::new(term),
        granted,
    }
}

#[test]
fn promises_alone_are_written_once_in_twice_the_silence_however_many_come() {
    let mut membership = settled();
    let heard = 9_000;
    let due = heard + 2 * SILENCE;
    for (now, term) in [(heard, 5), (heard + 1, 5), (heard + 2, 6), (due - 1, 7)] {
        membership.note_promise(now, 1, &vote(term));
        assert_eq!(
            membership.next_deadline(),
            due,
            "of the first that was heard"
        );
        assert_eq!(membership.wanted(now), None);
    }
    let (directory, notes) = membership.wanted(due).unwrap();
    assert_eq!(
        (notes.promised[1].term.get(), notes.promised[1].vote),
        (7, Some(0))
    );
    membership.begin_write(directory, &notes);
    assert_eq!(
        (membership.wanted(due), membership.next_deadline()),
        (None, Nanos::MAX)
    );
    // Heard while that is on its way: it waits for a write of its own.
    membership.note_promise(due, 1, &vote(8));
    assert_eq!(
        (
            membership.wanted(Nanos::MAX - 1),
            membership.next_deadline()
        ),
        (None, Nanos::MAX)
    );
    membership.on_written();
    assert_eq!(membership.next_deadline(), due + 2 * SILENCE);
}

#[test]
fn a_promise_that_is_known_already_is_not_written_again() {
    let mut membership = settled();
    membership.note_promise(0, 1, &vote(5));
    let (directory, notes) = membership.wanted(2 * SILENCE).unwrap();
    membership.begin_write(directory, &notes);
    membership.on_written();
    // Of an older term, and the same once more.
    for term in [4, 5] {
        membership.note_promise(9_000, 1, &vote(term));
        assert_eq!(membership.next_deadline(), Nanos::MAX);
        assert_eq!(membership.wanted(Nanos::MAX - 1), None);
    }
}

#[test]
fn promises_come_along_with_whatever_else_is_written() {
    let (mut membership, mut other) = (member(0, 3), member(1, 3));
    for membership in [&mut membership, &mut other] {
        settle(membership);
    }
    membership.note_promise(9_000, 1, &vote(5));
    assert_eq!(membership.wanted(9_000), None);
    let (sender, hello) = (other.sender(), other.hello_for(0));
    assert!(membership.on_hello(9_001, 1, &sender, &hello).is_ok());
    let (_, notes) = membership.wanted(9_001).unwrap();
    assert_eq!(notes.promised[1].term, LeadershipTermId::new(5));
    let known = notes.known[1].map(|life| life.directory);
    assert!(known.contains(&11), "{known:?}");
}
