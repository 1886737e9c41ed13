//! Log buffers: three terms of frames with Aeron's layout, and what writes and walks them.
//!
//! A [`LogBuffer`] is memory only; positions name its bytes. An [`ExclusiveAppender`] writes
//! messages at the end of a stream, the `rebuilder` places received frames wherever they
//! belong, the [`scanner`] cuts runs of whole frames for sending and recording, and the
//! `gap_scanner` finds what is missing. Whoever owns the buffer owns the cursors.

mod buffer;
mod descriptor;
mod exclusive_appender;
mod frame;
pub mod frame_seal;
pub(crate) mod gap_scanner;
pub(crate) mod rebuilder;
pub mod scanner;

pub use buffer::LogBuffer;
pub use exclusive_appender::{
    Claim, ExclusiveAppender, Offer, PlainSeal, Seal, aligned_length, message_length_max,
};
pub use frame::{
    DataHeader, FLAG_BEGIN, FLAG_END, FLAGS_UNFRAGMENTED, FRAME_TYPE_DATA, Frame, Frames,
    HEADER_LENGTH, frames,
};
pub(crate) use frame::{FLAG_END_OF_STREAM, FLAG_REVOKED, FRAME_TYPE_PAD};
