//! Every implementation of the disk port conforms: simulated, io_uring, writer thread, and
//! slow-disk injection around the simulated one.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod conformance;

use conformance::{Driver, conforms, pattern, sim};
use lockstep_archive::disk::{ColdFiles, Disk, DiskOp, Durability, SegmentName};
use lockstep_archive::log::token::{OWNER_RECORDER, TokenSource};
use lockstep_archive::slow_disk::SlowDisk;
use lockstep_archive::storage::{NodeDirectory, StorageError, ThreadDisk, UringDisk, open};
use lockstep_transport::setting::IoChoice;

#[test]
fn the_simulated_disk_conforms() {
    conforms(sim());
}

#[test]
fn a_disk_with_injected_delay_conforms() {
    conforms(SlowDisk::new(sim(), 0));
    conforms(SlowDisk::new(sim(), 3_000_000));
}

#[test]
fn the_writer_thread_conforms() {
    let directory = tempfile::tempdir().unwrap();
    conforms(ThreadDisk::start(NodeDirectory::open(directory.path(), &[]).unwrap()).unwrap());
}

#[test]
fn the_io_uring_disk_conforms() {
    let directory = tempfile::tempdir().unwrap();
    match UringDisk::start(NodeDirectory::open(directory.path(), &[]).unwrap()) {
        Ok(disk) => conforms(disk),
        Err(refused) => eprintln!("NOT TESTED: the io_uring disk, because {}", refused.0),
    }
}

#[test]
fn an_io_uring_disk_moves_to_the_thread_that_uses_it() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, way) = open(directory.path(), IoChoice::Auto, &[]).unwrap();
    let sentence = way.sentence(false);
    assert!(sentence.starts_with("disk: "), "{sentence}");
    std::thread::scope(|scope| {
        scope.spawn(move || conforms(disk)).join().unwrap();
    });
}

#[test]
fn a_memory_file_system_works_and_the_start_line_says_how() {
    for choice in [IoChoice::Auto, IoChoice::Syscall] {
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
            eprintln!("NOT TESTED: a memory file system, because there is none");
            return;
        };
        let (disk, way) = open(directory.path(), choice, &[]).unwrap();
        let sentence = way.sentence(false);
        assert!(sentence.contains("direct"), "{sentence}");
        conforms(disk);
    }
}

#[test]
fn a_second_user_of_a_directory_is_refused_by_name_until_the_first_has_gone() {
    let directory = tempfile::tempdir().unwrap();
    let first = NodeDirectory::open(directory.path(), &[]).unwrap();
    let error = NodeDirectory::open(directory.path(), &[]).unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains(&std::process::id().to_string()),
        "{message}"
    );
    assert!(
        message.contains(&*directory.path().to_string_lossy()),
        "{message}"
    );
    drop(first);
    assert!(NodeDirectory::open(directory.path(), &[]).is_ok());
}

#[test]
fn a_directory_that_is_a_file_is_refused_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, b"x").unwrap();
    for path in [path.clone(), path.join("below")] {
        let error = NodeDirectory::open(&path, &[]).unwrap_err();
        assert!(
            matches!(error, StorageError::NotADirectory { .. }),
            "{error}"
        );
    }
}

#[test]
fn what_a_crash_left_of_a_file_being_made_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("0-0.rec.tmp"), b"half").unwrap();
    let node_directory = NodeDirectory::open(directory.path(), &[]).unwrap();
    let mut disk = ThreadDisk::start(node_directory).unwrap();
    assert_eq!(disk.files().list().unwrap(), ["node.lock"]);
}

#[test]
fn a_full_simulated_device_refuses_by_name_and_takes_again_when_there_is_room() {
    let disk = sim();
    let mut driver = Driver {
        disk: disk.clone(),
        now: 0,
    };
    disk.set_capacity(1 << 20);
    let name = SegmentName {
        recording_id: 0,
        position: 0,
    };
    for (capacity, fits) in [(1 << 20, false), (4 << 20, true)] {
        disk.set_capacity(capacity);
        let operation = DiskOp::Prepare {
            token: 1,
            name,
            length: 2 << 20,
        };
        driver.disk.submit(driver.now, operation).unwrap();
        let result = driver.completion().result;
        assert_eq!(result.is_ok(), fits);
        if let Err(error) = result {
            assert!(error.to_string().contains("0-0.rec"), "{error}");
        }
    }
}

#[test]
fn an_injected_delay_holds_back_writes_and_nothing_else() {
    let mut disk = SlowDisk::new(sim(), 5_000_000);
    let file = disk.files().create("a.dat", 4096).unwrap();
    let buffer = pattern(4096);
    let token = TokenSource::new(OWNER_RECORDER).next_token();
    let write = DiskOp::Write {
        token,
        file,
        offset: 0,
        block: buffer.kernel_block(0, 4096),
        durability: Durability::Synced,
    };
    disk.submit(0, write).unwrap();
    let due = disk.next_deadline().unwrap();
    assert!(disk.poll_completion(due).is_none());
    assert_eq!(disk.next_deadline(), Some(due + 5_000_000));
    assert!(disk.poll_completion(due + 4_999_999).is_none());
    assert_eq!(disk.poll_completion(due + 5_000_000).unwrap().token, token);
}
