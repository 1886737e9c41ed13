//! What a start would find in a directory, and whether anything of it is amiss. Changes nothing.
//!
//! The node may run meanwhile: its log grows, and what lies above its end is being written. So the
//! log is read up to where a mark says that it reaches that was read *before* it, and only what is
//! missing below that is damage. A look at a directory whose log is cut, or whose node starts, is
//! begun anew.

use core::ops::ControlFlow;

use lockstep_archive::disk::{ColdFiles, DiskError, SegmentName};
use lockstep_archive::files::ack_record::LostAcks;
use lockstep_archive::log::log_memory::LeftLog;
use lockstep_archive::log::recovery::inspection::{InspectedLog, Inspection};
use lockstep_archive::log::recovery::{Acknowledged, LogFrame, RecoveryError};
use lockstep_archive::log::segment::{LOG_RECORDING_ID, base_position};
use lockstep_transport::position::Position;

use super::directory_look::{DirectoryLook, OfflineError, Standing};
use super::entry_counts::{EntryCounts, EntryParts};
use super::log_source::{FoundMemory, LogSource};
use crate::log::frame_meaning::{frame_meaning, meaning_within};
use crate::module::membership::Forfeit;

/// Looks at a directory that changes: a start takes less than all of them.
const LOOKS_MAX: usize = 5;

/// Scans of one look, each up to the mark read before it: a node that writes is not followed for
/// ever.
const SCANS_MAX: usize = 16;

/// Looks at a slot that is spoiled: it may be in the middle of being written.
const SLOT_LOOKS: usize = 8;

/// What the end of the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogVerdict {
    /// All that was acknowledged is there, and nothing above.
    Whole,
    /// What a torn write left above the end, so many bytes, was never acknowledged: the next start
    /// erases it.
    TornTail {
        /// Bytes.
        length: u64,
    },
    /// What is there is whole. But what this member acknowledged above it may have gone without a
    /// trace, or nobody knows how far it acknowledged: [`Verification::forfeit`] says why.
    NotKnown,
    /// A cut of the log that was interrupted: the next start completes it.
    UnfinishedCut {
        /// Where what was cut off ends.
        end: Position,
    },
    /// Part of what may have been acknowledged cannot be read.
    Damaged {
        /// Where: file and offset.
        place: (String, u64),
        /// Where the log goes on above it, or where what is left of it ends.
        end: Position,
        /// What was acknowledged.
        lost: LostAcks,
    },
    /// What was acknowledged above the end has gone without a trace.
    Lost(LostAcks),
    /// The entry there says that the log is of another cluster than the identity file: a start is
    /// refused.
    Foreign {
        /// The entry.
        position: Position,
    },
}

/// A segment that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLook {
    /// Its file.
    pub name: String,
    /// Position of its first byte.
    pub position: Position,
    /// Bytes of the file.
    pub length: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Verification {
    /// The small files.
    pub directory: DirectoryLook,
    /// Whether a process uses it.
    pub is_running: bool,
    /// The log's files.
    pub segments: Vec<SegmentLook>,
    /// The log.
    pub log: InspectedLog,
    /// Its entries.
    pub entries: EntryCounts,
    /// What the log buffer has of it.
    pub memory: FoundMemory,
    /// What its end is.
    pub verdict: LogVerdict,
    /// Why the next start makes this directory another one, which counts for nothing, if it does.
    pub forfeit: Option<Forfeit>,
}

impl Verification {
    /// Looks at all of it.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn of(source: &mut LogSource<'_, impl ColdFiles>) -> Result<Self, OfflineError> {
        let mut has_moved = false;
        for _ in 0..LOOKS_MAX {
            if let Some(found) = Self::look(source, &mut has_moved)? {
                return Ok(found);
            }
        }
        Err(OfflineError::Restless)
    }

    /// `None` where the directory became another one while it was looked at, or was found to be in
    /// use although its lock does not say so from here: it `has_moved`.
    fn look(
        source: &mut LogSource<'_, impl ColdFiles>,
        has_moved: &mut bool,
    ) -> Result<Option<Self>, OfflineError> {
        let is_running = (source.is_in_use)() || *has_moved;
        let mut directory = DirectoryLook::read(source.disk)?;
        let memory = source.memory(&directory)?;
        let looked = LogLook::at(source.disk, is_running, &directory, memory.left().as_ref())?;
        let Some((log, entries, verdict)) = looked else {
            return Ok(None);
        };
        let mut again = DirectoryLook::read(source.disk)?;
        for _ in 0..SLOT_LOOKS {
            if directory.has_spoiled() {
                directory.forgive(&again);
                again = DirectoryLook::read(source.disk)?;
            }
        }
        let moves = !is_running && directory.mark != again.mark;
        *has_moved |= moves;
        if moves || !directory.may_go_on_as(&again) {
            return Ok(None);
        }
        let segments = segments(source.disk, directory.catalog.segment_length)?;
        let forfeit = directory.forfeit(is_running || memory.may_be_there());
        let verdict = match (verdict, forfeit) {
            (
                LogVerdict::Whole | LogVerdict::TornTail { .. },
                Some(Forfeit::UnsyncedLog | Forfeit::LogMemory | Forfeit::AckMark),
            ) => LogVerdict::NotKnown,
            (verdict, _) => verdict,
        };
        Ok(Some(Self {
            directory,
            is_running,
            segments,
            log,
            entries,
            memory,
            verdict,
            forfeit,
        }))
    }

    /// Whether anything that was acknowledged, or that is needed to know it, is damaged or lost.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        let is_lost = matches!(
            self.verdict,
            LogVerdict::Damaged { .. } | LogVerdict::Lost(_) | LogVerdict::Foreign { .. }
        );
        is_lost
            || self.forfeit.is_some()
            || !self.directory.lost().is_empty()
            || self.entries.unknown > 0
    }
}

