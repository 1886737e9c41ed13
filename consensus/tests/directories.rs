//! What operators do to directories, in virtual time: whatever is emptied, copied, swapped or put
//! back, no answered request is lost, no second history begins, and whoever must not count says
//! so.
#![cfg(feature = "sim")]

use lockstep_archive::disk::ColdFiles as _;
use lockstep_client::event::OfferResult;
use lockstep_consensus::module::membership::Standing;
use lockstep_consensus::node::birth::BirthError;
use lockstep_consensus::node::start_error::StartError;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::scenario::{OldState, Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

/// Three members of which the first leads, and some answers.
fn formed() -> Cluster {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(5);
    cluster
}

/// Kills the members once what is committed is on all disks that it reaches. Returns how much
/// that is.
fn kill(cluster: &mut Cluster, down: &[usize]) -> Position {
    let committed = cluster.committed();
    cluster.run(100 * MILLISECOND);
    cluster.members(down).kill();
    committed
}

#[test]
fn an_emptied_directory_and_a_lagging_member_elect_nobody_and_lose_nothing() {
    let mut cluster = formed();
    cluster.member(2).isolate();
    cluster.answer(50);
    let committed = kill(&mut cluster, &[0, 1]);
    cluster.heal();
    cluster.member(1).wipe().start();
    cluster.run(5 * SECOND);
    cluster.expect_no_leader();
    cluster.member(1).expect_standing(Standing::Learner);
    cluster.member(1).expect_told(NodeNotice::IsLearner);
    cluster.member(2).expect_told(NodeNotice::MemberIsLearner);
    expect_member_0_to_lead(&mut cluster, committed);
}

#[test]
fn two_emptied_directories_started_first_form_no_cluster_and_truncate_no_log() {
    // The lowest member draws the uuid of a new cluster, if it may.
    for (good, emptied) in [(0, [1, 2]), (2, [0, 1])] {
        let mut cluster = Scenario::echo().led_by(good);
        cluster.answer(50);
        let committed = kill(&mut cluster, &[0, 1, 2]);
        cluster.members(&emptied).wipe().start();
        cluster.run(5 * SECOND);
        let mut members = cluster.members(&emptied);
        members.expect_standing(Standing::Forming);
        members.expect_told(NodeNotice::FormationWaits);
        cluster.member(good).start();
        cluster.run(5 * SECOND);
        cluster.expect_no_leader();
        cluster.member(good).expect_told(NodeNotice::ReturnWaits);
        cluster.members(&emptied).expect_standing(Standing::Learner);
        cluster.member(good).expect_kept(committed);
    }
}

#[test]
fn a_copied_directory_follows_and_does_not_count() {
    let mut cluster = formed();
    let committed = kill(&mut cluster, &[1]);
    cluster.member(1).copy_onto_itself().start();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_standing(Standing::Learner);
    cluster.member(1).expect_told(NodeNotice::DirectoryIsCopy);
    cluster.member(0).expect_told(NodeNotice::MemberIsLearner);
    cluster.answer(20);
    cluster.run(SECOND);
    cluster.expect_equal_logs();
    cluster.everybody().expect_kept(committed);
    // The leader and a learner are no majority.
    cluster.member(2).kill();
    cluster.run(3 * SECOND);
    cluster.expect_no_leader();
}

#[test]
fn another_members_directory_and_swapped_ones_are_refused_and_stay_as_they_are() {
    let mut cluster = formed();
    let committed = kill(&mut cluster, &[1, 2]);
    let logs = [1, 2].map(|id| cluster.log(id, committed));
    cluster.swap(1, 2);
    for (id, owner) in [(1, 2), (2, 1)] {
        let refused = cluster.member(id).try_start().expect_err("it is another's");
        let StartError::Birth(BirthError::Foreign { found_member, .. }) = &refused else {
            panic!("{refused}");
        };
        assert_eq!(*found_member, owner);
        let words = format!("was made for member {owner} ");
        cluster.member(id).expect_refused(&words);
        cluster
            .member(id)
            .expect_refused("nothing in it was changed");
    }
    assert!(
        [2, 1].map(|id| cluster.log(id, committed)) == logs,
        "touched"
    );
    cluster.swap(1, 2);
    cluster.members(&[1, 2]).start();
    cluster.run(3 * SECOND);
    cluster.everybody().expect_standing(Standing::Voter);
    cluster.answer(5);
    cluster.run(SECOND);
    cluster.everybody().expect_kept(committed);
}

/// Member 1's directory lived on since its backup, started once more; then member 2 was left
/// behind, and the old state was put back while members 0 and 1 are down. Returns how much was
/// committed.
fn put_back_after_a_start() -> (Cluster, Position) {
    let mut cluster = formed();
    cluster.member(1).kill();
    let stale = cluster.old_state(1);
    cluster.member(1).start();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_standing(Standing::Voter);
    cluster.member(2).isolate();
    cluster.answer(50);
    let committed = kill(&mut cluster, &[0, 1]);
    cluster.member(1).put_back(&stale);
    (cluster, committed)
}

/// The member that has everything returns and leads, and nothing is lost.
fn expect_member_0_to_lead(cluster: &mut Cluster, committed: Position) {
    cluster.member(0).start();
    cluster.run(5 * SECOND);
    cluster.expect_leader(0);
    cluster.answer(5);
    cluster.run(SECOND);
    cluster.everybody().expect_kept(committed);
}

#[test]
fn a_stale_state_of_the_own_directory_does_not_vote_although_nothing_on_disk_tells() {
    let (mut cluster, committed) = put_back_after_a_start();
    cluster.heal();
    cluster.member(1).start();
    cluster.run(5 * SECOND);
    cluster.expect_no_leader();
    cluster.member(1).expect_standing(Standing::Learner);
    cluster.member(1).expect_told(NodeNotice::DirectoryOutlived);
    // However often it is started.
    for _ in 0..3 {
        cluster.member(1).restart();
        cluster.run(2 * SECOND);
        cluster.member(1).expect_standing(Standing::Learner);
    }
    cluster.expect_no_leader();
    expect_member_0_to_lead(&mut cluster, committed);
}

/// The old state of member 1's directory follows, whoever is there; when the member that has
/// everything returns, it leads, and nothing is lost.
fn expect_no_voice_for_member_1(cluster: &mut Cluster, committed: Position) {
    cluster.heal();
    cluster.run(5 * SECOND);
    cluster.expect_no_leader();
    cluster.member(1).expect_standing(Standing::Learner);
    expect_member_0_to_lead(cluster, committed);
}

#[test]
fn an_old_state_that_was_started_more_often_than_its_directory_does_not_count() {
    let (mut cluster, committed) = put_back_after_a_start();
    // Nobody hears of these.
    for _ in 0..5 {
        cluster.member(1).start();
        cluster.run(300 * MILLISECOND);
        cluster.member(1).expect_standing(Standing::Returning);
        cluster.member(1).kill();
    }
    cluster.member(1).start();
    expect_no_voice_for_member_1(&mut cluster, committed);
}

#[test]
fn a_state_of_the_running_member_does_not_count_although_it_was_never_started_again() {
    // The member that knows what was acknowledged runs on, or starts again itself.
    for down in [[1].as_slice(), [0, 1].as_slice()] {
        let mut cluster = formed();
        let stale = cluster.old_state(1);
        cluster.member(2).isolate();
        cluster.answer(50);
        cluster.run(2 * SECOND);
        let committed = kill(&mut cluster, down);
        cluster.member(1).put_back(&stale);
        cluster.members(down).start();
        cluster.run(SECOND);
        cluster.member(1).expect_standing(Standing::Learner);
        cluster.member(1).expect_told(NodeNotice::DirectoryOutlived);
        cluster.member(0).kill();
        expect_no_voice_for_member_1(&mut cluster, committed);
    }
}

#[test]
fn an_old_state_of_a_leader_does_not_count_although_it_was_never_started_again() {
    let mut cluster = formed();
    cluster.member(2).isolate();
    let stale = cluster.old_state(0);
    cluster.answer(50);
    cluster.run(SECOND);
    cluster.member(0).kill().put_back(&stale).start();
    cluster.run(SECOND);
    cluster.member(0).expect_standing(Standing::Learner);
    cluster.heal();
    cluster.run(3 * SECOND);
    // Whoever has everything.
    cluster.expect_leader(1);
    cluster.answer(5);
}

#[test]
fn whoever_is_told_of_a_start_that_its_directory_has_forgotten_does_not_count() {
    let mut cluster = formed();
    let stale = cluster.old_state(2);
    for _ in 0..2 {
        cluster.member(1).restart();
        cluster.run(SECOND);
    }
    // Of its own promises none is missing.
    cluster.member(2).kill().put_back(&stale).start();
    cluster.run(SECOND);
    cluster.member(2).expect_standing(Standing::Learner);
    cluster.member(1).expect_standing(Standing::Voter);
}

#[test]
fn a_member_that_is_killed_while_others_learn_of_its_start_is_no_old_state() {
    let mut cluster = formed();
    for step in 0..60 {
        cluster.member(1).restart();
        cluster.run(step * 50 * MICROSECOND);
    }
    cluster.run(SECOND);
    cluster.everybody().expect_standing(Standing::Voter);
    cluster.answer(5);
}

#[test]
fn a_wiped_member_is_heard_again_and_gets_the_whole_log() {
    let mut cluster = formed();
    for _ in 0..5 {
        // Its starts are counted from 1 again each time.
        cluster.member(1).kill().wipe().start();
        cluster.run(2 * SECOND);
        cluster.answer(5);
        cluster.run(SECOND);
        cluster.expect_equal_logs();
    }
}

/// Members 1 and 2 have old states put back, and member 0 knows of more than they elect a leader
/// for: it stops, and its log stays as it was.
fn expect_a_stop_that_cuts_nothing(mut cluster: Cluster, older: &[OldState; 2]) {
    let end = cluster.durable(0);
    let before = cluster.log(0, end);
    cluster.everybody().kill();
    // A majority has lost what was committed.
    cluster.lose_history();
    cluster.member(1).put_back(&older[0]).start();
    cluster.member(2).put_back(&older[1]).start();
    cluster.run(5 * SECOND);
    cluster.expect_some_leader();
    // It applies again what it knew to be committed, of the history that a majority has lost.
    cluster.member(0).overlook().start();
    cluster.run(2 * SECOND);
    cluster.member(0).expect_stopped("was committed up to");
    assert!(cluster.log(0, end) == before, "it was cut");
}

#[test]
fn a_member_whose_mark_knows_more_to_be_committed_than_its_leader_has_stops_and_cuts_nothing() {
    let mut cluster = formed();
    cluster.run(200 * MILLISECOND);
    let older = [1, 2].map(|id| cluster.old_state(id));
    // One entry, and none after it that tells of its commit.
    cluster.connect(|_| {});
    cluster.run(100 * MILLISECOND);
    expect_a_stop_that_cuts_nothing(cluster, &older);
}

#[test]
fn a_member_whose_frames_know_more_to_be_committed_than_its_leader_has_stops_and_cuts_nothing() {
    let mut cluster = formed();
    cluster.run(200 * MILLISECOND);
    let older = [1, 2].map(|id| cluster.old_state(id));
    cluster.answer(1);
    expect_a_stop_that_cuts_nothing(cluster, &older);
}

#[test]
fn a_directory_that_lost_a_part_is_damaged_and_never_blank() {
    let mut cluster = formed();
    cluster.member(1).kill();
    let whole = cluster.old_state(1);
    let names = cluster.disk(1).list().expect("a list");
    let rest = names.iter().map(String::as_str);
    let rest = rest.filter(|name| *name != "identity.dat").collect();
    for part in [vec!["identity.dat"], vec!["archive.catalog"], rest] {
        cluster.member(1).put_back(&whole);
        for name in part {
            cluster.member(1).lose(name);
        }
        cluster
            .member(1)
            .expect_refused("keep the directory as it is");
    }
    cluster.member(1).put_back(&whole).start();
    cluster.run(2 * SECOND);
    cluster.member(1).expect_standing(Standing::Voter);
}

#[test]
fn an_offer_to_a_cluster_that_waits_for_members_is_taken_once_they_are_there() {
    let mut cluster = Scenario::echo().all_down();
    cluster.members(&[0, 1]).start();
    cluster.run(5 * SECOND);
    cluster.expect_no_leader();
    cluster.member(0).expect_told(NodeNotice::FormationWaits);
    cluster.member(2).start();
    cluster.connect(|_| {});
    let now = cluster.now;
    let offered = cluster.clients[0].client.offer(now, b"first");
    assert!(matches!(offered, OfferResult::Accepted(_)));
}
