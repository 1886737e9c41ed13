//! `sync = none` with three real processes: killed, and found by a start in another run of the
//! host, as the boot id in the mark on disk says, or in the same one; or stopped cleanly. Whoever
//! may have forgotten an answered request says so within five seconds and counts for nothing.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and the clock"
)]

mod trio;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lockstep_archive::disk::Disk as _;
use lockstep_archive::files::ack_mark::AckMark;
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::files::slot_file::Opened;
use lockstep_archive::storage;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::settings::config::{IoChoice, SyncMode};
use trio::Trio;

/// What a line may take.
const LINE_WITHIN: Duration = Duration::from_secs(5);

const REQUESTS: usize = 200;

/// What a member says that may have forgotten what it acknowledged.
const FORGETFUL: &str = "because it ran with sync = none and its host went down";

/// What everybody says where no majority is left.
const MAJORITY_GONE: &str = "no majority is left of the directories";

/// From now on the files in `directory`, whose node is dead, were written in another run of the
/// host. Returns whether the run that wrote them acknowledged without syncs.
fn lose_power(directory: &Path) -> bool {
    let opened = storage::open(directory, IoChoice::Syscall, &[]);
    let (mut disk, _) = opened.expect("the node is dead");
    let found = AckMark::open(disk.files()).expect("a good disk");
    let Opened::Record(mut mark) = found else {
        panic!("{found:?}");
    };
    let record = mark.record();
    let other = record.boot_id.map(|boot_id| boot_id ^ 1);
    assert!(other.is_some(), "this host does not tell its boot id");
    let written = mark.write(
        disk.files(),
        AckRecord {
            boot_id: other,
            ..record
        },
    );
    written.expect("a good disk");
    record.is_unsynced
}

/// Waits for what a member has said since `before` bytes of its words.
fn expect_line(trio: &mut Trio, id: usize, before: usize, since: Instant, words: &str) {
    trio.await_that(words, |trio| {
        let is_late = since.elapsed() > LINE_WITHIN;
        let said = trio.said(id);
        let is_said = said[before..].contains(words);
        assert!(is_said || !is_late, "{words:?} of {id} is missing: {said}");
        is_said
    });
}

fn segments(trio: &Trio, id: usize) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(trio.directory(id)).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").path());
    let mut segments: Vec<_> = names
        .filter(|path| path.extension().is_some_and(|end| end == "rec"))
        .map(|path| {
            let bytes = std::fs::read(&path).expect("a file");
            (path.display().to_string(), bytes)
        })
        .collect();
    segments.sort();
    segments
}

/// Three members that have answered requests without a sync, and the leader's committed log.
fn answered() -> (Trio, [usize; 3], Vec<u8>) {
    let (mut trio, ids) = Trio::new(SyncMode::None);
    trio.answer(REQUESTS);
    let committed = trio.committed(ids[0]);
    (trio, ids, committed)
}

#[test]
fn after_all_hosts_lost_power_nobody_leads_and_everybody_says_what_remains() {
    let (mut trio, ids, _) = answered();
    for id in ids {
        trio.kill(id);
    }
    let mut before = [0; 3];
    let mut kept = [const { Vec::new() }; 3];
    for id in ids {
        assert!(lose_power(&trio.directory(id)), "{id} has no mark");
        before[id] = trio.said(id).len();
        kept[id] = segments(&trio, id);
    }
    let since = Instant::now();
    for id in ids {
        trio.restart(id);
    }
    for id in ids {
        // Its first line, and a line of its own.
        let start_line = "; LEARNER, which neither votes nor counts, because it ran with";
        expect_line(&mut trio, id, before[id], since, start_line);
        let line = format!("lockstep: node-{id}: is a learner: it follows the log");
        expect_line(&mut trio, id, before[id], since, &line);
        expect_line(&mut trio, id, before[id], since, FORGETFUL);
        expect_line(&mut trio, id, before[id], since, MAJORITY_GONE);
        let remedy = "\"A majority is lost for good\" in docs/operating.md";
        expect_line(&mut trio, id, before[id], since, remedy);
    }
    trio.expect_nobody_leads();
    for id in ids {
        trio.kill(id);
        assert!(segments(&trio, id) == kept[id], "the log of {id} changed");
    }
}

#[test]
fn after_all_processes_died_the_cluster_leads_and_nothing_answered_is_lost() {
    let (mut trio, ids, committed) = answered();
    for id in ids {
        trio.kill(id);
    }
    for id in ids {
        trio.restart(id);
    }
    trio.answer(5);
    trio.expect_kept(&committed, &ids);
    for id in ids {
        assert!(!trio.said(id).contains("learner:"), "{}", trio.said(id));
    }
}

