//! Finds where a crashed log ends, and tells a torn tail from damage (`log.md` 2.4).
//!
//! Cold, while a node starts. Scans the segments from the start of the log, or from where a
//! snapshot stands for all below ([`LogOrigin`]), and accepts the frame at q iff its checksum is
//! good, it says (term id, offset) = q, and its leadership term is the previous frame's or a
//! greater one that a NewLeadershipTerm entry begins. What lies above the first failure, and the
//! ack mark, tell what the failure is (`survey`): the end of the log, or damage of what may have
//! been acknowledged. Damage is reported and never cut: what lies above it is the member's evidence
//! until its log is repaired. At the end of the log what was accepted is synced once more, and what
//! a torn write left behind it is erased, so that nothing of it can ever be taken for a
//! continuation. A truncation that a crash interrupted is completed. What a process left in its log
//! buffer is written behind the end first, and judged as all else is.

mod below;
mod evidence;
mod findings;
mod frame_scan;
pub mod inspection;
mod laid_over;
mod pouring;
mod survey;
mod verdict;

use core::ops::ControlFlow;

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use self::below::missing_below;
pub use self::evidence::{Acknowledged, FrameMeaning, LogOrigin, RecoveredTerm, RecoveryError};
use self::findings::{conclude, geometry_of, mark_findings};
pub use self::frame_scan::LogFrame;
use self::frame_scan::{FrameScan, is_zero};
use self::pouring::pour;
use self::survey::Survey;
use self::verdict::Verdict;
use crate::disk::{BLOCK_LENGTH, ColdFiles, DiskError};
use crate::files::ack_mark::AckMark;
use crate::files::ack_record::{AckRecord, LostAcks};
use crate::files::catalog::Catalog;
use crate::log::chain::{Chain, Checkpoint};
use crate::log::log_memory::LeftLog;
use crate::log::segment::{SegmentTable, WRITE_LENGTH_MAX, length_in_segment};

/// The log as recovery found it.
#[derive(Debug)]
pub struct RecoveredLog {
    /// Where it starts: nothing below can be read, whatever is there.
    pub start: Checkpoint,
    /// Where it breaks off below the place that it was scanned from, if it does: from there up to
    /// that place it is not there, and so it starts at that place.
    pub missing_from: Option<Position>,
    /// Durable end: a frame boundary.
    pub end: Position,
    /// Leadership terms, oldest first.
    pub terms: Vec<RecoveredTerm>,
    /// Leadership term of the last frame, 0 for an empty log.
    pub last_term: LeadershipTermId,
    /// Greatest commit position that a leader wrote into these frames.
    pub commit: Position,
    /// What is missing between `end` and what was acknowledged.
    pub lost: Option<LostAcks>,
    /// End of what lies above `end` and is no part of the log; it has to be erased before
    /// anything is written there.
    pub stale_end: Position,
    /// End of a torn tail in which a leader says what was committed: it is cut once the mark
    /// remembers that. `end` if there is none.
    torn_end: Position,
    /// Bytes of the log that only the log buffer had, of the life before.
    pub taken: u64,
    /// Hash over everything below `end`, whether it is read or not.
    pub chain: Chain,
    /// The open segments.
    pub segments: SegmentTable,
}

impl RecoveredLog {
    /// Cold: raises the mark, durable on return, before anything is said: to all that may have
    /// been acknowledged, and of this run of the host, in which acknowledgements wait for a sync or
    /// do not. It says that the log is committed up to `commit`, and no more. A torn tail that is
    /// evidence of a loss goes after that, announced as any cut: were it left, the next start in
    /// this run would take all of it for acknowledged.
    ///
    /// # Errors
    /// The disk's.
    pub fn raise_mark(
        &self,
        disk: &mut impl ColdFiles,
        mark: &mut AckMark,
        (commit, is_unsynced): (Position, bool),
    ) -> Result<(), DiskError> {
        let raised = AckRecord {
            position: self.end,
            term: self.last_term,
            commit,
            truncated_end: 0,
            lost: self.lost,
            boot_id: disk.boot_id(),
            is_unsynced,
            is_in_memory: false,
        };
        if self.torn_end > self.end {
            let announced = AckRecord {
                truncated_end: self.torn_end,
                ..raised
            };
            mark.write(disk, announced)?;
            sometimes(Mark::RecoveryCutsEvidence);
            erase_behind(disk, &self.segments, self.end, self.torn_end)?;
        }
        mark.write(disk, raised)
    }

    /// Cold: makes `log` ready to be appended to at the end: zeros, and the bytes of the end's
    /// block below it.
    ///
    /// # Errors
    /// The disk's.
    pub fn restore(&self, disk: &mut impl ColdFiles, log: &mut LogBuffer) -> Result<(), DiskError> {
        restore_tail(disk, log, &self.segments, self.end)
    }
}

