//! Recording on a real disk allocates nothing once it runs
//! (`ARCHITECTURE.md` "Invariants, as absences"), nor does what carries its writes out on another
//! thread; nor does writing and reading a snapshot's file.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_archive::disk::{Disk, SegmentName};
use lockstep_archive::log::budget::DiskBudget;
use lockstep_archive::log::recorder::{Recorder, RecorderConfig, SyncMode};
use lockstep_archive::log::segment::SegmentTable;
use lockstep_archive::snapshot_file::reader::{SnapshotFileReader, SnapshotRead};
use lockstep_archive::snapshot_file::writer::{SnapshotFileState, SnapshotFileWriter};
use lockstep_archive::storage::{NodeDisk, StorageRunner, open};
use lockstep_transport::agent::{Agent, AgentThread, IdleStrategy, WakeSources, spawn};
use lockstep_transport::allocations::{CountingAllocator, count_of_thread};
use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::log_buffer::{ExclusiveAppender, LogBuffer, Offer};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::setting::IoChoice;
use lockstep_transport::time::Nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TERM_LENGTH: usize = 1 << 20;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A far end that says what its thread has allocated.
struct Far {
    runner: StorageRunner,
    allocations: Arc<AtomicU64>,
}

impl Agent for Far {
    fn role_name(&self) -> &'static str {
        "far"
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        let work = self.runner.do_work(now);
        self.allocations.store(count_of_thread(), Ordering::Relaxed);
        work
    }

    fn next_deadline(&self, _now: Nanos) -> Option<Nanos> {
        self.runner.next_deadline()
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.runner.name_wake_sources(sources);
    }
}

fn on_a_thread(disk: NodeDisk) -> (NodeDisk, Arc<AtomicU64>, AgentThread<Far>) {
    let (near, runner) = disk.on_a_thread();
    let allocations = Arc::new(AtomicU64::new(0));
    let far = Far {
        runner,
        allocations: Arc::clone(&allocations),
    };
    let (idle, stop) = (IdleStrategy::Adaptive, Arc::new(AtomicBool::new(false)));
    let thread = spawn(far, idle, None, stop, monotonic_now).unwrap();
    (near, allocations, thread)
}

fn record(choice: IoChoice, sync: SyncMode, is_in_two: bool) {
    let directory = tempfile::tempdir().unwrap();
    let Ok((disk, way)) = open(directory.path(), choice, &[]) else {
        eprintln!("NOT TESTED: {choice:?} is refused here");
        return;
    };
    let (mut disk, of_far, _thread) = if is_in_two {
        let (disk, allocations, thread) = on_a_thread(disk);
        (disk, allocations, Some(thread))
    } else {
        (disk, Arc::default(), None)
    };
    let counted = || count_of_thread() + of_far.load(Ordering::Relaxed);
    let geometry = Geometry::new(0, TERM_LENGTH).unwrap();
    let mut log = LogBuffer::allocate(geometry, 1408).unwrap();
    let config = RecorderConfig {
        geometry,
        sync,
        budget: DiskBudget::new(1 << 30),
    };
    let segments = SegmentTable::new(TERM_LENGTH);
    let mut recorder = Recorder::open(disk.files(), config, segments, 0, 0).unwrap();
    let mut appender = ExclusiveAppender::new(geometry, 1, 100, 1408, 0);
    let mut now = 0;
    let mut before = None;
    while appender.position() < 4 * TERM_LENGTH as Position {
        if appender.position() > TERM_LENGTH as Position / 2 {
            before = before.or_else(|| Some((counted(), recorder.segments().count())));
        }
        let limit = recorder.written() + TERM_LENGTH as Position;
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
    let (before, segments) = before.unwrap();
    let allocations = counted() - before;
    assert_eq!(recorder.failed(), None);
    // Segments that were prepared meanwhile are taken over without one as well.
    assert!(recorder.segments().count() >= segments + 2);
    assert!(recorder.durable() > 3 * TERM_LENGTH as Position);
    assert_eq!(allocations, 0, "{way:?}, {sync:?}, in two: {is_in_two}");
}

#[test]
fn recording_allocates_nothing_in_steady_state() {
    for choice in [IoChoice::Uring, IoChoice::Syscall] {
        for sync in [SyncMode::Data, SyncMode::None] {
            for is_in_two in [false, true] {
                record(choice, sync, is_in_two);
            }
        }
    }
}

/// One turn of a snapshot's writer on its disk.
fn turn(writer: &mut SnapshotFileWriter, disk: &mut NodeDisk) {
    writer.do_work(0, disk);
    disk.flush(0);
    while let Some(completion) = disk.poll_completion(0) {
        assert!(writer.on_completion(&completion));
    }
    std::thread::yield_now();
}

#[test]
fn a_snapshot_is_written_and_read_without_an_allocation() {
    for choice in [IoChoice::Uring, IoChoice::Syscall] {
        let directory = tempfile::tempdir().unwrap();
        let Ok((mut disk, way)) = open(directory.path(), choice, &[]) else {
            eprintln!("NOT TESTED: {choice:?} is refused here");
            continue;
        };
        let mut writer = SnapshotFileWriter::new().unwrap();
        writer.begin(SegmentName {
            recording_id: 1,
            position: 640,
        });
        // Taking over the new file allocates its entry.
        while writer.state() == SnapshotFileState::Preparing {
            turn(&mut writer, &mut disk);
        }
        let mut reader = SnapshotFileReader::new(0).unwrap();
        let before = count_of_thread();
        for piece in 0..1000_u32 {
            let bytes = [piece as u8; 1000];
            let mut taken = 0;
            while taken < bytes.len() {
                taken += writer.push(&bytes[taken..]);
                turn(&mut writer, &mut disk);
            }
        }
        writer.finish();
        let length = 1_000_000;
        while writer.state() != (SnapshotFileState::Durable { length }) {
            turn(&mut writer, &mut disk);
        }
        reader.open(writer.file().unwrap(), length);
        let mut piece = 0_u32;
        while piece < 1000 {
            match reader.read(u64::from(piece) * 1000, 1000) {
                SnapshotRead::Bytes(bytes) => {
                    assert!(bytes.iter().all(|byte| *byte == piece as u8));
                    piece += 1;
                }
                SnapshotRead::Pending => {}
                SnapshotRead::Failed => panic!("{:?}", reader.failed()),
            }
            reader.do_work(0, &mut disk);
            disk.flush(0);
            while let Some(completion) = disk.poll_completion(0) {
                assert!(reader.on_completion(&completion));
            }
        }
        assert_eq!(count_of_thread(), before, "{way:?}");
    }
}
