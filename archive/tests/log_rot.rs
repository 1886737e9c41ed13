//! A bit that flips in a member's log or in one of its small files, and the crash of its process:
//! whatever was acknowledged is either still in the log or known to be lost (`rules.md`
//! D6, D7, W2).
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::disk::{ColdFiles, Disk, DiskError};
use lockstep_archive::files::ack_mark::ACK_MARK_FILE;
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::log::recorder::SyncMode;
use lockstep_archive::log::recovery::{
    Acknowledged, FrameMeaning, LogOrigin, RecoveredLog, recover,
};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::marks::{self, Mark};
use lockstep_transport::position::Position;
use recorded_log::{
    REQUEST, RecordedLog, SEGMENT_LENGTH, catalog, meaning_of, open_mark, recover_log,
};

const BUDGET: u64 = 64 << 20;

fn start(disk: &SimDisk) -> Result<RecordedLog, DiskError> {
    RecordedLog::start(disk, 0, SyncMode::Data, BUDGET, Vec::new())
}

/// A log of which the last `fresh` entries are durable, and may have been acknowledged, although
/// the mark on disk does not cover them: the process dies within 10 ms. Returns where they begin
/// and end.
fn killed_with_a_stale_mark(seed: u64, fresh: usize) -> (SimDisk, Position, Position) {
    let disk = SimDisk::new(SimDiskConfig {
        seed,
        ..SimDiskConfig::default()
    });
    let mut node = start(&disk).unwrap();
    assert!(node.begin_leadership_term());
    for _ in 0..3 {
        assert!(node.append(REQUEST, 700, 0x5A));
    }
    node.drain();
    node.idle();
    let marked = node.ack_mark.position();
    assert_eq!(marked, node.append_position());
    for _ in 0..fresh {
        assert!(node.append(REQUEST, 700, 0xA5));
        node.drain();
    }
    assert_eq!(node.ack_mark.position(), marked);
    let acknowledged = node.recorder.durable();
    disk.kill(seed);
    (disk, marked, acknowledged)
}

/// Bytes of an entry of [`killed_with_a_stale_mark`] in the log.
const ENTRY_LENGTH: Position = 736;

/// What was acknowledged is in the log, or the member knows that it is not.
fn covers(node: &RecordedLog, acknowledged: Position) -> bool {
    let lost = node.recovered.lost.map_or(0, |lost| lost.position);
    node.recovered.end.max(lost) >= acknowledged
        && node.ack_mark.record().lost == node.recovered.lost
}

/// One bit in each place that the log may treat differently: all of every header, and some of
/// every block of payload.
fn places(end: Position) -> impl Iterator<Item = (usize, u32)> {
    let length = end as usize;
    let is_sampled = |at: &usize| at % 736 < 40 || at.is_multiple_of(97);
    (0..length)
        .filter(is_sampled)
        .map(|at| (at, (at % 8) as u32))
}

