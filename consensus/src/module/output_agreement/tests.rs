//! Agreement about output, message by message.

use super::history::HISTORY_MAX;
use super::*;

fn agreement(own: MemberId) -> OutputAgreement {
    OutputAgreement::new(own, 3, 500 * MILLISECOND)
}

fn at(position: Position, hash: u64) -> OutputAt {
    OutputAt { position, hash }
}

fn answer(cause: Position, hash: u64) -> OutputMessage {
    OutputMessage::Answer {
        cause,
        response: 0,
        hash: Some(hash),
        matches: None,
    }
}

#[test]
fn answers_leave_when_a_majority_has_executed_their_cause_alike() {
    let mut leader = agreement(0);
    leader.on_report(0, 1, at(0, 0));
    leader.record(0, at(64, 7));
    assert!(
        !leader.may_deliver(1, 64),
        "member 1 keeps up and is waited for"
    );
    leader.on_report(1, 1, at(64, 7));
    assert!(leader.may_deliver(1, 64));
    assert_eq!(leader.unverified(), 0);
}

#[test]
fn a_follower_that_is_not_heard_is_not_waited_for_and_that_is_counted() {
    let mut leader = agreement(0);
    leader.on_report(0, 1, at(0, 0));
    leader.record(0, at(64, 7));
    assert!(!leader.may_deliver(1, 64));
    assert!(leader.may_deliver(501 * MILLISECOND, 64));
    assert_eq!(leader.unverified(), 1);
}

#[test]
fn a_leader_that_one_follower_contradicts_holds_until_the_other_has_answered() {
    for (other, verdict) in [
        (7, Verdict::Majority),
        (8, Verdict::Minority),
        (9, Verdict::NoMajority),
    ] {
        let mut leader = agreement(0);
        leader.record(0, at(64, 7));
        leader.on_report(1, 1, at(64, 8));
        assert!(!leader.may_deliver(1, 64));
        assert_eq!(leader.verdict(), Some(Verdict::Undecided));
        leader.on_answer(1, 1, &answer(64, 8));
        assert_eq!(leader.verdict(), Some(Verdict::Undecided));
        leader.on_answer(1, 2, &answer(64, other));
        assert_eq!(leader.verdict(), Some(verdict), "member 2 says {other}");
    }
}

#[test]
fn a_follower_ahead_is_compared_when_its_entry_is_executed_here() {
    let mut leader = agreement(0);
    leader.on_report(0, 1, at(128, 9));
    leader.record(0, at(64, 7));
    assert!(!leader.is_asking());
    leader.record(0, at(128, 8));
    assert!(leader.is_asking());
}

#[test]
fn a_follower_further_ahead_is_asked_for_what_the_leader_waits_for() {
    let mut leader = agreement(0);
    leader.on_report(0, 1, at(0, 0));
    leader.record(0, at(64, 7));
    assert!(!leader.may_deliver(1, 64));
    let output = at(64, 7);
    let asked = leader.on_report(1, 1, at(128, 9));
    assert_eq!(
        asked,
        Some(OutputMessage::Question {
            output,
            response: 0
        })
    );
    leader.on_answer(2, 1, &answer(64, 7));
    assert!(leader.may_deliver(2, 64));
}

#[test]
fn a_member_that_others_outvoted_is_asked_and_so_finds_out() {
    let mut leader = agreement(0);
    leader.record(0, at(64, 7));
    leader.on_report(1, 2, at(64, 8));
    leader.on_answer(1, 1, &answer(64, 7));
    leader.on_answer(1, 2, &answer(64, 8));
    assert_eq!(leader.verdict(), Some(Verdict::Majority));
    leader.close_question();
    assert_eq!(leader.outvoted(), 0b100);
    let asked = leader.on_report(2, 2, at(64, 8));
    let output = at(64, 7);
    assert_eq!(
        asked,
        Some(OutputMessage::Question {
            output,
            response: 0
        })
    );
    assert!(!leader.is_asking(), "it is settled here");
    let mut follower = agreement(2);
    follower.record(0, at(64, 8));
    follower.on_question(output);
    assert!(follower.is_asking());
}

