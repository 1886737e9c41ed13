//! What a client makes of events about its session: of which leadership term they are decides
//! whether they count.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::identity::ClientIdentity;
use lockstep_client::protocol::EventCode;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::time::{MILLISECOND, SECOND};

use support::world::{World, address, config};

#[test]
fn a_leader_of_an_older_term_cannot_close_a_live_session() {
    let mut world = World::connected(1, 0, config());
    world.ask();
    world.cluster.elect(2, true);
    world.run_until(SECOND, |world| world.client.leader() == Some(2));
    for (code, detail) in [
        (EventCode::Expired, b"session expired".as_slice()),
        (EventCode::Redirect, b""),
        (EventCode::Error, b"concurrent session limit"),
    ] {
        world
            .cluster
            .say(0, 1, LeadershipTermId::new(1), code, detail);
        world.run(100 * MILLISECOND);
        assert_eq!(world.client.leader(), Some(2), "{code:?}");
    }
    world.ask();
}

#[test]
fn a_leader_of_an_older_term_that_knows_no_session_does_not_end_one_that_is_resumed() {
    let mut world = World::connected(1, 0, config());
    world.cluster.elect(1, true);
    world.run_until(SECOND, |world| world.client.leader() == Some(1));
    world.ask();
    let resume = world.client.resume_point();
    world.cluster.believe(0, LeadershipTermId::new(1));
    // Member 0 is asked first by the client that starts again.
    let config = ClientConfig { resume, ..config() };
    let port = world.network.port(address(101));
    world.client = ClusterClient::new(config, port, ClientIdentity::of_seed(101)).unwrap();
    world.run_until(5 * SECOND, |world| world.client.leader() == Some(1));
    world.ask();
}

#[test]
fn a_leader_of_an_older_term_does_not_end_a_session_that_looks_for_its_leader() {
    let mut world = World::connected(1, 2, config());
    world.cluster.elect(1, true);
    world.run_until(SECOND, |world| world.client.leader() == Some(1));
    world.cluster.believe(2, LeadershipTermId::new(1));
    // The client takes its leader for lost and asks member 2 next.
    world.cluster.kill(1);
    world.cluster.elect(0, false);
    world.run_until(5 * SECOND, |world| world.client.leader() == Some(0));
    world.ask();
}

#[test]
fn a_stuck_cluster_is_not_reported_as_a_change_of_leader() {
    let mut world = World::connected(1, 1, config());
    world.ask();
    world.cluster.shared.is_stuck = true;
    world.client.offer(world.now, b"never applied");
    world.run(20 * SECOND);
    assert_eq!(world.client.counters().leader_changes, 0);
    assert_eq!(world.news, ["Connected { session: 1 }"]);
    world.cluster.shared.is_stuck = false;
    world.run_until(20 * SECOND, |world| world.responses.len() == 2);
    assert_eq!(world.client.counters().leader_changes, 0);
}
