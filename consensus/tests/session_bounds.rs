//! What sessions cost a node: nothing while nothing happens to them, and nothing once their
//! clients are gone. Counted in looks at rows, not in time.
#![cfg(feature = "sim")]

mod crowd;

use crowd::{Cluster, ask, ask_all, connect, join, join_with, leader, sessions};
use lockstep_consensus::sim::scenario::Client;
use lockstep_consensus::sim::scenario::boot::SimNode;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

#[test]
fn rows_of_vanished_clients_are_freed() {
    const AT_A_TIME: usize = 8;
    // Their channels end first, then their sessions.
    let mut cluster = crowd::led(1, AT_A_TIME, 8 * SECOND);
    for _ in 0..12 {
        // Half of them ask and are gone before any answer reaches them.
        let asking = connect(&mut cluster, AT_A_TIME / 2);
        for client in asking.clone() {
            for _ in 0..40 {
                ask(&mut cluster, client);
            }
        }
        // The others are gone before they hear that their session is open.
        for _ in 0..AT_A_TIME / 2 {
            join(&mut cluster, None);
        }
        while sessions(&cluster) < AT_A_TIME {
            cluster.step();
        }
        crowd::kill(&mut cluster, asking.start..asking.start + AT_A_TIME);
        // All expire.
        cluster.run_until(20 * SECOND, |cluster| sessions(cluster) == 0);
    }
    // Streams of clients that are gone are remembered for ten seconds at most.
    cluster.run(12 * SECOND);
    let agents = leader(&cluster).agents();
    assert_eq!(agents.clients.egress.responses.count(), 0, "rows of egress");
    assert_eq!(agents.clients.egress.channels.count(), 0, "channels");
    assert_eq!(agents.clients.images.count(), 0, "images");
    assert_eq!(agents.consensus.leadership.sessions.count(), 0);
}

#[test]
fn a_client_that_stays_away_while_its_session_lasts_has_no_row() {
    let mut cluster = crowd::led(1, 8, 60 * SECOND);
    connect(&mut cluster, 1);
    assert!(ask(&mut cluster, 0));
    let point = cluster.kill_client(0);
    cluster.run(12 * SECOND);
    assert_eq!(sessions(&cluster), 1);
    assert_eq!(
        leader(&cluster).agents().clients.egress.responses.count(),
        0
    );
    assert_eq!(leader(&cluster).agents().clients.egress.channels.count(), 0);
    // What it was not told meanwhile it is told when it is back.
    let back = join(&mut cluster, point);
    cluster.run_until(2 * SECOND, |cluster| cluster.clients[back].answered() == 1);
}

#[test]
fn every_session_with_news_has_its_acknowledgements_logged() {
    const BUSY: usize = 80;
    const QUIET: usize = 20;
    let mut cluster = crowd::led(1, BUSY + QUIET, 10 * SECOND);
    let come = |cluster: &mut Cluster, count| {
        for _ in 0..count {
            join_with(cluster, None, 20 * MILLISECOND);
        }
        let all = 0..cluster.clients.len();
        cluster.run_until(20 * SECOND, |c| crowd::are_connected(c, all.clone()));
    };
    come(&mut cluster, BUSY);
    ask_all(&mut cluster, 0..BUSY);
    come(&mut cluster, QUIET);
    cluster.run(300 * MILLISECOND);
    ask_all(&mut cluster, BUSY..BUSY + QUIET);
    // The busy ones have news almost always; the quiet ones once, and then never again.
    for _ in 0..10 {
        ask_all(&mut cluster, 0..BUSY);
        cluster.run(500 * MILLISECOND);
    }
    let table = leader(&cluster).agents().consensus.applier.sessions();
    let unlogged = |client: &Client| {
        let session = client.client.session_id().and_then(|id| table.get(id));
        session.is_none_or(|session| session.acknowledged == 0)
    };
    let quiet = &cluster.clients[BUSY..];
    assert_eq!(quiet.iter().filter(|client| unlogged(client)).count(), 0);
}

