//! Reliable streams over datagrams, both sides, as plain structs (`wire.md` A.9 to A.13, A.15 to
//! A.18, A.21).
//!
//! A [`StreamSender`] sends from whatever [`FrameSource`] it is given to one receiver; a
//! [`StreamReceiver`] places what arrives in a log buffer it is given. [`Publication`] and
//! [`Image`] add the log buffer and the end that applications see. All are driven with `now`
//! and a [`DatagramPort`](crate::datagram_port::DatagramPort); none allocates once built.

#[cfg(test)]
mod capturing_port;
mod frame_source;
mod image;
mod publication;
mod retransmission;
mod stream_receiver;
mod stream_sender;

pub use crate::log_buffer::Offer;
pub use frame_source::{FrameSource, SourceFrames};
pub use image::{
    Image, ImageCounters, ImageError, ImageLimits, Message, OfferedStream, PollAction,
};
pub use publication::{Publication, PublicationConfig};
pub use stream_receiver::{Placement, ReceiverConfig, ReceiverCounters, StreamReceiver};
pub use stream_sender::{SenderConfig, SenderCounters, StreamSender};

/// What names a stream between two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamIds {
    /// One publication instance.
    pub session_id: i32,
    /// The stream within a channel.
    pub stream_id: i32,
}