/// Recovers the log of the directory behind `disk` from `origin` on; what the process before `left`
/// of it in memory is on disk on return, and segments in which nothing of the log is left are gone.
/// `meaning_of` looks into a whole frame.
///
/// # Errors
/// The disk's, and a log that is not its owner's, of which nothing is changed then. Damage is not
/// an error, it is reported in the result.
pub fn recover(
    disk: &mut impl ColdFiles,
    known: &Acknowledged,
    left: Option<&LeftLog<'_>>,
    (catalog, origin): (&Catalog, &LogOrigin),
    meaning_of: impl Fn(&[u8]) -> FrameMeaning,
) -> Result<RecoveredLog, RecoveryError> {
    let geometry = geometry_of(catalog)?;
    let log_start = origin.log_start.position;
    let mut segments = SegmentTable::open_all(disk, catalog.segment_length, log_start)?;
    let known = &known.with_left(left);
    let limit = known.limit(left);
    let mut scan = FrameScan::new(segments.clone(), geometry, catalog, origin, limit);
    scan.accept_frames(disk, &meaning_of, |_| ControlFlow::Continue(()))?;
    let mut taken = 0;
    if let Some(left) = left {
        let found = scan.end();
        // Where nothing was found, how much of what lies below is on disk is not known.
        let poured_from = if found == origin.position() {
            log_start
        } else {
            found
        };
        if pour(disk, &mut segments, left, (poured_from, limit))? {
            scan.renew(segments.clone());
            scan.accept_frames(disk, &meaning_of, |_| ControlFlow::Continue(()))?;
        }
        taken = (scan.end() - found) as u64;
    }
    let (above, verdict) = conclude(disk, known, &mut scan, &meaning_of)?;
    mark_findings(known, verdict.lost, (scan.end(), &above));
    let shape = (geometry, catalog);
    let missing_from = missing_below(disk, &segments, shape, origin, &meaning_of)?;
    if missing_from.is_some() {
        scan.chain.forget_below(origin.checkpoint);
    }
    let (stale_end, torn_end) = clear(disk, &segments, (known, limit), &scan, (&above, &verdict))?;
    let start = scan.chain.start();
    segments.raise_log_start(start.position);
    Ok(RecoveredLog {
        start,
        missing_from,
        end: scan.end(),
        terms: scan.terms,
        last_term: scan.last_term,
        commit: scan.commit,
        lost: verdict.lost,
        stale_end,
        torn_end,
        taken,
        chain: scan.chain,
        segments,
    })
}

/// Does what the verdict asks for: removes what a crash left of what was given up below, completes
/// a cut that it interrupted, syncs what was accepted, erases what is no part of the log. Returns
/// the ends of what is left above it, see [`RecoveredLog`].
fn clear(
    disk: &mut impl ColdFiles,
    segments: &SegmentTable,
    (known, limit): (&Acknowledged, Position),
    scan: &FrameScan<'_>,
    (above, verdict): (&Survey, &Verdict),
) -> Result<(Position, Position), DiskError> {
    let (end, mark) = (scan.end(), &known.mark);
    segments.remove_gone(disk)?;
    if known.is_cut() {
        sometimes(Mark::RecoveryFinishesCut);
        let from = end.max(mark.position);
        erase_behind(disk, segments, from, mark.truncated_end)?;
    }
    let mut stale_end = above.extent.max(mark.position).max(scan.reach());
    // Zeros over what was cut off may be in a cache only, too, where writes were not synced. Else
    // the crash may have been of the process only, with the last write still in a cache: that of a
    // repair too, above what was acknowledged and lies below the damage.
    let synced_end = if mark.is_unsynced {
        segments.end().unwrap_or(end)
    } else {
        end
    };
    segments.sync_below(disk, synced_end)?;
    if !known.is_cut() && limit < stale_end {
        // What an earlier start has found, and its mark says: the log went on without it, in memory
        // alone, and the next start would find no gap before it.
        let kept_end = limit.max(end);
        erase_behind(disk, segments, kept_end, stale_end)?;
        stale_end = kept_end;
    }
    if verdict.lost.is_none() {
        erase_behind(disk, segments, end, stale_end)?;
    }
    Ok(match verdict {
        Verdict { lost: None, .. } => (end, end),
        Verdict { is_torn: true, .. } => (end, stale_end),
        Verdict { .. } => (stale_end, end),
    })
}

/// Overwrites with zeros what lies behind the end, up to `stale_end`, from the top down, so that
/// a crash on the way leaves the same log.
fn erase_behind(
    disk: &mut impl ColdFiles,
    segments: &SegmentTable,
    end: Position,
    stale_end: Position,
) -> Result<(), DiskError> {
    let mut dirty: Vec<(Position, usize)> = Vec::new();
    let mut buffer = vec![0; WRITE_LENGTH_MAX];
    let mut position = end;
    while position < stale_end {
        let to_alignment = WRITE_LENGTH_MAX - position as usize % WRITE_LENGTH_MAX;
        let length = length_in_segment(position, to_alignment, segments.segment_length());
        if let Some((file, offset)) = segments.locate(position) {
            match disk.read(file, offset, &mut buffer[..length]) {
                Ok(()) if is_zero(&buffer[..length]) => {}
                Err(DiskError::Crashed) => return Err(DiskError::Crashed),
                // What cannot be read may be anything.
                _ => dirty.push((position, length)),
            }
        }
        position += length as Position;
    }
    if !dirty.is_empty() {
        sometimes(Mark::RecoveryErases);
    }
    buffer.fill(0);
    for (position, length) in dirty.into_iter().rev() {
        if let Some((file, offset)) = segments.locate(position) {
            disk.write(file, offset, &buffer[..length])?;
        }
    }
    Ok(())
}

/// Cold: makes `log` ready to be appended to at `end`: all zeros, except the bytes below `end`
/// in its block, which the next direct write repeats.
///
/// # Errors
/// The disk's.
pub(crate) fn restore_tail(
    disk: &mut impl ColdFiles,
    log: &mut LogBuffer,
    segments: &SegmentTable,
    end: Position,
) -> Result<(), DiskError> {
    let mut block = [0; BLOCK_LENGTH];
    let start = end & !(BLOCK_LENGTH as Position - 1);
    let length = (end - start) as usize;
    // Where the log starts at its end, nothing of it lies below, and nothing else has to.
    if length > 0 && segments.log_start() < end {
        let (file, offset) = segments.locate(start).ok_or_else(|| DiskError::Missing {
            name: format!("the segment of position {start}"),
        })?;
        disk.read(file, offset, &mut block[..length])?;
    }
    log.restart(end, &block[..length]);
    Ok(())
}
