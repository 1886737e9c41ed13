//! Joining a leader, truncation, acknowledgements of a follower: W2, C3, L4.

use lockstep_archive::files::ack_record::LostAcks;
use lockstep_consensus::module::action::{Action, HaltReason};
use lockstep_consensus::module::consensus_module::Role;
use lockstep_consensus::module::event::Event;
use lockstep_consensus::module::member::TermBase;
use lockstep_consensus::protocol::message::{JOIN_PAGE_TERMS, MemberMessage};
use lockstep_transport::ids::LeadershipTermId;
#[cfg(feature = "sim")]
use lockstep_transport::marks::{self, Mark};

use crate::harness::{
    Driven, ENTRY, HEARTBEAT, TIMEOUT, Terms, append_position, heartbeat, join_reply, list, page,
    persist, persisted, recovered, send, vote,
};

fn join_request(term: i64, log_term: i64, end: i64, page: u32) -> MemberMessage {
    MemberMessage::JoinRequest {
        term: LeadershipTermId::new(term),
        log_term: LeadershipTermId::new(log_term),
        end,
        page,
    }
}

fn join_start(term: i64, position: i64, join: u32) -> MemberMessage {
    MemberMessage::JoinStart {
        term: LeadershipTermId::new(term),
        position,
        join,
    }
}

fn follow(term: i64, position: i64) -> Action {
    Action::Follow {
        leader: 1,
        term: LeadershipTermId::new(term),
        position,
    }
}

/// Places the first entry of `term` at `base`.
fn place_entry(member: &mut Driven, term: i64, base: i64) -> Vec<Action> {
    let end = base + ENTRY;
    member.event(Event::TermEntry {
        term: LeadershipTermId::new(term),
        base,
        end,
    });
    member.event(Event::Appended { position: end })
}

#[test]
fn a_follower_drains_asks_truncates_and_starts() {
    // Its own log: term 1 to 320, then 320 bytes of term 2 that the leader of term 3 has not.
    let mut member = Driven::voter(recovered(&[(1, 0), (2, 320)], 640));
    assert_eq!(member.receive(1, heartbeat(3, 0)), [persist(3, None)]);
    let asked = member.event(persisted(3, None));
    assert_eq!(asked, [send(1, join_request(3, 2, 640, 0))]);
    let leader_terms: Terms<'_> = &[(1, 0), (3, 480)];
    let parted = member.receive(1, join_reply(3, leader_terms));
    assert_eq!(parted, [Action::Truncate { position: 320 }]);
    assert_eq!(
        member.module.leader_term_at(320),
        None,
        "nothing is placed yet"
    );
    let cut = member.event(Event::Truncated { position: 320 });
    assert_eq!(cut, [follow(3, 320), send(1, join_start(3, 320, 1))]);
    assert_eq!(member.module.terms(), list(&[(1, 0)]));
    let term_at = |position| {
        member
            .module
            .leader_term_at(position)
            .map(LeadershipTermId::get)
    };
    assert_eq!(
        (term_at(320), term_at(448), term_at(480)),
        (Some(1), Some(1), Some(3))
    );
}

#[test]
fn requests_of_a_join_are_repeated_until_answered() {
    let mut member = Driven::voter(recovered(&[(1, 0)], 96));
    member.receive(1, heartbeat(2, 0));
    member.event(persisted(2, None));
    let request = send(1, join_request(2, 1, 96, 0));
    assert_eq!(member.wait(HEARTBEAT), [request]);
    member.receive(1, join_reply(2, &[(1, 0), (2, 96)]));
    let start = send(1, join_start(2, 96, 1));
    assert_eq!(member.wait(HEARTBEAT), [start]);
    member.event(Event::LogHeard);
    // Until the first entry of term 2 is durable here, the same JoinStart says "alive".
    assert_eq!(member.wait(HEARTBEAT), [start]);
}

#[test]
fn a_follower_whose_leader_has_forgotten_that_both_logs_agree_joins_afresh() {
    // A datagram of an earlier life of member 1 comes late: the leader takes it for a new one.
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 96));
    leader.is_agreeing = false;
    leader.restart(1);
    assert_eq!(leader.receive(1, join_start(2, 96, 1)), []);

    let mut member = Driven::voter(recovered(&[(1, 0)], 96));
    member.receive(1, heartbeat(2, 0));
    member.event(persisted(2, None));
    member.receive(1, join_reply(2, &[(1, 0), (2, 96)]));
    let start = send(1, join_start(2, 96, 1));
    let mut waited = 0;
    let afresh = loop {
        member.receive(1, heartbeat(2, 0));
        let said = member.wait(HEARTBEAT);
        if said != [start] {
            break said;
        }
        waited += HEARTBEAT;
        assert!(waited <= 2 * TIMEOUT, "it would ask for ever");
    };
    let request = send(1, join_request(2, 1, 96, 0));
    assert_eq!(afresh, [Action::StopPlacing, request]);
}

