//! A log that starts above 0, and a start that reads it from where a snapshot stands for what is
//! below.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use core::ops::ControlFlow;

use lockstep_archive::disk::ColdFiles;
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::log::chain::{Chain, Checkpoint};
use lockstep_archive::log::log_memory::{LOG_MEMORY_HEADER, LogMemory, LogMemoryOwner};
use lockstep_archive::log::log_reader::{LogRead, LogReader, ReadSpan};
use lockstep_archive::log::recorder::SyncMode;
use lockstep_archive::log::recovery::inspection::Inspection;
use lockstep_archive::log::recovery::{Acknowledged, LogOrigin, RecoveredLog, recover};
use lockstep_archive::sim::SimDisk;
use lockstep_transport::concurrent::HostMemory;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::frame_seal::{FramePlace, FrameSeal};
use lockstep_transport::log_buffer::{ExclusiveAppender, Offer};
use lockstep_transport::position::Position;
use recorded_log::{
    BUDGET, MTU, NEW_LEADERSHIP_TERM, REQUEST, RecordedLog, SEGMENT_LENGTH, SESSION_ID,
    TERM_LENGTH, TERM_MAX, catalog, disk, geometry, meaning_of, recover_from, recover_with, start,
    stored_bytes,
};

const SEGMENT: Position = SEGMENT_LENGTH as Position;

/// Where the frames of a log end, with the hash there.
fn checkpoints(model: &[u8]) -> Vec<Checkpoint> {
    let mut chain = Chain::new();
    let mut found = vec![Checkpoint::ZERO];
    while (chain.position() as usize) < model.len() {
        let rest = &model[chain.position() as usize..];
        let length = FramePlace::read(rest).unwrap().aligned_length;
        chain.fold_frames(&rest[..length]).unwrap();
        found.push(Checkpoint {
            position: chain.position(),
            hash: chain.hash(),
        });
    }
    found
}

/// What a snapshot at `checkpoint` knows of the log that is `whole`, of which all from `log_start`
/// on is kept.
fn origin(whole: &RecoveredLog, log_start: Checkpoint, checkpoint: Checkpoint) -> LogOrigin {
    let below = |base: Position| base < checkpoint.position;
    let terms = whole.terms.iter().filter(|term| below(term.base));
    LogOrigin {
        log_start,
        checkpoint,
        terms: terms.copied().collect(),
        log_time: 0,
        lacks_below: false,
    }
}

/// A log of three segments and some, of several leadership terms, all of it durable.
fn several_terms(disk: &SimDisk, sync: SyncMode) -> RecordedLog {
    let mut node = start(disk, sync);
    for entry in 0..420_usize {
        while entry % 150 == 0 && !node.begin_leadership_term() {
            node.wait();
        }
        while !node.append(REQUEST, 1000, entry as u8) {
            node.wait();
        }
        node.cycle();
    }
    node.drain();
    node.idle();
    node
}

fn mark_of(node: &RecordedLog) -> AckRecord {
    node.ack_mark.record()
}

#[test]
fn a_start_from_anywhere_in_the_log_finds_what_one_from_its_beginning_finds() {
    let disk = disk(3);
    let node = several_terms(&disk, SyncMode::Data);
    let mark = mark_of(&node);
    let (_, whole) = recover_with(&mut disk.fork(), &mark).unwrap();
    assert_eq!((whole.end, whole.terms.len()), (node.append_position(), 3));
    assert!(whole.end > 3 * SEGMENT);
    let ends = checkpoints(&node.model);
    let picked = ends.iter().step_by(17).chain(ends.last());
    for at in picked.filter(|at| at.position == 0 || at.position > whole.terms[0].base) {
        let origin = origin(&whole, Checkpoint::ZERO, *at);
        let (log, found) = recover_from(&mut disk.fork(), &mark, &origin).unwrap();
        let context = format!("from {}", at.position);
        assert_eq!((found.start, found.missing_from), (Checkpoint::ZERO, None));
        assert_eq!((found.end, found.lost), (whole.end, None), "{context}");
        assert_eq!(found.terms, whole.terms, "{context}");
        assert_eq!(found.last_term, whole.last_term, "{context}");
        assert_eq!(found.chain.hash(), whole.chain.hash(), "{context}");
        assert!(found.commit >= at.position, "{context}");
        let block = whole.end & !4095;
        let tail = log.bytes(block, (whole.end - block) as usize);
        assert_eq!(tail, &node.model[block as usize..], "{context}");
    }
}

