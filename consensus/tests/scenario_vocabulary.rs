//! The words of scenarios: the example of `docs/simulator.md`, what verbs do and refuse, and what a
//! vain expectation says.
#![cfg(feature = "sim")]

mod vain;

use lockstep_client::session::CloseReason;
use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, StartEnd};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};

use vain::expect_words;

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
    let leaders = [1, 2].map(|id| cluster.node(id).agents().consensus.leadership.is_open());
    assert!(leaders[0] != leaders[1], "{leaders:?}");
    cluster.run(3 * SECOND);
    assert_ne!(cluster.expect_some_leader(), 0);
    cluster.answer(3);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
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
