//! The words of scenarios: the example of `docs/simulator.md`, what a vain expectation says, and
//! that the watch sees what no scenario asks for.
#![cfg(feature = "sim")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use lockstep_client::session::CloseReason;
use lockstep_consensus::membership::Standing;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, StartEnd};
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

#[test]
fn of_five_one_rots_one_is_emptied_one_is_cut_off_and_nothing_is_lost() {
    let mut cluster = Scenario::echo().members(5).led_by(0);
    cluster.answer(50);
    let committed = cluster.committed();
    cluster.run(SECOND);
    cluster.member(3).kill().rot(1_000).start();
    cluster.member(4).kill().wipe().start();
    cluster.cut(0, 1);
    cluster.run(3 * SECOND);
    cluster.member(3).expect_told(NodeNotice::LogRepaired);
    cluster.member(4).expect_standing(Standing::Learner);
    cluster.answer(10);
    cluster.heal();
    cluster.run(2 * SECOND);
    cluster.everybody().expect_up().expect_kept(committed);
    cluster.expect_equal_logs();
}

#[test]
fn the_example_in_the_document_is_the_scenario_above() {
    let document = include_str!("../../docs/simulator.md");
    let (_, after) = document.split_once("```rust\n").expect("an example");
    let (example, _) = after.split_once("```").expect("its end");
    assert!(example.contains("#[test]"));
    assert!(include_str!("scenario_vocabulary.rs").contains(example));
}

/// What a scenario that fails says.
fn words(scenario: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(scenario)).expect_err("it fails");
    *panic.downcast::<String>().expect("words")
}

fn expect_words(parts: &[&str], scenario: impl FnOnce()) {
    let words = words(scenario);
    for part in parts {
        assert!(words.contains(part), "{part:?} is missing in {words}");
    }
}

#[test]
fn a_vain_expectation_says_what_it_found_how_everybody_is_and_what_was_done() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    cluster.member(2).kill();
    let parts = [
        "member 1 should lead, found Some(0)",
        "member 0 Voter Leader of term ",
        "member 2 is down",
        "3 requests",
        " ms: member 2 is killed",
    ];
    expect_words(&parts, || cluster.expect_leader(1));
    expect_words(&["nobody should lead, found member 0"], || {
        cluster.expect_no_leader();
    });
    expect_words(&["should be Learner, found Voter"], || {
        cluster.member(1).expect_standing(Standing::Learner);
    });
    expect_words(&["member 0 should have told LogFull"], || {
        cluster.member(0).expect_told(NodeNotice::LogFull);
    });
    let far = cluster.committed() + 32;
    expect_words(&["should have committed", ", found "], || {
        cluster.members(&[0, 1]).expect_commit(far);
    });
    expect_words(&["member 2 should be up, found it down"], || {
        cluster.everybody().expect_up();
    });
    expect_words(&["should refuse with \"x\", found None"], || {
        cluster.member(2).expect_refused("x");
    });
    expect_words(&["client 0 should have [(1, \"a\")], found ["], || {
        cluster.expect_answers(0, &[(1, b"a")]);
    });
}

#[test]
fn logs_that_are_not_equal_or_not_kept_are_found() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
    let committed = cluster.committed();
    cluster.everybody().expect_kept(committed);
    cluster.member(1).rot(100);
    expect_words(&["the logs of members 0 and 1 differ"], || {
        cluster.expect_equal_logs();
    });
    expect_words(
        &["member 1 should have kept the log, differs at 100"],
        || {
            cluster.everybody().expect_kept(committed);
        },
    );
    cluster.member(2).isolate();
    cluster.answer(3);
    expect_words(&["logs should be equal, found ["], || {
        cluster.expect_equal_logs();
    });
    let committed = cluster.committed();
    expect_words(&["member 2 should have kept "], || {
        cluster.member(2).expect_kept(committed);
    });
    cluster.members(&[0, 1]).kill();
    expect_words(&["of two members at least, found [2] up"], || {
        cluster.expect_equal_logs();
    });
}

