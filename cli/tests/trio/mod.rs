//! Three real processes and a client: a cluster to which a test does what it likes.
#![allow(
    dead_code,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shared by several tests, none of which needs all; processes, files and clocks"
)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_bench::scenario::addresses::reserve;
use lockstep_bench::scenario::node_process::NodeProcess;
use lockstep_bench::scenario::service_choice::ServiceChoice;
use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::cluster_id::cluster_id;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_consensus::module::member::MemberId;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::settings::config::{ClusterConfig, MemberEndpoints, NodeConfig, SyncMode};
use lockstep_consensus::settings::node_file::NodeFile;
use lockstep_transport::media::{Backend, NetworkPort, SocketOptions, monotonic_now};
use lockstep_transport::time::{Nanos, SECOND};
use tempfile::TempDir;

/// A cluster that has a majority serves again within this time, on a busy machine too.
const PATIENCE: Nanos = 60 * SECOND;

/// So long nobody may lead where no majority is.
const SILENCE: Nanos = 3 * SECOND;

/// Starts the three members of `cluster`, each in a directory of its own below `place`; every
/// answer repeats its request.
pub fn start_members(cluster: &ClusterConfig, place: &Path, sync: SyncMode) -> Vec<NodeProcess> {
    let start = |member: usize| {
        let node = NodeConfig {
            member: member as MemberId,
            directory: place.join(format!("node-{member}")),
            sync,
            ..NodeConfig::default()
        };
        let file = NodeFile {
            cluster: cluster.clone(),
            node,
            service: ServiceChoice::Echo,
        };
        let binary = Path::new(env!("CARGO_BIN_EXE_lockstep"));
        NodeProcess::start(binary, &file).expect("a member starts")
    };
    (0..3).map(start).collect()
}

/// What a member has said, in all of its lives.
pub fn words_of(member: &NodeProcess) -> String {
    std::fs::read_to_string(member.directory().join("node.log")).unwrap_or_default()
}

/// The cluster's name.
const NAME: &str = "trio";

/// What is a member's and no part of its directory's content.
const KEPT: [&str; 3] = ["node.toml", "node.log", "control.sock"];

/// The files of a directory and their bytes.
pub type Files = Vec<(String, Vec<u8>)>;

/// What is in a directory but what is kept of it.
pub fn content(directory: &Path) -> Files {
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

/// Writes the bytes of `files` back into the same files, as `rsync --inplace` does it: what is
/// there is not new. Others go.
pub fn restore_in_place(directory: &Path, files: &Files) {
    for (name, _) in content(directory) {
        if files.iter().all(|file| file.0 != name) {
            std::fs::remove_file(directory.join(name)).expect("the file can be removed");
        }
    }
    for (name, bytes) in files {
        let file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(name));
        let mut file = file.expect("the file can be opened");
        std::io::Write::write_all(&mut file, bytes).expect("it is written");
    }
}

fn client(members: &[MemberEndpoints], seed: u64) -> ClusterClient<NetworkPort> {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let port = NetworkPort::bind(address, SocketOptions::default(), Backend::Syscall);
    let config = ClientConfig {
        members: members.iter().map(|m| m.ingress).collect(),
        cluster_id: cluster_id(NAME),
        session_timeout_ms: 120_000,
        ..ClientConfig::default()
    };
    let port = port.expect("a free port");
    let client = ClusterClient::new(config, port, ClientIdentity::of_seed(seed));
    client.expect("a valid configuration")
}

/// See the module.
pub struct Trio {
    pub endpoints: Vec<MemberEndpoints>,
    pub members: Vec<NodeProcess>,
    client: ClusterClient<NetworkPort>,
    answered: usize,
    /// Last: what members have in shared memory is found by links in their directories.
    _place: TempDir,
}

impl Trio {
    /// Three members that serve, and a client. The ids begin with the leader's.
    pub fn new(sync: SyncMode) -> (Self, [usize; 3]) {
        let place = tempfile::tempdir().expect("a directory can be made");
        let cluster = ClusterConfig {
            name: NAME.to_owned(),
            members: reserve(3).expect("loopback has free ports"),
            term_length: 1 << 20,
            segment_length: 1 << 20,
            ..ClusterConfig::default()
        };
        let members = start_members(&cluster, place.path(), sync);
        let mut trio = Self {
            _place: place,
            members,
            client: client(&cluster.members, 7),
            endpoints: cluster.members,
            answered: 0,
        };
        let leader = trio.await_leader();
        let others: Vec<usize> = (0..3).filter(|id| *id != leader).collect();
        (trio, [leader, others[0], others[1]])
    }

    /// Another client from now on, with a session of its own.
    pub fn renew_client(&mut self, seed: u64) {
        self.client = client(&self.endpoints, seed);
        self.answered = 0;
    }

    pub fn directory(&self, id: usize) -> PathBuf {
        self.members[id].directory().to_owned()
    }

    /// What the member has said, in all of its lives.
    pub fn said(&self, id: usize) -> String {
        words_of(&self.members[id])
    }

    pub fn kill(&mut self, id: usize) {
        self.members[id].kill().expect("a member can be killed");
    }

    pub fn restart(&mut self, id: usize) {
        self.members[id].restart().expect("a member starts");
    }

    pub fn await_that(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
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

    pub fn await_words(&mut self, id: usize, words: &str) {
        self.await_that(words, |trio| trio.said(id).contains(words));
    }

    pub fn leader(&mut self) -> Option<usize> {
        (0..3).find(|id| self.members[*id].ended().is_none() && self.members[*id].is_open())
    }

    pub fn await_leader(&mut self) -> usize {
        self.await_that("a leader", |trio| trio.leader().is_some());
        self.leader().expect("it leads still")
    }

    pub fn expect_nobody_leads(&mut self) {
        let end = monotonic_now() + SILENCE;
        while monotonic_now() < end {
            assert_eq!(self.leader(), None, "a leader without a majority");
            self.client.do_work(monotonic_now());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes `count` requests and waits for all answers.
    pub fn answer(&mut self, count: usize) {
        self.answer_to(count, &[7; 100]);
    }

    /// The same with requests of these bytes.
    pub fn answer_to(&mut self, count: usize, request: &[u8]) {
        let goal = self.answered + count;
        let mut offered = self.answered;
        self.await_that("all answers", |trio| {
            let now = monotonic_now();
            if offered < goal
                && let OfferResult::Accepted(_) = trio.client.offer(now, request)
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
    pub fn committed(&mut self, leader: usize) -> Vec<u8> {
        let commit = self.members[leader].counter(Counter::Commit);
        let is_stored = |log: &[u8]| log.iter().rev().take(64).any(|byte| *byte != 0);
        self.await_that("the leader's own disk", |trio| {
            // Without syncs the disk follows what is durable.
            trio.members[leader].counter(Counter::Durable) >= commit
                && is_stored(&trio.log(leader, commit as usize))
        });
        self.log(leader, commit as usize)
    }

    pub fn log(&self, id: usize, length: usize) -> Vec<u8> {
        let bytes = std::fs::read(self.directory(id).join("0-0.rec")).unwrap_or_default();
        bytes[..length.min(bytes.len())].to_vec()
    }

    /// All that was answered is in the logs of these members.
    pub fn expect_kept(&mut self, committed: &[u8], members: &[usize]) {
        for id in members {
            let length = committed.len();
            self.await_that("the log", |trio| trio.log(*id, length) == committed);
        }
    }
}
