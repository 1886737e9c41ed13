//! A block of the log that the device does not give back: what lies below it, right up to it, and
//! above it is read all the same, and the device is not asked for it over and over.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod recorded_log;

use lockstep_archive::disk::{BLOCK_LENGTH, ColdFiles, DiskError, FileId, FilePlace};
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::log::recovery::{Acknowledged, LogOrigin, recover};
use lockstep_archive::sim::SimDisk;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use recorded_log::{MTU, SEGMENT_LENGTH, TERM_MAX, catalog, meaning_of, recorded};

/// A disk that does not give back one block of one file.
struct BadDisk {
    disk: SimDisk,
    file: FileId,
    offset: u64,
    refused: u32,
}

impl ColdFiles for BadDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        self.disk.open(name)
    }

    fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        self.disk.create(name, length)
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        self.disk.length(file)
    }

    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError> {
        self.disk.place(file)
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        let (end, bad_end) = (
            offset + target.len() as u64,
            self.offset + BLOCK_LENGTH as u64,
        );
        if file == self.file && offset < bad_end && self.offset < end {
            self.refused += 1;
            return Err(DiskError::Io {
                operation: "read",
                name: "the segment".to_owned(),
                detail: "simulated input/output error".to_owned(),
            });
        }
        self.disk.read(file, offset, target)
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.write(file, offset, bytes)
    }

    fn sync(&mut self, file: FileId) -> Result<(), DiskError> {
        self.disk.sync(file)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        self.disk.free_bytes()
    }
}

#[test]
fn a_block_that_cannot_be_read_costs_the_frames_in_it_and_is_not_asked_for_over_and_over() {
    let (disk, model, mark) = recorded(11, 300);
    let known = Acknowledged {
        mark: AckRecord {
            position: mark,
            term: LeadershipTermId::FIRST,
            ..AckRecord::default()
        },
        is_mark_lost: false,
        term_max: LeadershipTermId::new(TERM_MAX),
    };
    for block in (0..model.len() - BLOCK_LENGTH).step_by(5 * BLOCK_LENGTH) {
        let mut copy = disk.fork();
        let segment = block / SEGMENT_LENGTH * SEGMENT_LENGTH;
        let file = copy.open(&format!("0-{segment}.rec")).unwrap();
        let mut bad = BadDisk {
            disk: copy,
            file,
            offset: (block - segment) as u64,
            refused: 0,
        };
        let found = recover(
            &mut bad,
            &known,
            None,
            (&catalog(), &LogOrigin::default()),
            meaning_of,
        )
        .unwrap();
        let (end, block) = (found.end, block as Position);
        assert!(
            end <= block && end + MTU as Position > block,
            "{end} below {block}"
        );
        assert_eq!(
            found.lost.map(|lost| lost.position),
            Some(model.len() as Position)
        );
        assert!(bad.refused < 32, "{} reads of {block}", bad.refused);
    }
}
