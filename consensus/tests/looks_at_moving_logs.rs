//! What a look at a member's directory says while the log in it moves, or a known loss lies in it:
//! no more than is so, and what the next start says.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io;
use std::ops::ControlFlow;

use lockstep_archive::disk::{ColdFiles, DiskError, FileId, FilePlace};
use lockstep_archive::log::log_memory::LogMemory;
use lockstep_archive::sim::SimDisk;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::node::offline::directory_look::OfflineError;
use lockstep_consensus::node::offline::listing::{Listed, Listing, Wanted};
use lockstep_consensus::node::offline::log_source::LogSource;
use lockstep_consensus::node::offline::snapshot_verification::{LogThere, SnapshotVerification};
use lockstep_consensus::node::offline::verification::{LogVerdict, Verification};
use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::position::Position;
use lockstep_transport::time::SECOND;

type Cluster = SimCluster<Echo>;

/// A member's disk, and its cluster, which goes on once a file there has been read for the first
/// time.
struct Moving {
    disk: SimDisk,
    cluster: Cluster,
    /// That file.
    name: String,
    file: Option<FileId>,
    has_moved: bool,
    go_on: fn(&mut Cluster),
}

impl ColdFiles for Moving {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        let file = self.disk.open(name)?;
        if name == self.name {
            self.file = Some(file);
        }
        Ok(file)
    }

    fn create(&mut self, name: &str, _length: u64) -> Result<FileId, DiskError> {
        panic!("{name} was made")
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        self.disk.length(file)
    }

    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError> {
        self.disk.place(file)
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        self.disk.read(file, offset, target)?;
        if self.file == Some(file) && !std::mem::replace(&mut self.has_moved, true) {
            (self.go_on)(&mut self.cluster);
        }
        Ok(())
    }

    fn write(&mut self, file: FileId, _offset: u64, _bytes: &[u8]) -> Result<(), DiskError> {
        panic!("{file:?} was written")
    }

    fn sync(&mut self, file: FileId) -> Result<(), DiskError> {
        panic!("{file:?} was synced")
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        panic!("{name} was removed")
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        self.disk.free_bytes()
    }

    fn boot_id(&mut self) -> Option<u128> {
        self.disk.boot_id()
    }
}

/// Three members, of which the first leads.
fn serving(sync: SyncMode) -> Cluster {
    let mut cluster = Scenario::echo().sync(sync).led_by(0);
    cluster.answer(50);
    cluster.run(SECOND);
    cluster
}

/// What `look` says of member 1, whose log goes on once it has been read for the first time.
fn look_at_moving<T>(
    sync: SyncMode,
    is_in_use: bool,
    look: impl FnOnce(&mut LogSource<'_, Moving>) -> T,
) -> T {
    // Nobody reads the memory of a simulated process while it runs: so another one like it ends.
    let mut like_it = serving(sync);
    like_it.member(1).kill();
    let term_length = like_it.setup.cluster.term_length;
    let memory = || like_it.log_buffer(1).open(sync, term_length);
    let cluster = serving(sync);
    let mut disk = Moving {
        disk: cluster.disk(1),
        cluster,
        name: "0-0.rec".to_owned(),
        file: None,
        has_moved: false,
        go_on: |cluster| {
            cluster.answer(20);
            cluster.run(2 * SECOND);
        },
    };
    look(&mut LogSource {
        disk: &mut disk,
        is_in_use: &|| is_in_use,
        read_memory: &mut |owner| {
            let memory = memory();
            assert!(
                memory
                    .as_ref()
                    .is_some_and(|found| found.left(owner).is_some())
            );
            Ok(memory)
        },
    })
}

/// What lies in a log, as far as `source` shows it: entries, and where damage begins and ends.
fn listed<D: ColdFiles>(
    source: &mut LogSource<'_, D>,
) -> Result<(usize, Vec<(Position, Position)>), OfflineError> {
    let (mut entries, mut damaged) = (0, Vec::new());
    let mut listing = Listing::open(source)?;
    listing.list(&Wanted::ALL, |listed| {
        match listed {
            Listed::Entry(..) => entries += 1,
            Listed::Damaged { position, end, .. } => damaged.push((*position, *end)),
            Listed::Unknown { position, .. } | Listed::Gone { position, .. } => {
                panic!("neither entry nor damage at {position}")
            }
        }
        assert!(damaged.len() < 10, "{damaged:?}");
        ControlFlow::Continue(())
    })?;
    Ok((entries, damaged))
}

#[test]
fn a_log_that_outruns_what_was_read_of_its_log_buffer_is_whole() {
    let found = look_at_moving(SyncMode::None, true, Verification::of).unwrap();
    assert_eq!(found.verdict, LogVerdict::Whole);
    assert!(!found.is_bad());
    let (entries, damaged) = look_at_moving(SyncMode::None, true, listed).unwrap();
    assert_eq!(damaged, []);
    assert!(entries as u64 >= found.entries.total());
}

#[test]
fn a_node_whose_lock_is_not_seen_is_known_by_its_mark_when_its_log_is_shown() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let (entries, damaged) = look_at_moving(sync, false, listed).unwrap();
        assert!(
            damaged.is_empty() && entries > 100,
            "{sync}: {damaged:?}, {entries}"
        );
    }
}

