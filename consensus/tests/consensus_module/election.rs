//! Elections: E1 to E4, check-quorum.

use lockstep_archive::files::ack_record::LostAcks;
use lockstep_consensus::module::action::Action;
use lockstep_consensus::module::consensus_module::{Recovered, Role};
use lockstep_consensus::module::event::Event;
use lockstep_consensus::protocol::message::MemberMessage;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::time::Nanos;

use crate::harness::{
    Driven, HEARTBEAT, TIMEOUT, append_position, heartbeat, persist, persisted, pre_vote,
    pre_vote_request, recovered, send, vote, vote_request,
};

#[test]
fn a_vote_leaves_only_when_it_is_durable() {
    let mut member = Driven::voter(recovered(&[], 0));
    let asked = member.receive(1, vote_request(1, 0, 0));
    assert_eq!(asked, [persist(1, Some(1))]);
    let done = member.event(persisted(1, Some(1)));
    assert_eq!(done, [send(1, vote(1, true))]);
    let again = member.receive(1, vote_request(1, 0, 0));
    assert_eq!(again, [send(1, vote(1, true))]);
}

#[test]
fn a_candidate_votes_for_itself_durably_before_it_asks() {
    let mut member = Driven::new(0, 3, recovered(&[(3, 0)], 320));
    let request = pre_vote_request(4, 3, 320);
    assert_eq!(member.pass_deadline(), [send(1, request), send(2, request)]);
    assert_eq!(
        (member.module.role(), member.module.term().get()),
        (Role::PreCandidate, 3)
    );
    let won = member.receive(2, pre_vote(4, true));
    assert_eq!(won, [persist(4, Some(0))]);
    assert_eq!(member.receive(2, vote(4, true)), []);
    let request = vote_request(4, 3, 320);
    let stood = member.event(persisted(4, Some(0)));
    assert_eq!(stood, [send(1, request), send(2, request)]);
    let elected = member.receive(2, vote(4, true));
    let lead = Action::Lead {
        term: LeadershipTermId::new(4),
    };
    let told = heartbeat(4, 0);
    assert_eq!(elected, [lead, send(1, told), send(2, told)]);
    assert_eq!(member.module.leader(), Some(0));
}

#[test]
fn requests_are_repeated_every_heartbeat_interval() {
    let mut member = Driven::new(0, 3, recovered(&[], 0));
    member.pass_deadline();
    let request = pre_vote_request(1, 0, 0);
    assert_eq!(member.wait(HEARTBEAT), [send(1, request), send(2, request)]);
    member.receive(1, pre_vote(1, true));
    member.event(persisted(1, Some(0)));
    let request = vote_request(1, 0, 0);
    assert_eq!(member.wait(HEARTBEAT), [send(1, request), send(2, request)]);
}

#[test]
fn a_lost_election_ends_in_another_pre_vote_and_the_next_term() {
    let mut member = Driven::new(0, 3, recovered(&[], 0));
    member.stand();
    member.receive(1, vote(1, false));
    while member.module.role() == Role::Candidate {
        member.pass_deadline();
    }
    assert_eq!(
        (member.module.role(), member.module.term().get()),
        (Role::PreCandidate, 1)
    );
    member.stand();
    assert_eq!(member.module.term(), LeadershipTermId::new(2));
}

#[test]
fn a_candidate_stands_only_with_a_durable_log() {
    let mut member = Driven::new(0, 3, recovered(&[(1, 0)], 96));
    follow(&mut member, 1, 1);
    member.event(Event::Appended { position: 192 });
    member.pass_deadline();
    while member.module.role() != Role::PreCandidate {
        member.pass_deadline();
    }
    let won = member.receive(2, pre_vote(2, true));
    assert_eq!(won, [Action::StopPlacing]);
    assert!(!member.module.is_placing());
    assert_eq!(member.durable(192), [persist(2, Some(0))]);
}

#[test]
fn no_vote_and_no_new_term_while_the_leader_is_heard() {
    let mut member = Driven::voter(recovered(&[(1, 0)], 96));
    member.receive(1, heartbeat(1, 96));
    member.now += TIMEOUT - 1;
    assert_eq!(member.receive(2, vote_request(2, 1, 960)), []);
    let refused = member.receive(2, pre_vote_request(2, 1, 960));
    assert_eq!(refused, [send(2, pre_vote(2, false))]);
    assert_eq!(member.module.term(), LeadershipTermId::new(1));
    member.now += 1;
    let granted = member.receive(2, pre_vote_request(2, 1, 960));
    assert_eq!(granted, [send(2, pre_vote(2, true))]);
    assert_eq!(
        member.module.term(),
        LeadershipTermId::new(1),
        "a pre-vote changes nothing"
    );
}

#[test]
fn a_member_just_started_does_not_help_to_depose_a_leader_it_had_no_time_to_hear() {
    let mut member = Driven::new(0, 3, recovered(&[], 0));
    assert_eq!(member.receive(2, vote_request(1, 0, 0)), []);
}

