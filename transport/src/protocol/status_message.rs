//! SM: a receiver's consumption position and window, or its request for a SETUP
//! (`wire.md` A.4, A.12).
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | frame header: length 36 or 44, type 3 |
//! | 8 | 4 | session id |
//! | 12 | 4 | stream id |
//! | 16 | 4 | consumption term id |
//! | 20 | 4 | consumption term offset |
//! | 24 | 4 | receiver window in bytes |
//! | 28 | 8 | receiver id, not aligned |
//! | 36 | 8 | group tag, when the frame length is 44 |

use zerocopy::byteorder::little_endian::{I32, I64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::frame_header::{FRAME_TYPE_STATUS_MESSAGE, FrameError, FrameHeader, is_frame_offset};
use crate::position::{Geometry, Position};

/// Bytes of a status message without group tag.
const LENGTH: usize = 36;

/// Bytes of a status message with group tag.
pub const STATUS_MESSAGE_LENGTH_MAX: usize = 44;

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
struct Fixed {
    header: FrameHeader,
    session_id: I32,
    stream_id: I32,
    term_id: I32,
    term_offset: I32,
    window: I32,
    receiver_id: I64,
}

const _: () = assert!(size_of::<Fixed>() == LENGTH);

/// A status message; see the module for the byte table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusMessage {
    fixed: Fixed,
    group_tag: Option<i64>,
}

impl StatusMessage {
    /// Flag: send me a SETUP. Such a message says nothing about consumption.
    pub(crate) const FLAG_SEND_SETUP: u8 = 0x80;
    /// Flag: the receiver is done, or going away.
    pub(crate) const FLAG_END_OF_STREAM: u8 = 0x40;

    /// The receiver `receiver_id` has consumed up to `position` and takes `window` bytes more.
    #[must_use]
    pub fn new(
        session_id: i32,
        stream_id: i32,
        receiver_id: i64,
        (geometry, position): (Geometry, Position),
        window: usize,
    ) -> Self {
        Self {
            fixed: Fixed {
                header: FrameHeader::new(FRAME_TYPE_STATUS_MESSAGE, 0, LENGTH),
                session_id: session_id.into(),
                stream_id: stream_id.into(),
                term_id: geometry.term_id(position).into(),
                term_offset: (geometry.term_offset(position) as i32).into(),
                window: (window as i32).into(),
                receiver_id: receiver_id.into(),
            },
            group_tag: None,
        }
    }

    /// Asks for a SETUP of a stream of which data arrived but no SETUP.
    #[must_use]
    pub fn send_setup(session_id: i32, stream_id: i32, receiver_id: i64) -> Self {
        Self {
            fixed: Fixed {
                header: FrameHeader::new(FRAME_TYPE_STATUS_MESSAGE, Self::FLAG_SEND_SETUP, LENGTH),
                session_id: session_id.into(),
                stream_id: stream_id.into(),
                term_id: 0.into(),
                term_offset: 0.into(),
                window: 0.into(),
                receiver_id: receiver_id.into(),
            },
            group_tag: None,
        }
    }

    /// The same, saying that the receiver is done or going away.
    #[must_use]
    pub const fn with_end_of_stream(mut self) -> Self {
        self.fixed.header.flags |= Self::FLAG_END_OF_STREAM;
        self
    }

    /// The same with a group tag.
    #[must_use]
    pub fn with_group_tag(mut self, group_tag: i64) -> Self {
        self.fixed.header.frame_length = (STATUS_MESSAGE_LENGTH_MAX as i32).into();
        self.group_tag = Some(group_tag);
        self
    }

    /// The datagram, in `target`.
    #[must_use]
    pub fn encode<'a>(&self, target: &'a mut [u8; STATUS_MESSAGE_LENGTH_MAX]) -> &'a [u8] {
        target[..LENGTH].copy_from_slice(self.fixed.as_bytes());
        match self.group_tag {
            Some(group_tag) => {
                target[LENGTH..].copy_from_slice(&group_tag.to_le_bytes());
                target
            }
            None => &target[..LENGTH],
        }
    }

    /// Session of the stream; 0 with stream 0 means any.
    #[must_use]
    pub const fn session_id(&self) -> i32 {
        self.fixed.session_id.get()
    }

    /// Stream id.
    #[must_use]
    pub const fn stream_id(&self) -> i32 {
        self.fixed.stream_id.get()
    }

    /// Bytes the receiver takes beyond its position; not negative.
    #[must_use]
    pub const fn window(&self) -> usize {
        self.fixed.window.get() as usize
    }

    /// Which receiver.
    #[must_use]
    pub const fn receiver_id(&self) -> i64 {
        self.fixed.receiver_id.get()
    }

    /// Group tag, if it carries one.
    #[must_use]
    pub const fn group_tag(&self) -> Option<i64> {
        self.group_tag
    }

    /// Whether it asks for a SETUP.
    #[must_use]
    pub const fn is_send_setup(&self) -> bool {
        self.fixed.header.flags & Self::FLAG_SEND_SETUP != 0
    }

    /// Whether the receiver is done or going away.
    #[must_use]
    pub const fn is_end_of_stream(&self) -> bool {
        self.fixed.header.flags & Self::FLAG_END_OF_STREAM != 0
    }

    /// Consumption position, or `None` when it lies in no term of the stream.
    #[must_use]
    pub fn position(&self, geometry: Geometry) -> Option<Position> {
        let term_offset = self.fixed.term_offset.get() as usize;
        if term_offset >= geometry.term_length() {
            return None;
        }
        geometry.position(self.fixed.term_id.get(), term_offset)
    }
}

/// Checks a status message; `frame` is as long as its frame length says.
pub(super) fn parse(frame: &[u8]) -> Result<StatusMessage, FrameError> {
    let (fixed, rest) = Fixed::read_from_prefix(frame).map_err(|_| FrameError::Truncated)?;
    let group_tag = match rest {
        [] => None,
        tag => Some(i64::from_le_bytes(
            tag.try_into().map_err(|_| FrameError::FrameLength)?,
        )),
    };
    if !is_frame_offset(fixed.term_offset.get()) || fixed.window.get() < 0 {
        return Err(FrameError::Field);
    }
    Ok(StatusMessage { fixed, group_tag })
}
