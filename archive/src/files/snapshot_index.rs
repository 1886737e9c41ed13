//! `snapshots.idx`: which snapshots there are, and where the log starts.
//!
//! What it says is what counts: a snapshot is one once it is named here, after all of it is
//! durable, and a segment below the log's start goes only after that start is durable here
//! (`log.md` 8.6). In two slots, both written at each change. Owned by whoever owns the archive's
//! other files.
//!
//! | offset | size | field of the record |
//! |---|---|---|
//! | 0 | 4 | version, 1 |
//! | 4 | 4 | snapshots, 0 to 2 |
//! | 8 | 8 | where the log starts |
//! | 16 | 8 | chain hash of the log there |
//! | 24 | 2 × 40 | the snapshots, newest first, zeros where there is none |
//! | 104 | 8 | the log below was not here when a start needed it; 0 where it always was |
//! | 112 | 16 | zeros |
//!
//! | offset | size | field of a snapshot |
//! |---|---|---|
//! | 0 | 8 | the position that it was taken at |
//! | 8 | 4 | leadership term of the last frame below |
//! | 12 | 4 | recording id of its file: 1 if this member took it, 2 if it fetched it |
//! | 16 | 8 | bytes of it |
//! | 24 | 16 | 128-bit hash of them |

use lockstep_transport::codec::{FieldReader, decoded, encoded};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::{FRAME_ALIGNMENT, Position};
use lockstep_transport::time::Nanos;

use super::slot_file::{Opened, SlotFile, SlotFileKind};
use crate::disk::{ColdFiles, Completion, Disk, DiskError, SegmentName};
use crate::log::chain::Checkpoint;
use crate::log::segment::lowest_segment;
use crate::log::token::OWNER_SNAPSHOT_INDEX;

/// Snapshots that are kept, at most.
pub const SNAPSHOTS_MAX: usize = 2;

/// The file with the index.
pub const SNAPSHOT_INDEX_FILE: SlotFileKind<RECORD_LENGTH> = SlotFileKind {
    name: "snapshots.idx",
    magic: *b"LSSNPIDX",
    owner: OWNER_SNAPSHOT_INDEX,
};

const RECORD_LENGTH: usize = 128;
const VERSION: u32 = 1;
const ENTRY_LENGTH: usize = 40;
const RESERVED_LENGTH: usize = 16;

/// A snapshot that is whole and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// It is the state after everything below.
    pub position: Position,
    /// Leadership term of the last frame below.
    pub term: LeadershipTermId,
    /// Recording id of its file, which has the position in its name.
    pub recording_id: u32,
    /// Bytes of it.
    pub length: u64,
    /// Hash over them.
    pub hash: u128,
}

impl SnapshotEntry {
    /// Names its file.
    #[must_use]
    pub fn name(&self) -> SegmentName {
        SegmentName {
            recording_id: self.recording_id.into(),
            position: self.position,
        }
    }

    fn decode(fields: &mut FieldReader<'_>) -> Option<Self> {
        Some(Self {
            position: fields.i64()?,
            term: fields.u32()?.into(),
            recording_id: fields.u32()?,
            length: fields.u64()?,
            hash: fields.u128()?,
        })
    }
}

/// What the file says. By default that there is no snapshot, and that the log starts at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotIndex {
    log_start: Checkpoint,
    lacking_below: Position,
    /// Newest first.
    snapshots: [Option<SnapshotEntry>; SNAPSHOTS_MAX],
}

impl Default for SnapshotIndex {
    fn default() -> Self {
        Self {
            log_start: Checkpoint::ZERO,
            lacking_below: 0,
            snapshots: [None; SNAPSHOTS_MAX],
        }
    }
}

impl SnapshotIndex {
    /// Where the log starts.
    #[must_use]
    pub const fn log_start(&self) -> Checkpoint {
        self.log_start
    }

