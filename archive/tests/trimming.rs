//! A log that is trimmed while it goes on: whatever crash comes, the next start finds a log that is
//! whole from where the index says that it starts.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::disk::{ColdFiles, SegmentName};
use lockstep_archive::files::snapshot_index::SnapshotIndexFile;
use lockstep_archive::log::chain::{Chain, Checkpoint};
use lockstep_archive::log::log_reader::{LogRead, LogReader, ReadSpan};
use lockstep_archive::log::recorder::SyncMode;
use lockstep_archive::log::recovery::{LogOrigin, RecoveredTerm};
use lockstep_archive::sim::SimDisk;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use recorded_log::{
    BUDGET, Dice, REQUEST, RecordedLog, SEGMENT_LENGTH, disk, geometry, recover_from,
};

const SEGMENT: Position = SEGMENT_LENGTH as Position;

/// A node that trims its log, as far as its archive is concerned.
struct Node {
    log: RecordedLog,
    index: SnapshotIndexFile,
    /// Of the whole log.
    chain: Chain,
    /// Where the last snapshot was taken.
    origin: LogOrigin,
}

fn term(chain: u64) -> RecoveredTerm {
    RecoveredTerm {
        term: LeadershipTermId::new(1),
        base: 0,
        id: 1,
        chain,
    }
}

impl Node {
    /// Starts from the snapshot at `at` on a disk where the log below its end should be `model`.
    fn start(disk: &SimDisk, at: Checkpoint, model: Vec<u8>, sync: SyncMode, budget: u64) -> Self {
        let mut files = disk.clone();
        let mut index = SnapshotIndexFile::open(&mut files, SEGMENT_LENGTH).unwrap();
        index.write(&mut files).unwrap();
        let terms = (at.position > 0).then_some(term(0)).into_iter().collect();
        let origin = LogOrigin {
            log_start: index.durable().log_start(),
            checkpoint: at,
            terms,
            log_time: 0,
            lacks_below: false,
        };
        let log = RecordedLog::start_from(disk, &origin, 0, (sync, budget), model).unwrap();
        Self {
            chain: log.recovered.chain.clone(),
            log,
            index,
            origin,
        }
    }

    /// One duty cycle, with what the index has to do.
    fn step(&mut self) {
        let now = self.log.now;
        self.log.strangers.get_or_insert_default();
        self.log.wait();
        for completion in self.log.strangers.take().unwrap() {
            self.index.on_completion(&completion).unwrap().unwrap();
        }
        self.index.do_work(now, &mut self.log.port);
        let start = self.index.durable().log_start();
        if start.position > self.log.recorder.segments().log_start() {
            self.log.recorder.start_log_at(start.position);
            self.chain.forget_below(start);
        }
    }

    fn append(&mut self, length: usize, fill: u8) {
        let from = self.log.append_position();
        while !(if from == 0 {
            self.log.begin_leadership_term()
        } else {
            self.log.append(REQUEST, length, fill)
        }) {
            self.step();
        }
        let bytes = &self.log.model[from as usize..];
        self.chain.fold_frames(bytes).unwrap();
    }

    /// A snapshot at what is durable by now; what lies below the one before is let go of.
    fn take_snapshot(&mut self) {
        let before = self.origin.checkpoint;
        let durable = self.log.recorder.durable();
        let mut at = Chain::new();
        at.fold_frames(&self.log.model[..durable as usize]).unwrap();
        assert_eq!(at.position(), durable);
        self.origin.checkpoint = Checkpoint {
            position: at.position(),
            hash: at.hash(),
        };
        let start = self.chain.anchor_at_or_below(before.position).unwrap();
        let wanted = *self.index.wanted();
        if start.position > wanted.log_start().position {
            self.index.want(wanted.with_log_start(start));
        }
    }

