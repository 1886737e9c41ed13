//! Each rule that the oracle watches over can be broken: a run that has come to its end is told
//! something false, and one look finds it.

use super::*;
use crate::sim::held::Held;
use crate::sim::log_range::LogRange;
use crate::sim::tank::Tank;

/// A run without faults at its end, and who leads.
fn settled() -> (Tank, usize) {
    let tank = Tank::settled(1);
    let leader = tank.leader().expect("a run ends with a leader");
    (tank, leader)
}

fn look(tank: &mut Tank, id: usize) -> Result<(), Broken> {
    tank.oracle.look(id, &tank.members, &tank.damage_map)
}

/// One look at `id` breaks `rule` after `falsify`, and none before.
#[track_caller]
fn expect_broken(rule: Rule, is_of_leader: bool, falsify: impl FnOnce(&mut Tank, usize)) {
    let (mut tank, leader) = settled();
    let follower = (leader + 1) % tank.members.len();
    let id = if is_of_leader { leader } else { follower };
    assert_eq!(look(&mut tank, id), Ok(()));
    falsify(&mut tank, id);
    let broken = look(&mut tank, id).expect_err("it is false");
    assert_eq!(broken.rule, rule, "{broken}");
}

#[test]
fn a_commit_that_goes_back_is_found() {
    expect_broken(Rule::C2, false, |tank, id| tank.oracle.commits[id] += 32);
}

#[test]
fn a_state_that_differs_from_the_first_one_at_its_position_is_found() {
    expect_broken(Rule::EqualStates, false, |tank, id| {
        let applied = tank.members[id].applied_state().expect("it has").0;
        tank.oracle.applied[id] = 0;
        let (_, state) = tank.oracle.states.get_mut(&applied).expect("it was there");
        state.3 ^= 1;
    });
}

#[test]
fn a_byte_that_differs_from_the_one_log_is_found() {
    expect_broken(Rule::OneLog, false, |tank, id| {
        tank.oracle.log[100] ^= 1;
        tank.oracle.forget_commit(id);
    });
}

#[test]
fn a_commit_that_no_majority_holds_is_found() {
    expect_broken(Rule::C1, false, |tank, id| {
        // What it has is news, and the others' disks are gone.
        tank.oracle.log.clear();
        tank.oracle.forget_commit(id);
        for other in (0..tank.members.len()).filter(|other| *other != id) {
            tank.members[other].disk().wipe();
        }
    });
}

#[test]
fn what_was_held_before_damage_counts_by_its_bytes() {
    let (mut tank, leader) = settled();
    let committed = tank.oracle.committed() as i64;
    let bytes = tank.oracle.log[committed as usize - 64..].to_vec();
    for id in 0..tank.members.len() {
        tank.members[id].disk().wipe();
    }
    let check = |tank: &Tank| check_commit(&tank.members, &tank.damage_map, committed - 64, &bytes);
    assert!(check(&tank).is_err());
    let log = tank.oracle.log.clone();
    let other = (leader + 1) % tank.members.len();
    let mut odd = log.clone();
    odd[committed as usize - 1] ^= 1;
    for (id, held) in [(leader, log), (other, odd)] {
        let held = |rotten: &[LogRange]| Held::new(held, rotten);
        tank.damage_map.demote(id, held);
    }
    assert_eq!(check(&tank).unwrap_err().rule, Rule::C1);
    let log = tank.oracle.log.clone();
    let third = (leader + 2) % tank.members.len();
    tank.damage_map
        .demote(third, |rotten| Held::new(log, rotten));
    assert_eq!(check(&tank), Ok(()));
}

#[test]
fn two_leaders_of_a_term_are_found() {
    expect_broken(Rule::E1, true, |tank, id| {
        let term = tank.members[id].term();
        tank.oracle.leaders.insert(term, id + 1);
    });
}

#[test]
fn a_leader_without_votes_is_found() {
    expect_broken(Rule::E1, true, |tank, _| {
        tank.oracle.leaders.clear();
        tank.oracle.votes = Votes::new(tank.members.len());
        for member in &mut tank.members {
            member.disk().wipe();
        }
    });
}

#[test]
fn a_leader_that_lacks_what_is_committed_is_found_also_when_it_learns_late_that_it_leads() {
    let lengthen = |tank: &mut Tank| {
        tank.oracle.leaders.clear();
        let end = tank.oracle.log.len() + 320;
        tank.oracle.log.resize(end, 0);
        end as i64
    };
    expect_broken(Rule::L3, true, |tank, _| {
        lengthen(tank);
    });
    expect_broken(Rule::L3, true, |tank, id| {
        let (term, end) = (tank.members[id].term(), lengthen(tank));
        tank.oracle.leaders.insert(term.next(), id + 1);
        tank.oracle.committed_in.insert(term.previous(), end);
    });
    // What a later term committed it need not have.
    let (mut tank, leader) = settled();
    let term = tank.members[leader].term();
    lengthen(&mut tank);
    tank.oracle.leaders.insert(term.next(), leader + 1);
    assert_eq!(look(&mut tank, leader), Ok(()));
}

#[test]
fn a_directory_that_counts_although_it_must_not_is_found() {
    expect_broken(Rule::Learners, false, |tank, id| {
        tank.damage_map
            .demote(id, |rotten| Held::new(Vec::new(), rotten));
    });
}

#[test]
fn a_disk_without_what_its_member_calls_durable_is_found() {
    let (tank, leader) = settled();
    let member = &tank.members[leader];
    assert_eq!(tank.oracle.audit_disk(member, true), Ok(()));
    let (name, offset, _) = member.place_of(100);
    assert!(member.disk().flip_bit(&name, offset, 0));
    let broken = tank.oracle.audit_disk(member, true).unwrap_err();
    assert_eq!(broken.rule, Rule::DiskImage);
    member.disk().lose(&name);
    let broken = tank.oracle.audit_disk(member, true).unwrap_err();
    assert_eq!(broken.rule, Rule::DiskImage);
}