/// Member 2 follows in memory alone what it lost in another life, and is killed: `(where what it
/// has in memory ends, where the log on its disk ended before)`.
fn lost_and_in_memory() -> (Cluster, Position, Position) {
    let mut cluster = serving(SyncMode::None);
    cluster.answer(100);
    cluster.member(2).restart();
    cluster.run(2 * SECOND);
    cluster.answer(1);
    let before = cluster.durable(2);
    cluster
        .member(2)
        .kill()
        .rot(40)
        .start()
        .expect_damaged(true);
    cluster.member(2).stall_disk(10 * SECOND);
    let _passed = cluster.run_until(SECOND, |cluster| cluster.durable(2) > 0);
    let followed = cluster.durable(2);
    assert!(0 < followed && followed < before, "{followed} of {before}");
    cluster.member(2).isolate().kill();
    (cluster, followed, before)
}

fn with_member_2<T>(cluster: &Cluster, look: impl FnOnce(&mut LogSource<'_, SimDisk>) -> T) -> T {
    let mut disk = cluster.disk(2);
    let (is_up, term_length) = (cluster.is_up(2), cluster.setup.cluster.term_length);
    let memory = || -> io::Result<Option<LogMemory>> {
        match is_up {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(cluster.log_buffer(2).open(SyncMode::Data, term_length)),
        }
    };
    look(&mut LogSource {
        disk: &mut disk,
        is_in_use: &|| is_up,
        read_memory: &mut |_| memory(),
    })
}

#[test]
fn what_a_loss_left_above_a_log_in_memory_is_none_of_it_for_a_look_either() {
    for is_mended in [false, true] {
        let (mut cluster, followed, before) = lost_and_in_memory();
        if is_mended {
            // The device reads again what it could not when the loss was found.
            assert!(cluster.disk(2).flip_bit("0-0.rec", 40, 6));
        }
        let found = with_member_2(&cluster, Verification::of).unwrap();
        let LogVerdict::Damaged { lost, .. } = &found.verdict else {
            panic!("{:?}", found.verdict);
        };
        assert!(lost.position >= before);
        let (entries, damaged) = with_member_2(&cluster, listed).unwrap();
        assert_eq!(entries as u64, found.entries.total());
        assert!(matches!(damaged[..], [(from, to)] if from == followed && to >= before));
        let end = with_member_2(&cluster, |source| Listing::open(source)?.end());
        assert_eq!(end, Ok(followed));
        cluster.member(2).start().expect_damaged(true);
        assert_eq!((found.log.end, cluster.durable(2)), (followed, followed));
    }
}

#[test]
fn a_loss_that_a_running_node_knows_of_is_told_as_it_was_before_its_start() {
    let mut cluster = serving(SyncMode::Data);
    cluster.member(2).kill().rot(5_000);
    let before = with_member_2(&cluster, Verification::of).unwrap();
    let listed_before = with_member_2(&cluster, listed).unwrap();
    cluster.members(&[0, 1]).kill();
    cluster.member(2).start().expect_damaged(true);
    cluster.run(SECOND);
    let running = with_member_2(&cluster, Verification::of).unwrap();
    assert!(running.is_running);
    assert_eq!(
        (running.verdict, running.log.end),
        (before.verdict, before.log.end)
    );
    assert_eq!(with_member_2(&cluster, listed).unwrap(), listed_before);
}

const SEGMENT: Position = 128 * 1024;

/// Three members with some segments of log and two snapshots each that follows.
fn with_snapshots() -> Cluster {
    let mut cluster = Scenario::echo()
        .node(|node| node.snapshot_interval_bytes = 200 * 1024)
        .led_by(0);
    cluster.connect(|_| {});
    let ask = |cluster: &mut Cluster| {
        cluster.ask(0, &[7; 1000]);
    };
    (0..400).for_each(|_| ask(&mut cluster));
    cluster.run(SECOND);
    assert!(cluster.counter(1, Counter::Snapshots) >= 2);
    cluster
}

/// What `look` says of member 1, whose cluster `goes_on` once its file of this name has been read.
fn look_while<T>(
    cluster: Cluster,
    (name, go_on): (&str, fn(&mut Cluster)),
    look: impl FnOnce(&mut LogSource<'_, Moving>) -> T,
) -> T {
    let mut disk = Moving {
        disk: cluster.disk(1),
        cluster,
        name: name.to_owned(),
        file: None,
        has_moved: false,
        go_on,
    };
    let found = look(&mut LogSource {
        disk: &mut disk,
        is_in_use: &|| true,
        read_memory: &mut |_| panic!("nothing is acknowledged in memory"),
    });
    assert!(disk.has_moved);
    found
}

/// Member 1 lets go of all log that its newest snapshot stands for.
fn trim(cluster: &mut Cluster) {
    let below = cluster.counter(1, Counter::SnapshotPosition);
    let agents = cluster.node_mut(1).agents_mut();
    assert!(agents.archive.trim_below(below, &agents.consensus.log));
    cluster.run(SECOND);
}

/// The older snapshot of each member is out of date, and removed.
fn take_another(cluster: &mut Cluster) {
    (0..250).for_each(|_| {
        cluster.ask(0, &[7; 1000]);
    });
    cluster.run(SECOND);
}

#[test]
fn what_a_node_lets_go_of_while_it_is_read_is_no_damage() {
    let cluster = with_snapshots();
    let archive = &cluster.node(1).agents().archive;
    let oldest = archive.snapshot_index().log_start().position / SEGMENT * SEGMENT;
    let name = format!("0-{oldest}.rec");
    let moving = (&*name, trim as fn(&mut Cluster));
    let found = look_while(cluster, moving, Verification::of).unwrap();
    assert_eq!(found.verdict, LogVerdict::Whole);
    let start = found.directory.log_start.position;
    assert!(!found.is_bad() && start >= oldest + 2 * SEGMENT);
    let snapshots = look_while(with_snapshots(), moving, SnapshotVerification::of).unwrap();
    let logs: Vec<&LogThere> = snapshots.snapshots.iter().map(|one| &one.log).collect();
    // The older one went with the log that followed it.
    assert_eq!(logs, [&LogThere::Same]);
    let mut gone = Vec::new();
    let mut first_above = None;
    let listed = look_while(with_snapshots(), moving, |source| {
        Listing::open(source)?.list(&Wanted::ALL, |listed| {
            match listed {
                Listed::Entry(entry, _) if gone.is_empty() => {
                    assert!(entry.end <= oldest + SEGMENT);
                }
                Listed::Entry(entry, _) => {
                    first_above.get_or_insert(entry.position);
                }
                Listed::Gone { position, end } => gone.push((*position, *end)),
                Listed::Damaged { position, .. } | Listed::Unknown { position, .. } => {
                    panic!("damage at {position}")
                }
            }
            ControlFlow::Continue(())
        })
    });
    assert!(listed.is_ok(), "{listed:?}");
    assert_eq!(
        (gone, first_above),
        (vec![(oldest + SEGMENT, start)], Some(start))
    );
}

#[test]
fn a_snapshot_that_its_node_removes_while_it_is_read_is_no_damage() {
    let cluster = with_snapshots();
    let newest = cluster.counter(1, Counter::SnapshotPosition);
    let moving = (
        &*format!("1-{newest}.rec"),
        take_another as fn(&mut Cluster),
    );
    let found = look_while(cluster, moving, SnapshotVerification::of).unwrap();
    assert_eq!(found.snapshots.len(), 2);
    assert!(found.snapshots[0].named.entry.position > newest);
    for verified in &found.snapshots {
        assert!(verified.named.entry.position >= newest);
        assert!(verified.content.is_ok() && verified.log == LogThere::Same);
    }
}

#[test]
fn a_cluster_that_forms_while_its_member_is_looked_at_is_not_taken_for_another_one() {
    let mut cluster = Scenario::echo().all_down();
    cluster.member(1).start();
    cluster.run(SECOND);
    let form: fn(&mut Cluster) = |cluster| {
        cluster.members(&[0, 2]).start();
        cluster.run(5 * SECOND);
        cluster.expect_some_leader();
    };
    // It is read after the file that says how the cluster formed.
    let found = look_while(cluster, ("snapshots.idx", form), Verification::of).unwrap();
    assert_eq!(found.verdict, LogVerdict::Whole);
    assert!(found.directory.formation.is_some() && found.log.end > 0);
}
