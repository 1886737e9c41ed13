//! Finds where a crashed log ends, and tells a torn tail from damage (`log.md` 2.4).
//!
//! Cold, while a node starts. Scans the segments from the start of the log and accepts the
//! frame at q iff its checksum is good, it says (term id, offset) = q, and its leadership term
//! is the previous frame's or a greater one that a NewLeadershipTerm entry begins. What lies
//! above the first failure, and the ack mark, tell what the failure is (`survey`): the
//! end of the log, or damage of what may have been acknowledged. Damage is reported and never
//! cut: what lies above it is the member's evidence until its log is repaired. At the end of the
//! log what was accepted is synced once more, and what a torn write left behind it is erased, so
//! that nothing of it can ever be taken for a continuation. A truncation that a crash
//! interrupted is completed.

use lockstep_transport::invariant;
use lockstep_transport::log_buffer::frame_seal::{FramePlace, verify};
use lockstep_transport::log_buffer::{HEADER_LENGTH, LogBuffer};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::{Geometry, Position};

use crate::ack_mark::{AckMark, AckRecord, LostAcks};
use crate::catalog::Catalog;
use crate::chain::Chain;
use crate::disk::{BLOCK_LENGTH, Disk, DiskError};
use crate::recorder::WRITE_LENGTH_MAX;
use crate::segment::{SegmentTable, length_in_segment};
use crate::survey::{Survey, survey};

/// Bytes read at once while scanning.
const SCAN_LENGTH: usize = 1 << 20;

/// Why a log cannot be recovered at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The disk's error.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The catalog's values make no log.
    #[error("the catalog describes no possible log: it is damaged, keep it as it is")]
    Geometry,
    /// What the log says of its cluster is not what the owner of its entries expects. Nothing
    /// has been changed.
    #[error("the log at {position} is not the one that belongs here: nothing was changed")]
    Foreign {
        /// The entry that says so.
        position: Position,
    },
}

/// What the owner of the log's entries sees in a whole frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameMeaning {
    /// The id of the leadership term that it begins, if it is a NewLeadershipTerm entry.
    pub term_id: Option<u128>,
    /// The commit position of the leader that appended it, 0 if it does not say.
    pub leader_commit: Position,
    /// It says that the log is another one's.
    pub is_foreign: bool,
}

/// A leadership term as the log shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredTerm {
    /// Its number.
    pub term: i64,
    /// Position of its first frame.
    pub base: Position,
    /// The random id in its first entry.
    pub id: u128,
    /// Hash of the log below `base`.
    pub chain: u64,
}

/// What a member knows besides its log.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// What the ack mark's file holds.
    pub mark: AckRecord,
    /// The file holds nothing any more: how far it acknowledged is not known.
    pub is_mark_lost: bool,
    /// It has acknowledged nothing of a greater leadership term: that of its node state.
    pub term_max: i64,
}

/// The log as recovery found it.
#[derive(Debug)]
pub struct RecoveredLog {
    /// Durable end: a frame boundary.
    pub end: Position,
    /// Leadership terms, oldest first.
    pub terms: Vec<RecoveredTerm>,
    /// Leadership term of the last frame, 0 for an empty log.
    pub last_term: i64,
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
    /// Hash over everything below `end`.
    pub chain: Chain,
    /// The open segments.
    pub segments: SegmentTable,
}

impl Acknowledged {
    /// A cut was announced and not reported done.
    const fn is_cut(&self) -> bool {
        self.mark.truncated_end > self.mark.position
    }
}

