//! The checksum that seals a log frame (`log.md` 1.2).
//!
//! The reserved value of a log frame is `crc32c | leadership term << 32`. The checksum covers
//! header bytes 0..24 (with the final length), the leadership term (u32, little endian), the
//! payload and its zero padding; of a PAD frame the header and the term only. The leader seals
//! each frame once; every receipt and every read from disk verifies it.

use zerocopy::FromBytes;

use super::{DataHeader, FRAME_TYPE_DATA, FRAME_TYPE_PAD, HEADER_LENGTH, Seal};
use crate::position::align_frame;

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
        leadership_term(self.reserved)
    }
}

/// The leadership term that a frame with this reserved value says it is of.
#[must_use]
pub const fn leadership_term(reserved: i64) -> u32 {
    (reserved as u64 >> 32) as u32
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

#[cfg(test)]
mod tests;