#[test]
fn a_leader_does_not_vote_while_a_quorum_hears_it() {
    let mut leader = Driven::leader(3, recovered(&[], 0));
    assert_eq!(leader.receive(2, vote_request(9, 9, 9600)), []);
    assert_eq!(leader.module.role(), Role::Leader);
}

#[test]
fn the_greater_log_wins() {
    // The voter's log is of term 3 and ends at 640.
    let cases = [
        ((4, 0), true),
        ((3, 672), true),
        ((3, 640), true),
        ((3, 608), false),
        ((2, 6400), false),
    ];
    for ((log_term, position), granted) in cases {
        let mut member = Driven::voter(recovered(&[(1, 0), (3, 320)], 640));
        let answer = member.receive(2, pre_vote_request(9, log_term, position));
        assert_eq!(
            answer,
            [send(2, pre_vote(9, granted))],
            "{log_term} {position}"
        );
        let asked = member.receive(2, vote_request(9, log_term, position));
        assert_eq!(asked, [persist(9, granted.then_some(2))]);
    }
}

#[test]
fn what_is_placed_counts_before_it_is_durable() {
    let mut member = Driven::new(0, 3, recovered(&[(1, 0)], 96));
    follow(&mut member, 1, 1);
    member.event(Event::Appended { position: 192 });
    member.now += TIMEOUT;
    let refused = member.receive(2, pre_vote_request(2, 1, 160));
    assert_eq!(refused, [send(2, pre_vote(2, false))]);
}

#[test]
fn a_damaged_member_neither_stands_nor_elects_a_log_that_lacks_what_it_acknowledged() {
    let mut damaged = recovered(&[(1, 0)], 96);
    damaged.term = LeadershipTermId::new(2);
    damaged.lost = Some(LostAcks {
        position: 640,
        term: LeadershipTermId::new(2),
        is_open: false,
    });
    let mut member = Driven::voter(damaged);
    assert!(member.module.is_damaged());
    for (log_term, position, granted) in [(2, 640, true), (2, 608, false), (1, 640, false)] {
        let answer = member.receive(2, pre_vote_request(3, log_term, position));
        assert_eq!(
            answer,
            [send(2, pre_vote(3, granted))],
            "{log_term} {position}"
        );
    }
    for _ in 0..5 {
        assert_eq!(member.pass_deadline(), []);
    }
    assert_eq!(member.module.role(), Role::Follower);
}

#[test]
fn a_leader_that_hears_less_than_a_quorum_gives_up() {
    let mut leader = Driven::leader(5, recovered(&[], 0));
    leader.wait(TIMEOUT - 1);
    leader.receive(1, append_position(1, 96));
    leader.receive(2, append_position(1, 96));
    leader.wait(TIMEOUT - 1);
    assert_eq!(leader.module.role(), Role::Leader);
    assert_eq!(leader.module.next_deadline(), leader.now + 1);
    assert_eq!(leader.wait(1), [Action::Abdicate]);
    assert_eq!(
        (leader.module.role(), leader.module.leader()),
        (Role::Follower, None)
    );
}

#[test]
fn an_old_leader_learns_of_the_newer_term_and_steps_down() {
    let mut voter = Driven::voter(recovered(&[(1, 0)], 96));
    voter.receive(2, vote_request(2, 1, 96));
    assert_eq!(
        voter.receive(1, heartbeat(1, 96)),
        [],
        "term 2 is not durable yet"
    );
    voter.event(persisted(2, Some(2)));
    let told = voter.receive(1, heartbeat(1, 96));
    assert_eq!(told, [send(1, vote(2, false))]);

    let mut leader = Driven::leader(3, recovered(&[], 0));
    let heard = leader.receive(1, vote(2, false));
    assert_eq!(heard, [Action::Abdicate, persist(2, None)]);
}

#[test]
fn a_failed_sync_ends_everything() {
    let mut leader = Driven::leader(3, recovered(&[], 0));
    let failed = leader.event(Event::StorageFailed);
    assert!(matches!(
        failed[..],
        [Action::Abdicate, Action::Halt { .. }]
    ));
    assert!(leader.module.is_halted());
    assert_eq!(leader.durable(96), []);
    assert_eq!(leader.wait(TIMEOUT), []);
    assert_eq!(leader.receive(1, vote_request(9, 9, 9600)), []);
}

#[test]
fn members_that_do_not_exist_are_not_heard() {
    let mut member = Driven::voter(recovered(&[], 0));
    assert_eq!(member.receive(3, vote_request(1, 0, 0)), []);
    assert_eq!(member.receive(0, vote_request(1, 0, 0)), []);
}

