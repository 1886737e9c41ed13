//! All of each snapshot of a directory, read as a start reads it, and compared with the log that it
//! was taken of. Changes nothing; the node may run meanwhile.

use core::ops::ControlFlow;

use lockstep_archive::disk::ColdFiles;
use lockstep_archive::log::log_memory::LeftLog;
use lockstep_archive::log::recovery::inspection::Inspection;
use lockstep_service::snapshot::{SectionSummary, SnapshotSummary};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use super::directory_look::{DirectoryLook, OfflineError};
use super::entry_counts::{EntryParts, Seen};
use super::log_source::{FoundMemory, LogSource};
use super::looks::{SCANS_MAX, until_still};
use super::named_snapshots::{NamedSnapshot, ReadSnapshots, SnapshotList};
use super::next_start::NextStart;
use crate::log::frame_meaning::frame_meaning;
use crate::node::snapshot_start::StartSnapshot;

/// What a snapshot that is whole says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotContent {
    /// Its sections, in their order.
    pub sections: Vec<SectionSummary>,
    /// Uuid of its cluster.
    pub cluster: u128,
    /// Chain hash of the log below.
    pub chain: u64,
    /// Leadership term of the last frame below.
    pub term: LeadershipTermId,
    /// Leadership terms that began below.
    pub terms: u64,
    /// Log time of the last entry below, ns.
    pub log_time: i64,
}

impl SnapshotContent {
    fn of(snapshot: &StartSnapshot, summary: &SnapshotSummary) -> Self {
        let header = &snapshot.header;
        Self {
            sections: summary.sections.clone(),
            cluster: header.term.formation.cluster,
            chain: header.at.hash,
            term: header.term.term,
            terms: header.terms,
            log_time: header.log_time,
        }
    }
}

/// What the log says at the place where a snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogThere {
    /// The same as the snapshot.
    Same,
    /// Something else: what.
    Other(String),
    /// It can be read from its start up to here only.
    EndsAt(Position),
    /// It is seen up to here: the log buffer, which may have more, is not.
    SeenTo(Position),
    /// It starts above.
    Gone,
    /// It was not asked: the snapshot is not whole.
    NotCompared,
}

/// A snapshot that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSnapshot {
    /// What the index says of it, and what lies there.
    pub named: NamedSnapshot,
    /// What it says, or why a start cannot use it.
    pub content: Result<SnapshotContent, String>,
    /// What the log says there.
    pub log: LogThere,
}

impl VerifiedSnapshot {
    /// Whether anything of it, or of the log below it, is damaged or missing.
    const fn is_bad(&self) -> bool {
        let is_other = matches!(self.log, LogThere::Other(_) | LogThere::EndsAt(_));
        self.content.is_err() || is_other
    }
}

/// See the module.
#[derive(Debug)]
pub struct SnapshotVerification {
    /// What there is.
    pub list: SnapshotList,
    /// Those that the index names, newest first.
    pub snapshots: Vec<VerifiedSnapshot>,
    /// From what the next start goes on.
    pub next: NextStart,
}

impl SnapshotVerification {
    /// Reads all of them, and the log as far as the newest.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn of(source: &mut LogSource<'_, impl ColdFiles>) -> Result<Self, OfflineError> {
        until_still(|| Self::look(source))
    }

    /// `None` where the directory became another one meanwhile.
    fn look(source: &mut LogSource<'_, impl ColdFiles>) -> Result<Option<Self>, OfflineError> {
        let list = SnapshotList::look(source)?;
        let Some(read) = ReadSnapshots::read(source.disk, &list.directory)? else {
            return Ok(None);
        };
        let memory = source.memory(&list.directory)?;
        let left = memory.left();
        let mut log = LogAt::begin(source.disk, &list, &read, (&memory, left.as_ref()))?;
        let mut snapshots = Vec::new();
        // The log is read upwards.
        for (named, (_, checked)) in list.named.iter().zip(&read.checked).rev() {
            let is_compared = !named.is_below_start;
            let (content, log) = match checked {
                Ok((snapshot, summary)) if is_compared => {
                    let there = log.compare(source.disk, snapshot)?;
                    (Ok(SnapshotContent::of(snapshot, summary)), there)
                }
                Ok((snapshot, summary)) => {
                    (Ok(SnapshotContent::of(snapshot, summary)), LogThere::Gone)
                }
                Err(error) => (Err(error.to_string()), LogThere::NotCompared),
            };
            snapshots.push(VerifiedSnapshot {
                named: named.clone(),
                content,
                log,
            });
        }
        snapshots.reverse();
        let found = log.inspection.as_it_stands();
        let again = DirectoryLook::read(source.disk)?;
        let is_same = list.directory.may_go_on_as(&again, found.end);
        if !is_same && snapshots.iter().any(VerifiedSnapshot::is_bad) {
            return Ok(None);
        }
        let next = NextStart::of(&list.directory, &read.found, (found.end, &found.terms));
        Ok(Some(Self {
            list,
            snapshots,
            next,
        }))
    }
}

