//! The commit rule of a leader, and what it tells its followers: C1, C2, L1.

use lockstep_consensus::module::action::{Action, HaltReason};
use lockstep_consensus::module::consensus_module::Role;
use lockstep_consensus::module::event::Event;
use lockstep_consensus::module::output_agreement::OutputAt;
use lockstep_consensus::protocol::message::MemberMessage;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::time::MICROSECOND;

use crate::harness::{Driven, HEARTBEAT, heartbeat, recovered, send};

/// Elected in term 2 at 320; its first entry ends at 416.
fn leader(members: usize) -> Driven {
    Driven::leader(members, recovered(&[(1, 0)], 320))
}

fn commit(position: i64) -> Action {
    Action::Commit { position }
}

#[test]
fn a_majority_of_durable_copies_commits_with_or_without_the_leaders() {
    let mut leader = leader(3);
    assert_eq!(leader.module.term_entry_end(), Some(416));
    assert_eq!(leader.acknowledge(1, 2, 416), []);
    assert_eq!(leader.acknowledge(2, 2, 416), [commit(416)]);
    leader.event(Event::Appended { position: 640 });
    assert_eq!(leader.durable(640), []);
    assert_eq!(leader.acknowledge(1, 2, 512), [commit(512)]);
    assert_eq!(leader.acknowledge(2, 2, 608), [commit(608)]);
    assert_eq!(leader.module.match_position(2), 608);
    assert_eq!(leader.module.match_position(0), 640);
}

#[test]
fn nothing_commits_before_the_first_entry_of_the_term_is_in_the_log() {
    let mut leader = Driven::elected(3, recovered(&[(1, 0)], 320));
    assert_eq!(leader.acknowledge(1, 2, 320), []);
    assert_eq!(leader.acknowledge(2, 2, 320), []);
    assert_eq!(leader.module.term_entry_end(), None);
}

#[test]
fn positions_beyond_the_leaders_own_log_are_not_believed() {
    let mut leader = leader(3);
    assert_eq!(leader.acknowledge(1, 2, 448), []);
    assert_eq!(leader.acknowledge(2, 2, 448), []);
    assert_eq!(leader.module.commit(), 0);
}

#[test]
fn a_late_smaller_position_changes_nothing() {
    let mut leader = leader(3);
    leader.event(Event::Appended { position: 640 });
    leader.durable(640);
    assert_eq!(leader.acknowledge(1, 2, 640), [commit(640)]);
    assert_eq!(leader.acknowledge(1, 2, 416), []);
    assert_eq!(leader.module.match_position(1), 640);
}

#[test]
fn a_new_incarnation_counts_from_nothing_and_an_old_one_not_at_all() {
    let mut leader = leader(3);
    leader.event(Event::Appended { position: 640 });
    leader.acknowledge(1, 2, 640);
    leader.restart(1);
    leader.receive(1, heartbeat(1, 0));
    assert_eq!(leader.module.match_position(1), 0);
    let stale = Event::Message {
        from: 1,
        incarnation: 1,
        message: crate::harness::append_position(2, 640),
    };
    leader.event(stale);
    assert_eq!(leader.durable(640), []);
    assert_eq!(leader.acknowledge(1, 2, 416), [commit(416)]);
}

#[test]
fn each_join_starts_its_stream_once() {
    let mut leader = leader(3);
    let start = |position, join| MemberMessage::JoinStart {
        term: LeadershipTermId::new(2),
        position,
        join,
    };
    let replicate = |position| Action::Replicate {
        member: 1,
        position,
    };
    assert_eq!(leader.receive(1, start(320, 1)), [replicate(320)]);
    assert_eq!(leader.receive(1, start(320, 1)), [], "a duplicate");
    assert_eq!(leader.receive(1, start(0, 3)), [replicate(0)]);
    assert_eq!(leader.receive(1, start(96, 2)), [], "a late one");
    assert_eq!(leader.receive(1, start(1 << 20, 4)), [], "beyond the log");
    leader.restart(1);
    assert_eq!(leader.receive(1, start(96, 1)), [replicate(96)]);
}

#[test]
fn followers_are_told_of_a_commit_when_nothing_else_was_sent_for_50_us() {
    let mut leader = leader(3);
    leader.durable(416);
    leader.acknowledge(1, 2, 416);
    assert_eq!(leader.wait(49 * MICROSECOND), []);
    leader.module.on_log_sent(leader.now);
    assert_eq!(leader.wait(49 * MICROSECOND), []);
    assert_eq!(leader.module.next_deadline(), leader.now + MICROSECOND);
    // With how far its own log is durable.
    let told = MemberMessage::CommitPosition {
        term: LeadershipTermId::new(2),
        position: 416,
        durable: 416,
    };
    assert_eq!(leader.wait(MICROSECOND), [send(1, told), send(2, told)]);
    assert_eq!(leader.wait(100 * MICROSECOND), []);
    assert_eq!(leader.wait(HEARTBEAT), [send(1, told), send(2, told)]);
}

fn checked(durable: i64, checkpoint_hash: u64) -> MemberMessage {
    MemberMessage::AppendPosition {
        term: LeadershipTermId::new(2),
        durable,
        checkpoint: 384,
        checkpoint_hash,
        output: OutputAt::default(),
    }
}

#[test]
fn a_member_whose_chain_hash_differs_does_not_count() {
    let mut leader = leader(3);
    let checkpoint = (384, 77);
    let own = Event::Durable {
        position: 416,
        checkpoint,
    };
    leader.event(own);
    let told = MemberMessage::JoinVerdict {
        term: LeadershipTermId::new(2),
        position: 384,
        hash: Some(77),
    };
    let differs = Action::Differs {
        member: 1,
        position: 384,
        own: Some(77),
        other: Some(78),
        was_joined: true,
    };
    let found = leader.receive(1, checked(416, 78));
    assert_eq!(found, [send(1, told), differs]);
    assert_eq!(leader.module.differs_at(1), Some(384));
    // The word may be lost: it is told as often as it acknowledges.
    assert_eq!(
        leader.receive(1, checked(416, 78)),
        [send(1, told), differs]
    );
    assert_eq!(leader.receive(1, checked(416, 77)), []);
    assert_eq!(leader.module.match_position(1), 0);
    assert_eq!(leader.receive(2, checked(416, 77)), [commit(416)]);
}

#[test]
fn a_leader_that_a_majority_contradicts_halts() {
    let mut leader = leader(3);
    let checkpoint = (384, 77);
    let own = Event::Durable {
        position: 416,
        checkpoint,
    };
    leader.event(own);
    leader.receive(1, checked(416, 78));
    let reason = HaltReason::ChainMismatch {
        member: 2,
        position: 384,
    };
    let halted = leader.receive(2, checked(416, 78));
    assert_eq!(halted[2..], [Action::Abdicate, Action::Halt { reason }]);
}

#[test]
fn lost_leadership_drops_what_the_leader_knew() {
    let mut leader = leader(3);
    leader.acknowledge(1, 2, 416);
    leader.receive(1, crate::harness::vote(5, false));
    assert_eq!(leader.module.role(), Role::Follower);
    assert_eq!(leader.module.match_position(1), 0);
    assert_eq!(leader.module.term_entry_end(), None);
    assert_eq!(leader.durable(416), []);
    assert_eq!(leader.module.commit(), 0);
}
