//! What the recorder, the ack mark and the log reader do while nothing crashes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::disk::{BLOCK_LENGTH, Disk};
use lockstep_archive::files::ack_mark::{ACK_MARK_FILE, AckedPosition, STALE_MAX_NS};
use lockstep_archive::log::budget::DiskBudget;
use lockstep_archive::log::log_reader::{LogRead, LogReader, LogSource, ReadSpan};
use lockstep_archive::log::recorder::{Recorder, RecorderConfig, SyncMode};
use lockstep_archive::log::segment::SegmentTable;
use lockstep_archive::log::segment::WRITE_LENGTH_MAX;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::frame_seal::{FrameSeal, verify};
use lockstep_transport::log_buffer::{ExclusiveAppender, LogBuffer};
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::stream::{FrameSource, SourceFrames};
use recorded_log::{
    Dice, REQUEST, RecordedLog, SEGMENT_LENGTH, TERM_LENGTH, geometry, open_mark, stored_bytes,
};

const BUDGET: u64 = 64 << 20;

fn start(seed: u64, sync: SyncMode, budget: u64) -> (SimDisk, RecordedLog) {
    let disk = SimDisk::new(SimDiskConfig {
        seed,
        ..SimDiskConfig::default()
    });
    let mut node = RecordedLog::start(&disk, 0, sync, budget, Vec::new()).unwrap();
    assert!(node.begin_leadership_term());
    (disk, node)
}

fn fill(node: &mut RecordedLog, entries: usize, dice: &mut Dice) {
    for _ in 0..entries {
        let length = 1 + dice.below(4000) as usize;
        while !node.append(REQUEST, length, dice.next() as u8) {
            node.wait();
        }
        if dice.below(3) == 0 {
            node.cycle();
        }
        node.now += 10_000;
    }
}

#[test]
fn what_is_appended_during_a_write_goes_into_the_next_one() {
    let (_, mut node) = start(1, SyncMode::Data, BUDGET);
    node.cycle();
    for _ in 0..20 {
        assert!(node.append(REQUEST, 500, 1));
        node.cycle();
    }
    assert_eq!(node.recorder.counters().writes, 0);
    node.drain();
    assert_eq!(node.recorder.counters().writes, 2);
    assert_eq!(node.recorder.durable(), node.append_position());
}

#[test]
fn a_write_under_way_is_known_by_when_it_began_and_from_which_block_on() {
    let (_, mut node) = start(1, SyncMode::Data, BUDGET);
    fill(&mut node, 5, &mut Dice::new(1));
    node.drain();
    assert_eq!(node.recorder.writing_since(), None);
    let (begun, at) = (node.now, node.append_position());
    assert!(at > 4096 && at % 4096 > 0);
    assert!(node.append(REQUEST, 500, 1));
    node.cycle();
    let since = Some((begun, at - at % 4096));
    assert_eq!(node.recorder.writing_since(), since);
    node.now += 1;
    node.cycle();
    assert_eq!(node.recorder.writing_since(), since);
    node.drain();
    assert_eq!(node.recorder.writing_since(), None);
}

#[test]
fn durable_is_always_a_frame_boundary_and_never_goes_down() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let (disk, mut node) = start(2, sync, BUDGET);
        let mut dice = Dice::new(2);
        let mut durable = 0;
        for _ in 0..300 {
            fill(&mut node, 3, &mut dice);
            let now = node.recorder.durable();
            assert!(now >= durable && now <= node.recorder.written());
            durable = now;
        }
        node.drain();
        assert!(node.append_position() > 3 * SEGMENT_LENGTH as Position);
        assert_eq!(stored_bytes(&disk, node.append_position()), node.model);
    }
}

#[test]
fn a_write_cut_within_a_frame_reports_the_frames_before_it() {
    let geometry = Geometry::new(0, 1 << 20).unwrap();
    let mut disk = SimDisk::new(SimDiskConfig::default());
    let mut log = LogBuffer::allocate(geometry, 1408).unwrap();
    let config = RecorderConfig {
        geometry,
        sync: SyncMode::Data,
        budget: DiskBudget::new(BUDGET),
    };
    let mut recorder = Recorder::open(&mut disk, config, SegmentTable::new(1 << 20), 0, 0).unwrap();
    let mut appender = ExclusiveAppender::new(geometry, 1, 100, 1408, 0);
    let entry = 1056;
    while appender.position() < 700_000 {
        let seal = &mut FrameSeal::new(1);
        appender.offer(&mut log, 1 << 20, &[&[7; 1000]], seal);
    }
    let append = appender.position();
    let mut writes = 0;
    for step in 0..200 {
        let now = step * 1_000_000;
        while let Some(completion) = disk.poll_completion(now) {
            assert!(recorder.on_completion(&completion));
            writes += 1;
            assert_eq!(recorder.durable() % entry, 0);
            assert!(recorder.written() - recorder.durable() < entry);
        }
        recorder.do_work(now, &log, append, &mut disk);
    }
    assert!(writes >= 3 && WRITE_LENGTH_MAX as Position % entry != 0);
    assert_eq!(recorder.durable(), append);
}

