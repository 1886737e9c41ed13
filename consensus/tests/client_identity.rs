//! Exactly once at the client and the session: who may speak for a session, to whom the
//! cluster speaks, and what a client that starts again is told. Whole nodes and clients in
//! virtual time.
#![cfg(feature = "sim")]

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ResumePoint;
use lockstep_client::event::OfferResult;
use lockstep_client::identity::ClientIdentity;
use lockstep_client::session::CloseReason;
use lockstep_consensus::sim::scenario::boot::address;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, Told};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::media::randomness;
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

type Cluster = SimCluster<Echo>;

/// Member 0 leads, and client 0 has been answered once.
fn served() -> Cluster {
    let mut cluster = Scenario::echo().led_by(0);
    ask(&mut cluster, 0, "one");
    cluster
}

/// A client asks, and is handed the answer to that and to nothing else.
#[track_caller]
fn ask(cluster: &mut Cluster, client: usize, payload: &str) {
    let answer = cluster.ask(client, payload.as_bytes());
    assert_eq!(answer, payload.as_bytes());
}

/// Another process continues the session of `point`.
#[track_caller]
fn continue_at_another_address(cluster: &mut Cluster, point: Option<ResumePoint>) -> usize {
    cluster.connect(|config| config.resume = point)
}

fn is_connected(cluster: &Cluster, client: usize) -> bool {
    cluster.clients[client].client.is_connected()
}

/// What another process may continue of the session of a client that lives on.
fn written_down(cluster: &Cluster, client: usize) -> Option<ResumePoint> {
    cluster.clients[client].client.resume_point()
}

/// The last that a client was told is that its session has ended for it, for this reason.
fn has_ended(cluster: &Cluster, client: usize, reason: CloseReason) -> bool {
    cluster.clients[client].told.last() == Some(&Told::Closed(reason))
}

/// What a client's old process sends is a request of its.
fn offer_as_the_old_process(old: &mut ClusterClient<SimPort>, now: Nanos) {
    let offered = old.offer(now, b"of the old process");
    let second = OfferResult::Accepted(RequestNumber::new(2));
    assert_eq!(offered, second);
}

/// The leader's process dies for good, and another member leads.
#[track_caller]
fn lose_the_leader(cluster: &mut Cluster) {
    cluster.member(0).kill();
    cluster.run_until(5 * SECOND, |cluster| cluster.leader().is_some());
}

#[test]
fn a_delayed_request_of_the_old_process_takes_no_number_of_the_new_one() {
    let mut cluster = served();
    let late = cluster.now + 2 * SECOND;
    cluster.send_late(0, 2 * SECOND, offer_as_the_old_process);
    let point = cluster.kill_client(0);
    let new = cluster.connect_at(0, |config| config.resume = point);
    // The old one's request arrives just before the new one's.
    cluster.run(late - cluster.now);
    cluster.offer(new, b"of the new process");
    cluster.run(SECOND);
    ask(&mut cluster, new, "last");
    cluster.expect_answers(new, &[(2, b"of the new process"), (3, b"last")]);
}

#[test]
fn an_old_process_is_fenced_and_told_so_when_a_new_one_takes_over_its_session() {
    let mut cluster = served();
    let point = written_down(&cluster, 0);
    let new = continue_at_another_address(&mut cluster, point);
    cluster.run_until(SECOND, |cluster| has_ended(cluster, 0, CloseReason::Fenced));
    ask(&mut cluster, new, "two");
    cluster.run(5 * SECOND);
    ask(&mut cluster, new, "three");
    cluster.expect_closed(new, None);
    assert!(cluster.clients[new].client.is_connected());
}

#[test]
fn an_old_process_is_fenced_after_a_failover_too() {
    let mut cluster = served();
    let point = written_down(&cluster, 0);
    // It sleeps while another process takes its session over and the leader dies.
    cluster.pause_client(0);
    let new = continue_at_another_address(&mut cluster, point);
    ask(&mut cluster, new, "two");
    lose_the_leader(&mut cluster);
    cluster.wake_client(0);
    cluster.run_until(10 * SECOND, |cluster| {
        has_ended(cluster, 0, CloseReason::Fenced)
    });
    ask(&mut cluster, new, "three");
    cluster.run(5 * SECOND);
    ask(&mut cluster, new, "four");
    cluster.expect_closed(new, None);
}

#[test]
fn after_a_resume_and_a_failover_the_new_leader_speaks_to_the_last_address() {
    let mut cluster = served();
    let point = cluster.kill_client(0);
    let resumed = continue_at_another_address(&mut cluster, point);
    ask(&mut cluster, resumed, "two");
    lose_the_leader(&mut cluster);
    let counters = |cluster: &Cluster| *cluster.clients[resumed].client.counters();
    // It is told so, and nothing after that.
    cluster.run_until(100 * MILLISECOND, |cluster| {
        let told = cluster.clients[resumed].told.last();
        matches!(told, Some(Told::Other(words)) if words.starts_with("NewLeader"))
    });
    assert_eq!(counters(&cluster).leader_changes, 1);
    assert_eq!(counters(&cluster).leader_losses, 0);
    ask(&mut cluster, resumed, "three");
}

