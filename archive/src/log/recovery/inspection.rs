//! A log that is looked at and left as it is: by an operator with a directory in hand, of a node
//! that runs, was killed, or is far away. What it says of a log is what a start would find, by the
//! same scan, survey and verdict.
//!
//! A running node goes on meanwhile. So a scan may be taken up again where it came to its end, and
//! whoever asks for the verdict has read the mark before the last scan. Owned by whoever looks.

use core::ops::ControlFlow;

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use super::evidence::{Acknowledged, FrameMeaning, LogOrigin, RecoveredTerm, RecoveryError};
use super::findings::{conclude, geometry_of};
use super::frame_scan::{FrameScan, LogFrame};
use super::survey::first_intact;
use crate::disk::{ColdFiles, DiskError};
use crate::files::ack_record::LostAcks;
use crate::files::catalog::Catalog;
use crate::log::chain::Checkpoint;
use crate::log::log_memory::LeftLog;
use crate::log::segment::SegmentTable;

/// See the module.
#[derive(Debug)]
pub struct Inspection<'a> {
    scan: FrameScan<'a>,
    left: Option<&'a LeftLog<'a>>,
    /// Whether what was left counts by now as if it lay on disk.
    is_laid_over: bool,
    segment_length: usize,
    /// Bytes of the log that only the log buffer has.
    taken: u64,
}

/// What a start would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedLog {
    /// Where the log ends: a frame boundary.
    pub end: Position,
    /// Leadership terms that begin in it, oldest first.
    pub terms: Vec<RecoveredTerm>,
    /// Leadership term of the last frame, 0 for an empty log.
    pub last_term: LeadershipTermId,
    /// Greatest commit position that a leader wrote into these frames.
    pub commit: Position,
    /// Hash over everything below the end.
    pub chain: u64,
    /// What is missing above the end of what was acknowledged.
    pub lost: Option<LostAcks>,
    /// The first whole frame above the end.
    pub next_intact: Option<Position>,
    /// End of what lies above the end; the end itself where nothing does.
    pub extent: Position,
    /// Bytes of the log that only the log buffer has.
    pub taken: u64,
}

impl<'a> Inspection<'a> {
    /// Of the log behind `disk`, from `origin` on; what is `known` of a cut bounds it, and what a
    /// process `left` in its log buffer.
    ///
    /// # Errors
    /// The disk's, and a catalog that describes no log.
    pub fn begin(
        disk: &mut impl ColdFiles,
        known: &Acknowledged,
        (catalog, origin): (&Catalog, &LogOrigin),
        left: Option<&'a LeftLog<'a>>,
    ) -> Result<Self, RecoveryError> {
        let geometry = geometry_of(catalog)?;
        let log_start = origin.log_start.position;
        let segments = SegmentTable::open_all(disk, catalog.segment_length, log_start)?;
        Ok(Self {
            scan: FrameScan::new(segments, geometry, catalog, origin, known.limit(left)),
            left,
            is_laid_over: false,
            segment_length: catalog.segment_length,
            taken: 0,
        })
    }

    /// Goes on at `position`, where a frame may begin: whatever lies below is passed over, and the
    /// frame there may be of any leadership term that is not below the last one seen.
    pub fn join_at(&mut self, position: Position) {
        self.scan.join_at(position);
    }

