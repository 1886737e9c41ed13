//! What operators do to directories, with three real processes: each accident is followed by the
//! question whether every answered request is in every log that counts, or the members concerned
//! refuse to start or follow as learners and say what to do.
//!
//! `LOCKSTEP_ACCIDENT_RUNS=10` has each of the five accidents ten times.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "processes, files and clocks"
)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_bench::scenario::addresses::reserve;
use lockstep_bench::scenario::node_process::{NodeExtras, NodeProcess};
use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::agent::identity::cluster_id;
use lockstep_consensus::config::{ClusterConfig, NodeConfig};
use lockstep_consensus::counters::Counter;
use lockstep_consensus::member::MemberId;
use lockstep_transport::media::{Backend, NetworkPort, SocketOptions, monotonic_now};
use lockstep_transport::time::{Nanos, SECOND};
use tempfile::TempDir;

/// Requests answered between the accident's beginning and its end: all in the first segment.
const REQUESTS: usize = 200;

/// A cluster that has a majority serves again within this time, on a busy machine too.
const PATIENCE: Nanos = 60 * SECOND;

/// So long nobody may lead where no majority is.
const SILENCE: Nanos = 3 * SECOND;

/// What is a member's and no part of its directory's content.
const KEPT: [&str; 2] = ["node.toml", "node.log"];

/// The files of a directory and their bytes.
type Files = Vec<(String, Vec<u8>)>;

struct Trio {
    _place: TempDir,
    members: Vec<NodeProcess>,
    client: ClusterClient<NetworkPort>,
    answered: usize,
}

fn content(directory: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(directory).expect("the directory is there") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name in UTF-8");
        let is_unfinished = name.ends_with(".tmp");
        if !KEPT.contains(&name.as_str()) && !is_unfinished {
            let bytes = std::fs::read(directory.join(&name)).expect("a file");
            files.push((name, bytes));
        }
    }
    files.sort();
    files
}

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

impl Trio {
    /// Three members that serve, and a client. The ids begin with the leader's.
    fn new() -> (Self, [usize; 3]) {
        let place = tempfile::tempdir().expect("a directory can be made");
        let cluster = ClusterConfig {
            name: "accidents".to_owned(),
            members: reserve(3).expect("loopback has free ports"),
            term_length: 1 << 20,
            segment_length: 1 << 20,
            ..ClusterConfig::default()
        };
        let start = |member: usize| {
            let node = NodeConfig {
                member: member as MemberId,
                directory: place.path().join(format!("node-{member}")),
                ..NodeConfig::default()
            };
            let extras = NodeExtras {
                service: "echo",
                core: None,
                idle: "yield".to_owned(),
            };
            let binary = Path::new(env!("CARGO_BIN_EXE_lockstep"));
            NodeProcess::start(binary, &cluster, &node, &extras).expect("a member starts")
        };
        let members = (0..3).map(start).collect();
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let port = NetworkPort::bind(address, SocketOptions::default(), Backend::Syscall);
        let config = ClientConfig {
            members: cluster.members.iter().map(|m| m.ingress).collect(),
            cluster_id: cluster_id(&cluster.name),
            session_timeout_ms: 120_000,
            ..ClientConfig::default()
        };
        let port = port.expect("a free port");
        let client = ClusterClient::new(config, port, ClientIdentity::of_seed(7));
        let mut trio = Self {
            _place: place,
            members,
            client: client.expect("a valid configuration"),
            answered: 0,
        };
        let leader = trio.await_leader();
        let others: Vec<usize> = (0..3).filter(|id| *id != leader).collect();
        (trio, [leader, others[0], others[1]])
    }

    fn directory(&self, id: usize) -> PathBuf {
        self.members[id].directory().to_owned()
    }

    /// What the member has said, in all of its lives.
    fn said(&self, id: usize) -> String {
        std::fs::read_to_string(self.directory(id).join("node.log")).unwrap_or_default()
    }

    fn kill(&mut self, id: usize) {
        self.members[id].kill().expect("a member can be killed");
    }

    fn restart(&mut self, id: usize) {
        self.members[id].restart().expect("a member starts");
    }