#[test]
fn what_a_crash_tore_is_judged_alike_from_anywhere_in_the_log() {
    for seed in 0..60 {
        let disk = disk(seed);
        let mut node = several_terms(&disk, SyncMode::Data);
        let settled = node.append_position();
        for entry in 0..40 {
            if !node.append(REQUEST, 700, entry) {
                node.wait();
            }
            if entry % 3 == 0 {
                node.cycle();
            }
        }
        disk.crash(seed);
        disk.restart();
        let mark = disk.durable_mark().unwrap();
        let (_, whole) = recover_with(&mut disk.fork(), &mark).unwrap();
        let ends = checkpoints(&node.model[..settled as usize]);
        let at = ends[ends.len() - 1 - seed as usize % 8];
        let origin = origin(&whole, Checkpoint::ZERO, at);
        let (_, found) = recover_from(&mut disk.fork(), &mark, &origin).unwrap();
        assert_eq!(
            (found.end, found.lost, found.stale_end, found.chain.hash()),
            (whole.end, whole.lost, whole.stale_end, whole.chain.hash()),
            "seed {seed}"
        );
    }
}

#[test]
fn rot_above_the_snapshot_is_damage_and_below_it_is_met_when_it_is_read() {
    let disk = disk(4);
    let node = several_terms(&disk, SyncMode::Data);
    let mark = mark_of(&node);
    let (_, whole) = recover_with(&mut disk.fork(), &mark).unwrap();
    let ends = checkpoints(&node.model);
    let at = ends[ends.len() - 60];
    let origin = origin(&whole, Checkpoint::ZERO, at);
    let above = (at.position + 5000) as usize;
    let name = |at: usize| format!("0-{}.rec", at / SEGMENT_LENGTH * SEGMENT_LENGTH);
    let rotten = disk.fork();
    assert!(rotten.flip_bit(&name(above), above % SEGMENT_LENGTH, 1));
    let (_, found) = recover_from(&mut rotten.clone(), &mark, &origin).unwrap();
    let lost = found.lost.expect("it was acknowledged");
    assert_eq!(lost.position, whole.end);
    assert!(found.end >= at.position && found.end < above as Position);
    // Far below.
    let rotten = disk.fork();
    assert!(rotten.flip_bit(&name(5000), 5000, 1));
    let (_, found) = recover_from(&mut rotten.clone(), &mark, &origin).unwrap();
    assert_eq!(
        (found.end, found.lost, found.missing_from),
        (whole.end, None, None)
    );
}

/// Reads the frame at `position` as a reader of the node does.
fn read_at(node: &mut RecordedLog, position: Position) -> Result<Vec<u8>, LogRead<'static>> {
    let mut reader = LogReader::new(geometry(), 0).unwrap();
    let span = ReadSpan {
        position,
        limit: node.append_position(),
        length_max: 4096,
    };
    node.strangers = Some(Vec::new());
    for _ in 0..100 {
        match reader.read(span, node.view()) {
            LogRead::Frames { bytes, .. } => return Ok(bytes.to_vec()),
            LogRead::Damaged => return Err(LogRead::Damaged),
            LogRead::Gone => return Err(LogRead::Gone),
            LogRead::Pending => {}
        }
        let now = node.now;
        reader.submit_order(now, &mut node.port);
        node.wait();
        for completion in node.strangers.take().unwrap() {
            assert!(reader.on_completion(&completion));
        }
        node.strangers = Some(Vec::new());
    }
    panic!("no answer at {position}");
}