#[test]
fn a_member_that_applies_many_openings_at_once_waits_for_its_clients_side_to_take_the_news() {
    const CLIENTS: usize = 200;
    let mut cluster = crowd::led(3, CLIENTS, 60 * SECOND);
    connect(&mut cluster, CLIENTS);
    cluster.member(2).kill();
    let _before = marks::take();
    cluster.member(2).restart();
    let sessions = |cluster: &Cluster| {
        let applier = &cluster.node(2).agents().consensus.applier;
        applier.sessions().sessions().len()
    };
    cluster.run_until(5 * SECOND, |cluster| sessions(cluster) == CLIENTS);
    assert!(marks::take().contains(Mark::ApplyWaitsForNews));
}

#[test]
fn sessions_that_lag_share_one_scan_of_the_log() {
    const CLIENTS: usize = 60;
    let mut cluster = crowd::led(1, CLIENTS, 60 * SECOND);
    connect(&mut cluster, CLIENTS);
    for client in 0..CLIENTS {
        for _ in 0..50 {
            ask(&mut cluster, client);
        }
    }
    // They die before they hear any answer.
    let points = crowd::kill(&mut cluster, 0..CLIENTS);
    cluster.run(6 * SECOND);
    let before = leader(&cluster).agents().clients.egress.responses.passes();
    for point in points {
        join(&mut cluster, point);
    }
    let is_told = |cluster: &Cluster| {
        let mut back = cluster.clients[CLIENTS..].iter();
        back.all(|client| client.answered() == 50)
    };
    cluster.run_until(5 * SECOND, is_told);
    let passes = leader(&cluster).agents().clients.egress.responses.passes() - before;
    assert!(
        (1..=6).contains(&passes),
        "{passes} scans for {CLIENTS} sessions"
    );
}

/// Most looks at rows in one cycle that found nothing to do, over `duration`.
fn idle_visits(node: &mut SimNode<Echo>, mut now: Nanos, duration: Nanos) -> u64 {
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

fn connected(sessions: usize) -> Cluster {
    let mut cluster = crowd::led(1, 1024, 100 * SECOND);
    connect(&mut cluster, sessions);
    ask_all(&mut cluster, 0..sessions);
    cluster.run(500 * MILLISECOND);
    cluster
}

#[test]
fn an_idle_cycle_costs_no_more_with_a_thousand_sessions_than_with_one() {
    let visits = |sessions| {
        let mut cluster = connected(sessions);
        let now = cluster.now;
        idle_visits(cluster.node_mut(0), now, SECOND)
    };
    let (one, thousand) = (visits(1), visits(1000));
    assert!(thousand <= 2 * one, "{thousand} looks, {one} with one");
}

#[test]
fn one_active_session_costs_no_more_among_a_thousand() {
    // The others are stopped, and the time is too short for anything to be due for them.
    let visits = |sessions| {
        let mut cluster = connected(sessions);
        let sent = cluster.network.counters().sent;
        for client in 1..sessions {
            cluster.pause_client(client);
        }
        let before = cluster.node(0).visits();
        for _ in 0..20 {
            ask_all(&mut cluster, 0..1);
        }
        let visits = cluster.node(0).visits() - before;
        (visits, cluster.network.counters().sent - sent)
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
    let mut cluster = crowd::led(1, 8, 60 * SECOND);
    join_with(&mut cluster, None, 50 * MILLISECOND);
    cluster.run_until(2 * SECOND, |cluster| crowd::are_connected(cluster, 0..1));
    ask_all(&mut cluster, 0..1);
    cluster.run(3 * SECOND);
    let end = leader(&cluster).agents().consensus.log.append();
    cluster.run(3 * SECOND);
    assert_eq!(leader(&cluster).agents().consensus.log.append(), end);
}