/// The log, read from its start up to one snapshot after the other.
struct LogAt<'a> {
    inspection: Inspection<'a>,
    parts: EntryParts,
    is_running: bool,
    /// Whether what lies only in the log buffer, if anything does, is seen.
    is_seen: bool,
    /// The last entry that was read: where it ends, its log time and its leadership term.
    last: Option<(Position, i64, LeadershipTermId)>,
}

impl<'a> LogAt<'a> {
    fn begin(
        disk: &mut impl ColdFiles,
        list: &SnapshotList,
        read: &ReadSnapshots,
        (memory, left): (&FoundMemory, Option<&'a LeftLog<'a>>),
    ) -> Result<Self, OfflineError> {
        let catalog = &list.directory.catalog;
        let known = list.directory.acknowledged();
        let inspection = Inspection::begin(disk, &known, (catalog, &read.origin()), left)?;
        Ok(Self {
            inspection,
            parts: EntryParts::new(catalog.term_length),
            is_running: list.is_running,
            is_seen: memory.is_seen(),
            last: None,
        })
    }

    /// What it says where `snapshot` was taken, which lies above those before.
    fn compare(
        &mut self,
        disk: &mut impl ColdFiles,
        snapshot: &StartSnapshot,
    ) -> Result<LogThere, OfflineError> {
        let header = &snapshot.header;
        let position = header.at.position;
        self.read_to(disk, position)?;
        let found = self.inspection.checkpoint();
        if found.position < position {
            return Ok(match self.is_seen {
                true => LogThere::EndsAt(found.position),
                false => LogThere::SeenTo(found.position),
            });
        }
        if found.position > position {
            let words = format!(
                "no frame of it ends there, the next one at {}",
                found.position
            );
            return Ok(LogThere::Other(words));
        }
        if found.hash != header.at.hash {
            let words = format!("its chain hash there is {:016x}", found.hash);
            return Ok(LogThere::Other(words));
        }
        let last = self.last.filter(|(end, ..)| *end == position);
        let (log_time, term) = last.map_or((header.log_time, header.term.term), |last| {
            let (_, log_time, term) = last;
            (log_time, term)
        });
        if (log_time, term) != (header.log_time, header.term.term) {
            let words = format!(
                "the entry that ends there is of leadership term {term} and log time {log_time} ns"
            );
            return Ok(LogThere::Other(words));
        }
        Ok(LogThere::Same)
    }

    /// Reads on until `position` is reached, or nothing more can be read; of a node that runs, as
    /// long as more of the log comes.
    fn read_to(
        &mut self,
        disk: &mut impl ColdFiles,
        position: Position,
    ) -> Result<(), OfflineError> {
        let meaning_of = |frame: &[u8]| frame_meaning(frame).0;
        for _ in 0..SCANS_MAX {
            let before = self.inspection.end();
            if before >= position {
                return Ok(());
            }
            let (parts, last) = (&mut self.parts, &mut self.last);
            self.inspection.accept(disk, &meaning_of, |frame| {
                let end = frame.position + frame.bytes.len() as Position;
                parts.take(&frame, |seen| {
                    if let Seen::Entry(entry, term) = seen {
                        *last = Some((entry.end, entry.header.log_time, *term));
                    }
                    match end < position {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                })
            })?;
            if self.inspection.lay_over() {
                continue;
            }
            if !self.is_running || self.inspection.end() == before {
                return Ok(());
            }
            self.inspection.look_again(disk, position)?;
        }
        Ok(())
    }
}
