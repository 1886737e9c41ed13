//! A leadership that is handed over (`log.md` 9.6): clients see a new leader, soon, and no error.
#![cfg(feature = "sim")]

use lockstep_client::event::OfferResult;
use lockstep_consensus::module::consensus_module::HandOverRefusal;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::{ResponsesMode, SyncMode};
use lockstep_consensus::settings::threading::Threading;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster, Told};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::sim::LinkProfile;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

/// Election timeout of members.
const TIMEOUT: Nanos = 500 * MILLISECOND;

/// Longest time without an answer that a hand-over between healthy members may cost: far below the
/// timeout that an election begins with.
const PLANNED: Nanos = 50 * MILLISECOND;

/// The first client asks, every millisecond while its requests are taken, and is answered.
struct Load {
    asked: usize,
    answered_before: usize,
}

impl Load {
    fn begin<S: ClusteredService>(cluster: &SimCluster<S>) -> Self {
        let (asked, answered_before) = (0, cluster.clients[0].answered());
        Self {
            asked,
            answered_before,
        }
    }

    /// Goes on for so long. Returns the longest time without an answer.
    fn go_on<S: ClusteredService>(
        &mut self,
        cluster: &mut SimCluster<S>,
        duration: Nanos,
    ) -> Nanos {
        let end = cluster.now + duration;
        let (mut answered, mut since, mut longest) = (0, cluster.now, 0);
        let mut next = cluster.now;
        while cluster.now < end {
            if cluster.now >= next {
                let offered = cluster.clients[0].client.offer(cluster.now, &[7; 100]);
                self.asked += usize::from(matches!(offered, OfferResult::Accepted(_)));
                next = cluster.now + MILLISECOND;
            }
            cluster.step();
            let found = cluster.clients[0].answered();
            longest = longest.max(cluster.now - since);
            if found > answered {
                (answered, since) = (found, cluster.now);
            }
        }
        longest
    }

    /// All that was asked is answered, once each, and the client was told of no error.
    fn end<S: ClusteredService>(self, cluster: &mut SimCluster<S>) {
        let expected = self.answered_before + self.asked;
        cluster.run_until(SECOND, |cluster| cluster.clients[0].answered() >= expected);
        let told = &cluster.clients[0].told;
        let odd: Vec<&Told> = told.iter().filter(|told| is_error(told)).collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert_eq!(cluster.clients[0].answered(), expected);
    }
}

fn is_error(told: &Told) -> bool {
    match told {
        Told::Response { .. } => false,
        Told::Other(words) => !words.starts_with("NewLeader") && !words.starts_with("Connected"),
        _ => true,
    }
}

fn term<S: ClusteredService>(cluster: &SimCluster<S>, id: usize) -> i64 {
    cluster.node(id).agents().consensus.module.term().get()
}

/// A planned hand-over of a loaded leader, to `to`. Returns the pause.
fn hand_over_under_load<S: ClusteredService>(cluster: &mut SimCluster<S>, to: Option<u8>) -> Nanos {
    let leader = cluster.expect_some_leader();
    let before = term(cluster, leader);
    let mut load = Load::begin(cluster);
    load.go_on(cluster, 100 * MILLISECOND);
    assert_eq!(cluster.member(leader).hand_over(to), Ok(()));
    let pause = load.go_on(cluster, SECOND);
    let next = cluster.expect_some_leader();
    assert_ne!(next, leader);
    assert!(to.is_none_or(|to| usize::from(to) == next));
    assert_eq!(term(cluster, next), before + 1);
    load.end(cluster);
    pause
}

fn expect_planned(cluster: &mut SimCluster<Echo>, to: Option<u8>) {
    let pause = hand_over_under_load(cluster, to);
    assert!(pause < PLANNED, "{pause} ns without an answer");
    cluster.run(SECOND);
    cluster.everybody().expect_up();
    cluster.expect_equal_logs();
}

#[test]
fn a_planned_hand_over_loses_nothing_and_costs_less_than_an_election() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let mut cluster = Scenario::echo().sync(sync).led_by(0);
        expect_planned(&mut cluster, None);
        for to in [0, 1, 2, 0] {
            if cluster.leader() != Some(to) {
                expect_planned(&mut cluster, Some(to as u8));
            }
        }
        let told = |id| cluster.noted(id, NodeNotice::HandingOver);
        assert!((0..3).map(told).sum::<u64>() >= 4);
    }
}

