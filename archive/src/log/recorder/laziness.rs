//! When a log that is safe in memory is written to its file: seldom, and much at once.
//!
//! Each write takes a core for some microseconds per page, on a thread that is not the node's; on
//! a small host that is time which some request would have had. So one long write is better than
//! many short ones: fewer requests meet one.

use lockstep_transport::position::Geometry;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::log::segment::WRITE_LENGTH_MAX;

/// What waits is written after so long, however little it is. What it bounds is how much a start
/// has to take from memory when little is appended.
const WAIT_MAX_NS: Nanos = 100 * MILLISECOND;

/// So many such lengths fit in a term: nothing is appended further than a term above what is
/// written, and that must not be felt.
const PER_TERM: usize = 8;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laziness {
    /// So much is written whenever it has come.
    length: usize,
    /// Since when something waits, as of the last cycle.
    since: Option<Nanos>,
    /// Somebody waits for all of it.
    pub(super) is_hurried: bool,
}

impl Laziness {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self {
            length: WRITE_LENGTH_MAX.min(geometry.term_length() / PER_TERM),
            since: None,
            is_hurried: false,
        }
    }

    /// Whether so many bytes that wait are to be written now.
    pub(super) fn is_due(&mut self, now: Nanos, unwritten: i64) -> bool {
        if unwritten == 0 {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_due =
            self.is_hurried || unwritten >= self.length as i64 || now - since >= WAIT_MAX_NS;
        if is_due {
            self.since = None;
        }
        is_due
    }

    /// When what waits is written at the latest.
    pub(super) fn due(&self) -> Option<Nanos> {
        self.since.map(|since| since + WAIT_MAX_NS)
    }
}
