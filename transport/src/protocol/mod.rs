//! Aeron's frames on the wire, byte for byte (`wire.md` A.2 to A.6).
//!
//! [`parse`] turns a received datagram into a [`Packet`] or says why it cannot be one. All that
//! can be checked without knowing the stream is checked here: bounds first, and all frames of
//! a datagram valid or none used. What needs the stream's term length is checked by
//! [`crate::stream`]. Little endian throughout, nothing aligned.

mod data;
mod error;
mod frame_header;
mod nak;
mod rtt;
mod setup;
mod status_message;

pub use data::{DataPacket, Heartbeat};
pub use error::{ERROR_IMAGE_REJECTED, ERROR_LENGTH_MAX, ErrorFrame};
pub use frame_header::FrameError;
pub use nak::Nak;
pub use rtt::Rtt;
pub use setup::Setup;
pub use status_message::{STATUS_MESSAGE_LENGTH_MAX, StatusMessage};

use zerocopy::FromBytes;

use self::data::DataFrames;
use self::frame_header::{
    FRAME_TYPE_ERROR, FRAME_TYPE_NAK, FRAME_TYPE_RTT, FRAME_TYPE_SETUP, FRAME_TYPE_STATUS_MESSAGE,
    FrameHeader,
};
use crate::log_buffer::{FRAME_TYPE_DATA, FRAME_TYPE_PAD};

/// A datagram that passed every check that needs no knowledge of the stream.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// One or more DATA or PAD frames.
    Data(DataPacket<'a>),
    /// An empty data frame: where the stream stands.
    Heartbeat(Heartbeat),
    /// The parameters of a stream.
    Setup(Setup),
    /// A receiver's consumption and window, or its request for a SETUP.
    StatusMessage(StatusMessage),
    /// A receiver misses something.
    Nak(Nak),
    /// Round trip measurement.
    Rtt(Rtt),
    /// A receiver rejects the stream.
    Error(ErrorFrame<'a>),
}

impl Packet<'_> {
    /// Session the packet belongs to. Every type parsed today has one; name resolution, which
    /// would not, is refused by [`parse`].
    #[must_use]
    pub fn session_id(&self) -> Option<i32> {
        Some(match self {
            Self::Data(data) => data.session_id(),
            Self::Heartbeat(heartbeat) => heartbeat.session_id(),
            Self::Setup(setup) => setup.session_id(),
            Self::StatusMessage(status) => status.session_id(),
            Self::Nak(nak) => nak.session_id(),
            Self::Rtt(rtt) => rtt.session_id(),
            Self::Error(error) => error.session_id(),
        })
    }

    /// Stream the packet belongs to; as for [`session_id`](Self::session_id).
    #[must_use]
    pub fn stream_id(&self) -> Option<i32> {
        Some(match self {
            Self::Data(data) => data.stream_id(),
            Self::Heartbeat(heartbeat) => heartbeat.stream_id(),
            Self::Setup(setup) => setup.stream_id(),
            Self::StatusMessage(status) => status.stream_id(),
            Self::Nak(nak) => nak.stream_id(),
            Self::Rtt(rtt) => rtt.stream_id(),
            Self::Error(error) => error.stream_id(),
        })
    }
}

/// Reads one datagram.
///
/// # Errors
/// The first thing found wrong; the datagram must not be used then.
pub fn parse(datagram: &[u8]) -> Result<Packet<'_>, FrameError> {
    let (header, _) = FrameHeader::ref_from_prefix(datagram).map_err(|_| FrameError::Truncated)?;
    if header.version != 0 {
        return Err(FrameError::Version);
    }
    let frame_length =
        usize::try_from(header.frame_length.get()).map_err(|_| FrameError::FrameLength)?;
    let frame_type = header.frame_type.get();
    if matches!(frame_type, FRAME_TYPE_DATA | FRAME_TYPE_PAD) {
        return data::parse(datagram).map(|frames| match frames {
            DataFrames::Packet(packet) => Packet::Data(packet),
            DataFrames::Heartbeat(heartbeat) => Packet::Heartbeat(heartbeat),
        });
    }
    let frame = datagram.get(..frame_length).ok_or(FrameError::Truncated)?;
    match frame_type {
        FRAME_TYPE_SETUP => setup::parse(frame).map(Packet::Setup),
        FRAME_TYPE_STATUS_MESSAGE => status_message::parse(frame).map(Packet::StatusMessage),
        FRAME_TYPE_NAK => nak::parse(frame).map(Packet::Nak),
        FRAME_TYPE_RTT => rtt::parse(frame).map(Packet::Rtt),
        FRAME_TYPE_ERROR => error::parse(frame).map(Packet::Error),
        _ => Err(FrameError::FrameType),
    }
}
