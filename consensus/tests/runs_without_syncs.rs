//! `sync = none` and hosts that lose power: what was acknowledged may have gone, so the member is a
//! learner from then on, says so, and nobody is elected where no majority of voters is left. As
//! long as only processes die, nothing is lost and nothing changes (`log.md` 9.5, 10.3).
#![cfg(feature = "sim")]

mod interrupted_start;

use interrupted_start::expect_learner_after_any;
use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, StartEnd};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

/// Within so long everybody has said what is amiss.
const LINE_WITHIN: i64 = 5 * SECOND;

/// Members that run without syncs, of which the first leads, and so many answers.
fn unsynced(members: u8, answers: usize) -> Cluster {
    let scenario = Scenario::echo().members(members).sync(SyncMode::None);
    let mut cluster = scenario.led_by(0);
    cluster.answer(answers);
    cluster
}

/// The cluster serves, and whoever leads has all that was committed.
fn expect_kept(cluster: &mut Cluster, committed: Position) {
    cluster.answer(5);
    let leader = cluster.expect_some_leader();
    cluster.member(leader).expect_kept(committed);
}

fn segments(cluster: &Cluster, id: usize) -> Vec<Option<Vec<u8>>> {
    let names = ["0-0.rec", "0-131072.rec", "0-262144.rec"];
    names.map(|name| cluster.disk(id).contents(name)).to_vec()
}

#[test]
fn a_member_whose_host_lost_power_follows_and_never_counts_and_the_others_go_on() {
    let mut cluster = unsynced(3, 50);
    cluster.member(1).lose_power().start();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_standing(Standing::Learner);
    cluster.member(1).expect_told(NodeNotice::UnsyncedLogLost);
    cluster.member(1).expect_not_told(NodeNotice::IsLearner);
    cluster.member(0).expect_told(NodeNotice::MemberIsLearner);
    cluster.answer(20);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
    // However often it is started, and in whichever way.
    for sync in [SyncMode::None, SyncMode::Data] {
        cluster.member(1).kill();
        cluster.setup.node.sync = sync;
        cluster.member(1).start();
        cluster.run(2 * SECOND);
        cluster.member(1).expect_standing(Standing::Learner);
        cluster.member(1).expect_told(NodeNotice::UnsyncedLogLost);
    }
    // The leader and a learner are no majority.
    cluster.member(2).kill();
    cluster.run(3 * SECOND);
    cluster.expect_no_leader();
    cluster.member(0).expect_not_told(NodeNotice::MajorityGone);
}

#[test]
fn when_all_hosts_lost_power_nobody_is_elected_and_everybody_says_what_remains() {
    let mut cluster = unsynced(3, 200);
    cluster.everybody().lose_power();
    let before = [0, 1, 2].map(|id| segments(&cluster, id));
    cluster.everybody().start();
    cluster.run(LINE_WITHIN);
    let mut everybody = cluster.everybody();
    everybody.expect_standing(Standing::Learner);
    everybody.expect_told(NodeNotice::UnsyncedLogLost);
    everybody.expect_told(NodeNotice::MajorityGone);
    cluster.run(20 * SECOND);
    cluster.expect_no_leader();
    // What is left is left alone: it may be the only copy.
    assert!([0, 1, 2].map(|id| segments(&cluster, id)) == before);
}

#[test]
fn a_voter_that_is_left_alone_with_learners_names_them() {
    let mut cluster = unsynced(3, 20);
    cluster.members(&[1, 2]).lose_power().start();
    cluster.run(LINE_WITHIN);
    cluster.expect_no_leader();
    cluster.member(0).expect_standing(Standing::Voter);
    cluster.everybody().expect_told(NodeNotice::MajorityGone);
    // Started again, it finds the learners there before it.
    cluster.member(0).restart();
    cluster.run(LINE_WITHIN);
    cluster.expect_no_leader();
    cluster.member(0).expect_told(NodeNotice::MajorityGone);
}

