//! A service that answers one entry otherwise on some members (`log.md` 5.8): whose answer
//! reaches the client, who stops, and what a restart changes.
#![cfg(feature = "sim")]

use std::cell::Cell;
use std::rc::Rc;

use lockstep_consensus::module::action::HaltReason;
use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::node::fault::NodeFault;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::ResponsesMode;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::snapshot::{
    ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress,
};
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::sim::LinkProfile;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};

/// How a member's service answers the message "odd"; everything else is echoed everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Right,
    Wrong(u8),
    Silent,
}

/// The ways of the members' services; a test may change them while members are down.
type Ways = Rc<Cell<[Way; 3]>>;

struct Odd {
    way: Way,
    position: Rc<Cell<i64>>,
}

impl ClusteredService for Odd {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        let wrong;
        let answer = match self.way {
            _ if bytes != b"odd" => bytes,
            Way::Right => b"right".as_slice(),
            Way::Wrong(which) => {
                wrong = [b'w', which];
                wrong.as_slice()
            }
            Way::Silent => return,
        };
        if bytes == b"odd" {
            self.position.set(cluster.position());
        }
        cluster.respond(from, answer).expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        0
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    fn snapshot_step(
        &mut self,
        _step: u64,
        _snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        Ok(SnapshotProgress::Done)
    }

    fn load_snapshot(
        &mut self,
        _snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        Ok(())
    }
}

struct Stage {
    cluster: SimCluster<Odd>,
    ways: Ways,
    /// Where the odd message is in the log.
    position: Rc<Cell<i64>>,
}

/// Three members of which 0 leads, and a client.
fn stage(ways: [Way; 3], responses: ResponsesMode) -> Stage {
    let ways = Rc::new(Cell::new(ways));
    let position = Rc::new(Cell::new(0));
    let (theirs, place) = (ways.clone(), position.clone());
    let service = move |id: usize| Odd {
        way: theirs.get()[id],
        position: place.clone(),
    };
    Stage {
        cluster: Scenario::of(service)
            .faulty_service()
            .responses(responses)
            .led_by(0),
        ways,
        position,
    }
}

impl Stage {
    /// Asks before, the odd thing, and after it.
    fn ask(&mut self) {
        self.cluster.offer(0, b"before");
        self.cluster.run(10 * MILLISECOND);
        self.cluster.offer(0, b"odd");
        self.cluster.offer(0, b"after");
        self.cluster.run(50 * MILLISECOND);
    }

    fn answers(&self) -> Vec<&[u8]> {
        self.cluster.answers(0)
    }

    fn has_diverged(&self, id: usize) -> bool {
        match self.cluster.fault(id) {
            Some(NodeFault::Halted(HaltReason::Diverged { cause, .. })) => {
                assert_eq!(*cause, self.position.get(), "the fault names the entry");
                true
            }
            Some(other) => panic!("member {id} stopped for another reason: {other}"),
            None => false,
        }
    }

    fn stopped(&self) -> Vec<usize> {
        (0..3).filter(|id| self.has_diverged(*id)).collect()
    }

    /// This member has told this.
    fn expect_told(&mut self, id: usize, kind: NodeNotice) {
        self.cluster.member(id).expect_told(kind);
    }
}

const RIGHT: [&[u8]; 3] = [b"before", b"right", b"after"];

#[test]
fn a_leader_that_differs_alone_stops_before_its_answer_leaves() {
    let ways = [Way::Wrong(1), Way::Right, Way::Right];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.ask();
    assert_eq!(stage.stopped(), [0]);
    assert_eq!(stage.answers(), [b"before"]);
    stage.cluster.run(4 * SECOND);
    assert_eq!(stage.answers(), RIGHT, "the majority's answer, once");
    assert_eq!(stage.stopped(), [0]);
    let next = stage.cluster.expect_some_leader();
    stage.expect_told(next, NodeNotice::VoidResponse);
}

#[test]
fn a_leader_that_differs_alone_stops_on_bad_links_too_and_its_answer_never_leaves() {
    for loss in [0.05, 0.15, 0.3] {
        let ways = [Way::Wrong(1), Way::Right, Way::Right];
        let mut stage = stage(ways, ResponsesMode::Replicated);
        stage.cluster.network.set_profile(LinkProfile {
            delay_ns: 100 * MICROSECOND,
            jitter_ns: MILLISECOND,
            loss,
            duplicate: 0.2,
            reorder: 0.2,
            ..LinkProfile::default()
        });
        stage.ask();
        stage.cluster.run(20 * SECOND);
        assert_eq!(stage.answers(), RIGHT, "at a loss of {loss}");
        assert_eq!(stage.stopped(), [0], "at a loss of {loss}");
    }
}

#[test]
fn a_leader_whose_service_says_nothing_where_the_others_answer_stops() {
    let ways = [Way::Silent, Way::Right, Way::Right];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.ask();
    stage.cluster.run(4 * SECOND);
    assert!(stage.cluster.fault(0).is_some() && stage.cluster.fault(1).is_none());
    assert_eq!(stage.answers(), RIGHT);
}