    /// Log below that was not let go of: it was missing when a start went on from a snapshot above
    /// it, or the next start is to. 0 where that never was.
    #[must_use]
    pub const fn lacking_below(&self) -> Position {
        self.lacking_below
    }

    /// The snapshots, newest first.
    pub fn snapshots(&self) -> impl Iterator<Item = SnapshotEntry> {
        self.snapshots.into_iter().flatten()
    }

    /// The same with a snapshot newer than all of them, in place of the oldest where there are as
    /// many as are kept.
    ///
    /// # Panics
    /// When it is not newer.
    #[must_use]
    pub fn with_newest(&self, entry: SnapshotEntry) -> Self {
        let newest = self.snapshots[0].map(|newest| newest.position);
        assert!(
            newest.is_none_or(|newest| newest < entry.position),
            "a snapshot at {} after one at {newest:?}",
            entry.position
        );
        Self {
            snapshots: [Some(entry), self.snapshots[0]],
            ..*self
        }
    }

    /// The same without the snapshot at `position`: it is needed no more, or is not whole.
    #[must_use]
    pub fn without(&self, position: Position) -> Self {
        let mut left = self.snapshots();
        let mut next = || left.by_ref().find(|entry| entry.position != position);
        Self {
            snapshots: [next(), next()],
            ..*self
        }
    }

    /// The same with a log that starts at `start`.
    #[must_use]
    pub const fn with_log_start(&self, start: Checkpoint) -> Self {
        Self {
            log_start: start,
            ..*self
        }
    }

    /// The same of which log is missing below `position`, too.
    #[must_use]
    pub fn lacking(&self, position: Position) -> Self {
        Self {
            lacking_below: self.lacking_below.max(position),
            ..*self
        }
    }

    fn encode(&self) -> [u8; RECORD_LENGTH] {
        encoded(|fields| {
            fields.u32(VERSION).u32(self.snapshots().count() as u32);
            fields.i64(self.log_start.position).u64(self.log_start.hash);
            for entry in &self.snapshots {
                let Some(entry) = entry else {
                    fields.zeros(ENTRY_LENGTH);
                    continue;
                };
                fields.i64(entry.position).u32(entry.term.get() as u32);
                fields.u32(entry.recording_id);
                fields.u64(entry.length).u128(entry.hash);
            }
            fields.i64(self.lacking_below).zeros(RESERVED_LENGTH);
        })
    }

    /// `None` for a record of another version or one this program would not have written.
    fn decode(record: &[u8; RECORD_LENGTH]) -> Option<Self> {
        let index = decoded(record, |fields| {
            fields.skip(4)?;
            let count = fields.u32()? as usize;
            let log_start = Checkpoint {
                position: fields.i64()?,
                hash: fields.u64()?,
            };
            let mut snapshots = [None; SNAPSHOTS_MAX];
            for (number, entry) in snapshots.iter_mut().enumerate() {
                let found = SnapshotEntry::decode(fields)?;
                *entry = (number < count).then_some(found);
            }
            let lacking_below = fields.i64()?;
            fields.skip(RESERVED_LENGTH)?;
            Some(Self {
                log_start,
                lacking_below,
                snapshots,
            })
        })?;
        (index.encode() == *record && index.is_possible()).then_some(index)
    }

    /// Whether its positions are such as a program has: ends of frames, the snapshots newest first,
    /// and no log that begins above the newest. Without a snapshot it may begin anywhere.
    fn is_possible(&self) -> bool {
        let is_boundary = |position| position & (FRAME_ALIGNMENT as Position - 1) == 0;
        let positions = || self.snapshots().map(|entry| entry.position);
        let start = self.log_start.position;
        start >= 0
            && is_boundary(start)
            && self.lacking_below >= 0
            && is_boundary(self.lacking_below)
            && positions().all(|position| position > 0 && is_boundary(position))
            && positions().is_sorted_by(|newer, older| newer > older)
            && positions().next().is_none_or(|newest| start <= newest)
    }
}

