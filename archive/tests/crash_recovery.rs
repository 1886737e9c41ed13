//! Recording under crashes at random moments: nothing reported durable is lost, nothing
//! appears that was not appended, and recovery comes to the same end however often it is
//! interrupted (`log.md` 2.4; `rules.md` D1 to D7, D12, R21, R44).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::disk::{ColdFiles, Disk, DiskError};
use lockstep_archive::files::ack_record::{AckRecord, LostAcks};
use lockstep_archive::log::recorder::SyncMode;
use lockstep_archive::log::recovery::{
    Acknowledged, FrameMeaning, LogOrigin, RecoveredLog, RecoveryError, recover,
};
use lockstep_archive::sim::SimDisk;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::position::Position;
use recorded_log::{
    BUDGET, Dice, NEW_LEADERSHIP_TERM, Port, REQUEST, RecordedLog, SEGMENT_LENGTH, TERM_LENGTH,
    TERM_MAX, catalog, disk, meaning_of, recorded, recover_log, recover_with, start, stored_bytes,
};

const SEEDS: u64 = 150;

/// One life of a node: appends, records, perhaps truncates, and is cut short. Returns what
/// was reported durable, and the log.
fn live(node: &mut RecordedLog, dice: &mut Dice) -> (Position, Vec<u8>) {
    assert!(node.begin_leadership_term());
    for _ in 0..dice.below(400) {
        match dice.below(40) {
            0..=19 => {
                let length = 1 + dice.below(3000) as usize;
                node.append(REQUEST, length, dice.next() as u8);
            }
            20 => {
                let _ = node.begin_leadership_term();
            }
            21 if dice.below(4) == 0 => {
                node.drain();
                let index = dice.below(node.boundaries.len() as u64) as usize;
                node.truncate(node.boundaries[index]);
                // A new leader's first entry follows every cut.
                node.leadership_term += 1;
                assert!(node.append(NEW_LEADERSHIP_TERM, 64, 0xBB));
            }
            22..=30 => node.wait(),
            _ => node.cycle(),
        }
        node.now += dice.below(30_000) as i64;
    }
    (node.recorder.durable(), node.model.clone())
}

/// Restarts until a start is not interrupted by another crash.
fn restart(disk: &SimDisk, sync: SyncMode, dice: &mut Dice) -> RecordedLog {
    loop {
        disk.restart();
        if dice.below(2) == 0 {
            disk.crash_at_cold_operation(disk.cold_operations() + dice.below(8));
        }
        match RecordedLog::start(disk, 0, sync, BUDGET, Vec::new()) {
            Ok(node) => {
                disk.restart();
                return node;
            }
            Err(error) => assert_eq!(error, DiskError::Crashed),
        }
    }
}

fn check_recovered(node: &mut RecordedLog, durable: Position, log: &[u8], seed: u64) {
    let end = node.recovered.end;
    assert_eq!(node.recovered.lost, None, "seed {seed}");
    assert!(
        end >= durable,
        "seed {seed}: end {end} below durable {durable}"
    );
    let stored = stored_bytes(&node.disk, end);
    assert!(
        log.starts_with(&stored),
        "seed {seed}: bytes that were not appended"
    );
    let (_, again) = recover_log(&mut node.disk, node.ack_mark.position()).unwrap();
    assert_eq!(again.end, end, "seed {seed}: recovery is not idempotent");
    assert_eq!(
        again.chain.hash(),
        node.recovered.chain.hash(),
        "seed {seed}"
    );
    assert_eq!(again.terms, node.recovered.terms, "seed {seed}");
    node.model = stored;
}

fn run(seed: u64, sync: SyncMode, host_crashes: bool, is_in_two: bool) {
    let mut dice = Dice::new(seed);
    let disk = disk(seed);
    let mut node = start(&disk, sync);
    for life in 0..4 {
        if is_in_two {
            node.port = Port::in_two(&disk, seed ^ life << 32);
        }
        let (durable, log) = live(&mut node, &mut dice);
        if host_crashes {
            disk.crash(dice.next());
        } else {
            disk.kill(dice.next());
        }
        node = restart(&disk, sync, &mut dice);
        check_recovered(&mut node, durable, &log, seed);
    }
}

#[test]
fn what_was_reported_durable_survives_every_crash_of_the_host() {
    for seed in 0..SEEDS {
        run(seed, SyncMode::Data, true, false);
    }
}

#[test]
fn without_sync_everything_written_survives_a_crash_of_the_process() {
    for (seed, is_in_two) in (0..SEEDS / 3).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut dice = Dice::new(seed);
        let disk = disk(seed);
        let mut node = start(&disk, SyncMode::None);
        for life in 0..3 {
            if is_in_two {
                node.port = Port::in_two(&disk, seed ^ life << 32);
            }
            let (durable, log) = live(&mut node, &mut dice);
            disk.kill(dice.next());
            disk.restart();
            node = RecordedLog::start(&disk, 0, SyncMode::None, BUDGET, Vec::new()).unwrap();
            check_recovered(&mut node, durable, &log, seed);
        }
    }
}

