//! Positions in a stream and their relation to terms: pure arithmetic, `wire.md` A.5.
//!
//! A stream is a byte sequence cut into terms of equal power-of-two length. A position is a
//! byte offset from the start of the stream; frames start at multiples of
//! [`FRAME_ALIGNMENT`].

/// Byte position in a stream, a multiple of [`FRAME_ALIGNMENT`] at every frame boundary.
pub type Position = i64;

/// Frames begin at multiples of this many bytes.
pub const FRAME_ALIGNMENT: usize = 32;

/// Smallest term length a stream may have, in bytes.
pub(crate) const TERM_LENGTH_MIN: usize = 64 * 1024;

/// Largest term length a stream may have, in bytes.
pub(crate) const TERM_LENGTH_MAX: usize = 1 << 30;

/// `length` rounded up to a multiple of `alignment`, which must be a power of two.
#[must_use]
pub const fn align(length: usize, alignment: usize) -> usize {
    (length + alignment - 1) & !(alignment - 1)
}

/// `length` rounded up to a whole number of frame slots.
#[must_use]
pub const fn align_frame(length: usize) -> usize {
    align(length, FRAME_ALIGNMENT)
}

/// Term length and first term id of one stream: everything needed to convert positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    initial_term_id: i32,
    term_length: usize,
}

impl Geometry {
    /// Describes a stream whose first term is `initial_term_id`.
    ///
    /// Returns `None` unless `term_length` is a power of two within the permitted range.
    #[must_use]
    pub const fn new(initial_term_id: i32, term_length: usize) -> Option<Self> {
        if term_length.is_power_of_two()
            && term_length >= TERM_LENGTH_MIN
            && term_length <= TERM_LENGTH_MAX
        {
            Some(Self {
                initial_term_id,
                term_length,
            })
        } else {
            None
        }
    }

    /// Term id of position 0.
    #[must_use]
    pub const fn initial_term_id(&self) -> i32 {
        self.initial_term_id
    }

    /// Bytes in one term.
    #[must_use]
    pub const fn term_length(&self) -> usize {
        self.term_length
    }

    /// Number of terms before the one that holds `position`.
    #[must_use]
    pub(crate) const fn term_count(&self, position: Position) -> i64 {
        position / self.term_length as i64
    }

    /// Term id of `position`, in wrapping arithmetic.
    #[must_use]
    pub const fn term_id(&self, position: Position) -> i32 {
        self.initial_term_id
            .wrapping_add(self.term_count(position) as i32)
    }

    /// Offset of `position` within its term, in bytes.
    #[must_use]
    pub const fn term_offset(&self, position: Position) -> usize {
        (position as usize) & (self.term_length - 1)
    }

    /// First position of the term that holds `position`.
    #[must_use]
    pub const fn term_start(&self, position: Position) -> Position {
        position & !(self.term_length as i64 - 1)
    }

    /// Position of (`term_id`, `term_offset`), or `None` for a term before the initial one.
    ///
    /// An offset equal to the term length means the start of the next term.
    #[must_use]
    pub const fn position(&self, term_id: i32, term_offset: usize) -> Option<Position> {
        let terms = term_id.wrapping_sub(self.initial_term_id);
        if terms < 0 || term_offset > self.term_length {
            return None;
        }
        Some(terms as i64 * self.term_length as i64 + term_offset as i64)
    }

    /// Index (0..3) of the term buffer that holds `position`.
    #[must_use]
    pub const fn buffer_index(&self, position: Position) -> usize {
        (self.term_count(position) % 3) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_and_term_convert_both_ways_across_term_id_wrap() {
        let geometry = Geometry::new(i32::MAX, 65536).unwrap();
        let position = 65536 + 64;
        assert_eq!(geometry.term_id(position), i32::MIN);
        assert_eq!(geometry.position(i32::MIN, 64), Some(position));
        assert_eq!(geometry.position(i32::MAX - 1, 0), None);
    }

    #[test]
    fn lengths_outside_the_rules_are_refused() {
        assert!(Geometry::new(0, 65535).is_none());
        assert!(Geometry::new(0, 32768).is_none());
        assert!(Geometry::new(0, 1 << 31).is_none());
    }
}
