//! Members whose disks stall: a write that does not end is told, and a slow one is not.
#![cfg(feature = "sim")]

use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

/// More requests than a term of the log holds with their answers.
const REQUESTS: usize = 30;

/// Member 0 leads, and a client is connected. The disk of member 1 is going to stall.
fn serving() -> SimCluster<Echo> {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(1);
    cluster.run(SECOND);
    cluster
}

#[test]
fn a_write_of_the_log_that_does_not_end_is_told_while_it_lasts() {
    let mut cluster = serving();
    cluster.member(1).stall_disk(10 * SECOND);
    // The others' disks are a majority's: there are answers.
    cluster.answer(1);
    cluster.run(9 * SECOND);
    // Twice a second from the second one on.
    let during = cluster.noted(1, NodeNotice::DiskStalled);
    assert!((14..=18).contains(&during), "{during}");
    let words = "a write to 0-0.rec in data has been under way for 1";
    cluster
        .member(1)
        .expect_line(NodeNotice::DiskStalled, words);
    cluster
        .members(&[0, 2])
        .expect_not_told(NodeNotice::DiskStalled);
    // It ends, and so does what is said of it.
    cluster.run(2 * SECOND);
    let after = cluster.noted(1, NodeNotice::DiskStalled);
    assert!(after <= during + 4, "{after} after {during}");
    cluster.answer(1);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.noted(1, NodeNotice::DiskStalled), after);
}

#[test]
fn a_write_of_the_mark_that_does_not_end_is_told() {
    let mut cluster = serving();
    cluster.offer(0, b"one more");
    cluster.run(5 * MILLISECOND);
    // The log's writes are done, and the mark's is due ten milliseconds after the last of them.
    cluster.member(1).stall_disk(3 * SECOND);
    cluster.run(2 * SECOND);
    let words = "a write to ack-mark.dat in data has been under way for 1";
    cluster
        .member(1)
        .expect_line(NodeNotice::DiskStalled, words);
}

#[test]
fn a_disk_that_is_slow_for_less_than_a_second_is_not_told() {
    let mut cluster = serving();
    for _ in 0..5 {
        cluster.member(1).stall_disk(900 * MILLISECOND);
        cluster.answer(3);
        cluster.run(1_200 * MILLISECOND);
    }
    cluster.member(1).expect_not_told(NodeNotice::DiskStalled);
}

/// Answers each request twice, with itself.
struct Twice;

impl ClusteredService for Twice {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        for _ in 0..2 {
            cluster.respond(session, message).expect("room for both");
        }
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

#[test]
fn effects_wait_for_the_stalled_disk_of_their_leader_and_leave_once_it_is_back() {
    let mut cluster = Scenario::of(|_| Twice).led_by(0);
    let _before = marks::take();
    // The others' disks are a majority's, so requests go on being executed; the log in memory ends
    // a term above what the leader's disk has. Of 31 entries in it the last is a request.
    cluster.member(0).stall_disk(2 * SECOND);
    for _ in 0..REQUESTS {
        cluster.offer(0, &[7; 2_000]);
    }
    cluster.run(SECOND);
    assert!(marks::take().contains(Mark::EffectsWaitForLog));
    let during = cluster.clients[0].answered();
    assert!(during < 2 * REQUESTS, "{during} answers found room");
    cluster.run_until(5 * SECOND, |cluster| {
        cluster.clients[0].answered() == 2 * REQUESTS
    });
    cluster.expect_leader(0);
}

/// Kills the leader where the disks of these take up to so long for an operation, and runs until
/// another one leads.
fn election_with(slow: &[usize], longest: u64) -> Nanos {
    let mut cluster = serving();
    let longest = longest as Nanos * MILLISECOND;
    for id in slow {
        cluster.disk(*id).set_latency(longest / 2, longest);
    }
    cluster.member(0).kill();
    cluster.run_until(60 * SECOND, |cluster| cluster.leader().is_some())
}

#[test]
fn disks_slower_than_the_election_timeout_delay_an_election_and_do_not_prevent_it() {
    for longest in [200, 600, 1000, 2000] {
        // A term and a vote are durable after some operations, on two disks one after the other.
        let limit = (2000 + 8 * longest) as Nanos * MILLISECOND;
        for slow in [&[1, 2][..], &[1], &[2]] {
            let took = election_with(slow, longest);
            assert!(took < limit, "{slow:?} with {longest} ms: {took} ns");
        }
    }
}
