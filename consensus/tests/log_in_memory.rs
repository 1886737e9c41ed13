//! `sync = none` and processes that die: what was acknowledged is in the log buffers of a majority,
//! which outlive them, whether their disks have followed or not. A member whose log buffer is gone,
//! or is another's, cannot answer for what it acknowledged: it is a learner (`log.md` 10.3).
#![cfg(feature = "sim")]

use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, StartEnd};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::position::Position;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

/// Three members without syncs, of which the first leads.
fn serving() -> Cluster {
    let mut cluster = Scenario::echo().sync(SyncMode::None).led_by(0);
    cluster.answer(5);
    cluster.run(SECOND);
    cluster
}

/// The same, with answers that are in nobody's file.
fn ahead_of_disks() -> Cluster {
    let mut cluster = serving();
    cluster.everybody().stall_disk(10 * SECOND);
    cluster.answer(30);
    cluster
}

/// The cluster serves, everybody votes, and whoever leads has all that was committed.
#[track_caller]
fn expect_kept(cluster: &mut Cluster, committed: Position) {
    cluster.answer(5);
    cluster.everybody().expect_standing(Standing::Voter);
    let leader = cluster.expect_some_leader();
    cluster.member(leader).expect_kept(committed);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
}

#[test]
fn all_processes_killed_at_once_lose_nothing_that_only_their_log_buffers_had() {
    for sync in [SyncMode::None, SyncMode::Data] {
        let mut cluster = ahead_of_disks();
        let committed = cluster.committed();
        let _before = marks::take();
        cluster.everybody().kill();
        cluster.setup.node.sync = sync;
        cluster.everybody().start();
        cluster.run(3 * SECOND);
        expect_kept(&mut cluster, committed);
        assert!(marks::take().contains(Mark::RecoveryTakesLogMemory));
        // What was taken is on disk: it needs no memory any more.
        if sync == SyncMode::Data {
            let committed = cluster.committed();
            cluster.everybody().lose_power().start();
            cluster.run(3 * SECOND);
            expect_kept(&mut cluster, committed);
        }
    }
}

#[test]
fn processes_killed_again_and_again_under_load_lose_nothing() {
    let mut cluster = serving();
    for round in 0..12 {
        for _ in 0..8 {
            cluster.offer(0, b"in flight");
        }
        cluster.run(200 * MICROSECOND * round);
        let committed = cluster.committed();
        cluster.everybody().kill().start();
        cluster.run(2 * SECOND);
        expect_kept(&mut cluster, committed);
    }
}

#[test]
fn what_a_loss_left_on_disk_above_a_log_that_is_in_memory_is_none_of_it() {
    // Each kill leaves another part of what it finds under way.
    for round in 1..6 {
        let mut cluster = serving();
        cluster.answer(100);
        // From this start on memory has nothing of what rots.
        cluster.member(2).restart();
        cluster.run(2 * SECOND);
        cluster.answer(round);
        let (before, committed) = (cluster.durable(2), cluster.committed());
        cluster.member(2).kill().rot(40).start();
        cluster.member(2).expect_damaged(true);
        // It follows from the beginning again, in memory alone.
        cluster.member(2).stall_disk(10 * SECOND);
        let _passed = cluster.run_until(SECOND, |cluster| cluster.durable(2) > 0);
        let followed = cluster.durable(2);
        assert!(0 < followed && followed < before, "{followed} of {before}");
        cluster.member(2).isolate();
        for _ in 0..2 {
            cluster.member(2).kill().start();
            assert_eq!(cluster.durable(2), followed);
            cluster.member(2).expect_damaged(true);
        }
        cluster.heal();
        cluster.run(3 * SECOND);
        cluster.member(2).expect_damaged(false);
        expect_kept(&mut cluster, committed);
    }
}

#[test]
fn a_start_that_is_killed_in_any_of_its_operations_loses_nothing() {
    let mut operation = 0;
    loop {
        let mut cluster = ahead_of_disks();
        let committed = cluster.committed();
        cluster.everybody().kill();
        let mut everybody = cluster.everybody();
        let is_whole = everybody.start_in_vain(StartEnd::Kill, operation);
        if is_whole {
            break;
        }
        everybody.start();
        cluster.run(3 * SECOND);
        expect_kept(&mut cluster, committed);
        operation += 1;
    }
    assert!(operation > 6, "{operation} operations");
}

