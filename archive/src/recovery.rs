//! Finds where a crashed log ends, and tells a torn tail from damage (`log.md` 2.4).
//!
//! Cold, while a node starts. Scans the segments from the start of the log and accepts the
//! frame at q iff its checksum is good, it says (term id, offset) = q, and its leadership term
//! is the previous frame's or a greater one that a NewLeadershipTerm entry begins. The first
//! failure at or above the ack mark is the end of the log; below the mark it is damage, which
//! is reported and never cut. What was accepted is synced once more, and what a torn write
//! left behind the end is erased, so that nothing of it can ever be taken for a continuation.

use std::ops::Range;

use lockstep_transport::log_buffer::{HEADER_LENGTH, LogBuffer};
use lockstep_transport::position::{Geometry, Position};

use crate::catalog::Catalog;
use crate::checksum::{Chain, FramePlace, verify};
use crate::disk::{BLOCK_LENGTH, Disk, DiskError};
use crate::recorder::WRITE_LENGTH_MAX;
use crate::segment::{SegmentTable, length_in_segment};

/// Bytes read at once while scanning.
const SCAN_LENGTH: usize = 1 << 20;

/// So many zero bytes behind the end prove that no torn write reaches further: one write of at
/// most [`WRITE_LENGTH_MAX`] was in flight, and it began in the end's block or before.
const ZERO_RUN_LENGTH: usize = 2 * WRITE_LENGTH_MAX;

/// Why a log cannot be recovered at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The disk's error.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The catalog's values make no log.
    #[error("the catalog describes no possible log: start with an empty directory")]
    Geometry,
}

/// The log as recovery found it.
#[derive(Debug)]
pub struct RecoveredLog {
    /// Durable end: a frame boundary.
    pub end: Position,
    /// Leadership terms and the positions of their first frames, in order.
    pub terms: Vec<(i64, Position)>,
    /// Leadership term of the last frame, 0 for an empty log.
    pub last_term: i64,
    /// Acknowledged positions that can no longer be read.
    pub damaged: Option<Range<Position>>,
    /// Hash over everything below `end`.
    pub chain: Chain,
    /// The open segments.
    pub segments: SegmentTable,
}

/// Recovers the log of the directory behind `disk`, leaving `log` ready to be appended to at
/// the end: zeros, and the bytes of the end's block below it. `is_new_leadership_term` says
/// whether a whole frame begins a NewLeadershipTerm entry.
///
/// # Errors
/// The disk's. Damage is not an error, it is reported in the result.
pub fn recover(
    disk: &mut impl Disk,
    log: &mut LogBuffer,
    ack_mark: Position,
    catalog: &Catalog,
    is_new_leadership_term: impl Fn(&[u8]) -> bool,
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
    };
    scan.accept_frames(disk, &is_new_leadership_term)?;
    let end = scan.chain.position();
    let damaged = (end < ack_mark).then_some(end..ack_mark);
    if damaged.is_none() {
        sync_again(disk, &segments, end)?;
        erase_behind(disk, &segments, end)?;
    }
    restore_tail(disk, log, &segments, end)?;
    Ok(RecoveredLog {
        end,
        terms: scan.terms,
        last_term: scan.last_term,
        damaged,
        chain: scan.chain,
        segments,
    })
}

struct Scan {
    window: ScanWindow,
    chain: Chain,
    terms: Vec<(i64, Position)>,
    last_term: i64,
}

