//! What services put out is told with acknowledgements and costs no datagram more; answers that
//! wait for it, or leave without, are told.
#![cfg(feature = "sim")]

use std::cell::Cell;
use std::rc::Rc;

use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

/// Echoes, after the time that its member takes at the moment.
struct Slow(Rc<Cell<Nanos>>);

impl ClusteredService for Slow {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        service_time::spend(self.0.get());
        cluster.respond(from, bytes).expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

struct Stage {
    cluster: SimCluster<Slow>,
    /// What the services of the members but the first take.
    others: Rc<Cell<Nanos>>,
}

impl Stage {
    /// Three members of which the first leads, and a client.
    fn new() -> Self {
        let others = Rc::new(Cell::new(0));
        let theirs = others.clone();
        let service = move |id| match id {
            0 => Slow(Rc::default()),
            _ => Slow(theirs.clone()),
        };
        let cluster = Scenario::of(service)
            .cluster(|cluster| cluster.outbox_bytes = 16 << 20)
            .client(|client| client.in_flight_max = 256)
            .led_by(0);
        Self { cluster, others }
    }

    fn answers(&self) -> usize {
        self.cluster.clients[0].client.counters().responses as usize
    }

    /// Makes `count` requests, many at a time, and waits for their answers.
    fn load(&mut self, count: usize) {
        let (goal, mut offered) = (self.answers() + count, 0);
        while self.answers() < goal {
            while offered < count && self.cluster.clients[0].client.in_flight() < 256 {
                self.cluster.offer(0, b"work");
                offered += 1;
            }
            self.cluster.run(MILLISECOND);
        }
    }

    /// Member 1 starts again and has its whole log to execute, while member 2 is down: the first
    /// needs member 1 for a majority.
    fn replay(&mut self, service_ns: Nanos) {
        self.cluster.member(1).kill();
        self.others.set(service_ns);
        self.cluster.member(1).start();
        self.cluster.run(100 * MILLISECOND);
        self.cluster.member(2).kill();
    }
}

#[test]
fn no_datagram_leaves_beside_the_acknowledgements_for_what_services_put_out() {
    const REQUESTS: u64 = 200;
    let mut stage = Stage::new();
    let members: Vec<_> = stage.cluster.setup.cluster.members.clone();
    let sent = |stage: &Stage, id: usize| {
        let (from, to) = (members[id].member, members[0].member);
        stage.cluster.network.sent(from, to)
    };
    let before = [1, 2].map(|id| sent(&stage, id));
    for _ in 0..REQUESTS {
        stage.load(1);
    }
    for (id, before) in [1, 2].into_iter().zip(before) {
        let sent = sent(&stage, id) - before;
        eprintln!("member {id} sent {sent} datagrams for {REQUESTS} requests");
        // One acknowledgement of each request and of each response, and a status message of
        // the log's stream now and then.
        assert!(sent <= 2 * REQUESTS + REQUESTS / 2, "{sent}");
    }
}

#[test]
fn answers_that_wait_for_other_members_outputs_are_told_with_whom_they_wait_for() {
    let mut stage = Stage::new();
    stage.load(1_000);
    stage.replay(3 * MILLISECOND);
    let before = stage.answers();
    stage.cluster.offer(0, b"late");
    stage.cluster.run(2 * SECOND);
    stage.cluster.expect_leader(0);
    assert_eq!(stage.answers(), before, "it waits");
    let kind = NodeNotice::AnswersAwaitOutput;
    stage.cluster.member(0).expect_told(kind);
    let lines = stage.cluster.take_lines(0, kind);
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [
        " ms for what the services of other members put out: ",
        "member 1 at 10.0.0.2:2, member 2 at 10.0.0.3:2; see that the services",
    ] {
        assert!(lines[0].contains(part), "{lines:?}");
    }
    stage.cluster.run(3 * SECOND);
    assert_eq!(stage.answers(), before + 1);
    let mut leader = stage.cluster.member(0);
    leader.expect_not_told(NodeNotice::AnswersUnverified);
}

#[test]
fn answers_that_leave_before_a_majority_has_the_same_are_counted_and_told() {
    let mut stage = Stage::new();
    // More than is remembered of outputs: what member 1 executes at first cannot be compared.
    stage.load(9_000);
    stage.replay(3 * MILLISECOND);
    let before = stage.answers();
    stage.cluster.offer(0, b"early");
    stage.cluster.run(SECOND);
    assert_eq!(
        stage.answers(),
        before + 1,
        "nobody waits for a long replay"
    );
    let lines = stage.cluster.take_lines(0, NodeNotice::AnswersUnverified);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("answers up to that to the entry at "));
    let part = "too few members keep up with executing: member 1 at 10.0.0.2:2, member 2";
    assert!(lines[0].contains(part), "{lines:?}");
}