#[test]
fn a_flipped_bit_anywhere_and_a_crash_of_the_process_forget_no_acknowledgement() {
    for fresh in [1, 4, 12] {
        let (disk, _, acknowledged) = killed_with_a_stale_mark(1, fresh);
        for (at, bit) in places(acknowledged) {
            let copy = disk.fork();
            assert!(copy.flip_bit("0-0.rec", at, bit));
            let node = start(&copy).unwrap();
            assert!(node.recovered.end <= at as Position);
            assert!(
                covers(&node, acknowledged),
                "{fresh} fresh, byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn a_crash_of_the_process_at_any_step_of_the_start_forgets_nothing_either() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(2, 6);
    for at in [100, marked as usize + 4, acknowledged as usize - 64] {
        for step in 0..32 {
            let copy = disk.fork();
            assert!(copy.flip_bit("0-0.rec", at, 3));
            copy.kill_at_cold_operation(copy.cold_operations() + step);
            let _ = start(&copy);
            copy.restart();
            let node = start(&copy).unwrap();
            assert!(covers(&node, acknowledged), "byte {at}, step {step}");
        }
    }
}

#[test]
fn once_the_raised_mark_is_durable_a_power_cut_forgets_nothing_either() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(3, 6);
    assert!(disk.flip_bit("0-0.rec", marked as usize + 40, 1));
    drop(start(&disk).unwrap());
    for seed in 0..20 {
        let copy = disk.fork();
        copy.crash(seed);
        copy.restart();
        let node = start(&copy).unwrap();
        assert!(covers(&node, acknowledged), "seed {seed}");
        assert!(node.recovered.lost.is_some());
    }
}

#[test]
fn a_crash_at_any_step_of_the_repair_leaves_the_member_knowing_its_loss() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(4, 12);
    assert!(disk.flip_bit("0-0.rec", marked as usize + 40, 1));
    for steps in 0..40 {
        let copy = disk.fork();
        let mut node = start(&copy).unwrap();
        assert_eq!(node.recovered.end, marked);
        node.model = recorded_log::stored_bytes(&copy, marked);
        // A leader of a later term sends what is missing, entry by entry.
        assert!(node.begin_leadership_term());
        for _ in 0..3 {
            assert!(node.append(REQUEST, 700, 0xC3));
        }
        for _ in 0..steps {
            let append = node.append_position();
            let (now, mut handle) = (node.now, node.disk.clone());
            node.recorder.do_work(now, &node.log, append, &mut handle);
            node.now = copy.next_deadline().unwrap_or(node.now);
            while let Some(completion) = handle.poll_completion(node.now) {
                assert!(node.recorder.on_completion(&completion));
            }
        }
        let model = node.model.clone();
        if steps % 2 == 0 {
            copy.kill(steps);
        } else {
            copy.crash(steps);
        }
        copy.restart();
        let again = start(&copy).unwrap();
        // With the first entry of the later leader it has all that was ever committed (L3).
        let is_joined = again.recovered.last_term == LeadershipTermId::new(2);
        assert!(
            is_joined || covers(&again, acknowledged),
            "after {steps} steps"
        );
        let end = again.recovered.end;
        let stored = recorded_log::stored_bytes(&copy, end);
        assert!(model.starts_with(&stored), "after {steps} steps: a splice");
    }
}

#[test]
fn a_zero_page_or_a_missing_segment_above_a_stale_mark_is_damage_after_a_process_crash() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(5, 12);
    let block = (marked as usize + 4096) & !4095;
    assert!(block + 4096 < acknowledged as usize);
    assert!(disk.overwrite("0-0.rec", block, &[0; 4096]));
    let node = start(&disk).unwrap();
    assert!(node.recovered.end <= block as Position && covers(&node, acknowledged));
}

#[test]
fn a_segment_that_is_gone_among_what_is_erased_is_passed_over() {
    let (disk, ..) = killed_with_a_stale_mark(6, 1);
    let mut node = start(&disk).unwrap();
    node.model = recorded_log::stored_bytes(&disk, node.recovered.end);
    let [gone, last] = [2, 3].map(|index| index * SEGMENT_LENGTH as Position);
    while node.append_position() <= last {
        assert!(node.append(REQUEST, 1000, 0x5A));
        node.drain();
    }
    disk.kill(1);
    // The log ends at its first frame now, and behind it a segment is lost.
    assert!(disk.flip_bit("0-0.rec", 4, 1));
    disk.clone().remove(&format!("0-{gone}.rec")).unwrap();
    let mut node = start(&disk).unwrap();
    assert_eq!(node.recovered.end, 0);
    assert!(node.recorder.stale_end() > last);
    let _before = marks::take();
    assert!(node.begin_leadership_term());
    node.drain();
    assert!(marks::take().contains(Mark::StaleSegmentMissing));
    let end = node.append_position();
    assert_eq!(recorded_log::stored_bytes(&disk, end), node.model);
    let last = disk.contents(&format!("0-{last}.rec")).unwrap();
    assert!(last.iter().all(|byte| *byte == 0), "it is not erased");
}

