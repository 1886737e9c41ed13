//! What sessions cost a node: nothing while nothing happens to them, and nothing once their
//! clients are gone. Counted in looks at rows, not in time.
#![cfg(feature = "sim")]

mod crowd;

use crowd::{Crowd, Node};
use lockstep_client::config::ClientConfig;
use lockstep_consensus::agent::identity::cluster_id;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

#[test]
fn rows_of_vanished_clients_are_freed() {
    const AT_A_TIME: usize = 8;
    // Their channels end first, then their sessions.
    let mut crowd = Crowd::new(1, AT_A_TIME, 8 * SECOND);
    crowd.run(SECOND);
    for _ in 0..12 {
        // Half of them ask and are gone before any answer reaches them.
        crowd.connect(AT_A_TIME / 2);
        for client in &mut crowd.clients {
            for _ in 0..40 {
                client.ask(crowd.now);
            }
        }
        // The others are gone before they hear that their session is open.
        for _ in 0..AT_A_TIME / 2 {
            crowd.join(None);
        }
        while crowd.sessions() < AT_A_TIME {
            crowd.step();
        }
        for client in 0..AT_A_TIME {
            crowd.kill(client);
        }
        let is_free = |crowd: &Crowd| crowd.sessions() == 0;
        assert!(crowd.run_until(20 * SECOND, is_free), "all expire");
        crowd.clients.clear();
    }
    // Streams of clients that are gone are remembered for ten seconds at most.
    crowd.run(12 * SECOND);
    let parts = crowd.leader().parts();
    assert_eq!(parts.delivery.count(), 0, "rows of egress");
    assert_eq!(parts.channels.count(), 0, "channels");
    assert_eq!(parts.images.count(), 0, "images");
    assert_eq!(parts.leadership.sessions.count(), 0);
}

#[test]
fn a_client_that_stays_away_while_its_session_lasts_has_no_row() {
    let mut crowd = Crowd::new(1, 8, 60 * SECOND);
    crowd.run(SECOND);
    crowd.connect(1);
    let now = crowd.now;
    assert!(crowd.clients[0].ask(now));
    let point = crowd.clients[0].client.resume_point();
    crowd.kill(0);
    crowd.run(12 * SECOND);
    assert_eq!(crowd.sessions(), 1);
    assert_eq!(crowd.leader().parts().delivery.count(), 0);
    assert_eq!(crowd.leader().parts().channels.count(), 0);
    // What it was not told meanwhile it is told when it is back.
    let back = crowd.join(point);
    let is_told = |crowd: &Crowd| crowd.clients[back].answered == 1;
    assert!(crowd.run_until(2 * SECOND, is_told));
}

#[test]
fn every_session_with_news_has_its_acknowledgements_logged() {
    const BUSY: usize = 80;
    const QUIET: usize = 20;
    let mut crowd = Crowd::new(1, BUSY + QUIET, 10 * SECOND);
    crowd.keepalive_interval_ns = 20 * MILLISECOND;
    crowd.run(SECOND);
    crowd.connect(BUSY);
    crowd.ask_all(0..BUSY);
    crowd.connect(QUIET);
    crowd.run(300 * MILLISECOND);
    crowd.ask_all(BUSY..BUSY + QUIET);
    // The busy ones have news almost always; the quiet ones once, and then never again.
    for _ in 0..10 {
        crowd.ask_all(0..BUSY);
        crowd.run(500 * MILLISECOND);
    }
    let table = crowd.leader().parts().applier.sessions();
    let unlogged = |client: &crowd::Client| {
        let session = client.client.session_id().and_then(|id| table.get(id));
        session.is_none_or(|session| session.acknowledged == 0)
    };
    let quiet = &crowd.clients[BUSY..];
    assert_eq!(quiet.iter().filter(|client| unlogged(client)).count(), 0);
}

