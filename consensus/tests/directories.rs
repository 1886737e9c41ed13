//! What operators do to directories, in virtual time: whatever is emptied, copied, swapped or put
//! back, no answered request is lost, no second history begins, and whoever must not count says
//! so.
#![cfg(feature = "sim")]

mod small_cluster;

use lockstep_archive::disk::Disk as _;
use lockstep_archive::sim::SimBackup;
use lockstep_client::event::OfferResult;
use lockstep_consensus::agent::birth::BirthError;
use lockstep_consensus::agent::start::StartError;
use lockstep_consensus::membership::Standing;
use lockstep_consensus::notice::NodeNotice;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};
use small_cluster::{Setup, SmallCluster};

type Cluster = SmallCluster<Echo>;

/// Three members of which the first leads, and a client.
fn formed() -> Cluster {
    formed_by(0)
}

/// The same, led by this member.
fn formed_by(leader: usize) -> Cluster {
    let mut cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.start_all(leader);
    cluster.connect(|_| {});
    cluster
}

/// The log of a member up to `end`, byte for byte.
fn log(cluster: &Cluster, id: usize, end: i64) -> Vec<u8> {
    let bytes = cluster.disk(id).contents("0-0.rec").expect("a log");
    bytes[..end as usize].to_vec()
}

/// Kills the members, changes their disks by `change`, and returns what was committed, as the
/// `good` member has it.
fn accident(
    cluster: &mut Cluster,
    good: usize,
    down: &[usize],
    change: impl FnOnce(&Cluster),
) -> Vec<u8> {
    let commit = cluster.node(good).parts().module.commit();
    cluster.run(100 * MILLISECOND);
    for id in down {
        cluster.kill(*id);
    }
    change(cluster);
    log(cluster, good, commit)
}

/// The log of the `good` member still begins with `committed`, and so does the log of everybody
/// who has that much.
fn expect_kept(cluster: &Cluster, good: usize, committed: &[u8]) {
    let end = committed.len() as i64;
    for id in 0..3 {
        if cluster.durable(id) >= end {
            assert!(log(cluster, id, end) == committed, "member {id} differs");
        }
    }
    assert!(
        cluster.durable(good) >= end,
        "member {good} has lost its log"
    );
}

#[test]
fn an_emptied_directory_and_a_lagging_member_elect_nobody_and_lose_nothing() {
    let mut cluster = formed();
    cluster.isolate(2);
    cluster.answer(50);
    let committed = accident(&mut cluster, 0, &[0, 1], |cluster| cluster.disk(1).wipe());
    cluster.network.heal();
    cluster.start(1);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), None);
    assert_eq!(cluster.standing(1), Standing::Learner);
    assert!(cluster.has_told(1, NodeNotice::IsLearner));
    assert!(cluster.has_told(2, NodeNotice::MemberIsLearner));
    cluster.start(0);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), Some(0));
    cluster.answer(5);
    cluster.run(SECOND);
    assert!(cluster.durable(1) as usize > committed.len());
    expect_kept(&cluster, 0, &committed);
}

#[test]
fn two_emptied_directories_started_first_form_no_cluster_and_truncate_no_log() {
    // The lowest member draws the uuid of a new cluster, if it may.
    for (good, emptied) in [(0, [1, 2]), (2, [0, 1])] {
        let mut cluster = formed_by(good);
        cluster.answer(50);
        let committed = accident(&mut cluster, good, &[0, 1, 2], |cluster| {
            for id in emptied {
                cluster.disk(id).wipe();
            }
        });
        for id in emptied {
            cluster.start(id);
        }
        cluster.run(5 * SECOND);
        for id in emptied {
            assert_eq!(cluster.standing(id), Standing::Forming);
            assert!(cluster.has_told(id, NodeNotice::FormationWaits));
        }
        cluster.start(good);
        cluster.run(5 * SECOND);
        assert_eq!(cluster.leader(), None);
        assert!(cluster.has_told(good, NodeNotice::ReturnWaits));
        for id in emptied {
            assert_eq!(cluster.standing(id), Standing::Learner);
        }
        expect_kept(&cluster, good, &committed);
    }
}

#[test]
fn a_copied_directory_follows_and_does_not_count() {
    let mut cluster = formed();
    cluster.answer(20);
    let committed = accident(&mut cluster, 0, &[1], |cluster| {
        let backup = cluster.disk(1).backup();
        cluster.disk(1).copy_from(&backup);
    });
    cluster.start(1);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.standing(1), Standing::Learner);
    assert!(cluster.has_told(1, NodeNotice::DirectoryIsCopy));
    assert!(cluster.has_told(0, NodeNotice::MemberIsLearner));
    cluster.answer(20);
    cluster.run(SECOND);
    assert_eq!(cluster.durable(1), cluster.durable(0));
    expect_kept(&cluster, 0, &committed);
    // The leader and a learner are no majority.
    cluster.kill(2);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), None);
}

