//! DATA and PAD frames and heartbeats (`wire.md` A.4, A.6, A.11); the header's byte table
//! is at [`DataHeader`].

use zerocopy::FromBytes;

use super::frame_header::{FrameError, is_frame_offset};
use crate::log_buffer::{
    DataHeader, FLAG_END_OF_STREAM, FLAG_REVOKED, FLAGS_UNFRAGMENTED, FRAME_TYPE_DATA,
    FRAME_TYPE_PAD, Frame, HEADER_LENGTH,
};
use crate::position::{Geometry, Position};

/// One or more contiguous DATA or PAD frames of one term, each of them checked.
#[derive(Clone, Copy, Debug)]
pub struct DataPacket<'a> {
    header: &'a DataHeader,
    bytes: &'a [u8],
    advance: usize,
}

impl<'a> DataPacket<'a> {
    /// Session of all its frames.
    #[must_use]
    pub const fn session_id(&self) -> i32 {
        self.header.session_id.get()
    }

    /// Stream of all its frames.
    #[must_use]
    pub const fn stream_id(&self) -> i32 {
        self.header.stream_id.get()
    }

    /// Term of all its frames.
    #[must_use]
    pub const fn term_id(&self) -> i32 {
        self.header.term_id.get()
    }

    /// Term offset of the first frame.
    #[must_use]
    pub const fn term_offset(&self) -> usize {
        self.header.term_offset.get() as usize
    }

    /// The whole datagram; [`frames`](crate::log_buffer::frames) walks it.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the term that the frames cover: more than [`bytes`](Self::bytes) when a PAD
    /// ends the datagram.
    #[must_use]
    pub const fn advance(&self) -> usize {
        self.advance
    }

    /// Position of the first frame, or `None` when the frames lie in no term of the stream.
    #[must_use]
    pub fn position(&self, geometry: Geometry) -> Option<Position> {
        if self.term_offset() + self.advance > geometry.term_length() {
            return None;
        }
        geometry.position(self.term_id(), self.term_offset())
    }
}

/// Where a stream stands, and whether it ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    header: DataHeader,
}

impl Heartbeat {
    /// A heartbeat of (`session_id`, `stream_id`) at `position`, the next byte to be sent.
    #[must_use]
    pub fn new(
        session_id: i32,
        stream_id: i32,
        geometry: Geometry,
        position: Position,
        is_end_of_stream: bool,
    ) -> Self {
        let end_flag = if is_end_of_stream {
            FLAG_END_OF_STREAM
        } else {
            0
        };
        Self {
            header: DataHeader {
                frame_length: 0.into(),
                version: 0,
                flags: FLAGS_UNFRAGMENTED | end_flag,
                frame_type: FRAME_TYPE_DATA.into(),
                term_offset: (geometry.term_offset(position) as i32).into(),
                session_id: session_id.into(),
                stream_id: stream_id.into(),
                term_id: geometry.term_id(position).into(),
                reserved_value: 0.into(),
            },
        }
    }

    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        self.header.to_bytes()
    }

    /// Session it belongs to.
    #[must_use]
    pub const fn session_id(&self) -> i32 {
        self.header.session_id.get()
    }

    /// Stream it belongs to.
    #[must_use]
    pub const fn stream_id(&self) -> i32 {
        self.header.stream_id.get()
    }

    /// Whether the stream ends at its position.
    #[must_use]
    pub const fn is_end_of_stream(&self) -> bool {
        self.header.flags & FLAG_END_OF_STREAM != 0
    }

    /// Whether the stream was revoked: nothing missing will be repeated.
    #[must_use]
    pub const fn is_revoked(&self) -> bool {
        self.header.flags & FLAG_REVOKED != 0
    }

    /// Position of the next byte to be sent, or `None` when it lies in no term of the stream.
    #[must_use]
    pub fn position(&self, geometry: Geometry) -> Option<Position> {
        let term_offset = self.header.term_offset.get() as usize;
        geometry.position(self.header.term_id.get(), term_offset)
    }
}

/// What a datagram of DATA and PAD frames is.
pub(super) enum DataFrames<'a> {
    Packet(DataPacket<'a>),
    Heartbeat(Heartbeat),
}

/// Checks a datagram whose first frame is DATA or PAD (A.6 rules 2 and 4 to 7).
pub(super) fn parse(datagram: &[u8]) -> Result<DataFrames<'_>, FrameError> {
    if datagram.len() < HEADER_LENGTH {
        return Err(FrameError::Truncated);
    }
    if !datagram.len().is_multiple_of(HEADER_LENGTH) {
        return Err(FrameError::Alignment);
    }
    let (first, _) = DataHeader::ref_from_prefix(datagram).map_err(|_| FrameError::Truncated)?;
    if !is_frame_offset(first.term_offset.get()) {
        return Err(FrameError::Field);
    }
    if datagram.len() == HEADER_LENGTH && first.frame_length.get() == 0 {
        return if first.frame_type.get() == FRAME_TYPE_DATA {
            Ok(DataFrames::Heartbeat(Heartbeat { header: *first }))
        } else {
            Err(FrameError::FrameLength)
        };
    }
    let advance = walk(first, datagram)?;
    Ok(DataFrames::Packet(DataPacket {
        header: first,
        bytes: datagram,
        advance,
    }))
}

/// Checks every frame; returns the bytes of the term they cover.
fn walk(first: &DataHeader, datagram: &[u8]) -> Result<usize, FrameError> {
    let mut advance = 0;
    while advance < datagram.len() {
        let rest = &datagram[advance..];
        let (header, _) = DataHeader::ref_from_prefix(rest).map_err(|_| FrameError::Truncated)?;
        if header.version != 0 {
            return Err(FrameError::Version);
        }
        if !matches!(header.frame_type.get(), FRAME_TYPE_DATA | FRAME_TYPE_PAD) {
            return Err(FrameError::FrameType);
        }
        if header.frame_length.get() < HEADER_LENGTH as i32 {
            return Err(FrameError::FrameLength);
        }
        let is_next = i64::from(header.term_offset.get())
            == i64::from(first.term_offset.get()) + advance as i64;
        if !is_next
            || header.term_id != first.term_id
            || header.session_id != first.session_id
            || header.stream_id != first.stream_id
        {
            return Err(FrameError::NotContiguous);
        }
        // A DATA frame longer than what is left is no whole frame; a PAD may be.
        let frame = Frame::first(rest).ok_or(FrameError::Truncated)?;
        advance += frame.aligned_length();
    }
    Ok(advance)
}
