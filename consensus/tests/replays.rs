//! What a member makes of its log when it starts: what it knew to be committed is applied again
//! whether it hears a leader or not (`log.md` 4.4), and as long as that lasts, others lead
//! (`log.md` 4.5).
#![cfg(feature = "sim")]

use std::cell::Cell;
use std::rc::Rc;

use lockstep_consensus::module::consensus_module::Role;
use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster as Emitter};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::samples::counter::Counter;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

type Cluster = SimCluster<Counter>;

/// Three members that have added up 1 to 20, and have written down that it is committed.
fn having_counted() -> Cluster {
    let mut cluster = Scenario::of(|_| Counter::new()).led_by(0);
    for amount in 1..=20_i64 {
        cluster.ask(0, &amount.to_le_bytes());
    }
    cluster.run(SECOND);
    cluster
}

fn sum(cluster: &Cluster, id: usize) -> i64 {
    let container = cluster.node(id).agents().service.container();
    container.expect("on its own thread").service().sum()
}

fn applied<S: ClusteredService>(cluster: &SimCluster<S>, id: usize) -> Position {
    cluster.node(id).agents().consensus.applier.position()
}

#[test]
fn a_member_that_is_started_alone_has_its_state_again_without_a_leader() {
    let mut cluster = having_counted();
    let committed = cluster.committed();
    cluster.everybody().kill();
    for id in 0..3 {
        cluster.member(id).start();
        cluster.run(100 * MILLISECOND);
        cluster.expect_no_leader();
        assert_eq!(cluster.commit(id), committed);
        assert_eq!(applied(&cluster, id), committed);
        assert_eq!(sum(&cluster, id), 210);
        cluster.member(id).kill();
    }
    cluster.everybody().start();
    cluster.run(3 * SECOND);
    cluster.ask(0, &1_i64.to_le_bytes());
    cluster.run(SECOND);
    cluster.expect_equal_logs();
}

#[test]
fn a_damaged_member_applies_nothing_before_a_leader_has_repaired_it() {
    let mut cluster = having_counted();
    let committed = cluster.committed();
    cluster.everybody().kill();
    cluster.member(1).rot(committed - 200).start();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_damaged(true);
    assert_eq!(cluster.commit(1), 0);
    cluster.members(&[0, 2]).start();
    cluster.run(3 * SECOND);
    cluster
        .member(1)
        .expect_damaged(false)
        .expect_commit(committed);
    assert_eq!(sum(&cluster, 1), 210);
}

#[test]
fn a_member_that_may_have_lost_its_unsynced_log_no_longer_says_what_was_committed_in_it() {
    let scenario = Scenario::of(|_| Counter::new()).sync(SyncMode::None);
    let mut cluster = scenario.led_by(0);
    for amount in 1..=200_i64 {
        cluster.ask(0, &amount.to_le_bytes());
    }
    cluster.run(2 * SECOND);
    cluster.everybody().kill();
    // All is in the page cache, and goes; whatever is lost later, what is gone is not known again.
    cluster.member(1).lose_power().start();
    let marked = |cluster: &Cluster| cluster.disk(1).durable_mark().expect("a mark").commit;
    let end = cluster.durable(1);
    assert!(marked(&cluster) <= end, "{} of {end}", marked(&cluster));
    cluster.member(1).kill().rot_file("node-state.dat").start();
    cluster.run(100 * MILLISECOND);
    assert!(marked(&cluster) <= end && cluster.commit(1) <= end);
}

/// Echoes, after so long as is set at the moment.
struct Slow(Rc<Cell<Nanos>>);

impl ClusteredService for Slow {
    fn on_session_message(&mut self, emitter: &mut Emitter<'_>, from: ClientSession, bytes: &[u8]) {
        service_time::spend(self.0.get());
        emitter.respond(from, bytes).expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

/// Three members that have executed 300 requests, led by the first: who does so again from now on
/// takes three seconds for it.
fn slow_to_replay(seed: u64) -> SimCluster<Slow> {
    let pace = Rc::new(Cell::new(0));
    let own = Rc::clone(&pace);
    let scenario = Scenario::of(move |_| Slow(Rc::clone(&own)));
    let mut cluster = scenario.node(|node| node.seed = seed).led_by(0);
    cluster.answer(300);
    cluster.run(SECOND);
    pace.set(10 * MILLISECOND);
    cluster
}

fn is_replaying(cluster: &SimCluster<Slow>, id: usize) -> bool {
    applied(cluster, id) < cluster.commit(id)
}

#[test]
fn a_member_that_replays_its_log_does_not_lead_where_another_can() {
    for seed in 0..9 {
        let mut cluster = slow_to_replay(seed);
        cluster.member(1).restart();
        // It has joined its leader, or has not heard it yet.
        cluster.run((seed as i64 % 3) * 100 * MILLISECOND);
        cluster.member(0).kill();
        cluster.run(1500 * MILLISECOND);
        assert!(is_replaying(&cluster, 1));
        cluster.expect_leader(2);
        cluster.answer(1);
    }
}

#[test]
fn a_leader_that_is_started_again_leaves_its_place_to_who_has_nothing_to_replay() {
    for seed in 0..9 {
        let mut cluster = slow_to_replay(seed);
        cluster.member(0).restart();
        cluster.run(1500 * MILLISECOND);
        assert!(is_replaying(&cluster, 0));
        assert_ne!(cluster.expect_some_leader(), 0);
    }
}

/// Who leads, whether it serves yet or not.
fn elected(cluster: &SimCluster<Slow>) -> Option<usize> {
    let mut up = (0..3).filter(|id| cluster.is_up(*id));
    up.find(|id| {
        let module = &cluster.node(*id).agents().consensus.module;
        module.role() == Role::Leader
    })
}

#[test]
fn members_that_all_replay_their_logs_have_a_leader_before_they_are_done() {
    for seed in 0..4 {
        let mut cluster = slow_to_replay(seed);
        cluster.everybody().restart();
        cluster.run(2200 * MILLISECOND);
        let leader = elected(&cluster).expect("a leader");
        assert!(is_replaying(&cluster, leader));
        cluster.run(1500 * MILLISECOND);
        cluster.expect_leader(leader);
        cluster.answer(1);
    }
}

#[test]
fn the_only_member_whose_log_has_everything_leads_although_it_replays() {
    let mut cluster = slow_to_replay(1);
    cluster.member(2).kill();
    cluster.answer(1);
    cluster.everybody().kill();
    cluster.members(&[1, 2]).start();
    cluster.run(2200 * MILLISECOND);
    assert!(is_replaying(&cluster, 1));
    assert_eq!(elected(&cluster), Some(1));
}
