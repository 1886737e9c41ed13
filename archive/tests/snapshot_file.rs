//! A snapshot's file holds what was pushed, or counts for nothing: on slow, failing and crashing
//! disks.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_archive::disk::{BLOCK_LENGTH, Disk, DiskError, SegmentName};
use lockstep_archive::log::token::{OWNER_SNAPSHOT_READER_FIRST, OWNER_SNAPSHOT_WRITER, owner};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_archive::snapshot_file::reader::{
    PIECE_LENGTH_MAX, READ_AHEAD_LENGTH, SnapshotFileReader, SnapshotRead,
};
use lockstep_archive::snapshot_file::source::SnapshotFileSource;
use lockstep_archive::snapshot_file::writer::{SnapshotFileState, SnapshotFileWriter};
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND, earliest};

const NAME: SegmentName = SegmentName {
    recording_id: 1,
    position: 640,
};

const BUFFER: usize = 256 * 1024;

/// Lengths at which something ends together with the file.
const LENGTHS: [usize; 9] = [
    0,
    1,
    BLOCK_LENGTH,
    BUFFER - 1,
    BUFFER,
    BUFFER + 1,
    2 * BUFFER,
    2 * BUFFER + BLOCK_LENGTH,
    3 * BUFFER + 5,
];

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Prng::new(seed);
    (0..length).map(|_| random.next_u64() as u8).collect()
}

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(SimDiskConfig {
        seed,
        ..SimDiskConfig::default()
    })
}

/// A disk and what is written to it.
struct Desk {
    now: Nanos,
    disk: SimDisk,
    writer: SnapshotFileWriter,
}

impl Desk {
    fn new(disk: SimDisk) -> Self {
        Self {
            now: 0,
            disk,
            writer: SnapshotFileWriter::new().unwrap(),
        }
    }

    /// Starts what can be started and takes what is due. Returns how much that was.
    fn cycle(&mut self) -> usize {
        let mut work = self.writer.do_work(self.now, &mut self.disk);
        while let Some(completion) = self.disk.poll_completion(self.now) {
            assert_eq!(owner(completion.token), OWNER_SNAPSHOT_WRITER);
            assert!(self.writer.on_completion(&completion));
            work += 1;
        }
        work
    }

    /// Goes on to when the disk has something to say; `false` when it never has.
    fn wait(&mut self) -> bool {
        if self.cycle() > 0 {
            return true;
        }
        let next = earliest(self.disk.next_deadline(), self.writer.next_deadline());
        let Some(next) = next else {
            return false;
        };
        self.now = self.now.max(next);
        self.cycle() > 0
    }

    /// Pushes all of `content` in pieces of random lengths, and ends the file.
    fn write(&mut self, content: &[u8], seed: u64) {
        let mut random = Prng::new(seed);
        let mut pushed = 0;
        while pushed < content.len() {
            let length = random.range(1..100_000) as usize;
            let end = content.len().min(pushed + length);
            let taken = self.writer.push(&content[pushed..end]);
            pushed += taken;
            if taken == 0 && !self.wait() {
                return;
            }
        }
        self.writer.finish();
        while self.wait() {}
    }

    fn begin(&mut self) {
        self.writer.begin(NAME);
    }

    /// So many steps of writing `content`, and what comes next is asked for.
    fn step(&mut self, content: &[u8], steps: u64) {
        let mut left = content;
        for _ in 0..steps {
            if !left.is_empty() {
                left = &left[self.writer.push(left)..];
                if left.is_empty() {
                    self.writer.finish();
                }
            }
            self.wait();
        }
        self.writer.do_work(self.now, &mut self.disk);
    }
}

fn stored(disk: &SimDisk) -> Vec<u8> {
    disk.contents(&NAME.file_name()).unwrap()
}