#[test]
fn sessions_that_lag_share_one_scan_of_the_log() {
    const CLIENTS: usize = 60;
    let mut crowd = Crowd::new(1, CLIENTS, 60 * SECOND);
    crowd.run(SECOND);
    crowd.connect(CLIENTS);
    for client in &mut crowd.clients {
        for _ in 0..50 {
            client.ask(crowd.now);
        }
    }
    for client in 0..CLIENTS {
        crowd.kill(client);
    }
    crowd.run(6 * SECOND);
    let points: Vec<_> = crowd
        .clients
        .iter()
        .map(|client| client.client.resume_point())
        .collect();
    crowd.clients.clear();
    let before = crowd.leader().parts().delivery.passes();
    for point in points {
        crowd.join(point);
    }
    let is_told = |crowd: &Crowd| crowd.clients.iter().all(|client| client.answered == 50);
    assert!(crowd.run_until(5 * SECOND, is_told));
    let passes = crowd.leader().parts().delivery.passes() - before;
    assert!(passes <= 6, "{passes} scans for {CLIENTS} sessions");
}

/// Most looks at rows in one cycle that found nothing to do, over `duration`.
fn idle_visits(node: &mut Node, mut now: Nanos, duration: Nanos) -> u64 {
    let end = now + duration;
    let mut most = 0;
    while now < end {
        let before = node.visits();
        if node.do_work(now) == 0 {
            most = most.max(node.visits() - before);
        }
        now += 10_000;
    }
    most
}

fn connected(sessions: usize) -> Crowd {
    let mut crowd = Crowd::new(1, 1024, 100 * SECOND);
    crowd.run(SECOND);
    crowd.connect(sessions);
    crowd.ask_all(0..sessions);
    crowd.run(500 * MILLISECOND);
    crowd
}

#[test]
fn an_idle_cycle_costs_no_more_with_a_thousand_sessions_than_with_one() {
    let visits = |sessions| {
        let mut crowd = connected(sessions);
        let now = crowd.now;
        idle_visits(&mut crowd.nodes[0], now, SECOND)
    };
    let (one, thousand) = (visits(1), visits(1000));
    assert!(thousand <= 2 * one, "{thousand} looks, {one} with one");
}

#[test]
fn one_active_session_costs_no_more_among_a_thousand() {
    // The others are stopped, and the time is too short for anything to be due for them.
    let visits = |sessions| {
        let mut crowd = connected(sessions);
        let sent = crowd.network.counters().sent;
        for client in &mut crowd.clients[1..] {
            client.is_stopped = true;
        }
        let before = crowd.nodes[0].visits();
        for _ in 0..20 {
            crowd.ask_all(0..1);
        }
        let visits = crowd.nodes[0].visits() - before;
        (visits, crowd.network.counters().sent - sent)
    };
    let ((one, sent_one), (thousand, sent_thousand)) = (visits(1), visits(1000));
    // Heartbeats and status messages of the others are due all the same: a look or two each.
    let due = 4 * (sent_thousand - sent_one);
    assert!(
        thousand <= 2 * one + due,
        "{thousand} looks, {one} with one, {due} for {sent_thousand} datagrams"
    );
}

#[test]
fn a_keepalive_of_a_session_that_has_no_news_is_not_logged() {
    let mut crowd = Crowd::new(1, 8, 60 * SECOND);
    crowd.run(SECOND);
    let config = ClientConfig {
        members: crowd.cluster.members.iter().map(|m| m.ingress).collect(),
        cluster_id: cluster_id(&crowd.cluster.name),
        keepalive_interval_ns: 50 * MILLISECOND,
        ..ClientConfig::default()
    };
    crowd.join_with(config);
    let is_done = |crowd: &Crowd| crowd.clients[0].is_connected();
    assert!(crowd.run_until(2 * SECOND, is_done));
    crowd.ask_all(0..1);
    crowd.run(3 * SECOND);
    let end = crowd.leader().parts().store.append();
    crowd.run(3 * SECOND);
    assert_eq!(crowd.leader().parts().store.append(), end);
}