#[test]
fn a_leader_whose_service_answers_where_the_others_say_nothing_stops() {
    let ways = [Way::Right, Way::Silent, Way::Silent];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.ask();
    stage.cluster.run(4 * SECOND);
    assert!(stage.cluster.fault(0).is_some());
    assert_eq!(stage.answers(), [b"before".as_slice(), b"after"]);
}

#[test]
fn a_follower_that_differs_alone_stops_and_nobody_else_notices() {
    let ways = [Way::Right, Way::Right, Way::Wrong(1)];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.ask();
    assert_eq!(stage.answers(), RIGHT);
    stage.cluster.run(SECOND);
    assert_eq!(stage.stopped(), [2]);
    stage.cluster.expect_leader(0);
    stage.expect_told(0, NodeNotice::MemberDiverged);
    stage.cluster.offer(0, b"more");
    stage.cluster.run(50 * MILLISECOND);
    assert_eq!(stage.answers().last(), Some(&b"more".as_slice()));
}

#[test]
fn where_all_three_differ_ingress_closes_and_says_so() {
    let ways = [Way::Wrong(1), Way::Wrong(2), Way::Right];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.ask();
    stage.cluster.run(SECOND);
    assert_eq!(stage.stopped(), [0; 0]);
    assert_eq!(stage.answers(), [b"before"]);
    stage.expect_told(0, NodeNotice::OutputContested);
    stage.cluster.offer(0, b"more");
    stage.cluster.run(200 * MILLISECOND);
    stage.expect_told(0, NodeNotice::RequestWhileContested);
    assert!(stage.cluster.clients[0].client.counters().refusals > 0);
    assert_eq!(stage.answers(), [b"before"]);
    // One of them is given the service that another one has: now there is a majority.
    let ways = [Way::Wrong(1), Way::Right, Way::Right];
    stage.ways.set(ways);
    stage.cluster.member(1).restart();
    stage.cluster.run(5 * SECOND);
    assert_eq!(stage.stopped(), [0]);
    let all = [b"before".as_slice(), b"right", b"after", b"more"];
    assert_eq!(stage.answers(), all);
}

#[test]
fn with_one_member_down_two_that_differ_wait_for_it_and_clients_are_told() {
    let ways = [Way::Wrong(1), Way::Right, Way::Right];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.cluster.member(2).kill();
    stage.ask();
    stage.cluster.run(SECOND);
    assert_eq!(stage.answers(), [b"before"]);
    stage.expect_told(0, NodeNotice::OutputContested);
    stage.cluster.member(2).start();
    stage.cluster.run(5 * SECOND);
    assert_eq!(stage.stopped(), [0]);
    assert_eq!(stage.answers(), RIGHT);
}

#[test]
fn a_diverged_leader_that_is_restarted_stops_again_at_the_same_entry() {
    let ways = [Way::Wrong(1), Way::Right, Way::Right];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.ask();
    stage.cluster.run(4 * SECOND);
    assert_eq!(stage.answers(), RIGHT);
    for _ in 0..2 {
        stage.cluster.member(0).restart();
        stage.cluster.run(2 * SECOND);
        assert_eq!(stage.stopped(), [0]);
    }
    // With the right service it is a member again.
    stage.ways.set([Way::Right; 3]);
    stage.cluster.member(0).restart();
    stage.cluster.run(2 * SECOND);
    assert_eq!(stage.stopped(), [0; 0]);
    let applied = |stage: &Stage, id| stage.cluster.node(id).agents().consensus.applier.position();
    assert_eq!(applied(&stage, 0), applied(&stage, 1));
}

#[test]
fn a_diverged_follower_that_is_restarted_stops_again_at_the_same_entry() {
    let ways = [Way::Right, Way::Right, Way::Wrong(1)];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.ask();
    stage.cluster.run(SECOND);
    stage.cluster.member(2).restart();
    stage.cluster.run(2 * SECOND);
    assert_eq!(stage.stopped(), [2]);
}

#[test]
fn members_that_all_restart_pass_over_the_void_answer_again() {
    let ways = [Way::Wrong(1), Way::Right, Way::Right];
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.ask();
    stage.cluster.run(4 * SECOND);
    stage.cluster.everybody().kill();
    stage.cluster.members(&[1, 2]).start();
    stage.cluster.run(6 * SECOND);
    assert_eq!(stage.stopped(), [0; 0]);
    stage.cluster.expect_some_leader();
    stage.cluster.offer(0, b"more");
    stage.cluster.run(SECOND);
    let all = [b"before".as_slice(), b"right", b"after", b"more"];
    assert_eq!(stage.answers(), all);
}

