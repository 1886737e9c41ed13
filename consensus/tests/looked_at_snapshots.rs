//! What a look at a member's directory says of its snapshots, and of a log that starts above 0,
//! beside what the member's next start finds. Nothing is changed by it.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_archive::files::snapshot_index::{
    SNAPSHOT_INDEX_FILE, SnapshotEntry, SnapshotIndex, SnapshotIndexFile,
};
use lockstep_archive::log::chain::Checkpoint;
use lockstep_archive::sim::SimDisk;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::node::offline::log_source::LogSource;
use lockstep_consensus::node::offline::named_snapshots::{SnapshotFile, SnapshotList};
use lockstep_consensus::node::offline::next_start::Beginning;
use lockstep_consensus::node::offline::snapshot_verification::{LogThere, SnapshotVerification};
use lockstep_consensus::node::offline::verification::{LogVerdict, Verification};
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::position::Position;
use lockstep_transport::time::SECOND;

type Cluster = SimCluster<Echo>;

const SEGMENT: Position = 128 * 1024;

/// Lets `look` look at the directory of a member, which is not changed by it.
fn with_source<T>(
    cluster: &Cluster,
    id: usize,
    look: impl FnOnce(&mut LogSource<'_, SimDisk>) -> T,
) -> T {
    let mut disk = cluster.disk(id);
    let before = (disk.cold_operations(), disk.backup());
    let is_up = cluster.is_up(id);
    let found = look(&mut LogSource {
        disk: &mut disk,
        is_in_use: &|| is_up,
        read_memory: &mut |_| panic!("nothing is acknowledged in memory"),
    });
    assert!(
        (disk.cold_operations(), disk.backup()) == before,
        "it was changed"
    );
    found
}

fn verify(cluster: &Cluster, id: usize) -> Verification {
    with_source(cluster, id, Verification::of).unwrap()
}

fn verify_snapshots(cluster: &Cluster, id: usize) -> SnapshotVerification {
    with_source(cluster, id, SnapshotVerification::of).unwrap()
}

/// Three members with some segments of log and two snapshots each that follows, of which the first
/// leads.
fn serving() -> Cluster {
    let mut cluster = Scenario::echo()
        .node(|node| node.snapshot_interval_bytes = 200 * 1024)
        .led_by(0);
    cluster.connect(|_| {});
    for _ in 0..400 {
        cluster.ask(0, &[7; 1000]);
    }
    cluster.run(SECOND);
    // Beyond the segment that the newest was taken in.
    for _ in 0..75 {
        cluster.ask(0, &[7; 1000]);
    }
    cluster.run(SECOND);
    assert!(cluster.counter(1, Counter::Snapshots) >= 2);
    cluster
}

/// Lets a member let go of its log up to the segment that its newest snapshot was taken in, or to
/// so many before, and says where the log starts then.
fn trim(cluster: &mut Cluster, id: usize, segments: Position) -> Position {
    let below = cluster.counter(id, Counter::SnapshotPosition) - segments * SEGMENT;
    let agents = cluster.node_mut(id).agents_mut();
    assert!(agents.archive.trim_below(below, &agents.consensus.log));
    cluster.run(SECOND);
    below / SEGMENT * SEGMENT
}

fn applied(cluster: &Cluster, id: usize) -> Position {
    cluster.node(id).agents().consensus.applier.position()
}

#[test]
fn a_log_that_starts_above_0_is_whole_from_there_on_and_its_hash_that_of_a_whole_one() {
    let mut cluster = serving();
    let start = trim(&mut cluster, 1, 0);
    let whole = verify(&cluster, 2);
    assert!(start >= 2 * SEGMENT);
    for is_up in [true, false] {
        if !is_up {
            cluster.member(1).kill();
        }
        let found = verify(&cluster, 1);
        assert_eq!(found.verdict, LogVerdict::Whole);
        assert!(!found.is_bad() && found.is_running == is_up);
        assert_eq!(found.directory.log_start.position, start);
        assert_eq!(
            (found.log.end, found.log.chain, &found.log.terms),
            (whole.log.end, whole.log.chain, &whole.log.terms)
        );
        assert!(found.entries.total() < whole.entries.total());
        // One is kept for the next.
        let below: Vec<Position> = found
            .segments
            .iter()
            .filter(|segment| segment.is_below_start)
            .map(|segment| segment.position)
            .collect();
        assert_eq!(below, [start - SEGMENT]);
    }
    let end = verify(&cluster, 1).log.end;
    cluster.member(1).start();
    assert_eq!(cluster.durable(1), end);
    assert!(
        verify(&cluster, 1)
            .segments
            .iter()
            .all(|s| !s.is_below_start)
    );
}

#[test]
fn a_segment_that_is_missing_below_the_snapshot_is_named_and_the_start_goes_on_without_it() {
    let mut cluster = serving();
    let start = trim(&mut cluster, 1, 2);
    let taken = cluster.counter(1, Counter::SnapshotPosition);
    cluster.member(1).kill().lose_segment(start);
    let found = verify(&cluster, 1);
    assert_eq!(
        found.verdict,
        LogVerdict::MissingBelow {
            place: (format!("0-{start}.rec"), 0),
            from: start,
            to: taken,
        }
    );
    assert!(found.is_bad());
    assert_eq!(found.next.from, Beginning::Snapshot(taken));
    let snapshots = verify_snapshots(&cluster, 1);
    assert_eq!(snapshots.snapshots[0].log, LogThere::EndsAt(start));
    let end = found.log.end;
    cluster.members(&[0, 2]).kill();
    cluster.member(1).start().expect_damaged(false);
    assert_eq!(
        (cluster.durable(1), applied(&cluster, 1) >= taken),
        (end, true)
    );
    let found = verify(&cluster, 1);
    assert_eq!(
        (found.verdict, found.directory.log_start.position),
        (LogVerdict::Whole, taken)
    );
    let snapshots = verify_snapshots(&cluster, 1);
    assert_eq!(snapshots.snapshots[0].log, LogThere::Same);
}

#[test]
fn what_is_rotten_below_the_snapshot_of_a_trimmed_log_is_none_of_it_from_the_next_start_on() {
    let mut cluster = serving();
    let start = trim(&mut cluster, 1, 2);
    let taken = cluster.counter(1, Counter::SnapshotPosition);
    let rotten = start + SEGMENT / 2;
    assert!(rotten < taken, "{rotten} {taken}");
    cluster.member(1).kill().rot(rotten);
    let found = verify(&cluster, 1);
    let LogVerdict::MissingBelow { from, to, .. } = found.verdict else {
        panic!("{:?}", found.verdict);
    };
    // All is there below the frame that is rotten.
    assert!((rotten - 2048..=rotten).contains(&from) && to == taken);
    assert_eq!(found.next.from, Beginning::Snapshot(taken));
    let end = found.log.end;
    cluster.members(&[0, 2]).kill();
    cluster.member(1).start().expect_damaged(false);
    // Of what lies above nothing is lost.
    assert!(end > taken && cluster.durable(1) == end, "{end}");
    let found = verify(&cluster, 1);
    assert_eq!(
        (found.verdict, found.directory.log_start.position),
        (LogVerdict::Whole, taken)
    );
}

#[test]
fn a_segment_that_is_missing_above_the_snapshot_is_damage_in_a_trimmed_log_too() {
    let mut cluster = serving();
    trim(&mut cluster, 1, 0);
    let taken = cluster.counter(1, Counter::SnapshotPosition);
    cluster.member(1).kill();
    let end = verify(&cluster, 1).log.end;
    let lost = end / SEGMENT * SEGMENT;
    assert!(lost > taken, "{lost} {taken}");
    cluster.member(1).lose_segment(lost);
    let found = verify(&cluster, 1);
    assert!(found.is_bad());
    let LogVerdict::Damaged {
        place,
        lost: acknowledged,
        ..
    } = &found.verdict
    else {
        panic!("{:?}", found.verdict);
    };
    assert_eq!(*place, (format!("0-{lost}.rec"), 0));
    assert!(found.log.end == lost && acknowledged.position >= end);
    cluster.members(&[0, 2]).kill();
    cluster.member(1).start().expect_damaged(true);
    assert_eq!(cluster.durable(1), found.log.end);
}

#[test]
fn members_have_equal_snapshots_and_the_log_says_the_same() {
    let mut cluster = serving();
    let one = verify_snapshots(&cluster, 1);
    cluster.member(2).kill();
    let other = verify_snapshots(&cluster, 2);
    assert_eq!(one.snapshots.len(), 2);
    assert_eq!(one.snapshots, other.snapshots);
    assert_eq!((one.list.is_running, other.list.is_running), (true, false));
    for verified in &one.snapshots {
        assert_eq!(verified.log, LogThere::Same);
        let content = verified.content.as_ref().unwrap();
        let names: Vec<&str> = content.sections.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names[..2], ["header", "terms"]);
        assert_eq!(names.last(), Some(&"service/echo"));
    }
    let newest = one.snapshots[0].named.entry.position;
    assert_eq!(one.next.from, Beginning::Snapshot(newest));
}