#[test]
fn answers_that_leave_at_apply_all_leave_before_or_after() {
    let mut cluster = Scenario::echo().responses(ResponsesMode::Direct).led_by(0);
    expect_planned(&mut cluster, None);
    expect_planned(&mut cluster, Some(0));
}

#[test]
fn agents_on_threads_of_their_own_hand_over_as_well() {
    let mut cluster = Scenario::echo()
        .node(|node| node.threading = Threading::SPLIT)
        .led_by(0);
    expect_planned(&mut cluster, Some(1));
    expect_planned(&mut cluster, None);
}

#[test]
fn of_five_any_may_be_told_to_take_over() {
    let mut cluster = Scenario::echo().members(5).led_by(0);
    for to in [4, 2, 0] {
        expect_planned(&mut cluster, Some(to));
    }
}

#[test]
fn a_leader_that_is_told_to_leave_hands_over_first() {
    let mut cluster = Scenario::echo().led_by(0);
    let mut load = Load::begin(&cluster);
    load.go_on(&mut cluster, 100 * MILLISECOND);
    cluster.member(0).leave();
    let pause = load.go_on(&mut cluster, SECOND);
    assert!(pause < PLANNED, "{pause} ns without an answer");
    load.end(&mut cluster);
    assert_ne!(cluster.expect_some_leader(), 0);
    // One after the other, as for an upgrade.
    for id in [0, 1, 2] {
        if !cluster.is_up(id) {
            cluster.member(id).start();
        }
        cluster.run(SECOND);
        let mut load = Load::begin(&cluster);
        cluster.member(id).leave();
        let pause = load.go_on(&mut cluster, SECOND);
        assert!(pause < PLANNED, "member {id}: {pause} ns without an answer");
        load.end(&mut cluster);
        cluster.member(id).start();
    }
    cluster.run(SECOND);
    cluster.expect_equal_logs();
}

#[test]
fn a_follower_that_is_told_to_leave_has_left_at_once() {
    let mut cluster = Scenario::echo().led_by(0);
    let before = cluster.now;
    cluster.member(1).leave();
    assert!(cluster.now - before < 50 * MILLISECOND);
    cluster.expect_leader(0);
}

#[test]
fn who_is_about_to_leave_is_nobody_to_hand_over_to() {
    let mut cluster = Scenario::echo().led_by(0);
    let now = cluster.now;
    cluster.node_mut(1).leave(now);
    for _ in 0..2 {
        assert_eq!(cluster.member(0).hand_over(None), Ok(()));
        cluster.run(100 * MILLISECOND);
        cluster.expect_leader(2);
        assert_eq!(cluster.member(2).hand_over(Some(0)), Ok(()));
        cluster.run(100 * MILLISECOND);
        cluster.expect_leader(0);
    }
    assert_eq!(cluster.member(0).hand_over(Some(1)), Ok(()));
    cluster.run(TIMEOUT + 100 * MILLISECOND);
    cluster.expect_leader(0);
    cluster.member(0).expect_told(NodeNotice::HandOverFailed);
}

#[test]
fn a_target_that_dies_costs_a_part_of_a_timeout() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    let mut load = Load::begin(&cluster);
    // Whoever is told first: both have everything, and either may be.
    assert_eq!(cluster.member(0).hand_over(None), Ok(()));
    cluster.member(1).kill();
    let pause = load.go_on(&mut cluster, SECOND);
    assert!(pause < TIMEOUT, "{pause} ns without an answer");
    cluster.expect_leader(2);
    load.end(&mut cluster);
}

#[test]
fn a_target_that_dies_once_it_has_the_votes_is_missed_as_any_leader() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    let before = term(&cluster, 0);
    assert_eq!(cluster.member(0).hand_over(Some(1)), Ok(()));
    cluster.run_until(SECOND, |cluster| term(cluster, 0) > before);
    cluster.member(1).kill();
    cluster.run(3 * SECOND);
    cluster.expect_some_leader();
    cluster.answer(3);
    cluster.member(1).start();
    cluster.run(SECOND);
    cluster.expect_equal_logs();
}

