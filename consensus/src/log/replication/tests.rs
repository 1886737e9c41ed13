//! What followers say of the log that they are sent, and when one of them has been lost.

use lockstep_transport::position::Geometry;
use lockstep_transport::protocol::{Nak, Setup, StatusMessage};

use super::*;

const TERM_LENGTH: usize = 1 << 16;
const UNEXPECTED: Result<(), NodeNotice> = Err(NodeNotice::LogStatusUnexpected);

fn geometry() -> Geometry {
    Geometry::new(0, TERM_LENGTH).unwrap()
}

/// A leader of three that sends its log to member 1 from position 4096 on.
fn leader() -> (Replication, NodeFacts) {
    let reader = |index| LogReader::new(geometry(), index).unwrap();
    let mut replication = Replication::new((0..3).map(reader).collect());
    let facts = NodeFacts::of_three();
    replication.start(1, 4096, &facts, geometry());
    (replication, facts)
}

/// A status message that says that all up to `position` has arrived.
fn status(facts: &NodeFacts, position: Position) -> Packet<'static> {
    let (session, stream) = (facts.log_session_id, LOG_STREAM_ID);
    let status = StatusMessage::new(session, stream, 1, (geometry(), position), 4096);
    Packet::StatusMessage(status)
}

/// Beyond whatever was sent.
const FAR: Position = TERM_LENGTH as Position;

#[test]
fn only_what_a_follower_says_of_its_stream_and_within_reach_is_taken() {
    let (mut replication, facts) = leader();
    assert_eq!(replication.on_packet(0, 1, &status(&facts, 4096)), Ok(()));
    assert!(replication.sender(1).unwrap().is_connected(0));
    assert_eq!(replication.sender(1).unwrap().position(), 4096);
    assert_eq!(
        replication.on_packet(0, 1, &status(&facts, FAR)),
        UNEXPECTED
    );
    assert_eq!(
        replication.on_packet(0, 2, &status(&facts, 4096)),
        UNEXPECTED
    );
    assert!(replication.sender(2).is_none() && replication.sender(7).is_none());
    let (session, stream) = (facts.log_session_id, LOG_STREAM_ID);
    // Of what was never sent nothing is repeated.
    let nak = Packet::Nak(Nak::new(session, stream, geometry(), 4096, 64));
    assert_eq!(replication.on_packet(0, 1, &nak), UNEXPECTED);
    let setup = Packet::Setup(Setup::new(session, stream, geometry(), 1408, 4096));
    assert_eq!(replication.on_packet(0, 1, &setup), UNEXPECTED);
    replication.stop();
    assert_eq!(
        replication.on_packet(0, 1, &status(&facts, 4096)),
        UNEXPECTED
    );
    assert!(replication.sender(1).is_none() && replication.next_deadline().is_none());
}

#[test]
fn a_follower_out_of_reach_for_600_ms_is_lost_once_and_told_with_where_it_joined() {
    let (mut replication, facts) = leader();
    let begun = SECOND;
    let _ = replication.on_packet(begun, 1, &status(&facts, FAR));
    // A later one does not begin the time anew.
    let _ = replication.on_packet(begun + 300 * MILLISECOND, 1, &status(&facts, FAR));
    let lost = begun + 600 * MILLISECOND;
    assert_eq!(replication.take_unreachable(lost - 1), None);
    assert_eq!(replication.take_unreachable(lost), Some((1, 4096)));
    assert_eq!(replication.take_unreachable(lost + SECOND), None);
}

#[test]
fn a_follower_heard_within_reach_since_or_one_that_joined_anew_is_not_lost() {
    let late = 9 * SECOND;
    let (mut replication, facts) = leader();
    let _ = replication.on_packet(0, 1, &status(&facts, FAR));
    assert_eq!(replication.on_packet(1, 1, &status(&facts, 4096)), Ok(()));
    assert_eq!(replication.take_unreachable(late), None);
    let _ = replication.on_packet(late, 1, &status(&facts, FAR));
    replication.start(1, 8192, &facts, geometry());
    assert_eq!(replication.take_unreachable(2 * late), None);
    assert_eq!(replication.sender(1).unwrap().position(), 8192);
    // Nor is anybody whom nothing is sent to any more.
    let _ = replication.on_packet(0, 1, &status(&facts, 4 * FAR));
    replication.stop();
    assert_eq!(replication.take_unreachable(late), None);
}

#[test]
fn each_reader_is_known_by_its_owner_and_no_other_is() {
    let (mut replication, _) = leader();
    let owners = 0..OWNER_READER_FIRST + 9;
    let owners = owners.filter(|owner| replication.reader_mut(*owner).is_some());
    let expected = OWNER_READER_FIRST..OWNER_READER_FIRST + 3;
    assert_eq!(owners.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn the_next_deadline_is_that_of_the_first_sender() {
    let (replication, _) = leader();
    assert_eq!(replication.next_deadline(), Some(0), "a SETUP is due");
    assert_eq!(
        (replication.damaged_reads, replication.senders.len()),
        (0, MEMBERS_MAX)
    );
}
