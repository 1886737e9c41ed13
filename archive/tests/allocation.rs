//! Recording on a real disk allocates nothing once it runs
//! (`ARCHITECTURE.md` "Invariants, as absences").

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_archive::disk::Disk;
use lockstep_archive::log::budget::DiskBudget;
use lockstep_archive::log::recorder::{Recorder, RecorderConfig, SyncMode};
use lockstep_archive::log::segment::SegmentTable;
use lockstep_archive::storage::open;
use lockstep_transport::allocations::{CountingAllocator, count_of_thread};
use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::log_buffer::{ExclusiveAppender, LogBuffer, Offer};
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::setting::IoChoice;

const TERM_LENGTH: usize = 1 << 20;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn record(choice: IoChoice, sync: SyncMode) {
    let directory = tempfile::tempdir().unwrap();
    let Ok((mut disk, sentence)) = open(directory.path(), choice, &[]) else {
        eprintln!("NOT TESTED: {choice:?} is refused here");
        return;
    };
    let geometry = Geometry::new(0, TERM_LENGTH).unwrap();
    let mut log = LogBuffer::allocate(geometry, 1408).unwrap();
    let config = RecorderConfig {
        geometry,
        sync,
        budget: DiskBudget { bytes: 1 << 30 },
    };
    let segments = SegmentTable::new(16 * TERM_LENGTH);
    let mut recorder = Recorder::open(disk.files(), config, segments, 0, 0).unwrap();
    let mut appender = ExclusiveAppender::new(geometry, 1, 100, 1408, 0);
    let mut now = 0;
    let mut before = 0;
    while appender.position() < 2 * TERM_LENGTH as Position {
        // Taking over a prepared segment allocates its entry: once per segment, not counted.
        let is_warm = appender.position() > TERM_LENGTH as Position / 2;
        if is_warm && before == 0 && recorder.segments().count() == 2 {
            before = count_of_thread();
        }
        let is_waiting = is_warm && before == 0;
        let limit = recorder.written()
            + if is_waiting {
                0
            } else {
                TERM_LENGTH as Position
            };
        let seal = &mut FrameSeal::new(1);
        let offer = appender.offer(&mut log, limit, &[&[7; 1000]], seal);
        assert!(matches!(offer, Offer::Accepted(_) | Offer::BackPressured));
        log.clean_ahead(appender.position(), 4096);
        while let Some(completion) = disk.poll_completion(now) {
            assert!(recorder.on_completion(&completion));
        }
        recorder.do_work(now, &log, appender.position(), &mut disk);
        disk.flush(now);
        now += 1000;
        std::thread::yield_now();
    }
    let allocations = count_of_thread() - before;
    assert_eq!(recorder.failed(), None);
    assert!(recorder.durable() > TERM_LENGTH as Position);
    assert!(before > 0);
    assert_eq!(allocations, 0, "{sentence}, {sync:?}");
}

#[test]
fn recording_allocates_nothing_in_steady_state() {
    for choice in [IoChoice::Uring, IoChoice::Syscall] {
        for sync in [SyncMode::Data, SyncMode::None] {
            record(choice, sync);
        }
    }
}
