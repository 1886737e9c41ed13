//! SETUP: the parameters of a stream and where it stands (`wire.md` A.4, A.9).
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | frame header: length 40, type 5 |
//! | 8 | 4 | term offset of the sender's position |
//! | 12 | 4 | session id |
//! | 16 | 4 | stream id |
//! | 20 | 4 | initial term id |
//! | 24 | 4 | active term id |
//! | 28 | 4 | term length |
//! | 32 | 4 | MTU |
//! | 36 | 4 | multicast TTL |

use zerocopy::byteorder::little_endian::I32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::frame_header::{FRAME_TYPE_SETUP, FrameError, FrameHeader, is_frame_offset};
use crate::datagram_port::DATAGRAM_LENGTH_MAX;
use crate::log_buffer::HEADER_LENGTH;
use crate::position::{Geometry, Position};

/// A SETUP frame; see the module for the byte table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Setup {
    header: FrameHeader,
    term_offset: I32,
    session_id: I32,
    stream_id: I32,
    initial_term_id: I32,
    active_term_id: I32,
    term_length: I32,
    mtu: I32,
    ttl: I32,
}

const _: () = assert!(size_of::<Setup>() == Setup::LENGTH);

impl Setup {
    /// Bytes of the frame.
    pub const LENGTH: usize = 40;
    /// Flag: send me a response setup.
    pub const FLAG_RESPONSE_SETUP: u8 = 0x80;
    /// Flag: the stream goes to a group of receivers.
    pub const FLAG_GROUP: u8 = 0x40;

    /// A SETUP of a unicast stream that stands at `position`.
    #[must_use]
    pub fn new(
        session_id: i32,
        stream_id: i32,
        geometry: Geometry,
        mtu: usize,
        position: Position,
    ) -> Self {
        Self {
            header: FrameHeader::new(FRAME_TYPE_SETUP, 0, Self::LENGTH),
            term_offset: (geometry.term_offset(position) as i32).into(),
            session_id: session_id.into(),
            stream_id: stream_id.into(),
            initial_term_id: geometry.initial_term_id().into(),
            active_term_id: geometry.term_id(position).into(),
            term_length: (geometry.term_length() as i32).into(),
            mtu: (mtu as i32).into(),
            ttl: 0.into(),
        }
    }

    /// The same with other flags.
    #[must_use]
    pub const fn with_flags(mut self, flags: u8) -> Self {
        self.header.flags = flags;
        self
    }

    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes.copy_from_slice(self.as_bytes());
        bytes
    }

    /// `FLAG_…` bits.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.header.flags
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

    /// Bytes of a term.
    #[must_use]
    pub const fn term_length(&self) -> usize {
        self.term_length.get() as usize
    }

    /// Largest datagram the sender will send, in bytes.
    #[must_use]
    pub const fn mtu(&self) -> usize {
        self.mtu.get() as usize
    }

    /// Terms of the stream; `None` when the term length is not one.
    #[must_use]
    pub const fn geometry(&self) -> Option<Geometry> {
        Geometry::new(self.initial_term_id.get(), self.term_length())
    }

    /// The sender's position; `None` when it lies in no term of the stream.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let term_offset = self.term_offset.get() as usize;
        self.geometry()?
            .position(self.active_term_id.get(), term_offset)
    }
}

/// Checks a SETUP; `frame` is as long as its frame length says.
pub(super) fn parse(frame: &[u8]) -> Result<Setup, FrameError> {
    let (setup, _) = Setup::read_from_prefix(frame).map_err(|_| FrameError::Truncated)?;
    let mtu = setup.mtu.get();
    let is_mtu = mtu >= HEADER_LENGTH as i32
        && mtu <= DATAGRAM_LENGTH_MAX as i32
        && mtu % HEADER_LENGTH as i32 == 0;
    let is_offset =
        is_frame_offset(setup.term_offset.get()) && setup.term_offset < setup.term_length;
    if setup.term_length.get() < 0 || !is_mtu || !is_offset || setup.position().is_none() {
        return Err(FrameError::Field);
    }
    Ok(setup)
}
