//! What a member's log says is true: what it once knew to be committed, and what it acknowledged
//! and has lost (`log.md` 9.3, E3).

use lockstep_archive::ack_mark::LostAcks;
use lockstep_consensus::action::{Action, HaltReason};
use lockstep_consensus::consensus_module::{Recovered, Role};
use lockstep_consensus::member::MemberId;

use crate::harness::{
    Driven, heartbeat, join_reply, persisted, pre_vote, pre_vote_request, recovered, send,
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
        term: 3,
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
fn a_damaged_log_that_ends_below_its_commit_floor_is_repaired() {
    let state = Recovered {
        commit_floor: 192,
        lost: Some(LostAcks {
            position: 192,
            term: 1,
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
        term: 2,
        lost: Some(LostAcks {
            position: 640,
            term: 1,
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
                    (index, members[index].event(persisted(term, vote)))
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
        term: 2,
        ..recovered(&[(1, 0)], 640)
    };
    let mut members = [Driven::new(0, 3, damaged()), Driven::new(1, 3, whole)];
    assert_eq!(elect(&mut members, 50), Some(1));
}