#[test]
fn below_its_start_a_log_is_gone_and_its_segments_go_at_the_next_start() {
    let disk = disk(5);
    let node = several_terms(&disk, SyncMode::Data);
    let model = node.model.clone();
    let (_, whole) = recover_with(&mut disk.fork(), &mark_of(&node)).unwrap();
    drop(node);
    let ends = checkpoints(&model);
    let at = ends[ends.len() - 40];
    // At the beginning of a segment, and in the middle of one.
    let middle = ends.iter().find(|end| end.position > SEGMENT + 9000);
    let base = ends.iter().find(|end| end.position == SEGMENT);
    for log_start in [*base.unwrap(), *middle.unwrap()] {
        let disk = disk.fork();
        let origin = origin(&whole, log_start, at);
        let sizes = (SyncMode::Data, BUDGET);
        let mut node = RecordedLog::start_from(&disk, &origin, 0, sizes, model.clone()).unwrap();
        assert_eq!(node.recovered.start, log_start);
        assert_eq!(node.recovered.chain.start(), log_start);
        assert_eq!(node.recovered.chain.hash(), whole.chain.hash());
        let names = disk.clone().list().unwrap();
        assert!(!names.contains(&"0-0.rec".to_owned()), "{names:?}");
        assert!(names.contains(&format!("0-{SEGMENT}.rec")), "{names:?}");
        for end in ends.iter().step_by(11) {
            let read = read_at(&mut node, end.position);
            if end.position < log_start.position {
                assert_eq!(read, Err(LogRead::Gone), "{end:?}");
            } else {
                let bytes = read.unwrap();
                let at = end.position as usize;
                assert_eq!(bytes, &model[at..at + bytes.len()], "{end:?}");
            }
        }
        // It goes on, and the next start finds all of it.
        for entry in 0..100 {
            while !node.append(REQUEST, 900, entry) {
                node.wait();
            }
            node.cycle();
        }
        node.drain();
        let (_, again) = recover_from(&mut disk.fork(), &mark_of(&node), &origin).unwrap();
        assert_eq!((again.end, again.lost), (node.append_position(), None));
        look_from(&mut disk.fork(), log_start, &again);
    }
}

/// Who only looks reads all that is kept, and comes to the same end.
fn look_from(disk: &mut SimDisk, log_start: Checkpoint, found: &RecoveredLog) {
    let known = known(AckRecord::default());
    let before = disk.backup();
    let origin = LogOrigin::unknown_below(log_start);
    let shape = (&catalog(), &origin);
    let mut inspection = Inspection::begin(disk, &known, shape, None).unwrap();
    let mut first = None;
    let observe = |frame: lockstep_archive::log::recovery::LogFrame<'_>| {
        first.get_or_insert(frame.position);
        ControlFlow::Continue(())
    };
    inspection.accept(disk, &meaning_of, observe).unwrap();
    let looked = inspection.conclude(disk, &known, &meaning_of).unwrap();
    assert_eq!(first, Some(log_start.position));
    assert_eq!((looked.end, looked.chain), (found.end, found.chain.hash()));
    assert_eq!(looked.last_term, found.last_term);
    assert!(found.terms.ends_with(&looked.terms));
    assert!(disk.backup() == before, "it was changed");
}

fn known(mark: AckRecord) -> Acknowledged {
    Acknowledged {
        mark,
        is_mark_lost: false,
        term_max: LeadershipTermId::new(TERM_MAX),
    }
}

