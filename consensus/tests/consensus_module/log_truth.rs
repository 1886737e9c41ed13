//! What a member's log says is true: what it once knew to be committed, and what it acknowledged
//! and has lost (`log.md` 9.3, E3).

use lockstep_archive::files::ack_record::LostAcks;
use lockstep_consensus::module::action::{Action, HaltReason};
use lockstep_consensus::module::consensus_module::{Recovered, Role};
use lockstep_consensus::module::event::{Event, LogHash};
use lockstep_consensus::module::member::MemberId;
use lockstep_consensus::protocol::message::MemberMessage;
use lockstep_transport::ids::LeadershipTermId;

use crate::harness::{
    Driven, ENTRY, HEARTBEAT, heartbeat, join_reply, persisted, pre_vote, pre_vote_request,
    recovered, send,
};

#[test]
fn a_log_is_never_cut_below_what_an_earlier_life_knew_to_be_committed() {
    let state = Recovered {
        commit_floor: 192,
        ..recovered(&[(1, 0), (2, 96)], 192)
    };
    let mut member = Driven::voter(state);
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
    let text = reason.to_string();
    assert!(
        text.contains("from 96 on") && text.contains("up to 192"),
        "{text}"
    );
}

#[test]
fn a_start_goes_on_at_once_to_what_was_known_to_be_committed_and_no_further_than_its_log() {
    for (durable, commit_floor, expected) in [(192, 96, 96), (192, 192, 192), (192, 640, 192)] {
        let state = Recovered {
            commit_floor,
            ..recovered(&[(1, 0), (2, 96)], durable)
        };
        let mut member = Driven::new(0, 3, state);
        assert_eq!(member.module.commit(), expected);
        // What a leader says goes on from there.
        member.receive(1, heartbeat(2, 32));
        member.receive(1, join_reply(2, &[(1, 0), (2, 96)]));
        assert!(member.module.is_placing() && member.module.commit() == expected);
        member.event(Event::Appended { position: 1024 });
        let position = 960;
        let heard = member.receive(1, heartbeat(2, position));
        assert!(heard.contains(&Action::Commit { position }), "{heard:?}");
    }
}

#[test]
fn a_damaged_log_waits_for_a_leader_to_say_what_of_it_is_committed() {
    let state = Recovered {
        commit_floor: 96,
        ..damaged()
    };
    let mut member = Driven::new(0, 3, state);
    assert_eq!(member.module.commit(), 0);
    member.receive(1, heartbeat(2, 96));
    assert_eq!(member.module.commit(), 0);
}

#[test]
fn a_damaged_log_that_ends_below_its_commit_floor_is_repaired() {
    let state = Recovered {
        commit_floor: 192,
        lost: Some(LostAcks {
            position: 192,
            term: LeadershipTermId::new(1),
            is_open: false,
        }),
        ..recovered(&[(1, 0)], 96)
    };
    let mut member = Driven::voter(state);
    member.receive(1, heartbeat(1, 192));
    member.receive(1, join_reply(1, &[(1, 0)]));
    assert!(member.module.is_placing() && !member.module.is_halted());
}

/// Its log and what it acknowledged are of term 1; since then it has heard of term 2.
fn damaged() -> Recovered {
    Recovered {
        term: LeadershipTermId::new(2),
        lost: Some(LostAcks {
            position: 640,
            term: LeadershipTermId::new(1),
            is_open: false,
        }),
        ..recovered(&[(1, 0)], 96)
    }
}

#[test]
fn a_damaged_voter_refuses_as_every_voter_and_no_stricter() {
    let mut member = Driven::voter(damaged());
    let candidates = [
        ((1, 640), true),
        ((1, 608), false),
        ((1, 960), true),
        ((2, 96), true),
        ((0, 960), false),
    ];
    for ((log_term, position), granted) in candidates {
        let answer = member.receive(2, pre_vote_request(3, log_term, position));
        let expected = [send(2, pre_vote(3, granted))];
        assert_eq!(answer, expected, "{log_term} {position}");
    }
}