impl Scan {
    fn accept_frames(
        &mut self,
        disk: &mut impl Disk,
        is_new_leadership_term: &impl Fn(&[u8]) -> bool,
    ) -> Result<(), DiskError> {
        // A new leader whose first entry does not fit in the term pads it first: the PAD is of
        // the new leadership term and counts only together with the entry that follows.
        let mut pad: Option<(FramePlace, Position)> = None;
        loop {
            let end = pad.map_or(self.chain.position(), |(_, end)| end);
            let Some((place, frame)) = self.window.frame(disk, end)? else {
                return Ok(());
            };
            let leadership_term = i64::from(place.leadership_term());
            let next = end + place.aligned_length as Position;
            let expected = pad.map_or(self.last_term, |(pad, _)| pad.leadership_term().into());
            if leadership_term < expected || leadership_term == 0 {
                return Ok(());
            }
            let begins_term = leadership_term > self.last_term;
            if begins_term && place.is_pad && pad.is_none() {
                pad = Some((place, next));
                continue;
            }
            if begins_term && (place.is_pad || !is_new_leadership_term(frame)) {
                return Ok(());
            }
            if let Some((pad_place, pad_end)) = pad.take() {
                if leadership_term != i64::from(pad_place.leadership_term()) {
                    return Ok(());
                }
                self.terms.push((leadership_term, self.chain.position()));
                self.chain.fold(pad_place.reserved, pad_end);
            } else if begins_term {
                self.terms.push((leadership_term, end));
            }
            self.last_term = leadership_term;
            self.chain.fold(place.reserved, next);
        }
    }
}

/// A sliding window over the segments.
struct ScanWindow {
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

    /// `length` bytes at `position`; `None` when no segment holds them, or they cannot be read.
    fn bytes(
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
    fn frame(
        &mut self,
        disk: &mut impl Disk,
        position: Position,
    ) -> Result<Option<(FramePlace, &[u8])>, DiskError> {
        let geometry = self.geometry;
        let Some(header) = self.bytes(disk, position, HEADER_LENGTH)? else {
            return Ok(None);
        };
        let Ok(place) = FramePlace::read(header) else {
            return Ok(None);
        };
        let is_ours = place.session_id == self.session_id && place.stream_id == self.stream_id;
        let is_in_place = is_ours
            && place.term_id == geometry.term_id(position)
            && place.term_offset as usize == geometry.term_offset(position)
            && place.aligned_length <= geometry.term_length() - geometry.term_offset(position);
        if !is_in_place {
            return Ok(None);
        }
        let Some(frame) = self.bytes(disk, position, place.aligned_length)? else {
            return Ok(None);
        };
        let pad_is_zero = !place.is_pad || is_zero(&frame[HEADER_LENGTH..]);
        Ok((pad_is_zero && verify(frame).is_ok()).then_some((place, frame)))
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Makes everything below `end` durable: the crash may have been of the process only, with
/// the bytes still in a cache. A cold write syncs its whole file.
fn sync_again(
    disk: &mut impl Disk,
    segments: &SegmentTable,
    end: Position,
) -> Result<(), DiskError> {
    let mut base = segments.start().unwrap_or(end);
    while base < end {
        let segment_end = base + segments.segment_length() as Position;
        let last = end.min(segment_end) - 1;
        let block = last & !(BLOCK_LENGTH as Position - 1);
        if let Some((file, offset)) = segments.locate(block) {
            let mut bytes = [0; BLOCK_LENGTH];
            disk.read(file, offset, &mut bytes)?;
            disk.write(file, offset, &bytes)?;
        }
        base = segment_end;
    }
    Ok(())
}

/// Overwrites with zeros what lies behind the end, from the top down, so that a crash on the
/// way leaves the same log.
fn erase_behind(
    disk: &mut impl Disk,
    segments: &SegmentTable,
    end: Position,
) -> Result<(), DiskError> {
    let mut dirty: Vec<(Position, usize)> = Vec::new();
    let mut buffer = vec![0; WRITE_LENGTH_MAX];
    let mut zero_run = 0;
    let mut position = end;
    while zero_run < ZERO_RUN_LENGTH {
        let Some((file, offset)) = segments.locate(position) else {
            break;
        };
        let to_alignment = WRITE_LENGTH_MAX - position as usize % WRITE_LENGTH_MAX;
        let length = length_in_segment(position, to_alignment, segments.segment_length());
        disk.read(file, offset, &mut buffer[..length])?;
        if is_zero(&buffer[..length]) {
            zero_run += length;
        } else {
            zero_run = 0;
            dirty.push((position, length));
        }
        position += length as Position;
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