#[test]
fn a_log_that_lost_its_end_below_the_snapshot_starts_there() {
    let disk = disk(6);
    let node = several_terms(&disk, SyncMode::None);
    let (model, mark) = (node.model.clone(), mark_of(&node));
    // A start syncs it: what is lost is said below.
    let (_, whole) = recover_with(&mut disk.clone(), &mark).unwrap();
    drop(node);
    let ends = checkpoints(&model);
    let at = ends[ends.len() - 40];
    let origin = origin(&whole, Checkpoint::ZERO, at);
    for lost in ["the tail", "a segment", "all"] {
        let disk = disk.fork();
        // Another run of the host.
        disk.crash(1);
        disk.restart();
        let zeros = vec![0; SEGMENT_LENGTH];
        let from = match lost {
            "the tail" => {
                let from = ends[ends.len() - 60].position;
                for base in (0..whole.end).step_by(SEGMENT_LENGTH) {
                    let kept = (from - base).clamp(0, SEGMENT) as usize;
                    let name = format!("0-{base}.rec");
                    assert!(disk.overwrite(&name, kept, &zeros[kept..]));
                }
                from
            }
            "a segment" => {
                disk.lose(&format!("0-{SEGMENT}.rec"));
                SEGMENT
            }
            _ => {
                disk.wipe();
                0
            }
        };
        let mark = AckRecord {
            position: 0,
            boot_id: None,
            ..mark
        };
        let (log, found) = recover_from(&mut disk.clone(), &mark, &origin).unwrap();
        assert_eq!(found.missing_from, Some(from), "{lost}");
        assert_eq!(found.start, at, "{lost}");
        assert_eq!(found.segments.log_start(), at.position);
        let end = if lost == "a segment" {
            whole.end
        } else {
            at.position
        };
        assert_eq!((found.end, found.lost), (end, None), "{lost}");
        drop(log);
        // The log goes on there, and below it is gone.
        let sizes = (SyncMode::Data, BUDGET);
        let mut node = RecordedLog::start_from(&disk, &origin, 0, sizes, model.clone()).unwrap();
        assert!(node.append(REQUEST, 900, 7));
        node.drain();
        assert_eq!(read_at(&mut node, 0), Err(LogRead::Gone), "{lost}");
        let (_, again) = recover_from(&mut disk.clone(), &mark_of(&node), &origin).unwrap();
        assert_eq!(again.end, node.append_position(), "{lost}");
        assert_eq!(again.start, at, "{lost}");
    }
}

#[test]
fn a_log_of_another_history_below_the_snapshot_counts_as_missing() {
    let disk = disk(7);
    let mut node = start(&disk, SyncMode::Data);
    assert!(node.begin_leadership_term());
    for entry in 0..20 {
        assert!(node.append(REQUEST, 900, entry));
    }
    node.drain();
    let mark = mark_of(&node);
    let (_, whole) = recover_with(&mut disk.fork(), &mark).unwrap();
    let mut at = checkpoints(&node.model)[10];
    let whole_origin = origin(&whole, Checkpoint::ZERO, at);
    let (_, found) = recover_from(&mut disk.fork(), &mark, &whole_origin).unwrap();
    assert_eq!(found.missing_from, None);
    at.hash ^= 1;
    let other = origin(&whole, Checkpoint::ZERO, at);
    let (_, found) = recover_from(&mut disk.fork(), &mark, &other).unwrap();
    assert_eq!((found.missing_from, found.start), (Some(0), at));
}

#[test]
fn a_log_of_other_leadership_terms_below_the_snapshot_counts_as_missing() {
    let disk = disk(7);
    let node = several_terms(&disk, SyncMode::Data);
    let mark = mark_of(&node);
    let (_, whole) = recover_with(&mut disk.fork(), &mark).unwrap();
    let ends = checkpoints(&node.model);
    // Within the newest two terms of the log buffer below the snapshot, which are read.
    let base = whole.terms[2].base;
    let at = ends.iter().find(|end| end.position > base + 20_000);
    let known = origin(&whole, Checkpoint::ZERO, *at.unwrap());
    let newest = geometry().term_start(known.position()) - TERM_LENGTH as Position;
    assert!(0 < newest && newest < base && known.terms.len() == 3);
    let missing_from = |known: &LogOrigin| {
        let (_, found) = recover_from(&mut disk.fork(), &mark, known).unwrap();
        let is_at_snapshot = found.start == known.checkpoint;
        assert_eq!(found.missing_from.is_some(), is_at_snapshot);
        found.missing_from
    };
    assert_eq!(missing_from(&known), None);
    type Spoil = fn(&mut LogOrigin);
    let spoils: [(&str, Spoil); 4] = [
        ("its id", |other| other.terms[2].id ^= 1),
        ("where it begins", |other| other.terms[2].base -= 32),
        ("its number", |other| other.terms[2].term = 9.into()),
        ("that it is there", |other| other.terms.truncate(2)),
    ];
    for (what, spoil) in spoils {
        let mut other = known.clone();
        spoil(&mut other);
        assert_eq!(missing_from(&other), Some(0), "{what}");
    }
}