/// Answers each message so often.
struct Often(usize);

impl ClusteredService for Often {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        for _ in 0..self.0 {
            cluster.respond(from, bytes).expect("a short answer");
        }
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

#[test]
fn answers_that_are_missing_doubled_or_to_another_request_are_found() {
    let mut cluster = Scenario::of(|_| Often(2)).led_by(0);
    let part = "requests [1, 2] should be answered once each, found [1, 1";
    expect_words(&[part], || cluster.answer(2));
    let mut cluster = Scenario::of(|_| Often(0)).led_by(0);
    let part = "requests [1] should be answered once each, found []";
    expect_words(&[part], || cluster.answer(1));
    let part = "it should be so within 10000 ms";
    expect_words(&[part], || drop(cluster.ask(0, b"two")));
    let mut cluster = Scenario::echo().led_by(0);
    cluster.offer(0, b"one");
    let part = "client 0 should be answered to request 2, found \"one\" to 1";
    expect_words(&[part], || drop(cluster.ask(0, b"two")));
    cluster.run(SECOND);
    cluster.expect_answers(0, &[(1, b"one"), (2, b"two")]);
    expect_words(&["client 0 should have [(2, \"one\")"], || {
        cluster.expect_answers(0, &[(2, b"one"), (3, b"two")]);
    });
}

#[test]
fn a_torn_frame_behind_the_end_of_the_log_is_cut_and_costs_nothing() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(20);
    cluster.run(SECOND);
    let end = cluster.durable(1) as usize;
    let behind = |cluster: &SimCluster<Echo>| {
        let log = cluster.disk(1).contents("0-0.rec").expect("a log");
        log[end..end + 64].to_vec()
    };
    cluster.member(1).lose_power().tear_tail();
    assert_ne!(behind(&cluster), [0; 64], "nothing was torn");
    cluster.member(1).start().expect_damaged(false);
    assert_eq!(behind(&cluster), [0; 64], "it was not cut");
    cluster.run(SECOND);
    cluster.member(1).expect_standing(Standing::Voter);
    cluster.member(1).expect_not_told(NodeNotice::LogDamaged);
    cluster.expect_equal_logs();
}

#[test]
fn a_segment_that_is_gone_is_filled_again() {
    let mut cluster = Scenario::echo().led_by(0);
    for _ in 0..150 {
        cluster.offer(0, &[7; 1_000]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    let committed = cluster.committed();
    assert!(committed > 256 * 1024);
    cluster.member(2).kill().lose_segment(150_000).start();
    cluster.member(2).expect_damaged(true);
    cluster.run(3 * SECOND);
    cluster.member(2).expect_told(NodeNotice::LogRepaired);
    cluster.everybody().expect_kept(committed);
}

#[test]
fn a_disk_that_fails_to_write_stops_its_member_alone() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.member(1).fail_writes(1);
    cluster.answer(3);
    cluster.run(SECOND);
    cluster.member(1).expect_stopped("failed");
    cluster.members(&[0, 2]).expect_up();
    cluster.member(1).restart();
    cluster.run(SECOND);
    cluster.everybody().expect_up();
    cluster.expect_equal_logs();
}

#[test]
fn a_leader_that_is_paused_is_replaced_and_follows_when_it_goes_on() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.member(0).pause(5 * SECOND);
    cluster.run(4 * SECOND);
    let leaders = [1, 2].map(|id| cluster.node(id).parts().leadership.is_open());
    assert!(leaders[0] != leaders[1], "{leaders:?}");
    cluster.run(3 * SECOND);
    assert_ne!(cluster.expect_some_leader(), 0);
    cluster.answer(3);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
}

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
    let words = words(|| drop(cluster.member(1).try_start()));
    assert!(words.contains("A2 lost is known to be lost: member 1 had "));
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
fn what_is_done_to_members_that_are_down_is_refused_of_one_that_is_up() {
    let mut cluster = Scenario::echo().led_by(0);
    let state = cluster.old_state(1);
    let mut refused = |name: &str, verb: &dyn Fn(&mut SimCluster<Echo>)| {
        let part = format!("member 1 {name}, and has to be down for that");
        expect_words(&[&part], || verb(&mut cluster));
    };
    refused("starts", &|cluster| {
        cluster.member(1).start();
    });
    refused("is to start", &|cluster| {
        drop(cluster.member(1).try_start())
    });
    refused("starts and ends in operation 3: Kill", &|cluster| {
        cluster.member(1).start_in_vain(StartEnd::Kill, 3);
    });
    refused("has its directory emptied", &|cluster| {
        cluster.member(1).wipe();
    });
    refused("has its directory copied", &|cluster| {
        cluster.member(1).copy_onto_itself();
    });
    refused("has an old state put back", &|cluster| {
        cluster.member(1).put_back(&state);
    });
    refused("has an old state put back", &|cluster| cluster.swap(1, 2));
    refused("loses ack-mark.dat", &|cluster| {
        cluster.member(1).lose("ack-mark.dat");
    });
    refused("loses the segment of its log at 0", &|cluster| {
        cluster.member(1).lose_segment(0);
    });
    // None of it was done.
    cluster.answer(3);
    cluster.run(SECOND);
    cluster.everybody().expect_up();
    cluster.expect_equal_logs();
}

