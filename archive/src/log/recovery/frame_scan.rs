//! Reads a log from where it starts, or from where a snapshot was taken of it, and accepts frame
//! after frame, up to the first that cannot be one of it (`log.md` 2.4). Cold; changes nothing.

use core::ops::ControlFlow;

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::HEADER_LENGTH;
use lockstep_transport::log_buffer::frame_seal::{FramePlace, verify};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::{Geometry, Position};

use super::evidence::{FrameMeaning, LogOrigin, RecoveredTerm, RecoveryError};
use super::laid_over::{LaidOver, is_in_memory};
use crate::disk::{BLOCK_LENGTH, ColdFiles, DiskError, FileId};
use crate::files::catalog::Catalog;
use crate::log::chain::{Chain, Checkpoint};
use crate::log::log_memory::LeftLog;
use crate::log::segment::{SegmentTable, length_in_segment};

/// Bytes read at once while scanning.
const SCAN_LENGTH: usize = 1 << 20;

/// A frame that was accepted, for whoever wants to see each of them.
#[derive(Clone, Copy, Debug)]
pub struct LogFrame<'a> {
    /// Where it begins.
    pub position: Position,
    /// The leadership term that it is of.
    pub term: LeadershipTermId,
    /// Header, payload and padding.
    pub bytes: &'a [u8],
}

/// The frames that are accepted, from where the scan began.
#[derive(Debug)]
pub(super) struct FrameScan<'a> {
    pub(super) window: ScanWindow<'a>,
    pub(super) chain: Chain,
    pub(super) terms: Vec<RecoveredTerm>,
    pub(super) last_term: LeadershipTermId,
    pub(super) commit: Position,
    /// End of a whole PAD at the end of the log that would begin a term.
    lone_pad_end: Option<Position>,
    /// Nothing above is accepted.
    limit: Position,
    /// The frame before is not known: the next may be of any leadership term from the last one on.
    is_joining: bool,
}

impl<'a> FrameScan<'a> {
    /// Of the log in `segments`, from `origin` as far as `limit`.
    pub(super) fn new(
        segments: SegmentTable,
        geometry: Geometry,
        catalog: &Catalog,
        origin: &LogOrigin,
        limit: Position,
    ) -> Self {
        let segment_length = segments.segment_length();
        let last_term = origin.last_term();
        Self {
            window: ScanWindow::new(segments, geometry, catalog),
            chain: Chain::of_log(origin.log_start, origin.checkpoint, segment_length),
            terms: origin.terms.clone(),
            last_term,
            commit: origin.position(),
            lone_pad_end: None,
            limit,
            is_joining: origin.position() > 0 && last_term == LeadershipTermId::NONE,
        }
    }

    /// Goes on at `position`, where a frame may begin, whatever lies below. What the chain says
    /// means nothing from here on.
    pub(super) fn join_at(&mut self, position: Position) {
        let unknown = Checkpoint { position, hash: 0 };
        let segment_length = self.window.segments.segment_length();
        self.chain = Chain::of_log(unknown, unknown, segment_length);
        self.lone_pad_end = None;
        self.is_joining = true;
    }

    /// What a process left in memory is read as if it lay on disk, above the end of what is
    /// accepted and below the limit. Nothing is written.
    pub(super) fn lay_over(&mut self, left: &'a LeftLog<'a>) {
        let laid = LaidOver::new(left, (self.end(), self.limit));
        let mut segments = self.window.segments.clone();
        laid.add_segments(&mut segments);
        self.window.laid_over = Some(laid);
        self.renew(segments);
    }

    /// Where the log starts.
    pub(super) const fn log_start(&self) -> Position {
        self.window.segments.log_start()
    }

    /// Nothing above is accepted, unless the limit is raised.
    pub(super) const fn limit(&self) -> Position {
        self.limit
    }

    /// All below `position` may be accepted: it was acknowledged since the limit was set.
    pub(super) fn raise_limit(&mut self, position: Position) {
        self.limit = self.limit.max(position);
    }

    /// End of what is accepted.
    pub(super) const fn end(&self) -> Position {
        self.chain.position()
    }

    /// End of the last whole frame. A PAD whose entry was not written yet is no part of the log,
    /// and nothing of it was acknowledged (W2), although the mark may cover it: it is not damage
    /// either.
    pub(super) fn reach(&self) -> Position {
        self.lone_pad_end.unwrap_or(self.chain.position())
    }

    /// The segments hold more than they did.
    pub(super) fn renew(&mut self, segments: SegmentTable) {
        self.window.segments = segments;
        self.window.length = 0;
        self.window.unreadable = None;
        self.lone_pad_end = None;
    }

    pub(super) fn accept_frames(
        &mut self,
        disk: &mut impl ColdFiles,
        meaning_of: &impl Fn(&[u8]) -> FrameMeaning,
        mut observe: impl FnMut(LogFrame<'_>) -> ControlFlow<()>,
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
            let leadership_term = LeadershipTermId::from(place.leadership_term());
            let next = end + place.aligned_length as Position;
            let expected = pad.map_or(self.last_term, |(pad, _)| pad.leadership_term().into());
            if leadership_term < expected
                || leadership_term == LeadershipTermId::NONE
                || next > self.limit
            {
                return Ok(());
            }
            let begins_term = leadership_term > self.last_term && !self.is_joining;
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
            if begins_term || self.is_joining && meaning.term_id.is_some() {
                let Some(begun) = begun(&self.chain, leadership_term, meaning.term_id, pad) else {
                    return Ok(());
                };
                self.terms.push(begun);
            }
            if let Some((pad_place, pad_end)) = pad.take() {
                sometimes(Mark::RecoveryOfPaddedFirstEntry);
                self.chain.fold(pad_place.reserved, pad_end);
            }
            self.last_term = leadership_term;
            self.is_joining = false;
            self.commit = self.commit.max(meaning.leader_commit.min(end));
            let seen = observe(LogFrame {
                position: end,
                term: leadership_term,
                bytes: frame,
            });
            self.chain.fold(place.reserved, next);
            if seen.is_break() {
                return Ok(());
            }
        }
    }
}

