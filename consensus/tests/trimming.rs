//! The log of a member that runs for long (`log.md` 7.4, 8.6): it stays within its budget, keeps
//! what clients are owed, and gives up who leaves answers for too long.
#![cfg(feature = "sim")]

use lockstep_archive::disk::{ColdFiles, SegmentName};
use lockstep_client::session::CloseReason;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::sim::counting::Counting;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::time::{MILLISECOND, SECOND};

const KIB: u64 = 1024;

const BUDGET: u64 = 768 * KIB;

/// One member with a small budget, and a snapshot each 32 KiB of log.
fn alone((bulk, padding): (usize, usize), retention: u64) -> SimCluster<Counting> {
    let mut cluster = Scenario::of(move |_| Counting {
        bulk,
        padding,
        ..Counting::default()
    })
    .members(1)
    .cluster(|cluster| {
        cluster.effects_per_cause = 1;
        cluster.effect_bytes_per_cause = 1024;
        cluster.message_max = 1024;
    })
    .node(|node| {
        node.disk_budget_bytes = BUDGET;
        node.snapshot_interval_bytes = 32 * KIB;
        node.egress_retention_bytes = retention;
    })
    .led_by(0);
    // Of the disk there is more, for what is not of the log.
    cluster.member(0).free_disk(4 << 20);
    cluster
}

/// Bytes of the files of its log and of its snapshots.
fn used(cluster: &SimCluster<Counting>) -> u64 {
    let mut disk = cluster.disk(0);
    let names = disk.list().expect("there are files");
    let names = names
        .iter()
        .filter(|name| SegmentName::parse(name).is_some());
    let lengths = names.map(|name| {
        let file = disk.open(name).expect("it can be opened");
        disk.length(file).expect("it is open")
    });
    lengths.sum()
}

/// The number that the answer has.
fn number(answer: &[u8]) -> u64 {
    let bytes = answer.first_chunk().expect("eight bytes");
    u64::from_le_bytes(*bytes)
}

/// So many requests of this client, a while apart.
fn load(cluster: &mut SimCluster<Counting>, client: usize, requests: usize) {
    let before = cluster.answers(client).len();
    for _ in 0..requests {
        cluster.offer(client, &[7; 900]);
        cluster.run(2 * MILLISECOND);
        let (used, budget) = (used(cluster), cluster.setup.node.disk_budget_bytes);
        assert!(used <= budget, "{used}");
    }
    cluster.run(SECOND);
    assert_eq!(cluster.answers(client).len(), before + requests);
}

#[test]
fn a_log_goes_on_for_many_times_its_budget_and_stays_within_it() {
    let mut cluster = alone((0, 0), 128 * KIB);
    load(&mut cluster, 0, 3000);
    assert!(cluster.commit(0) > 4 * BUDGET as i64);
    cluster.member(0).expect_not_told(NodeNotice::LogFull);
    let start = cluster.counter(0, Counter::LogStart);
    assert!(start > 3 * BUDGET as i64, "{start}");
    assert!(cluster.counter(0, Counter::SegmentsRecycled) > 0);
    for _ in 0..3 {
        cluster.member(0).kill().start();
        load(&mut cluster, 0, 100);
    }
    let answers = cluster.answers(0);
    let expected = (1..=3300_u64).map(u64::to_le_bytes);
    assert!(
        answers
            .into_iter()
            .eq(expected.map(|n| n.to_vec()).collect::<Vec<_>>())
    );
}

#[test]
fn who_leaves_answers_for_too_long_is_told_that_they_are_kept_no_longer() {
    let mut cluster = alone((0, 0), 128 * KIB);
    let away = cluster.connect(|_| {});
    cluster.offer(away, b"unread");
    cluster.run(MILLISECOND);
    cluster.pause_client(away);
    let _before = marks::take();
    load(&mut cluster, 0, 600);
    assert!(marks::take().contains(Mark::RetentionClose));
    let lines = cluster.take_lines(0, NodeNotice::SessionHeldLog);
    let words = "its client has not acknowledged its answers";
    assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    assert!(cluster.counter(0, Counter::LogStart) > 128 * KIB as i64);
    cluster.wake_client(away);
    cluster.run(SECOND);
    cluster.expect_closed(away, Some(CloseReason::Retention));
}

#[test]
fn who_has_all_answers_holds_nothing_however_long_ago_that_was() {
    let mut cluster = alone((0, 0), 128 * KIB);
    let seldom = cluster.connect(|_| {});
    cluster.ask(seldom, b"once");
    // What it has dealt with is known once a second.
    cluster.run(3 * SECOND);
    for _ in 0..3 {
        load(&mut cluster, 0, 600);
        cluster.ask(seldom, b"again");
        cluster.run(3 * SECOND);
    }
    assert_eq!(cluster.answers(seldom).len(), 4);
    cluster.expect_closed(seldom, None);
    assert_eq!(cluster.noted(0, NodeNotice::SessionHeldLog), 0);
}