#[test]
fn a_process_crash_in_data_mode_loses_nothing_either() {
    for seed in 1000..1000 + SEEDS / 3 {
        run(seed, SyncMode::Data, false, false);
    }
}

#[test]
fn a_far_end_of_the_disk_that_stalls_loses_nothing_that_was_reported_durable() {
    for seed in 2000..2000 + SEEDS {
        run(seed, SyncMode::Data, seed % 3 > 0, true);
    }
}

fn terms(recovered: &RecoveredLog) -> Vec<(i64, Position)> {
    let terms = recovered.terms.iter();
    terms.map(|term| (term.term.get(), term.base)).collect()
}

fn lost_position(recovered: &RecoveredLog) -> Option<Position> {
    recovered.lost.map(|lost| lost.position)
}

#[test]
fn an_idle_log_is_covered_by_its_ack_mark() {
    let (disk, model, mark) = recorded(1, 50);
    assert_eq!(mark, model.len() as Position);
    disk.crash(3);
    disk.restart();
    let node = start(&disk, SyncMode::Data);
    assert_eq!(node.ack_mark.position(), mark);
    assert_eq!(node.recovered.end, mark);
    assert_eq!(terms(&node.recovered), [(1, 0)]);
    assert_eq!(node.recovered.last_term, LeadershipTermId::new(1));
}

#[test]
fn a_zero_page_below_the_ack_mark_is_damage_and_is_not_cut() {
    let (disk, model, mark) = recorded(2, 400);
    let at = 3 * 4096;
    assert!(disk.overwrite("0-0.rec", at, &[0; 4096]));
    let before = disk.contents("0-0.rec").unwrap();
    let mut handle = disk.clone();
    let (_, recovered) = recover_log(&mut handle, mark).unwrap();
    assert!(recovered.end <= at as Position);
    assert_eq!(lost_position(&recovered), Some(mark));
    assert_eq!(disk.contents("0-0.rec").unwrap(), before);
    assert!(model.len() > SEGMENT_LENGTH);
}

#[test]
fn one_flipped_bit_anywhere_below_the_ack_mark_is_noticed() {
    let (disk, _, mark) = recorded(3, 8);
    let mut dice = Dice::new(3);
    for _ in 0..200 {
        let offset = dice.below(mark as u64) as usize;
        let bit = dice.below(8) as u32;
        assert!(disk.flip_bit("0-0.rec", offset, bit));
        let (_, recovered) = recover_log(&mut disk.clone(), mark).unwrap();
        assert_eq!(lost_position(&recovered), Some(mark), "{offset}");
        assert!(recovered.end <= offset as Position, "{offset}");
        assert!(disk.flip_bit("0-0.rec", offset, bit));
    }
}

#[test]
fn a_missing_segment_below_the_ack_mark_is_damage() {
    let (disk, _, mark) = recorded(4, 400);
    let mut handle = disk.clone();
    handle.remove("0-131072.rec").unwrap();
    let (_, recovered) = recover_log(&mut handle, mark).unwrap();
    assert_eq!(recovered.end, SEGMENT_LENGTH as Position);
    assert_eq!(lost_position(&recovered), Some(mark));
}

#[test]
fn a_torn_tail_above_the_ack_mark_is_cut_and_erased() {
    let (disk, model, mark) = recorded(5, 20);
    let tail = model[..1056].to_vec();
    // A frame in the wrong place, then garbage: what a torn, misdirected write may leave.
    assert!(disk.overwrite("0-0.rec", mark as usize, &tail));
    assert!(disk.overwrite("0-0.rec", mark as usize + 9000, &[0x5A; 700]));
    let (_, recovered) = recover_log(&mut disk.clone(), mark).unwrap();
    assert_eq!((recovered.end, recovered.lost), (mark, None));
    let file = disk.contents("0-0.rec").unwrap();
    assert!(file[mark as usize..].iter().all(|byte| *byte == 0));
    assert_eq!(file[..mark as usize], model);
}

#[test]
fn after_recovery_memory_holds_the_tail_block_and_zeros_above() {
    let (disk, model, mark) = recorded(6, 23);
    let (log, recovered) = recover_log(&mut disk.clone(), mark).unwrap();
    let start = recovered.end & !4095;
    assert_ne!(start, recovered.end);
    let held = log.bytes(start, 65_536 - start as usize);
    let below = (recovered.end - start) as usize;
    assert_eq!(held[..below], model[start as usize..]);
    assert!(held[below..].iter().all(|byte| *byte == 0));
}