/// Why a start cannot go on from an index that it cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotIndexError {
    /// The disk's error.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Where the log starts is not known.
    #[error(
        "snapshots.idx is missing, or damaged in both of its places, and the log here does not \
         begin at 0, its oldest file is {oldest}: what it follows from cannot be known; keep the \
         directory as it is and see \"A directory is damaged\" in docs/operating.md"
    )]
    Lost {
        /// File of the oldest segment.
        oldest: String,
    },
    /// A whole file of another version.
    #[error(
        "snapshots.idx was written by another version of lockstep: nothing was changed; start \
         this member with the version that wrote it"
    )]
    OtherVersion,
}

/// The open file. Changes are asked for, and become durable in the order of the files that they
/// speak of: whoever asks looks at what is [`durable`](Self::durable) before it relies on it.
#[derive(Debug)]
pub struct SnapshotIndexFile {
    slots: SlotFile<RECORD_LENGTH>,
    /// In both slots.
    durable: SnapshotIndex,
    /// On its way.
    submitted: Option<SnapshotIndex>,
    wanted: SnapshotIndex,
}

impl SnapshotIndexFile {
    /// Cold: what the file holds, without changing anything.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn look(disk: &mut impl ColdFiles) -> Result<Opened<SnapshotIndex>, DiskError> {
        SlotFile::look(disk, &SNAPSHOT_INDEX_FILE, SnapshotIndex::decode)
    }

    /// Cold: opens the file and makes durable what it holds, or makes a blank one where there is no
    /// record and the log begins at 0. So it does if there is the segment that begins there: that
    /// one is the first to go, and none goes before the file says so. The owner writes before it
    /// asks for anything else: one slot may be spoiled.
    ///
    /// # Errors
    /// The disk's, and an index that is lost or is another version's: nothing is changed then.
    pub fn open(
        disk: &mut impl ColdFiles,
        segment_length: usize,
    ) -> Result<Self, SnapshotIndexError> {
        let opened = SlotFile::open(disk, &SNAPSHOT_INDEX_FILE, SnapshotIndex::decode)?;
        let (slots, index) = match opened {
            Opened::Record(found) => found,
            Opened::OtherVersion => return Err(SnapshotIndexError::OtherVersion),
            Opened::Nothing => {
                let oldest = lowest_segment(disk, segment_length)?;
                if let Some((oldest, 1..)) = oldest {
                    return Err(SnapshotIndexError::Lost { oldest });
                }
                let slots = SlotFile::renew(disk, &SNAPSHOT_INDEX_FILE)?;
                (slots, SnapshotIndex::default())
            }
        };
        Ok(Self {
            slots,
            durable: index,
            submitted: None,
            wanted: index,
        })
    }

    /// What is durable, and stays true until something else is asked for.
    #[must_use]
    pub const fn durable(&self) -> &SnapshotIndex {
        &self.durable
    }

    /// What was asked for last, durable or not.
    #[must_use]
    pub const fn wanted(&self) -> &SnapshotIndex {
        &self.wanted
    }

    /// Asks for another content. It is written by the next [`do_work`](Self::do_work) that can.
    pub const fn want(&mut self, index: SnapshotIndex) {
        self.wanted = index;
    }

    /// Whether what was asked for is durable.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.submitted.is_none() && self.wanted == self.durable
    }

    /// Cold: makes what was asked for durable.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self, disk: &mut impl ColdFiles) -> Result<(), DiskError> {
        self.slots.write(disk, &self.wanted.encode())?;
        self.durable = self.wanted;
        Ok(())
    }

    /// Hot: starts the next write, if one is due. Returns the number of operations started.
    pub fn do_work(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        if self.submitted.is_some() {
            return self.slots.do_work(now, disk);
        }
        if self.wanted == self.durable {
            return 0;
        }
        let record = self.wanted.encode();
        let is_submitted = self.slots.submit_both(now, disk, &record).is_ok();
        self.submitted = is_submitted.then_some(self.wanted);
        usize::from(is_submitted)
    }

    /// Takes a completion: `None` when it is not of this file; otherwise whether what was written
    /// is durable now, or the error after which the file must not be trusted.
    pub fn on_completion(&mut self, completion: &Completion) -> Option<Result<bool, DiskError>> {
        let is_whole = self.slots.on_completion(completion.token)?;
        if let Err(error) = &completion.result {
            return Some(Err(error.clone()));
        }
        if is_whole && let Some(written) = self.submitted.take() {
            self.durable = written;
        }
        Some(Ok(is_whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn entry(position: Position) -> SnapshotEntry {
        SnapshotEntry {
            position,
            term: LeadershipTermId::new(7),
            recording_id: 1,
            length: 8192,
            hash: 0x0F0E_0D0C_0B0A_0908_0706_0504_0302_0100,
        }
    }

    fn index() -> SnapshotIndex {
        let start = Checkpoint {
            position: 4096,
            hash: 0x1122_3344_5566_7788,
        };
        let index = SnapshotIndex::default().with_log_start(start);
        let index = index.with_newest(entry(65_536)).with_newest(entry(131_072));
        index.lacking(32)
    }

    #[test]
    fn a_record_has_its_fields_where_the_layout_says() {
        let record = index().encode();
        let mut golden = Vec::new();
        golden.extend([1, 0, 0, 0, 2, 0, 0, 0]);
        golden.extend([0, 16, 0, 0, 0, 0, 0, 0]);
        golden.extend([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        for third in [2, 1] {
            golden.extend([0, 0, third, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0]);
            golden.extend([0, 32, 0, 0, 0, 0, 0, 0]);
            golden.extend(0..16);
        }
        golden.extend([32, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([0; 16]);
        assert_eq!(record[..], golden);
        assert_eq!(SnapshotIndex::decode(&record), Some(index()));
        let blank = SnapshotIndex::default();
        assert_eq!(SnapshotIndex::decode(&blank.encode()), Some(blank));
    }

    #[test]
    fn a_record_that_this_program_would_not_have_written_is_none() {
        let record = index().encode();
        // Of log that is missing: no place where it can end.
        let missing = [(104, 1), (111, 128)];
        for (at, value) in [(0, 2), (4, 3), (4, 1), (127, 1)]
            .into_iter()
            .chain(missing)
        {
            let mut other = record;
            other[at] = value;
            assert_eq!(SnapshotIndex::decode(&other), None, "byte {at}");
        }
    }

    #[test]
    fn positions_that_no_program_writes_are_none() {
        let record = |start: Position, snapshots: &[Position]| {
            let index = SnapshotIndex {
                log_start: Checkpoint {
                    position: start,
                    hash: 1,
                },
                lacking_below: 0,
                snapshots: [0, 1].map(|n| snapshots.get(n).copied().map(entry)),
            };
            (index.encode(), index)
        };
        let possible: &[(Position, &[Position])] = &[
            (0, &[]),
            (4096, &[]),
            (0, &[32]),
            (4096, &[4096]),
            (96, &[128, 64]),
        ];
        for (start, snapshots) in possible {
            let (record, index) = record(*start, snapshots);
            let found = SnapshotIndex::decode(&record);
            assert_eq!(found, Some(index), "{start}, {snapshots:?}");
        }
        let impossible: &[(Position, &[Position])] = &[
            (-32, &[]),
            (Position::MIN, &[]),
            (4097, &[]),
            (16, &[64]),
            (160, &[128, 64]),
            (4096, &[4064]),
            (0, &[0]),
            (0, &[-32]),
            (0, &[72]),
            (0, &[128, 65]),
            (0, &[128, 0]),
            (0, &[64, 128]),
            (0, &[64, 64]),
        ];
        for (start, snapshots) in impossible {
            let (record, _) = record(*start, snapshots);
            let found = SnapshotIndex::decode(&record);
            assert_eq!(found, None, "{start}, {snapshots:?}");
        }
    }
}