#[test]
fn a_full_budget_refuses_ahead_of_need_and_corrupts_nothing() {
    let (disk, mut node) = start(3, SyncMode::Data, 2 * SEGMENT_LENGTH as u64);
    let mut dice = Dice::new(3);
    while node.recorder.has_room(node.append_position(), 0) {
        fill(&mut node, 1, &mut dice);
        node.cycle();
    }
    let left = 2 * SEGMENT_LENGTH as Position - node.append_position();
    assert!(
        left > SEGMENT_LENGTH as Position / 2 - 8 * 1024,
        "{left} left for what must be written"
    );
    for _ in 0..2000 {
        let _ = node.append(REQUEST, 1000, 9);
        node.wait();
    }
    assert_eq!(node.recorder.failed(), None);
    assert_eq!(node.recorder.durable(), 2 * SEGMENT_LENGTH as Position);
    let end = node.recorder.durable() as usize;
    assert_eq!(stored_bytes(&disk, end as Position), node.model[..end]);
}

#[test]
fn a_full_device_refuses_and_recovers_when_space_returns() {
    let (disk, mut node) = start(4, SyncMode::Data, BUDGET);
    node.drain();
    while node.recorder.segments().count() < 2 {
        node.wait();
    }
    disk.set_capacity(0);
    let mut dice = Dice::new(4);
    while node.recorder.written() < SEGMENT_LENGTH as Position {
        fill(&mut node, 1, &mut dice);
        node.cycle();
    }
    while !node.recorder.is_full() {
        fill(&mut node, 1, &mut dice);
        node.wait();
    }
    disk.set_capacity(1 << 30);
    node.cycle();
    node.now = node.recorder.next_deadline().expect("it tries again");
    node.cycle();
    node.wait();
    assert!(!node.recorder.is_full());
    fill(&mut node, 300, &mut dice);
    node.drain();
    assert_eq!(stored_bytes(&disk, node.append_position()), node.model);
}

#[test]
fn the_ack_mark_is_written_at_most_once_per_interval_and_synced_when_idle() {
    let disk = SimDisk::new(SimDiskConfig::default());
    let mut handle = disk.clone();
    let mut mark = open_mark(&mut handle).unwrap();
    let mut writes = 0;
    for step in 0..1000_i64 {
        let now = step * 100_000;
        while let Some(completion) = handle.poll_completion(now) {
            assert!(mark.on_completion(&completion));
        }
        let durable = (step + 1) * 32;
        let acked = AckedPosition {
            position: durable,
            term: LeadershipTermId::new(1),
            commit: 0,
            durable,
        };
        writes += mark.do_work(now, acked, None, &mut handle);
        let lag = (durable - mark.position()) / 32 * 100_000;
        assert!(lag <= 2 * STALE_MAX_NS, "{lag} ns behind");
    }
    assert!((9..=11).contains(&writes), "{writes} writes in 100 ms");
    assert!(!mark.is_settled());
    let idle_since = 100_000_000;
    let acked = AckedPosition {
        position: 32_000,
        term: LeadershipTermId::new(1),
        commit: 0,
        durable: 32_000,
    };
    let mut now = idle_since;
    for _ in 0..200 {
        now += 100_000;
        while let Some(completion) = handle.poll_completion(now) {
            assert!(mark.on_completion(&completion));
        }
        mark.write_other_slot(now, &mut handle);
        mark.do_work(now, acked, Some(idle_since), &mut handle);
    }
    assert!(mark.is_settled());
    assert_eq!(mark.next_deadline(), None);
    let slots = disk.contents(ACK_MARK_FILE.name).unwrap();
    let (first, second) = slots.split_at(BLOCK_LENGTH);
    assert_eq!(first, second, "either may rot");
    disk.crash(1);
    disk.restart();
    let found = open_mark(&mut handle).unwrap();
    assert_eq!(found.position(), 32_000);
}

