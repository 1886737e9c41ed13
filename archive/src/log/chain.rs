//! The chain hash over the frames of the log (`log.md` 1.2).
//!
//! The [`Chain`] folds reserved values and positions into one hash, so that two members, or
//! one member and its own past, can compare whole prefixes of the log by one number. Where a
//! segment begins its hash is kept for as long as the segment is: there the log may be made to
//! start.

use lockstep_transport::log_buffer::frame_seal::{FramePlace, verify};
use lockstep_transport::position::Position;
use lockstep_transport::prng::mix;

use crate::log::segment::SEGMENTS_MAX;

/// Positions between checkpoints of the chain, in bytes.
pub const CHECKPOINT_INTERVAL: Position = 64 * 1024;

/// Checkpoints kept: with [`CHECKPOINT_INTERVAL`] they reach back 32 MiB, two default terms,
/// which is as far as members in contact lie apart before one is served from its archive.
pub(crate) const CHECKPOINTS_MAX: usize = 512;

/// Anchors kept: one for each segment that may be open, and two for where the log starts and where
/// the chain was taken up.
const ANCHORS_MAX: usize = SEGMENTS_MAX + 2;

/// The chain's hash at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// A frame boundary.
    pub position: Position,
    /// Hash of everything below it.
    pub hash: u64,
}

impl Checkpoint {
    /// Of the empty log.
    pub const ZERO: Self = Self {
        position: 0,
        hash: 0,
    };

    /// With the frame at its position folded in, which ends at `end`.
    #[must_use]
    pub const fn fold(self, reserved: i64, end: Position) -> Self {
        let word = (reserved as u64).wrapping_add((self.position as u64).rotate_left(32));
        Self {
            hash: mix(self.hash ^ word),
            position: end,
        }
    }
}

/// A frame of the log that does not read back as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedFrame {
    /// Where it lies.
    pub position: Position,
}

/// Hash over the whole log up to a position.
#[derive(Clone, Debug)]
pub struct Chain {
    head: Checkpoint,
    checkpoints: Box<[Checkpoint]>,
    first: usize,
    count: usize,
    /// Kept for as long as the log is: where it starts, where the chain was taken up, and where
    /// segments begin above that. In order of their positions, never empty.
    anchors: Vec<Checkpoint>,
    /// The bits of a position within its segment: anchors lie where none of them is set.
    within_segment: Position,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The chain of an empty log, of one segment.
    #[must_use]
    pub fn new() -> Self {
        Self::with_anchors(vec![Checkpoint::ZERO], Position::MAX)
    }

    /// The chain of a log that starts at `start`, from `origin` on, which is not below.
    ///
    /// # Panics
    /// When it is, and when `segment_length` is not a power of two.
    #[must_use]
    pub(crate) fn of_log(start: Checkpoint, origin: Checkpoint, segment_length: usize) -> Self {
        assert!(
            start.position <= origin.position,
            "a log that starts at {} is read from {} on",
            start.position,
            origin.position
        );
        assert!(
            segment_length.is_power_of_two(),
            "segments of {segment_length} bytes"
        );
        let mut anchors = Vec::with_capacity(ANCHORS_MAX);
        anchors.push(start);
        if origin != start {
            anchors.push(origin);
        }
        Self::with_anchors(anchors, segment_length as Position - 1)
    }

    fn with_anchors(anchors: Vec<Checkpoint>, within_segment: Position) -> Self {
        let head = anchors.last().copied().unwrap_or(Checkpoint::ZERO);
        let mut chain = Self {
            head,
            checkpoints: vec![Checkpoint::ZERO; CHECKPOINTS_MAX].into_boxed_slice(),
            first: 0,
            count: 0,
            anchors,
            within_segment,
        };
        chain.push(head);
        chain
    }

    /// Where the log starts. What lies below is of no interest to anybody any more.
    #[must_use]
    pub fn start(&self) -> Checkpoint {
        self.anchors.first().copied().unwrap_or(Checkpoint::ZERO)
    }

