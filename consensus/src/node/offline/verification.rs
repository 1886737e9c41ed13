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
use lockstep_archive::log::recovery::{Acknowledged, LogFrame, LogOrigin, RecoveryError};
use lockstep_archive::log::segment::{LOG_RECORDING_ID, base_position};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use super::directory_look::{DirectoryLook, OfflineError, Standing};
use super::entry_counts::{EntryCounts, EntryParts};
use super::log_source::{FoundMemory, LogSource};
use super::looks::{SCANS_MAX, until_still};
use super::named_snapshots::ReadSnapshots;
use super::next_start::{Beginning, NextStart};
use crate::log::frame_meaning::{frame_meaning, meaning_within};
use crate::module::membership::Forfeit;

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
    /// Part of the log below the newest snapshot cannot be read, and the next start does without.
    MissingBelow {
        /// Where: file and offset.
        place: (String, u64),
        /// The first position that is missing.
        from: Position,
        /// The snapshot.
        to: Position,
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
    /// Nothing of the log is in it: the next start removes it.
    pub is_below_start: bool,
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
    /// From what the next start goes on.
    pub next: NextStart,
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
        until_still(|| Self::look(source, &mut has_moved))
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
        let Some(read) = ReadSnapshots::read(source.disk, &directory)? else {
            return Ok(None);
        };
        let left = memory.left();
        let look = LogLook {
            is_running,
            directory: &directory,
            left: left.as_ref(),
            shown: read.found.evidence(),
            is_left: is_running || memory.may_be_there(),
        };
        let Some((looked, next)) = look.with_snapshots(source.disk, &read)? else {
            return Ok(None);
        };
        let (log, entries, verdict) = looked;
        let mut again = DirectoryLook::read(source.disk)?;
        for _ in 0..SLOT_LOOKS {
            if directory.has_spoiled() {
                directory.forgive(&again);
                again = DirectoryLook::read(source.disk)?;
            }
        }
        let moves = !is_running && directory.mark != again.mark;
        *has_moved |= moves;
        if moves || !directory.may_go_on_as(&again, log.end) {
            return Ok(None);
        }
        let segments = segments(source.disk, &directory)?;
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
            next,
            forfeit,
        }))
    }

    /// Whether anything that was acknowledged, or that is needed to know it, is damaged or lost.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        let is_lost = matches!(
            self.verdict,
            LogVerdict::MissingBelow { .. }
                | LogVerdict::Damaged { .. }
                | LogVerdict::Lost(_)
                | LogVerdict::Foreign { .. }
        );
        is_lost
            || self.forfeit.is_some()
            || !self.directory.lost().is_empty()
            || self.entries.unknown > 0
            || matches!(self.next.from, Beginning::Nothing(_))
    }
}

/// What a look at the log alone finds.
type Looked = (InspectedLog, EntryCounts, LogVerdict);

/// What looks at the log of a directory start from.
#[derive(Clone, Copy)]
struct LogLook<'a> {
    is_running: bool,
    directory: &'a DirectoryLook,
    left: Option<&'a LeftLog<'a>>,
    /// What the newest snapshot shows.
    shown: Option<(LeadershipTermId, Position)>,
    /// What was acknowledged in memory may be there.
    is_left: bool,
}

impl<'a> LogLook<'a> {
    /// All of the log, and from what the next start goes on; where that is a snapshot to which the
    /// log does not lead, the log above it. `None` where the log was cut meanwhile.
    fn with_snapshots(
        self,
        disk: &mut impl ColdFiles,
        read: &ReadSnapshots,
    ) -> Result<Option<(Looked, NextStart)>, OfflineError> {
        let counts = EntryCounts::default();
        let Some(looked) = self.at(disk, &read.origin(), counts)? else {
            return Ok(None);
        };
        let (log, _, verdict) = &looked;
        let next = NextStart::of(self.directory, &read.found, (log.end, &log.terms));
        let is_foreign = matches!(verdict, LogVerdict::Foreign { .. });
        let Some(above) = next.above.as_ref().filter(|_| !is_foreign) else {
            return Ok(Some((looked, next)));
        };
        let (below, counts, _) = looked;
        let Some((log, entries, verdict)) = self.at(disk, above, counts)? else {
            return Ok(None);
        };
        let is_lost = matches!(verdict, LogVerdict::Damaged { .. } | LogVerdict::Lost(_));
        let to = above.position();
        // It may be there, and lead elsewhere.
        let from = if below.end < to {
            below.end
        } else {
            self.directory.log_start.position
        };
        let missing = LogVerdict::MissingBelow {
            place: place_of(from, self.directory.catalog.segment_length),
            from,
            to,
        };
        let verdict = if is_lost { verdict } else { missing };
        Ok(Some(((log, entries, verdict), next)))
    }

