//! One conformance suite for every implementation of the disk port.
#![allow(dead_code, reason = "each test file uses its part")]

use lockstep_archive::disk::{
    BLOCK_LENGTH, ColdFiles, Completion, Disk, DiskError, DiskOp, Durability, FileId, SegmentName,
    Token,
};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::time::Nanos;

/// Polls before a completion counts as lost; each real poll yields the core.
const POLLS_MAX: usize = 5_000_000;

pub struct Driver<D> {
    pub disk: D,
    pub now: Nanos,
}

impl<D: Disk> Driver<D> {
    pub fn completion(&mut self) -> Completion {
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

    pub fn write(&mut self, token: Token, file: FileId, write: &Write<'_>) -> Completion {
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

    pub fn read(
        &mut self,
        token: Token,
        file: FileId,
        offset: u64,
        into: &AtomicBuffer,
    ) -> Completion {
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

pub struct Write<'a> {
    pub buffer: &'a AtomicBuffer,
    pub start: usize,
    pub length: usize,
    pub offset: u64,
    pub durability: Durability,
}

pub fn pattern(length: usize) -> AtomicBuffer {
    let mut buffer = AtomicBuffer::allocate(length).unwrap();
    for (index, byte) in buffer.bytes_mut(0, length).iter_mut().enumerate() {
        *byte = (index / 7) as u8;
    }
    buffer
}

/// Whether a disk does all that the port promises.
pub fn conforms<D: Disk>(disk: D) {
    let mut driver = Driver { disk, now: 0 };
    cold_calls(driver.disk.files());
    writes_of_each_durability_are_read_back(&mut driver);
    many_writes_in_flight_complete_once_each(&mut driver);
    a_prepared_segment_is_zeros_and_opens_again(&mut driver);
    a_file_prepared_without_a_length_grows_at_its_end(&mut driver);
    a_recycled_segment_is_another_one_of_zeros_and_a_removed_one_is_no_more(&mut driver);
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

fn a_recycled_segment_is_another_one_of_zeros_and_a_removed_one_is_no_more<D: Disk>(
    driver: &mut Driver<D>,
) {
    const LENGTH: u64 = 3 << 20;
    let name = |position| SegmentName {
        recording_id: 0,
        position,
    };
    let order = |driver: &mut Driver<D>, operation| {
        driver.disk.submit(driver.now, operation).expect("room");
        driver.completion()
    };
    let (old, new) = (name(16 << 20), name(24 << 20));
    let prepare = DiskOp::Prepare {
        token: 7,
        name: old,
        length: LENGTH,
    };
    let file = order(driver, prepare).result.unwrap();
    driver.disk.files().write(file, LENGTH - 1, &[1]).unwrap();
    let recycle = |from, to| DiskOp::Recycle {
        token: 8,
        from,
        to,
        length: LENGTH,
    };
    let recycled = order(driver, recycle(old, new));
    assert_eq!(recycled.token, 8);
    let file = recycled.result.unwrap();
    let names = driver.disk.files().list().unwrap();
    assert!(!names.contains(&old.file_name()) && names.contains(&new.file_name()));
    assert_eq!(driver.disk.files().length(file).unwrap(), LENGTH);
    let mut bytes = vec![1; LENGTH as usize];
    driver.disk.files().read(file, 0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
    // What is not there leaves no room, and makes no difference.
    let file = order(driver, recycle(old, name(32 << 20))).result.unwrap();
    assert_eq!(driver.disk.files().length(file).unwrap(), LENGTH);
    for position in [24 << 20, 24 << 20, 32 << 20] {
        let name = name(position);
        let removed = order(driver, DiskOp::Remove { token: 9, name });
        assert_eq!(removed.token, 9);
        assert_eq!(removed.result, Ok(FileId::NONE));
        let names = driver.disk.files().list().unwrap();
        assert!(!names.contains(&name.file_name()));
    }
    // Who still has its number gets an error, and the same name may come again.
    let buffer = pattern(BLOCK_LENGTH);
    assert!(driver.read(10, file, 0, &buffer).result.is_err());
    let prepare = DiskOp::Prepare {
        token: 11,
        name: new,
        length: LENGTH,
    };
    let file = order(driver, prepare).result.unwrap();
    driver.disk.files().read(file, 0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
}

fn a_file_prepared_without_a_length_grows_at_its_end<D: Disk>(driver: &mut Driver<D>) {
    let name = SegmentName {
        recording_id: 1,
        position: 640,
    };
    let operation = DiskOp::Prepare {
        token: 7,
        name,
        length: 0,
    };
    driver.disk.submit(driver.now, operation).expect("room");
    let file = driver.completion().result.unwrap();
    let buffer = pattern(6 * 4096);
    let parts = [
        (0, 3, Durability::Unflushed),
        (3, 1, Durability::Unflushed),
        (4, 2, Durability::Synced),
    ];
    for (block, blocks, durability) in parts {
        let length = driver.disk.files().length(file).unwrap();
        assert_eq!(length, block * 4096);
        let write = Write {
            buffer: &buffer,
            start: length as usize,
            length: blocks * 4096,
            offset: length,
            durability,
        };
        assert_eq!(driver.write(8, file, &write).result, Ok(file));
    }
    let mut bytes = vec![0; 6 * 4096];
    driver.disk.files().read(file, 0, &mut bytes).unwrap();
    assert_eq!(bytes, buffer.bytes(0, 6 * 4096));
    let target = AtomicBuffer::allocate(2 * 4096).unwrap();
    let read = driver.read(9, file, 4 * 4096, &target);
    assert_eq!(read.result, Ok(file));
    assert_eq!(target.bytes(0, 8192), buffer.bytes(4 * 4096, 8192));
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

pub fn sim() -> SimDisk {
    SimDisk::new(SimDiskConfig::default())
}
