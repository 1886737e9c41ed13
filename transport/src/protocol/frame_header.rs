//! What all frames on the wire have in common: their first bytes, their types, and why one is
//! refused (`wire.md` A.2).

use zerocopy::byteorder::little_endian::{I32, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::position::FRAME_ALIGNMENT;

/// Frame type of [`Nak`](super::Nak).
pub const FRAME_TYPE_NAK: u16 = 2;
/// Frame type of [`StatusMessage`](super::StatusMessage).
pub const FRAME_TYPE_STATUS_MESSAGE: u16 = 3;
/// Frame type of [`ErrorFrame`](super::ErrorFrame).
pub const FRAME_TYPE_ERROR: u16 = 4;
/// Frame type of [`Setup`](super::Setup).
pub const FRAME_TYPE_SETUP: u16 = 5;
/// Frame type of [`Rtt`](super::Rtt).
pub const FRAME_TYPE_RTT: u16 = 6;

/// First eight bytes of every frame.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FrameHeader {
    /// Bytes of the frame, this header included, padding excluded.
    pub frame_length: I32,
    /// Always 0.
    pub version: u8,
    /// Meaning depends on the type.
    pub flags: u8,
    /// `FRAME_TYPE_…`.
    pub frame_type: U16,
}

const _: () = assert!(size_of::<FrameHeader>() == 8);

impl FrameHeader {
    /// A header of a control frame.
    #[must_use]
    pub fn new(frame_type: u16, flags: u8, frame_length: usize) -> Self {
        Self {
            frame_length: (frame_length as i32).into(),
            version: 0,
            flags,
            frame_type: frame_type.into(),
        }
    }
}

/// Why a datagram is not used. Nothing of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its frames say, or than the smallest frame of its type.
    #[error("the datagram is cut short")]
    Truncated,
    /// A version other than 0.
    #[error("unknown protocol version")]
    Version,
    /// A type that is not handled here.
    #[error("unknown frame type")]
    FrameType,
    /// A length no frame of this type can have.
    #[error("impossible frame length")]
    FrameLength,
    /// Data whose length is not a multiple of 32.
    #[error("data is not aligned to 32 bytes")]
    Alignment,
    /// Frames of one datagram that are not contiguous, or not of one term of one stream.
    #[error("the frames of the datagram do not follow each other")]
    NotContiguous,
    /// A field outside what the protocol permits.
    #[error("a field is out of range")]
    Field,
}

/// A term offset as it must be on the wire: not negative, at a frame boundary.
pub fn is_frame_offset(term_offset: i32) -> bool {
    term_offset >= 0 && term_offset % FRAME_ALIGNMENT as i32 == 0
}
