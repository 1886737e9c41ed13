//! Three terms of frames and their metadata over one mapped buffer.
//!
//! # When old bytes vanish
//! Positions wrap around three term buffers. While the tail is in term n, terms n and n-1 may
//! be read; the bytes of term n-2 are zeroed piecewise by [`LogBuffer::clean_ahead`], so that
//! term n+1 finds its buffer clean. [`LogBuffer::memory_start`] is the lowest position whose
//! bytes are still there. Frames are only ever placed on zeros: the length word of an unwritten
//! frame is 0, which is how holes are told from frames.

use std::io;

use super::descriptor;
use super::frame::{DataHeader, FLAGS_UNFRAGMENTED, FRAME_TYPE_DATA, HEADER_LENGTH};
use crate::concurrent::{AtomicBuffer, KernelBlock};
use crate::position::{FRAME_ALIGNMENT, Geometry, Position, align_frame};

/// Term buffers that rotate.
const TERM_BUFFERS: usize = 3;

/// The memory of one stream.
#[derive(Debug)]
pub struct LogBuffer {
    buffer: AtomicBuffer,
    geometry: Geometry,
    /// Nothing below was in memory at the last start.
    restart: Position,
    /// Everything from the tail up to here is zero, or placed since it was zeroed.
    clean: Position,
    /// End of the highest frame placed since the last start.
    high_mark: Position,
    is_pristine: bool,
}

impl LogBuffer {
    /// Takes over `buffer`, which must be all zero, for a stream whose frames have at most
    /// `mtu` bytes. The stream starts at position 0 unless [`restart`](Self::restart) is called.
    ///
    /// # Panics
    /// When the buffer is shorter than `required_length`.
    #[must_use]
    pub fn new(buffer: AtomicBuffer, geometry: Geometry, mtu: usize) -> Self {
        let required = Self::required_length(geometry.term_length());
        assert!(
            buffer.length() >= required,
            "a buffer of {} bytes for a log of {required}",
            buffer.length()
        );
        let mut log = Self {
            buffer,
            geometry,
            restart: 0,
            clean: (TERM_BUFFERS * geometry.term_length()) as Position,
            high_mark: 0,
            is_pristine: true,
        };
        log.put_i32(descriptor::INITIAL_TERM_ID, geometry.initial_term_id());
        log.put_i32(descriptor::MTU, mtu as i32);
        log.put_i32(descriptor::TERM_LENGTH, geometry.term_length() as i32);
        log.put_i32(descriptor::PAGE_SIZE, descriptor::PAGE_LENGTH);
        log.put_end_of_stream(descriptor::NO_END_OF_STREAM);
        log.set_tail(0);
        log
    }

