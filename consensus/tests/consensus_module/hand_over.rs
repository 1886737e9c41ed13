//! A leadership that is handed over: E4's token, and what a leader, a follower and a voter make of
//! it.

use lockstep_consensus::module::action::Action;
use lockstep_consensus::module::consensus_module::{HandOverRefusal, Oddity, Role};
use lockstep_consensus::module::event::Event;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::harness::{
    Driven, ENTRY, HEARTBEAT, TIMEOUT, handed_vote_request, heartbeat, join_reply, persist,
    persisted, recovered, send, stand_now, vote, vote_request,
};

/// End of a log of one term, with one entry behind the first.
const END: Position = 2 * ENTRY;

/// Member 0 of three, which leads term 1 and has applied its own first entry, with one more.
fn leader() -> Driven {
    leader_of(3)
}

fn leader_of(members: usize) -> Driven {
    let mut leader = Driven::leader(members, recovered(&[], 0));
    leader.durable(ENTRY);
    for member in 1..members as u8 {
        leader.acknowledge(member, 1, ENTRY);
    }
    leader.event(Event::Applied { position: ENTRY });
    leader.event(Event::Appended { position: END });
    leader.durable(END);
    leader
}

/// The same, with followers 1 and 2 that have all of its log, all of which is applied.
fn followed_leader() -> Driven {
    let mut leader = leader();
    leader.acknowledge(1, 1, END);
    leader.acknowledge(2, 1, END);
    leader.event(Event::Applied { position: END });
    leader.tick();
    leader
}

/// Member 0 of three, which follows member 1 in term 1 and has all of its log.
fn follower() -> Driven {
    let mut member = Driven::voter(recovered(&[], 0));
    member.receive(1, heartbeat(1, 0));
    member.event(persisted(1, None));
    member.receive(1, heartbeat(1, 0));
    member.receive(1, join_reply(1, &[(1, 0)]));
    member.event(Event::TermEntry {
        term: LeadershipTermId::new(1),
        base: 0,
        end: ENTRY,
    });
    member.event(Event::Appended { position: END });
    member.event(Event::LogHeard);
    member.durable(END);
    assert!(member.module.is_placing());
    member
}

fn stand_nows(actions: &[Action]) -> Vec<u8> {
    let to = |action: &Action| match action {
        Action::Send { to, message } if *message == stand_now(1, END) => Some(*to),
        _ => None,
    };
    actions.iter().filter_map(to).collect()
}

#[test]
fn a_leader_tells_who_was_heard_last_to_stand_and_repeats_it() {
    let mut leader = followed_leader();
    leader.now += 1;
    leader.acknowledge(1, 1, END);
    assert_eq!(leader.module.begin_hand_over(leader.now, None), Ok(()));
    assert!(leader.module.is_handing_over());
    assert_eq!(stand_nows(&leader.tick()), [1]);
    assert_eq!(stand_nows(&leader.tick()), []);
    assert_eq!(stand_nows(&leader.wait(HEARTBEAT / 4)), [1]);
}

#[test]
fn nobody_is_told_before_it_has_all_of_the_log() {
    let mut leader = leader();
    leader.event(Event::Applied { position: ENTRY });
    leader.module.begin_hand_over(leader.now, None).unwrap();
    assert_eq!(stand_nows(&leader.wait(2 * HEARTBEAT)), []);
    leader.acknowledge(2, 1, END);
    assert_eq!(stand_nows(&leader.tick()), [2]);
}

#[test]
fn nobody_is_told_while_something_is_unapplied_unless_that_takes_long() {
    let mut leader = leader();
    leader.acknowledge(1, 1, END);
    leader.module.begin_hand_over(leader.now, None).unwrap();
    assert_eq!(stand_nows(&leader.tick()), []);
    assert_eq!(stand_nows(&leader.wait(HEARTBEAT)), [1]);
    let mut leader = followed_leader();
    leader.module.begin_hand_over(leader.now, None).unwrap();
    assert_eq!(stand_nows(&leader.tick()).len(), 1);
}

#[test]
fn a_target_that_does_not_answer_is_followed_by_the_next() {
    let mut leader = followed_leader();
    leader.module.begin_hand_over(leader.now, None).unwrap();
    let first = stand_nows(&leader.tick());
    let next = stand_nows(&leader.wait(TIMEOUT / 3 + 1));
    assert_eq!((first.len(), next.len()), (1, 1));
    assert_ne!(first, next);
    // Nobody is left: from the beginning.
    assert_eq!(stand_nows(&leader.wait(TIMEOUT / 3 + 1)).len(), 1);
}

#[test]
fn a_target_that_refuses_is_followed_by_the_next_at_once() {
    let mut leader = followed_leader();
    leader.module.begin_hand_over(leader.now, None).unwrap();
    let first = stand_nows(&leader.tick())[0];
    leader.receive(first, vote(1, false));
    assert_eq!(stand_nows(&leader.tick()), [3 - first]);
}