#[test]
fn a_member_that_is_told_to_stop_takes_the_time_that_its_disk_takes() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    cluster.offer(0, b"under way");
    cluster.run(MILLISECOND);
    cluster.member(1).stall_disk(20 * MILLISECOND);
    cluster.offer(0, b"stalled");
    cluster.run(MILLISECOND);
    let begun = cluster.now;
    cluster.member(1).stop();
    let took = cluster.now - begun;
    assert!((18..22).contains(&(took / MILLISECOND)), "{took} ns");
    // The others have gone on.
    assert_eq!(cluster.answers(0).last(), Some(&b"stalled".as_slice()));
    let words = "member 1 is stopped, and has to be up for that";
    expect_words(&[words], || {
        cluster.member(1).stop();
    });
    let words = "member 1 is paused, and has to be up for that";
    expect_words(&[words], || {
        cluster.member(1).pause(SECOND);
    });
    cluster.member(2).pause(SECOND);
    expect_words(&["member 2 should have stopped, found Ok(Waiting)"], || {
        cluster.member(2).stop();
    });
}

#[test]
fn a_process_that_was_paused_and_killed_is_followed_by_one_that_is_not() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.member(1).pause(60 * SECOND).restart();
    cluster.member(2).kill();
    cluster.answer(3);
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
    // One that is overlooked is nobody's lack, and the other one is.
    cluster.disk(1).wipe();
    assert_eq!(cluster.ask(client, b"more"), b"more");
    let other = 2 - cluster.expect_some_leader();
    cluster.disk(other).wipe();
    assert_eq!(cluster.ask(client, b"more"), b"more");
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

#[test]
fn what_is_expected_of_clients_in_vain_is_told() {
    let mut cluster = Scenario::echo().led_by(0);
    expect_words(
        &["client 0 should be closed: Some(Fenced), found None"],
        || {
            cluster.expect_closed(0, Some(CloseReason::Fenced));
        },
    );
    let stranger = cluster.join(|config| config.cluster_id = 1);
    cluster.run(SECOND);
    let words = format!("client {stranger} should be closed: None, found Some(Rejected)");
    expect_words(&[&words], || cluster.expect_closed(stranger, None));
    expect_words(&["the offer is refused: "], || {
        cluster.offer(0, &[0; 1 << 20]);
    });
    cluster.everybody().kill();
    expect_words(&["client 2 should be connected"], || {
        cluster.connect(|_| {});
    });
    expect_words(&["client 2 should have its offer taken"], || {
        cluster.offer(2, b"more");
    });
    expect_words(&["somebody should lead"], || {
        cluster.expect_some_leader();
    });
}

