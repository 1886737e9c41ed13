//! What operators do to directories, with three real processes: each accident is followed by the
//! question whether every answered request is in every log that counts, or the members concerned
//! refuse to start or follow as learners and say what to do.
//!
//! `LOCKSTEP_ACCIDENT_RUNS=10` has each of the accidents ten times.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and clocks"
)]

mod trio;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_archive::files::identity_file::IDENTITY_FILE;
use lockstep_consensus::settings::config::SyncMode;
use trio::{Files, Trio, content, restore_in_place};

/// Requests answered between the accident's beginning and its end: all in the first segment.
const REQUESTS: usize = 200;

/// After so long without requests a member writes nothing more.
const REST: Duration = Duration::from_secs(3);

/// Links to shared memory in a node's directory.
const NOT_OF_THE_DISK: [&str; 2] = ["counters.dat", "trace.dat"];

fn wipe(directory: &Path) {
    for (name, _) in content(directory) {
        std::fs::remove_file(directory.join(name)).expect("the file can be removed");
    }
}

/// Puts copies of `files` there: new files, as `cp` makes them.
fn copy(directory: &Path, files: &Files) {
    wipe(directory);
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes).expect("the file can be written");
    }
}

/// Moves all files from one directory to the other, and the other way round.
fn swap(first: &Path, second: &Path) {
    let names = |path: &Path| content(path).into_iter().map(|file| file.0);
    let (ours, theirs): (Vec<_>, Vec<_>) = (names(first).collect(), names(second).collect());
    let aside = first.join("aside");
    std::fs::create_dir(&aside).expect("a directory can be made");
    let rename = |from: PathBuf, to: PathBuf| std::fs::rename(from, to).expect("it can be moved");
    for name in &ours {
        rename(first.join(name), aside.join(name));
    }
    for name in &theirs {
        rename(second.join(name), first.join(name));
    }
    for name in &ours {
        rename(aside.join(name), second.join(name));
    }
    std::fs::remove_dir(aside).expect("it is empty now");
}

fn runs() -> usize {
    let runs = std::env::var("LOCKSTEP_ACCIDENT_RUNS").unwrap_or_default();
    runs.parse().unwrap_or(1)
}

#[test]
fn an_emptied_directory_beside_a_lagging_member_costs_no_answered_request() {
    for _ in 0..runs() {
        let (mut trio, [leader, emptied, lagging]) = Trio::new(SyncMode::Data);
        trio.answer(5);
        trio.kill(lagging);
        trio.answer(REQUESTS);
        let committed = trio.committed(leader);
        trio.kill(emptied);
        trio.kill(leader);
        wipe(&trio.directory(emptied));
        trio.restart(emptied);
        trio.restart(lagging);
        trio.await_words(emptied, "is a learner");
        trio.expect_nobody_leads();
        trio.restart(leader);
        assert_eq!(trio.await_leader(), leader);
        trio.answer(5);
        trio.expect_kept(&committed, &[leader, emptied, lagging]);
    }
}

#[test]
fn two_emptied_directories_started_first_leave_the_good_log_alone() {
    for _ in 0..runs() {
        let (mut trio, [leader, first, second]) = Trio::new(SyncMode::Data);
        trio.answer(REQUESTS);
        let committed = trio.committed(leader);
        for id in [leader, first, second] {
            trio.kill(id);
        }
        for id in [first, second] {
            wipe(&trio.directory(id));
            trio.restart(id);
        }
        trio.await_words(first, "has not formed");
        trio.await_words(second, "has not formed");
        trio.expect_nobody_leads();
        trio.restart(leader);
        trio.await_words(first, "is a learner");
        trio.await_words(second, "is a learner");
        trio.await_words(leader, "does not vote yet");
        trio.expect_nobody_leads();
        trio.expect_kept(&committed, &[leader]);
    }
}

#[test]
fn a_copied_directory_follows_as_a_learner_and_another_members_is_refused() {
    for _ in 0..runs() {
        let (mut trio, [leader, copied, other]) = Trio::new(SyncMode::Data);
        trio.answer(REQUESTS);
        trio.kill(copied);
        let directory = trio.directory(copied);
        let own = content(&directory);
        copy(&directory, &content(&trio.directory(leader)));
        let before = content(&directory);
        trio.restart(copied);
        trio.await_words(copied, "nothing in it was changed");
        trio.await_that("its end", |trio| trio.members[copied].ended().is_some());
        let is_log = |file: &&(String, Vec<u8>)| file.0.ends_with(".rec");
        let (before, after) = (before, content(&directory));
        assert!(before.iter().filter(is_log).eq(after.iter().filter(is_log)));
        copy(&directory, &own);
        trio.restart(copied);
        trio.await_words(copied, "is a copy of another directory");
        trio.await_words(copied, "is a learner");
        trio.answer(5);
        let committed = trio.committed(leader);
        trio.expect_kept(&committed, &[leader, copied, other]);
    }
}