#[test]
fn the_mark_of_a_log_that_waits_for_a_segment_is_on_stable_storage() {
    let disk = SimDisk::new(SimDiskConfig::default());
    // Room for one segment, and more to write than it holds.
    let budget = SEGMENT_LENGTH as u64;
    let mut node = RecordedLog::start(&disk, 0, SyncMode::Data, budget, Vec::new()).unwrap();
    assert!(node.begin_leadership_term());
    while node.append_position() <= SEGMENT_LENGTH as Position {
        assert!(node.append(REQUEST, 1000, 0x5A));
        node.now += 100_000;
        node.cycle();
    }
    for _ in 0..20 {
        node.now += 2_000_000;
        node.cycle();
    }
    let durable = node.recorder.durable();
    assert!(node.recorder.is_full() && node.append_position() > durable);
    let mark = disk.durable_mark().expect("a mark");
    assert_eq!(mark.position, durable);
}

#[test]
fn a_segment_that_is_gone_below_another_one_is_damage_although_no_mark_tells() {
    let (disk, ..) = killed_with_a_stale_mark(6, 1);
    let mut node = start(&disk).unwrap();
    node.model = recorded_log::stored_bytes(&disk, node.recovered.end);
    while node.append_position() <= 2 * SEGMENT_LENGTH as Position {
        assert!(node.append(REQUEST, 1000, 0x5A));
        node.drain();
    }
    let end = node.append_position();
    disk.kill(1);
    disk.clone().remove("0-0.rec").unwrap();
    let boot_id = disk.clone().boot_id();
    let marked = |boot_id| AckRecord {
        boot_id,
        ..AckRecord::default()
    };
    // The mark has rotted; or it is older than all of the log, and only the process has died.
    for (mark, is_mark_lost) in [(marked(None), true), (marked(boot_id), false)] {
        let known = Acknowledged {
            mark,
            is_mark_lost,
            term_max: LeadershipTermId::new(1),
        };
        let mut disk = disk.fork();
        let found = recover(
            &mut disk,
            &known,
            None,
            (&catalog(), &LogOrigin::default()),
            meaning_of,
        )
        .unwrap();
        assert_eq!(found.end, 0);
        let lost = found.lost.map(|lost| (lost.term.get(), lost.position));
        assert_eq!(lost, Some((1, end)), "the mark is lost: {is_mark_lost}");
    }
}

#[test]
fn what_a_missing_segment_held_may_have_been_acknowledged_although_nothing_lies_above() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(6, 3);
    assert!(
        disk.clone()
            .list()
            .unwrap()
            .iter()
            .any(|name| name == "0-131072.rec")
    );
    disk.clone().remove("0-0.rec").unwrap();
    let node = start(&disk).unwrap();
    let lost = node.recovered.lost.expect("damage");
    assert!(
        marked < acknowledged && lost.position >= acknowledged,
        "{lost:?}"
    );
}

#[test]
fn a_power_cut_that_tears_the_write_in_flight_is_no_damage() {
    for seed in 0..300 {
        let disk = SimDisk::new(SimDiskConfig {
            seed,
            ..SimDiskConfig::default()
        });
        let mut node = start(&disk).unwrap();
        assert!(node.begin_leadership_term());
        node.drain();
        for _ in 0..40 {
            assert!(node.append(REQUEST, 900, 0x77));
        }
        node.cycle();
        disk.crash(seed);
        disk.restart();
        let node = start(&disk).unwrap();
        assert_eq!(node.recovered.lost, None, "seed {seed}");
    }
}

