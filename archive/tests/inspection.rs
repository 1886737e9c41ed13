//! Whoever only looks at a log finds what a start would find, and changes nothing: whatever has
//! happened to it.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use core::ops::ControlFlow;

use lockstep_archive::files::ack_mark::{ACK_MARK_FILE, AckMark};
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::files::slot_file::Opened;
use lockstep_archive::log::recorder::SyncMode;
use lockstep_archive::log::recovery::inspection::{InspectedLog, Inspection};
use lockstep_archive::log::recovery::{Acknowledged, LogFrame, LogOrigin, recover};
use lockstep_archive::sim::SimDisk;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use recorded_log::{
    REQUEST, SEGMENT_LENGTH, TERM_LENGTH, TERM_MAX, catalog, disk, meaning_of, recorded, start,
};

/// What the directory's files say besides the log.
fn known(disk: &mut SimDisk) -> Acknowledged {
    let mark = match AckMark::look(disk).unwrap() {
        Opened::Record(mark) => Some(mark),
        _ => None,
    };
    Acknowledged {
        mark: mark.unwrap_or_default(),
        is_mark_lost: mark.is_none(),
        term_max: LeadershipTermId::new(TERM_MAX),
    }
}

fn inspect(disk: &mut SimDisk, known: &Acknowledged) -> InspectedLog {
    let mut inspection =
        Inspection::begin(disk, known, (&catalog(), &LogOrigin::default()), None).unwrap();
    let mut seen = 0;
    let observe = |frame: LogFrame<'_>| {
        assert!(frame.position >= seen);
        seen = frame.position + 32;
        ControlFlow::Continue(())
    };
    inspection.accept(disk, &meaning_of, observe).unwrap();
    inspection.conclude(disk, known, &meaning_of).unwrap()
}

/// Looks, then starts, and compares.
#[track_caller]
fn expect_same(disk: &SimDisk) -> InspectedLog {
    let mut copy = disk.fork();
    let known = known(&mut copy);
    let before = (copy.cold_operations(), copy.backup());
    let looked = inspect(&mut copy, &known);
    assert!(
        (copy.cold_operations(), copy.backup()) == before,
        "it was changed"
    );
    let found = recover(
        &mut copy,
        &known,
        None,
        (&catalog(), &LogOrigin::default()),
        meaning_of,
    )
    .unwrap();
    assert_eq!(
        (looked.end, looked.last_term, looked.commit, looked.lost),
        (found.end, found.last_term, found.commit, found.lost)
    );
    assert_eq!(looked.terms, found.terms);
    assert_eq!(looked.chain, found.chain.hash());
    looked
}

#[test]
fn whatever_has_rotted_a_look_finds_what_a_start_finds() {
    let (disk, model, mark) = recorded(1, 300);
    assert_eq!(expect_same(&disk).lost, None);
    for at in (0..model.len()).step_by(model.len() / 37) {
        let copy = disk.fork();
        let (segment, offset) = (at / SEGMENT_LENGTH * SEGMENT_LENGTH, at % SEGMENT_LENGTH);
        assert!(copy.flip_bit(&format!("0-{segment}.rec"), offset, 3));
        let looked = expect_same(&copy);
        let lost = looked.lost.expect("it was acknowledged");
        assert!(
            looked.end <= at as Position && lost.position >= mark,
            "{at}"
        );
        if at + 2048 < model.len() {
            let next = looked.next_intact.expect("the log goes on above");
            assert!(
                next > at as Position && next < at as Position + 2048,
                "{at}"
            );
        }
    }
    disk.lose("0-0.rec");
    let looked = expect_same(&disk);
    assert_eq!(
        (looked.end, looked.next_intact),
        (0, Some(SEGMENT_LENGTH as Position))
    );
}

#[test]
fn a_torn_tail_a_lost_mark_and_a_log_that_lost_its_end_are_seen_as_a_start_sees_them() {
    for seed in 0..40 {
        let disk = disk(seed);
        let mut node = start(&disk, SyncMode::Data);
        assert!(node.begin_leadership_term());
        for entry in 0..100 {
            while !node.append(REQUEST, 900, entry) {
                node.wait();
            }
            node.cycle();
        }
        drop(node);
        disk.crash(seed);
        disk.restart();
        let looked = expect_same(&disk);
        assert_eq!(looked.lost, None, "seed {seed}");
        disk.lose(ACK_MARK_FILE.name);
        expect_same(&disk);
    }
    let (disk, model, _) = recorded(5, 300);
    let last = (model.len() - 1) / SEGMENT_LENGTH * SEGMENT_LENGTH;
    let zeros = vec![0; SEGMENT_LENGTH];
    assert!(disk.overwrite(&format!("0-{last}.rec"), 0, &zeros));
    let looked = expect_same(&disk);
    let lost = looked.lost.expect("it was acknowledged");
    assert_eq!(
        (looked.end, looked.extent),
        (last as Position, last as Position)
    );
    assert_eq!(lost.position, model.len() as Position);
}

