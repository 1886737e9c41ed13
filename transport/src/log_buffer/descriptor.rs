//! Where things are in the metadata behind the three terms (`wire.md` F).

/// Bytes of metadata behind the terms.
pub(crate) const METADATA_LENGTH: usize = 4096;

/// Three i64: term id << 32 | offset of the tail in that term buffer.
pub(super) const RAW_TAILS: usize = 0;
/// i32: terms begun after the first.
pub(super) const ACTIVE_TERM_COUNT: usize = 24;
/// i64: where the stream ends, [`NO_END_OF_STREAM`] while it goes on.
pub(super) const END_OF_STREAM_POSITION: usize = 128;
/// i32: term id of position 0.
pub(super) const INITIAL_TERM_ID: usize = 264;
/// i32: bytes of the default header.
pub(super) const DEFAULT_HEADER_LENGTH: usize = 268;
/// i32: largest frame.
pub(super) const MTU: usize = 272;
/// i32: bytes of a term.
pub(super) const TERM_LENGTH: usize = 276;
/// i32: bytes of a page.
pub(super) const PAGE_SIZE: usize = 280;
/// The header that frames of this stream begin from.
pub(super) const DEFAULT_HEADER: usize = 320;

/// Page size that the layout states; terms are multiples of it.
pub(super) const PAGE_LENGTH: i32 = 4096;
/// End-of-stream position of a stream that goes on.
pub(super) const NO_END_OF_STREAM: i64 = i64::MAX;