#[test]
fn a_truncation_interrupted_at_any_step_is_not_begun_or_completed() {
    for kill in [false, true] {
        for steps in 0..16 {
            let disk = SimDisk::new(SimDiskConfig {
                seed: steps,
                ..SimDiskConfig::default()
            });
            let mut node = start(&disk).unwrap();
            assert!(node.begin_leadership_term());
            assert!(node.append(REQUEST, 1000, 1));
            let cut = node.append_position();
            for _ in 0..120 {
                assert!(node.append(REQUEST, 1000, 2));
                node.wait();
            }
            node.drain();
            let whole = node.append_position();
            let is_done = node.truncate_in(cut, steps as usize);
            if kill {
                disk.kill(steps);
            } else {
                disk.crash(steps);
            }
            disk.restart();
            let again = start(&disk).unwrap();
            let end = again.recovered.end;
            assert!(
                end == cut || (end == whole && !is_done),
                "{steps} steps: {end}"
            );
            assert_eq!(again.recovered.lost, None, "{steps} steps");
            assert_eq!(again.ack_mark.record().truncated_end, 0);
        }
    }
}

/// A copy of the disk in which a slot of a file is spoiled.
fn spoil(disk: &SimDisk, name: &str, slot: usize) -> SimDisk {
    let copy = disk.fork();
    assert!(copy.overwrite(name, slot * 4096, &[0x3C; 4096]));
    copy
}

#[test]
fn the_rot_of_either_slot_of_the_ack_mark_forgets_no_acknowledgement() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(7, 6);
    for slot in 0..2 {
        let rotten = spoil(&disk, ACK_MARK_FILE.name, slot);
        let node = start(&rotten.fork()).unwrap();
        assert_eq!(node.recovered.lost, None);
        assert!(covers(&node, acknowledged), "slot {slot}");
        // And the log rots as well.
        assert!(rotten.flip_bit("0-0.rec", marked as usize - 100, 2));
        let node = start(&rotten).unwrap();
        assert!(covers(&node, acknowledged), "slot {slot}");
    }
}

#[test]
fn intact_frames_out_of_reach_of_one_write_are_damage_even_after_a_power_cut() {
    let disk = SimDisk::new(SimDiskConfig::default());
    let mut node = start(&disk).unwrap();
    assert!(node.begin_leadership_term());
    for _ in 0..400 {
        while !node.append(REQUEST, 1000, 9) {
            node.wait();
        }
        node.wait();
    }
    node.drain();
    let end = node.append_position();
    assert!(disk.flip_bit("0-0.rec", 5000, 0));
    disk.crash(1);
    disk.restart();
    let (_, recovered) = recover_log(&mut disk.clone(), 0).unwrap();
    let lost = recovered.lost.expect("damage");
    assert_eq!((lost.position, lost.term.get()), (end, 1));
}

#[test]
fn what_a_frame_above_the_damage_calls_committed_is_no_torn_tail_even_after_a_power_cut() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(1, 3);
    assert!(disk.flip_bit("0-0.rec", marked as usize + 100, 2));
    disk.crash(1);
    disk.restart();
    // Nothing is known of the mark, and all of it is within the reach of one write.
    let known = Acknowledged {
        mark: AckRecord::default(),
        is_mark_lost: false,
        term_max: LeadershipTermId::new(1),
    };
    // No more than was committed, whatever else lies there, and no more than its leader had.
    let (last, before) = (acknowledged - ENTRY_LENGTH, acknowledged - 2 * ENTRY_LENGTH);
    for (committed, expected) in [
        (0, None),
        (-1, None),
        (before, Some((1, before))),
        (last, Some((1, last))),
        (acknowledged, Some((1, last))),
        (Position::MAX, Some((1, last))),
    ] {
        let saying = |frame: &[u8]| FrameMeaning {
            leader_commit: committed,
            ..meaning_of(frame)
        };
        // Another disk with the same bytes: a recovery erases a torn tail.
        let mut disk = disk.fork();
        let found = recover(
            &mut disk,
            &known,
            None,
            (&catalog(), &LogOrigin::default()),
            saying,
        )
        .unwrap();
        assert_eq!(found.end, marked);
        let lost = found.lost.map(|lost| (lost.term.get(), lost.position));
        assert_eq!(lost, expected);
    }
}