    /// `None` where the log was cut meanwhile.
    fn at(
        self,
        disk: &mut impl ColdFiles,
        origin: &LogOrigin,
        counts: EntryCounts,
    ) -> Result<Option<Looked>, OfflineError> {
        let catalog = &self.directory.catalog;
        let known = self.known(self.directory);
        let mut scan = LogScan {
            look: self,
            inspection: Inspection::begin(disk, &known, (catalog, origin), self.left)?,
            counts,
            parts: EntryParts::new(catalog.term_length),
        };
        let known = match scan.scan_all(disk) {
            Ok(Some(known)) => known,
            Ok(None) => return Ok(None),
            Err(OfflineError::Recovery(RecoveryError::Foreign { position })) => {
                let log = scan.inspection.as_it_stands();
                return Ok(Some((log, scan.counts, LogVerdict::Foreign { position })));
            }
            Err(error) => return Err(error),
        };
        if self.is_running && scan.inspection.has_all(&known) {
            let log = scan.inspection.as_it_stands();
            return Ok(Some((log, scan.counts, LogVerdict::Whole)));
        }
        let meaning_of = |frame: &[u8]| frame_meaning(frame).0;
        let log = scan.inspection.conclude(disk, &known, &meaning_of)?;
        let verdict = verdict(&known, catalog.segment_length, &log);
        Ok(Some((log, scan.counts, verdict)))
    }

    /// What the log must show, by what the small files say.
    fn known(&self, directory: &DirectoryLook) -> Acknowledged {
        directory.acknowledged_with(self.shown, self.is_left)
    }
}

/// One look at the log of a directory.
struct LogScan<'a> {
    look: LogLook<'a>,
    inspection: Inspection<'a>,
    counts: EntryCounts,
    parts: EntryParts,
}

impl LogScan<'_> {
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
        let mut before = self.look.directory.clone();
        for _ in 0..SCANS_MAX {
            let now = DirectoryLook::read(disk)?;
            let reached = self.inspection.end();
            if !before.may_go_on_as(&now, reached) {
                return Ok(None);
            }
            let mark = now.acknowledged().mark.position;
            if !self.look.is_running || reached >= mark {
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
        Ok(Some(self.look.known(&before)))
    }

    fn scan(&mut self, disk: &mut impl ColdFiles) -> Result<(), OfflineError> {
        let (counts, parts) = (&mut self.counts, &mut self.parts);
        let formation = self.look.directory.formation;
        let is_known = self.look.directory.standing != Standing::Unknown;
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
    directory: &DirectoryLook,
) -> Result<Vec<SegmentLook>, DiskError> {
    let segment_length = directory.catalog.segment_length;
    let start = base_position(directory.log_start.position, segment_length);
    let mut found = Vec::new();
    for name in disk.list()? {
        if let Some(segment) = SegmentName::parse(&name)
            && segment.recording_id == LOG_RECORDING_ID
            && base_position(segment.position, segment_length) == segment.position
        {
            let length = disk.open(&name).and_then(|file| disk.length(file));
            match length {
                Ok(length) => found.push(SegmentLook {
                    name,
                    position: segment.position,
                    length,
                    is_below_start: segment.position < start,
                }),
                // The node has let go of it meanwhile.
                Err(DiskError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    found.sort_by_key(|segment| segment.position);
    Ok(found)
}
