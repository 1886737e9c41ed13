//! What the watch of scenarios sees although no scenario asks for it, and what it excuses.
#![cfg(feature = "sim")]

mod vain;

use std::cell::Cell;
use std::rc::Rc;

use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use vain::expect_words;

/// Its state is another one on each member.
struct Forgetful(Rc<Cell<u64>>);

impl ClusteredService for Forgetful {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        cluster.respond(from, bytes).expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

#[test]
fn a_service_whose_states_differ_after_equal_logs_is_named() {
    let count = Rc::default();
    let parts = ["oracle 6 equal states: members ", "their states differ"];
    expect_words(&parts, move || {
        let service = move |_| Forgetful(Rc::clone(&count));
        drop(Scenario::of(service).led_by(0));
    });
}

#[test]
fn what_a_majority_lost_behind_the_watchs_back_is_seen_missing() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(5);
    let old = [1, 2].map(|id| cluster.disk(id).backup());
    cluster.answer(50);
    cluster.run(SECOND);
    cluster.everybody().kill();
    cluster.disk(1).restore_in_place(&old[0]);
    expect_words(&["A2 lost is known to be lost: member 1 had "], || {
        drop(cluster.member(1).try_start());
    });
    // Where each of them is excused for it, the leader that lacks it is not.
    cluster.member(1).kill();
    cluster.disk(2).restore_in_place(&old[1]);
    for id in [1, 2] {
        let excused = cluster.old_state(id);
        cluster.member(id).put_back(&excused).start();
    }
    expect_words(&["L3 leader complete: leader "], || cluster.run(5 * SECOND));
}

#[test]
fn a_commit_that_is_on_no_majoritys_disks_is_seen() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    // Their files are gone, and they write on.
    cluster.disk(1).wipe();
    cluster.disk(2).wipe();
    let parts = ["C1 durable quorum: ", "of 3 members only [0] hold "];
    expect_words(&parts, || cluster.answer(3));
}

#[test]
fn a_commit_is_not_on_the_disk_of_who_had_something_else_there_when_it_ended() {
    let mut cluster = Scenario::echo().clients(2).led_by(1);
    cluster.answer(3);
    cluster.run(SECOND);
    cluster.member(1).isolate();
    for number in 0..20 {
        cluster.offer(0, &[number; 100]);
    }
    cluster.run(10 * MILLISECOND);
    let other_end = cluster.durable(1);
    cluster.member(1).kill();
    cluster.kill_client(0);
    cluster.run(4 * SECOND);
    let leader = cluster.expect_some_leader();
    assert!(cluster.committed() + 500 < other_end);
    // The third one's files are gone, and it writes on.
    cluster.disk(2 - leader).wipe();
    let only = format!("of 3 members only [{leader}] hold ");
    expect_words(&["C1 durable quorum: ", &only], || {
        drop(cluster.ask(1, b"one"));
    });
}

#[test]
fn rot_excuses_a_member_for_what_rotted_and_until_it_is_repaired() {
    // It does not know of it, and is looked at for all else.
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(50);
    cluster.run(SECOND);
    cluster.member(1).rot(1_000);
    for id in [1, 2] {
        cluster.disk(id).wipe();
    }
    let parts = ["C1 durable quorum: ", "of 3 members only [0] hold "];
    expect_words(&parts, || cluster.answer(3));
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(50);
    cluster.run(SECOND);
    cluster.member(0).kill().rot(1_000).start();
    cluster.run(3 * SECOND);
    cluster.member(0).expect_told(NodeNotice::LogRepaired);
    expect_stop_without_cause(cluster);
}

/// Member 0 has a tail that nobody has, and when it is to cut that, its log is found to have
/// rotted: nothing that the watch knows of has made it.
fn expect_stop_without_cause(mut cluster: SimCluster<Echo>) {
    // It leads again, where it does not.
    for _ in 0..10 {
        let leader = cluster.expect_some_leader();
        if leader == 0 {
            break;
        }
        cluster.member(leader).isolate();
        cluster.run(3 * SECOND);
        cluster.heal();
        cluster.run(SECOND);
    }
    cluster.expect_leader(0);
    cluster.answer(5);
    cluster.run(SECOND);
    let shared = cluster.committed() as usize;
    cluster.member(0).isolate();
    for number in 0..20 {
        cluster.offer(0, &[number; 100]);
    }
    cluster.run(5 * SECOND);
    cluster.heal();
    assert!(cluster.disk(0).flip_bit("0-0.rec", shared - 100, 1));
    let parts = ["no halt without cause: member 0 stopped: 0-0.rec is damaged"];
    expect_words(&parts, || cluster.run(5 * SECOND));
}

/// Takes so long for each message.
struct Slow(Nanos);