    /// What a start has found is all that was durable, and what the index says.
    fn expect_whole(&self, disk: &SimDisk, model: &[u8], durable: Position, context: &str) {
        let start = self.index.durable().log_start();
        let recovered = &self.log.recovered;
        assert_eq!(
            (recovered.lost, recovered.missing_from),
            (None, None),
            "{context}"
        );
        assert!(recovered.end >= durable, "{context}");
        assert_eq!(recovered.start, start, "{context}");
        let bases = segments(disk);
        assert!(bases[0] <= start.position, "{context}: {bases:?}");
        assert!(bases[0] + SEGMENT > start.position, "{context}: {bases:?}");
        assert!(
            bases.windows(2).all(|pair| pair[1] == pair[0] + SEGMENT),
            "{context}"
        );
        let end = recovered.end;
        let kept = &model[start.position as usize..end as usize];
        assert_eq!(stored(disk, start.position, end), kept, "{context}");
        let mut whole = Chain::new();
        whole.fold_frames(&model[..end as usize]).unwrap();
        assert_eq!(self.hash(), whole.hash(), "{context}");
    }

    fn hash(&self) -> u64 {
        self.chain.hash()
    }
}

/// What is in the segments from `start` to `end`.
fn stored(disk: &SimDisk, start: Position, end: Position) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut base = start / SEGMENT * SEGMENT;
    while base < end {
        let contents = disk.contents(&format!("0-{base}.rec")).unwrap();
        bytes.extend(contents);
        base += SEGMENT;
    }
    let skipped = (start % SEGMENT) as usize;
    bytes[skipped..skipped + (end - start) as usize].to_vec()
}

fn segments(disk: &SimDisk) -> Vec<Position> {
    let names = disk.clone().list().unwrap();
    let parsed = names.iter().filter_map(|name| SegmentName::parse(name));
    let mut bases: Vec<Position> = parsed.map(|name| name.position).collect();
    bases.sort_unstable();
    bases
}

#[test]
fn a_log_far_longer_than_its_budget_goes_on_for_as_long_as_it_is_trimmed() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let disk = disk(1);
        let budget = 5 * SEGMENT as u64;
        let mut node = Node::start(&disk, Checkpoint::ZERO, Vec::new(), sync, budget);
        for entry in 0..4000_u32 {
            node.append(900, entry as u8);
            node.step();
            if entry % 100 == 99 {
                node.take_snapshot();
            }
            assert!(segments(&disk).len() <= 5);
        }
        let counters = node.log.recorder.counters();
        assert!(counters.recycled > 10, "{counters:?}");
        assert!(!node.log.recorder.is_full() && node.log.recorder.failed().is_none());
        let start = node.index.durable().log_start();
        assert!(node.log.append_position() - start.position < 4 * SEGMENT);
        node.log.drain();
        let end = node.log.append_position();
        let kept = &node.log.model[start.position as usize..];
        assert_eq!(stored(&disk, start.position, end), kept);
        // What is below is gone for readers, what is above is there.
        let mut reader = LogReader::new(geometry(), 0).unwrap();
        let span = |position| ReadSpan {
            position,
            limit: end,
            length_max: 4096,
        };
        let below = reader.read(span(start.position - 1024), node.log.view());
        assert_eq!(below, LogRead::Gone);
        let above = reader.read(span(start.position), node.log.view());
        assert_eq!(above, LogRead::Pending);
    }
}

#[test]
fn segments_that_are_not_needed_for_the_next_are_removed() {
    let disk = disk(2);
    let mut node = Node::start(&disk, Checkpoint::ZERO, Vec::new(), SyncMode::Data, BUDGET);
    for entry in 0..1000_u32 {
        node.append(900, entry as u8);
        node.step();
    }
    let before = segments(&disk).len();
    assert!(before > 6);
    node.take_snapshot();
    node.take_snapshot();
    for _ in 0..200 {
        node.step();
    }
    // The one that is written, the next one, and one for the one after that.
    assert_eq!(segments(&disk).len(), 3);
    let counters = node.log.recorder.counters();
    assert_eq!(
        (counters.removed as usize, counters.recycled),
        (before - 3, 0)
    );
}