#[test]
fn words_that_are_lost_doubled_and_late_cost_repetitions_only() {
    let mut cluster = Scenario::echo().led_by(0);
    let profile = LinkProfile {
        delay_ns: 30 * MICROSECOND,
        loss: 0.3,
        duplicate: 0.3,
        late_ns: 400 * MILLISECOND,
        reorder: 0.1,
        ..LinkProfile::default()
    };
    let members: Vec<_> = (0..3)
        .map(|id| cluster.setup.cluster.members[id].member)
        .collect();
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let (from, to) = (members[from], members[to]);
        cluster.network.set_link(from, to, Some(profile));
    }
    for _ in 0..10 {
        let leader = cluster.expect_some_leader();
        let before = term(&cluster, leader);
        cluster.answer(5);
        assert_eq!(cluster.member(leader).hand_over(None), Ok(()));
        cluster.run(2 * SECOND);
        let next = cluster.expect_some_leader();
        let terms = term(&cluster, next) - before;
        assert!((0..=1).contains(&terms), "{terms} terms for one hand-over");
    }
}

#[test]
fn who_is_told_late_to_stand_leaves_the_leader_alone() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    let members = cluster.setup.cluster.members.clone();
    let (leader, target) = (members[0].member, members[1].member);
    // All that member 1 is told comes when the leader has gone on.
    let until = cluster.now + 2 * SECOND;
    cluster.cut_one_way(1, 0);
    cluster.network.clog(leader, target, until);
    assert_eq!(cluster.member(0).hand_over(Some(1)), Ok(()));
    cluster.run(TIMEOUT + MILLISECOND);
    cluster.member(0).expect_told(NodeNotice::HandOverFailed);
    let before = term(&cluster, 0);
    cluster.answer(3);
    cluster.heal();
    let _before = marks::take();
    cluster.run(3 * SECOND);
    assert!(marks::take().contains(Mark::StandNowOutdated));
    cluster.expect_leader(0);
    assert_eq!(term(&cluster, 0), before);
}

#[test]
fn a_second_hand_over_waits_for_the_first() {
    let mut cluster = Scenario::echo().led_by(0);
    assert_eq!(cluster.member(0).hand_over(Some(1)), Ok(()));
    let again = cluster.member(0).hand_over(Some(2));
    assert_eq!(again, Err(HandOverRefusal::UnderWay));
    let other = cluster.member(2).hand_over(None);
    let leader = Some(0);
    assert_eq!(other, Err(HandOverRefusal::NotLeading { leader }));
    cluster.run(100 * MILLISECOND);
    cluster.expect_leader(1);
}

#[test]
fn a_leader_waits_for_followers_that_lag() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    let mut load = Load::begin(&cluster);
    load.go_on(&mut cluster, 50 * MILLISECOND);
    cluster.members(&[1, 2]).stall_disk(150 * MILLISECOND);
    load.go_on(&mut cluster, 20 * MILLISECOND);
    assert_eq!(cluster.member(0).hand_over(None), Ok(()));
    load.go_on(&mut cluster, 50 * MILLISECOND);
    cluster.expect_leader(0);
    let pause = load.go_on(&mut cluster, SECOND);
    assert!(pause < TIMEOUT, "{pause} ns without an answer");
    assert_ne!(cluster.expect_some_leader(), 0);
    load.end(&mut cluster);
}

#[test]
fn a_leader_whom_nobody_succeeds_goes_on_to_serve_after_an_election_timeout() {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.answer(3);
    let before = term(&cluster, 0);
    let mut load = Load::begin(&cluster);
    let now = cluster.now;
    for id in [1, 2] {
        cluster.node_mut(id).leave(now);
    }
    assert_eq!(cluster.member(0).hand_over(None), Ok(()));
    let pause = load.go_on(&mut cluster, SECOND);
    let range = TIMEOUT..TIMEOUT + PLANNED;
    assert!(range.contains(&pause), "{pause} ns without an answer");
    cluster.expect_leader(0);
    assert_eq!(term(&cluster, 0), before);
    cluster.member(0).expect_told(NodeNotice::HandOverFailed);
    load.end(&mut cluster);
}

#[test]
fn sessions_that_speak_meanwhile_are_not_found_silent() {
    let mut cluster = Scenario::echo()
        .cluster(|cluster| cluster.session_timeout_ns = SECOND)
        .led_by(0);
    cluster.answer(1);
    let now = cluster.now;
    cluster.node_mut(1).leave(now);
    for _ in 0..6 {
        assert_eq!(cluster.member(0).hand_over(Some(1)), Ok(()));
        cluster.run(TIMEOUT + 10 * MILLISECOND);
    }
    cluster.expect_leader(0);
    cluster.expect_closed(0, None);
    cluster.answer(3);
}
