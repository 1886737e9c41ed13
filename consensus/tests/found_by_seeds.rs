//! What seeds of the node tank once found, told step by step: seeds mean other runs since.
#![cfg(feature = "sim")]

use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

/// Seed 90150: its word that it knows a later term was dropped like everything else of a learner.
#[test]
fn a_learner_that_stood_before_it_lost_its_mark_follows_a_cluster_of_an_older_term() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(20);
    cluster.cut_one_way(0, 1);
    cluster.cut_one_way(0, 2);
    let term = |cluster: &Cluster, id| cluster.node(id).agents().consensus.module.term();
    let before = term(&cluster, 0);
    // One stands: its new term is on its disk before anybody else hears of it.
    cluster.run_until(5 * SECOND, |cluster| {
        term(cluster, 1).max(term(cluster, 2)) > before
    });
    let stood = if term(&cluster, 1) > before { 1 } else { 2 };
    cluster.member(stood).isolate();
    cluster.run(5 * MILLISECOND);
    cluster.member(stood).kill().rot_file("ack-mark.dat");
    cluster.heal();
    cluster.run(3 * SECOND);
    assert_eq!(cluster.term(), before);
    cluster.member(stood).start();
    assert!(term(&cluster, stood) > before);
    cluster.run(5 * SECOND);
    cluster.member(stood).expect_standing(Standing::Learner);
    cluster.answer(20);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
}

/// The first leader was cut off with a tail that nobody has, is heard again, and has just begun to
/// cut that off.
fn cutting() -> Cluster {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(5);
    cluster.member(0).isolate();
    for number in 0..20 {
        cluster.offer(0, &[number; 100]);
    }
    cluster.run(4 * SECOND);
    assert_ne!(cluster.expect_some_leader(), 0);
    cluster.heal();
    cluster.run_until(SECOND, is_cutting);
    cluster
}

fn is_cutting(cluster: &Cluster) -> bool {
    cluster.node(0).agents().archive.is_truncating()
}

/// Seed 25000096: the other slot of the mark went on to say that the log was being cut.
#[test]
fn what_is_acknowledged_after_a_log_was_cut_outlives_the_rot_of_either_slot_of_the_mark() {
    for (slot, wait) in [(0, 1), (1, 1), (0, 3), (1, 3), (0, 6), (1, 6)] {
        let mut cluster = cutting();
        cluster.run_until(SECOND, |cluster| !is_cutting(cluster));
        cluster.run(wait * MILLISECOND);
        cluster
            .member(0)
            .kill()
            .rot_slot("ack-mark.dat", slot)
            .start();
        cluster.member(0).expect_damaged(false);
        cluster.run(SECOND);
        cluster.expect_equal_logs();
    }
}

/// Where the slot rots that says that a cut was begun, it is forgotten, and costs nothing: the log
/// is as before it, and is cut again.
#[test]
fn a_cut_that_was_not_done_is_begun_again_whichever_slot_of_the_mark_rots() {
    for (slot, wait) in [0, 1, 2, 4]
        .into_iter()
        .flat_map(|wait| [(0, wait), (1, wait)])
    {
        let mut cluster = cutting();
        cluster.run(wait * 50 * MICROSECOND);
        assert!(is_cutting(&cluster), "it is done after {wait} steps");
        cluster
            .member(0)
            .kill()
            .rot_slot("ack-mark.dat", slot)
            .start();
        cluster.run(2 * SECOND);
        cluster.member(0).expect_standing(Standing::Voter);
        cluster.answer(3);
        cluster.run(SECOND);
        cluster.expect_equal_logs();
    }
}

/// Seed 80051: a start synced nothing as long as something was missing.
#[test]
fn a_member_that_dies_while_it_repairs_its_log_takes_nothing_in_a_cache_for_durable() {
    let mut cluster = Scenario::echo().led_by(0);
    for number in 0..100 {
        cluster.offer(0, &[number; 2_000]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    let committed = cluster.committed();
    for step in 0..30 {
        cluster.member(2).kill().rot(5_000).start();
        cluster.member(2).expect_damaged(true);
        cluster.run_until(SECOND, |cluster| {
            cluster.durable(2) >= 10_000 + step * 4_000
        });
        // It is in the middle of that.
        cluster.member(2).expect_damaged(true).restart();
        cluster.run(SECOND);
        cluster
            .member(2)
            .expect_damaged(false)
            .expect_kept(committed);
    }
}

/// Seed 5388: the mark was always written to the same slot.
#[test]
fn power_that_is_lost_under_a_steady_load_leaves_a_mark_that_is_not_old() {
    let mut cluster = Scenario::echo().led_by(0);
    let load = |cluster: &mut Cluster, duration| {
        for _ in 0..duration / MILLISECOND {
            cluster.offer(0, &[7; 100]);
            cluster.run(MILLISECOND);
        }
    };
    for _ in 0..30 {
        load(&mut cluster, 100 * MILLISECOND);
        let durable = cluster.durable(1);
        load(&mut cluster, 40 * MILLISECOND);
        // The next mark is under way.
        cluster.member(1).stall_disk(SECOND);
        load(&mut cluster, 15 * MILLISECOND);
        cluster
            .member(1)
            .lose_power()
            .expect_marked(durable)
            .start();
        cluster.run(300 * MILLISECOND);
        cluster.member(1).expect_standing(Standing::Voter);
    }
}

/// Seed 1795741208: the last frame's header was gone, and the zeros at its end did not count.
#[test]
fn a_member_whose_last_frame_ends_in_zeros_answers_for_it_although_its_header_has_rotted() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    cluster.run(SECOND);
    let before = cluster.durable(1);
    // A request that ends in zeros, and its answer: acknowledged, and younger than the mark.
    cluster.offer(0, &[0; 500]);
    cluster.run_until(5 * MILLISECOND, |cluster| {
        let followers = [1, 2].map(|member| cluster.durable(member));
        followers.iter().all(|durable| *durable > before + 1_000)
    });
    let last = cluster.durable(1) - 608;
    cluster.member(1).kill().rot(last + 4).start();
    cluster.member(1).expect_damaged(true);
    cluster.run(SECOND);
    cluster
        .member(1)
        .expect_standing(Standing::Voter)
        .expect_damaged(false);
}
