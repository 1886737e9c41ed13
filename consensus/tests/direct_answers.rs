//! Direct answers leave before anybody can compare them; from the first doubt on none does. And
//! none leaves on a channel of another session.
#![cfg(feature = "sim")]

use lockstep_consensus::settings::config::ResponsesMode;
use lockstep_consensus::settings::threading::Threading;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::{MILLISECOND, SECOND};

/// Requests made at once; each takes the service two milliseconds.
const REQUESTS: usize = 100;

/// Repeats each message, after a while; member 0 gives a wrong answer to the first.
struct Slow {
    is_wrong: bool,
}

impl ClusteredService for Slow {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        service_time::spend(2 * MILLISECOND);
        let answer = if self.is_wrong && bytes == b"odd" {
            b"bad"
        } else {
            bytes
        };
        cluster.respond(from, answer).expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

#[test]
fn from_the_first_contradiction_on_no_answer_leaves_until_it_is_known_who_is_right() {
    expect_held_answers(Threading::SHARED);
}

#[test]
fn nor_does_one_that_a_service_with_a_thread_was_on_its_way_to_give() {
    expect_held_answers(Threading::SPLIT);
}

fn expect_held_answers(threading: Threading) {
    let mut cluster = Scenario::of(|id| Slow { is_wrong: id == 0 })
        .faulty_service()
        .responses(ResponsesMode::Direct)
        .node(|node| node.threading = threading)
        .client(|client| client.in_flight_max = 256)
        .led_by(0);
    // One follower contradicts the leader, the other is not heard for a moment.
    cluster.cut(0, 2);
    let now = cluster.now;
    cluster.clients[0].client.offer(now, b"odd");
    for _ in 1..REQUESTS {
        cluster.clients[0].client.offer(now, b"more");
    }
    // The follower reports at its next heartbeat at the latest.
    cluster.run(100 * MILLISECOND);
    let left = cluster.answers(0).len();
    assert!(
        (1..REQUESTS / 2).contains(&left),
        "{left} answers have left"
    );
    cluster.run(200 * MILLISECOND);
    assert_eq!(cluster.answers(0).len(), left);
    assert!(
        cluster.fault(0).is_none(),
        "it cannot know that it is wrong"
    );
    cluster.heal();
    cluster.run(SECOND);
    assert!(cluster.fault(0).is_some());
}

/// Tells every session that is open what any of them says.
struct Crier {
    sessions: Vec<ClientSession>,
}

impl ClusteredService for Crier {
    fn on_session_open(&mut self, _: &mut Cluster<'_>, session: ClientSession) {
        self.sessions.push(session);
    }

    fn on_session_close(&mut self, _: &mut Cluster<'_>, session: ClientSession) {
        self.sessions.retain(|open| *open != session);
    }

    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, _: ClientSession, bytes: &[u8]) {
        for session in &self.sessions {
            cluster.respond(*session, bytes).expect("a short answer");
        }
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

/// Three clients of a crier's cluster. The last came to the address of the second, which died
/// when the leader had its connect and before it heard the answer: the last asks before the
/// session of the second is open, or after.
fn started_again(responses: ResponsesMode, is_open: bool) -> SimCluster<Crier> {
    let crier = |_| Crier {
        sessions: Vec::new(),
    };
    let mut cluster = Scenario::of(crier).responses(responses).led_by(0);
    let channels =
        |cluster: &SimCluster<Crier>| cluster.node(0).agents().clients.egress.channels.count();
    let before = channels(&cluster);
    if !is_open {
        cluster.cut(0, 1);
        cluster.cut(0, 2);
    }
    let first = cluster.join(|_| {});
    cluster.run_until(SECOND, |cluster| channels(cluster) > before);
    cluster.kill_client(first);
    cluster.run(5 * MILLISECOND);
    cluster.join_at(first, |_| {});
    cluster.run(5 * MILLISECOND);
    cluster.heal();
    cluster.run(500 * MILLISECOND);
    assert_eq!(
        cluster
            .node(0)
            .agents()
            .consensus
            .applier
            .sessions()
            .sessions()
            .len(),
        3
    );
    cluster
}

#[test]
fn a_client_that_starts_again_before_it_was_told_shares_no_channel_with_who_it_was() {
    for responses in [ResponsesMode::Direct, ResponsesMode::Replicated] {
        for is_open in [false, true] {
            let mut cluster = started_again(responses, is_open);
            assert_eq!(cluster.ask(0, b"hear"), b"hear");
            cluster.run(100 * MILLISECOND);
            cluster.everybody().expect_up();
            let case = (responses, is_open);
            assert_eq!(cluster.clients[2].responses(), [b"hear"], "{case:?}");
            // Nor does it lose its channel when the session of who it was is closed.
            cluster.run(30 * SECOND);
            assert_eq!(cluster.ask(2, b"still"), b"still", "{case:?}");
            assert_eq!(cluster.clients[2].told.len(), 3, "{case:?}");
        }
    }
}

#[test]
fn a_client_that_starts_again_shares_no_channel_that_a_new_leader_opened_for_who_it_was() {
    for responses in [ResponsesMode::Direct, ResponsesMode::Replicated] {
        let crier = |_| Crier {
            sessions: Vec::new(),
        };
        let scenario = Scenario::of(crier).responses(responses).clients(2);
        let mut cluster = scenario.led_by(1);
        cluster.kill_client(1);
        cluster.member(1).kill();
        let is_open = |cluster: &SimCluster<Crier>| {
            let mut channels =
                [0, 2].map(|id| cluster.node(id).agents().clients.egress.channels.count());
            channels.sort_unstable();
            channels == [0, 2]
        };
        cluster.run_until(5 * SECOND, is_open);
        // The first SETUP found nobody, and the second comes after the connect.
        cluster.run(20 * MILLISECOND);
        cluster.join_at(1, |_| {});
        cluster.run(500 * MILLISECOND);
        assert_eq!(cluster.ask(0, b"hear"), b"hear");
        cluster.run(100 * MILLISECOND);
        cluster.members(&[0, 2]).expect_up();
        assert_eq!(cluster.clients[2].responses(), [b"hear"], "{responses:?}");
    }
}
