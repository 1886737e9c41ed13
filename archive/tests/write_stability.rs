//! No byte changes under a write in flight: the simulated disk compares what it is handed at
//! submission with what is there at completion, for every write of every test and simulation.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::disk::{ColdFiles, Disk, DiskOp, Durability};
use lockstep_archive::log::recorder::SyncMode;
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_transport::concurrent::AtomicBuffer;
use recorded_log::{REQUEST, RecordedLog, stored_bytes};

const BUDGET: u64 = 64 << 20;

fn start(sync: SyncMode) -> (SimDisk, RecordedLog) {
    let disk = SimDisk::new(SimDiskConfig::default());
    let mut node = RecordedLog::start(&disk, 0, sync, BUDGET, Vec::new()).unwrap();
    assert!(node.begin_leadership_term());
    (disk, node)
}

/// Appends `entries` of `length` bytes, several into the tail block of each write in flight.
fn append_during_writes(node: &mut RecordedLog, entries: usize, length: usize) {
    for entry in 0..entries {
        while !node.append(REQUEST, length, entry as u8) {
            node.wait();
        }
        node.now += 7_000;
        node.cycle();
    }
    node.drain();
}

#[test]
fn the_log_grows_into_the_tail_block_of_a_write_in_flight_without_changing_it() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let (disk, mut node) = start(sync);
        for length in [1, 300, 3_000] {
            append_during_writes(&mut node, 400, length);
        }
        let end = node.append_position();
        assert_eq!(node.recorder.durable(), end);
        assert_eq!(stored_bytes(&disk, end), node.model);
    }
}

#[test]
fn a_burst_goes_straight_from_the_pages_and_only_its_tail_is_copied() {
    let (disk, mut node) = start(SyncMode::Data);
    node.drain();
    let before = node.recorder.counters();
    assert!(before.copies > 0);
    // 62 KiB: one write of a copy would be 64 KiB at most, so no entry more fits a copy.
    while node.append_position() < 60 * 1024 {
        assert!(node.append(REQUEST, 1_000, 5));
    }
    node.cycle();
    node.drain();
    let copied = node.recorder.counters();
    assert_eq!(
        (copied.writes, copied.copies),
        (before.writes + 1, before.copies + 1)
    );
    // More than a copy holds: whole blocks from the pages, then the tail.
    let from = node.append_position();
    while node.append_position() < from + 66 * 1024 + 500 {
        while !node.append(REQUEST, 1_000, 6) {
            node.wait();
        }
    }
    node.drain();
    let after = node.recorder.counters();
    assert!(after.writes - copied.writes > after.copies - copied.copies);
    assert_eq!(stored_bytes(&disk, node.append_position()), node.model);
}

#[test]
#[should_panic(expected = "changed while it was in flight")]
fn a_page_that_changes_under_a_write_is_found() {
    let mut disk = SimDisk::new(SimDiskConfig::default());
    let file = disk.create("x.dat", 4096).unwrap();
    let mut page = AtomicBuffer::allocate(4096).unwrap();
    let operation = DiskOp::Write {
        token: 1,
        file,
        offset: 0,
        block: page.kernel_block(0, 4096),
        durability: Durability::Synced,
    };
    disk.submit(0, operation).unwrap();
    page.bytes_mut(17, 1)[0] = 1;
    while disk.poll_completion(1 << 30).is_none() {}
}
