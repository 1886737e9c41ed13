//! What rots beside the log, with three real processes: a member that cannot know what it promised
//! says so within five seconds, follows and counts for nothing; mixed-up files are refused.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and the clock"
)]

mod trio;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lockstep_consensus::settings::config::SyncMode;
use trio::Trio;

/// What a line may take.
const LINE_WITHIN: Duration = Duration::from_secs(5);

const REQUESTS: usize = 100;

/// Spoils both places of a small file.
fn rot(path: &Path) {
    let file = std::fs::File::options().write(true).open(path);
    let file = file.expect("the file can be opened");
    for offset in [20, 4096 + 20] {
        file.write_all_at(&[0xA5; 16], offset).expect("a good disk");
    }
    file.sync_all().expect("a good disk");
}

fn expect_line(trio: &mut Trio, id: usize, since: Instant, words: &str) {
    trio.await_that(words, |trio| {
        let is_late = since.elapsed() > LINE_WITHIN;
        let said = trio.said(id);
        assert!(
            said.contains(words) || !is_late,
            "{words:?} is missing: {said}"
        );
        said.contains(words)
    });
}

#[test]
fn a_member_that_lost_what_it_promised_is_a_learner_and_names_the_file() {
    for name in ["node-state.dat", "ack-mark.dat"] {
        let (mut trio, [leader, damaged, other]) = Trio::new(SyncMode::Data);
        trio.answer(REQUESTS);
        let committed = trio.committed(leader);
        trio.kill(damaged);
        rot(&trio.directory(damaged).join(name));
        let since = Instant::now();
        trio.restart(damaged);
        let reason = format!("because {name} was missing or damaged");
        let start_line = format!("; LEARNER, which neither votes nor counts, {reason}");
        expect_line(&mut trio, damaged, since, &start_line);
        let line = format!("lockstep: node-{damaged}: is a learner: it follows the log");
        expect_line(&mut trio, damaged, since, &line);
        trio.answer(5);
        trio.expect_kept(&committed, &[leader, damaged, other]);
        trio.await_words(leader, &format!("member {damaged} is a learner"));
        // The leader and a learner are no majority.
        trio.kill(other);
        trio.await_that("an end", |trio| trio.leader().is_none());
        trio.expect_nobody_leads();
        trio.restart(other);
        trio.answer(5);
    }
}

#[test]
fn an_identity_of_another_cluster_of_the_same_name_is_refused_beside_this_ones_log() {
    let (mut trio, [leader, mixed, other]) = Trio::new(SyncMode::Data);
    let (mut theirs, _) = Trio::new(SyncMode::Data);
    trio.answer(REQUESTS);
    let committed = trio.committed(leader);
    trio.kill(mixed);
    theirs.kill(mixed);
    let (own, foreign) = (trio.directory(mixed), theirs.directory(mixed));
    let path = own.join("identity.dat");
    let identity = std::fs::read(&path).expect("a file");
    let write = |bytes: &[u8]| {
        // In place: it is the same file.
        let file = std::fs::File::options().write(true).open(&path);
        let written = file.and_then(|file| file.write_all_at(bytes, 0));
        written.expect("the file can be written");
    };
    write(&std::fs::read(foreign.join("identity.dat")).expect("a file"));
    let before = trio.log(mixed, committed.len());
    trio.restart(mixed);
    trio.await_words(
        mixed,
        "files of two directories were mixed; nothing in it was changed",
    );
    trio.await_that("its end", |trio| trio.members[mixed].ended().is_some());
    assert!(trio.log(mixed, committed.len()) == before);
    write(&identity);
    trio.restart(mixed);
    trio.kill(other);
    trio.answer(5);
    trio.expect_kept(&committed, &[leader, mixed]);
}
