//! Finds how far a stream is contiguous, and what is missing next (`wire.md` A.15).

use super::buffer::LogBuffer;
use super::frame::HEADER_LENGTH;
use crate::position::{FRAME_ALIGNMENT, Position, align_frame};

/// Longest hole that is reported at once, and repeated per request: the receiver asks again for
/// the rest.
pub(crate) const HOLE_LENGTH_MAX: usize = 64 * 1024;

/// End of the contiguous frames from `from` on, at most `end`.
///
/// A length no frame can have, or one that passes `end`, stops it: frames can only overlap when
/// the sender contradicts itself, and such a stream stalls until it times out.
#[must_use]
pub fn contiguous_end(log: &LogBuffer, from: Position, end: Position) -> Position {
    let geometry = log.geometry();
    let mut position = from;
    while position < end {
        let Ok(length) = usize::try_from(log.frame_length(position)) else {
            break;
        };
        let covered = align_frame(length);
        let room = geometry.term_length() - geometry.term_offset(position);
        let next = position + covered as Position;
        if length < HEADER_LENGTH || covered > room || next > end {
            break;
        }
        position = next;
    }
    position
}

/// Length of the hole at `position`: up to the next frame, `end`, the term's end or
/// [`HOLE_LENGTH_MAX`], whichever comes first.
#[must_use]
pub fn hole_length(log: &LogBuffer, position: Position, end: Position) -> usize {
    let geometry = log.geometry();
    let room = geometry.term_length() - geometry.term_offset(position);
    let most = room
        .min(HOLE_LENGTH_MAX)
        .min(usize::try_from(end - position).unwrap_or(0));
    let mut length = 0;
    while length < most && log.frame_length(position + length as Position) == 0 {
        length += FRAME_ALIGNMENT;
    }
    length.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Geometry;

    const TERM: Position = 65_536;

    fn log_with(frames: &[(Position, i32)]) -> LogBuffer {
        let geometry = Geometry::new(0, TERM as usize).unwrap();
        let mut log = LogBuffer::allocate(geometry, 1408).unwrap();
        for (position, length) in frames {
            log.publish(*position, *length);
        }
        log
    }

    #[test]
    fn the_first_hole_is_measured_up_to_the_next_frame() {
        let log = log_with(&[(0, 40), (64, 64), (256, 64), (512, 64)]);
        assert_eq!(contiguous_end(&log, 0, 576), 128);
        assert_eq!(hole_length(&log, 128, 576), 128);
        assert_eq!(hole_length(&log, 320, 384), 64);
    }

    #[test]
    fn a_hole_ends_with_its_term() {
        let log = log_with(&[(TERM, 64)]);
        assert_eq!(hole_length(&log, TERM - 96, TERM + 64), 96);
    }

    #[test]
    fn a_length_no_frame_can_have_stops_the_advance() {
        for length in [-64, 31, 65_504, i32::MAX] {
            let mut log = log_with(&[(0, 64)]);
            log.write(64, &length.to_le_bytes());
            assert_eq!(contiguous_end(&log, 0, 4096), 64);
            assert_eq!(hole_length(&log, 64, TERM), 0);
        }
    }
}
