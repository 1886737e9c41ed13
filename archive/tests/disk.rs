//! One conformance suite for every implementation of the disk port: simulated, io_uring,
//! writer thread, and slow-disk injection around the simulated one.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_archive::disk::{
    BLOCK_LENGTH, ColdFiles, Completion, Disk, DiskError, DiskOp, Durability, FileId, SegmentName,
    Token,
};
use lockstep_archive::log::token::{OWNER_RECORDER, TokenSource};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_archive::slow_disk::SlowDisk;
use lockstep_archive::storage::{NodeDirectory, StorageError, ThreadDisk, UringDisk, open};
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::setting::IoChoice;
use lockstep_transport::time::Nanos;

/// Polls before a completion counts as lost; each real poll yields the core.
const POLLS_MAX: usize = 5_000_000;

struct Driver<D> {
    disk: D,
    now: Nanos,
}

impl<D: Disk> Driver<D> {
    fn completion(&mut self) -> Completion {
        for _ in 0..POLLS_MAX {
            self.disk.flush(self.now);
            if let Some(completion) = self.disk.poll_completion(self.now) {
                return completion;
            }
            self.now += 1_000;
            std::thread::yield_now();
        }
        panic!("no completion");
    }

    fn write(&mut self, token: Token, file: FileId, write: &Write<'_>) -> Completion {
        let operation = DiskOp::Write {
            token,
            file,
            offset: write.offset,
            block: write.buffer.kernel_block(write.start, write.length),
            durability: write.durability,
        };
        self.disk.submit(self.now, operation).expect("room");
        self.completion()
    }

    fn read(&mut self, token: Token, file: FileId, offset: u64, into: &AtomicBuffer) -> Completion {
        let block = into.kernel_block(0, into.length());
        let operation = DiskOp::Read {
            token,
            file,
            offset,
            block,
        };
        self.disk.submit(self.now, operation).expect("room");
        self.completion()
    }
}

struct Write<'a> {
    buffer: &'a AtomicBuffer,
    start: usize,
    length: usize,
    offset: u64,
    durability: Durability,
}

fn pattern(length: usize) -> AtomicBuffer {
    let mut buffer = AtomicBuffer::allocate(length).unwrap();
    for (index, byte) in buffer.bytes_mut(0, length).iter_mut().enumerate() {
        *byte = (index / 7) as u8;
    }
    buffer
}

fn conforms<D: Disk>(disk: D) {
    let mut driver = Driver { disk, now: 0 };
    cold_calls(driver.disk.files());
    writes_of_each_durability_are_read_back(&mut driver);
    many_writes_in_flight_complete_once_each(&mut driver);
    a_prepared_segment_is_zeros_and_opens_again(&mut driver);
    a_write_outside_a_direct_block_boundary_works_cached(&mut driver);
}