/// Joins the leader of `term` whose log this member's own is a prefix of.
fn follow(member: &mut Driven, leader: u8, term: i64) {
    use crate::harness::page;
    member.receive(leader, heartbeat(term, 0));
    let reply = MemberMessage::JoinReply {
        term: LeadershipTermId::new(term),
        commit: 0,
        end: 96,
        page: page(&[(term, 0)]),
    };
    member.receive(leader, reply);
    member.event(Event::LogHeard);
    assert!(member.module.is_placing());
}

/// A member of `members` that has started with a log that it knows to be committed.
fn replaying(members: usize) -> Driven {
    let state = Recovered {
        commit_floor: 320,
        ..recovered(&[(3, 0)], 320)
    };
    Driven::new(0, members, state)
}

#[test]
fn a_member_that_has_yet_to_apply_what_is_committed_lets_all_others_stand_first() {
    let mut member = replaying(3);
    let started = member.now;
    let stands = member.module.next_deadline();
    assert!((3 * TIMEOUT..4 * TIMEOUT).contains(&(stands - started)));
    member.event(Event::Applied { position: 288 });
    assert_eq!(member.wait(3 * TIMEOUT - 1), []);
    // Nobody has: it stands all the same, and goes on like everybody else.
    let request = pre_vote_request(4, 3, 320);
    assert_eq!(member.pass_deadline(), [send(1, request), send(2, request)]);
    assert_eq!(member.wait(HEARTBEAT), [send(1, request), send(2, request)]);
}

#[test]
fn a_member_stands_as_soon_as_it_has_applied_all_and_nobody_else_did() {
    let mut member = replaying(3);
    let started = member.now;
    assert_eq!(member.wait(2 * TIMEOUT), []);
    assert_eq!(member.module.role(), Role::Follower);
    member.event(Event::Applied { position: 320 });
    assert!(member.module.next_deadline() < started + 2 * TIMEOUT);
    member.tick();
    assert_eq!(member.module.role(), Role::PreCandidate);
}

#[test]
fn the_only_member_of_a_cluster_does_not_wait_until_it_has_applied_its_log() {
    let mut member = replaying(1);
    member.tick();
    assert_eq!(member.module.role(), Role::Candidate);
}

/// The member stands, its own vote is durable after so long, and nobody answers: how long it waits
/// for that from then on.
fn candidacy(member: &mut Driven, disk: Nanos) -> Nanos {
    while member.module.role() != Role::PreCandidate {
        member.pass_deadline();
    }
    let term = member.module.term().get() + 1;
    member.receive(1, pre_vote(term, true));
    member.wait(disk);
    member.event(persisted(term, Some(0)));
    let since = member.now;
    while member.module.role() == Role::Candidate {
        member.pass_deadline();
    }
    member.now - since
}

#[test]
fn votes_are_waited_for_twice_as_long_as_the_own_disk_took_for_one_up_to_a_limit() {
    for (disk, more) in [(0, 0), (TIMEOUT, 2), (3 * TIMEOUT, 6), (30 * TIMEOUT, 16)] {
        let mut member = Driven::new(0, 3, recovered(&[], 0));
        let waited = candidacy(&mut member, disk);
        let expected = (1 + more) * TIMEOUT..(2 + more) * TIMEOUT;
        assert!(expected.contains(&waited), "{disk}: {waited}");
    }
}

#[test]
fn each_candidacy_in_vain_is_followed_by_a_longer_one_until_a_leader_is_heard() {
    let mut member = Driven::new(0, 3, recovered(&[], 0));
    for failed in 0..20 {
        let waited = candidacy(&mut member, 0);
        let more = failed.min(16);
        let expected = (1 + more) * TIMEOUT..(2 + more) * TIMEOUT;
        assert!(expected.contains(&waited), "{failed}: {waited}");
    }
    let term = member.module.term().get() + 1;
    member.receive(1, heartbeat(term, 0));
    member.event(persisted(term, None));
    assert!(candidacy(&mut member, 0) < 2 * TIMEOUT);
}

#[test]
fn who_gave_a_vote_waits_for_its_leader_as_long_as_its_disk_took_for_it_and_longer() {
    let mut voter = Driven::voter(recovered(&[], 0));
    voter.receive(1, vote_request(1, 0, 0));
    voter.wait(3 * TIMEOUT);
    voter.event(persisted(1, Some(1)));
    let since = voter.now;
    while voter.module.role() == Role::Follower {
        voter.pass_deadline();
    }
    assert!((7 * TIMEOUT..8 * TIMEOUT).contains(&(voter.now - since)));
}

#[test]
fn what_took_long_before_a_leader_was_heard_delays_no_later_candidacy() {
    let mut member = Driven::new(0, 3, recovered(&[], 0));
    member.receive(1, heartbeat(1, 0));
    member.wait(HEARTBEAT);
    member.event(persisted(1, None));
    while member.module.role() != Role::PreCandidate {
        member.pass_deadline();
    }
    member.receive(1, pre_vote(2, true));
    // Its own vote is not durable yet.
    assert!(member.module.next_deadline() - member.now < 2 * TIMEOUT);
}