#[test]
fn what_was_pushed_is_on_stable_storage_when_the_file_is_durable_and_zeros_behind_it() {
    for (seed, length) in LENGTHS.into_iter().enumerate() {
        let mut desk = Desk::new(disk(seed as u64));
        let content = bytes(length, seed as u64);
        assert_eq!(desk.writer.state(), SnapshotFileState::Idle);
        desk.begin();
        assert_eq!(desk.writer.state(), SnapshotFileState::Preparing);
        desk.write(&content, seed as u64);
        let length = length as u64;
        assert_eq!(desk.writer.state(), SnapshotFileState::Durable { length });
        desk.disk.crash(seed as u64);
        desk.disk.restart();
        let stored = stored(&desk.disk);
        assert_eq!(stored.len(), content.len().next_multiple_of(BLOCK_LENGTH));
        assert!(stored[..content.len()] == content, "of {length} bytes");
        assert!(stored[content.len()..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_file_with_a_rate_grows_no_faster_and_says_when_it_goes_on() {
    let mut took = [0; 2];
    for (at, rate) in [None, Some(BUFFER as u64)].into_iter().enumerate() {
        let mut desk = Desk::new(disk(1));
        let content = bytes(4 * BUFFER + 7, 1);
        desk.begin();
        if let Some(rate) = rate {
            desk.writer.limit_rate(rate);
        }
        desk.write(&content, 1);
        let length = content.len() as u64;
        assert_eq!(desk.writer.state(), SnapshotFileState::Durable { length });
        assert!(stored(&desk.disk)[..content.len()] == content);
        assert_eq!(desk.writer.next_deadline(), None);
        took[at] = desk.now;
    }
    // One buffer per second, the first at once and what is left after the last.
    assert!(
        took[0] < SECOND && (4 * SECOND..5 * SECOND).contains(&took[1]),
        "{took:?}"
    );
}

#[test]
fn a_disk_that_does_not_answer_takes_two_buffers_and_no_byte_more() {
    let mut desk = Desk::new(disk(1));
    let content = bytes(3 * BUFFER, 1);
    desk.begin();
    while desk.wait() {}
    desk.disk.stall_until(SECOND);
    assert_eq!(desk.writer.push(&content), 2 * BUFFER);
    for _ in 0..10 {
        assert!(desk.cycle() <= 1, "one write is in flight");
        assert_eq!(desk.writer.push(&content[2 * BUFFER..]), 0);
    }
    assert_eq!(
        desk.writer.state(),
        SnapshotFileState::Writing { written: 0 }
    );
    assert!(desk.wait());
    assert_eq!(desk.now, SECOND);
    let written = BUFFER as u64;
    assert_eq!(desk.writer.state(), SnapshotFileState::Writing { written });
    assert_eq!(desk.writer.push(&content[2 * BUFFER..]), BUFFER);
    desk.writer.finish();
    while desk.wait() {}
    assert!(stored(&desk.disk) == content);
}

#[test]
fn a_failed_write_ends_this_file_and_the_next_one_is_good() {
    for failing in 0..4 {
        let mut desk = Desk::new(disk(failing));
        let content = bytes(3 * BUFFER + 5, failing);
        desk.begin();
        if failing == 0 {
            desk.disk.fail_preparations(1);
        }
        let mut pushed = 0;
        let mut completed = 0;
        while !matches!(desk.writer.state(), SnapshotFileState::Failed(_)) {
            if completed == failing && failing > 0 {
                desk.disk.fail_writes(1);
            }
            pushed += desk.writer.push(&content[pushed..]);
            assert!(desk.wait(), "nothing failed");
            if pushed == content.len() {
                desk.writer.finish();
                while desk.wait() {}
            }
            completed += 1;
        }
        assert!(matches!(
            desk.writer.state(),
            SnapshotFileState::Failed(DiskError::Io { .. })
        ));
        assert_eq!(desk.writer.push(&content), 0);
        desk.writer.finish();
        assert_eq!(desk.cycle(), 0, "nothing more is asked for");
        desk.writer.abandon();
        while desk.wait() {}
        assert_eq!(desk.writer.state(), SnapshotFileState::Idle);
        desk.begin();
        desk.write(&content, failing);
        let length = content.len() as u64;
        assert_eq!(desk.writer.state(), SnapshotFileState::Durable { length });
        assert!(stored(&desk.disk)[..content.len()] == content);
    }
}

#[test]
fn a_full_disk_refuses_the_file_by_name() {
    let mut desk = Desk::new(disk(1));
    desk.disk.set_capacity(BUFFER as u64);
    desk.begin();
    desk.write(&bytes(2 * BUFFER, 1), 1);
    assert!(matches!(
        desk.writer.state(),
        SnapshotFileState::Failed(DiskError::Full { .. })
    ));
}

#[test]
fn an_abandoned_file_is_waited_for_and_gone() {
    let content = bytes(3 * BUFFER, 1);
    for steps in 0..12 {
        let mut desk = Desk::new(disk(steps));
        desk.begin();
        // Also with an operation in flight.
        desk.step(&content, steps);
        desk.writer.abandon();
        let is_over = desk.writer.state() == SnapshotFileState::Idle;
        assert!(is_over || desk.writer.state() == SnapshotFileState::Abandoning);
        if !is_over {
            assert_eq!(desk.writer.push(&content), 0);
        }
        while desk.wait() {}
        assert_eq!(desk.writer.state(), SnapshotFileState::Idle);
        assert_eq!(desk.disk.contents(&NAME.file_name()), None);
        let other = bytes(BUFFER + 77, 2);
        desk.begin();
        desk.write(&other, 2);
        assert!(stored(&desk.disk)[..other.len()] == other, "step {steps}");
    }
}

#[test]
fn a_file_that_cannot_be_removed_is_left_behind_and_harms_nobody() {
    let mut desk = Desk::new(disk(1));
    desk.begin();
    desk.write(&bytes(3 * BUFFER, 1), 1);
    desk.disk.fail_preparations(1);
    desk.writer.abandon();
    while desk.wait() {}
    assert_eq!(desk.writer.state(), SnapshotFileState::Idle);
    assert!(desk.disk.has_failed());
    let content = bytes(BUFFER + 77, 2);
    desk.begin();
    desk.write(&content, 2);
    assert!(stored(&desk.disk)[..content.len()] == content);
}

#[test]
fn a_host_that_crashes_in_any_operation_leaves_what_the_next_file_of_that_name_replaces() {
    let content = bytes(2 * BUFFER + 9, 1);
    for seed in 0..64 {
        let mut desk = Desk::new(disk(seed));
        desk.begin();
        desk.step(&content, seed % 12);
        let was_durable = matches!(desk.writer.state(), SnapshotFileState::Durable { .. });
        desk.disk.crash(seed);
        desk.disk.restart();
        if was_durable {
            assert!(stored(&desk.disk)[..content.len()] == content);
        }
        // What was found is nobody's: its bytes are replaced, whatever is behind them.
        let mut desk = Desk::new(desk.disk);
        let other = bytes(BUFFER + 77, seed);
        desk.begin();
        desk.write(&other, seed);
        let length = other.len() as u64;
        assert_eq!(desk.writer.state(), SnapshotFileState::Durable { length });
        desk.disk.crash(seed);
        desk.disk.restart();
        assert!(
            stored(&desk.disk)[..other.len()] == other,
            "seed {seed}: other bytes than the file was durable with"
        );
    }
}

#[test]
fn a_start_reads_the_file_from_anywhere_up_to_its_true_length() {
    let content = bytes(BUFFER + 77, 1);
    let mut desk = Desk::new(disk(1));
    desk.begin();
    desk.write(&content, 1);
    let mut disk = desk.disk;
    let length = content.len() as u64;
    let mut source = SnapshotFileSource::open(&mut disk, NAME, length).unwrap();
    assert_eq!(source.length(), length);
    let mut random = Prng::new(1);
    for offset in [0, 1, content.len() - 1, content.len(), content.len() + 9] {
        let mut target = vec![0; random.range(1..20_000) as usize];
        let read = source.read(offset as u64, &mut target).unwrap();
        let expected = content.get(offset..).unwrap_or(&[]);
        let expected = &expected[..expected.len().min(target.len())];
        assert_eq!(&target[..read], expected, "from {offset}");
    }
    let longer = SnapshotFileSource::open(&mut disk, NAME, length + BLOCK_LENGTH as u64);
    assert!(longer.unwrap_err().to_string().contains("for a snapshot"));
    let other = SegmentName {
        position: 672,
        ..NAME
    };
    let missing = SnapshotFileSource::open(&mut disk, other, 1);
    assert!(matches!(missing.unwrap_err(), DiskError::Missing { .. }));
}

/// A reader's piece, with as many reads as it takes.
fn piece(
    reader: &mut SnapshotFileReader,
    (disk, now): (&mut SimDisk, &mut Nanos),
    (offset, length): (u64, usize),
) -> Option<Vec<u8>> {
    for _ in 0..3 {
        match reader.read(offset, length) {
            SnapshotRead::Bytes(bytes) => return Some(bytes.to_vec()),
            SnapshotRead::Failed => return None,
            SnapshotRead::Pending => {}
        }
        reader.do_work(*now, disk);
        *now += MILLISECOND;
        while let Some(completion) = disk.poll_completion(*now) {
            assert_eq!(owner(completion.token), OWNER_SNAPSHOT_READER_FIRST + 3);
            assert!(reader.on_completion(&completion));
        }
    }
    panic!("a piece is at hand after one read")
}

#[test]
fn others_are_served_any_piece_with_one_read_for_many_of_them() {
    let content = bytes(3 * BUFFER + 77, 1);
    let mut desk = Desk::new(disk(1));
    desk.begin();
    desk.write(&content, 1);
    let file = desk.writer.file().unwrap();
    let (mut disk, mut now) = (desk.disk, desk.now);
    let mut reader = SnapshotFileReader::new(3).unwrap();
    assert_eq!(reader.read(0, 1), SnapshotRead::Failed, "none is open");
    reader.open(file, content.len() as u64);
    let mut random = Prng::new(1);
    for _ in 0..200 {
        let offset = random.range(0..content.len() as u64) as usize;
        let left = (content.len() - offset).min(PIECE_LENGTH_MAX) as u64;
        let length = random.range(1..left + 1) as usize;
        let read = piece(&mut reader, (&mut disk, &mut now), (offset as u64, length));
        assert_eq!(read.unwrap(), content[offset..offset + length]);
    }
    // One after the other: one read for all that it brought.
    let (mut reads, mut offset) = (0, 0);
    reader.open(file, content.len() as u64);
    while offset < content.len() {
        let length = (content.len() - offset).min(1248);
        if reader.read(offset as u64, length) == SnapshotRead::Pending {
            reads += 1;
        }
        let read = piece(&mut reader, (&mut disk, &mut now), (offset as u64, length));
        assert_eq!(read.unwrap(), content[offset..offset + length]);
        offset += length;
    }
    assert!(reads <= content.len() / (READ_AHEAD_LENGTH - BLOCK_LENGTH) + 1);
}

#[test]
fn a_failed_read_is_final_until_the_file_is_opened_again() {
    let content = bytes(BUFFER, 1);
    let mut desk = Desk::new(disk(1));
    desk.begin();
    desk.write(&content, 1);
    let file = desk.writer.file().unwrap();
    let (mut disk, mut now) = (desk.disk, desk.now);
    let mut reader = SnapshotFileReader::new(3).unwrap();
    reader.open(file, content.len() as u64);
    disk.fail_reads(1);
    let read = piece(&mut reader, (&mut disk, &mut now), (0, 10));
    assert_eq!(read, None);
    assert!(reader.failed().is_some());
    reader.open(file, content.len() as u64);
    let read = piece(&mut reader, (&mut disk, &mut now), (0, 10));
    assert_eq!(read.unwrap(), content[..10]);
}

#[test]
fn what_was_read_of_one_file_is_never_taken_for_another() {
    let mut desk = Desk::new(disk(1));
    desk.begin();
    desk.write(&bytes(BUFFER, 1), 1);
    let first = desk.writer.file().unwrap();
    let content = bytes(BUFFER, 2);
    desk.writer.begin(SegmentName {
        position: 672,
        ..NAME
    });
    desk.write(&content, 2);
    let second = desk.writer.file().unwrap();
    let (mut disk, mut now) = (desk.disk, desk.now);
    let mut reader = SnapshotFileReader::new(3).unwrap();
    reader.open(first, BUFFER as u64);
    assert_eq!(reader.read(0, 10), SnapshotRead::Pending);
    reader.do_work(now, &mut disk);
    // The read of the first one is in flight.
    reader.open(second, BUFFER as u64);
    assert_eq!(reader.read(0, 10), SnapshotRead::Pending);
    assert_eq!(reader.do_work(now, &mut disk), 0, "one read at a time");
    let read = piece(&mut reader, (&mut disk, &mut now), (0, 10));
    assert_eq!(read.unwrap(), content[..10]);
}
