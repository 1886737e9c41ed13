//! Checksums of log frames and the chain hash over them (`log.md` 1.2).
//!
//! The reserved value of a log frame is `crc32c | leadership term << 32`. The checksum covers
//! header bytes 0..24 (with the final length), the leadership term (u32, little endian), the
//! payload and its zero padding; of a PAD frame the header and the term only. The leader seals
//! each frame once; every receipt and every read from disk verifies it.
//!
//! The [`Chain`] folds reserved values and positions into one hash, so that two members, or
//! one member and its own past, can compare whole prefixes of the log by one number.

use lockstep_transport::log_buffer::{
    DataHeader, FRAME_TYPE_DATA, FRAME_TYPE_PAD, HEADER_LENGTH, Seal,
};
use lockstep_transport::position::{Position, align_frame};
use zerocopy::FromBytes;

const CHECKED_HEADER_LENGTH: usize = 24;

/// Why a frame is not one of the log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// Fewer bytes than the frame says it has.
    #[error("the frame is cut short")]
    Truncated,
    /// Neither data nor padding, or a length no frame can have.
    #[error("not a log frame")]
    Malformed,
    /// The checksum differs from the bytes.
    #[error("the frame's checksum does not match its bytes")]
    Mismatch,
}

/// The fields of a frame header that place it in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// Header, payload and zero padding, in bytes: a multiple of 32.
    pub aligned_length: usize,
    /// Whether it is padding; its body is not checksummed.
    pub is_pad: bool,
    /// Term offset of its first byte.
    pub term_offset: i32,
    /// The log's session.
    pub session_id: i32,
    /// The log's stream.
    pub stream_id: i32,
    /// Term it belongs to.
    pub term_id: i32,
    /// Checksum and leadership term.
    pub reserved: i64,
}

impl FramePlace {
    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// [`ChecksumError::Truncated`] for less than a header, [`ChecksumError::Malformed`] for
    /// a length or type no log frame has.
    pub fn read(bytes: &[u8]) -> Result<Self, ChecksumError> {
        let (header, _) =
            DataHeader::ref_from_prefix(bytes).map_err(|_| ChecksumError::Truncated)?;
        let frame_type = header.frame_type.get();
        let length =
            usize::try_from(header.frame_length.get()).map_err(|_| ChecksumError::Malformed)?;
        if length < HEADER_LENGTH || !matches!(frame_type, FRAME_TYPE_PAD | FRAME_TYPE_DATA) {
            return Err(ChecksumError::Malformed);
        }
        Ok(Self {
            aligned_length: align_frame(length),
            is_pad: frame_type == FRAME_TYPE_PAD,
            term_offset: header.term_offset.get(),
            session_id: header.session_id.get(),
            stream_id: header.stream_id.get(),
            term_id: header.term_id.get(),
            reserved: header.reserved_value.get(),
        })
    }

    /// Bytes that must be present to verify the frame: all of it, or a PAD's header.
    #[must_use]
    pub const fn checked_length(&self) -> usize {
        if self.is_pad {
            HEADER_LENGTH
        } else {
            self.aligned_length
        }
    }

    /// The leadership term the frame says it is of.
    #[must_use]
    pub const fn leadership_term(&self) -> u32 {
        (self.reserved as u64 >> 32) as u32
    }
}

fn checksum(header: &[u8], leadership_term: u32, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&header[..CHECKED_HEADER_LENGTH]);
    let crc = crc32c::crc32c_append(crc, &leadership_term.to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

/// Checks the frame at the start of `frame_bytes` (header, payload and padding; of a PAD the
/// header is enough) and returns its leadership term.
///
/// # Errors
/// What is wrong with it. A PAD's body is not looked at.
pub fn verify(frame_bytes: &[u8]) -> Result<u32, ChecksumError> {
    let place = FramePlace::read(frame_bytes)?;
    let body_end = place.checked_length();
    let body = frame_bytes
        .get(HEADER_LENGTH..body_end)
        .ok_or(ChecksumError::Truncated)?;
    let leadership_term = place.leadership_term();
    if checksum(frame_bytes, leadership_term, body) == place.reserved as u32 {
        Ok(leadership_term)
    } else {
        Err(ChecksumError::Mismatch)
    }
}

/// Seals the frames that the leader of one leadership term appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSeal {
    leadership_term: u32,
}

impl FrameSeal {
    /// A seal for `leadership_term`.
    #[must_use]
    pub const fn new(leadership_term: u32) -> Self {
        Self { leadership_term }
    }
}

impl Seal for FrameSeal {
    fn reserved_value(&mut self, header: &[u8; 32], payload_and_padding: &[u8]) -> i64 {
        let crc = checksum(header, self.leadership_term, payload_and_padding);
        (u64::from(self.leadership_term) << 32 | u64::from(crc)) as i64
    }
}

/// Positions between checkpoints of the chain, in bytes.
pub const CHECKPOINT_INTERVAL: Position = 64 * 1024;

/// Checkpoints kept: with [`CHECKPOINT_INTERVAL`] they reach back 32 MiB, two default terms,
/// which is as far as members in contact lie apart before one is served from its archive.
pub const CHECKPOINTS_MAX: usize = 512;

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
        Self {
            hash: mix(self.hash, reserved as u64, self.position as u64),
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
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The chain of the empty log.
    #[must_use]
    pub fn new() -> Self {
        let empty = Checkpoint {
            position: 0,
            hash: 0,
        };
        Self {
            head: empty,
            checkpoints: vec![empty; CHECKPOINTS_MAX].into_boxed_slice(),
            first: 0,
            count: 1,
        }
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

    /// The greatest kept checkpoint at or below `position`.
    #[must_use]
    pub fn checkpoint_at_or_below(&self, position: Position) -> Option<Checkpoint> {
        (0..self.count)
            .rev()
            .map(|index| self.checkpoints[(self.first + index) % CHECKPOINTS_MAX])
            .find(|checkpoint| checkpoint.position <= position)
    }

    /// Goes back to the greatest kept checkpoint at or below `position`, from where the caller
    /// folds the log in again. Returns it, or `None` (and the chain unchanged) when none
    /// reaches back so far.
    pub fn rewind(&mut self, position: Position) -> Option<Checkpoint> {
        let target = self.checkpoint_at_or_below(position)?;
        while self.newest().position > target.position {
            self.count -= 1;
        }
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

/// One step of the chain; the constants are those of splitmix64, chosen for their diffusion.
const fn mix(hash: u64, reserved: u64, position: u64) -> u64 {
    let mut z = hash ^ reserved.wrapping_add(position.rotate_left(32));
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