#[test]
fn all_processes_killed_again_and_again_lose_nothing_and_say_what_they_took_from_memory() {
    let (mut trio, ids, _) = answered();
    for _ in 0..4 {
        trio.answer(20);
        let commits = ids.map(|id| trio.members[id].counter(Counter::Commit));
        for id in ids {
            trio.kill(id);
        }
        for id in ids {
            trio.restart(id);
        }
        // In the session that there was: a number that was lost would be refused.
        trio.answer(1);
        let leader = trio.await_leader();
        let committed = trio.committed(leader);
        assert!(Some(committed.len() as i64) > commits.into_iter().max());
        trio.expect_kept(&committed, &ids);
    }
    let words = ids.map(|id| trio.said(id)).concat();
    assert!(words.contains("sync none (log buffer in shared memory)"));
    assert!(words.contains("bytes of log from the log buffer of the process before"));
    assert!(!words.contains("LEARNER"), "{words}");
}

#[test]
fn a_member_whose_log_buffer_was_removed_after_a_kill_is_a_learner_and_says_why() {
    let (mut trio, [leader, lost, other], committed) = answered();
    trio.kill(lost);
    let link = trio.directory(lost).join("log-buffer.dat");
    let file = std::fs::read_link(&link).expect("a link to shared memory");
    std::fs::remove_file(file).expect("it was left");
    let before = trio.said(lost).len();
    let since = Instant::now();
    trio.restart(lost);
    let words = "because it ran with sync = none, was killed, and log-buffer.dat";
    expect_line(&mut trio, lost, before, since, words);
    trio.answer(5);
    trio.expect_kept(&committed, &[leader, lost, other]);
}

/// The small files of a directory, which tell its state.
fn state(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let names = ["node-state.dat", "ack-mark.dat", "identity.dat"];
    let paths = names.map(|name| directory.join(name));
    let files = paths.into_iter().map(|path| {
        let bytes = std::fs::read(&path).expect("a file");
        (path, bytes)
    });
    files.collect()
}

/// Puts a state back, into the very files.
fn put_back(state: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in state {
        std::fs::write(path, bytes).expect("a file");
    }
}

#[test]
fn a_log_buffer_outlives_a_start_of_an_older_state_of_its_directory() {
    let (mut trio, [leader, member, other], _) = answered();
    let directory = trio.directory(member);
    trio.kill(member);
    let older = state(&directory);
    let before = trio.said(member).len();
    trio.restart(member);
    expect_line(&mut trio, member, before, Instant::now(), "member ");
    trio.answer(20);
    trio.kill(member);
    let newest = state(&directory);
    let file = std::fs::read_link(directory.join("log-buffer.dat")).expect("a link");
    let kept = file.with_extension("dat.kept");
    put_back(&older);
    let before = trio.said(member).len();
    let since = Instant::now();
    trio.restart(member);
    let words = format!("; {} is a log buffer that another state", kept.display());
    expect_line(&mut trio, member, before, since, &words);
    expect_line(&mut trio, member, before, since, "; LEARNER");
    trio.kill(member);
    put_back(&newest);
    let before = trio.said(member).len();
    trio.restart(member);
    trio.answer(5);
    let said = trio.said(member);
    assert!(!said[before..].contains("LEARNER"), "{said}");
    // It counts again.
    trio.kill(other);
    trio.answer(5);
    let committed = trio.committed(leader);
    trio.expect_kept(&committed, &[leader, member]);
}

#[test]
fn a_member_whose_host_lost_power_is_a_learner_and_the_others_go_on() {
    let (mut trio, [leader, lost, other], committed) = answered();
    trio.kill(lost);
    assert!(lose_power(&trio.directory(lost)));
    let before = trio.said(lost).len();
    let since = Instant::now();
    trio.restart(lost);
    expect_line(&mut trio, lost, before, since, FORGETFUL);
    trio.answer(5);
    trio.expect_kept(&committed, &[leader, lost, other]);
    trio.await_words(leader, &format!("member {lost} is a learner"));
    // The leader and a learner are no majority.
    trio.kill(other);
    trio.await_that("an end", |trio| trio.leader().is_none());
    trio.expect_nobody_leads();
    assert!(!trio.said(leader).contains(MAJORITY_GONE));
    trio.restart(other);
    trio.answer(5);
}

#[test]
fn a_member_that_was_stopped_stays_a_voter_whatever_becomes_of_its_host() {
    let (mut trio, [leader, stopped, other], committed) = answered();
    let process = trio.members[stopped]
        .counter(Counter::ProcessId)
        .to_string();
    let status = Command::new("kill").args(["-TERM", &process]).status();
    assert!(status.expect("kill can be started").success());
    trio.await_that("its end", |trio| trio.members[stopped].ended().is_some());
    assert!(!lose_power(&trio.directory(stopped)), "it is marked still");
    trio.restart(stopped);
    trio.kill(other);
    trio.answer(5);
    trio.expect_kept(&committed, &[leader, stopped]);
    assert!(!trio.said(stopped).contains("learner:"));
}