#[test]
fn a_start_begins_from_the_snapshot_that_a_look_says_it_begins_from() {
    let mut cluster = serving();
    let newest = cluster.counter(1, Counter::SnapshotPosition);
    let name = format!("1-{newest}.rec");
    cluster.members(&[0, 2]).kill();
    cluster.member(1).kill().rot_file(&name);
    let listed = with_source(&cluster, 1, SnapshotList::of).unwrap();
    let tried = listed.first_tried().unwrap().entry.position;
    assert_eq!(tried, newest, "its length is right");
    let found = verify_snapshots(&cluster, 1);
    assert!(found.snapshots[0].content.is_err());
    assert_eq!(found.snapshots[0].log, LogThere::NotCompared);
    let older = found.snapshots[1].named.entry.position;
    assert_eq!(found.next.from, Beginning::Snapshot(older));
    assert_eq!(found.next.passed_over[0].0, newest);
    assert_eq!(verify(&cluster, 1).next, found.next);
    cluster.member(1).start();
    assert_eq!(applied(&cluster, 1), older);
    // The start has removed the file and its entry.
    let listed = with_source(&cluster, 1, SnapshotList::of).unwrap();
    let left: Vec<Position> = listed
        .named
        .iter()
        .map(|named| named.entry.position)
        .collect();
    assert_eq!((left, listed.unnamed.len()), (vec![older], 0));
    cluster.member(1).kill().lose(&format!("1-{older}.rec"));
    let listed = with_source(&cluster, 1, SnapshotList::of).unwrap();
    assert_eq!(listed.named[0].file, SnapshotFile::Missing);
    assert!(listed.first_tried().is_none());
    let found = verify_snapshots(&cluster, 1);
    assert_eq!(found.list.directory.log_start.position, 0);
    assert_eq!(found.next.from, Beginning::Log);
    cluster.member(1).start();
    // Nobody tells it how much of its log is committed.
    assert_eq!(applied(&cluster, 1), 0);
    let listed = with_source(&cluster, 1, SnapshotList::of).unwrap();
    assert!(listed.named.is_empty());
}