#[test]
fn a_process_that_has_forgotten_answers_which_are_kept_no_longer_is_told_so() {
    let mut cluster = alone((0, 0), 128 * KIB);
    let first = cluster.connect(|_| {});
    cluster.ask(first, b"early");
    let early = cluster.clients[first].client.resume_point();
    for _ in 0..20 {
        cluster.ask(first, b"later");
    }
    cluster.run(3 * SECOND);
    load(&mut cluster, 0, 600);
    cluster.kill_client(first);
    let _before = marks::take();
    let second = cluster.join_at(first, |config| config.resume = early);
    cluster.run(SECOND);
    assert!(marks::take().contains(Mark::AnswersGone));
    cluster.expect_closed(second, Some(CloseReason::Retention));
    cluster.member(0).expect_up();
}

/// A client that is away has acknowledged 2,400 answers. Its process is started again and has only
/// the first, takes some, and pauses while others ask so much. Returns the numbers that it has in
/// the end, and how its session ended for it.
fn take_over_with_less(requests: usize) -> (Vec<u64>, Option<CloseReason>) {
    let mut cluster = alone((0, 900), 0);
    cluster.member(0).free_disk(96 << 20).kill();
    cluster.setup.node.disk_budget_bytes = 64 << 20;
    cluster.setup.node.snapshot_interval_bytes = 3 << 20;
    cluster.setup.node.egress_retention_bytes = 9 << 20;
    cluster.member(0).start();
    let first = cluster.connect(|_| {});
    cluster.ask(first, b"early");
    let early = cluster.clients[first].client.resume_point();
    for _ in 0..2400 {
        cluster.ask(first, b"later");
    }
    cluster.run(3 * SECOND);
    cluster.kill_client(first);
    let second = cluster.join_at(first, |config| config.resume = early);
    cluster.run_until(SECOND, |cluster| !cluster.clients[second].told.is_empty());
    cluster.pause_client(second);
    for _ in 0..requests {
        cluster.offer(0, &[7; 900]);
        cluster.run(MILLISECOND / 2);
    }
    cluster.wake_client(second);
    cluster.run(3 * SECOND);
    let numbers = cluster.answers(second).into_iter().map(number);
    (numbers.collect(), cluster.clients[second].closed())
}

#[test]
fn who_takes_over_with_less_holds_the_log_at_once_and_gets_every_answer() {
    for requests in [0, 2600] {
        let (numbers, closed) = take_over_with_less(requests);
        assert_eq!(closed, None);
        assert!(numbers.into_iter().eq(2..=2401), "{requests}");
    }
}

#[test]
fn who_takes_over_with_less_and_stays_away_gets_no_answers_beyond_a_gap() {
    let (numbers, closed) = take_over_with_less(4000);
    assert_eq!(closed, Some(CloseReason::Retention));
    let count = numbers.len() as u64;
    assert!((1..2400).contains(&count), "{count}");
    assert!(numbers.into_iter().eq(2..2 + count));
}

#[test]
fn a_snapshot_that_the_budget_does_not_hold_is_refused_in_words_and_nothing_is_lost() {
    let mut cluster = alone((BUDGET as usize * 3 / 4, 0), 128 * KIB);
    for _ in 0..100 {
        cluster.offer(0, &[7; 900]);
        cluster.run(2 * MILLISECOND);
    }
    cluster.run(SECOND);
    let lines = cluster.take_lines(0, NodeNotice::SnapshotNotStored);
    let words = format!("and disk_budget is {BUDGET}");
    assert!(lines.len() == 1 && lines[0].contains(&words), "{lines:?}");
    assert_eq!(cluster.counter(0, Counter::Snapshots), 0);
    assert_eq!(cluster.answers(0).len(), 100);
    cluster.member(0).kill().start();
    load(&mut cluster, 0, 10);
}

#[test]
fn where_the_budget_holds_no_three_snapshots_the_older_of_two_goes_first() {
    let mut cluster = alone((170 * KIB as usize, 0), 64 * KIB);
    let _before = marks::take();
    load(&mut cluster, 0, 600);
    assert!(marks::take().contains(Mark::SnapshotDropped));
    assert!(cluster.counter(0, Counter::Snapshots) > 4);
    cluster.member(0).expect_not_told(NodeNotice::LogFull);
    cluster.member(0).kill().start();
    load(&mut cluster, 0, 100);
}

#[test]
fn a_budget_below_the_interval_of_snapshots_asks_for_them_earlier_and_never_stands_still() {
    let mut cluster = alone((0, 0), 128 * KIB);
    cluster.member(0).kill();
    cluster.setup.node.snapshot_interval_bytes = 16 * BUDGET;
    cluster.member(0).start();
    cluster.run(SECOND);
    load(&mut cluster, 0, 1500);
    assert!(cluster.commit(0) > 2 * BUDGET as i64);
    assert!(cluster.counter(0, Counter::Snapshots) > 0);
}
