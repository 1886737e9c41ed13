//! A disk in two ends is a disk: simulated, with the far end on the same thread, and real, with the
//! far end on another.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod conformance;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use conformance::{Driver, Write, conforms, pattern, sim};
use lockstep_archive::disk::{Busy, ColdFiles, Completion, Disk, DiskOp, Durability, FileId};
use lockstep_archive::queued_disk::{Desk, DiskRunner, Engine, QueuedDisk, queued_disk};
use lockstep_archive::sim::{SimDisk, WholeDisk};
use lockstep_archive::slow_disk::SlowDisk;
use lockstep_archive::storage::{NodeDirectory, NodeDisk, StorageError, StorageRunner, open};
use lockstep_transport::agent::{Agent, AgentThread, IdleStrategy, WakeSources, spawn};
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::setting::IoChoice;
use lockstep_transport::time::Nanos;

/// Both ends of a disk on one thread: the far end has its turn once per cycle of the near one.
struct InTwo<K: Desk, E: Engine> {
    near: QueuedDisk<K>,
    far: DiskRunner<E>,
}

impl<K: Desk, E: Engine> Disk for InTwo<K, E> {
    type Files = K::Files;

    fn files(&mut self) -> &mut K::Files {
        self.near.files()
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        self.near.submit(now, operation)
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        self.near.poll_completion(now)
    }

    fn flush(&mut self, now: Nanos) {
        self.near.flush(now);
        self.far.do_work(now);
    }
}

/// A synced write of the block of that index, which is also its token. It has its memory to itself.
fn write_of(file: FileId, index: u64) -> DiskOp {
    DiskOp::Write {
        token: index,
        file,
        offset: index * 4096,
        block: pattern(4096).kernel_block(0, 4096),
        durability: Durability::Synced,
    }
}

fn sim_in_two(disk: &SimDisk) -> InTwo<WholeDisk<SimDisk>, WholeDisk<SimDisk>> {
    let (near, far) = queued_disk(WholeDisk(disk.clone()), WholeDisk(disk.clone()));
    InTwo { near, far }
}

#[test]
fn a_simulated_disk_in_two_ends_conforms() {
    conforms(sim_in_two(&sim()));
    conforms(SlowDisk::new(sim_in_two(&sim()), 3_000_000));
}

#[test]
fn faults_of_the_far_end_come_back_by_name() {
    let disk = sim();
    let mut driver = Driver {
        disk: sim_in_two(&disk),
        now: 0,
    };
    let file = driver.disk.files().create("hot.dat", 4096).unwrap();
    let buffer = pattern(4096);
    let write = Write {
        buffer: &buffer,
        start: 0,
        length: 4096,
        offset: 0,
        durability: Durability::Synced,
    };
    disk.fail_writes(1);
    disk.fail_reads(1);
    let target = AtomicBuffer::allocate(4096).unwrap();
    let failed = [
        driver.write(1, file, &write),
        driver.read(2, file, 0, &target),
    ];
    for (completion, operation) in failed.into_iter().zip(["write", "read"]) {
        let said = completion.result.unwrap_err().to_string();
        assert!(
            said.contains(operation) && said.contains("hot.dat"),
            "{said}"
        );
    }
    assert_eq!(driver.write(3, file, &write).result, Ok(file));
}

/// A far end as a thread drives it.
struct Far(StorageRunner);

impl Agent for Far {
    fn role_name(&self) -> &'static str {
        "far"
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        self.0.do_work(now)
    }

    fn next_deadline(&self, _now: Nanos) -> Option<Nanos> {
        self.0.next_deadline()
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.0.name_wake_sources(sources);
    }

    fn has_ended(&self) -> bool {
        self.0.has_ended()
    }
}