#[test]
fn where_nothing_says_what_a_log_follows_from_a_look_says_that_the_start_is_refused() {
    let mut cluster = serving();
    trim(&mut cluster, 1, 0);
    cluster.member(1).kill();
    let before = cluster.old_state(1);
    for entry in verify_snapshots(&cluster, 1).snapshots {
        cluster
            .member(1)
            .lose(&entry.named.entry.name().file_name());
    }
    let found = verify(&cluster, 1);
    let Beginning::Nothing(reason) = &found.next.from else {
        panic!("{:?}", found.next);
    };
    assert!(
        found.is_bad() && reason.contains("no snapshot can be used"),
        "{reason}"
    );
    cluster.member(1).expect_refused(reason);
    cluster
        .member(1)
        .put_back(&before)
        .lose(SNAPSHOT_INDEX_FILE.name);
    let found = verify(&cluster, 1);
    assert_eq!(found.directory.lost(), [SNAPSHOT_INDEX_FILE.name]);
    assert!(found.is_bad() && matches!(found.next.from, Beginning::Nothing(_)));
    let snapshots = verify_snapshots(&cluster, 1);
    assert!(snapshots.snapshots.is_empty() && snapshots.list.unnamed.len() == 1);
    cluster.member(1).expect_refused("snapshots.idx is missing");
}

#[test]
fn a_log_that_does_not_lead_to_the_snapshot_is_told_from_one_that_does() {
    let mut cluster = serving();
    let start = trim(&mut cluster, 1, 0);
    cluster.member(1).kill();
    let mut disk = cluster.disk(1);
    let mut index = SnapshotIndexFile::open(&mut disk, SEGMENT as usize).unwrap();
    let other = index.durable().with_log_start(Checkpoint {
        position: start,
        hash: 1,
    });
    index.want(other);
    index.write(&mut disk).unwrap();
    let found = verify_snapshots(&cluster, 1);
    let LogThere::Other(words) = &found.snapshots[0].log else {
        panic!("{:?}", found.snapshots[0].log);
    };
    assert!(words.contains("its chain hash there is"), "{words}");
}

#[test]
fn an_index_that_names_what_cannot_be_is_said_to_and_nothing_worse() {
    let mut cluster = serving();
    cluster.member(1).kill();
    let before = cluster.old_state(1);
    let mut disk = cluster.disk(1);
    let real = verify_snapshots(&cluster, 1).snapshots[0].named.entry;
    let greatest = Position::MAX - 31;
    for (entry, file) in [
        (
            SnapshotEntry {
                length: u64::MAX,
                ..real
            },
            None,
        ),
        (
            SnapshotEntry {
                position: greatest,
                ..real
            },
            Some(SnapshotFile::Missing),
        ),
        (
            SnapshotEntry {
                recording_id: u32::MAX,
                ..real
            },
            Some(SnapshotFile::Missing),
        ),
        (SnapshotEntry { length: 0, ..real }, None),
        (SnapshotEntry { hash: 0, ..real }, Some(SnapshotFile::There)),
    ] {
        let mut index = SnapshotIndexFile::open(&mut disk, SEGMENT as usize).unwrap();
        let named = SnapshotIndex::default().with_log_start(index.durable().log_start());
        index.want(named.with_newest(entry));
        index.write(&mut disk).unwrap();
        let listed = with_source(&cluster, 1, SnapshotList::of).unwrap();
        assert!(
            file.is_none_or(|file| file == listed.named[0].file),
            "{entry:?}"
        );
        assert!(listed.named[0].entry == entry && !listed.unnamed.is_empty());
        let found = verify_snapshots(&cluster, 1);
        assert!(found.snapshots[0].content.is_err(), "{entry:?}");
        assert_eq!(verify(&cluster, 1).next, found.next);
        cluster.member(1).put_back(&before);
    }
}
