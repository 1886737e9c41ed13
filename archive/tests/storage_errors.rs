//! What a log does when its storage fails: space that is missing is waited for, everything else
//! is final, named with the file and the operating system's words (`reliability.md` D4, D10).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::recorder::SyncMode;
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
