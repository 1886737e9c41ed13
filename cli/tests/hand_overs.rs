//! `lockstep transfer`, and members that are told to stop: the leadership is handed over, and the
//! client goes on.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and clocks"
)]

mod binary;
mod trio;

use std::path::Path;
use std::process::Command;

use binary::{lockstep, stderr, stdout};
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::settings::config::SyncMode;
use trio::Trio;

/// Asks the node of `id` to hand over. Returns what is printed, and whether it was good.
fn transfer(trio: &Trio, id: usize, to: &[&str]) -> (bool, String) {
    let arguments = [&["transfer", "--dir", "."], to].concat();
    let output = lockstep(&trio.directory(id), &arguments);
    let words = format!("{}{}", stdout(&output), stderr(&output));
    (output.status.success(), words)
}

fn tell_to_stop(trio: &mut Trio, id: usize) {
    let process = trio.members[id].counter(Counter::ProcessId).to_string();
    let status = Command::new("kill").args(["-TERM", &process]).status();
    assert!(status.expect("kill can be started").success());
}

#[test]
fn a_leader_that_is_asked_hands_over_to_whom_was_named_and_says_so() {
    let (mut trio, [leader, next, other]) = Trio::new(SyncMode::Data);
    trio.answer(5);
    let (is_good, words) = transfer(&trio, leader, &["--to", &next.to_string()]);
    assert!(is_good, "{words}");
    assert!(
        words.starts_with(&format!("member {next} leads now, in term ")),
        "{words}"
    );
    trio.answer(5);
    assert_eq!(trio.await_leader(), next);
    // To anybody.
    let (is_good, words) = transfer(&trio, next, &[]);
    assert!(is_good, "{words}");
    trio.answer(5);
    assert_ne!(trio.await_leader(), next);
    let said = trio.said(leader);
    assert!(said.contains(&format!("over to member {next}")), "{said}");
    let _ = other;
}

#[test]
fn who_cannot_hand_over_says_why() {
    let (mut trio, [leader, follower, lost]) = Trio::new(SyncMode::Data);
    trio.answer(1);
    let leads = leader.to_string();
    let missing = lost.to_string();
    trio.kill(lost);
    trio.await_words(leader, &format!("member {lost} at "));
    for (asked, to, part) in [
        (
            follower,
            None,
            format!("does not lead: ask member {leader}"),
        ),
        (leader, Some(leads.as_str()), "leads already".to_owned()),
        (
            leader,
            Some("3"),
            "there is no member 3: members are numbered from 0 to 2".to_owned(),
        ),
        (
            leader,
            Some(missing.as_str()),
            format!("member {lost} cannot lead now"),
        ),
    ] {
        let to: Vec<&str> = to.map_or_else(Vec::new, |to| vec!["--to", to]);
        let (is_good, words) = transfer(&trio, asked, &to);
        assert!(!is_good && words.contains(&part), "{words}");
    }
    let nobody = tempfile::tempdir().expect("a directory can be made");
    let output = lockstep(Path::new(nobody.path()), &["transfer", "--dir", "."]);
    assert!(stderr(&output).contains("no node answers at"), "{output:?}");
    assert_eq!(trio.await_leader(), leader);
    trio.answer(1);
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_and_ends_well() {
    let (mut trio, [leader, ..]) = Trio::new(SyncMode::Data);
    trio.answer(5);
    tell_to_stop(&mut trio, leader);
    trio.answer(5);
    trio.await_that("its end", |trio| trio.members[leader].ended().is_some());
    let ended = trio.members[leader].ended().unwrap_or_default();
    assert!(ended.starts_with("exit status: 0"), "{ended}");
    let said = trio.said(leader);
    assert!(said.contains("hands its leadership of term"), "{said}");
    // No election was missed: nobody says that there is no leader.
    trio.answer(5);
    trio.restart(leader);
    trio.answer(5);
}