/// A start by a member whose leader says, in every frame, that so much was `committed`; `None`
/// where the process ends in it.
fn start_of_committed(disk: &SimDisk, committed: Position) -> Option<RecoveredLog> {
    let mut disk = disk.clone();
    let mut mark = open_mark(&mut disk).ok()?;
    let known = Acknowledged {
        mark: mark.record(),
        is_mark_lost: false,
        term_max: LeadershipTermId::new(1),
    };
    let saying = |frame: &[u8]| FrameMeaning {
        leader_commit: committed,
        ..meaning_of(frame)
    };
    let found = recover(
        &mut disk,
        &known,
        None,
        (&catalog(), &LogOrigin::default()),
        saying,
    )
    .ok()?;
    let of_run = (found.commit, false);
    found.raise_mark(&mut disk, &mut mark, of_run).ok()?;
    Some(found)
}

#[test]
fn a_torn_tail_that_proves_a_loss_is_cut_and_no_later_start_in_that_run_finds_more() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(1, 3);
    assert!(disk.flip_bit("0-0.rec", marked as usize + 100, 2));
    disk.crash(1);
    disk.restart();
    let committed = acknowledged - ENTRY_LENGTH;
    for step in 0..12 {
        let disk = disk.fork();
        disk.kill_at_cold_operation(disk.cold_operations() + step);
        let _ = start_of_committed(&disk, committed);
        disk.restart();
        for _ in 0..2 {
            let found = start_of_committed(&disk, committed).expect("a start to its end");
            let lost = found.lost.map(|lost| (lost.term.get(), lost.position));
            assert_eq!(
                (found.end, lost),
                (marked, Some((1, committed))),
                "step {step}"
            );
            assert_eq!(found.stale_end, marked, "step {step}");
        }
    }
}

/// Seed 8540002108 of the node tank: what the next start in that run of the host takes for
/// acknowledged, the first one did not.
#[test]
fn what_a_torn_write_of_a_repair_leaves_all_later_starts_take_for_lost() {
    let (disk, marked, acknowledged) = killed_with_a_stale_mark(1, 3);
    assert!(disk.flip_bit("0-0.rec", marked as usize + 100, 2));
    let torn = disk.contents("0-0.rec").unwrap();
    disk.crash(1);
    disk.restart();
    let committed = acknowledged - ENTRY_LENGTH;
    let found = start_of_committed(&disk, committed).expect("a start to its end");
    assert_eq!(found.lost.map(|lost| lost.position), Some(committed));
    // The repair writes all of it, and the power goes before the first block is there.
    assert!(disk.overwrite("0-0.rec", 0, &torn));
    disk.crash(2);
    disk.restart();
    for step in 0..12 {
        let disk = disk.fork();
        disk.kill_at_cold_operation(disk.cold_operations() + step);
        let _ = start_of_committed(&disk, 0);
        disk.restart();
        for _ in 0..2 {
            let found = start_of_committed(&disk, 0).expect("a start to its end");
            let lost = found.lost.map(|lost| lost.position);
            assert_eq!(
                (found.end, lost),
                (marked, Some(acknowledged)),
                "step {step}"
            );
        }
    }
}

#[test]
fn what_a_torn_tail_proves_to_be_committed_is_of_the_term_that_it_has_there() {
    let disk = SimDisk::new(SimDiskConfig::default());
    let mut node = start(&disk).unwrap();
    assert!(node.begin_leadership_term());
    node.drain();
    let end = node.append_position();
    for _ in 0..2 {
        assert!(node.append(REQUEST, 700, 0x5A));
    }
    assert!(node.begin_leadership_term());
    let second = node.append_position();
    for _ in 0..3 {
        assert!(node.append(REQUEST, 700, 0xA5));
    }
    node.drain();
    // As if one write had been torn, with all of this in it.
    assert!(disk.flip_bit("0-0.rec", end as usize + 100, 2));
    disk.crash(1);
    disk.restart();
    for (committed, term) in [(end + ENTRY_LENGTH, 0), (second + ENTRY_LENGTH, 2)] {
        let found = start_of_committed(&disk.fork(), committed).expect("a start to its end");
        let lost = found.lost.expect("a loss");
        assert_eq!((lost.position, lost.term.get()), (committed, term.max(1)));
    }
}