#[test]
fn a_cut_that_a_crash_interrupted_is_seen_as_a_start_sees_it() {
    let mut unfinished = 0;
    for steps in 0..16 {
        let disk = disk(9);
        let mut node = start(&disk, SyncMode::Data);
        assert!(node.begin_leadership_term());
        for entry in 0..200 {
            while !node.append(REQUEST, 900, entry) {
                node.wait();
            }
            node.cycle();
        }
        node.drain();
        let cut = node.boundaries[node.boundaries.len() / 2];
        node.truncate_in(cut, steps);
        drop(node);
        disk.kill(steps as u64);
        let mark = known(&mut disk.clone()).mark;
        unfinished += u32::from(mark.truncated_end > cut);
        let looked = expect_same(&disk);
        assert!(
            looked.end == cut || mark.truncated_end == 0,
            "{steps} steps"
        );
    }
    assert!(unfinished > 2, "{unfinished} cuts were interrupted");
}

#[test]
fn a_log_is_read_from_the_beginning_of_any_of_its_terms_and_goes_on_above_damage() {
    let (mut disk, model, _) = recorded(7, 300);
    let known = known(&mut disk);
    let frames = |disk: &mut SimDisk, inspection: &mut Inspection<'_>| {
        let mut found = Vec::new();
        let observe = |frame: LogFrame<'_>| {
            found.push(frame.position);
            ControlFlow::Continue(())
        };
        inspection.accept(disk, &meaning_of, observe).unwrap();
        found
    };
    let mut inspection =
        Inspection::begin(&mut disk, &known, (&catalog(), &LogOrigin::default()), None).unwrap();
    let all = frames(&mut disk, &mut inspection);
    assert_eq!(inspection.end(), model.len() as Position);
    for term in (0..model.len()).step_by(TERM_LENGTH) {
        let mut inspection =
            Inspection::begin(&mut disk, &known, (&catalog(), &LogOrigin::default()), None)
                .unwrap();
        inspection.join_at(term as Position);
        let above: Vec<Position> = all
            .iter()
            .copied()
            .filter(|at| *at >= term as i64)
            .collect();
        assert_eq!(frames(&mut disk, &mut inspection), above);
    }
    let damaged = all[all.len() / 2];
    let segment = damaged as usize / SEGMENT_LENGTH * SEGMENT_LENGTH;
    let name = format!("0-{segment}.rec");
    assert!(disk.flip_bit(&name, damaged as usize - segment + 40, 1));
    let mut inspection =
        Inspection::begin(&mut disk, &known, (&catalog(), &LogOrigin::default()), None).unwrap();
    let below = frames(&mut disk, &mut inspection);
    assert_eq!(inspection.end(), damaged);
    let next = inspection
        .next_intact(&mut disk, known.mark.position)
        .unwrap()
        .unwrap();
    inspection.join_at(next);
    let above = frames(&mut disk, &mut inspection);
    assert_eq!(below.len() + 1 + above.len(), all.len());
    // Seen enough after one.
    let mut inspection =
        Inspection::begin(&mut disk, &known, (&catalog(), &LogOrigin::default()), None).unwrap();
    let enough = inspection.accept(&mut disk, &meaning_of, |_| ControlFlow::Break(()));
    assert_eq!((enough, inspection.end()), (Ok(()), all[1]));
}

#[test]
fn a_log_that_goes_on_meanwhile_is_followed_from_where_it_was_left() {
    let disk = disk(3);
    let mut node = start(&disk, SyncMode::Data);
    assert!(node.begin_leadership_term());
    node.drain();
    let mut handle = disk.clone();
    let known = Acknowledged {
        mark: AckRecord::default(),
        is_mark_lost: false,
        term_max: LeadershipTermId::new(TERM_MAX),
    };
    let mut inspection = Inspection::begin(
        &mut handle,
        &known,
        (&catalog(), &LogOrigin::default()),
        None,
    )
    .unwrap();
    for entry in 0..300 {
        while !node.append(REQUEST, 900, entry as u8) {
            node.wait();
        }
        node.drain();
        if entry % 29 == 0 {
            let mark = node.append_position();
            inspection.look_again(&mut handle, mark).unwrap();
            let all = |_: LogFrame<'_>| ControlFlow::Continue(());
            inspection.accept(&mut handle, &meaning_of, all).unwrap();
            assert_eq!(inspection.end(), node.append_position());
        }
    }
    assert_eq!(inspection.as_it_stands().lost, None);
}