#[test]
fn only_who_is_named_is_told() {
    let mut leader = followed_leader();
    leader.module.begin_hand_over(leader.now, Some(2)).unwrap();
    assert_eq!(stand_nows(&leader.tick()), [2]);
    leader.receive(2, vote(1, false));
    assert_eq!(stand_nows(&leader.tick()), [2]);
}

#[test]
fn a_hand_over_that_comes_to_nothing_ends_after_an_election_timeout() {
    let mut leader = followed_leader();
    leader.module.begin_hand_over(leader.now, None).unwrap();
    leader.now += TIMEOUT - 1;
    leader.acknowledge(1, 1, END);
    assert!(!leader.tick().contains(&Action::HandOverFailed { to: None }));
    let given_up = leader.wait(1);
    assert!(given_up.contains(&Action::HandOverFailed { to: None }));
    assert!(!leader.module.is_handing_over());
    assert_eq!(leader.module.role(), Role::Leader);
    assert_eq!(leader.module.begin_hand_over(leader.now, None), Ok(()));
}

#[test]
fn a_hand_over_that_cannot_be_is_refused() {
    let mut alone = Driven::new(0, 1, recovered(&[], 0));
    alone.tick();
    alone.event(persisted(1, Some(0)));
    assert_eq!(alone.module.role(), Role::Leader);
    let refused = alone.module.begin_hand_over(alone.now, None);
    assert_eq!(refused, Err(HandOverRefusal::Alone));

    let mut member = follower();
    let leader = Some(1);
    let refused = member.module.begin_hand_over(member.now, None);
    assert_eq!(refused, Err(HandOverRefusal::NotLeading { leader }));

    let mut leader = Driven::leader(3, recovered(&[], 0));
    let refused = leader.module.begin_hand_over(leader.now, None);
    assert_eq!(refused, Err(HandOverRefusal::NotOpen));

    let mut leader = followed_leader();
    leader.module.set_voter(2, false);
    for (to, refusal) in [
        (0, HandOverRefusal::ToItself { member: 0 }),
        (2, HandOverRefusal::Unfit { member: 2 }),
        (
            3,
            HandOverRefusal::Unknown {
                member: 3,
                members: 3,
            },
        ),
    ] {
        let refused = leader.module.begin_hand_over(leader.now, Some(to));
        assert_eq!(refused, Err(refusal));
    }
    assert_eq!(leader.module.begin_hand_over(leader.now, Some(1)), Ok(()));
    let again = leader.module.begin_hand_over(leader.now, None);
    assert_eq!(again, Err(HandOverRefusal::UnderWay));
    leader.now += TIMEOUT;
    let refused = leader.module.begin_hand_over(leader.now, Some(1));
    assert_eq!(refused, Err(HandOverRefusal::Unfit { member: 1 }));
}

#[test]
fn who_is_told_to_stand_does_so_at_once_and_says_who_told_it() {
    let mut member = follower();
    let stood = member.receive(1, stand_now(1, END));
    assert_eq!(stood, [Action::StopPlacing, persist(2, Some(0))]);
    assert_eq!(member.module.role(), Role::Candidate);
    let request = handed_vote_request(2, 1, END, 1);
    let asked = member.event(persisted(2, Some(0)));
    assert_eq!(asked, [send(1, request), send(2, request)]);
    // A candidacy that fails goes on as any other.
    while member.module.role() == Role::Candidate {
        member.pass_deadline();
    }
    member.stand();
    let again = member.wait(HEARTBEAT);
    let request = vote_request(3, 1, END);
    assert_eq!(again, [send(1, request), send(2, request)]);
}

#[test]
fn who_is_told_to_stand_late_does_nothing() {
    // Its leader has appended more since, or less was placed here yet.
    for position in [ENTRY, END + ENTRY] {
        let mut member = follower();
        assert_eq!(member.receive(1, stand_now(1, position)), []);
        assert_eq!(member.module.role(), Role::Follower);
    }
    // Of a leader that was followed before.
    let mut member = follower();
    member.receive(2, heartbeat(2, 0));
    member.event(persisted(2, None));
    let told = member.receive(1, stand_now(1, END));
    assert_eq!(told, [send(1, vote(2, false))]);
    assert_eq!(
        (member.module.role(), member.module.term().get()),
        (Role::Follower, 2)
    );
    // Twice.
    let mut member = follower();
    member.receive(1, stand_now(1, END));
    member.event(persisted(2, Some(0)));
    assert_eq!(
        member.receive(1, stand_now(1, END)),
        [send(1, vote(2, false))]
    );
    assert_eq!(member.module.term().get(), 2);
}

