//! What there is of the log for a reader: memory for the newest part, segments below it.

use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::position::{Geometry, Position, align_frame};

use crate::log::segment::SegmentTable;

/// The part of the log that is read from memory (`log.md` 2.1): the current term and the
/// previous one, but nothing below the position of the last start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryWindow {
    /// First position in memory.
    pub start: Position,
    /// End of the log.
    pub append: Position,
}

impl MemoryWindow {
    /// The window of a log that ends at `append`, on a node that last started at `restart`.
    #[must_use]
    pub fn new(geometry: Geometry, restart: Position, append: Position) -> Self {
        let previous_term = geometry.term_start(append) - geometry.term_length() as Position;
        Self {
            start: restart.max(previous_term),
            append,
        }
    }

    /// Whether `position` is in memory.
    #[must_use]
    pub const fn contains(&self, position: Position) -> bool {
        self.start <= position && position < self.append
    }
}

/// Everything a reader looks at.
#[derive(Clone, Copy, Debug)]
pub struct LogView<'a> {
    /// The log in memory.
    pub log: &'a LogBuffer,
    /// Which of it may be looked at.
    pub window: MemoryWindow,
    /// The log on disk.
    pub segments: &'a SegmentTable,
}

/// Last frame boundary at or below `end`, counting from the frame boundary `from`.
pub(crate) fn last_boundary(log: &LogBuffer, from: Position, end: Position) -> Position {
    let mut boundary = from;
    while boundary < end {
        let length = log.frame_length(boundary);
        assert!(
            length > 0,
            "no frame at {boundary} although the log goes on"
        );
        let next = boundary + align_frame(length as usize) as Position;
        if next > end {
            break;
        }
        boundary = next;
    }
    boundary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_two_terms_and_not_below_the_last_start() {
        let geometry = Geometry::new(0, 65_536).unwrap();
        let window = MemoryWindow::new(geometry, 0, 3 * 65_536 + 64);
        assert_eq!(window.start, 2 * 65_536);
        let window = MemoryWindow::new(geometry, 2 * 65_536 + 96, 3 * 65_536 + 64);
        assert_eq!(window.start, 2 * 65_536 + 96);
        assert!(window.contains(window.start) && !window.contains(window.append));
    }
}