    /// The greatest place at or below `position` that the log may be made to start at: there its
    /// hash is known, for as long as the log is.
    #[must_use]
    pub fn anchor_at_or_below(&self, position: Position) -> Option<Checkpoint> {
        let above = self
            .anchors
            .partition_point(|anchor| anchor.position <= position);
        Some(self.anchors[above.checked_sub(1)?])
    }

    /// The log starts at `start`, an anchor, from now on.
    pub fn forget_below(&mut self, start: Checkpoint) {
        let below = |anchor: &Checkpoint| anchor.position < start.position;
        let count = self.anchors.partition_point(below);
        self.anchors.drain(..count);
    }

    /// Hash of the log below [`position`](Self::position).
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.head.hash
    }

    /// How far the log has been folded in.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.head.position
    }

    /// Both of them.
    #[must_use]
    pub(crate) const fn head(&self) -> Checkpoint {
        self.head
    }

    /// Folds in the frame at [`position`](Self::position), which ends at `end`.
    ///
    /// # Panics
    /// When `end` does not lie above the position.
    pub fn fold(&mut self, reserved: i64, end: Position) {
        assert!(end > self.head.position, "a frame has a length");
        let boundary = self.head.position / CHECKPOINT_INTERVAL;
        self.head = self.head.fold(reserved, end);
        if end / CHECKPOINT_INTERVAL > boundary {
            self.push(self.head);
        }
        // Frames never cross a segment's end. Who opens no further segment needs no further anchor.
        if end & self.within_segment == 0 && self.anchors.len() < ANCHORS_MAX {
            self.anchors.push(self.head);
        }
    }

    /// Folds in all whole frames at the start of `bytes`, which were read back from
    /// [`position`](Self::position), each if its checksum is good. A PAD may be cut after its
    /// header.
    ///
    /// # Errors
    /// The first damaged frame; those before it are folded in.
    pub fn fold_frames(&mut self, bytes: &[u8]) -> Result<(), DamagedFrame> {
        let mut offset = 0;
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let position = self.head.position;
            let damaged = |_| DamagedFrame { position };
            let place = FramePlace::read(rest).map_err(damaged)?;
            if rest.len() < place.checked_length() {
                return Ok(());
            }
            verify(rest).map_err(damaged)?;
            self.fold(place.reserved, position + place.aligned_length as Position);
            offset += place.aligned_length;
        }
        Ok(())
    }

    /// The greatest kept checkpoint at or below `position`; none below the start of the log.
    #[must_use]
    pub fn checkpoint_at_or_below(&self, position: Position) -> Option<Checkpoint> {
        let start = self.start().position;
        (0..self.count)
            .rev()
            .map(|index| self.checkpoints[(self.first + index) % CHECKPOINTS_MAX])
            .find(|checkpoint| checkpoint.position <= position)
            .filter(|checkpoint| checkpoint.position >= start)
            .or_else(|| self.anchor_at_or_below(position))
    }

    /// Goes back to the greatest kept checkpoint at or below `position`, from where the caller
    /// folds the log in again. Returns it, or `None` (and the chain unchanged) when none
    /// reaches back so far.
    pub fn rewind(&mut self, position: Position) -> Option<Checkpoint> {
        let target = self.checkpoint_at_or_below(position)?;
        while self.count > 0 && self.newest().position > target.position {
            self.count -= 1;
        }
        if self.count == 0 {
            self.push(target);
        }
        let kept = |anchor: &Checkpoint| anchor.position <= target.position;
        self.anchors.truncate(self.anchors.partition_point(kept));
        self.head = target;
        Some(target)
    }

    fn newest(&self) -> Checkpoint {
        self.checkpoints[(self.first + self.count - 1) % CHECKPOINTS_MAX]
    }

    fn push(&mut self, checkpoint: Checkpoint) {
        if self.count == CHECKPOINTS_MAX {
            self.first = (self.first + 1) % CHECKPOINTS_MAX;
            self.count -= 1;
        }
        self.checkpoints[(self.first + self.count) % CHECKPOINTS_MAX] = checkpoint;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests;