/// Lets both members of three that are left talk until one leads; returns it.
fn elect(members: &mut [Driven; 2], rounds: usize) -> Option<MemberId> {
    let mut waiting: Vec<(usize, Action)> = Vec::new();
    for _ in 0..rounds {
        let first = (0..2).min_by_key(|index| members[*index].module.next_deadline())?;
        let now = members[first]
            .module
            .next_deadline()
            .max(members[first].now);
        for (index, member) in members.iter_mut().enumerate() {
            member.now = now;
            waiting.extend(member.tick().into_iter().map(|action| (index, action)));
        }
        while let Some((index, action)) = waiting.pop() {
            let (target, caused) = match action {
                Action::PersistState { term, vote } => {
                    (index, members[index].event(persisted(term.get(), vote)))
                }
                Action::Send { to, message } if to < 2 => {
                    let target = usize::from(to);
                    (target, members[target].receive(index as MemberId, message))
                }
                _ => continue,
            };
            waiting.extend(caused.into_iter().map(|action| (target, action)));
        }
        let leads = |member: &Driven| member.module.role() == Role::Leader;
        if let Some(leader) = members.iter().position(leads) {
            return Some(leader as MemberId);
        }
    }
    None
}

#[test]
fn a_cluster_goes_on_with_a_damaged_voter_and_one_whole_log() {
    // The third member led term 1 and is gone for good; in term 2 nobody was elected.
    let whole = Recovered {
        term: LeadershipTermId::new(2),
        ..recovered(&[(1, 0)], 640)
    };
    let mut members = [Driven::new(0, 3, damaged()), Driven::new(1, 3, whole)];
    assert_eq!(elect(&mut members, 50), Some(1));
}

fn check(term: i64, position: i64, hash: Option<u64>) -> MemberMessage {
    MemberMessage::JoinCheck {
        term: LeadershipTermId::new(term),
        position,
        hash,
    }
}

fn verdict(term: i64, position: i64, hash: Option<u64>) -> MemberMessage {
    MemberMessage::JoinVerdict {
        term: LeadershipTermId::new(term),
        position,
        hash,
    }
}

fn hashed(member: MemberId, position: i64, hash: LogHash) -> Event {
    Event::LogHashed {
        member,
        position,
        hash,
    }
}

/// A follower whose list of terms is its leader's, about to compare.
fn comparing() -> Driven {
    let mut member = Driven::voter(recovered(&[(1, 0)], 640));
    member.is_agreeing = false;
    member.receive(1, heartbeat(1, 640));
    let asked = member.receive(1, join_reply(1, &[(1, 0)]));
    let (member_id, position) = (0, 640);
    let expected = Action::HashLog {
        member: member_id,
        position,
    };
    assert_eq!(asked, [expected]);
    member
}

#[test]
fn two_histories_with_equal_terms_and_bases_do_not_diverge_without_a_word() {
    let mut member = comparing();
    let asked = member.event(hashed(0, 640, LogHash::Is(7)));
    assert_eq!(asked, [send(1, check(1, 640, Some(7)))]);
    let differs = Action::Differs {
        member: 1,
        position: 640,
        own: Some(7),
        other: Some(8),
        was_joined: false,
    };
    assert_eq!(member.receive(1, verdict(1, 640, Some(8))), [differs]);
    // It neither joins, acknowledges, cuts nor commits; and goes on telling its leader.
    for _ in 0..3 {
        let repeated = member.wait(HEARTBEAT);
        assert_eq!(repeated, [send(1, check(1, 640, Some(7)))]);
        assert_eq!(member.receive(1, heartbeat(1, 640)), []);
    }
    assert!(!member.module.is_placing());
    assert_eq!(member.module.commit(), 0);
}

