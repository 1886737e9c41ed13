//! What lies above the place where the scan of a log failed.
//!
//! A frame boundary is unknown there, so every multiple of the frame alignment is a candidate;
//! one is believed only if its header names this log and this very position, its checksum is
//! good, and its leadership term is not below the last one accepted. Cold; changes nothing.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::HEADER_LENGTH;
use lockstep_transport::position::{FRAME_ALIGNMENT, Position, align, align_frame};

use super::evidence::FrameMeaning;
use super::frame_scan::{ScanWindow, is_zero};
use crate::disk::{BLOCK_LENGTH, ColdFiles, DiskError};
use crate::log::segment::WRITE_LENGTH_MAX;

/// So many zero bytes, above the end and above the ack mark, prove that nothing more comes: one
/// write of at most [`WRITE_LENGTH_MAX`] was in flight, and it began in the end's block or before.
const ZERO_RUN_LENGTH: usize = 2 * WRITE_LENGTH_MAX;

/// Bytes looked at in one step.
const STEP_LENGTH: usize = 64 * 1024;

/// What was found above the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// End of the last byte that is not zero, rounded up to a frame boundary; at or below the
    /// end when all are zero.
    pub(super) extent: Position,
    /// Where the first whole frame begins.
    pub(super) first_intact: Option<Position>,
    /// End and leadership term of the last whole frame.
    pub(super) last_intact: Option<(Position, LeadershipTermId)>,
    /// Greatest commit position that a leader wrote into these frames, and the leadership term of
    /// the newest whole frame below it, 0 if there is none: nothing that was committed so far is of
    /// a smaller one.
    pub(super) committed: (Position, LeadershipTermId),
    /// All there is above the end is the beginning of one frame, cut where a block ends: a long
    /// write goes up to a whole block, its last frame is whole only with the next one.
    pub(super) is_cut_frame: bool,
}

/// Looks at everything above `end`, and above `mark`, until nothing more can come.
pub(super) fn survey(
    disk: &mut impl ColdFiles,
    window: &mut ScanWindow<'_>,
    (end, mark): (Position, Position),
    last_term: LeadershipTermId,
    meaning_of: &impl Fn(&[u8]) -> FrameMeaning,
) -> Result<Survey, DiskError> {
    let mut found = Survey::default();
    measure(disk, window, (end, mark), &mut found)?;
    let mut position = end;
    let mut term = last_term;
    let mut commit = 0;
    // Where whole frames of a greater term begin.
    let mut terms: Vec<(Position, LeadershipTermId)> = Vec::new();
    while position < found.extent {
        let next = match window.frame(disk, position)? {
            Some((place, frame))
                if LeadershipTermId::from(place.leadership_term())
                    >= term.max(LeadershipTermId::FIRST) =>
            {
                let next = position + place.aligned_length as Position;
                if found.last_intact.is_none()
                    || LeadershipTermId::from(place.leadership_term()) > term
                {
                    terms.push((position, place.leadership_term().into()));
                }
                term = place.leadership_term().into();
                found.first_intact.get_or_insert(position);
                found.last_intact = Some((next, term));
                if !place.is_pad {
                    // Nobody has committed what lies above the entry that says so.
                    commit = commit.max(meaning_of(frame).leader_commit.min(position));
                }
                next
            }
            _ => position + FRAME_ALIGNMENT as Position,
        };
        position = next;
    }
    let below = terms.iter().rev().find(|(base, _)| *base < commit);
    found.committed = (
        commit,
        below.map_or(LeadershipTermId::NONE, |(_, term)| *term),
    );
    // A whole frame may end in zeros.
    let intact = found.last_intact.map_or(0, |(intact, _)| intact);
    found.extent = found.extent.max(intact);
    found.is_cut_frame = is_cut_frame(disk, window, end, &found)?;
    Ok(found)
}

/// The first whole frame at `end` or above, of `last_term` or a greater one; `None` where there is
/// none before so many zeros, above `mark` too, that nothing more can come.
pub(super) fn first_intact(
    disk: &mut impl ColdFiles,
    window: &mut ScanWindow<'_>,
    (end, mark): (Position, Position),
    last_term: LeadershipTermId,
) -> Result<Option<Position>, DiskError> {
    let lowest = last_term.max(LeadershipTermId::FIRST);
    let mut position = end;
    let mut zero_run = 0;
    while position < window.end() && (zero_run < ZERO_RUN_LENGTH || position < mark) {
        let step = STEP_LENGTH - position as usize % STEP_LENGTH;
        let length = window.readable(position, step).unwrap_or(step);
        let is_blank = match window.bytes(disk, position, length)? {
            Some(bytes) => is_zero(bytes),
            None => false,
        };
        zero_run = if is_blank { zero_run + length } else { 0 };
        let next = position + length as Position;
        while !is_blank && position < next {
            if let Some((place, _)) = window.frame(disk, position)?
                && LeadershipTermId::from(place.leadership_term()) >= lowest
            {
                return Ok(Some(position));
            }
            position += FRAME_ALIGNMENT as Position;
        }
        position = next;
    }
    Ok(None)
}

/// Finds the last byte that is not zero.
fn measure(
    disk: &mut impl ColdFiles,
    window: &mut ScanWindow<'_>,
    (end, mark): (Position, Position),
    found: &mut Survey,
) -> Result<(), DiskError> {
    let mut position = end;
    let mut zero_run = 0;
    while zero_run < ZERO_RUN_LENGTH || position < mark {
        let step = STEP_LENGTH - position as usize % STEP_LENGTH;
        let Some(length) = window.readable(position, step) else {
            if position >= window.end() {
                break;
            }
            // Segments are made in order: one that is missing below another was there, and may
            // have held anything.
            position += step as Position;
            found.extent = position;
            zero_run = 0;
            continue;
        };
        let last = match window.bytes(disk, position, length)? {
            Some(bytes) => bytes.iter().rposition(|byte| *byte != 0),
            // What cannot be read may have been anything.
            None => Some(length - 1),
        };
        if let Some(last) = last {
            found.extent = position + align_frame(last + 1) as Position;
            zero_run = 0;
        } else {
            zero_run += length;
        }
        position += length as Position;
    }
    Ok(())
}

fn is_cut_frame(
    disk: &mut impl ColdFiles,
    window: &mut ScanWindow<'_>,
    end: Position,
    found: &Survey,
) -> Result<bool, DiskError> {
    if found.last_intact.is_some() || found.extent <= end {
        return Ok(false);
    }
    let Some(header) = window.bytes(disk, end, HEADER_LENGTH)? else {
        return Ok(false);
    };
    let mut copy = [0; HEADER_LENGTH];
    copy.copy_from_slice(header);
    let cut = align(found.extent as usize, BLOCK_LENGTH) as Position;
    let place = window.in_place(&copy, end);
    Ok(!is_zero(&copy) && place.is_some_and(|place| end + place.aligned_length as Position > cut))
}
