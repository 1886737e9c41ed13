//! The frames of a log buffer, `wire.md` A.4: a 32-byte header, payload, zero padding.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | frame length: header and payload, without the padding to 32 |
//! | 4 | 1 | version, 0 |
//! | 5 | 1 | flags |
//! | 6 | 2 | type: 0 PAD, 1 DATA |
//! | 8 | 4 | term offset of the frame |
//! | 12 | 4 | session id |
//! | 16 | 4 | stream id |
//! | 20 | 4 | term id |
//! | 24 | 8 | reserved value |

use zerocopy::byteorder::little_endian::{I32, I64, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::position::align_frame;

/// Bytes of a frame header.
pub const HEADER_LENGTH: usize = 32;
/// Frame type of padding.
pub(crate) const FRAME_TYPE_PAD: u16 = 0;
/// Frame type of data, and of heartbeats on the wire.
pub const FRAME_TYPE_DATA: u16 = 1;
/// First fragment of a message.
pub const FLAG_BEGIN: u8 = 0x80;
/// Last fragment of a message.
pub const FLAG_END: u8 = 0x40;
/// Heartbeats only: the stream ends here.
pub(crate) const FLAG_END_OF_STREAM: u8 = 0x20;
/// Heartbeats only: the stream was revoked.
pub(crate) const FLAG_REVOKED: u8 = 0x10;
/// A message of one frame.
pub const FLAGS_UNFRAGMENTED: u8 = FLAG_BEGIN | FLAG_END;

/// Header of a DATA or PAD frame; see the module for the byte table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DataHeader {
    /// Header and payload, in bytes; 0 in a heartbeat.
    pub frame_length: I32,
    /// Always 0.
    pub version: u8,
    /// `FLAG_…`.
    pub flags: u8,
    /// `FRAME_TYPE_…`.
    pub frame_type: U16,
    /// Offset of the frame in its term.
    pub term_offset: I32,
    /// Which publication.
    pub session_id: I32,
    /// Which stream.
    pub stream_id: I32,
    /// Which term.
    pub term_id: I32,
    /// The application's; in the cluster's log: checksum and leadership term.
    pub reserved_value: I64,
}

const _: () = assert!(size_of::<DataHeader>() == HEADER_LENGTH);

impl DataHeader {
    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes.copy_from_slice(self.as_bytes());
        bytes
    }
}

/// One whole frame of a block, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    header: &'a DataHeader,
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, or `None` when there is no whole frame: a length
    /// below 32, or beyond the bytes. Of a PAD the header is enough.
    #[must_use]
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = DataHeader::ref_from_prefix(bytes).ok()?;
        let length = usize::try_from(header.frame_length.get()).ok()?;
        if length < HEADER_LENGTH {
            return None;
        }
        let present = if header.frame_type.get() == FRAME_TYPE_PAD {
            HEADER_LENGTH
        } else {
            align_frame(length)
        };
        Some(Self {
            header,
            bytes: bytes.get(..present)?,
        })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &'a DataHeader {
        self.header
    }

    /// Header, payload and padding; of a PAD its header alone.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The payload without padding; empty for a PAD.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        if self.is_padding() {
            return &[];
        }
        &self.bytes[HEADER_LENGTH..self.header.frame_length.get() as usize]
    }

    /// Bytes of the term that the frame covers.
    #[must_use]
    pub const fn aligned_length(&self) -> usize {
        align_frame(self.header.frame_length.get() as usize)
    }

    /// The `FLAG_…` bits.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.header.flags
    }

    /// Whether it is a PAD.
    #[must_use]
    pub const fn is_padding(&self) -> bool {
        self.header.frame_type.get() == FRAME_TYPE_PAD
    }

    /// Whether it begins a message.
    #[must_use]
    pub const fn is_begin(&self) -> bool {
        self.header.flags & FLAG_BEGIN != 0
    }

    /// Whether it ends a message.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        self.header.flags & FLAG_END != 0
    }

    /// The reserved value.
    #[must_use]
    pub const fn reserved_value(&self) -> i64 {
        self.header.reserved_value.get()
    }
}

/// Iterator over the whole frames of a block; see [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

/// The whole frames at the start of `bytes`, up to the first that is not whole.
///
/// A PAD is yielded by its header; what its length covers of the block is skipped, so a block
/// may end with a bare PAD header, as it does on the wire.
#[must_use]
pub const fn frames(bytes: &[u8]) -> Frames<'_> {
    Frames { rest: bytes }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let frame = Frame::first(self.rest)?;
        let covered = frame.aligned_length().min(self.rest.len());
        self.rest = &self.rest[covered..];
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: i32, frame_type: u16) -> Vec<u8> {
        let header = DataHeader {
            frame_length: length.into(),
            version: 0,
            flags: FLAGS_UNFRAGMENTED,
            frame_type: frame_type.into(),
            term_offset: 0.into(),
            session_id: 1.into(),
            stream_id: 2.into(),
            term_id: 3.into(),
            reserved_value: (-4).into(),
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.resize(align_frame(length.max(32) as usize), 7);
        bytes
    }

    #[test]
    fn whole_frames_are_yielded_and_a_cut_one_is_not() {
        let mut block = frame(37, FRAME_TYPE_DATA);
        block.extend(frame(32, FRAME_TYPE_DATA));
        let whole = block.len();
        block.extend(frame(100, FRAME_TYPE_DATA));
        let lengths = |bytes: &[u8]| frames(bytes).map(|f| f.payload().len()).collect::<Vec<_>>();
        assert_eq!(lengths(&block), [5, 0, 68]);
        assert_eq!(lengths(&block[..block.len() - 1]), [5, 0]);
        assert_eq!(lengths(&block[..whole]), [5, 0]);
        assert_eq!(frames(&block).next().unwrap().reserved_value(), -4);
    }

    #[test]
    fn padding_is_skipped_whether_its_body_is_there_or_not() {
        let mut block = frame(128, FRAME_TYPE_PAD);
        assert_eq!(frames(&block[..32]).count(), 1);
        block.extend(frame(40, FRAME_TYPE_DATA));
        let kinds: Vec<bool> = frames(&block).map(|f| f.is_padding()).collect();
        assert_eq!(kinds, [true, false]);
        assert_eq!(frames(&block).next().unwrap().bytes().len(), 32);
        assert!(frames(&block).next().unwrap().payload().is_empty());
    }

    #[test]
    fn impossible_lengths_end_the_iteration() {
        for length in [0, 1, 31, -1, i32::MIN, i32::MAX] {
            let mut block = frame(32, FRAME_TYPE_DATA);
            block[..4].copy_from_slice(&length.to_le_bytes());
            assert_eq!(frames(&block).count(), 0, "length {length}");
        }
    }
}