fn on_a_thread(
    directory: &std::path::Path,
    choice: IoChoice,
    idle: IdleStrategy,
) -> Option<(NodeDisk, AgentThread<Far>)> {
    let Ok((disk, _)) = open(directory, choice, &[]) else {
        eprintln!("NOT TESTED: {choice:?} in two ends, because it is refused here");
        return None;
    };
    let (near, far) = disk.on_a_thread();
    let stop = Arc::new(AtomicBool::new(false));
    let thread = spawn(Far(far), idle, None, stop, monotonic_now).unwrap();
    Some((near, thread))
}

#[test]
fn a_real_disk_whose_far_end_has_a_thread_conforms_however_that_idles() {
    for choice in [IoChoice::Uring, IoChoice::Syscall] {
        for idle in [IdleStrategy::Yield, IdleStrategy::Adaptive] {
            let directory = tempfile::tempdir().unwrap();
            if let Some((near, thread)) = on_a_thread(directory.path(), choice, idle) {
                conforms(near);
                // It goes by itself, now that nobody orders any more.
                let far = thread.join().unwrap();
                assert!(far.0.has_ended() && far.0.system_calls() > 0);
            }
        }
    }
}

#[test]
fn the_near_end_of_a_real_disk_tells_the_calls_that_its_far_end_makes() {
    for choice in [IoChoice::Uring, IoChoice::Syscall] {
        let directory = tempfile::tempdir().unwrap();
        let Ok((disk, _)) = open(directory.path(), choice, &[]) else {
            continue;
        };
        let (mut near, mut far) = disk.on_a_thread();
        let file = near.files().create("a.dat", 4096).unwrap();
        near.submit(0, write_of(file, 0)).unwrap();
        assert_eq!(near.system_calls(), 0, "the far end makes them");
        while near.poll_completion(0).is_none() {
            far.do_work(0);
        }
        assert!(near.system_calls() > 0);
        assert_eq!(near.system_calls(), far.system_calls());
    }
}

#[test]
fn a_near_end_that_goes_while_writes_are_under_way_leaves_them_whole() {
    for choice in [IoChoice::Uring, IoChoice::Syscall] {
        let directory = tempfile::tempdir().unwrap();
        let idle = IdleStrategy::Adaptive;
        let Some((mut near, thread)) = on_a_thread(directory.path(), choice, idle) else {
            continue;
        };
        let file = near.files().create("a.dat", 32 * 4096).unwrap();
        for index in 0..32 {
            // The near end's side of the memory is gone before the write is made.
            near.submit(0, write_of(file, index)).unwrap();
        }
        drop(near);
        thread.join().unwrap();
        let written = std::fs::read(directory.path().join("a.dat")).unwrap();
        let expected = pattern(4096);
        for block in written.chunks(4096) {
            assert_eq!(block, expected.bytes(0, 4096), "{choice:?}");
        }
    }
}

#[test]
fn a_disk_that_was_used_stays_on_its_thread() {
    for choice in [IoChoice::Uring, IoChoice::Syscall] {
        let directory = tempfile::tempdir().unwrap();
        let Ok((mut disk, _)) = open(directory.path(), choice, &[]) else {
            continue;
        };
        let file = disk.files().create("a.dat", 4096).unwrap();
        disk.submit(0, write_of(file, 0)).unwrap();
        let parted = std::panic::AssertUnwindSafe(|| disk.on_a_thread());
        assert!(std::panic::catch_unwind(parted).is_err(), "{choice:?}");
    }
}

#[test]
fn a_directory_is_in_use_until_the_far_end_has_done_what_was_ordered() {
    for choice in [IoChoice::Uring, IoChoice::Syscall] {
        let directory = tempfile::tempdir().unwrap();
        let Ok((disk, _)) = open(directory.path(), choice, &[]) else {
            continue;
        };
        let (mut near, mut far) = disk.on_a_thread();
        let file = near.files().create("a.dat", 4096).unwrap();
        near.submit(0, write_of(file, 0)).unwrap();
        drop(near);
        let second = NodeDirectory::open(directory.path(), &[]);
        assert!(matches!(second, Err(StorageError::InUse { .. })));
        while !far.has_ended() {
            far.do_work(0);
        }
        NodeDirectory::open(directory.path(), &[]).unwrap();
    }
}
