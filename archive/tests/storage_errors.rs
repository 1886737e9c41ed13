//! What a log does when its storage fails: space that is missing is waited for, everything else
//! is final, named with the file and the operating system's words (`rules.md` D4, D10).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::log::recorder::SyncMode;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use recorded_log::{REQUEST, RecordedLog, SEGMENT_LENGTH};

fn start() -> (SimDisk, RecordedLog) {
    let disk = SimDisk::new(SimDiskConfig::default());
    let mut node = RecordedLog::start(&disk, 0, SyncMode::Data, 64 << 20, Vec::new()).unwrap();
    assert!(node.begin_leadership_term());
    (disk, node)
}

#[test]
fn a_segment_that_fails_for_another_reason_than_space_ends_recording_by_name() {
    let (disk, mut node) = start();
    node.drain();
    disk.fail_preparations(1);
    while node.append_position() < SEGMENT_LENGTH as i64 + 4096 && node.recorder.failed().is_none()
    {
        node.append(REQUEST, 1_000, 1);
        node.wait();
    }
    assert!(!node.recorder.is_full(), "an error is not a lack of space");
    let said = node.recorder.failed().expect("it is final").to_string();
    for part in ["sync of the directory of 0-", ".rec", "input/output error"] {
        assert!(said.contains(part), "\"{part}\" is missing in: {said}");
    }
}

#[test]
fn a_failed_write_names_its_file_and_nothing_is_durable_after_it() {
    let (disk, mut node) = start();
    node.drain();
    let durable = node.recorder.durable();
    disk.fail_writes(1);
    assert!(node.append(REQUEST, 1_000, 1));
    for _ in 0..20 {
        node.wait();
    }
    let said = node.recorder.failed().expect("it is final").to_string();
    assert!(said.contains("write of 0-0.rec failed"), "{said}");
    assert_eq!(node.recorder.durable(), durable);
}

#[test]
fn a_budget_is_used_but_for_a_reserve_and_no_segment_of_it_is_wasted() {
    let disk = SimDisk::new(SimDiskConfig::default());
    let budget = 2 * SEGMENT_LENGTH as u64;
    let mut node = RecordedLog::start(&disk, 0, SyncMode::Data, budget, Vec::new()).unwrap();
    assert!(node.begin_leadership_term());
    while !node.recorder.is_full() {
        node.append(REQUEST, 1_000, 1);
        node.wait();
    }
    // Half a segment is kept; one and a half of the two are used.
    let used = node.recorder.written();
    assert!(used >= SEGMENT_LENGTH as i64 * 3 / 2, "full at {used}");
    assert!(
        used <= SEGMENT_LENGTH as i64 * 3 / 2 + 8 * 1024,
        "full at {used}"
    );
    assert!(!node.recorder.has_room(node.append_position(), 0));
}

#[test]
fn what_was_promised_to_effects_is_not_given_away() {
    let (disk, mut node) = start();
    node.drain();
    disk.set_capacity(0);
    let (reserve, mut looks) = (SEGMENT_LENGTH as u64 / 2, 0);
    while !node.recorder.is_full() {
        node.append(REQUEST, 1_000, 1);
        node.wait();
        let append = node.append_position();
        // As long as a further segment may be had, as much as one likes may be promised.
        if node.recorder.has_room(append, u64::MAX) {
            continue;
        }
        let ready = (node.recorder.segments().count() * SEGMENT_LENGTH) as u64 - append as u64;
        if let Some(free) = ready.checked_sub(reserve) {
            assert!(node.recorder.has_room(append, free));
            assert!(!node.recorder.has_room(append, free + 1), "promised twice");
            looks += 1;
        }
    }
    assert!(looks > 10, "{looks} looks");
}

#[test]
fn a_log_has_more_segments_than_256_where_its_budget_allows_them() {
    let segments = 300;
    let disk = SimDisk::new(SimDiskConfig {
        capacity_bytes: 1 << 30,
        latency_min_ns: 1_000,
        latency_max_ns: 2_000,
        ..SimDiskConfig::default()
    });
    let budget = segments * SEGMENT_LENGTH as u64;
    let mut node = RecordedLog::start(&disk, 0, SyncMode::None, budget, Vec::new()).unwrap();
    assert!(node.begin_leadership_term());
    let wanted = (segments as i64 - 2) * SEGMENT_LENGTH as i64;
    while node.append_position() < wanted {
        assert!(
            !node.recorder.is_full(),
            "full at {}",
            node.append_position()
        );
        if !node.append(REQUEST, 4_000, 1) {
            node.wait();
        }
        node.cycle();
    }
    assert!(node.recorder.segments().count() > 256);
}
