//! `sync = none` and hosts that lose power: what was acknowledged may have gone, so the member is a
//! learner from then on, says so, and nobody is elected where no majority of voters is left. As
//! long as only processes die, nothing is lost and nothing changes (`log.md` 9.5, 10.3).
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_archive::disk::DiskError;
use lockstep_archive::sim::SimDisk;
use lockstep_consensus::config::SyncMode;
use lockstep_consensus::membership::Standing;
use lockstep_consensus::notice::NodeNotice;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

type Cluster = SmallCluster<Echo>;

/// Within so long everybody has said what is amiss.
const LINE_WITHIN: i64 = 5 * SECOND;

const ALL: [usize; 3] = [0, 1, 2];

/// Members that run without syncs, of which the first leads, and a client.
fn unsynced(members: usize) -> Cluster {
    let mut setup = Setup::new();
    setup.cluster.members.truncate(members);
    setup.node.sync = SyncMode::None;
    let mut cluster = SmallCluster::new(setup, |_| Echo::new());
    cluster.start_all(0);
    cluster.connect(|_| {});
    cluster
}

/// What is committed, and so in the log of whoever may lead.
fn committed(cluster: &Cluster) -> Vec<u8> {
    let commit = cluster.node(0).parts().module.commit();
    let log = cluster.disk(0).contents("0-0.rec").expect("a log");
    log[..commit as usize].to_vec()
}

fn expect_kept(cluster: &Cluster, committed: &[u8]) {
    let leader = cluster.leader().expect("a leader");
    assert!(cluster.durable(leader) as usize >= committed.len());
    let log = cluster.disk(leader).contents("0-0.rec").expect("a log");
    assert!(log.starts_with(committed), "an answered request is lost");
}

fn segments(cluster: &Cluster, id: usize) -> Vec<Option<Vec<u8>>> {
    let names = ["0-0.rec", "0-131072.rec", "0-262144.rec"];
    names.map(|name| cluster.disk(id).contents(name)).to_vec()
}

#[test]
fn a_member_whose_host_lost_power_follows_and_never_counts_and_the_others_go_on() {
    let mut cluster = unsynced(3);
    cluster.answer(50);
    cluster.lose_power(1);
    cluster.start(1);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.standing(1), Standing::Learner);
    assert!(cluster.has_told(1, NodeNotice::UnsyncedLogLost));
    assert!(!cluster.has_told(1, NodeNotice::IsLearner));
    assert!(cluster.has_told(0, NodeNotice::MemberIsLearner));
    cluster.answer(20);
    cluster.run(SECOND);
    assert_eq!(cluster.durable(1), cluster.durable(0));
    // However often it is started, and in whichever way.
    for sync in [SyncMode::None, SyncMode::Data] {
        cluster.kill(1);
        cluster.setup.node.sync = sync;
        cluster.start(1);
        cluster.run(2 * SECOND);
        assert_eq!(cluster.standing(1), Standing::Learner);
        assert!(cluster.has_told(1, NodeNotice::UnsyncedLogLost));
    }
    // The leader and a learner are no majority.
    cluster.kill(2);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), None);
    assert!(!cluster.has_told(0, NodeNotice::MajorityGone));
}

#[test]
fn when_all_hosts_lost_power_nobody_is_elected_and_everybody_says_what_remains() {
    let mut cluster = unsynced(3);
    cluster.answer(200);
    for id in ALL {
        cluster.lose_power(id);
    }
    let before = ALL.map(|id| segments(&cluster, id));
    for id in ALL {
        cluster.start(id);
    }
    cluster.run(LINE_WITHIN);
    for id in ALL {
        assert_eq!(cluster.standing(id), Standing::Learner);
        assert!(cluster.has_told(id, NodeNotice::UnsyncedLogLost), "{id}");
        assert!(cluster.has_told(id, NodeNotice::MajorityGone), "{id}");
    }
    cluster.run(20 * SECOND);
    assert_eq!(cluster.leader(), None);
    // What is left is left alone: it may be the only copy.
    for (id, before) in before.iter().enumerate() {
        assert!(segments(&cluster, id) == *before, "member {id}");
    }
}

#[test]
fn a_voter_that_is_left_alone_with_learners_names_them() {
    let mut cluster = unsynced(3);
    cluster.answer(20);
    for id in [1, 2] {
        cluster.lose_power(id);
    }
    for id in [1, 2] {
        cluster.start(id);
    }
    cluster.run(LINE_WITHIN);
    assert_eq!(cluster.leader(), None);
    assert_eq!(cluster.standing(0), Standing::Voter);
    for id in ALL {
        assert!(cluster.has_told(id, NodeNotice::MajorityGone), "{id}");
    }
    // Started again, it finds the learners there before it.
    cluster.kill(0);
    cluster.start(0);
    cluster.run(LINE_WITHIN);
    assert_eq!(cluster.leader(), None);
    assert!(cluster.has_told(0, NodeNotice::MajorityGone));
}

#[test]
fn a_cluster_of_one_does_not_lead_itself_after_its_host_lost_power() {
    let mut cluster = unsynced(1);
    cluster.answer(20);
    let kept = committed(&cluster);
    cluster.kill(0);
    cluster.start(0);
    cluster.run(2 * SECOND);
    cluster.answer(5);
    expect_kept(&cluster, &kept);
    cluster.lose_power(0);
    cluster.start(0);
    cluster.run(LINE_WITHIN);
    assert_eq!(cluster.leader(), None);
    assert_eq!(cluster.standing(0), Standing::Learner);
    for kind in [NodeNotice::UnsyncedLogLost, NodeNotice::MajorityGone] {
        assert!(cluster.has_told(0, kind), "{kind:?}");
    }
}

