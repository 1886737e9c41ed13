//! ERR: a receiver rejects a stream (`wire.md` A.4, A.18).
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | frame header: length 40 + n, type 4; flag 0x08 = group tag present |
//! | 8 | 4 | session id |
//! | 12 | 4 | stream id |
//! | 16 | 8 | receiver id |
//! | 24 | 8 | group tag |
//! | 32 | 4 | error code |
//! | 36 | 4 | text length n |
//! | 40 | n | text, ASCII |

use zerocopy::byteorder::little_endian::{I32, I64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::frame_header::{FRAME_TYPE_ERROR, FrameError, FrameHeader};

/// Error code: the receiver rejected the image.
pub const ERROR_IMAGE_REJECTED: i32 = 13;

/// Longest text, in bytes.
const TEXT_LENGTH_MAX: usize = 1023;

/// Bytes before the text.
const ERROR_HEADER_LENGTH: usize = 40;

/// Bytes of the longest error frame.
pub const ERROR_LENGTH_MAX: usize = ERROR_HEADER_LENGTH + TEXT_LENGTH_MAX;

/// An error frame without its text; see the module for the byte table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(crate) struct ErrorHeader {
    header: FrameHeader,
    session_id: I32,
    stream_id: I32,
    receiver_id: I64,
    group_tag: I64,
    error_code: I32,
    text_length: I32,
}

const _: () = assert!(size_of::<ErrorHeader>() == ERROR_HEADER_LENGTH);

/// An error frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorFrame<'a> {
    fixed: ErrorHeader,
    text: &'a [u8],
}

impl<'a> ErrorFrame<'a> {
    /// The receiver `receiver_id` rejects the stream; the text is cut at 1023 bytes.
    #[must_use]
    pub fn new(
        session_id: i32,
        stream_id: i32,
        receiver_id: i64,
        error_code: i32,
        text: &'a [u8],
    ) -> Self {
        let text = &text[..text.len().min(TEXT_LENGTH_MAX)];
        Self {
            fixed: ErrorHeader {
                header: FrameHeader::new(FRAME_TYPE_ERROR, 0, ERROR_HEADER_LENGTH + text.len()),
                session_id: session_id.into(),
                stream_id: stream_id.into(),
                receiver_id: receiver_id.into(),
                group_tag: 0.into(),
                error_code: error_code.into(),
                text_length: (text.len() as i32).into(),
            },
            text,
        }
    }

    /// The datagram, in `target`.
    #[must_use]
    pub fn encode<'b>(&self, target: &'b mut [u8; ERROR_LENGTH_MAX]) -> &'b [u8] {
        let end = ERROR_HEADER_LENGTH + self.text.len();
        target[..ERROR_HEADER_LENGTH].copy_from_slice(self.fixed.as_bytes());
        target[ERROR_HEADER_LENGTH..end].copy_from_slice(self.text);
        &target[..end]
    }

    /// Session of the stream.
    #[must_use]
    pub const fn session_id(&self) -> i32 {
        self.fixed.session_id.get()
    }

    /// Stream id.
    #[must_use]
    pub const fn stream_id(&self) -> i32 {
        self.fixed.stream_id.get()
    }

    /// Which receiver.
    #[must_use]
    pub const fn receiver_id(&self) -> i64 {
        self.fixed.receiver_id.get()
    }

    /// Why, as a number; see [`ERROR_IMAGE_REJECTED`].
    #[must_use]
    pub const fn error_code(&self) -> i32 {
        self.fixed.error_code.get()
    }

    /// Why, in words; bytes from a stranger, ASCII if it keeps to the protocol.
    #[must_use]
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }
}

/// Checks an error frame; `frame` is as long as its frame length says.
pub(super) fn parse(frame: &[u8]) -> Result<ErrorFrame<'_>, FrameError> {
    let (fixed, rest) = ErrorHeader::read_from_prefix(frame).map_err(|_| FrameError::Truncated)?;
    let length = usize::try_from(fixed.text_length.get()).map_err(|_| FrameError::Field)?;
    if length > TEXT_LENGTH_MAX {
        return Err(FrameError::Field);
    }
    let text = rest.get(..length).ok_or(FrameError::Truncated)?;
    Ok(ErrorFrame { fixed, text })
}
