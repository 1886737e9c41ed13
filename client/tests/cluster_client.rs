//! The whole client against a cluster in memory: connect, redirect, echo, leader changes,
//! refusals, resume, loss.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::OfferResult;
use lockstep_client::identity::ClientIdentity;
use lockstep_client::protocol::RefusalReason;
use lockstep_client::session::CloseReason;
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};
use lockstep_transport::trace::{CLIENT_MEMBER, TracePoint, Tracer};

use support::fake_cluster::member_address;
use support::world::{World, address, config, payload};

#[test]
fn a_client_that_asks_the_leader_is_connected_without_a_detour() {
    let world = World::connected(1, 0, config());
    assert_eq!(world.client.leader(), Some(0));
    assert_eq!(world.client.counters().redirects, 0);
    assert_eq!(world.connected, [1]);
}

#[test]
fn a_follower_redirects_and_the_session_is_opened_once() {
    let mut world = World::connected(2, 2, config());
    assert_eq!(world.client.leader(), Some(2));
    assert_eq!(world.client.counters().redirects, 1);
    assert_eq!(world.client.session_id(), Some(SessionId::FIRST));
    assert!(world.now < 100 * MILLISECOND, "took {} ns", world.now);
    world.run(SECOND);
    assert_eq!(world.cluster.shared.opened, 1);
}

#[test]
fn one_known_member_is_enough() {
    let config = ClientConfig {
        members: vec![member_address(0)],
        ..config()
    };
    let world = World::connected(3, 1, config);
    assert_eq!(world.client.leader(), Some(1));
}

#[test]
fn a_member_that_is_down_is_passed_over() {
    let mut world = World::new(4, 1, config());
    world.cluster.kill(0);
    world.run_until(2 * SECOND, |world| world.client.is_connected());
    assert_eq!(world.client.leader(), Some(1));
}

#[test]
fn requests_are_echoed_once_and_in_order() {
    let mut world = World::connected(5, 1, config());
    world.echo_until(2000, 10 * SECOND);
    world.run(100 * MILLISECOND);
    assert_eq!(world.client.in_flight(), 0);
    assert_eq!(world.client.applied_number().get(), 2000);
}

#[test]
fn messages_longer_than_a_datagram_pass_both_ways() {
    let mut world = World::connected(6, 1, config());
    let long = vec![7; world.client.config().request_length_max()];
    assert_eq!(
        world.client.offer(world.now, &long),
        OfferResult::Accepted(RequestNumber::FIRST)
    );
    world.run_until(SECOND, |world| world.responses.len() == 1);
    assert_eq!(world.responses[0].2, long);
    let too_long = vec![7; long.len() + 1];
    assert_eq!(
        world.client.offer(world.now, &too_long),
        OfferResult::TooLong
    );
}

#[test]
fn loss_costs_time_and_nothing_else() {
    for seed in 10..15 {
        let mut world = World::new(seed, (seed % 3) as usize, config());
        world.network.lose(15);
        world.run_until(20 * SECOND, |world| world.client.is_connected());
        world.echo_until(500, 60 * SECOND);
    }
}

#[test]
fn k2_a_leader_change_in_full_flight_loses_and_repeats_nothing() {
    let mut world = World::connected(20, 0, config());
    world.echo_until(100, 5 * SECOND);
    for number in 101..=150 {
        world.client.offer(world.now, &payload(number));
    }
    // Some reach the log, their responses do not reach the client.
    world.cluster.do_work(world.now);
    assert!(world.cluster.shared.log.len() > 100);
    world.cluster.kill(0);
    world.cluster.elect(2, true);
    world.echo_until(400, 5 * SECOND);
    assert_eq!(world.leaders, [2]);
    assert_eq!(world.client.leader(), Some(2));
}

#[test]
fn n13_a_leader_that_vanishes_silently_is_replaced_by_asking_around() {
    let mut world = World::connected(21, 1, config());
    world.echo_until(50, 5 * SECOND);
    world.client.offer(world.now, &payload(51));
    world.cluster.kill(1);
    world.cluster.elect(0, false);
    world.echo_until(200, 10 * SECOND);
    assert_eq!(world.leaders, [0]);
    assert_eq!(world.cluster.shared.opened, 1, "the session was resumed");
}