#[test]
fn what_is_expected_of_running_members_in_vain_is_told() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    cluster.member(1).kill().rot_slot("ack-mark.dat", 0).start();
    cluster.run(SECOND);
    expect_words(&["should not have told SlotSpoiled, found 1 times"], || {
        cluster.member(1).expect_not_told(NodeNotice::SlotSpoiled);
    });
    let words = [
        "member 1 should say \"two of the",
        "found [\"one of the two slots of ",
    ];
    expect_words(&words, || {
        let mut member = cluster.member(1);
        member.expect_line(NodeNotice::SlotSpoiled, "two of the");
    });
    // It has been taken by that.
    let words = "member 1 should say \"one of the\" once, found []";
    expect_words(&[words], || {
        let mut member = cluster.member(1);
        member.expect_line(NodeNotice::SlotSpoiled, "one of the");
    });
    let far = cluster.durable(1) + 32;
    expect_words(&["should have marked ", ", found "], || {
        cluster.member(1).expect_marked(far);
    });
    expect_words(&["should know of damage: true, found false"], || {
        cluster.member(1).expect_damaged(true);
    });
    expect_words(&["should have stopped with \"x\", found None"], || {
        cluster.member(1).expect_stopped("x");
    });
    cluster.member(2).kill().rot(100).start();
    expect_words(&["should know of damage: false, found true"], || {
        cluster.member(2).expect_damaged(false);
    });
    cluster.member(1).fail_writes(1);
    cluster.offer(0, b"more");
    cluster.run(SECOND);
    expect_words(&["member 1 should be up, has stopped: "], || {
        cluster.everybody().expect_up();
    });
    expect_words(&["should have stopped with \"x\", found Some(\""], || {
        cluster.member(1).expect_stopped("x");
    });
}

#[test]
fn what_is_expected_of_directories_in_vain_is_told() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    cluster.run(SECOND);
    let committed = cluster.committed();
    cluster.member(1).kill();
    expect_words(&["member 1 is down"], || {
        cluster.member(1).expect_kept(committed);
    });
    expect_words(&["member 1 should have a log at 1000000"], || {
        cluster.member(1).rot(1_000_000);
    });
    expect_words(&["member 1 should have a file other.dat"], || {
        cluster.member(1).rot_slot("other.dat", 0);
    });
    expect_words(&["member 1 should have a file other.dat"], || {
        cluster.member(1).rot_file("other.dat");
    });
    expect_words(&["member 0 should be down, and have a log"], || {
        cluster.member(0).tear_tail();
    });
    cluster.member(1).lose("identity.dat");
    let words = "member 1 should start: ";
    expect_words(&[words, "keep the directory as it is"], || {
        cluster.member(1).start();
    });
    expect_words(&["should refuse with \"x\", found Some(\""], || {
        cluster.member(1).expect_refused("x");
    });
    expect_words(&["member 1: ", "keep the directory as it is"], || {
        cluster.member(1).start_in_vain(StartEnd::Kill, 1_000);
    });
    cluster.disk(2).lose("0-0.rec");
    expect_words(&["member 2 lacks a segment"], || {
        cluster.member(2).expect_kept(committed);
    });
    cluster.member(1).wipe();
    expect_words(&["member 1 should be down, and have a log"], || {
        cluster.member(1).tear_tail();
    });
}

#[test]
fn a_leader_that_cannot_be_elected_and_a_member_that_is_not_there_are_told() {
    let mut cluster = Scenario::echo().all_down();
    expect_words(&["[3] of 3"], || drop(cluster.member(3).try_start()));
    // They have to hear each other once, to form a cluster.
    cluster.cut(0, 1);
    expect_words(&["member 0 should be elected"], || {
        cluster.start_led_by(0);
    });
}