#[test]
fn a_member_whose_log_buffer_is_gone_is_a_learner_and_says_so() {
    let mut cluster = ahead_of_disks();
    cluster.member(1).kill().lose_log_buffer().start();
    cluster.run(2 * SECOND);
    let mut lost = cluster.member(1);
    lost.expect_standing(Standing::Learner);
    lost.expect_told(NodeNotice::LogMemoryLost);
    lost.expect_not_told(NodeNotice::UnsyncedLogLost);
    cluster.answer(5);
    // It stays one, also with a log buffer that is its own again.
    cluster.member(1).restart();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_standing(Standing::Learner);
    cluster.answer(5);
}

#[test]
fn when_a_majority_of_log_buffers_is_gone_nobody_is_elected() {
    let mut cluster = ahead_of_disks();
    cluster.everybody().kill();
    cluster.members(&[0, 2]).lose_log_buffer();
    cluster.everybody().start();
    cluster.run(10 * SECOND);
    cluster.expect_no_leader();
    cluster.everybody().expect_told(NodeNotice::MajorityGone);
}

#[test]
fn the_log_buffer_of_another_member_or_of_an_earlier_life_is_not_taken() {
    let mut cluster = ahead_of_disks();
    cluster.everybody().kill();
    let (of_another, of_before) = (cluster.log_buffer(2), cluster.log_buffer(1));
    cluster.everybody().start();
    cluster.run(3 * SECOND);
    cluster.answer(5);
    for other in [of_another, of_before] {
        let mut cluster = ahead_of_disks();
        cluster.member(1).kill().start();
        cluster.run(2 * SECOND);
        cluster.member(1).kill().put_log_buffer(&other).start();
        cluster.run(2 * SECOND);
        cluster.member(1).expect_standing(Standing::Learner);
        cluster.member(1).expect_told(NodeNotice::LogMemoryLost);
    }
}

#[test]
fn after_a_clean_stop_no_log_buffer_is_needed() {
    let mut cluster = serving();
    cluster.answer(30);
    let committed = cluster.committed();
    cluster.everybody().stop().lose_log_buffer().start();
    cluster.run(3 * SECOND);
    expect_kept(&mut cluster, committed);
}

/// A former leader with entries that nobody else has is about to cut them off.
fn parted() -> Cluster {
    let mut cluster = serving();
    cluster.member(0).isolate();
    for _ in 0..6 {
        cluster.offer(0, b"of the old leader alone");
    }
    cluster.run(3 * SECOND);
    cluster.heal();
    cluster
}

#[test]
fn a_truncation_that_a_kill_cuts_short_at_any_moment_is_completed() {
    let _before = marks::take();
    let mut cuts = 0;
    let is_cutting = |cluster: &Cluster| cluster.node(0).agents().archive.is_truncating();
    loop {
        let mut cluster = parted();
        let committed = cluster.committed();
        cluster.run_until(5 * SECOND, is_cutting);
        for _ in 0..cuts {
            cluster.step();
        }
        if !is_cutting(&cluster) {
            break;
        }
        // The one that cuts, or all at once.
        cluster.member(0).kill();
        if cuts % 2 == 0 {
            cluster.members(&[1, 2]).kill().start();
        }
        cluster.member(0).start();
        cluster.run(3 * SECOND);
        expect_kept(&mut cluster, committed);
        cuts += 1;
    }
    assert!(cuts > 4, "{cuts} moments in a cut");
    assert!(marks::take().contains(Mark::RecoveryFinishesCut));
}

#[test]
fn a_stalled_disk_holds_appends_back_and_elections_meanwhile_find_room() {
    let mut cluster = serving();
    cluster.everybody().stall_disk(60 * SECOND);
    for _ in 0..600 {
        cluster.offer(0, &[7; 200]);
        cluster.run(MILLISECOND / 4);
    }
    for _ in 0..8 {
        if let Some(leader) = cluster.leader() {
            cluster.member(leader).isolate();
        }
        cluster.run(2 * SECOND);
        cluster.heal();
        cluster.run(SECOND);
        cluster.everybody().expect_up();
    }
    let committed = cluster.committed();
    cluster.everybody().kill().start();
    cluster.run(3 * SECOND);
    cluster.everybody().expect_standing(Standing::Voter);
    let leader = cluster.expect_some_leader();
    cluster.member(leader).expect_kept(committed);
}
