//! Whether the log is there below the place that a scan begins at (`log.md` 8.6). Cold; changes
//! nothing.
//!
//! It is not scanned there: a snapshot stands for it. But what a crash takes is the newest part of
//! a log, which may reach below the snapshot where writes are not synced, or the log is another
//! one's than the snapshot. So the newest two terms below are read, of which a log in memory has
//! some (`pouring`), and the files of all others have to be there. They are of the same log if
//! their leadership terms are the snapshot's, and their hash, which is known where they begin at
//! the start of the log. What rots further below is found when it is read.

use core::ops::ControlFlow;

use lockstep_transport::position::{Geometry, Position};

use super::evidence::{FrameMeaning, LogOrigin, RecoveredTerm, RecoveryError};
use super::frame_scan::FrameScan;
use crate::disk::ColdFiles;
use crate::files::catalog::Catalog;
use crate::log::chain::Checkpoint;
use crate::log::segment::SegmentTable;

/// Where the log breaks off below `origin`, if it does.
pub(super) fn missing_below(
    disk: &mut impl ColdFiles,
    segments: &SegmentTable,
    (geometry, catalog): (Geometry, &Catalog),
    origin: &LogOrigin,
    meaning_of: &impl Fn(&[u8]) -> FrameMeaning,
) -> Result<Option<Position>, RecoveryError> {
    let (start, end) = (origin.log_start, origin.checkpoint);
    if start == end {
        return Ok(None);
    }
    if origin.lacks_below {
        return Ok(Some(start.position));
    }
    if let Some(missing) = segments.missing_below(end.position) {
        return Ok(Some(missing.max(start.position)));
    }
    let newest = geometry.term_start(end.position) - geometry.term_length() as Position;
    let from = if start.position < newest {
        // What its hash is there is not known.
        Checkpoint {
            position: newest,
            hash: 0,
        }
    } else {
        start
    };
    let window = segments.clone();
    let below = LogOrigin::unknown_below(from);
    let mut scan = FrameScan::new(window, geometry, catalog, &below, end.position);
    scan.accept_frames(disk, meaning_of, |_| ControlFlow::Continue(()))?;
    let is_other = from == start && scan.chain.hash() != end.hash || !leads_to(&scan, from, origin);
    Ok(if scan.end() < end.position {
        Some(scan.end())
    } else {
        is_other.then_some(start.position)
    })
}

/// Whether what was scanned from `from` on has the leadership terms that `origin` knows.
fn leads_to(scan: &FrameScan<'_>, from: Checkpoint, origin: &LogOrigin) -> bool {
    let is_known = |found: &RecoveredTerm| {
        let known = origin.terms.iter().find(|known| known.term == found.term);
        known.is_some_and(|known| {
            // A PAD that a term begins with may end where the scan begins.
            let is_padded = found.base == from.position && known.base < found.base;
            known.id == found.id && (known.base == found.base || is_padded)
        })
    };
    scan.last_term == origin.last_term() && scan.terms.iter().all(is_known)
}