impl RecoveredLog {
    /// Cold: raises the mark, durable on return, before anything is said: to all that may have
    /// been acknowledged, and of this run of the host, in which acknowledgements wait for a sync or
    /// do not. A torn tail that is evidence of a loss goes after that, announced as any cut: were
    /// it left, the next start in this run would take all of it for acknowledged.
    ///
    /// # Errors
    /// The disk's.
    pub fn raise_mark(
        &self,
        disk: &mut impl Disk,
        mark: &mut AckMark,
        is_unsynced: bool,
    ) -> Result<(), DiskError> {
        let raised = AckRecord {
            position: self.end,
            term: self.last_term,
            commit: mark.record().commit.max(self.commit),
            truncated_end: 0,
            lost: self.lost,
            boot_id: disk.boot_id(),
            is_unsynced,
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
}

/// Recovers the log of the directory behind `disk`, leaving `log` ready to be appended to at
/// the end: zeros, and the bytes of the end's block below it. `meaning_of` looks into a whole
/// frame.
///
/// # Errors
/// The disk's, and a log that is not its owner's, of which nothing is changed then. Damage is not
/// an error, it is reported in the result.
pub fn recover(
    disk: &mut impl Disk,
    log: &mut LogBuffer,
    known: &Acknowledged,
    catalog: &Catalog,
    meaning_of: impl Fn(&[u8]) -> FrameMeaning,
) -> Result<RecoveredLog, RecoveryError> {
    let geometry = Geometry::new(catalog.initial_term_id, catalog.term_length)
        .filter(|_| catalog.segment_length.is_power_of_two())
        .filter(|_| catalog.segment_length >= catalog.term_length)
        .ok_or(RecoveryError::Geometry)?;
    let segments = SegmentTable::open_all(disk, catalog.segment_length)?;
    let mut scan = Scan {
        window: ScanWindow::new(segments.clone(), geometry, catalog),
        chain: Chain::new(),
        terms: Vec::new(),
        last_term: 0,
        commit: 0,
        lone_pad_end: None,
        limit: if known.is_cut() {
            known.mark.position
        } else {
            Position::MAX
        },
    };
    scan.accept_frames(disk, &meaning_of)?;
    let above = look_above(disk, &segments, known, &mut scan, &meaning_of)?;
    let end = scan.chain.position();
    let verdict = judge(known, &scan, &above, disk.boot_id());
    mark_findings(known, verdict.lost, (end, &above));
    let stale_end = above.extent.max(known.mark.position).max(scan.reach());
    // Zeros over what was cut off may be in a cache only, too, where writes were not synced. Else
    // the crash may have been of the process only, with the last write still in a cache: that of a
    // repair too, above what was acknowledged and lies below the damage.
    let synced_end = if known.mark.is_unsynced {
        segments.end().unwrap_or(end)
    } else {
        end
    };
    segments.sync_below(disk, synced_end)?;
    if verdict.lost.is_none() {
        erase_behind(disk, &segments, end, stale_end)?;
    }
    restore_tail(disk, log, &segments, end)?;
    let (stale_end, torn_end) = match verdict {
        Verdict { lost: None, .. } => (end, end),
        Verdict { is_torn: true, .. } => (end, stale_end),
        Verdict { .. } => (stale_end, end),
    };
    Ok(RecoveredLog {
        end,
        terms: scan.terms,
        last_term: scan.last_term,
        commit: scan.commit,
        lost: verdict.lost,
        stale_end,
        torn_end,
        chain: scan.chain,
        segments,
    })
}

/// What lies above the end; a cut that a crash interrupted is completed instead.
fn look_above(
    disk: &mut impl Disk,
    segments: &SegmentTable,
    known: &Acknowledged,
    scan: &mut Scan,
    meaning_of: &impl Fn(&[u8]) -> FrameMeaning,
) -> Result<Survey, RecoveryError> {
    let mark = &known.mark;
    if known.is_cut() {
        sometimes(Mark::RecoveryFinishesCut);
        let from = scan.chain.position().max(mark.position);
        erase_behind(disk, segments, from, mark.truncated_end)?;
        return Ok(Survey::default());
    }
    let span = (scan.reach(), mark.position);
    let last_term = scan.last_term;
    Ok(survey(disk, &mut scan.window, span, last_term, meaning_of)?)
}

/// What the end of the log is.
struct Verdict {
    /// What is missing of what may have been acknowledged.
    lost: Option<LostAcks>,
    /// What lies above the end is what a torn write left, and may go.
    is_torn: bool,
}

/// Tells a torn tail from damage.
fn judge(known: &Acknowledged, scan: &Scan, above: &Survey, boot_id: Option<u128>) -> Verdict {
    let mark = &known.mark;
    let (end, reach, last_term) = (scan.chain.position(), scan.reach(), scan.last_term);
    let is_same_boot = mark.boot_id.is_some() && mark.boot_id == boot_id;
    // Only a synced write is torn within its own reach; and without a mark, nobody knows.
    let is_out_of_order = mark.may_have_gone(boot_id) || known.is_mark_lost;
    let is_never_torn = is_same_boot || is_out_of_order;
    let is_damage = mark.position > reach || is_beyond_tearing(reach, is_never_torn, above);
    // Leadership terms do not decrease along the log.
    let found = lost_acks(known, reach, is_never_torn, above).map(|lost| LostAcks {
        term: lost.term.max(last_term),
        ..lost
    });
    let lost = [mark.lost, found].into_iter().flatten();
    let lost = lost.reduce(LostAcks::union);
    let lost = lost.filter(|lost| !lost.is_covered_by(last_term, end));
    invariant!(
        ShortLogHasLoss,
        mark.position <= reach || lost.is_some() || last_term > mark.term,
        "A2: the log ends at {end}, below the mark at {}, and nothing is missing",
        mark.position
    );
    Verdict {
        lost,
        // Where a repair has begun, what was there before it has been erased.
        is_torn: !is_damage && (mark.lost.is_none() || end > mark.position),
    }
}

/// What kind of log this start has found.
fn mark_findings(known: &Acknowledged, lost: Option<LostAcks>, (end, above): (Position, &Survey)) {
    match (known.mark.lost, lost) {
        (None, None) if above.extent > end => sometimes(Mark::RecoveryCutsTornTail),
        (None, Some(_)) => sometimes(Mark::RecoveryFindsLoss),
        (Some(_), Some(_)) => sometimes(Mark::RecoveryKnowsLoss),
        (Some(_), None) => sometimes(Mark::RecoveryFindsLossCovered),
        (None, None) => {}
    }
    if known.mark.is_unsynced {
        sometimes(Mark::RecoveryOfUnsyncedLog);
    }
    if known.is_mark_lost {
        sometimes(Mark::RecoveryWithoutMark);
    }
}

/// Whether what lies above `end` cannot be the torn tail of the one write in flight.
fn is_beyond_tearing(end: Position, is_never_torn: bool, above: &Survey) -> bool {
    let (intact, _) = above.last_intact.unwrap_or((0, 0));
    let out_of_reach = end + (WRITE_LENGTH_MAX + BLOCK_LENGTH) as Position;
    (is_never_torn && above.extent > end && !above.is_cut_frame) || intact > out_of_reach
}

/// What was acknowledged above `end`, where the log was found to end.
///
/// The mark alone is not enough, it may be 10 ms old. Where only the process died, every write
/// is whole: bytes above the end are damage, and all of them may have been acknowledged. Where
/// the host died, the one write in flight may be torn: what lies within its reach is a torn tail.
/// Not so where writes were not synced one by one: any of them may be there while an older one is
/// not.
///
/// If a leader says in such a tail what it had committed above the end, this member may have
/// helped with that; or the others did, and the tail is torn. So no more than that counts, in the
/// term of the newest whole frame below it: whoever has all of it has no smaller one.
///
/// Where an earlier start knew of a loss, what lies above the last whole frame is none of what was
/// acknowledged since: the process alone has died, so that all of that is whole. It is what a torn
/// write left there before.
fn lost_acks(
    known: &Acknowledged,
    end: Position,
    is_never_torn: bool,
    above: &Survey,
) -> Option<LostAcks> {
    let mark = &known.mark;
    let (intact, intact_term) = above.last_intact.unwrap_or((0, 0));
    let is_beyond_tearing = is_beyond_tearing(end, is_never_torn, above);
    if !is_beyond_tearing && mark.position <= end {
        let (position, term) = above.committed;
        return (position > end).then_some(LostAcks { position, term });
    }
    let position = if is_beyond_tearing && mark.lost.is_none() {
        above.extent
    } else {
        intact
    };
    // What lies above the last whole frame is of a term that cannot be read.
    let is_known = position <= intact.max(mark.position);
    let term = intact_term.max(mark.term);
    Some(LostAcks {
        position: position.max(mark.position),
        term: if is_known {
            term
        } else {
            known.term_max.max(term)
        },
    })
}

struct Scan {
    window: ScanWindow,
    chain: Chain,
    terms: Vec<RecoveredTerm>,
    last_term: i64,
    commit: Position,
    /// End of a whole PAD at the end of the log that would begin a term.
    lone_pad_end: Option<Position>,
    /// Nothing above is accepted.
    limit: Position,
}

impl Scan {
    /// End of the last whole frame. A PAD whose entry was not written yet is no part of the log,
    /// and nothing of it was acknowledged (W2), although the mark may cover it: it is not damage
    /// either.
    fn reach(&self) -> Position {
        self.lone_pad_end.unwrap_or(self.chain.position())
    }

    fn accept_frames(
        &mut self,
        disk: &mut impl Disk,
        meaning_of: &impl Fn(&[u8]) -> FrameMeaning,
    ) -> Result<(), RecoveryError> {
        // A new leader whose first entry does not fit in the term pads it first: the PAD is of
        // the new leadership term and counts only together with the entry that follows.
        let mut pad: Option<(FramePlace, Position)> = None;
        loop {
            let end = pad.map_or(self.chain.position(), |(_, end)| end);
            let Some((place, frame)) = self.window.frame(disk, end)? else {
                if pad.is_some() {
                    sometimes(Mark::RecoveryOfLonePad);
                    self.lone_pad_end = Some(end);
                }
                return Ok(());
            };
            let leadership_term = i64::from(place.leadership_term());
            let next = end + place.aligned_length as Position;
            let expected = pad.map_or(self.last_term, |(pad, _)| pad.leadership_term().into());
            if leadership_term < expected || leadership_term == 0 || next > self.limit {
                return Ok(());
            }
            let begins_term = leadership_term > self.last_term;
            if begins_term && place.is_pad && pad.is_none() {
                pad = Some((place, next));
                continue;
            }
            let meaning = if place.is_pad {
                FrameMeaning::default()
            } else {
                meaning_of(frame)
            };
            if meaning.is_foreign {
                return Err(RecoveryError::Foreign { position: end });
            }
            if begins_term {
                let Some(id) = meaning.term_id else {
                    return Ok(());
                };
                if pad.is_some_and(|(pad, _)| i64::from(pad.leadership_term()) != leadership_term) {
                    return Ok(());
                }
                self.terms.push(RecoveredTerm {
                    term: leadership_term,
                    base: self.chain.position(),
                    id,
                    chain: self.chain.hash(),
                });
            }
            if let Some((pad_place, pad_end)) = pad.take() {
                sometimes(Mark::RecoveryOfPaddedFirstEntry);
                self.chain.fold(pad_place.reserved, pad_end);
            }
            self.last_term = leadership_term;
            self.commit = self.commit.max(meaning.leader_commit.min(end));
            self.chain.fold(place.reserved, next);
        }
    }
}

/// A sliding window over the segments.
pub(crate) struct ScanWindow {
    segments: SegmentTable,
    geometry: Geometry,
    session_id: i32,
    stream_id: i32,
    buffer: Vec<u8>,
    start: Position,
    length: usize,
}

impl ScanWindow {
    fn new(segments: SegmentTable, geometry: Geometry, catalog: &Catalog) -> Self {
        Self {
            segments,
            geometry,
            session_id: catalog.session_id,
            stream_id: catalog.stream_id,
            buffer: vec![0; SCAN_LENGTH],
            start: 0,
            length: 0,
        }
    }

    /// Bytes from `position` on that can be looked at in one piece, at most `length`; `None` when
    /// no segment holds any.
    pub(crate) fn readable(&self, position: Position, length: usize) -> Option<usize> {
        self.segments.locate(position)?;
        let segment_length = self.segments.segment_length();
        Some(length_in_segment(position, length, segment_length))
    }

    /// End of the newest segment.
    pub(crate) fn end(&self) -> Position {
        self.segments.end().unwrap_or(0)
    }

    /// Whether the header in `bytes` is of a frame that the log may have at `position`, as far as
    /// a header tells.
    pub(crate) fn in_place(&self, bytes: &[u8], position: Position) -> Option<FramePlace> {
        let geometry = self.geometry;
        let place = FramePlace::read(bytes).ok()?;
        let is_ours = place.session_id == self.session_id && place.stream_id == self.stream_id;
        let offset = geometry.term_offset(position);
        let is_in_place = is_ours
            && place.term_id == geometry.term_id(position)
            && usize::try_from(place.term_offset) == Ok(offset)
            && place.aligned_length <= geometry.term_length() - offset;
        is_in_place.then_some(place)
    }

    /// `length` bytes at `position`; `None` when no segment holds them, or they cannot be read.
    pub(crate) fn bytes(
        &mut self,
        disk: &mut impl Disk,
        position: Position,
        length: usize,
    ) -> Result<Option<&[u8]>, DiskError> {
        let is_inside = position >= self.start
            && position + length as Position <= self.start + self.length as Position;
        if !is_inside {
            let Some((file, offset)) = self.segments.locate(position) else {
                return Ok(None);
            };
            let wanted = SCAN_LENGTH.max(length);
            let readable = length_in_segment(position, wanted, self.segments.segment_length());
            if readable < length {
                return Ok(None);
            }
            self.buffer.resize(wanted, 0);
            self.length = 0;
            match disk.read(file, offset, &mut self.buffer[..readable]) {
                Ok(()) => {}
                Err(DiskError::Crashed) => return Err(DiskError::Crashed),
                // An unreadable range is no frame: damage or tail, as the ack mark decides.
                Err(_) => return Ok(None),
            }
            self.start = position;
            self.length = readable;
        }
        let offset = (position - self.start) as usize;
        Ok(Some(&self.buffer[offset..offset + length]))
    }

    /// The frame at `position`, if there is a good one (leadership terms not looked at).
    pub(crate) fn frame(
        &mut self,
        disk: &mut impl Disk,
        position: Position,
    ) -> Result<Option<(FramePlace, &[u8])>, DiskError> {
        let Some(header) = self.bytes(disk, position, HEADER_LENGTH)? else {
            return Ok(None);
        };
        let mut copy = [0; HEADER_LENGTH];
        copy.copy_from_slice(header);
        let Some(place) = self.in_place(&copy, position) else {
            return Ok(None);
        };
        let Some(frame) = self.bytes(disk, position, place.aligned_length)? else {
            return Ok(None);
        };
        let pad_is_zero = !place.is_pad || is_zero(&frame[HEADER_LENGTH..]);
        Ok((pad_is_zero && verify(frame).is_ok()).then_some((place, frame)))
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Overwrites with zeros what lies behind the end, up to `stale_end`, from the top down, so that
/// a crash on the way leaves the same log.
fn erase_behind(
    disk: &mut impl Disk,
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
pub fn restore_tail(
    disk: &mut impl Disk,
    log: &mut LogBuffer,
    segments: &SegmentTable,
    end: Position,
) -> Result<(), DiskError> {
    let mut block = [0; BLOCK_LENGTH];
    let start = end & !(BLOCK_LENGTH as Position - 1);
    let length = (end - start) as usize;
    if length > 0 {
        let (file, offset) = segments.locate(start).ok_or_else(|| DiskError::Missing {
            name: format!("the segment of position {start}"),
        })?;
        disk.read(file, offset, &mut block[..length])?;
    }
    log.restart(end, &block[..length]);
    Ok(())
}
