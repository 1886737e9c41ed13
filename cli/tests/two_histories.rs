//! Two real members whose logs are two histories, of equal terms at equal positions and other
//! bytes: both sides say so within five seconds with both chain hashes, the one that differs
//! neither joins, acknowledges nor cuts its log, and a leader that no majority agrees with halts.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and clocks"
)]

mod trio;

use lockstep_archive::files::identity_file::IDENTITY_FILE;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::SyncMode;
use lockstep_transport::log_buffer::frame_seal::FramePlace;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::SECOND;
use trio::{Files, Trio, content, restore_in_place};

/// What a line may take.
const LINE_WITHIN: i64 = 5 * SECOND;

/// Futures that are tried: elections are random, and only those of equal terms are meant.
const ATTEMPTS: u64 = 40;

/// So long that a request, its response and the entry that acknowledges it are frames of one
/// length: where one future ends, a frame of the other ends too.
const REQUEST: [u8; 16] = [7; 16];

/// How a cluster stood when all of it was killed.
#[derive(Debug, PartialEq, Eq)]
struct Stood {
    term: i64,
    end: i64,
}

/// Waits until all logs end alike and all of it is committed, and kills all.
fn settle_and_kill(trio: &mut Trio) -> Stood {
    let mut stood = Stood { term: 0, end: 0 };
    trio.await_that("three equal logs", |trio| {
        let mut read = |id: usize, counter| trio.members[id].counter(counter);
        let ends = [0, 1, 2].map(|id| read(id, Counter::Durable));
        let commits = [0, 1, 2].map(|id| read(id, Counter::Commit));
        let term = read(0, Counter::Term);
        stood = Stood { term, end: ends[0] };
        ends[0] > 0 && ends == [ends[0]; 3] && commits == ends
    });
    for id in 0..3 {
        trio.kill(id);
    }
    stood
}

/// All members go on from what their directories hold, and answer `requests`.
fn go_on(trio: &mut Trio, requests: usize, seed: u64) -> Stood {
    for id in 0..3 {
        trio.restart(id);
    }
    trio.await_leader();
    trio.renew_client(seed);
    for _ in 0..requests {
        trio.answer_to(1, &REQUEST);
    }
    settle_and_kill(trio)
}

/// Whether a frame of this log ends at `position`.
fn has_boundary(log: &[u8], position: i64) -> bool {
    let mut at = 0;
    while (at as i64) < position {
        let Ok(place) = FramePlace::read(&log[at..]) else {
            return false;
        };
        at += place.aligned_length;
    }
    at as i64 == position
}

/// Where the last frame of this log ends.
fn end(log: &[u8]) -> i64 {
    let mut end = 0;
    while let Some(place) = log.get(end..).and_then(|rest| FramePlace::read(rest).ok()) {
        end += place.aligned_length;
    }
    end as i64
}

fn contents(trio: &Trio) -> Vec<Files> {
    (0..3).map(|id| content(&trio.directory(id))).collect()
}

/// What members know of each other's lives tells two futures apart before any log is compared. Here
/// it is lost: in both they hold what they knew in the past.
fn forget_lives(trio: &Trio, past: &[Files], mut first: Vec<Files>) -> Vec<Files> {
    for (id, past) in past.iter().enumerate() {
        let directory = trio.directory(id);
        let identity = past.iter().find(|file| file.0 == IDENTITY_FILE);
        let mut second = content(&directory);
        for files in [&mut first[id], &mut second] {
            files.retain(|file| file.0 != IDENTITY_FILE);
            files.extend(identity.cloned());
        }
        restore_in_place(&directory, &second);
    }
    first
}

/// One past and two futures that are equal in their terms. The directories of the first are
/// returned; the second, of more requests, is what the directories hold. All members are down.
fn parted() -> (Trio, Vec<Files>) {
    let (mut trio, _) = Trio::new(SyncMode::Data);
    trio.answer(5);
    let term = settle_and_kill(&mut trio).term + 1;
    let past = contents(&trio);
    let mut first: Option<(Vec<Files>, i64)> = None;
    for seed in 0..ATTEMPTS {
        let requests = if first.is_none() { 5 } else { 50 };
        let stood = go_on(&mut trio, requests, 100 + seed);
        let log = trio.log(0, stood.end as usize);
        match &first {
            _ if stood.term != term => {}
            None => first = Some((contents(&trio), stood.end)),
            Some((_, end)) if stood.end > *end && has_boundary(&log, *end) => {
                let (first, _) = first.expect("it is there");
                let first = forget_lives(&trio, &past, first);
                return (trio, first);
            }
            Some(_) => {}
        }
        for (id, past) in past.iter().enumerate() {
            restore_in_place(&trio.directory(id), past);
        }
    }
    panic!("no two of {ATTEMPTS} futures have term {term}");
}