/// The leadership term that begins at the end of `chain` with its first entry, whose `id` that is,
/// or with the PAD before that, if one does.
fn begun(
    chain: &Chain,
    term: LeadershipTermId,
    id: Option<u128>,
    pad: Option<(FramePlace, Position)>,
) -> Option<RecoveredTerm> {
    let of_pad = pad.map(|(pad, _)| LeadershipTermId::from(pad.leadership_term()));
    Some(RecoveredTerm {
        term,
        base: chain.position(),
        id: id.filter(|_| of_pad.is_none_or(|of_pad| of_pad == term))?,
        chain: chain.hash(),
    })
}

/// A sliding window over the segments.
#[derive(Debug)]
pub(super) struct ScanWindow<'a> {
    segments: SegmentTable,
    laid_over: Option<LaidOver<'a>>,
    geometry: Geometry,
    session_id: i32,
    stream_id: i32,
    buffer: Vec<u8>,
    start: Position,
    length: usize,
    /// The block that could not be read last.
    unreadable: Option<Position>,
}

impl ScanWindow<'_> {
    fn new(segments: SegmentTable, geometry: Geometry, catalog: &Catalog) -> Self {
        Self {
            segments,
            laid_over: None,
            geometry,
            session_id: catalog.session_id,
            stream_id: catalog.stream_id,
            buffer: vec![0; SCAN_LENGTH],
            start: 0,
            length: 0,
            unreadable: None,
        }
    }

    /// Bytes from `position` on that can be looked at in one piece, at most `length`; `None` when
    /// no segment holds any.
    pub(super) fn readable(&self, position: Position, length: usize) -> Option<usize> {
        self.segments.locate(position)?;
        let segment_length = self.segments.segment_length();
        Some(length_in_segment(position, length, segment_length))
    }

    /// End of the newest segment.
    pub(super) fn end(&self) -> Position {
        self.segments.end().unwrap_or(0)
    }

    /// Whether there is anything in the block at `position`, as far as it can be read.
    pub(super) fn is_used(
        &mut self,
        disk: &mut impl ColdFiles,
        position: Position,
    ) -> Result<bool, DiskError> {
        let Some(length) = self.readable(position, BLOCK_LENGTH) else {
            return Ok(false);
        };
        let bytes = self.bytes(disk, position, length)?;
        Ok(bytes.is_none_or(|bytes| !is_zero(bytes)))
    }

    /// Whether the header in `bytes` is of a frame that the log may have at `position`, as far as
    /// a header tells.
    pub(super) fn in_place(&self, bytes: &[u8], position: Position) -> Option<FramePlace> {
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
    pub(super) fn bytes(
        &mut self,
        disk: &mut impl ColdFiles,
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
            if readable < length || self.overlaps_unreadable(position, length) {
                return Ok(None);
            }
            self.buffer.resize(wanted, 0);
            self.length = 0;
            let found = self.fill(disk, file, (position, offset), readable)?;
            if let Some(laid) = &self.laid_over {
                laid.lay(position, &mut self.buffer[..found]);
            }
            self.start = position;
            self.length = found;
            if found < length {
                return Ok(None);
            }
        }
        let offset = (position - self.start) as usize;
        Ok(Some(&self.buffer[offset..offset + length]))
    }

    /// Whether some of the bytes there lie in the block that could not be read last.
    fn overlaps_unreadable(&self, position: Position, length: usize) -> bool {
        let end = position + length as Position;
        self.unreadable
            .is_some_and(|block| position < block + BLOCK_LENGTH as Position && block < end)
    }

    /// Fills the buffer with the `wanted` bytes at `position`, which is at `offset` of the file, or
    /// with those below the first block that cannot be read: that block alone is no frame, but
    /// damage or tail, as the ack mark decides. It is not asked for again at once, for a device may
    /// take seconds to say no.
    fn fill(
        &mut self,
        disk: &mut impl ColdFiles,
        file: FileId,
        (position, offset): (Position, u64),
        wanted: usize,
    ) -> Result<usize, DiskError> {
        if is_in_memory(file) {
            self.buffer[..wanted].fill(0);
            return Ok(wanted);
        }
        match disk.read(file, offset, &mut self.buffer[..wanted]) {
            Ok(()) => return Ok(wanted),
            Err(DiskError::Crashed) => return Err(DiskError::Crashed),
            // Part of it can be read, it may be.
            Err(_) => {}
        }
        let mut found = 0;
        while found < wanted {
            let to_block = BLOCK_LENGTH - (offset as usize + found) % BLOCK_LENGTH;
            let length = to_block.min(wanted - found);
            let target = &mut self.buffer[found..found + length];
            match disk.read(file, offset + found as u64, target) {
                Ok(()) => found += length,
                Err(DiskError::Crashed) => return Err(DiskError::Crashed),
                // What is missing is told as damage, with its place, or is a tail.
                Err(_) => {
                    let at = position + found as Position;
                    self.unreadable = Some(at & !(BLOCK_LENGTH as Position - 1));
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The frame at `position`, if there is a good one (leadership terms not looked at).
    pub(super) fn frame(
        &mut self,
        disk: &mut impl ColdFiles,
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

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
