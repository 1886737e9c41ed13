//! RTTM: round trip measurement (`wire.md` A.4, A.17).
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | frame header: length 40, type 6 |
//! | 8 | 4 | session id |
//! | 12 | 4 | stream id |
//! | 16 | 8 | echo timestamp, opaque to whoever replies |
//! | 24 | 8 | reception delta in ns |
//! | 32 | 8 | receiver id |

use zerocopy::byteorder::little_endian::{I32, I64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::frame_header::{FRAME_TYPE_RTT, FrameError, FrameHeader};

/// An RTTM frame; see the module for the byte table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Rtt {
    header: FrameHeader,
    session_id: I32,
    stream_id: I32,
    echo_timestamp: I64,
    reception_delta: I64,
    receiver_id: I64,
}

const _: () = assert!(size_of::<Rtt>() == Rtt::LENGTH);

impl Rtt {
    /// Bytes of the frame.
    pub const LENGTH: usize = 40;
    /// Flag: a reply is wanted.
    pub(crate) const FLAG_REPLY: u8 = 0x80;

    /// A request with the requester's clock.
    #[must_use]
    pub fn request(session_id: i32, stream_id: i32, receiver_id: i64, echo_timestamp: i64) -> Self {
        Self {
            header: FrameHeader::new(FRAME_TYPE_RTT, Self::FLAG_REPLY, Self::LENGTH),
            session_id: session_id.into(),
            stream_id: stream_id.into(),
            echo_timestamp: echo_timestamp.into(),
            reception_delta: 0.into(),
            receiver_id: receiver_id.into(),
        }
    }

    /// The reply to a request.
    #[must_use]
    pub fn reply(&self) -> Self {
        Self {
            header: FrameHeader::new(FRAME_TYPE_RTT, 0, Self::LENGTH),
            reception_delta: 0.into(),
            ..*self
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

    /// Which receiver.
    #[must_use]
    pub const fn receiver_id(&self) -> i64 {
        self.receiver_id.get()
    }

    /// Whether a reply is wanted.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        self.header.flags & Self::FLAG_REPLY != 0
    }
}

/// Checks an RTTM; `frame` is as long as its frame length says.
pub(super) fn parse(frame: &[u8]) -> Result<Rtt, FrameError> {
    let (rtt, _) = Rtt::read_from_prefix(frame).map_err(|_| FrameError::Truncated)?;
    Ok(rtt)
}