fn cold_calls(disk: &mut impl ColdFiles) {
    assert!(matches!(
        disk.open("absent"),
        Err(DiskError::Missing { .. })
    ));
    let file = disk.create("small.dat", 3 * BLOCK_LENGTH as u64).unwrap();
    assert_eq!(disk.length(file).unwrap(), 3 * BLOCK_LENGTH as u64);
    disk.write(file, 100, b"abc").unwrap();
    let mut bytes = [9; 5];
    disk.read(file, 99, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0abc\0");
    let again = disk.create("small.dat", 1).unwrap();
    disk.read(again, 99, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0abc\0", "creating an existing file opens it");
    let mut beyond = [0; 16];
    assert!(
        disk.read(file, 3 * BLOCK_LENGTH as u64 - 8, &mut beyond)
            .is_err()
    );
    disk.create("b.dat", 4096).unwrap();
    let names = disk.list().unwrap();
    assert!(names.is_sorted());
    assert!(names.contains(&"b.dat".to_owned()) && names.contains(&"small.dat".to_owned()));
    disk.remove("b.dat").unwrap();
    assert!(!disk.list().unwrap().contains(&"b.dat".to_owned()));
    assert!(matches!(disk.open("b.dat"), Err(DiskError::Missing { .. })));
    assert!(disk.free_bytes().unwrap() > 0);
}

fn writes_of_each_durability_are_read_back<D: Disk>(driver: &mut Driver<D>) {
    let file = driver.disk.files().create("hot.dat", 64 * 4096).unwrap();
    let buffer = pattern(16 * 4096);
    let each = [
        Durability::Synced,
        Durability::Cached,
        Durability::Unflushed,
    ];
    for (index, durability) in each.into_iter().enumerate() {
        let token = 100 + index as u64;
        let offset = index as u64 * 16 * 4096;
        let write = Write {
            buffer: &buffer,
            start: 0,
            length: 16 * 4096,
            offset,
            durability,
        };
        let completion = driver.write(token, file, &write);
        assert_eq!(completion.token, token);
        assert_eq!(completion.result, Ok(file));
        let target = AtomicBuffer::allocate(16 * 4096).unwrap();
        let completion = driver.read(token + 50, file, offset, &target);
        assert_eq!(completion.result, Ok(file));
        assert_eq!(
            target.bytes(0, 16 * 4096),
            buffer.bytes(0, 16 * 4096),
            "{durability:?}"
        );
    }
    let target = AtomicBuffer::allocate(4096).unwrap();
    let beyond = driver.read(999, file, 64 * 4096, &target);
    assert_eq!(beyond.token, 999);
    assert!(beyond.result.is_err(), "reading beyond the end is an error");
}

fn many_writes_in_flight_complete_once_each<D: Disk>(driver: &mut Driver<D>) {
    let file = driver.disk.files().create("many.dat", 64 * 4096).unwrap();
    let buffer = pattern(4096);
    let mut outstanding = Vec::new();
    for index in 0..32_u64 {
        let operation = DiskOp::Write {
            token: index,
            file,
            offset: index * 4096,
            block: buffer.kernel_block(0, 4096),
            durability: Durability::Synced,
        };
        driver
            .disk
            .submit(driver.now, operation)
            .expect("room for 32");
        outstanding.push(index);
    }
    while !outstanding.is_empty() {
        let completion = driver.completion();
        let index = outstanding
            .iter()
            .position(|token| *token == completion.token)
            .expect("each token once");
        outstanding.swap_remove(index);
        assert_eq!(completion.result, Ok(file));
    }
    assert!(
        driver
            .disk
            .poll_completion(driver.now + 1_000_000_000)
            .is_none()
    );
}

fn a_prepared_segment_is_zeros_and_opens_again<D: Disk>(driver: &mut Driver<D>) {
    let name = SegmentName {
        recording_id: 0,
        position: 3 << 20,
    };
    for token in [7, 8] {
        let operation = DiskOp::Prepare {
            token,
            name,
            length: 3 << 20,
        };
        driver.disk.submit(driver.now, operation).expect("room");
        let completion = driver.completion();
        assert_eq!(completion.token, token);
        let file = completion.result.unwrap();
        assert_eq!(driver.disk.files().length(file).unwrap(), 3 << 20);
        let mut bytes = vec![1; 3 << 20];
        driver.disk.files().read(file, 0, &mut bytes).unwrap();
        let expected = u8::from(token == 8);
        assert_eq!(bytes[0], expected, "an existing segment keeps its bytes");
        assert!(bytes[1..].iter().all(|byte| *byte == 0));
        driver.disk.files().write(file, 0, &[1]).unwrap();
    }
    assert!(
        driver
            .disk
            .files()
            .list()
            .unwrap()
            .contains(&name.file_name())
    );
}

fn a_write_outside_a_direct_block_boundary_works_cached<D: Disk>(driver: &mut Driver<D>) {
    let file = driver.disk.files().create("odd.dat", 4 * 4096).unwrap();
    let buffer = pattern(4096);
    let write = Write {
        buffer: &buffer,
        start: 96,
        length: 160,
        offset: 4096 - 32,
        durability: Durability::Cached,
    };
    assert_eq!(driver.write(1, file, &write).result, Ok(file));
    let mut bytes = [0; 160];
    driver
        .disk
        .files()
        .read(file, 4096 - 32, &mut bytes)
        .unwrap();
    assert_eq!(&bytes[..], buffer.bytes(96, 160));
}

fn sim() -> SimDisk {
    SimDisk::new(SimDiskConfig::default())
}

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
    let (disk, sentence) = open(directory.path(), IoChoice::Auto, &[]).unwrap();
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
        let (disk, sentence) = open(directory.path(), choice, &[]).unwrap();
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