#[test]
#[should_panic(expected = "W1")]
fn acknowledging_what_is_not_durable_is_a_bug() {
    let mut disk = SimDisk::new(SimDiskConfig::default());
    let mut mark = open_mark(&mut disk).unwrap();
    let acked = AckedPosition {
        position: 64,
        term: LeadershipTermId::new(1),
        commit: 0,
        durable: 32,
    };
    mark.do_work(0, acked, None, &mut disk);
}

/// Reads `[from, limit)` as a consumer would, in steps of at most `length_max`.
fn read_all(
    node: &mut RecordedLog,
    reader: &mut LogReader,
    from: Position,
    length_max: usize,
) -> Vec<u8> {
    let limit = node.append_position();
    let mut position = from;
    let mut found = Vec::new();
    let mut disk = node.disk.clone();
    while position < limit {
        let span = ReadSpan {
            position,
            limit,
            length_max,
        };
        match reader.read(span, node.view()) {
            LogRead::Frames { bytes, advance } => {
                assert!(advance > 0 && bytes.len() <= length_max);
                let last = position + advance as Position - 1;
                assert_eq!(geometry().term_id(position), geometry().term_id(last));
                found.extend_from_slice(bytes);
                found.resize(found.len() + advance - bytes.len(), 0);
                position += advance as Position;
            }
            LogRead::Pending => {
                reader.submit_order(node.now, &mut disk);
                node.now += 1_000_000;
                while let Some(completion) = disk.poll_completion(node.now) {
                    assert!(reader.on_completion(&completion));
                }
            }
            LogRead::Damaged | LogRead::Gone => panic!("damaged at {position}"),
        }
    }
    found
}

#[test]
fn a_reader_gets_the_same_bytes_from_disk_and_from_memory() {
    let (_, mut node) = start(5, SyncMode::Data, BUDGET);
    fill(&mut node, 400, &mut Dice::new(5));
    node.drain();
    while node.disk.next_deadline().is_some() {
        node.wait();
    }
    assert!(node.append_position() > 6 * TERM_LENGTH as Position);
    for length_max in [1408, 8192, 65_536] {
        for from in [0, node.boundaries[17], node.boundaries[300]] {
            let mut reader = LogReader::new(geometry(), 0).unwrap();
            let found = read_all(&mut node, &mut reader, from, length_max);
            assert_eq!(found, node.model[from as usize..]);
        }
    }
}

#[test]
fn a_run_of_frames_from_disk_ends_with_its_term() {
    let (_, mut node) = start(10, SyncMode::Data, BUDGET);
    while node.append_position() < 5 * TERM_LENGTH as Position {
        let left = TERM_LENGTH - node.append_position() as usize % TERM_LENGTH;
        // The last frame of each term fits exactly: there is no PAD.
        let length = if left < 2112 {
            left.min(1056) - 32
        } else {
            1024
        };
        while !node.append(REQUEST, length, 3) {
            node.wait();
        }
    }
    node.drain();
    while node.disk.next_deadline().is_some() {
        node.wait();
    }
    let mut reader = LogReader::new(geometry(), 0).unwrap();
    let found = read_all(&mut node, &mut reader, 0, 65_536);
    assert_eq!(found, node.model);
}

#[test]
fn a_reader_that_follows_a_growing_log_now_from_disk_now_from_memory_misses_nothing() {
    for seed in 0..20 {
        let (_, mut node) = start(seed, SyncMode::Data, BUDGET);
        node.strangers = Some(Vec::new());
        let mut dice = Dice::new(seed);
        let mut reader = LogReader::new(geometry(), 2).unwrap();
        let mut disk = node.disk.clone();
        let mut found = Vec::new();
        for _ in 0..800 {
            // Lags for a while, catches up for a while.
            let is_slow = (dice.next() >> 20).is_multiple_of(3);
            fill(&mut node, 2, &mut dice);
            node.cycle();
            for completion in node.strangers.as_mut().unwrap().drain(..) {
                assert!(reader.on_completion(&completion));
            }
            let steps = if is_slow { 0 } else { dice.below(5) };
            for _ in 0..steps {
                let span = ReadSpan {
                    position: found.len() as Position,
                    limit: node.append_position(),
                    length_max: 2048,
                };
                match reader.read(span, node.view()) {
                    LogRead::Frames { bytes, advance } => {
                        found.extend_from_slice(bytes);
                        found.resize(found.len() + advance - bytes.len(), 0);
                    }
                    LogRead::Pending => {
                        reader.submit_order(node.now, &mut disk);
                        break;
                    }
                    LogRead::Damaged | LogRead::Gone => {
                        panic!("seed {seed}: damaged at {}", found.len())
                    }
                }
            }
        }
        assert!(found.len() > 10 * TERM_LENGTH, "{}", found.len());
        assert!(reader.counters().disk_reads > 5);
        assert_eq!(found, node.model[..found.len()]);
    }
}