/// A log cut at `cut`, with, behind it on disk before the cut, entries up to exactly 8192
/// (two blocks) and there the first entry of a greater leadership term.
fn cut_below_a_greater_term() -> (SimDisk, RecordedLog) {
    let disk = disk(7);
    let mut node = start(&disk, SyncMode::Data);
    assert!(node.begin_leadership_term());
    assert!(node.append(REQUEST, 1000, 1));
    let cut = node.append_position();
    fill_two_blocks(&mut node, 2);
    node.leadership_term += 2;
    assert!(node.append(NEW_LEADERSHIP_TERM, 64, 0xAA));
    assert!(node.append(REQUEST, 1000, 4));
    node.drain();
    node.truncate(cut);
    node.leadership_term = 1;
    node.drain();
    (disk, node)
}

fn fill_two_blocks(node: &mut RecordedLog, fill: u8) {
    for _ in 0..6 {
        assert!(node.append(REQUEST, 1000, fill));
    }
    let left = 8192 - node.append_position() as usize;
    assert!(node.append(REQUEST, left - 32, fill));
    assert_eq!(node.append_position(), 8192);
}

#[test]
fn truncated_bytes_never_join_a_shorter_new_log() {
    let (disk, mut node) = cut_below_a_greater_term();
    fill_two_blocks(&mut node, 0x22);
    node.drain();
    disk.crash(1);
    disk.restart();
    let recovered = start(&disk, SyncMode::Data).recovered;
    assert_eq!(recovered.end, 8192);
    assert_eq!(stored_bytes(&disk, 8192), node.model);
    assert_eq!(terms(&recovered), [(1, 0)]);
}

#[test]
fn a_completed_truncation_is_not_undone_by_a_crash() {
    let (disk, node) = cut_below_a_greater_term();
    disk.crash(1);
    disk.restart();
    let recovered = start(&disk, SyncMode::Data).recovered;
    assert_eq!(recovered.end, node.append_position());
}

/// A log whose second leadership term begins with a PAD up to the end of the log's first term, the
/// PAD's position, and the log's end behind the term's first entry.
fn log_with_padded_term() -> (SimDisk, Position, Position) {
    let disk = disk(10);
    let mut node = start(&disk, SyncMode::Data);
    assert!(node.begin_leadership_term());
    let pad = TERM_LENGTH as Position - 64;
    while node.append_position() < pad {
        let left = (pad - node.append_position()) as usize;
        let length = if left < 2112 {
            left.min(1056) - 32
        } else {
            1024
        };
        assert!(node.append(REQUEST, length, 5));
        node.wait();
    }
    assert!(node.begin_leadership_term());
    node.drain();
    (disk, pad, node.append_position())
}

#[test]
fn a_leadership_term_that_begins_with_a_pad_begins_at_the_pad_and_counts_only_with_its_entry() {
    let (disk, pad, end) = log_with_padded_term();
    assert_eq!(end, TERM_LENGTH as Position + 96);
    let (_, recovered) = recover_log(&mut disk.clone(), 0).unwrap();
    assert_eq!((recovered.end, recovered.last_term.get()), (end, 2));
    assert_eq!(terms(&recovered), [(1, 0), (2, pad)]);
    assert!(disk.overwrite("0-0.rec", TERM_LENGTH, &[0; 96]));
    let _before = marks::take();
    let (_, recovered) = recover_log(&mut disk.clone(), 0).unwrap();
    assert!(marks::take().contains(Mark::RecoveryOfLonePad));
    assert_eq!((recovered.end, recovered.last_term.get()), (pad, 1));
    assert_eq!(terms(&recovered), [(1, 0)]);
}

#[test]
fn a_process_that_ended_between_a_pad_and_the_entry_behind_it_has_lost_nothing() {
    let (disk, pad, _) = log_with_padded_term();
    assert!(disk.overwrite("0-0.rec", TERM_LENGTH, &[0; 96]));
    let boot = disk.clone().boot_id();
    // The host is the same one or another, and the mark covers the PAD or not yet.
    for boot_id in [boot, Some(u128::MAX)] {
        for position in [pad, TERM_LENGTH as Position] {
            let mark = AckRecord {
                position,
                term: LeadershipTermId::new(2),
                boot_id,
                ..AckRecord::default()
            };
            let (_, recovered) = recover_with(&mut disk.fork(), &mark).unwrap();
            assert_eq!((recovered.end, recovered.lost), (pad, None), "{mark:?}");
            assert_eq!(recovered.stale_end, pad);
        }
    }
    // What may have been acknowledged behind it is another matter, and so is a PAD that rots.
    let marked = |position| AckRecord {
        position,
        term: LeadershipTermId::new(2),
        boot_id: boot,
        ..AckRecord::default()
    };
    let position = TERM_LENGTH as Position + 32;
    let (_, recovered) = recover_with(&mut disk.fork(), &marked(position)).unwrap();
    assert_eq!(
        recovered.lost,
        Some(LostAcks {
            position,
            term: LeadershipTermId::new(2),
            is_open: false,
        })
    );
    assert!(disk.flip_bit("0-0.rec", pad as usize + 3, 1));
    let position = TERM_LENGTH as Position;
    let (_, recovered) = recover_with(&mut disk.fork(), &marked(position)).unwrap();
    assert!(recovered.lost.is_some_and(|lost| lost.position == position));
}