#[test]
fn when_all_processes_died_the_cluster_elects_and_has_all_it_answered() {
    for sync in [SyncMode::None, SyncMode::Data] {
        let mut cluster = unsynced(3);
        cluster.answer(100);
        let kept = committed(&cluster);
        for id in ALL {
            cluster.kill(id);
        }
        cluster.setup.node.sync = sync;
        for id in ALL {
            cluster.start(id);
        }
        cluster.run(5 * SECOND);
        for id in ALL {
            assert_eq!(cluster.standing(id), Standing::Voter);
        }
        cluster.answer(5);
        expect_kept(&cluster, &kept);
    }
}

#[test]
fn once_a_start_with_syncs_has_made_an_unsynced_run_durable_power_may_fail() {
    let mut cluster = unsynced(3);
    cluster.answer(100);
    let kept = committed(&cluster);
    for id in ALL {
        cluster.kill(id);
    }
    cluster.setup.node.sync = SyncMode::Data;
    for _ in 0..2 {
        for id in ALL {
            cluster.start(id);
        }
        cluster.run(2 * SECOND);
        for id in ALL {
            cluster.lose_power(id);
        }
    }
    for id in ALL {
        cluster.start(id);
    }
    cluster.run(5 * SECOND);
    for id in ALL {
        assert_eq!(cluster.standing(id), Standing::Voter);
    }
    cluster.answer(5);
    expect_kept(&cluster, &kept);
}

#[test]
fn a_start_with_syncs_does_not_make_good_what_went_with_another_run_of_the_host() {
    let mut cluster = unsynced(3);
    cluster.answer(20);
    for id in ALL {
        cluster.lose_power(id);
    }
    cluster.setup.node.sync = SyncMode::Data;
    for id in ALL {
        cluster.start(id);
    }
    cluster.run(LINE_WITHIN);
    assert_eq!(cluster.leader(), None);
    for id in ALL {
        assert_eq!(cluster.standing(id), Standing::Learner);
        assert!(cluster.has_told(id, NodeNotice::UnsyncedLogLost), "{id}");
    }
}

#[test]
fn after_a_clean_stop_power_may_fail_and_nothing_is_lost() {
    let mut cluster = unsynced(3);
    cluster.answer(200);
    cluster.run(SECOND);
    let kept = committed(&cluster);
    for id in ALL {
        cluster.stop(id);
    }
    for id in ALL {
        cluster.disk(id).crash(id as u64);
        cluster.start(id);
    }
    cluster.run(5 * SECOND);
    for id in ALL {
        assert_eq!(cluster.standing(id), Standing::Voter);
    }
    cluster.answer(5);
    expect_kept(&cluster, &kept);
    // The mark is there again: this run was not stopped.
    for id in ALL {
        cluster.lose_power(id);
        cluster.start(id);
    }
    cluster.run(LINE_WITHIN);
    assert_eq!(cluster.leader(), None);
}

#[test]
fn a_run_with_syncs_loses_nothing_with_power_also_after_one_without() {
    let mut cluster = unsynced(3);
    cluster.answer(20);
    for id in ALL {
        cluster.stop(id);
    }
    cluster.setup.node.sync = SyncMode::Data;
    for id in ALL {
        cluster.start(id);
    }
    cluster.run(5 * SECOND);
    cluster.answer(20);
    for id in ALL {
        cluster.lose_power(id);
        cluster.start(id);
    }
    cluster.run(5 * SECOND);
    cluster.answer(5);
    for id in ALL {
        assert_eq!(cluster.standing(id), Standing::Voter);
    }
}

#[test]
fn a_member_that_took_part_in_no_term_has_nothing_to_lose() {
    let mut setup = Setup::new();
    setup.node.sync = SyncMode::None;
    let mut cluster: Cluster = SmallCluster::new(setup, |_| Echo::new());
    for id in [0, 1] {
        cluster.start(id);
        cluster.run(100 * MILLISECOND);
        cluster.lose_power(id);
    }
    for id in ALL {
        cluster.start(id);
    }
    cluster.connect(|_| {});
    for id in ALL {
        assert_eq!(cluster.standing(id), Standing::Voter);
    }
}

#[test]
fn an_end_anywhere_in_the_start_makes_no_voter_of_a_learner() {
    let power_fails: fn(&SimDisk, u64) = SimDisk::crash_at_cold_operation;
    let process_dies: fn(&SimDisk, u64) = SimDisk::kill_at_cold_operation;
    for end_at in [power_fails, process_dies] {
        let mut cluster = unsynced(3);
        cluster.answer(20);
        cluster.lose_power(1);
        expect_learner_after_any(&mut cluster, end_at);
    }
}

fn expect_learner_after_any(cluster: &mut Cluster, end_at: fn(&SimDisk, u64)) {
    let (disk, after_cut) = (cluster.disk(1), cluster.disk(1).backup());
    for operation in 0.. {
        disk.restart();
        disk.restore_in_place(&after_cut);
        end_at(&disk, disk.cold_operations() + operation);
        let is_whole = cluster.try_start_as_it_is(1);
        if let Err(error) = &is_whole {
            assert_eq!(error.to_string(), DiskError::Crashed.to_string());
            cluster.start(1);
        }
        cluster.run(SECOND);
        assert_eq!(cluster.standing(1), Standing::Learner, "{operation}");
        cluster.kill(1);
        if is_whole.is_ok() {
            assert!(operation > 4, "{operation}");
            return;
        }
    }
}