#[test]
fn a_log_below_the_snapshot_may_be_read_from_the_end_of_a_pad_that_begins_a_leadership_term() {
    let disk = disk(9);
    let mut node = start(&disk, SyncMode::Data);
    assert!(node.begin_leadership_term());
    let pad = TERM_LENGTH as Position - 64;
    while node.append_position() < pad {
        let left = (pad - node.append_position()) as usize;
        let length = left.min(if left < 2112 { 1056 } else { 1024 }) - 32;
        assert!(node.append(REQUEST, length, 5));
        node.wait();
    }
    assert!(node.begin_leadership_term());
    while node.append_position() < 2 * TERM_LENGTH as Position + 9000 {
        while !node.append(REQUEST, 1000, 6) {
            node.wait();
        }
        node.wait();
    }
    node.drain();
    let mark = mark_of(&node);
    let (_, whole) = recover_with(&mut disk.fork(), &mark).unwrap();
    assert_eq!((whole.terms.len(), whole.terms[1].base), (2, pad));
    let ends = checkpoints(&node.model);
    let behind = ends.iter().find(|end| end.position == pad + 64).unwrap();
    for log_start in [Checkpoint::ZERO, *behind] {
        let origin = origin(&whole, log_start, ends[ends.len() - 3]);
        let (_, found) = recover_from(&mut disk.fork(), &mark, &origin).unwrap();
        assert_eq!((found.missing_from, found.start), (None, log_start));
    }
}

#[test]
fn what_only_the_log_buffer_has_below_the_snapshot_is_on_disk_after_a_start() {
    let header = HostMemory::allocate(LOG_MEMORY_HEADER).unwrap();
    let terms = HostMemory::allocate(LogMemory::terms_length(TERM_LENGTH)).unwrap();
    let owner = LogMemoryOwner {
        term_length: TERM_LENGTH,
        directory: 1,
        boot_id: 2,
        incarnation: 3,
    };
    let memory = LogMemory::new(header.map(), terms.map());
    let (mut log, mut cursors) = memory.begin(&owner, geometry(), MTU, 0);
    let mut appender = ExclusiveAppender::new(geometry(), SESSION_ID, 100, MTU, 0);
    let mut model = Vec::new();
    for entry in 0..90_u8 {
        let mut body = vec![entry; 1000];
        body[0] = if entry == 0 {
            NEW_LEADERSHIP_TERM
        } else {
            REQUEST
        };
        let from = model.len() as Position;
        let seal = &mut FrameSeal::new(1);
        let offer = appender.offer(&mut log, 1 << 20, &[&body], seal);
        let Offer::Accepted(end) = offer else {
            panic!("{offer:?}");
        };
        let mut position = from;
        while position < end {
            let term_end = geometry().term_start(position) + TERM_LENGTH as Position;
            let length = (end.min(term_end) - position) as usize;
            model.extend_from_slice(log.bytes(position, length));
            position += length as Position;
        }
    }
    cursors.set_end(model.len() as Position);
    drop((log, cursors));
    let ends = checkpoints(&model);
    let written = ends[40].position as usize;
    let term = lockstep_archive::log::recovery::RecoveredTerm {
        term: LeadershipTermId::new(1),
        base: 0,
        id: 1,
        chain: 0,
    };
    for at in [ends[30], ends[40], ends[70], ends[ends.len() - 1]] {
        let mut disk = disk(8);
        let file = disk.create("0-0.rec", SEGMENT_LENGTH as u64).unwrap();
        disk.write(file, 0, &model[..written]).unwrap();
        let memory = LogMemory::new(header.map(), terms.map());
        let left = memory.left(&owner).unwrap();
        let origin = LogOrigin {
            checkpoint: at,
            terms: vec![term],
            ..LogOrigin::default()
        };
        let known = known(AckRecord::default());
        let shape = (&catalog(), &origin);
        let found = recover(&mut disk, &known, Some(&left), shape, meaning_of).unwrap();
        assert_eq!(found.end, model.len() as Position);
        assert_eq!((found.lost, found.missing_from), (None, None));
        assert_eq!(found.chain.hash(), ends[ends.len() - 1].hash);
        assert_eq!(stored_bytes(&disk, found.end), model, "{at:?}");
    }
}