#[test]
fn nothing_is_acknowledged_before_the_first_entry_of_the_term_is_durable() {
    let mut member = Driven::voter(recovered(&[(1, 0)], 96));
    member.receive(1, heartbeat(2, 0));
    member.event(persisted(2, None));
    member.receive(1, join_reply(2, &[(1, 0), (2, 192)]));
    member.event(Event::LogHeard);
    member.event(Event::Appended { position: 192 });
    assert_eq!(member.durable(192), []);
    place_entry(&mut member, 2, 192);
    assert_eq!(
        member.receive(1, heartbeat(2, 192)),
        [],
        "C3: the log's term is still 1"
    );
    let commit = Action::Commit { position: 192 };
    let acknowledged = send(1, append_position(2, 288));
    assert_eq!(member.durable(288), [commit, acknowledged]);
    assert_eq!(member.wait(HEARTBEAT), [acknowledged]);
}

#[test]
fn a_follower_commits_no_further_than_its_own_log() {
    let mut member = Driven::voter(recovered(&[(1, 0)], 96));
    member.receive(1, heartbeat(1, 960));
    assert_eq!(member.module.commit(), 0, "its log may be another one");
    member.receive(1, join_reply(1, &[(1, 0)]));
    assert_eq!(member.module.commit(), 96);
    let placed = member.event(Event::Appended { position: 160 });
    assert_eq!(placed, [Action::Commit { position: 160 }]);
    let older = Event::LeaderCommit {
        term: LeadershipTermId::new(1),
        position: 128,
    };
    assert_eq!(member.event(older), [], "C2: commit never goes back");
}

#[test]
fn commit_positions_in_frames_of_older_terms_are_not_adopted() {
    let mut member = Driven::voter(recovered(&[(1, 0), (2, 96)], 192));
    member.receive(1, heartbeat(2, 0));
    member.receive(1, join_reply(2, &[(1, 0), (2, 96)]));
    let older = Event::LeaderCommit {
        term: LeadershipTermId::new(1),
        position: 96,
    };
    assert_eq!(member.event(older), []);
    let own = Event::LeaderCommit {
        term: LeadershipTermId::new(2),
        position: 160,
    };
    assert_eq!(member.event(own), [Action::Commit { position: 160 }]);
}

#[test]
fn placing_stops_and_the_log_drains_before_another_leader_is_joined() {
    let mut member = Driven::voter(recovered(&[(1, 0)], 96));
    member.receive(1, heartbeat(1, 0));
    member.receive(1, join_reply(1, &[(1, 0)]));
    member.event(Event::Appended { position: 160 });
    let newer = member.receive(2, heartbeat(2, 0));
    assert_eq!(newer, [Action::StopPlacing, persist(2, None)]);
    assert_eq!(member.event(persisted(2, None)), [], "160 is not durable");
    assert_eq!(member.durable(160), [send(2, join_request(2, 1, 160, 0))]);
}

#[test]
fn a_truncation_that_is_under_way_is_finished_before_another_leader_is_joined() {
    let mut member = Driven::voter(recovered(&[(1, 0), (2, 320)], 640));
    member.receive(1, heartbeat(3, 0));
    member.event(persisted(3, None));
    member.receive(1, join_reply(3, &[(1, 0), (3, 320)]));
    member.receive(2, heartbeat(4, 0));
    assert_eq!(member.event(persisted(4, None)), []);
    #[cfg(feature = "sim")]
    let _before = marks::take();
    let cut = member.event(Event::Truncated { position: 320 });
    assert_eq!(cut, [send(2, join_request(4, 1, 320, 0))]);
    #[cfg(feature = "sim")]
    assert!(marks::take().contains(Mark::TruncationOutlivesLeader));
}

#[test]
fn nobody_stands_while_its_log_is_being_cut() {
    let mut member = Driven::voter(recovered(&[(1, 0), (2, 320)], 640));
    member.receive(1, heartbeat(3, 0));
    member.event(persisted(3, None));
    member.receive(1, join_reply(3, &[(1, 0), (3, 320)]));
    #[cfg(feature = "sim")]
    let _before = marks::take();
    member.wait(10 * TIMEOUT);
    assert_eq!(member.module.role(), Role::Follower);
    #[cfg(feature = "sim")]
    assert!(marks::take().contains(Mark::StandingWaitsForTruncation));
    member.event(Event::Truncated { position: 320 });
    member.wait(10 * TIMEOUT);
    assert_eq!(member.module.role(), Role::PreCandidate);
}

#[test]
fn rejoining_the_same_term_never_shortens_what_was_acknowledged_in_it() {
    // A reply that was sent before this member placed what it now holds.
    let mut member = Driven::voter(recovered(&[(1, 0)], 640));
    member.receive(1, heartbeat(1, 0));
    let stale = MemberMessage::JoinReply {
        term: LeadershipTermId::new(1),
        commit: 0,
        end: 96,
        page: page(&[(1, 0)]),
    };
    let started = member.receive(1, stale);
    assert_eq!(started, [follow(1, 640), send(1, join_start(1, 640, 1))]);
}