    /// Allocates the memory for a stream of `geometry`, with frames of at most `mtu` bytes.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn allocate(geometry: Geometry, mtu: usize) -> io::Result<Self> {
        let length = Self::required_length(geometry.term_length());
        Ok(Self::new(AtomicBuffer::allocate(length)?, geometry, mtu))
    }

    /// Bytes that three terms of `term_length` and their metadata need.
    #[must_use]
    pub const fn required_length(term_length: usize) -> usize {
        TERM_BUFFERS * term_length + descriptor::METADATA_LENGTH
    }

    /// Term length and initial term id.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Lowest position whose bytes are still in memory; at most two whole terms and what the
    /// cleaning has left of a third lie below the tail.
    #[must_use]
    pub fn memory_start(&self) -> Position {
        let whole = (TERM_BUFFERS * self.geometry.term_length()) as Position;
        self.restart.max(self.clean - whole)
    }

    /// Frames may be placed below this position: the memory up to it has been zeroed.
    #[must_use]
    pub(crate) const fn clean_position(&self) -> Position {
        self.clean
    }

    /// Writes one byte per page, so that appending meets no page fault later.
    pub fn pre_touch(&mut self) {
        self.buffer.pre_touch();
    }

    /// Asks the kernel to keep the pages in memory. Returns whether it agreed.
    #[must_use]
    pub fn lock(&self) -> bool {
        self.buffer.lock()
    }

    /// Length word of the frame at `position` (acquire): 0 when nothing is there yet.
    #[must_use]
    pub fn frame_length(&self, position: Position) -> i32 {
        self.buffer.get_i32_acquire(self.offset(position))
    }

    /// The bytes at `position..position + length`, which must lie in one term. See the module
    /// for how long they stay.
    #[must_use]
    #[track_caller]
    pub fn bytes(&self, position: Position, length: usize) -> &[u8] {
        self.buffer.bytes(self.range(position, length), length)
    }

    /// A range within one term to hand to the disk. It may begin below the last restart: the
    /// bytes there are those of `restart`'s tail, or zero.
    #[must_use]
    #[track_caller]
    pub fn kernel_block(&self, position: Position, length: usize) -> KernelBlock {
        let offset = self.range(position, length);
        self.buffer.kernel_block(offset, length)
    }

    /// Fills `position..position + length`, within one term, with zeros.
    #[track_caller]
    pub fn zero(&mut self, position: Position, length: usize) {
        let offset = self.range(position, length);
        self.buffer.zero(offset, length);
    }

    /// Zeroes piecewise the buffer of the term after that of `tail`, at most `budget_bytes` per
    /// call. With a budget of at least what the tail advanced since the last call it is always
    /// half a term ahead of a receiver's window; an appender cleans what is still missing.
    /// Returns the bytes zeroed.
    pub fn clean_ahead(&mut self, tail: Position, budget_bytes: usize) -> usize {
        let term_length = self.geometry.term_length() as Position;
        let target = self.geometry.term_start(tail) + 2 * term_length;
        let end = target.min(self.clean.saturating_add(budget_bytes as Position));
        self.clean_to(end & !(FRAME_ALIGNMENT as Position - 1))
    }

    /// Zeroes up to `end`, whatever the cost. Returns the bytes zeroed.
    pub(crate) fn clean_to(&mut self, end: Position) -> usize {
        let before = self.clean;
        while self.clean < end {
            let term_length = self.geometry.term_length() as Position;
            let term_end = self.geometry.term_start(self.clean) + term_length;
            let length = (end.min(term_end) - self.clean) as usize;
            self.zero(self.clean, length);
            self.clean += length as Position;
        }
        (self.clean - before) as usize
    }

    /// Starts at `position` with nothing in memory but `tail`, the bytes just below it. Cold:
    /// zeroes everything that is not zero.
    ///
    /// # Panics
    /// When `tail` reaches below the term of `position`.
    pub fn restart(&mut self, position: Position, tail: &[u8]) {
        let term_length = self.geometry.term_length();
        if !self.is_pristine {
            self.buffer.zero(0, TERM_BUFFERS * term_length);
        }
        let start = self.geometry.term_start(position);
        self.restart = position;
        self.high_mark = position;
        self.clean = start + (TERM_BUFFERS * term_length) as Position;
        self.is_pristine = tail.is_empty();
        let offset = self.geometry.term_offset(position);
        assert!(
            tail.len() <= offset,
            "a tail of {} bytes at term offset {offset}",
            tail.len()
        );
        if !tail.is_empty() {
            let from = self.offset(position - tail.len() as Position);
            self.buffer
                .bytes_mut(from, tail.len())
                .copy_from_slice(tail);
        }
        self.set_tail(position);
    }

    /// Truncates: zeroes everything placed at or above `position`.
    ///
    /// Returns `false` when the 4 KiB block of `position` is no longer in memory. Nothing is in
    /// memory then, as after a [`restart`](Self::restart) without a tail: an owner that writes
    /// whole blocks to disk must bring the tail back first.
    pub fn zero_above(&mut self, position: Position) -> bool {
        let whole = (TERM_BUFFERS * self.geometry.term_length()) as Position;
        let block_start = position & !(Position::from(descriptor::PAGE_LENGTH) - 1);
        if position < self.restart || block_start < self.clean - whole {
            self.restart(position, &[]);
            return false;
        }
        let mut from = position;
        while from < self.high_mark {
            let term_end = self.geometry.term_start(from) + self.geometry.term_length() as Position;
            let end = self.high_mark.min(term_end);
            self.zero(from, (end - from) as usize);
            from = end;
        }
        self.high_mark = position;
        self.set_tail(position);
        true
    }

    /// Writes the stream's default header and ids into the metadata, for other readers.
    pub fn describe(&mut self, session_id: i32, stream_id: i32) {
        let header = DataHeader {
            frame_length: 0.into(),
            version: 0,
            flags: FLAGS_UNFRAGMENTED,
            frame_type: FRAME_TYPE_DATA.into(),
            term_offset: 0.into(),
            session_id: session_id.into(),
            stream_id: stream_id.into(),
            term_id: self.geometry.initial_term_id().into(),
            reserved_value: 0.into(),
        };
        let at = self.metadata(descriptor::DEFAULT_HEADER);
        self.buffer
            .bytes_mut(at, HEADER_LENGTH)
            .copy_from_slice(&header.to_bytes());
        self.put_i32(descriptor::DEFAULT_HEADER_LENGTH, HEADER_LENGTH as i32);
    }

    /// Notes in the metadata that the stream ends at `position`.
    pub(crate) fn put_end_of_stream(&mut self, position: Position) {
        let at = self.metadata(descriptor::END_OF_STREAM_POSITION);
        self.buffer.put_i64_release(at, position);
    }

    /// Publishes the tail in the metadata, in Aeron's encoding.
    pub(crate) fn set_tail(&mut self, position: Position) {
        let raw = i64::from(self.geometry.term_id(position)) << 32
            | self.geometry.term_offset(position) as i64;
        let at = descriptor::RAW_TAILS + 8 * self.geometry.buffer_index(position);
        let at = self.metadata(at);
        self.buffer.put_i64_release(at, raw);
        let count = self.geometry.term_count(position) as i32;
        self.put_i32(descriptor::ACTIVE_TERM_COUNT, count);
    }

    /// Copies `bytes` to `position`, within one term, on zeroed memory.
    #[track_caller]
    pub(crate) fn write(&mut self, position: Position, bytes: &[u8]) {
        self.bytes_mut(position, bytes.len()).copy_from_slice(bytes);
    }

    /// The bytes at `position..position + length`, within one term, to be written.
    #[track_caller]
    pub(crate) fn bytes_mut(&mut self, position: Position, length: usize) -> &mut [u8] {
        let offset = self.range(position, length);
        self.note_written(position + align_frame(length) as Position);
        self.buffer.bytes_mut(offset, length)
    }

    /// Publishes a frame: its length word, with release, after everything else of it.
    pub(crate) fn publish(&mut self, position: Position, frame_length: i32) {
        self.note_written(position + align_frame(frame_length as usize) as Position);
        self.buffer
            .put_i32_release(self.offset(position), frame_length);
    }

    fn note_written(&mut self, end: Position) {
        self.high_mark = self.high_mark.max(end);
        self.is_pristine = false;
    }

    const fn offset(&self, position: Position) -> usize {
        self.geometry.buffer_index(position) * self.geometry.term_length()
            + self.geometry.term_offset(position)
    }

    #[track_caller]
    fn range(&self, position: Position, length: usize) -> usize {
        assert!(position >= 0, "position {position}");
        assert!(
            self.geometry.term_offset(position) + length <= self.geometry.term_length(),
            "{length} bytes at {position} reach beyond the term"
        );
        self.offset(position)
    }

    const fn metadata(&self, offset: usize) -> usize {
        TERM_BUFFERS * self.geometry.term_length() + offset
    }

    fn put_i32(&mut self, offset: usize, value: i32) {
        self.buffer.put_i32_release(self.metadata(offset), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Position = 65_536;

    fn log() -> LogBuffer {
        LogBuffer::allocate(Geometry::new(7, TERM as usize).unwrap(), 1408).unwrap()
    }

    fn place(log: &mut LogBuffer, position: Position, length: i32) {
        log.write(position + 4, &[0xAA; 28]);
        log.publish(position, length);
    }

    #[test]
    fn metadata_stands_where_other_drivers_look_for_it() {
        let mut log = log();
        log.describe(5, 6);
        log.restart(TERM + 64, &[]);
        let at = 3 * TERM as usize;
        assert_eq!(log.buffer.get_i32_acquire(at + 264), 7);
        assert_eq!(log.buffer.get_i32_acquire(at + 272), 1408);
        assert_eq!(log.buffer.get_i32_acquire(at + 276), TERM as i32);
        assert_eq!(log.buffer.get_i32_acquire(at + 24), 1);
        assert_eq!(log.buffer.get_i64_acquire(at + 8), 8 << 32 | 64);
        assert_eq!(log.buffer.get_i32_acquire(at + 320 + 12), 5);
        assert_eq!(
            log.buffer.length(),
            LogBuffer::required_length(TERM as usize)
        );
    }

    #[test]
    fn a_term_is_clean_before_the_tail_enters_it_and_the_previous_one_is_kept() {
        let mut log = log();
        let mut tail = 0;
        while tail < 10 * TERM {
            assert_eq!(log.frame_length(tail), 0, "at {tail}");
            place(&mut log, tail, 4096);
            tail += 4096;
            log.clean_ahead(tail, 4096);
            let previous = (log.geometry().term_start(tail) - TERM).max(0);
            assert!(log.memory_start() <= previous);
            assert_eq!(log.frame_length(previous), 4096);
            assert!(log.clean_position() >= tail + TERM / 2);
        }
    }

    #[test]
    fn one_call_cleans_no_more_than_its_budget() {
        let mut log = log();
        assert_eq!(log.clean_ahead(0, 1 << 20), 0);
        assert_eq!(log.clean_ahead(2 * TERM, 1024), 1024);
        assert_eq!(log.clean_position(), 3 * TERM + 1024);
        assert_eq!(log.memory_start(), 1024);
    }

    #[test]
    fn truncation_leaves_zeros_above_and_keeps_what_is_below() {
        let mut log = log();
        for position in (0..2 * TERM).step_by(4096) {
            place(&mut log, position, 4096);
        }
        assert!(log.zero_above(TERM - 4096));
        assert_eq!(log.frame_length(TERM - 8192), 4096);
        for position in (TERM - 4096..3 * TERM).step_by(32) {
            assert_eq!(log.frame_length(position), 0);
        }
    }

    #[test]
    fn truncation_below_the_memory_starts_with_nothing() {
        let mut log = log();
        log.restart(5 * TERM, &[]);
        place(&mut log, 5 * TERM, 64);
        assert!(!log.zero_above(2 * TERM + 64));
        assert_eq!(log.memory_start(), 2 * TERM + 64);
        for position in (2 * TERM..5 * TERM).step_by(32) {
            assert_eq!(log.frame_length(position), 0);
        }
    }

    #[test]
    fn a_restart_brings_back_the_bytes_of_the_tail_block() {
        let mut log = log();
        place(&mut log, 0, 64);
        log.restart(4 * TERM + 96, &[9; 96]);
        assert_eq!(log.bytes(4 * TERM, 96), [9; 96]);
        assert_eq!(log.kernel_block(4 * TERM, 4096).length(), 4096);
        assert!(log.bytes(4 * TERM + 96, 4000).iter().all(|b| *b == 0));
        assert!(log.bytes(3 * TERM, TERM as usize).iter().all(|b| *b == 0));
        assert_eq!(log.memory_start(), 4 * TERM + 96);
    }

    #[test]
    #[should_panic(expected = "reach beyond the term")]
    fn a_range_over_a_term_end_is_refused() {
        let _ = log().bytes(TERM - 32, 64);
    }
}
