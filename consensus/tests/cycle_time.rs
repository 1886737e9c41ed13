//! Duty cycles stay short whatever there is to do: a slow service, a burst, a long rewind.
#![cfg(feature = "sim")]

use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_consensus::sim::service_time;
use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

/// Echoes, after so long.
struct Slow(Nanos);

impl ClusteredService for Slow {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        service_time::spend(self.0);
        cluster.respond(from, bytes).expect("a short answer");
    }

    fn state_hash(&self) -> u64 {
        0
    }
}

fn cluster(service_ns: Nanos) -> SimCluster<Slow> {
    Scenario::of(move |_| Slow(service_ns))
        .cluster(|cluster| cluster.outbox_bytes = 16 << 20)
        .client(|client| client.in_flight_max = 256)
        .led_by(0)
}

/// Offers 256 requests at once and waits for all answers. Returns how many terms passed.
fn burst(cluster: &mut SimCluster<Slow>, patience: Nanos) -> i64 {
    let term = cluster.term();
    let now = cluster.now;
    for _ in 0..256 {
        cluster.clients[0].client.offer(now, b"work");
    }
    let until = cluster.now + patience;
    while cluster.answers(0).len() < 256 {
        cluster.run(10 * MILLISECOND);
        assert!(cluster.now < until, "answers in time");
    }
    cluster.term().get() - term.get()
}

#[test]
fn a_service_that_takes_four_milliseconds_starves_no_heartbeat_under_a_burst() {
    let mut cluster = cluster(4 * MILLISECOND);
    assert_eq!(burst(&mut cluster, 10 * SECOND), 0, "elections");
    cluster.expect_leader(0);
    for id in 0..3 {
        let longest = cluster.longest_cycle(id);
        assert!(longest <= 9 * MILLISECOND, "member {id}: {longest} ns");
    }
}

#[test]
fn a_member_that_executes_a_long_log_again_with_a_slow_service_stays_a_member() {
    let mut cluster = cluster(4 * MILLISECOND);
    burst(&mut cluster, 10 * SECOND);
    cluster.member(2).restart();
    let term = cluster.term();
    cluster.run(3 * SECOND);
    assert_eq!(cluster.term(), term);
    assert!(cluster.longest_cycle(2) <= 9 * MILLISECOND);
    let applied = |id| cluster.node(id).agents().consensus.applier.position();
    assert_eq!(applied(2), applied(0));
}

#[test]
fn one_call_that_takes_longer_than_a_heartbeat_interval_is_told() {
    let mut cluster = cluster(60 * MILLISECOND);
    cluster.offer(0, b"work");
    cluster.run(SECOND);
    assert_eq!(cluster.noted(0, NodeNotice::SlowService), 1);
}

#[test]
fn a_truncation_that_reads_the_log_from_its_beginning_does_so_in_bounded_steps() {
    const STEP_LENGTH: i64 = 256 * 1024;
    let mut cluster = Scenario::of(|_| Slow(0))
        .members(1)
        // The hash is known where segments begin: the target lies in the first one.
        .cluster(|cluster| cluster.segment_length = 4 << 20)
        .node(|node| node.disk_budget_bytes = 64 << 20)
        .led_by(0);
    let append = |cluster: &SimCluster<Slow>| cluster.node(0).agents().consensus.log.append();
    // Checkpoints of the chain hash reach back 32 MiB; the target lies below all of them.
    let mut target = 0;
    while append(&cluster) < (33 << 20) + (3 << 19) {
        let now = cluster.now;
        for _ in 0..16 {
            cluster.clients[0].client.offer(now, &[7; 4000]);
        }
        cluster.run(2 * MILLISECOND);
        if target == 0 && append(&cluster) > 3 << 19 {
            target = append(&cluster);
        }
    }
    cluster.run(50 * MILLISECOND);
    let mut now = cluster.now;
    let until = now + SECOND;
    let disk = cluster.disk(0);
    let agents = cluster.node_mut(0).agents_mut();
    let (archive, log) = (&mut agents.archive, &mut agents.consensus.log);
    archive.begin_truncation(target, log);
    let mut steps = 0;
    loop {
        now += MILLISECOND;
        while archive.poll_completion(now, |_| {}).is_some() {}
        archive.persist(now, log, 0);
        let reads = disk.cold_reads();
        let done = archive.poll_truncated(now, log);
        let reads = disk.cold_reads() - reads;
        assert!(reads <= 2, "{reads} reads in one cycle");
        steps += reads;
        if done.is_some() {
            assert_eq!(done, Some(target));
            break;
        }
        assert!(now < until, "it comes to its end");
    }
    assert!(steps as i64 >= target / STEP_LENGTH, "{steps} steps");
}