#[test]
fn another_members_directory_and_swapped_ones_are_refused_and_stay_as_they_are() {
    let mut cluster = formed();
    cluster.answer(20);
    let committed = accident(&mut cluster, 0, &[1, 2], |_| {});
    let backups: Vec<SimBackup> = [1, 2].map(|id| cluster.disk(id).backup()).into();
    cluster.disk(1).restore_in_place(&backups[1]);
    cluster.disk(2).restore_in_place(&backups[0]);
    for (id, owner) in [(1, 2), (2, 1)] {
        let refused = cluster.try_start(id).expect_err("it is another's");
        let StartError::Birth(BirthError::Foreign { found_member, .. }) = &refused else {
            panic!("{refused}");
        };
        assert_eq!(*found_member, owner);
        let words = refused.to_string();
        assert!(words.contains("nothing in it was changed"), "{words}");
    }
    let end = committed.len();
    for (id, bytes) in [
        (1, log(&cluster, 1, end as i64)),
        (2, log(&cluster, 2, end as i64)),
    ] {
        assert!(bytes == committed, "directory {id} was touched");
    }
    cluster.disk(1).restore_in_place(&backups[0]);
    cluster.disk(2).restore_in_place(&backups[1]);
    cluster.start(1);
    cluster.start(2);
    cluster.run(3 * SECOND);
    for id in 0..3 {
        assert_eq!(cluster.standing(id), Standing::Voter);
    }
    cluster.answer(5);
    expect_kept(&cluster, 0, &committed);
}

/// Member 1's directory lived on since its backup, started once more; then member 2 was left
/// behind, and the old state was put back while members 0 and 1 are down. Returns what was
/// committed.
fn put_back_after_a_start() -> (Cluster, Vec<u8>) {
    let mut cluster = formed();
    cluster.answer(5);
    cluster.kill(1);
    let stale = cluster.disk(1).backup();
    cluster.start(1);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.standing(1), Standing::Voter);
    cluster.isolate(2);
    cluster.answer(50);
    let committed = accident(&mut cluster, 0, &[0, 1], |cluster| {
        cluster.disk(1).restore_in_place(&stale);
    });
    (cluster, committed)
}

/// The member that has everything returns and leads, and nothing is lost.
fn expect_member_0_to_lead(cluster: &mut Cluster, committed: &[u8]) {
    cluster.start(0);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), Some(0));
    cluster.answer(5);
    expect_kept(cluster, 0, committed);
}

#[test]
fn a_stale_state_of_the_own_directory_does_not_vote_although_nothing_on_disk_tells() {
    let (mut cluster, committed) = put_back_after_a_start();
    cluster.network.heal();
    cluster.start(1);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), None);
    assert_eq!(cluster.standing(1), Standing::Learner);
    assert!(cluster.has_told(1, NodeNotice::DirectoryOutlived));
    // However often it is started.
    for _ in 0..3 {
        cluster.kill(1);
        cluster.start(1);
        cluster.run(2 * SECOND);
        assert_eq!(cluster.standing(1), Standing::Learner);
    }
    assert_eq!(cluster.leader(), None);
    expect_member_0_to_lead(&mut cluster, &committed);
}

/// The old state of member 1's directory follows, whoever is there; when the member that has
/// everything returns, it leads, and nothing is lost.
fn expect_no_voice_for_member_1(cluster: &mut Cluster, committed: &[u8]) {
    cluster.network.heal();
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), None);
    assert_eq!(cluster.standing(1), Standing::Learner);
    expect_member_0_to_lead(cluster, committed);
}

#[test]
fn an_old_state_that_was_started_more_often_than_its_directory_does_not_count() {
    let (mut cluster, committed) = put_back_after_a_start();
    // Nobody hears of these.
    for _ in 0..5 {
        cluster.start(1);
        cluster.run(300 * MILLISECOND);
        assert_eq!(cluster.standing(1), Standing::Returning);
        cluster.kill(1);
    }
    cluster.start(1);
    expect_no_voice_for_member_1(&mut cluster, &committed);
}

#[test]
fn a_state_of_the_running_member_does_not_count_although_it_was_never_started_again() {
    // The member that knows what was acknowledged runs on, or starts again itself.
    for starts_again in [false, true] {
        let mut cluster = formed();
        cluster.answer(5);
        let stale = cluster.disk(1).backup();
        cluster.isolate(2);
        cluster.answer(50);
        cluster.run(2 * SECOND);
        let down: &[usize] = if starts_again { &[0, 1] } else { &[1] };
        let committed = accident(&mut cluster, 0, down, |cluster| {
            cluster.disk(1).restore_in_place(&stale);
        });
        if starts_again {
            cluster.start(0);
        }
        cluster.start(1);
        cluster.run(SECOND);
        assert_eq!(cluster.standing(1), Standing::Learner, "{starts_again}");
        assert!(cluster.has_told(1, NodeNotice::DirectoryOutlived));
        cluster.kill(0);
        expect_no_voice_for_member_1(&mut cluster, &committed);
    }
}

