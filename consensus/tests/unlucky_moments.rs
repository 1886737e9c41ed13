//! Moments that seldom come and that random runs once found: each is brought about step by step,
//! whatever the seeds of those runs mean by now.
#![cfg(feature = "sim")]

use lockstep_archive::files::catalog::LOG_STREAM_ID;
use lockstep_consensus::log::entry_body::NewLeadershipTerm;
use lockstep_consensus::log::log_session_id::log_session_id;
use lockstep_consensus::module::member::TermBase;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::log_entry::ENTRY_HEADER_LENGTH;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::log_buffer::HEADER_LENGTH;
use lockstep_transport::position::{Geometry, Position, align_frame};
use lockstep_transport::protocol::{STATUS_MESSAGE_LENGTH_MAX, StatusMessage};
use lockstep_transport::time::{MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

fn append(cluster: &Cluster, id: usize) -> Position {
    cluster.node(id).agents().consensus.log.append()
}

/// Requests, until what is left of a term of the log is too short for the first entry of a
/// leadership term; the end of the log then.
fn fill_up_to_the_end_of_a_term(cluster: &mut Cluster) -> Position {
    let term_length = cluster.setup.cluster.term_length as Position;
    let first = align_frame(HEADER_LENGTH + ENTRY_HEADER_LENGTH + NewLeadershipTerm::LENGTH);
    for _ in 0..2_000 {
        let end = append(cluster, 0);
        let room = term_length - end % term_length;
        if room < first as Position {
            return end;
        }
        let length = if room > 8_000 { 1_000 } else { 8 };
        cluster.offer(0, &vec![7; length]);
        cluster.run(5 * MILLISECOND);
    }
    panic!("the log never ends there");
}

#[test]
fn a_first_entry_that_does_not_fit_into_its_log_term_begins_with_the_pad() {
    let mut cluster = Scenario::echo().led_by(0);
    let end = fill_up_to_the_end_of_a_term(&mut cluster);
    assert_eq!([1, 2].map(|id| cluster.durable(id)), [end; 2]);
    cluster.member(0).kill();
    cluster.run(6 * SECOND);
    let leader = cluster.expect_some_leader();
    let is_padded = |term: &TermBase| term.base == end;
    assert!(cluster.terms(leader).iter().any(is_padded));
    cluster.answer(3);
    // Whoever comes later, and whoever recovers it, sees the term begin there too.
    cluster.member(0).start();
    cluster.run(2 * SECOND);
    let all_have = |cluster: &Cluster| {
        let mut terms = (0..3).map(|id| cluster.terms(id));
        terms.all(|terms| terms.iter().any(is_padded))
    };
    assert!(all_have(&cluster));
    cluster.everybody().restart();
    assert!(all_have(&cluster));
    cluster.run(6 * SECOND);
    cluster.answer(3);
}

#[test]
fn a_sender_pushed_out_of_reach_by_a_damaged_status_message_comes_back() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.run(SECOND);
    let term = cluster.term();
    let [leader, follower] = [0, 1].map(|id: usize| cluster.setup.cluster.members[id].member);
    let term_length = cluster.setup.cluster.term_length;
    let geometry = Geometry::new(0, term_length).expect("a term length");
    let cursor = |cluster: &Cluster| {
        let sender = cluster.node(0).agents().consensus.replication.sender(1);
        sender.expect("the follower joined").position()
    };
    // As if member 1 were half a term ahead of what it is sent, and had room for as much again.
    let half = term_length / 2;
    let claimed = cursor(&cluster) + half as Position;
    let session = log_session_id(&cluster.setup.cluster.name);
    let status = StatusMessage::new(session, LOG_STREAM_ID, 1, (geometry, claimed), half);
    let mut buffer = [0; STATUS_MESSAGE_LENGTH_MAX];
    let bytes = status.encode(&mut buffer);
    cluster.network.forge(cluster.now, follower, leader, bytes);
    // What is sent on its strength is lost.
    cluster.cut_one_way(0, 1);
    let has = append(&cluster, 1);
    for _ in 0..200 {
        if cursor(&cluster) > has + half as Position * 3 / 2 {
            break;
        }
        cluster.offer(0, &[7; 1_000]);
        cluster.run(MILLISECOND);
    }
    assert!(cursor(&cluster) > has + half as Position * 3 / 2);
    assert_eq!(append(&cluster, 1), has);
    cluster.heal();
    cluster.run(3 * SECOND);
    assert_eq!(cluster.term(), term, "nobody had to be elected for it");
    assert_eq!(cluster.durable(1), cluster.durable(0));
    assert_eq!(cluster.noted(0, NodeNotice::LogReceiverLost), 1);
    // Nothing is committed without it from now on.
    cluster.member(2).kill();
    cluster.answer(3);
}
