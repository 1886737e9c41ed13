//! Which snapshots' files are left on a disk that has no room for removals at times.

use lockstep_archive::disk::{Busy, ColdFiles};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};

use super::*;

/// A disk that takes no removal while it is busy.
struct BusyDisk {
    disk: SimDisk,
    is_busy: bool,
}

impl Disk for BusyDisk {
    type Files = SimDisk;

    fn files(&mut self) -> &mut SimDisk {
        self.disk.files()
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        if self.is_busy && matches!(operation, DiskOp::Remove { .. }) {
            return Err(Busy);
        }
        self.disk.submit(now, operation)
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        self.disk.poll_completion(now)
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.disk.next_deadline()
    }
}

struct Stage {
    disk: BusyDisk,
    index: SnapshotIndexFile,
    store: SnapshotStore,
    /// Whoever serves the files is told of each change.
    is_looked_at: bool,
    now: Nanos,
}

impl Stage {
    fn new() -> Self {
        let mut disk = SimDisk::new(SimDiskConfig::default());
        let mut index = SnapshotIndexFile::open(&mut disk, 65_536).unwrap();
        index.write(&mut disk).unwrap();
        let is_busy = false;
        let store = SnapshotStore::open(&mut disk, index.durable()).unwrap();
        Self {
            disk: BusyDisk { disk, is_busy },
            index,
            store,
            is_looked_at: true,
            now: 0,
        }
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            if self.is_looked_at {
                self.store.take_change();
            }
            self.store
                .do_work(self.now, &mut self.disk, &mut self.index);
            self.index.do_work(self.now, &mut self.disk);
            self.now = self.disk.next_deadline().unwrap_or(self.now).max(self.now);
            while let Some(completion) = self.disk.poll_completion(self.now) {
                if !self.store.on_completion(&completion) {
                    self.index.on_completion(&completion).unwrap().unwrap();
                    self.store.on_index(self.index.durable());
                }
            }
        }
    }

    /// Whether it is there to stay.
    fn store(&mut self, position: Position) -> bool {
        assert!(self.store.is_idle());
        self.store.begin(position, LeadershipTermId::new(1));
        assert_eq!(self.store.push(&[7; 100]), 100);
        self.store.finish(&SnapshotSummary {
            length: 100,
            hash: position as u128,
            sections: Vec::new(),
        });
        self.settle();
        self.store.outcome() == SnapshotOutcome::Stored
    }

    /// All of one comes from another member, and nothing is said of it yet.
    fn fetch(&mut self, position: Position) {
        let begun = self.store.begin_fetched(|file| {
            file.begin(SegmentName {
                recording_id: RECEIVED_RECORDING_ID,
                position,
            });
            true
        });
        assert!(begun && !self.store.is_idle());
        let file = self.store.fetched_file().expect("it comes");
        assert_eq!(file.push(&[7; 100]), 100);
        file.finish();
        self.settle();
    }

    fn named(&self) -> Vec<Position> {
        let entries = self.index.durable().snapshots();
        entries.map(|entry| entry.position).collect()
    }

    fn files(&mut self) -> Vec<Position> {
        let names = self.disk.files().list().unwrap();
        let names = names.iter().filter_map(|name| SegmentName::parse(name));
        let mut positions: Vec<Position> = names.map(|name| name.position).collect();
        positions.sort_unstable();
        positions
    }
}

/// What the index is to say of one that has come.
fn fetched_entry(position: Position) -> SnapshotEntry {
    SnapshotEntry {
        position,
        term: LeadershipTermId::new(1),
        recording_id: RECEIVED_RECORDING_ID as u32,
        length: 100,
        hash: 7,
    }
}