/// The first line of a member that has all of `parts`, said within five seconds of `since`.
fn expect_line(trio: &mut Trio, id: usize, since: i64, parts: &[&str]) -> String {
    let mut found = None;
    trio.await_that(&format!("{parts:?}"), |trio| {
        let said = trio.said(id);
        let is_it = |line: &&str| parts.iter().all(|part| line.contains(part));
        found = said.lines().find(is_it).map(str::to_owned);
        found.is_some()
    });
    let waited = monotonic_now() - since;
    assert!(waited < LINE_WITHIN, "{parts:?} took {waited} ns");
    found.expect("it was awaited")
}

/// Both hashes that a line names: the other side's, and the speaker's.
fn hashes(line: &str) -> (String, String) {
    let (_, rest) = line.split_once("(chain hash ").expect("a hash");
    let (other, rest) = rest.split_once(" there, ").expect("the other's");
    let (own, _) = rest.split_once(" here)").expect("its own");
    (other.to_owned(), own.to_owned())
}

#[test]
fn a_member_of_another_history_is_named_on_both_sides_with_both_hashes_and_stays_out() {
    let (mut trio, first) = parted();
    trio.restart(0);
    trio.restart(1);
    let leader = trio.await_leader();
    restore_in_place(&trio.directory(2), &first[2]);
    let before = trio.log(2, usize::MAX);
    let since = monotonic_now();
    trio.restart(2);
    let (own, other) = (trio.endpoints[2].member, trio.endpoints[leader].member);
    let says = format!("node-{leader}: member 2 at {own} has another log below ");
    let leader_says = expect_line(&mut trio, leader, since, &[&says, "stop the member"]);
    let says = format!("node-2: the leader, member {leader} at {other}, has another log below ");
    let follower_says = expect_line(&mut trio, 2, since, &[&says, "nor cuts its log"]);
    let (there, here) = hashes(&follower_says);
    assert_ne!(there, here, "{follower_says}");
    assert_eq!(hashes(&leader_says), (here, there), "{leader_says}");
    let says = format!("the log of member 2 at {own} differs from the leader's");
    expect_line(&mut trio, leader, since, &[&says]);
    // The other two serve on; the third takes nothing of theirs, and keeps what it has. Of that it
    // has applied again what it knew to be committed there.
    trio.renew_client(300);
    trio.answer(20);
    let own_end = end(&before);
    assert!(trio.members[leader].counter(Counter::Commit) > own_end);
    for counter in [Counter::Commit, Counter::Applied] {
        let reached = trio.members[2].counter(counter);
        assert!(reached <= own_end, "{reached} of {own_end}");
    }
    assert!(trio.log(2, usize::MAX) == before, "its log was changed");
    // Counts are published ten times a second, lines sooner.
    trio.await_that("its count of the notice", |trio| {
        let counters = trio.members[2].counters().expect("it runs");
        counters.notice(NodeNotice::LeaderLogDiffers) > 0
    });
}

#[test]
fn a_leader_that_both_others_differ_from_halts_and_says_what_to_do() {
    let (mut trio, first) = parted();
    for id in [1, 2] {
        restore_in_place(&trio.directory(id), &first[id]);
    }
    // Its log is the longest: it is elected, by one that then finds its own to be another.
    trio.restart(0);
    trio.restart(1);
    trio.await_words(1, "the leader, member 0 at ");
    assert_eq!(trio.leader(), None, "no majority has joined");
    trio.restart(2);
    trio.await_words(0, "no majority agrees with it");
    trio.await_words(0, "keep the directories of all members as they are");
    trio.await_that("its end", |trio| trio.members[0].ended().is_some());
    assert_ne!(trio.await_leader(), 0);
}
