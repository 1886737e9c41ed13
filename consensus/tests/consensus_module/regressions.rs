//! Bugs of real systems as scenarios (`rules.md`), under their numbers there.

use lockstep_consensus::module::action::Action;
use lockstep_consensus::module::consensus_module::{Oddity, Role};
use lockstep_consensus::module::event::Event;
use lockstep_transport::ids::LeadershipTermId;

use crate::harness::{
    Driven, heartbeat, persist, persisted, pre_vote, pre_vote_request, recovered, send, vote,
    vote_request,
};

#[test]
fn r01_a_restarted_members_old_term_position_completes_no_quorum() {
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 320));
    leader.durable(416);
    leader.restart(1);
    let told = leader.acknowledge(1, 1, 6400);
    assert_eq!(
        told,
        [send(1, vote(2, false))],
        "it learns the term instead"
    );
    assert_eq!(leader.module.commit(), 0);
}

#[test]
fn r13_a_single_member_leads_again_after_every_restart_in_a_term_of_its_own() {
    let mut state = recovered(&[], 0);
    for term in 1..=3 {
        let mut only = Driven::new(0, 1, state.clone());
        assert_eq!(only.tick(), [persist(term, Some(0))]);
        assert_eq!(only.module.role(), Role::Candidate);
        let elected = only.event(persisted(term, Some(0)));
        assert_eq!(
            elected,
            [Action::Lead {
                term: LeadershipTermId::new(term)
            }]
        );
        let base = state.durable;
        let end = base + 96;
        only.event(Event::TermEntry {
            term: LeadershipTermId::new(term),
            base,
            end,
        });
        only.event(Event::Appended { position: end });
        assert_eq!(only.durable(end), [Action::Commit { position: end }]);
        state.terms.extend(only.module.terms().last());
        (state.term, state.vote) = (LeadershipTermId::new(term), Some(0));
        state.durable = end;
    }
}

#[test]
fn r30_a_vote_survives_stepping_down_in_the_same_term() {
    let mut member = Driven::new(0, 3, recovered(&[], 0));
    member.stand();
    assert_eq!(member.module.term(), LeadershipTermId::new(1));
    member.receive(2, heartbeat(1, 0));
    assert_eq!(member.module.role(), Role::Follower);
    member.now += 10 * crate::harness::TIMEOUT;
    let refused = member.receive(1, vote_request(1, 9, 960));
    assert_eq!(refused, [send(1, vote(1, false))]);
}

#[test]
fn r31_two_requests_at_once_get_one_vote() {
    let mut member = Driven::voter(recovered(&[], 0));
    let first = member.receive(1, vote_request(1, 0, 0));
    assert_eq!(first, [persist(1, Some(1))]);
    assert_eq!(member.receive(2, vote_request(1, 0, 0)), []);
    let done = member.event(persisted(1, Some(1)));
    assert_eq!(done, [send(1, vote(1, true))]);
    let second = member.receive(2, vote_request(1, 0, 0));
    assert_eq!(second, [send(2, vote(1, false))]);
}

#[test]
fn r32_terms_never_go_back_and_votes_of_other_terms_do_not_count() {
    let mut member = Driven::new(0, 3, recovered(&[(4, 0)], 96));
    member.stand();
    assert_eq!(member.module.term(), LeadershipTermId::new(5));
    for other in [vote(4, true), vote(6, true), pre_vote(5, true)] {
        assert_eq!(member.receive(1, other), []);
        assert_eq!(
            (member.module.role(), member.module.term().get()),
            (Role::Candidate, 5)
        );
    }
    assert_eq!(
        member.event(persisted(4, None)),
        [],
        "an older write is reported late"
    );
    let told = member.receive(1, heartbeat(3, 0));
    assert_eq!(told, [send(1, vote(5, false))]);
    assert_eq!(member.module.term(), LeadershipTermId::new(5));
}

#[test]
fn r33_a_restarted_member_does_not_vote_again_in_its_term() {
    let mut state = recovered(&[], 0);
    (state.term, state.vote, state.incarnation) = (LeadershipTermId::FIRST, Some(1), 2);
    let mut member = Driven::voter(state);
    let refused = member.receive(2, vote_request(1, 0, 0));
    assert_eq!(refused, [send(2, vote(1, false))]);
    let repeated = member.receive(1, vote_request(1, 0, 0));
    assert_eq!(repeated, [send(1, vote(1, true))]);
}

#[test]
fn r35_a_leader_does_not_count_its_own_unsynced_log() {
    let mut leader = Driven::leader(3, recovered(&[], 0));
    leader.event(Event::Appended { position: 640 });
    assert_eq!(leader.acknowledge(1, 1, 640), []);
    assert_eq!(leader.durable(96), [Action::Commit { position: 96 }]);
    assert_eq!(leader.durable(640), [Action::Commit { position: 640 }]);
}

#[test]
fn r39_a_member_that_fell_behind_in_terms_learns_them_and_is_elected() {
    let mut behind = Driven::new(0, 3, recovered(&[(1, 0)], 96));
    let mut ahead = recovered(&[(1, 0)], 96);
    ahead.term = LeadershipTermId::new(7);
    let mut ahead = Driven::voter(ahead);
    behind.pass_deadline();
    let told = ahead.receive(0, pre_vote_request(2, 1, 96));
    assert_eq!(told, [], "from itself");
    let told = ahead.receive(1, pre_vote_request(2, 1, 96));
    assert_eq!(told, [send(1, vote(7, false))]);
    assert_eq!(behind.receive(1, vote(7, false)), [persist(7, None)]);
    behind.event(persisted(7, None));
    behind.stand();
    assert_eq!(behind.module.term(), LeadershipTermId::new(8));
    behind.receive(1, vote(8, true));
    assert_eq!(behind.module.role(), Role::Leader);
}

#[test]
fn r47_a_position_of_an_older_term_commits_only_through_the_new_terms_first_entry() {
    // Raft's figure 8: 320 bytes of term 1 are on a majority, the leader is of term 2.
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 320));
    leader.durable(320);
    assert_eq!(leader.acknowledge(1, 2, 320), []);
    assert_eq!(leader.acknowledge(2, 1, 320), [send(2, vote(2, false))]);
    assert_eq!(leader.module.commit(), 0);
    leader.durable(416);
    assert_eq!(
        leader.acknowledge(1, 2, 416),
        [Action::Commit { position: 416 }]
    );
}

#[test]
fn a_second_leader_and_an_acknowledgement_beyond_the_log_are_counted() {
    let mut follower = Driven::voter(recovered(&[(1, 0)], 640));
    follower.receive(1, heartbeat(2, 640));
    assert_eq!(follower.module.take_oddity(), None);
    for _ in 0..2 {
        follower.receive(2, heartbeat(2, 640));
    }
    let expected = Some((Oddity::SecondLeader, 2, 2));
    assert_eq!(follower.module.take_oddity(), expected);
    assert_eq!(follower.module.take_oddity(), None);
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 640));
    leader.receive(1, heartbeat(2, 640));
    assert_eq!(
        leader.module.take_oddity(),
        Some((Oddity::SecondLeader, 1, 1))
    );
    leader.acknowledge(2, 2, 64_000);
    assert_eq!(
        leader.module.take_oddity(),
        Some((Oddity::AckBeyondLog, 2, 1))
    );
    assert_eq!(leader.module.match_position(2), 0);
}