#[test]
fn swapped_directories_are_refused_and_good_when_they_are_swapped_back() {
    for _ in 0..runs() {
        let (mut trio, [leader, first, second]) = Trio::new(SyncMode::Data);
        trio.answer(REQUESTS);
        let committed = trio.committed(leader);
        trio.kill(first);
        trio.kill(second);
        let (one, other) = (trio.directory(first), trio.directory(second));
        swap(&one, &other);
        for id in [first, second] {
            trio.restart(id);
            trio.await_words(id, "give each member its own directory back");
            trio.await_that("its end", |trio| trio.members[id].ended().is_some());
        }
        swap(&one, &other);
        trio.restart(first);
        trio.restart(second);
        trio.answer(5);
        trio.expect_kept(&committed, &[leader, first, second]);
    }
}

/// Whether member `knowing` has written down that the `count`th start of member `started` is
/// settled (`log.md` 9.1): before that no promise of it is remembered there.
fn is_settled(trio: &Trio, knowing: usize, started: usize, count: u64) -> bool {
    let identity = trio.directory(knowing).join(IDENTITY_FILE);
    let bytes = std::fs::read(identity).expect("the file can be read");
    // Two slots; the notes, and in them what binds a member's directory (docs/files.md 5).
    let field = 128 + 592 + 56 * started;
    let slots = [0, 4096].map(|slot| slot + field);
    slots
        .iter()
        .any(|at| bytes[*at..*at + 8] == count.to_le_bytes())
}

/// A directory lived on since its backup, started once more and heard by all; then one member was
/// left behind, and the old state was put back while nobody runs. Returns the leader, whose
/// directory that is, and who lags, with what was committed.
fn put_back_after_a_start() -> (Trio, [usize; 3], Vec<u8>) {
    let (mut trio, members) = Trio::new(SyncMode::Data);
    let [leader, stale, lagging] = members;
    trio.answer(5);
    trio.kill(stale);
    let directory = trio.directory(stale);
    let backup = content(&directory);
    trio.restart(stale);
    // All hear of its start, and it knows that they did.
    trio.await_that("a settled start", |trio| {
        [leader, lagging].map(|id| is_settled(trio, id, stale, 2)) == [true, true]
    });
    trio.answer(20);
    trio.kill(lagging);
    trio.answer(REQUESTS);
    let committed = trio.committed(leader);
    trio.kill(stale);
    trio.kill(leader);
    restore_in_place(&directory, &backup);
    (trio, members, committed)
}

/// An old state and a member that lags elect nobody; the member that has everything leads again.
fn expect_only_the_leader_to_lead(
    trio: &mut Trio,
    [leader, stale, lagging]: [usize; 3],
    committed: &[u8],
) {
    trio.expect_nobody_leads();
    trio.restart(leader);
    assert_eq!(trio.await_leader(), leader);
    trio.answer(5);
    trio.expect_kept(committed, &[leader, lagging, stale]);
}

#[test]
fn a_stale_state_of_the_own_directory_is_a_learners() {
    for _ in 0..runs() {
        let (mut trio, members, committed) = put_back_after_a_start();
        let [leader, stale, lagging] = members;
        trio.restart(stale);
        trio.restart(lagging);
        trio.await_words(stale, "is an old state of this directory");
        expect_only_the_leader_to_lead(&mut trio, [leader, stale, lagging], &committed);
    }
}

#[test]
fn a_stale_state_that_is_started_over_and_over_unheard_is_a_learners() {
    for _ in 0..runs() {
        let (mut trio, members, committed) = put_back_after_a_start();
        let [leader, stale, lagging] = members;
        let starts = |trio: &Trio| trio.said(stale).matches("does not vote yet").count();
        // The original was started once since.
        for _ in 0..2 {
            let before = starts(&trio);
            trio.restart(stale);
            trio.await_that("a start that nobody hears", |trio| starts(trio) > before);
            trio.kill(stale);
        }
        trio.restart(stale);
        trio.restart(lagging);
        trio.await_words(stale, "is an old state of this directory");
        expect_only_the_leader_to_lead(&mut trio, [leader, stale, lagging], &committed);
    }
}

#[test]
fn a_snapshot_of_the_running_member_is_a_learners() {
    for _ in 0..runs() {
        let (mut trio, [leader, stale, lagging]) = Trio::new(SyncMode::Data);
        trio.answer(5);
        let directory = trio.directory(stale);
        // At rest: the files are copied one after the other.
        std::thread::sleep(REST);
        let mut snapshot = content(&directory);
        snapshot.retain(|file| !NOT_OF_THE_DISK.contains(&file.0.as_str()));
        trio.kill(lagging);
        trio.answer(REQUESTS);
        let committed = trio.committed(leader);
        trio.kill(stale);
        restore_in_place(&directory, &snapshot);
        trio.restart(stale);
        trio.await_words(stale, "is an old state of this directory");
        trio.kill(leader);
        trio.restart(lagging);
        expect_only_the_leader_to_lead(&mut trio, [leader, stale, lagging], &committed);
    }
}
