//! A service on a thread of its own holds up answers, and nothing else.
#![cfg(feature = "sim")]

use lockstep_client::session::CloseReason;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::{ResponsesMode, SyncMode};
use lockstep_consensus::settings::threading::Threading;
use lockstep_consensus::sim::scenario::{Pace, Scenario, SimCluster};
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

/// Answers each request with it, and with how many there were, after so long; a quiet one not.
struct Counting {
    service_ns: Nanos,
    requests: u64,
}

impl ClusteredService for Counting {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        service_time::spend(self.service_ns);
        assert_ne!(bytes, b"panic", "as it was told");
        self.requests += 1;
        if bytes == b"quiet" {
            return;
        }
        for answer in [bytes, &self.requests.to_le_bytes()] {
            cluster.respond(from, answer).expect("a short answer");
        }
    }

    fn state_hash(&self) -> u64 {
        self.requests
    }
}

/// Requests of these tests may be many under way.
const WINDOW: usize = 4096;

fn scenario(service_ns: Nanos) -> Scenario<Counting> {
    let service = move |_| Counting {
        service_ns,
        requests: 0,
    };
    Scenario::of(service)
        .cluster(|cluster| cluster.outbox_bytes = 128 << 20)
        .node(|node| node.threading = Threading::SPLIT)
        .client(|client| client.in_flight_max = WINDOW)
}

fn offer(cluster: &mut SimCluster<Counting>, requests: usize) {
    let now = cluster.now;
    for _ in 0..requests {
        cluster.clients[0].client.offer(now, b"work");
    }
}

fn await_answers(cluster: &mut SimCluster<Counting>, count: usize, patience: Nanos) {
    cluster.run_until(patience, |cluster| cluster.answers(0).len() >= count);
    assert_eq!(cluster.answers(0).len(), count);
}

#[test]
fn a_slow_service_with_a_thread_takes_no_duty_cycle_and_no_leadership() {
    let mut cluster = scenario(4 * MILLISECOND).led_by(0);
    let term = cluster.term();
    offer(&mut cluster, 64);
    await_answers(&mut cluster, 128, 5 * SECOND);
    assert_eq!(cluster.term(), term);
    for id in 0..3 {
        assert_eq!(cluster.longest_cycle(id), 0, "member {id}");
    }
}

#[test]
fn requests_are_committed_while_every_service_stalls_and_answered_when_they_go_on() {
    let mut cluster = scenario(0).led_by(0);
    let term = cluster.term();
    for id in 0..3 {
        cluster.member(id).stall_service(3 * SECOND);
    }
    let commit = cluster.commit(0);
    offer(&mut cluster, 20);
    cluster.run(100 * MILLISECOND);
    assert!(cluster.commit(0) >= commit + 20 * 96, "they are committed");
    assert!(cluster.answers(0).is_empty());
    cluster.run(2 * SECOND);
    for id in 0..3 {
        assert!(cluster.noted(id, NodeNotice::ServiceStalled) > 0);
    }
    await_answers(&mut cluster, 40, 5 * SECOND);
    assert_eq!(cluster.term(), term);
}

#[test]
fn a_follower_whose_service_stalls_for_ten_seconds_delays_nobody() {
    let mut cluster = scenario(0).led_by(0);
    cluster.member(2).stall_service(10 * SECOND);
    let mut slowest = 0;
    for round in 1..=50 {
        let begun = cluster.now;
        offer(&mut cluster, 1);
        await_answers(&mut cluster, 2 * round, SECOND);
        slowest = slowest.max(cluster.now - begun);
        cluster.run(100 * MILLISECOND);
    }
    assert!(slowest <= 20 * MILLISECOND, "{slowest} ns");
    // It executes what it missed, and has the others' state.
    cluster.run(8 * SECOND);
    let state = |id: usize| {
        cluster
            .node(id)
            .container()
            .expect("it is not behind")
            .state_hash()
    };
    assert_eq!([state(0), state(1), state(2)], [50; 3]);
}

#[test]
fn a_member_applies_no_more_than_its_services_queue_takes() {
    let mut cluster = scenario(0).led_by(0);
    cluster.member(2).stall_service(2 * SECOND);
    let commit = cluster.commit(0);
    let now = cluster.now;
    for _ in 0..2000 {
        cluster.clients[0].client.offer(now, b"quiet");
    }
    cluster.run(SECOND);
    let end = commit + 2000 * 96;
    assert!(cluster.commit(2) >= end);
    let applied = |cluster: &SimCluster<Counting>, id: usize| {
        let agents = cluster.node(id).agents();
        agents.consensus.applier.position()
    };
    assert!(applied(&cluster, 0) >= end && applied(&cluster, 2) < end);
    assert!(marks::take().contains(Mark::ApplyWaitsForService));
    cluster.run(2 * SECOND);
    assert_eq!(applied(&cluster, 2), applied(&cluster, 0));
}

#[test]
fn answers_leave_once_and_in_order_over_a_change_of_leader_while_services_stall() {
    let mut cluster = scenario(0).led_by(0);
    for id in 0..3 {
        cluster.member(id).stall_service(300 * MILLISECOND);
    }
    offer(&mut cluster, 10);
    cluster.run(50 * MILLISECOND);
    cluster.member(0).kill();
    await_answers(&mut cluster, 20, 10 * SECOND);
    cluster.member(0).start();
    offer(&mut cluster, 10);
    await_answers(&mut cluster, 40, 10 * SECOND);
    let answers = cluster.answers(0);
    let counts = answers.iter().skip(1).step_by(2);
    let counts: Vec<u64> = counts
        .map(|answer| u64::from_le_bytes((*answer).try_into().unwrap()))
        .collect();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_service_that_panics_on_its_thread_stops_its_node_and_names_the_entry() {
    let mut cluster = scenario(0).members(1).faulty_service().led_by(0);
    let position = cluster.commit(0);
    let now = cluster.now;
    cluster.clients[0].client.offer(now, b"panic");
    cluster.run(SECOND);
    let place = format!("panicked at position {position}");
    cluster.member(0).expect_stopped(&place);
    cluster.member(0).expect_stopped("as it was told");
}

#[test]
fn a_sessions_end_comes_after_its_direct_answers_although_the_service_stalls() {
    let mut cluster = scenario(0)
        .cluster(|cluster| {
            cluster.responses = ResponsesMode::Direct;
            cluster.session_timeout_ns = 400 * MILLISECOND;
        })
        .led_by(0);
    cluster.member(0).stall_service(SECOND);
    offer(&mut cluster, 3);
    cluster.run(20 * MILLISECOND);
    cluster.pause_client(0);
    cluster.run(700 * MILLISECOND);
    cluster.wake_client(0);
    cluster.expect_closed(0, None);
    cluster.run(SECOND);
    assert_eq!(cluster.answers(0).len(), 6);
    cluster.expect_closed(0, Some(CloseReason::Expired));
}

#[test]
fn an_answer_waits_for_no_report_of_a_follower_that_has_nothing_more_to_acknowledge() {
    let mut cluster = scenario(0)
        .node(|node| node.sync = SyncMode::None)
        .pace(Pace {
            step_ns: 10 * MICROSECOND,
            ..Pace::default()
        })
        .led_by(0);
    cluster.run(100 * MILLISECOND);
    for round in 1..=10 {
        let begun = cluster.now;
        offer(&mut cluster, 1);
        await_answers(&mut cluster, 2 * round, SECOND);
        let took = cluster.now - begun;
        assert!(took < 800 * MICROSECOND, "{took} ns");
        cluster.run(5 * MILLISECOND);
    }
}
