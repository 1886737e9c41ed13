//! What a process left in its log buffer, read as if it had been poured into the segments, by
//! whoever must not write it there (`log.md` 10.3). Cold; changes nothing.

use lockstep_transport::position::Position;

use crate::disk::FileId;
use crate::log::log_memory::LeftLog;
use crate::log::segment::{SegmentTable, base_position};

/// Stands for a segment of which there is no file yet.
const IN_MEMORY: FileId = FileId::NONE;

/// Whether a segment has no file: all of it is in memory, or zero.
pub(super) fn is_in_memory(file: FileId) -> bool {
    file == IN_MEMORY
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaidOver<'a> {
    left: &'a LeftLog<'a>,
    from: Position,
    to: Position,
}

impl<'a> LaidOver<'a> {
    /// What of `left` would be written where the log on disk was found to end at `end`, and
    /// nothing counts above `limit`: see `pouring`.
    pub(super) fn new(left: &'a LeftLog<'a>, (end, limit): (Position, Position)) -> Self {
        Self {
            left,
            from: end.max(left.start()),
            to: left.end().min(limit),
        }
    }

    /// Adds the segments that would be made for it, as far as the table has room.
    pub(super) fn add_segments(&self, segments: &mut SegmentTable) {
        let length = segments.segment_length();
        let mut position = self.from;
        while position < self.to && !segments.is_full() {
            let base = base_position(position, length);
            if segments.locate(base).is_none() {
                segments.insert(base, IN_MEMORY);
            }
            position = base + length as Position;
        }
    }

    /// Lays it over the bytes that were read at `position`.
    pub(super) fn lay(&self, position: Position, target: &mut [u8]) {
        let end = position + target.len() as Position;
        let mut at = self.from.max(position);
        while at < self.to.min(end) {
            let length = self.left.left_in_term(at);
            let length = length.min((self.to.min(end) - at) as usize);
            let offset = (at - position) as usize;
            target[offset..offset + length].copy_from_slice(self.left.bytes(at, length));
            at += length as Position;
        }
    }
}