    fn await_that(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let give_up = monotonic_now() + PATIENCE;
        while !holds(self) {
            if monotonic_now() > give_up {
                let said: Vec<String> = (0..3).map(|id| self.said(id)).collect();
                panic!("in vain: {what}: {said:#?}");
            }
            self.client.do_work(monotonic_now());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn await_words(&mut self, id: usize, words: &str) {
        self.await_that(words, |trio| trio.said(id).contains(words));
    }

    fn leader(&mut self) -> Option<usize> {
        (0..3).find(|id| self.members[*id].ended().is_none() && self.members[*id].is_open())
    }

    fn await_leader(&mut self) -> usize {
        self.await_that("a leader", |trio| trio.leader().is_some());
        self.leader().expect("it leads still")
    }

    fn expect_nobody_leads(&mut self) {
        let end = monotonic_now() + SILENCE;
        while monotonic_now() < end {
            assert_eq!(self.leader(), None, "a leader without a majority");
            self.client.do_work(monotonic_now());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes `count` requests and waits for all answers.
    fn answer(&mut self, count: usize) {
        let goal = self.answered + count;
        let mut offered = self.answered;
        self.await_that("all answers", |trio| {
            let now = monotonic_now();
            if offered < goal
                && let OfferResult::Accepted(_) = trio.client.offer(now, &[7; 100])
            {
                offered += 1;
            }
            let mut answers = 0;
            trio.client.poll_egress(now, 64, &mut |event| {
                answers += usize::from(matches!(event, EgressEvent::Response { .. }));
            });
            trio.answered += answers;
            trio.answered == goal
        });
    }

    /// The log of a member up to what the leader knows to be committed.
    fn committed(&mut self, leader: usize) -> Vec<u8> {
        let commit = self.members[leader].counter(Counter::Commit);
        self.await_that("the leader's own disk", |trio| {
            trio.members[leader].counter(Counter::Durable) >= commit
        });
        self.log(leader, commit as usize)
    }

    fn log(&self, id: usize, length: usize) -> Vec<u8> {
        let bytes = std::fs::read(self.directory(id).join("0-0.rec")).unwrap_or_default();
        bytes[..length.min(bytes.len())].to_vec()
    }

    /// All that was answered is in the logs of these members.
    fn expect_kept(&mut self, committed: &[u8], members: &[usize]) {
        for id in members {
            let length = committed.len();
            self.await_that("the log", |trio| trio.log(*id, length) == committed);
        }
    }
}

fn runs() -> usize {
    let runs = std::env::var("LOCKSTEP_ACCIDENT_RUNS").unwrap_or_default();
    runs.parse().unwrap_or(1)
}

#[test]
fn an_emptied_directory_beside_a_lagging_member_costs_no_answered_request() {
    for _ in 0..runs() {
        let (mut trio, [leader, emptied, lagging]) = Trio::new();
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
        let (mut trio, [leader, first, second]) = Trio::new();
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
        let (mut trio, [leader, copied, other]) = Trio::new();
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
        let (mut trio, [leader, first, second]) = Trio::new();
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

#[test]
fn a_stale_state_of_the_own_directory_is_a_learners() {
    for _ in 0..runs() {
        let (mut trio, [leader, stale, lagging]) = Trio::new();
        trio.answer(5);
        trio.kill(stale);
        let directory = trio.directory(stale);
        let backup = content(&directory);
        trio.restart(stale);
        // All hear of its start.
        let commit = trio.members[leader].counter(Counter::Commit);
        trio.await_that("the restarted member", |trio| {
            trio.members[stale].counter(Counter::Commit) >= commit
        });
        trio.answer(20);
        trio.kill(lagging);
        trio.answer(REQUESTS);
        let committed = trio.committed(leader);
        trio.kill(stale);
        trio.kill(leader);
        // In place, as `rsync --inplace` does it: no file is new.
        for (name, bytes) in &backup {
            let file = std::fs::File::options()
                .write(true)
                .open(directory.join(name));
            std::io::Write::write_all(&mut file.expect("it exists"), bytes).expect("it is written");
        }
        trio.restart(stale);
        trio.restart(lagging);
        trio.await_words(stale, "is an old state of this directory");
        trio.expect_nobody_leads();
        trio.restart(leader);
        assert_eq!(trio.await_leader(), leader);
        trio.answer(5);
        trio.expect_kept(&committed, &[leader, lagging, stale]);
    }
}