#[test]
fn a_cluster_of_one_does_not_lead_itself_after_its_host_lost_power() {
    let mut cluster = unsynced(1, 20);
    let committed = cluster.committed();
    cluster.member(0).restart();
    cluster.run(2 * SECOND);
    expect_kept(&mut cluster, committed);
    cluster.member(0).lose_power().start();
    cluster.run(LINE_WITHIN);
    cluster.expect_no_leader();
    cluster.member(0).expect_standing(Standing::Learner);
    cluster.member(0).expect_told(NodeNotice::UnsyncedLogLost);
    cluster.member(0).expect_told(NodeNotice::MajorityGone);
}

#[test]
fn when_all_processes_died_the_cluster_elects_and_has_all_it_answered() {
    for sync in [SyncMode::None, SyncMode::Data] {
        let mut cluster = unsynced(3, 100);
        let committed = cluster.committed();
        cluster.everybody().kill();
        cluster.setup.node.sync = sync;
        cluster.everybody().start();
        cluster.run(5 * SECOND);
        cluster.everybody().expect_standing(Standing::Voter);
        expect_kept(&mut cluster, committed);
    }
}

#[test]
fn once_a_start_with_syncs_has_made_an_unsynced_run_durable_power_may_fail() {
    let mut cluster = unsynced(3, 100);
    let committed = cluster.committed();
    cluster.everybody().kill();
    cluster.setup.node.sync = SyncMode::Data;
    for _ in 0..2 {
        cluster.everybody().start();
        cluster.run(2 * SECOND);
        cluster.everybody().lose_power();
    }
    cluster.everybody().start();
    cluster.run(5 * SECOND);
    cluster.everybody().expect_standing(Standing::Voter);
    expect_kept(&mut cluster, committed);
}

#[test]
fn a_start_with_syncs_does_not_make_good_what_went_with_another_run_of_the_host() {
    let mut cluster = unsynced(3, 20);
    cluster.everybody().lose_power();
    cluster.setup.node.sync = SyncMode::Data;
    cluster.everybody().start();
    cluster.run(LINE_WITHIN);
    cluster.expect_no_leader();
    let mut everybody = cluster.everybody();
    everybody.expect_standing(Standing::Learner);
    everybody.expect_told(NodeNotice::UnsyncedLogLost);
}

#[test]
fn after_a_clean_stop_power_may_fail_and_nothing_is_lost() {
    let mut cluster = unsynced(3, 200);
    cluster.run(SECOND);
    let committed = cluster.committed();
    cluster.everybody().stop().lose_power().start();
    cluster.run(5 * SECOND);
    cluster.everybody().expect_standing(Standing::Voter);
    expect_kept(&mut cluster, committed);
    // The mark is there again: this run was not stopped.
    cluster.everybody().lose_power().start();
    cluster.run(LINE_WITHIN);
    cluster.expect_no_leader();
}

#[test]
fn a_run_with_syncs_loses_nothing_with_power_also_after_one_without() {
    let mut cluster = unsynced(3, 20);
    cluster.everybody().stop();
    cluster.setup.node.sync = SyncMode::Data;
    cluster.everybody().start();
    cluster.run(5 * SECOND);
    cluster.answer(20);
    let committed = cluster.committed();
    cluster.everybody().lose_power().start();
    cluster.run(5 * SECOND);
    cluster.everybody().expect_standing(Standing::Voter);
    expect_kept(&mut cluster, committed);
}

#[test]
fn a_member_that_took_part_in_no_term_has_nothing_to_lose() {
    let mut cluster = Scenario::echo().sync(SyncMode::None).all_down();
    for id in [0, 1] {
        cluster.member(id).start();
        cluster.run(100 * MILLISECOND);
        cluster.member(id).lose_power();
    }
    cluster.everybody().start();
    cluster.connect(|_| {});
    cluster.everybody().expect_standing(Standing::Voter);
}

#[test]
fn an_end_anywhere_in_the_start_makes_no_voter_of_a_learner() {
    for end in [StartEnd::PowerLoss, StartEnd::Kill] {
        let mut cluster = unsynced(3, 20);
        cluster.member(1).lose_power();
        let after_cut = cluster.old_state(1);
        expect_learner_after_any(&mut cluster, &after_cut, end);
    }
}