/// The same with a snapshot that is asked for behind the odd message and before all answers to it:
/// the disks of those that follow make all of it wait.
fn ask_before_a_snapshot(stage: &mut Stage) {
    stage.cluster.offer(0, b"before");
    stage.cluster.run(10 * MILLISECOND);
    stage.cluster.members(&[1, 2]).stall_disk(100 * MILLISECOND);
    stage.cluster.offer(0, b"odd");
    stage.cluster.offer(0, b"after");
    stage.cluster.run(50 * MILLISECOND);
    assert_eq!(stage.position.get(), 0, "nobody has executed it");
    let now = stage.cluster.now;
    let asked = stage.cluster.node_mut(0).ask_for_snapshot(now);
    stage.cluster.run(300 * MILLISECOND);
    assert!(asked.expect("it leads") > stage.position.get());
}

#[test]
fn members_that_all_begin_behind_the_cause_pass_over_the_void_answer_again() {
    let mut stage = stage(
        [Way::Wrong(1), Way::Right, Way::Right],
        ResponsesMode::Replicated,
    );
    ask_before_a_snapshot(&mut stage);
    stage.cluster.run(4 * SECOND);
    assert_eq!(stage.stopped(), [0]);
    stage.cluster.everybody().kill();
    stage.cluster.members(&[1, 2]).start();
    stage.cluster.run(10 * MILLISECOND);
    for id in [1, 2] {
        let taken = stage.cluster.counter(id, Counter::SnapshotPosition);
        assert!(taken > stage.position.get(), "{taken}");
    }
    stage.cluster.run(6 * SECOND);
    assert_eq!(stage.stopped(), [0; 0]);
    stage.cluster.expect_some_leader();
    stage.cluster.offer(0, b"more");
    stage.cluster.run(SECOND);
    let all = [b"before".as_slice(), b"right", b"after", b"more"];
    assert_eq!(stage.answers(), all);
}

#[test]
fn a_member_that_diverged_executes_again_from_before_when_it_is_started_again() {
    let mut stage = stage(
        [Way::Right, Way::Right, Way::Wrong(1)],
        ResponsesMode::Replicated,
    );
    ask_before_a_snapshot(&mut stage);
    assert_eq!(stage.stopped(), [2]);
    let taken = stage.cluster.counter(2, Counter::SnapshotPosition);
    assert!(taken > stage.position.get(), "it was stored: {taken}");
    stage.ways.set([Way::Right; 3]);
    let _before = marks::take();
    stage.cluster.member(2).stop().start();
    assert!(marks::take().contains(Mark::SnapshotStruck));
    stage.cluster.run(SECOND);
    let stored = stage.cluster.counter(2, Counter::Snapshots);
    assert_eq!(stored, 1, "another in the place of the one that was struck");
    assert_eq!(stage.stopped(), [0; 0]);
    let applied = |id| stage.cluster.node(id).agents().consensus.applier.position();
    assert_eq!(applied(2), applied(0));
}

#[test]
fn with_direct_responses_a_leader_that_differs_alone_stops_after_one_answer() {
    let ways = [Way::Wrong(1), Way::Right, Way::Right];
    let mut stage = stage(ways, ResponsesMode::Direct);
    stage.cluster.offer(0, b"odd");
    stage.cluster.run(20 * MILLISECOND);
    assert!(stage.cluster.fault(0).is_some());
    stage.cluster.run(4 * SECOND);
    assert_ne!(stage.cluster.expect_some_leader(), 0);
    stage.cluster.offer(0, b"more");
    stage.cluster.run(SECOND);
    assert_eq!(stage.answers().last(), Some(&b"more".as_slice()));
}

#[test]
fn with_direct_responses_a_follower_that_differs_alone_stops() {
    let ways = [Way::Right, Way::Right, Way::Wrong(1)];
    let mut stage = stage(ways, ResponsesMode::Direct);
    stage.cluster.offer(0, b"odd");
    stage.cluster.run(SECOND);
    assert!(stage.cluster.fault(2).is_some());
    stage.cluster.expect_leader(0);
    assert_eq!(stage.answers(), [b"right"]);
}

/// Member 2 starts on an emptied directory: it is a learner.
fn with_learner(ways: [Way; 3]) -> Stage {
    let mut stage = stage(ways, ResponsesMode::Replicated);
    stage.cluster.member(2).kill().wipe().start();
    stage.cluster.run(2 * SECOND);
    stage.cluster.member(2).expect_standing(Standing::Learner);
    stage
}

#[test]
fn a_learner_that_differs_is_answered_and_stops_at_the_entry() {
    let ways = [Way::Right, Way::Right, Way::Wrong(1)];
    let mut stage = with_learner(ways);
    stage.ask();
    stage.cluster.run(2 * SECOND);
    assert_eq!(stage.answers(), RIGHT);
    assert_eq!(
        stage.stopped(),
        [2],
        "it holds at an answer and hears nothing"
    );
}

#[test]
fn a_learners_answer_decides_nothing_and_is_counted() {
    let ways = [Way::Right, Way::Wrong(1), Way::Right];
    let mut stage = with_learner(ways);
    stage.ask();
    stage.cluster.run(2 * SECOND);
    stage.expect_told(0, NodeNotice::LearnersAnswer);
    stage.expect_told(0, NodeNotice::OutputContested);
    assert_eq!(stage.answers(), [b"before"]);
    assert_eq!(stage.stopped(), [0; 0]);
}