#[test]
fn leader_changes_under_loss_keep_every_request_exactly_once() {
    for seed in 30..34 {
        let mut world = World::connected(seed, 0, config());
        world.network.lose(5);
        for round in 1..=4_usize {
            world.echo_until(round * 100, 60 * SECOND);
            world
                .client
                .offer(world.now, &payload(round as i64 * 100 + 1));
            world.cluster.elect(round % 3, round % 2 == 0);
        }
        world.echo_until(500, 60 * SECOND);
    }
}

#[test]
fn refusals_for_want_of_room_are_retried_in_order() {
    let mut world = World::connected(40, 1, config());
    for reason in [RefusalReason::BackPressured, RefusalReason::Draining] {
        world.cluster.shared.refuse.push_back(reason);
    }
    world.echo_until(200, 10 * SECOND);
    assert_eq!(world.refused, []);
    assert!(world.client.counters().refusals >= 2);
}

#[test]
fn a_request_too_long_for_the_cluster_is_refused_and_the_rest_goes_on() {
    let mut world = World::connected(41, 1, config());
    world
        .cluster
        .shared
        .refuse
        .push_back(RefusalReason::TooLong);
    assert_eq!(
        world.client.offer(world.now, &[0; 1000]),
        OfferResult::Accepted(RequestNumber::FIRST)
    );
    world.run_until(SECOND, |world| !world.refused.is_empty());
    assert_eq!(world.refused, [(1, RefusalReason::TooLong)]);
    assert_eq!(
        world.client.offer(world.now, &payload(1)),
        OfferResult::Accepted(RequestNumber::FIRST)
    );
    world.run_until(SECOND, |world| world.responses.len() == 1);
    world.check(1);
}