#[test]
fn whoever_holds_at_a_response_that_a_majority_took_is_in_the_minority() {
    let mut follower = agreement(2);
    follower.record(0, at(64, 8));
    follower.hold(64, 128);
    for from in [0, 1] {
        let matched = OutputMessage::Answer {
            cause: 64,
            response: 128,
            hash: None,
            matches: Some(true),
        };
        follower.on_answer(1, from, &matched);
    }
    assert_eq!(follower.verdict(), Some(Verdict::Minority));
}

#[test]
fn an_answer_to_another_question_counts_for_nothing() {
    let mut follower = agreement(2);
    follower.record(0, at(64, 8));
    follower.hold(64, 128);
    follower.on_answer(1, 0, &answer(64, 8));
    follower.on_answer(1, 1, &answer(32, 8));
    follower.on_answer(1, 2, &answer(64, 8));
    follower.on_answer(1, 7, &answer(64, 8));
    assert_eq!(follower.verdict(), Some(Verdict::Undecided));
}

#[test]
fn a_hash_is_remembered_for_as_many_entries_as_there_is_room_for() {
    let mut own = agreement(0);
    for index in 1..=2 * HISTORY_MAX as Position {
        own.record(0, at(index * 32, index as u64));
    }
    assert_eq!(own.hash_at(0), Some(0));
    assert_eq!(own.hash_at(32), None);
    assert_eq!(own.hash_at(HISTORY_MAX as Position * 32), None);
    let first = HISTORY_MAX as Position + 1;
    assert_eq!(own.hash_at(first * 32), Some(first as u64));
    assert_eq!(own.hash_at(first * 32 + 32), Some(first as u64 + 1));
}

#[test]
fn a_member_in_the_minority_finds_the_first_entry_it_answered_otherwise() {
    for first in 1..=20 {
        let mut own = agreement(0);
        for index in 1..=20 {
            let hash = index as u64 + 1_000 * u64::from(index >= first);
            own.record(0, at(index * 32, hash));
        }
        own.on_report(0, 1, at(20 * 32, 20));
        let mut found = None;
        for _ in 0..10 {
            let Some(OutputMessage::Question { output, .. }) = own.poll_question(0) else {
                panic!("a question is asked");
            };
            let others = output.position as u64 / 32;
            own.on_answer(1, 1, &answer(output.position, others));
            own.on_answer(1, 2, &answer(output.position, others));
            found = own.narrow(0);
            if found.is_some() {
                break;
            }
        }
        assert_eq!(found, Some((first * 32, (first - 1) * 32)));
    }
}

#[test]
fn a_member_that_begins_at_a_snapshot_reports_and_compares_as_one_that_executed_the_log() {
    let mut leader = agreement(0);
    for position in [32, 64, 96] {
        leader.record(0, at(position, position as u64));
    }
    let mut follower = agreement(1);
    follower.begin_at(&leader.remembered(None).collect::<Vec<_>>());
    assert!(follower.report_deadline().is_some(), "nobody was told");
    let report = follower.report();
    assert_eq!((report, follower.report_deadline()), (at(96, 96), None));
    follower.tell_again();
    assert!(follower.report_deadline().is_some(), "it left without");
    assert_eq!(leader.on_report(1, 1, report), None);
    assert!(leader.may_deliver(1, 96) && !leader.is_asking());
    // What was executed before the snapshot is not remembered, and no reason to differ.
    assert_eq!(follower.hash_at(64), None);
    follower.on_question(at(64, 9));
    assert!(!follower.is_asking());
    follower.on_question(at(96, 9));
    assert!(follower.is_asking());
    follower.record(2, at(128, 5));
    assert_eq!(follower.newest(), at(128, 5));
    let mut blank = agreement(2);
    blank.begin_at(&[]);
    assert_eq!(blank.report_deadline(), None);
}

#[test]
fn what_a_snapshot_remembers_reaches_back_to_the_oldest_entry_that_waits() {
    let mut own = agreement(0);
    for position in [32, 96, 160] {
        own.record(0, at(position, position as u64));
    }
    let positions = |waiting| own.remembered(waiting).map(|output| output.position);
    assert!(positions(None).eq([160]));
    assert!(positions(Some(160)).eq([160]));
    assert!(positions(Some(96)).eq([96, 160]));
    assert!(positions(Some(32)).eq([32, 96, 160]));
    assert!(agreement(1).remembered(Some(32)).eq([]));
}