    /// Accepts frame after frame from where it stands, until one is none, or `observe` has seen
    /// enough.
    ///
    /// # Errors
    /// The disk's, and a log that is not its owner's.
    pub fn accept(
        &mut self,
        disk: &mut impl ColdFiles,
        meaning_of: &impl Fn(&[u8]) -> FrameMeaning,
        observe: impl FnMut(LogFrame<'_>) -> ControlFlow<()>,
    ) -> Result<(), RecoveryError> {
        let before = self.scan.end();
        self.scan.accept_frames(disk, meaning_of, observe)?;
        if let Some(left) = self.left.filter(|_| self.is_laid_over) {
            let taken = self.scan.end().min(left.end()) - before;
            self.taken += taken.max(0) as u64;
        }
        Ok(())
    }

    /// From here on what was left in a log buffer counts as if it lay on disk: where the log on
    /// disk has been found to end. Returns whether there is any that did not count yet.
    pub fn lay_over(&mut self) -> bool {
        let Some(left) = self.left.filter(|_| !self.is_laid_over) else {
            return false;
        };
        self.scan.lay_over(left);
        self.is_laid_over = true;
        true
    }

    /// What has been read is forgotten, and segments that were made since are looked at too: the
    /// log goes on, and was acknowledged up to `mark` meanwhile, whatever was read of a log buffer
    /// before.
    ///
    /// # Errors
    /// The disk's.
    pub fn look_again(
        &mut self,
        disk: &mut impl ColdFiles,
        mark: Position,
    ) -> Result<(), DiskError> {
        let log_start = self.scan.log_start();
        let segments = SegmentTable::open_all(disk, self.segment_length, log_start)?;
        self.scan.renew(segments);
        self.scan.raise_limit(mark);
        if let Some(left) = self.left.filter(|_| self.is_laid_over) {
            self.scan.lay_over(left);
        }
        Ok(())
    }

    /// Where it stands: the end of the last frame that was accepted.
    #[must_use]
    pub const fn end(&self) -> Position {
        self.scan.end()
    }

    /// The same with the hash of the log below; of no use once it was joined somewhere.
    #[must_use]
    pub const fn checkpoint(&self) -> Checkpoint {
        self.scan.chain.head()
    }

    /// Whether all that is `known` to have been acknowledged was found, and all of a log buffer: of
    /// a node that runs, what lies above is being written.
    #[must_use]
    pub fn has_all(&self, known: &Acknowledged) -> bool {
        let (mark, last_term) = (known.with_left(self.left).mark, self.scan.last_term);
        let is_covered = |lost: LostAcks| lost.is_covered_by(last_term, self.end());
        self.end() >= mark.position && mark.lost.is_none_or(is_covered)
    }

    /// Where the newest segment ends, or below that where nothing above is of the log.
    #[must_use]
    pub fn segments_end(&self) -> Position {
        self.scan.window.end().min(self.scan.limit())
    }

    /// Whether anything lies at `position`, as far as that can be read.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_used(
        &mut self,
        disk: &mut impl ColdFiles,
        position: Position,
    ) -> Result<bool, DiskError> {
        self.scan.window.is_used(disk, position)
    }

    /// Where the log goes on above a place that is no frame, if it does; `mark` is how far it was
    /// acknowledged.
    ///
    /// # Errors
    /// The disk's.
    pub fn next_intact(
        &mut self,
        disk: &mut impl ColdFiles,
        mark: Position,
    ) -> Result<Option<Position>, DiskError> {
        let span = (self.scan.reach(), mark);
        let last_term = self.scan.last_term;
        let next = first_intact(disk, &mut self.scan.window, span, last_term)?;
        Ok(self.of_the_log(next))
    }

    /// What lies above the limit is none of the log, however whole it is.
    fn of_the_log(&self, intact: Option<Position>) -> Option<Position> {
        intact.filter(|position| *position < self.scan.limit())
    }

    /// The verdict, by what is `known`. The terms found so far are handed out with it.
    ///
    /// # Errors
    /// The disk's.
    pub fn conclude(
        &mut self,
        disk: &mut impl ColdFiles,
        known: &Acknowledged,
        meaning_of: &impl Fn(&[u8]) -> FrameMeaning,
    ) -> Result<InspectedLog, DiskError> {
        let known = &known.with_left(self.left);
        let (above, verdict) = conclude(disk, known, &mut self.scan, meaning_of)?;
        let end = self.scan.end();
        Ok(InspectedLog {
            end,
            extent: above.extent.max(self.scan.reach()).max(end),
            next_intact: self.of_the_log(above.first_intact),
            lost: verdict.lost,
            taken: self.taken,
            ..self.as_it_stands()
        })
    }

    /// The same of a node that runs, and whose log reaches what it has acknowledged: what lies
    /// above is being written.
    pub fn as_it_stands(&mut self) -> InspectedLog {
        let end = self.scan.end();
        InspectedLog {
            end,
            last_term: self.scan.last_term,
            commit: self.scan.commit,
            chain: self.scan.chain.hash(),
            terms: core::mem::take(&mut self.scan.terms),
            lost: None,
            next_intact: None,
            extent: end,
            taken: self.taken,
        }
    }
}
