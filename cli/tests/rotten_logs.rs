//! A log that rots on disk says so within five seconds: the leader that cannot read it, the
//! follower that waits for it, and the member that finds it at its start. Real processes.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "files and the clock"
)]

mod trio;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lockstep_bench::load::{LoadConfig, LoadLimit, LoadShape};
use lockstep_bench::scenario::addresses::reserve;
use lockstep_bench::scenario::bench_client::client;
use lockstep_bench::scenario::process_cluster::ProcessCluster;
use lockstep_bench::scenario::workload::Workload;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::{ClusterConfig, SyncMode};
use lockstep_transport::agent::Agent;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::SECOND;
use tempfile::TempDir;
use trio::{start_members, words_of};

/// What a line may take.
const LINE_WITHIN: Duration = Duration::from_secs(5);

/// Term and segment: so small that what the test writes leaves memory for the archive.
const TERM_LENGTH: usize = 64 * 1024;

/// Requests, with their responses several times what a log buffer holds.
const REQUESTS: u64 = 400;

/// Where in the first segment a log is damaged: in the middle of the load.
const ROTTEN: u64 = 24 * 1024;

struct Scene {
    _place: TempDir,
    cluster: ClusterConfig,
    members: ProcessCluster,
    leader: usize,
}

impl Scene {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory can be made");
        let cluster = ClusterConfig {
            name: "rot".to_owned(),
            members: reserve(3).expect("loopback has free ports"),
            term_length: TERM_LENGTH,
            segment_length: TERM_LENGTH,
            message_max: 4096,
            ..ClusterConfig::default()
        };
        let members = start_members(&cluster, place.path(), SyncMode::Data);
        let mut members = ProcessCluster { members };
        let leader = members
            .await_leader()
            .expect("three members elect a leader");
        Self {
            _place: place,
            cluster,
            members,
            leader,
        }
    }

    fn follower(&self) -> usize {
        (self.leader + 1) % 3
    }

    fn load(&mut self) {
        let workload = Workload::echo(1_000);
        let mut client = client(&self.cluster, workload, self.leader, 0).expect("a good client");
        let end = monotonic_now() + 60 * SECOND;
        while !client.is_connected() {
            client.do_work(monotonic_now());
            assert!(monotonic_now() < end, "no session in a minute");
            std::thread::yield_now();
        }
        client.start(LoadConfig {
            shape: LoadShape::Closed { window: 8 },
            warmup_ns: 0,
            limit: LoadLimit::Messages(REQUESTS),
            messages_cap: u64::MAX,
        });
        while !client.is_done(monotonic_now()) {
            client.do_work(monotonic_now());
            assert!(monotonic_now() < end, "the load is not done in a minute");
            std::thread::yield_now();
        }
        assert_eq!(client.faults(), Vec::<String>::new());
    }

    /// Changes a block in the middle of what the load has put into the log of `member`.
    fn rot(&self, member: usize) {
        let path = self.members.members[member].directory();
        let is_first = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.ends_with("-0.rec"))
        };
        let entries = std::fs::read_dir(path).expect("the directory can be read");
        let mut paths = entries.map(|entry| entry.expect("an entry can be read").path());
        let segment = paths
            .find(|path| is_first(path))
            .expect("the first segment");
        let file = std::fs::File::options().write(true).open(segment);
        let file = file.expect("the segment can be opened");
        file.write_all_at(&[0xA5; 512], ROTTEN)
            .expect("the segment can be written");
        file.sync_all().expect("the segment can be synced");
    }

    /// Waits for a line of `member` that has all of `parts`.
    fn expect(&self, member: usize, since: Instant, parts: &[&str]) {
        loop {
            let said = words_of(&self.members.members[member]);
            let is_it = |line: &str| parts.iter().all(|part| line.contains(part));
            if said.lines().any(is_it) {
                return;
            }
            let waited = since.elapsed();
            assert!(waited < LINE_WITHIN, "{parts:?} is missing in: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_leader_that_cannot_read_its_log_and_the_follower_that_waits_for_it_both_say_so() {
    let mut scene = Scene::new();
    let (leader, follower) = (scene.leader, scene.follower());
    scene.members.members[follower].kill().unwrap();
    scene.load();
    scene.rot(leader);
    scene.members.members[follower].restart().unwrap();
    let since = Instant::now();
    let address = scene.cluster.members[follower].member;
    scene.expect(
        leader,
        since,
        &[
            &format!("lockstep: node-{leader}: the log in "),
            "cannot be read back at ",
            &format!("so that member {follower} at {address} does not get it; check the disk"),
        ],
    );
    scene.expect(
        follower,
        since,
        &[
            &format!("lockstep: node-{follower}: the log ends at "),
            "nothing has come from the leader, ",
            &format!("member {leader} at "),
        ],
    );
    let counters = scene.members.members[leader].counters().unwrap();
    assert!(counters.notice(NodeNotice::LogUnreadable) > 0);
    assert!(counters.get(Counter::Refused) > 0);
}

#[test]
fn a_member_whose_log_has_rotted_says_so_at_its_start_and_again_when_it_is_whole() {
    let mut scene = Scene::new();
    let follower = scene.follower();
    scene.load();
    scene.members.members[follower].kill().unwrap();
    scene.rot(follower);
    scene.members.members[follower].restart().unwrap();
    let since = Instant::now();
    scene.expect(
        follower,
        since,
        &[
            "before what this member acknowledged",
            "keep the directory as it is",
        ],
    );
    let whole = "has all that this member acknowledged again";
    scene.expect(follower, since, &[whole, "check the disk"]);
}