/// What a look at the log alone finds.
type Looked = (InspectedLog, EntryCounts, LogVerdict);

/// One look at the log of a directory.
struct LogLook<'a> {
    is_running: bool,
    directory: &'a DirectoryLook,
    inspection: Inspection<'a>,
    counts: EntryCounts,
    parts: EntryParts,
}

impl<'a> LogLook<'a> {
    /// `None` where the log was cut meanwhile.
    fn at(
        disk: &mut impl ColdFiles,
        is_running: bool,
        directory: &'a DirectoryLook,
        left: Option<&'a LeftLog<'a>>,
    ) -> Result<Option<Looked>, OfflineError> {
        let known = directory.acknowledged();
        let shape = (&directory.catalog, directory.log_start);
        let inspection = Inspection::begin(disk, &known, shape, left)?;
        let mut this = Self {
            is_running,
            directory,
            inspection,
            counts: EntryCounts::default(),
            parts: EntryParts::new(directory.catalog.term_length),
        };
        let known = match this.scan_all(disk) {
            Ok(Some(known)) => known,
            Ok(None) => return Ok(None),
            Err(OfflineError::Recovery(RecoveryError::Foreign { position })) => {
                let log = this.inspection.as_it_stands();
                return Ok(Some((log, this.counts, LogVerdict::Foreign { position })));
            }
            Err(error) => return Err(error),
        };
        if is_running && this.inspection.has_all(&known) {
            let log = this.inspection.as_it_stands();
            return Ok(Some((log, this.counts, LogVerdict::Whole)));
        }
        let meaning_of = |frame: &[u8]| frame_meaning(frame).0;
        let log = this.inspection.conclude(disk, &known, &meaning_of)?;
        let verdict = verdict(&known, directory.catalog.segment_length, &log);
        Ok(Some((log, this.counts, verdict)))
    }

    /// Reads the log from its start; of a running node, up to what it had acknowledged when that
    /// was last asked. Returns what the log must show, `None` where it is not the same log any
    /// more.
    fn scan_all(
        &mut self,
        disk: &mut impl ColdFiles,
    ) -> Result<Option<Acknowledged>, OfflineError> {
        self.scan(disk)?;
        if self.inspection.lay_over() {
            self.scan(disk)?;
        }
        let mut before = self.directory.clone();
        for _ in 0..SCANS_MAX {
            let now = DirectoryLook::read(disk)?;
            if !before.may_go_on_as(&now) {
                return Ok(None);
            }
            let reached = self.inspection.end();
            let mark = now.acknowledged().mark.position;
            if !self.is_running || reached >= mark {
                break;
            }
            // The mark has passed what was read: now all below it can be.
            before = now;
            self.inspection.look_again(disk, mark)?;
            self.scan(disk)?;
            if self.inspection.end() == reached {
                break;
            }
        }
        Ok(Some(before.acknowledged()))
    }

    fn scan(&mut self, disk: &mut impl ColdFiles) -> Result<(), OfflineError> {
        let (counts, parts) = (&mut self.counts, &mut self.parts);
        let formation = self.directory.formation;
        let is_known = self.directory.standing != Standing::Unknown;
        let meaning_of = |frame: &[u8]| match is_known {
            true => meaning_within(formation, frame).0,
            false => frame_meaning(frame).0,
        };
        self.inspection
            .accept(disk, &meaning_of, |frame: LogFrame<'_>| {
                parts.take(&frame, |seen| {
                    counts.add(seen);
                    ControlFlow::Continue(())
                })
            })?;
        Ok(())
    }
}

/// What the end of the `log` is that a start would find where the mark says what is `known`.
fn verdict(known: &Acknowledged, segment_length: usize, log: &InspectedLog) -> LogVerdict {
    let mark = &known.mark;
    let has_more = log.extent > log.end || log.next_intact.is_some();
    match log.lost {
        None if mark.truncated_end > mark.position => LogVerdict::UnfinishedCut {
            end: mark.truncated_end,
        },
        None if has_more => LogVerdict::TornTail {
            length: (log.extent - log.end) as u64,
        },
        None => LogVerdict::Whole,
        Some(lost) if has_more => LogVerdict::Damaged {
            place: place_of(log.end, segment_length),
            end: log.next_intact.unwrap_or(log.extent),
            lost,
        },
        Some(lost) => LogVerdict::Lost(lost),
    }
}

/// The file that holds the log at `position`, and where in it.
pub(super) fn place_of(position: Position, segment_length: usize) -> (String, u64) {
    let base = base_position(position, segment_length);
    let name = SegmentName {
        recording_id: LOG_RECORDING_ID,
        position: base,
    };
    (name.file_name(), (position - base) as u64)
}

/// The log's files, in order of their positions.
fn segments(
    disk: &mut impl ColdFiles,
    segment_length: usize,
) -> Result<Vec<SegmentLook>, DiskError> {
    let mut found = Vec::new();
    for name in disk.list()? {
        if let Some(segment) = SegmentName::parse(&name)
            && segment.recording_id == LOG_RECORDING_ID
            && base_position(segment.position, segment_length) == segment.position
        {
            let file = disk.open(&name)?;
            found.push(SegmentLook {
                name,
                position: segment.position,
                length: disk.length(file)?,
            });
        }
    }
    found.sort_by_key(|segment| segment.position);
    Ok(found)
}