#[test]
fn what_is_committed_is_never_truncated() {
    let mut member = Driven::voter(recovered(&[(1, 0), (2, 96)], 192));
    member.receive(1, heartbeat(2, 192));
    member.receive(1, join_reply(2, &[(1, 0), (2, 96)]));
    assert_eq!(member.module.commit(), 192);
    member.receive(1, heartbeat(3, 0));
    member.event(persisted(3, None));
    let halted = member.receive(1, join_reply(3, &[(1, 0), (3, 96)]));
    let reason = HaltReason::CommittedTruncation {
        term: LeadershipTermId::new(3),
        truncation: 96,
        commit: 192,
        end: 192,
    };
    assert_eq!(halted, [Action::Halt { reason }]);
}

#[test]
fn a_list_of_many_terms_comes_page_by_page() {
    let long: Vec<TermBase> = (0..40)
        .map(|index| TermBase {
            term: LeadershipTermId::new(index + 1),
            base: index * 96,
        })
        .collect();
    let durable = 40 * 96;
    let mut state = recovered(&[], durable);
    state.terms = long.clone();
    state.term = LeadershipTermId::new(40);
    let mut leader = Driven::elected(3, state);
    let mut member = Driven::voter(recovered(&[], 0));
    member.receive(1, heartbeat(41, 0));
    let mut asked = member.event(persisted(41, None));
    let mut pages = 0;
    #[cfg(feature = "sim")]
    let _before = marks::take();
    while let [Action::Send { message, .. }] = asked[..] {
        assert_eq!(message, join_request(41, 0, 0, pages));
        let answer = leader.receive(1, message);
        let [Action::Send { to: 1, message }] = answer[..] else {
            panic!("{answer:?}");
        };
        // Late duplicates of earlier pages change nothing.
        asked = member.receive(1, message);
        member.receive(1, message);
        pages += 1;
    }
    assert_eq!(pages as usize, 41_usize.div_ceil(JOIN_PAGE_TERMS));
    #[cfg(feature = "sim")]
    assert!(marks::take().contains(Mark::TermListPaged));
    assert_eq!(asked, [follow(41, 0), send(1, join_start(41, 0, 1))]);
    assert_eq!(
        member.module.leader_term_at(39 * 96),
        Some(LeadershipTermId::new(40))
    );
    assert_eq!(
        member.module.leader_term_at(durable),
        Some(LeadershipTermId::new(41))
    );
}

#[test]
fn a_list_that_cannot_be_is_asked_for_again_later() {
    let lists: [Terms<'_>; 4] = [
        &[],
        &[(1, 0)],
        &[(2, 0), (1, 96), (3, 192)],
        &[(1, 96), (3, 96)],
    ];
    for terms in lists {
        let mut member = Driven::voter(recovered(&[], 0));
        member.receive(1, heartbeat(3, 0));
        member.event(persisted(3, None));
        assert_eq!(member.receive(1, join_reply(3, terms)), [], "{terms:?}");
        member.now += HEARTBEAT;
        let again = member.receive(1, heartbeat(3, 0));
        assert_eq!(again, [send(1, join_request(3, 0, 0, 0))], "{terms:?}");
    }
}

#[test]
fn another_leader_is_joined_at_once_though_joining_the_one_before_just_came_to_nothing() {
    let mut member = Driven::voter(recovered(&[], 0));
    member.receive(1, heartbeat(3, 0));
    member.event(persisted(3, None));
    member.receive(1, join_reply(3, &[]));
    member.receive(2, heartbeat(4, 0));
    let asked = member.event(persisted(4, None));
    assert_eq!(asked, [send(2, join_request(4, 0, 0, 0))]);
}

#[test]
fn a_damaged_member_is_whole_once_it_holds_what_it_acknowledged() {
    let mut damaged = recovered(&[(1, 0)], 96);
    damaged.lost = Some(LostAcks {
        position: 192,
        term: LeadershipTermId::new(1),
        is_open: false,
    });
    let mut member = Driven::voter(damaged);
    member.receive(1, heartbeat(1, 0));
    member.receive(1, join_reply(1, &[(1, 0)]));
    member.event(Event::Appended { position: 192 });
    member.durable(160);
    assert!(member.module.is_damaged());
    member.durable(192);
    assert!(!member.module.is_damaged());
}

#[test]
fn a_learner_of_a_later_term_is_followed_into_it_and_grants_nothing() {
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 320));
    assert_eq!(leader.module.term(), LeadershipTermId::new(2));
    leader.module.set_voter(1, false);
    leader.receive(1, vote(5, true));
    assert_eq!(
        (leader.module.role(), leader.module.term().get()),
        (Role::Leader, 2)
    );
    let told = leader.receive(1, vote(5, false));
    assert!(told.contains(&persist(5, None)));
    assert_eq!(
        (leader.module.role(), leader.module.term().get()),
        (Role::Follower, 5)
    );
}