#[test]
fn of_each_snapshot_that_is_out_of_date_the_file_goes_however_long_the_disk_is_busy() {
    let mut stage = Stage::new();
    assert!(stage.store(64) && stage.store(128));
    assert_eq!(stage.files(), [64, 128]);
    stage.disk.is_busy = true;
    assert!(stage.store(192));
    assert_eq!(
        (stage.named(), stage.files()),
        (vec![192, 128], vec![64, 128, 192])
    );
    // The next one waits for its entry until the oldest can go.
    assert!(!stage.store(256));
    assert_eq!(stage.named(), [192, 128]);
    stage.disk.is_busy = false;
    stage.settle();
    assert_eq!(stage.store.outcome(), SnapshotOutcome::Stored);
    assert_eq!(
        (stage.named(), stage.files()),
        (vec![256, 192], vec![192, 256])
    );
}

#[test]
fn no_file_goes_that_somebody_may_still_be_given_to_read() {
    let mut stage = Stage::new();
    assert!(stage.store(64) && stage.store(128));
    stage.is_looked_at = false;
    assert!(stage.store(192));
    assert_eq!(stage.files(), [64, 128, 192]);
    let named = stage.store.take_change().expect("there is another one");
    let positions = named.map(|named| named.expect("two are kept").0.position);
    assert_eq!(positions, [192, 128]);
    stage.settle();
    assert_eq!(stage.files(), [128, 192]);
    assert!(stage.store.take_change().is_none());
}

#[test]
fn one_that_comes_from_another_member_is_named_when_it_was_looked_at_or_makes_way() {
    let mut stage = Stage::new();
    let entry = fetched_entry(64);
    stage.fetch(64);
    assert!(stage.named().is_empty());
    stage.store.name_fetched(entry);
    stage.settle();
    assert_eq!(stage.named(), [64]);
    assert_eq!((stage.store.fetched(), stage.store.stored()), (1, 0));
    assert!(stage.store.make_way() && stage.store.is_idle());
    stage.fetch(128);
    assert!(!stage.store.make_way());
    stage.settle();
    assert!(stage.store.make_way() && stage.store.is_idle());
    assert_eq!((stage.named(), stage.files()), (vec![64], vec![64]));
    // What comes after it counts the same, whoever took it.
    assert!(stage.store(192) && stage.store(256));
    assert_eq!(
        (stage.named(), stage.files()),
        (vec![256, 192], vec![192, 256])
    );
}

#[test]
fn after_the_newest_is_struck_the_one_before_stays_open_beside_the_next() {
    let mut stage = Stage::new();
    assert!(stage.store(64) && stage.store(128));
    stage.store.strike(128, &mut stage.index);
    stage.settle();
    assert_eq!(stage.named(), [64]);
    stage.is_looked_at = false;
    assert!(stage.store(192));
    let open = stage.store.take_change().expect("there is another one");
    let open = open.into_iter().flatten();
    let positions: Vec<Position> = open.map(|(entry, _)| entry.position).collect();
    assert_eq!(positions, [192, 64]);
}

#[test]
fn only_one_that_stands_for_the_log_below_says_that_this_is_not_here() {
    for replaces_log in [false, true] {
        let mut stage = Stage::new();
        stage.fetch(64);
        let entry = fetched_entry(64);
        if replaces_log {
            stage.store.name_replacement(entry);
        } else {
            stage.store.name_fetched(entry);
        }
        stage.settle();
        assert_eq!(stage.named(), [64]);
        let lacking_below = if replaces_log { 64 } else { 0 };
        assert_eq!(stage.index.durable().lacking_below(), lacking_below);
    }
}

#[test]
fn giving_up_one_that_is_taken_here_leaves_what_comes_from_another_member() {
    let mut stage = Stage::new();
    stage.fetch(64);
    stage.store.abandon();
    stage.store.name_fetched(fetched_entry(64));
    stage.store.abandon();
    stage.settle();
    assert_eq!((stage.named(), stage.store.fetched()), (vec![64], 1));
    stage.store.begin(128, LeadershipTermId::new(1));
    stage.store.abandon();
    stage.settle();
    assert!(stage.store.is_idle());
    assert_eq!((stage.named(), stage.files()), (vec![64], vec![64]));
}