#[test]
fn a_reader_never_goes_above_its_limit() {
    let (_, mut node) = start(6, SyncMode::Data, BUDGET);
    fill(&mut node, 100, &mut Dice::new(6));
    let mut reader = LogReader::new(geometry(), 0).unwrap();
    let limit = *node.boundaries.last().unwrap();
    let before = node.boundaries[node.boundaries.len() - 3];
    let span = ReadSpan {
        position: before,
        limit: before,
        length_max: 65_536,
    };
    let read = reader.read(span, node.view());
    assert_eq!(
        read,
        LogRead::Frames {
            bytes: &[],
            advance: 0
        }
    );
    let span = ReadSpan {
        limit: limit + 4096,
        ..span
    };
    let LogRead::Frames { advance, .. } = reader.read(span, node.view()) else {
        panic!("the newest frames are in memory");
    };
    assert_eq!(before + advance as Position, limit);
}

#[test]
fn a_reader_refuses_a_rotten_frame_and_gives_it_once_it_is_repaired() {
    let (disk, mut node) = start(7, SyncMode::Data, BUDGET);
    fill(&mut node, 200, &mut Dice::new(7));
    node.drain();
    while node.disk.next_deadline().is_some() {
        node.wait();
    }
    let rotten = node.boundaries[10];
    assert!(disk.flip_bit("0-0.rec", rotten as usize + 40, 3));
    let mut reader = LogReader::new(geometry(), 0).unwrap();
    let span = ReadSpan {
        position: 0,
        limit: node.append_position(),
        length_max: 65_536,
    };
    let mut position = 0;
    let mut handle = disk.clone();
    loop {
        let span = ReadSpan { position, ..span };
        match reader.read(span, node.view()) {
            LogRead::Frames { advance, .. } => position += advance as Position,
            LogRead::Pending => {
                reader.submit_order(node.now, &mut handle);
                node.now += 1_000_000;
                let completion = handle.poll_completion(node.now).unwrap();
                assert!(reader.on_completion(&completion));
            }
            LogRead::Damaged | LogRead::Gone => break,
        }
    }
    assert_eq!(position, rotten);
    assert_eq!(reader.counters().damaged, 1);
    assert!(disk.flip_bit("0-0.rec", rotten as usize + 40, 3));
    reader.reset();
    let found = read_all(&mut node, &mut reader, rotten, 4096);
    assert_eq!(found, node.model[rotten as usize..]);
}

#[test]
fn a_failed_read_is_damage_and_not_silence() {
    let (disk, mut node) = start(8, SyncMode::Data, BUDGET);
    fill(&mut node, 200, &mut Dice::new(8));
    node.drain();
    while node.disk.next_deadline().is_some() {
        node.wait();
    }
    disk.fail_reads(1);
    let mut reader = LogReader::new(geometry(), 3).unwrap();
    let from = node.boundaries[5];
    let span = ReadSpan {
        position: from,
        limit: node.append_position(),
        length_max: 4096,
    };
    let mut handle = disk.clone();
    assert_eq!(reader.read(span, node.view()), LogRead::Pending);
    reader.submit_order(node.now, &mut handle);
    let completion = handle.poll_completion(node.now + 1_000_000).unwrap();
    assert!(reader.on_completion(&completion));
    assert_eq!(reader.read(span, node.view()), LogRead::Damaged);
}

#[test]
fn a_stream_can_be_fed_from_disk_and_memory_through_one_source() {
    let (_, mut node) = start(9, SyncMode::Data, BUDGET);
    fill(&mut node, 300, &mut Dice::new(9));
    node.drain();
    while node.disk.next_deadline().is_some() {
        node.wait();
    }
    let mut reader = LogReader::new(geometry(), 1).unwrap();
    let mut disk = node.disk.clone();
    let limit = node.append_position();
    let (mut position, mut now, mut frames) = (0, node.now, 0);
    while position < limit {
        let mut source = LogSource::new(&mut reader, node.view(), limit);
        assert_eq!(source.limit(), limit);
        match source.frames(position, 1408) {
            SourceFrames::Ready { bytes, advance } => {
                assert!(verify(bytes).is_ok());
                position += advance as Position;
                frames += 1;
            }
            SourceFrames::NotYet => {
                reader.submit_order(now, &mut disk);
                now += 1_000_000;
                let completion = disk.poll_completion(now).unwrap();
                assert!(reader.on_completion(&completion));
            }
            SourceFrames::Gone => panic!("gone at {position}"),
        }
    }
    assert!(frames > 300);
}
