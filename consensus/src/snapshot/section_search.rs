//! In which section a member's snapshot differs from what a majority has: it asks itself and one of
//! the others for the end of theirs, where all sections are listed with their hashes.
//!
//! It takes no longer than a few seconds: who has gone wrong stops, whether that was found or not.

use lockstep_service::snapshot::{SECTION_LIST_LENGTH_MAX, SectionName, first_difference};
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use crate::module::member::MemberId;
use crate::protocol::snapshot_message::{
    CHUNKS_PER_REQUEST_MAX, SnapshotChunk, SnapshotId, SnapshotRequest,
};

/// It is looked for so long: many times what two ends of snapshots take on a network that loses
/// some, and who has stopped being right is to stop soon, whether it can say in what or not.
const PATIENCE_NS: Nanos = 3 * SECOND;

/// What a member differs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where the snapshots were taken.
    pub position: Position,
    /// One of those who have the other one.
    pub member: MemberId,
    /// The first section that differs, if that could be found.
    pub section: Option<SectionName>,
}

/// The end of one snapshot, as far as it has come.
#[derive(Debug)]
struct End {
    member: MemberId,
    id: SnapshotId,
    bytes: Box<[u8]>,
    /// A bit for each chunk that is missing.
    missing: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SectionSearch {
    chunk_length: usize,
    /// Since when it is looked for, if it is.
    since: Option<Nanos>,
    /// The own one, and the other.
    ends: [End; 2],
}

impl SectionSearch {
    /// Looks for nothing yet, and asks for chunks of so many bytes.
    #[must_use]
    pub fn new(chunk_length: usize) -> Self {
        let end = || End {
            member: 0,
            id: SnapshotId::default(),
            bytes: vec![0; SECTION_LIST_LENGTH_MAX].into_boxed_slice(),
            missing: 0,
        };
        Self {
            chunk_length,
            since: None,
            ends: [end(), end()],
        }
    }

    /// Begins with the snapshot of the first member, this one, and that of the second, unless it
    /// has begun.
    pub fn begin(&mut self, now: Nanos, sides: [(MemberId, SnapshotId); 2]) {
        if self.since.is_some() {
            return;
        }
        self.since = Some(now);
        for (end, (member, id)) in self.ends.iter_mut().zip(sides) {
            (end.member, end.id) = (member, id);
            let chunks = end.length().div_ceil(self.chunk_length);
            end.missing = u64::MAX >> (u64::BITS as usize - chunks.clamp(1, u64::BITS as usize));
        }
    }

    /// Whom to ask for what: for all that has not come.
    pub fn requests(&self) -> impl Iterator<Item = (MemberId, SnapshotRequest)> + '_ {
        let is_searching = self.since.is_some();
        let lacking = self
            .ends
            .iter()
            .filter(move |end| is_searching && end.missing != 0);
        lacking.map(|end| {
            let first = end.missing.trailing_zeros() as usize * self.chunk_length;
            let chunks = (end.length() - first).div_ceil(self.chunk_length);
            let request = SnapshotRequest {
                id: end.id,
                offset: end.start() + first as u64,
                chunk_length: self.chunk_length as u32,
                chunks: (chunks as u32).min(CHUNKS_PER_REQUEST_MAX),
            };
            (end.member, request)
        })
    }

    /// A chunk has come. Whether it was waited for.
    pub fn on_chunk(&mut self, from: MemberId, chunk: &SnapshotChunk, bytes: &[u8]) -> bool {
        let is_of = |end: &&mut End| end.member == from && end.id == chunk.id;
        let is_searching = self.since.is_some();
        let Some(end) = self.ends.iter_mut().find(is_of).filter(|_| is_searching) else {
            return false;
        };
        let Some(offset) = chunk.offset.checked_sub(end.start()) else {
            return false;
        };
        let offset = offset as usize;
        let expected = self.chunk_length.min(end.length().saturating_sub(offset));
        let number = offset / self.chunk_length;
        let is_whole = offset.is_multiple_of(self.chunk_length) && bytes.len() == expected;
        if !is_whole || number >= u64::BITS as usize {
            return false;
        }
        end.bytes[offset..offset + expected].copy_from_slice(bytes);
        end.missing &= !(1 << number);
        true
    }

    /// What was found, once all has come or it has taken too long.
    pub fn difference(&self, now: Nanos) -> Option<Difference> {
        let since = self.since?;
        let [own, other] = &self.ends;
        let has_come = own.missing == 0 && other.missing == 0;
        let is_over = has_come || now - since >= PATIENCE_NS;
        is_over.then(|| Difference {
            position: own.id.position,
            member: other.member,
            section: has_come
                .then(|| first_difference(own.bytes(), other.bytes()))
                .flatten(),
        })
    }
}

impl End {
    /// Bytes of it that are asked for.
    fn length(&self) -> usize {
        (self.id.length as usize).min(SECTION_LIST_LENGTH_MAX)
    }

    const fn start(&self) -> u64 {
        self.id
            .length
            .saturating_sub(SECTION_LIST_LENGTH_MAX as u64)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length()]
    }
}