#[test]
fn a_failed_write_is_final_although_later_writes_would_succeed() {
    let disk = disk(8);
    let mut node = start(&disk, SyncMode::Data);
    assert!(node.begin_leadership_term());
    node.drain();
    let durable = node.recorder.durable();
    disk.fail_writes(1);
    assert!(node.append(REQUEST, 500, 7));
    for _ in 0..50 {
        node.wait();
        node.now += 1_000_000;
    }
    assert!(node.recorder.failed().is_some());
    assert_eq!(node.recorder.durable(), durable);
    assert_eq!(disk.next_deadline(), None, "no write after the failed one");
}

#[test]
fn without_its_mark_a_log_keeps_what_lies_above_its_end() {
    for seed in 0..20 {
        let (disk, model, _) = recorded(seed, 20);
        let rotten = model.len() - 700;
        assert!(disk.flip_bit("0-0.rec", rotten, 3));
        // Another run of the host: with a mark this could be a torn write.
        disk.crash(seed);
        disk.restart();
        let before = disk.contents("0-0.rec");
        let known = Acknowledged {
            mark: AckRecord::default(),
            is_mark_lost: true,
            term_max: LeadershipTermId::new(TERM_MAX),
        };
        let handle = &mut disk.clone();
        let found = recover(
            handle,
            &known,
            None,
            (&catalog(), &LogOrigin::default()),
            meaning_of,
        )
        .unwrap();
        assert!(found.end < rotten as Position, "seed {seed}");
        assert_eq!(lost_position(&found), Some(model.len() as Position));
        assert_eq!(disk.contents("0-0.rec"), before, "seed {seed}");
    }
}

#[test]
fn a_log_that_is_another_ones_is_left_as_it_is() {
    let (disk, model, _) = recorded(3, 20);
    // A torn tail, which a recovery erases.
    assert!(disk.overwrite("0-0.rec", model.len(), &[0xEE; 100]));
    let before = disk.contents("0-0.rec");
    let known = Acknowledged {
        mark: AckRecord::default(),
        is_mark_lost: false,
        term_max: LeadershipTermId::new(TERM_MAX),
    };
    let refused = recover(
        &mut disk.clone(),
        &known,
        None,
        (&catalog(), &LogOrigin::default()),
        |frame| {
            let meaning = meaning_of(frame);
            let is_foreign = meaning.term_id.is_some();
            FrameMeaning {
                is_foreign,
                ..meaning
            }
        },
    );
    let refused = refused.map(|found| found.end);
    assert_eq!(refused, Err(RecoveryError::Foreign { position: 0 }));
    assert_eq!(disk.contents("0-0.rec"), before);
}

#[test]
fn after_a_run_without_syncs_a_start_in_the_same_run_of_the_host_makes_everything_durable() {
    for seed in 0..SEEDS / 3 {
        let mut dice = Dice::new(seed);
        let disk = disk(seed);
        let mut node = start(&disk, SyncMode::None);
        let (durable, log) = live(&mut node, &mut dice);
        assert!(node.ack_mark.record().is_unsynced);
        disk.kill(dice.next());
        disk.restart();
        // With or without damage: what is whole below it was acknowledged too.
        let is_damaged = seed % 2 == 1 && durable > 8192;
        if is_damaged {
            let rotten = (durable as usize).min(SEGMENT_LENGTH) - 4096;
            assert!(disk.flip_bit("0-0.rec", rotten, 0));
        }
        let node = RecordedLog::start(&disk, 0, SyncMode::Data, BUDGET, Vec::new()).unwrap();
        let end = node.recovered.end;
        assert!(is_damaged || end >= durable, "seed {seed}");
        assert!(!node.ack_mark.record().is_unsynced);
        disk.crash(dice.next());
        disk.restart();
        let node = RecordedLog::start(&disk, 0, SyncMode::Data, BUDGET, Vec::new()).unwrap();
        // What rotted in a cache only is whole again.
        assert!(node.recovered.end == end || is_damaged && node.recovered.end > end);
        let stored = stored_bytes(&disk, end.min(log.len() as Position));
        assert!(log.starts_with(&stored), "seed {seed}");
    }
}
