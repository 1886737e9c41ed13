//! NAK: a receiver misses a range of a term (`wire.md` A.4, A.15).
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | frame header: length 28, type 2 |
//! | 8 | 4 | session id |
//! | 12 | 4 | stream id |
//! | 16 | 4 | term id (before the offset, unlike in DATA) |
//! | 20 | 4 | term offset where the gap starts |
//! | 24 | 4 | length of the gap in bytes |

use zerocopy::byteorder::little_endian::I32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::frame_header::{FRAME_TYPE_NAK, FrameError, FrameHeader, is_frame_offset};
use crate::position::{Geometry, Position};

/// A NAK frame; see the module for the byte table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Nak {
    header: FrameHeader,
    session_id: I32,
    stream_id: I32,
    term_id: I32,
    term_offset: I32,
    length: I32,
}

const _: () = assert!(size_of::<Nak>() == Nak::LENGTH);

impl Nak {
    /// Bytes of the frame.
    pub const LENGTH: usize = 28;

    /// `length` bytes at `position` are missing.
    #[must_use]
    pub fn new(
        session_id: i32,
        stream_id: i32,
        geometry: Geometry,
        position: Position,
        length: usize,
    ) -> Self {
        Self {
            header: FrameHeader::new(FRAME_TYPE_NAK, 0, Self::LENGTH),
            session_id: session_id.into(),
            stream_id: stream_id.into(),
            term_id: geometry.term_id(position).into(),
            term_offset: (geometry.term_offset(position) as i32).into(),
            length: (length as i32).into(),
        }
    }

    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes.copy_from_slice(self.as_bytes());
        bytes
    }

    /// Session of the stream.
    #[must_use]
    pub const fn session_id(&self) -> i32 {
        self.session_id.get()
    }

    /// Stream id.
    #[must_use]
    pub const fn stream_id(&self) -> i32 {
        self.stream_id.get()
    }

    /// Length of the gap in bytes.
    #[must_use]
    pub const fn length(&self) -> i32 {
        self.length.get()
    }

    /// Where the gap starts, or `None` when it lies in no term of the stream, or is no gap
    /// within a term: empty, negative, beyond the term's end.
    #[must_use]
    pub fn position(&self, geometry: Geometry) -> Option<Position> {
        let term_offset = usize::try_from(self.term_offset.get()).ok()?;
        let length = usize::try_from(self.length.get()).ok()?;
        if length == 0 || term_offset + length > geometry.term_length() {
            return None;
        }
        geometry.position(self.term_id.get(), term_offset)
    }
}

/// Checks a NAK; `frame` is as long as its frame length says.
pub(super) fn parse(frame: &[u8]) -> Result<Nak, FrameError> {
    let (nak, _) = Nak::read_from_prefix(frame).map_err(|_| FrameError::Truncated)?;
    if !is_frame_offset(nak.term_offset.get()) || nak.length.get() <= 0 {
        return Err(FrameError::Field);
    }
    Ok(nak)
}