#[test]
fn whatever_crash_comes_a_trimmed_log_is_whole_from_where_its_index_says_that_it_starts() {
    let mut trimmed = 0;
    for seed in 0..120 {
        let mut dice = Dice::new(seed);
        let sync = if seed % 3 == 2 {
            SyncMode::None
        } else {
            SyncMode::Data
        };
        let disk = disk(seed);
        let mut node = Node::start(&disk, Checkpoint::ZERO, Vec::new(), sync, BUDGET);
        for life in 0..4 {
            let until = 100 + dice.below(300);
            for entry in 0..until {
                node.append(900, entry as u8);
                node.step();
                if dice.below(40) == 0 {
                    node.take_snapshot();
                }
            }
            if life == 3 {
                // A removal, or one after it, is cut short.
                node.take_snapshot();
                for _ in 0..dice.below(12) {
                    node.step();
                }
            }
            let (durable, at) = (node.log.recorder.durable(), node.origin.checkpoint);
            let (model, before) = (node.log.model.clone(), *node.index.durable());
            let wanted = *node.index.wanted();
            drop(node);
            // Without syncs only the process may die.
            if sync == SyncMode::Data && dice.below(2) == 0 {
                disk.crash(dice.next());
            } else {
                disk.kill(dice.next());
            }
            disk.restart();
            node = Node::start(&disk, at, model.clone(), sync, BUDGET);
            let start = node.index.durable().log_start();
            let context = format!("seed {seed}, life {life}");
            assert!(
                start == before.log_start() || start == wanted.log_start(),
                "{context}"
            );
            node.expect_whole(&disk, &model, durable, &context);
            trimmed += usize::from(start.position > 0);
        }
    }
    assert!(trimmed > 100, "{trimmed}");
}

#[test]
fn a_segment_that_cannot_be_recycled_or_removed_ends_recording() {
    for is_removal in [false, true] {
        let disk = disk(5);
        let mut node = Node::start(&disk, Checkpoint::ZERO, Vec::new(), SyncMode::Data, BUDGET);
        let entries = if is_removal { 1000 } else { 290 };
        for entry in 0..entries {
            node.append(900, entry as u8);
            node.step();
        }
        node.take_snapshot();
        node.take_snapshot();
        disk.fail_preparations(1);
        for _ in 0..100 {
            if node.log.recorder.failed().is_none() {
                node.append(900, 7);
            }
            node.step();
        }
        let failed = node.log.recorder.failed().unwrap().to_string();
        assert!(failed.contains("0-"), "{failed}");
        assert_eq!(node.log.recorder.counters().recycled, 0);
        let durable = node.log.recorder.durable();
        let (at, model) = (node.origin.checkpoint, node.log.model.clone());
        drop(node);
        disk.crash(1);
        disk.restart();
        let node = Node::start(&disk, at, model, SyncMode::Data, BUDGET);
        assert!(node.log.recovered.end >= durable);
    }
}

#[test]
fn a_start_finishes_what_a_crash_cut_short_only_as_far_as_the_index_says() {
    let disk = disk(6);
    let mut node = Node::start(&disk, Checkpoint::ZERO, Vec::new(), SyncMode::Data, BUDGET);
    for entry in 0..600_u32 {
        node.append(900, entry as u8);
        node.step();
    }
    node.log.drain();
    node.take_snapshot();
    node.take_snapshot();
    // Asked for, and not durable.
    assert!(!node.index.is_settled());
    let (at, mark) = (node.origin.checkpoint, node.log.ack_mark.record());
    let (index, chain) = (*node.index.wanted(), node.hash());
    drop(node);
    disk.kill(0);
    let origin = |log_start| LogOrigin {
        log_start,
        checkpoint: at,
        terms: vec![term(0)],
        log_time: 0,
        lacks_below: false,
    };
    let before = segments(&disk);
    let (_, found) = recover_from(&mut disk.clone(), &mark, &origin(Checkpoint::ZERO)).unwrap();
    assert_eq!(segments(&disk), before);
    assert_eq!(found.chain.hash(), chain);
    let start = index.log_start();
    let mut count = disk.cold_operations();
    // Each removal is cut short.
    for _ in 0..before.len() {
        disk.crash_at_cold_operation(count);
        let found = recover_from(&mut disk.clone(), &mark, &origin(start));
        disk.restart();
        let bases = segments(&disk);
        assert!(bases.windows(2).all(|pair| pair[1] == pair[0] + SEGMENT));
        assert_eq!(bases.last(), before.last());
        count = disk.cold_operations();
        drop(found);
    }
    let (_, found) = recover_from(&mut disk.clone(), &mark, &origin(start)).unwrap();
    assert_eq!(segments(&disk)[0], start.position);
    assert_eq!((found.chain.hash(), found.lost), (chain, None));
}