impl ClusteredService for Slow {
    fn on_session_message(&mut self, _: &mut Cluster<'_>, _: ClientSession, _: &[u8]) {
        service_time::spend(self.0);
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

/// Does not survive a message of one byte.
struct Fragile;

impl ClusteredService for Fragile {
    fn on_session_message(&mut self, _: &mut Cluster<'_>, _: ClientSession, bytes: &[u8]) {
        assert!(bytes.len() > 1, "too short");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

#[test]
fn a_member_that_stops_for_its_service_has_cause_only_in_a_scenario_that_says_so() {
    let poisoned = |scenario: Scenario<Fragile>| {
        let mut cluster = scenario.led_by(0);
        cluster.offer(0, b"!");
        cluster.run(SECOND);
        cluster
    };
    let scenario = || Scenario::of(|_| Fragile);
    expect_words(&["no halt without cause: member ", "too short"], || {
        drop(poisoned(scenario()));
    });
    let mut cluster = poisoned(scenario().faulty_service());
    cluster.member(0).expect_stopped("too short");
}

#[test]
fn a_history_is_lost_while_all_are_down_and_nothing_else_is_forgotten_with_it() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(5);
    let part = "member 0 loses what was committed, and has to be down for that";
    expect_words(&[part], || cluster.lose_history());
    cluster.member(1).overlook();
    cluster.everybody().kill();
    cluster.lose_history();
    cluster.everybody().start();
    let client = cluster.connect(|_| {});
    // One that is overlooked is nobody's lack, and with one of the others it is a majority.
    let leader = cluster.expect_some_leader();
    assert_ne!(leader, 1);
    for id in [1, 2 - leader] {
        cluster.disk(id).wipe();
        assert_eq!(cluster.ask(client, b"more"), b"more");
    }
    cluster.disk(leader).wipe();
    let parts = ["C1 durable quorum: ", "of 3 members only [1] hold "];
    expect_words(&parts, || drop(cluster.ask(client, b"more")));
}

#[test]
fn two_leaders_of_one_term_are_seen() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    cluster.run(SECOND);
    cluster.member(0).kill();
    let before = [1, 2].map(|id| cluster.old_state(id));
    cluster.run_until(5 * SECOND, |cluster| cluster.leader().is_some());
    let first = cluster.expect_some_leader();
    // Their votes are forgotten, and the other one is the first that stands.
    cluster.members(&[1, 2]).kill();
    cluster.member(1).put_back(&before[0]);
    cluster.member(2).put_back(&before[1]);
    cluster.member(3 - first).start();
    cluster.run(500 * MILLISECOND);
    cluster.member(first).start();
    let words = format!("E1 one leader per term: members {first} and {} ", 3 - first);
    expect_words(&[&words, "both lead term "], || cluster.run(5 * SECOND));
}

#[test]
fn a_log_that_is_not_what_was_committed_is_seen() {
    let ran = |request: &[u8]| {
        let mut cluster = Scenario::echo().led_by(0);
        cluster.ask(0, request);
        cluster.run(SECOND);
        cluster
    };
    let (mut cluster, mut other) = (ran(b"one"), ran(b"two"));
    // It knows of no commit yet, and its place is taken by one who knows of another.
    cluster.member(1).restart();
    std::mem::swap(cluster.node_mut(1), other.node_mut(1));
    let words = "oracle 1 one log: member 1 differs from the committed log at ";
    expect_words(&[words], || cluster.run(MILLISECOND));
}

#[test]
fn a_log_of_which_a_segment_is_missing_is_seen() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(10);
    cluster.run(SECOND);
    cluster.member(1).restart();
    cluster.disk(1).lose("0-0.rec");
    let words = "A1 recorded is stored: member 1 has no segment for 0";
    expect_words(&[words], || cluster.run(SECOND));
}

#[test]
fn a_commit_that_goes_back_is_seen() {
    let ran = |requests| {
        let mut cluster = Scenario::echo().led_by(0);
        cluster.answer(requests);
        cluster.run(SECOND);
        cluster
    };
    let (mut cluster, mut other) = (ran(20), ran(10));
    std::mem::swap(cluster.node_mut(1), other.node_mut(1));
    let words = "C2 commit never back: member 1 took commit ";
    expect_words(&[words], || cluster.run(MILLISECOND));
}

#[test]
fn an_execution_that_goes_back_is_seen() {
    let ran = |busy| {
        let service = move |id| Slow(if id == 1 { busy } else { 0 });
        let mut cluster = Scenario::of(service).led_by(0);
        for _ in 0..20 {
            cluster.offer(0, b"more");
        }
        cluster.run(100 * MILLISECOND);
        cluster
    };
    let (mut cluster, mut other) = (ran(0), ran(20 * MILLISECOND));
    assert_eq!(cluster.commit(1), other.commit(1));
    std::mem::swap(cluster.node_mut(1), other.node_mut(1));
    let words = "C4 applied within commit: member 1 applied ";
    expect_words(&[words], || cluster.run(100 * MILLISECOND));
}

#[test]
fn a_stop_without_cause_is_seen() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(50);
    expect_stop_without_cause(cluster);
}
