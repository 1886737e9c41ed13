//! Where a sender takes its frames from: memory, or memory and archive behind one face.

use crate::log_buffer::{LogBuffer, scanner};
use crate::position::Position;

/// Frames of a stream, readable at any position that is still kept.
pub trait FrameSource {
    /// End of what may be sent, a frame boundary.
    fn limit(&self) -> Position;

    /// The longest run of whole frames at `position` that sends at most `length_max` bytes.
    fn frames(&mut self, position: Position, length_max: usize) -> SourceFrames<'_>;
}

/// What a [`FrameSource`] has at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFrames<'a> {
    /// Whole frames of one term, in one piece.
    Ready {
        /// Bytes to send; of a PAD, which ends them, the header alone.
        bytes: &'a [u8],
        /// Bytes of the stream covered.
        advance: usize,
    },
    /// Nothing yet: not written, still being read, or longer than asked for.
    NotYet,
    /// Not kept any more, and never again.
    Gone,
}

/// The frames of a log buffer below `end`, as far as memory reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogBufferSource<'a> {
    log: &'a LogBuffer,
    end: Position,
}

impl<'a> LogBufferSource<'a> {
    /// The frames of `log` below `end`, a frame boundary.
    #[must_use]
    pub const fn new(log: &'a LogBuffer, end: Position) -> Self {
        Self { log, end }
    }
}

impl FrameSource for LogBufferSource<'_> {
    fn limit(&self) -> Position {
        self.end
    }

    fn frames(&mut self, position: Position, length_max: usize) -> SourceFrames<'_> {
        if position >= self.end {
            return SourceFrames::NotYet;
        }
        if position < self.log.memory_start() {
            return SourceFrames::Gone;
        }
        let geometry = self.log.geometry();
        let term_end = geometry.term_start(position) + geometry.term_length() as Position;
        let available = (self.end.min(term_end) - position) as usize;
        // A PAD sends 32 bytes whatever it covers, so nothing beyond `length_max` is looked at.
        let bytes = self.log.bytes(position, available.min(length_max));
        let block = scanner::scan(bytes, length_max);
        if block.length == 0 {
            return SourceFrames::NotYet;
        }
        SourceFrames::Ready {
            bytes: &bytes[..block.length],
            advance: block.advance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_buffer::{ExclusiveAppender, PlainSeal};
    use crate::position::Geometry;

    #[test]
    fn memory_yields_runs_up_to_the_end_and_says_what_is_gone() {
        let geometry = Geometry::new(0, 65_536).unwrap();
        let mut log = LogBuffer::allocate(geometry, 1408).unwrap();
        let mut appender = ExclusiveAppender::new(geometry, 1, 1, 1408, 0);
        while appender.position() < 5 * 65_536 {
            appender.offer(&mut log, Position::MAX, &[&[1; 992]], &mut PlainSeal);
        }
        let end = appender.position();
        let mut source = LogBufferSource::new(&log, end);
        assert_eq!(source.frames(end, 1408), SourceFrames::NotYet);
        assert_eq!(source.frames(65_536, 1408), SourceFrames::Gone);
        assert_eq!(source.frames(4 * 65_536, 1023), SourceFrames::NotYet);
        let SourceFrames::Ready { bytes, advance } = source.frames(4 * 65_536, 4096) else {
            panic!("nothing at the current term's start");
        };
        assert_eq!((bytes.len(), advance), (4096, 4096));
    }
}