#[test]
fn an_old_state_of_a_leader_does_not_count_although_it_was_never_started_again() {
    let mut cluster = formed();
    cluster.answer(5);
    cluster.isolate(2);
    let stale = cluster.disk(0).backup();
    cluster.answer(50);
    cluster.run(SECOND);
    cluster.kill(0);
    cluster.disk(0).restore_in_place(&stale);
    cluster.start(0);
    cluster.run(SECOND);
    assert_eq!(cluster.standing(0), Standing::Learner);
    cluster.network.heal();
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), Some(1), "whoever has everything");
    cluster.answer(5);
}

#[test]
fn whoever_is_told_of_a_start_that_its_directory_has_forgotten_does_not_count() {
    let mut cluster = formed();
    cluster.answer(5);
    let stale = cluster.disk(2).backup();
    for _ in 0..2 {
        cluster.kill(1);
        cluster.start(1);
        cluster.run(SECOND);
    }
    // Of its own promises none is missing.
    cluster.kill(2);
    cluster.disk(2).restore_in_place(&stale);
    cluster.start(2);
    cluster.run(SECOND);
    assert_eq!(cluster.standing(2), Standing::Learner);
    assert_eq!(cluster.standing(1), Standing::Voter);
}

#[test]
fn a_member_that_is_killed_while_others_learn_of_its_start_is_no_old_state() {
    let mut cluster = formed();
    cluster.answer(5);
    for step in 0..60 {
        cluster.kill(1);
        cluster.start(1);
        cluster.run(step * 50 * MICROSECOND);
    }
    cluster.run(SECOND);
    for id in 0..3 {
        assert_eq!(cluster.standing(id), Standing::Voter);
    }
    cluster.answer(5);
}

#[test]
fn a_wiped_member_is_heard_again_and_gets_the_whole_log() {
    let mut cluster = formed();
    for _ in 0..5 {
        // Its starts are counted from 1 again each time.
        cluster.kill(1);
        cluster.disk(1).wipe();
        cluster.start(1);
        cluster.run(2 * SECOND);
        cluster.answer(5);
        cluster.run(SECOND);
        assert_eq!(cluster.durable(1), cluster.durable(0));
    }
}

#[test]
fn a_member_that_knows_more_to_be_committed_than_its_leader_has_stops_and_cuts_nothing() {
    // First what only its mark says, then what only its frames say.
    for is_marked in [true, false] {
        let mut cluster = formed();
        cluster.answer(5);
        cluster.run(200 * MILLISECOND);
        let older = [1, 2].map(|id| (id, cluster.disk(id).backup()));
        if is_marked {
            // One entry, and none after it that tells of its commit.
            cluster.connect(|_| {});
            cluster.run(100 * MILLISECOND);
        } else {
            cluster.answer(1);
        }
        let end = cluster.durable(0);
        let before = log(&cluster, 0, end);
        for id in 0..3 {
            cluster.kill(id);
        }
        for (id, backup) in &older {
            cluster.disk(*id).restore_in_place(backup);
            cluster.start(*id);
        }
        cluster.run(5 * SECOND);
        assert!(cluster.leader().is_some(), "who knows of more is down");
        cluster.start(0);
        cluster.run(2 * SECOND);
        let fault = cluster.fault(0).map(ToString::to_string);
        let words = fault.unwrap_or_default();
        assert!(words.contains("was committed up to"), "{is_marked} {words}");
        assert!(log(&cluster, 0, end) == before, "{is_marked}: it was cut");
    }
}

#[test]
fn a_directory_that_lost_a_part_is_damaged_and_never_blank() {
    let mut cluster = formed();
    cluster.answer(5);
    cluster.kill(1);
    let whole = cluster.disk(1).backup();
    let names = cluster.disk(1).list().expect("a list");
    let rest: Vec<&str> = names.iter().map(String::as_str).collect();
    let rest = rest.into_iter().filter(|name| *name != "identity.dat");
    let parts = [
        vec!["identity.dat"],
        vec!["archive.catalog"],
        rest.collect(),
    ];
    for part in parts {
        cluster.disk(1).restore_in_place(&whole);
        for name in &part {
            cluster.disk(1).lose(name);
        }
        let refused = cluster.try_start(1).expect_err("it is damaged");
        let words = refused.to_string();
        assert!(
            words.contains("keep the directory as it is"),
            "{part:?}: {words}"
        );
    }
    cluster.disk(1).restore_in_place(&whole);
    cluster.start(1);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.standing(1), Standing::Voter);
}

#[test]
fn an_offer_to_a_cluster_that_waits_for_members_is_taken_once_they_are_there() {
    let mut cluster: Cluster = SmallCluster::new(Setup::new(), |_| Echo::new());
    cluster.start(0);
    cluster.start(1);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), None);
    assert!(cluster.has_told(0, NodeNotice::FormationWaits));
    cluster.start(2);
    cluster.connect(|_| {});
    let now = cluster.now;
    let offered = cluster.clients[0].client.offer(now, b"first");
    assert!(matches!(offered, OfferResult::Accepted(_)));
}
