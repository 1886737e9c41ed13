//! Writes what a process left in its log buffer to the segments it had not reached (`log.md` 10.3).
//!
//! Nothing is decided here: the scan goes on over what is written and accepts of it what it would
//! accept of any log. Whatever ends a start on the way, the next one finds as much in memory, and
//! not less on disk.

use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::disk::{ColdFiles, DiskError, FileId, SegmentName};
use crate::log::log_memory::LeftLog;
use crate::log::segment::{
    LOG_RECORDING_ID, SegmentTable, WRITE_LENGTH_MAX, base_position, length_in_segment,
};

/// Writes all of `left` that lies above `end`, where the log on disk was found to end, and below
/// `limit`, durable on return, in segments that are made where they are missing. Returns whether
/// there was any.
///
/// Where the log on disk is damaged further below, the rest lies above the damage then, as it would
/// had it been written in time: the only copy may be this.
pub(super) fn pour(
    disk: &mut impl ColdFiles,
    segments: &mut SegmentTable,
    left: &LeftLog<'_>,
    (end, limit): (Position, Position),
) -> Result<bool, DiskError> {
    let to = left.end().min(limit);
    let from = end.max(left.start());
    let mut position = from;
    while position < to {
        let (file, offset) = match segments.locate(position) {
            Some(place) => place,
            None => make_segment(disk, segments, position)?,
        };
        let wanted = WRITE_LENGTH_MAX
            .min(left.left_in_term(position))
            .min((to - position) as usize);
        let length = length_in_segment(position, wanted, segments.segment_length());
        disk.write(file, offset, left.bytes(position, length))?;
        position += length as Position;
    }
    if from < to {
        sometimes(Mark::RecoveryTakesLogMemory);
    }
    Ok(from < to)
}

fn make_segment(
    disk: &mut impl ColdFiles,
    segments: &mut SegmentTable,
    position: Position,
) -> Result<(FileId, u64), DiskError> {
    let length = segments.segment_length();
    let base = base_position(position, length);
    let name = SegmentName {
        recording_id: LOG_RECORDING_ID,
        position: base,
    };
    if segments.is_full() {
        return Err(DiskError::Full {
            name: name.file_name(),
            needed: length as u64,
        });
    }
    let file = disk.create(&name.file_name(), length as u64)?;
    segments.insert(base, file);
    Ok((file, (position - base) as u64))
}