#[test]
fn a_failover_costs_a_resumed_client_no_more_than_another() {
    let mut cluster = served();
    let plain = cluster.connect(|_| {});
    let point = cluster.kill_client(0);
    let resumed = continue_at_another_address(&mut cluster, point);
    for client in [plain, resumed] {
        ask(&mut cluster, client, "two");
    }
    cluster.member(0).kill();
    let has_changed = |cluster: &Cluster, client: usize| {
        cluster.clients[client].client.counters().leader_changes == 1
    };
    let of_plain = cluster.run_until(5 * SECOND, |cluster| has_changed(cluster, plain));
    let more = cluster.run_until(5 * SECOND, |cluster| has_changed(cluster, resumed));
    assert!(more < 5 * MILLISECOND, "{more} ns more than {of_plain}");
}

#[test]
fn an_idle_default_client_outlives_a_session_timeout_below_its_keepalive_interval() {
    let scenario = Scenario::echo();
    let mut cluster = scenario
        .cluster(|cluster| cluster.session_timeout_ns = 400 * MILLISECOND)
        .led_by(0);
    cluster.run(5 * SECOND);
    // It was told that it is connected, and nothing else.
    assert_eq!(cluster.clients[0].told.len(), 1);
    ask(&mut cluster, 0, "still here");
}

#[test]
fn a_delayed_request_of_the_old_process_takes_no_number_after_a_failover() {
    let mut cluster = served();
    // What it wrote down is older than the failover.
    let point = written_down(&cluster, 0);
    lose_the_leader(&mut cluster);
    cluster.run_until(5 * SECOND, |cluster| is_connected(cluster, 0));
    // A request to the new leader, on a stream that stands.
    let late = cluster.now + 2 * SECOND;
    cluster.send_late(0, 2 * SECOND, offer_as_the_old_process);
    cluster.kill_client(0);
    let new = continue_at_another_address(&mut cluster, point);
    cluster.run(late + 50 * MICROSECOND - cluster.now);
    assert_eq!(cluster.offer(new, b"of the new process").get(), 2);
    cluster.run(SECOND);
    cluster.expect_answers(new, &[(2, b"of the new process")]);
}

#[test]
fn a_delayed_farewell_of_the_old_process_does_not_close_the_session_of_the_new_one() {
    let mut cluster = served();
    let point = written_down(&cluster, 0);
    cluster.send_late(0, SECOND, |old, now| old.close(now));
    cluster.kill_client(0);
    let new = cluster.connect_at(0, |config| config.resume = point);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.clients[new].told.len(), 1);
    ask(&mut cluster, new, "two");
}

#[test]
fn a_process_that_died_before_it_wrote_anything_down_does_not_keep_its_successor_out() {
    let mut cluster = served();
    let point = cluster.kill_client(0);
    for _ in 0..3 {
        let successor = continue_at_another_address(&mut cluster, point);
        ask(&mut cluster, successor, "another");
        cluster.kill_client(successor);
    }
}

#[test]
fn two_clients_with_identities_of_the_operating_system_are_two_sessions() {
    let mut cluster = Scenario::echo().clients(0).led_by(0);
    let sessions = [101, 102].map(|host| {
        let identity = ClientIdentity::draw(&mut randomness().unwrap());
        let client = cluster.join_as(address(host, 1), identity, |_| {});
        cluster.run_until(5 * SECOND, |cluster| is_connected(cluster, client));
        ask(&mut cluster, client, "one");
        cluster.clients[client].client.session_id()
    });
    assert_eq!(sessions, [1, 2].map(|id| Some(SessionId::new(id))));
}

#[test]
fn a_client_that_names_another_cluster_is_told_so() {
    let mut cluster = Scenario::echo().clients(0).led_by(0);
    let client = cluster.join(|config| config.cluster_id = 1);
    cluster.run_until(SECOND, |cluster| {
        has_ended(cluster, client, CloseReason::Rejected)
    });
    let detail = cluster.clients[client].client.close_detail();
    assert!(detail.starts_with(b"the client names another cluster"));
}

#[test]
fn a_new_process_gets_the_answers_that_the_old_one_took_after_its_resume_point() {
    let mut cluster = served();
    let point = written_down(&cluster, 0);
    // The old process acknowledges these, and the leader writes that into the log.
    ask(&mut cluster, 0, "two");
    ask(&mut cluster, 0, "three");
    cluster.run(5 * SECOND);
    cluster.kill_client(0);
    let new = continue_at_another_address(&mut cluster, point);
    cluster.run_until(SECOND, |cluster| cluster.answers(new).len() == 2);
    cluster.expect_answers(new, &[(2, b"two"), (3, b"three")]);
    // The next leader starts from what the new process has, too: this one was known to be there.
    let another = cluster.join(|config| config.resume = point);
    cluster.run_until(SECOND, |cluster| is_connected(cluster, another));
    assert_eq!(cluster.answers(another).len(), 0);
    cluster.member(0).kill();
    cluster.run_until(10 * SECOND, |cluster| cluster.answers(another).len() == 2);
    cluster.expect_answers(another, &[(2, b"two"), (3, b"three")]);
    ask(&mut cluster, another, "four");
}