#[test]
fn who_leaves_refuses_to_stand_and_never_does() {
    let mut member = follower();
    member.module.set_leaving();
    assert_eq!(
        member.receive(1, stand_now(1, END)),
        [send(1, vote(1, false))]
    );
    for _ in 0..5 {
        member.now = member.module.next_deadline().max(member.now + TIMEOUT);
        member.tick();
        assert_eq!(member.module.role(), Role::Follower);
    }
}

#[test]
fn a_voter_that_hears_its_leader_votes_for_whom_it_told_and_nobody_else() {
    // None, of a term before, of one that is to come, of the term stood for.
    for token in [0, 2, 3] {
        let mut member = follower();
        let asked = member.receive(2, handed_vote_request(2, 1, END, token));
        assert_eq!(asked, [], "{token}");
        assert_eq!(member.module.term().get(), 1);
    }
    let mut member = follower();
    let asked = member.receive(2, handed_vote_request(2, 1, END, 1));
    assert_eq!(asked, [Action::StopPlacing, persist(2, Some(2))]);
    let voted = member.event(persisted(2, Some(2)));
    assert_eq!(voted, [send(2, vote(2, true))]);
    // Once voted, twice is once, and another one of the term has none.
    let again = member.receive(2, handed_vote_request(2, 1, END, 1));
    assert_eq!(again, [send(2, vote(2, true))]);
    let other = member.receive(1, handed_vote_request(2, 1, END, 1));
    assert_eq!(other, [send(1, vote(2, false))]);
}

#[test]
fn a_candidate_that_lacks_something_deposes_nobody_with_its_token() {
    let mut member = follower();
    assert_eq!(member.receive(2, handed_vote_request(2, 1, ENTRY, 1)), []);
    assert_eq!(member.module.term().get(), 1);
    assert!(member.module.is_placing());
}

#[test]
fn a_token_that_has_been_used_does_not_serve_against_the_next_leader() {
    let mut member = follower();
    member.receive(2, handed_vote_request(2, 1, END, 1));
    member.event(persisted(2, Some(2)));
    member.receive(2, heartbeat(2, 0));
    for term in [2, 3] {
        member.receive(1, handed_vote_request(term, 1, END, 1));
        assert_eq!(member.module.term().get(), 2);
        assert_eq!(member.module.leader(), Some(2));
    }
}

#[test]
fn the_old_leader_votes_for_whom_it_told_and_follows() {
    let mut leader = followed_leader();
    leader.module.begin_hand_over(leader.now, Some(1)).unwrap();
    leader.tick();
    let asked = leader.receive(1, handed_vote_request(2, 1, END, 1));
    assert_eq!(asked, [Action::Abdicate, persist(2, Some(1))]);
    assert_eq!(leader.module.role(), Role::Follower);
    assert!(!leader.module.is_handing_over());
    let voted = leader.event(persisted(2, Some(1)));
    assert_eq!(voted, [send(1, vote(2, true))]);
}

#[test]
fn a_leader_hears_nobody_whom_it_did_not_tell() {
    let mut leader = followed_leader();
    assert_eq!(leader.receive(2, handed_vote_request(2, 1, END, 1)), []);
    assert_eq!(leader.module.role(), Role::Leader);
    let oddity = Some((Oddity::UntoldStanding, 2, 1));
    assert_eq!(leader.module.take_oddity(), oddity);
    leader.module.begin_hand_over(leader.now, Some(1)).unwrap();
    leader.tick();
    assert_eq!(leader.receive(2, handed_vote_request(2, 1, END, 1)), []);
    assert_eq!(leader.receive(2, vote_request(2, 1, END)), []);
    assert_eq!(leader.module.role(), Role::Leader);
}

#[test]
fn a_leader_that_has_gone_on_is_not_deposed_by_who_lacks_what_it_appended_since() {
    let mut leader = followed_leader();
    leader.module.begin_hand_over(leader.now, Some(1)).unwrap();
    leader.tick();
    leader.now += TIMEOUT - 1;
    leader.acknowledge(1, 1, END);
    leader.wait(1);
    leader.event(Event::Appended {
        position: END + ENTRY,
    });
    leader.durable(END + ENTRY);
    assert_eq!(leader.receive(1, handed_vote_request(2, 1, END, 1)), []);
    assert_eq!(leader.module.role(), Role::Leader);
}

#[test]
fn of_five_a_leader_waits_for_the_first_that_has_everything() {
    let mut leader = leader_of(5);
    for member in 1..4 {
        leader.acknowledge(member, 1, ENTRY);
    }
    leader.module.begin_hand_over(leader.now, None).unwrap();
    assert_eq!(stand_nows(&leader.wait(HEARTBEAT)), []);
    leader.acknowledge(3, 1, END);
    assert_eq!(stand_nows(&leader.tick()), [3]);
}