#[test]
fn a_session_that_the_cluster_closes_ends_with_its_reason() {
    let mut world = World::connected(42, 1, config());
    world.echo_until(10, SECOND);
    world.cluster.expire_session(1);
    world.run_until(SECOND, |world| !world.closed.is_empty());
    assert_eq!(world.closed, [CloseReason::Expired]);
    assert_eq!(world.client.close_detail(), b"session expired");
    assert_eq!(world.client.offer(world.now, b"x"), OfferResult::Closed);
    world.run(100 * MILLISECOND);
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn s8_a_session_that_expired_during_an_outage_is_told_so() {
    let mut world = World::connected(43, 1, config());
    world.client.offer(world.now, &payload(1));
    world.cluster.kill(1);
    world.cluster.expire_session(1);
    world.cluster.elect(2, false);
    world.run_until(10 * SECOND, |world| !world.closed.is_empty());
    assert_eq!(world.closed, [CloseReason::Expired]);
}

#[test]
fn k1_a_restarted_client_resumes_its_session_and_sees_only_what_it_lacks() {
    let mut world = World::connected(44, 1, config());
    world.echo_until(20, 5 * SECOND);
    let resume = world.client.resume_point().unwrap();
    // Executed, but the client dies before it polls.
    for number in 21..=25 {
        world.client.offer(world.now, &payload(number));
    }
    world.cluster.do_work(world.now);
    assert_eq!(world.cluster.shared.log.len(), 25);
    world.network.cut(address(100), true);
    let config = ClientConfig {
        resume: Some(resume),
        ..config()
    };
    world.client = ClusterClient::new(
        config,
        world.network.port(address(101)),
        ClientIdentity::of_seed(999),
    )
    .unwrap();
    world.run_until(5 * SECOND, |world| world.responses.len() == 25);
    world.check(25);
    assert_eq!(world.connected, [1, 1]);
    let next = world.client.offer(world.now, &payload(26));
    assert_eq!(next, OfferResult::Accepted(RequestNumber::new(26)));
    world.run_until(SECOND, |world| world.responses.len() == 26);
    world.check(26);
}

#[test]
fn a_client_that_restarts_at_its_old_address_finds_its_old_stream() {
    let mut world = World::connected(48, 1, config());
    world.echo_until(20, 5 * SECOND);
    let config = ClientConfig {
        resume: world.client.resume_point(),
        ..config()
    };
    world.client = ClusterClient::new(
        config,
        world.network.port(address(100)),
        ClientIdentity::of_seed(999),
    )
    .unwrap();
    world.run_until(5 * SECOND, |world| world.client.is_connected());
    assert_eq!(world.connected, [1, 1]);
    let next = world.client.offer(world.now, &payload(21));
    assert_eq!(next, OfferResult::Accepted(RequestNumber::new(21)));
    world.run_until(SECOND, |world| world.responses.len() == 21);
    world.check(21);
}

#[test]
fn closing_reaches_the_leader_and_then_nothing_is_left_to_do() {
    let mut world = World::connected(45, 1, config());
    world.client.close(world.now);
    world.run_until(10 * SECOND, |world| world.client.is_done());
    assert_eq!(world.closed, [CloseReason::ByClient]);
    let config = ClientConfig {
        resume: world.client.resume_point(),
        ..config()
    };
    world.client = ClusterClient::new(
        config,
        world.network.port(address(101)),
        ClientIdentity::of_seed(1),
    )
    .unwrap();
    world.run_until(5 * SECOND, |world| world.closed.len() == 2);
    assert_eq!(world.closed[1], CloseReason::Expired);
}

#[test]
fn an_idle_client_keeps_its_session_alive_and_acknowledges() {
    let mut world = World::connected(46, 1, config());
    world.echo_until(3, SECOND);
    world.run(5 * SECOND);
    assert!((4..=6).contains(&world.cluster.shared.keepalives));
    let last = world.responses.last().unwrap().1;
    assert_eq!(world.cluster.shared.acknowledged, last);
    assert_eq!(world.client.counters().leader_losses, 0);
}

#[test]
fn strangers_and_garbage_are_counted_and_change_nothing() {
    let mut world = World::connected(47, 1, config());
    let mut stranger = world.network.port(address(666));
    for length in [0, 1, 40, 1000] {
        stranger.send(world.now, address(100), &vec![0xA5; length]);
    }
    world.run(MILLISECOND);
    assert_eq!(world.client.counters().datagrams_unexpected, 4);
    world.echo_until(10, SECOND);
}

#[test]
fn an_idle_client_that_sleeps_until_its_deadlines_stays_connected() {
    let mut world = World::connected(49, 1, config());
    world.run(SECOND);
    let (mut cycles, end) = (0, world.now + 5 * SECOND);
    while world.now < end {
        let deadline = world.client.next_deadline().unwrap();
        world.now = deadline.clamp(world.now + MICROSECOND, world.now + 10 * MILLISECOND);
        world.cluster.do_work(world.now);
        world.client.do_work(world.now);
        cycles += 1;
    }
    assert!(world.client.is_connected());
    assert_eq!(world.client.counters().leader_losses, 0);
    assert!(
        cycles < 2000,
        "{cycles} cycles: a deadline stays in the past"
    );
}

#[test]
fn the_steps_of_connecting_and_of_a_request_are_traced() {
    let mut world = World::new(51, 2, config());
    let ring = AtomicBuffer::allocate(4096).unwrap();
    let tracer = Tracer::new(CLIENT_MEMBER, ring, || 0, 1);
    world.client.set_tracer(tracer);
    world.run_until(SECOND, |world| world.client.is_connected());
    world.echo_until(1, SECOND);
    let records = world.client.tracer().records();
    let points: Vec<_> = records.iter().map(|record| record.point).collect();
    let expected = [
        TracePoint::ConnectRequest,
        TracePoint::ConnectRedirect,
        TracePoint::ConnectRequest,
        TracePoint::ConnectOk,
        TracePoint::RequestSend,
        TracePoint::ResponseReceive,
    ];
    assert_eq!(points, expected);
    assert_eq!((records[4].a, records[4].b), (1, 1));
    assert_eq!((records[5].a, records[5].b), (1, 1));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::new(50, 2, config());
        world.network.lose(20);
        world.run_until(20 * SECOND, |world| world.client.is_connected());
        world.echo_until(100, 60 * SECOND);
        (world.now, *world.client.counters())
    };
    assert_eq!(run(), run());
}
