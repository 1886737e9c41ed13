//! Puts the frames of one log entry back together (`log.md` 1.3).
//!
//! A single-frame entry is handed out as it lies in the log; a fragmented one is gathered in a
//! buffer reserved at construction. A begin frame while an entry is unfinished discards the
//! unfinished one, on every node alike.

use lockstep_service::log_entry::{ENTRY_HEADER_LENGTH, EntryHeader};
use lockstep_transport::log_buffer::Frame;
use lockstep_transport::position::Position;

/// A complete entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Position of its first frame: its name.
    pub position: Position,
    /// Position after its last frame.
    pub end: Position,
    /// Its header.
    pub header: EntryHeader,
    /// Everything after the header.
    pub body: &'a [u8],
}

/// What a frame added.
#[derive(Debug)]
pub(crate) enum Assembled<'a> {
    /// It completed an entry.
    Entry(Entry<'a>),
    /// Padding, or a part of an entry whose rest is to come.
    Incomplete,
    /// A frame that no leader writes: the node must stop.
    Malformed,
}

/// Gathers the frames of one entry at a time.
#[derive(Debug)]
pub(crate) struct EntryAssembler {
    bytes: Vec<u8>,
    capacity: usize,
    start: Position,
    expected: Position,
}

/// `expected` while no entry is unfinished.
const NONE: Position = -1;

impl EntryAssembler {
    /// An assembler for entries whose body has at most `body_max` bytes.
    #[must_use]
    pub fn new(body_max: usize) -> Self {
        let capacity = ENTRY_HEADER_LENGTH + body_max;
        Self {
            bytes: Vec::with_capacity(capacity),
            capacity,
            start: NONE,
            expected: NONE,
        }
    }

    /// Forgets an unfinished entry.
    pub fn reset(&mut self) {
        self.bytes.clear();
        self.expected = NONE;
    }

    /// Adds the frame at `position`.
    pub fn push<'a>(&'a mut self, position: Position, frame: &Frame<'a>) -> Assembled<'a> {
        let end = position + frame.aligned_length() as Position;
        if frame.is_padding() {
            self.reset();
            return Assembled::Incomplete;
        }
        if frame.is_begin() && frame.is_end() {
            self.reset();
            return Self::complete(position, end, frame.payload());
        }
        if frame.is_begin() {
            self.bytes.clear();
            self.start = position;
        } else if self.expected != position {
            self.reset();
            return Assembled::Malformed;
        }
        let payload = frame.payload();
        if payload.len() > self.capacity - self.bytes.len() {
            self.reset();
            return Assembled::Malformed;
        }
        self.bytes.extend_from_slice(payload);
        self.expected = end;
        if !frame.is_end() {
            return Assembled::Incomplete;
        }
        self.expected = NONE;
        Self::complete(self.start, end, &self.bytes)
    }

    fn complete(position: Position, end: Position, bytes: &[u8]) -> Assembled<'_> {
        match EntryHeader::decode(bytes) {
            Some(header) => {
                let body = &bytes[ENTRY_HEADER_LENGTH..];
                Assembled::Entry(Entry {
                    position,
                    end,
                    header,
                    body,
                })
            }
            None => Assembled::Malformed,
        }
    }
}