#[test]
fn a_log_that_is_longer_than_its_leaders_never_applies_its_own_tail() {
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 640));
    leader.is_agreeing = false;
    let end = 640 + ENTRY;
    let answer = leader.receive(1, check(2, end + 320, Some(7)));
    let differs = Action::Differs {
        member: 1,
        position: end + 320,
        own: None,
        other: Some(7),
        was_joined: false,
    };
    assert_eq!(answer, [send(1, verdict(2, end + 320, None)), differs]);
    let mut member = comparing();
    member.event(hashed(0, 640, LogHash::Is(7)));
    member.receive(1, verdict(1, 640, None));
    member.receive(1, heartbeat(1, 640));
    assert_eq!(member.module.commit(), 0);
}

#[test]
fn a_follower_joins_once_its_leader_confirms_what_lies_below() {
    let mut member = comparing();
    member.event(hashed(0, 640, LogHash::Is(7)));
    let joined = member.receive(1, verdict(1, 640, Some(7)));
    assert!(member.module.is_placing());
    assert!(joined.contains(&Action::Commit { position: 640 }));
}

#[test]
fn where_the_leaders_list_names_no_frame_of_its_own_a_follower_differs() {
    let mut member = comparing();
    let asked = member.event(hashed(0, 640, LogHash::NoBoundary));
    assert_eq!(asked, [send(1, check(1, 640, None))]);
    member.receive(1, verdict(1, 640, Some(7)));
    assert!(!member.module.is_placing());
}

#[test]
fn a_log_that_cannot_be_read_back_is_compared_again_later() {
    let mut member = comparing();
    assert_eq!(member.event(hashed(0, 640, LogHash::Unreadable)), []);
    // Not at once: whoever hears the answer at once would ask as often as the network lets it.
    assert_eq!(member.receive(1, heartbeat(1, 640)), []);
    member.now += HEARTBEAT;
    assert!(!member.receive(1, heartbeat(1, 640)).is_empty());
}

#[test]
fn a_leader_sends_its_log_only_from_where_both_logs_agree() {
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 640));
    leader.is_agreeing = false;
    let start = |position, join| MemberMessage::JoinStart {
        term: LeadershipTermId::new(2),
        position,
        join,
    };
    assert_eq!(leader.receive(1, start(320, 1)), []);
    let (member, position) = (1, 320);
    let asked = leader.receive(1, check(2, 320, Some(7)));
    assert_eq!(asked, [Action::HashLog { member, position }]);
    assert_eq!(leader.receive(1, check(2, 320, Some(7))), [], "once");
    let answer = leader.event(hashed(1, 320, LogHash::Is(7)));
    assert_eq!(answer, [send(1, verdict(2, 320, Some(7)))]);
    assert_eq!(leader.receive(1, start(352, 2)), [], "another place");
    let started = leader.receive(1, start(320, 3));
    assert_eq!(started, [Action::Replicate { member, position }]);
}

#[test]
fn a_leader_that_no_quorum_agrees_with_halts() {
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 640));
    leader.is_agreeing = false;
    for member in [1, 2] {
        leader.receive(member, check(2, 320, Some(7)));
        let told = leader.event(hashed(member, 320, LogHash::Is(8)));
        assert_eq!(told[0], send(member, verdict(2, 320, Some(8))));
        assert_eq!(leader.module.is_halted(), member == 2);
    }
}

#[test]
fn a_leader_commits_nothing_before_a_quorum_has_joined() {
    let mut leader = Driven::leader(3, recovered(&[(1, 0)], 640));
    leader.is_agreeing = false;
    leader.durable(640 + ENTRY);
    leader.receive(1, check(2, 640, Some(7)));
    leader.event(hashed(1, 640, LogHash::Is(8)));
    leader.acknowledge(1, 2, 640 + ENTRY);
    assert_eq!(
        leader.module.commit(),
        0,
        "the one that differs does not count"
    );
    leader.receive(2, check(2, 640, Some(8)));
    leader.event(hashed(2, 640, LogHash::Is(8)));
    leader.acknowledge(2, 2, 640 + ENTRY);
    assert_eq!(leader.module.commit(), 640 + ENTRY);
}
