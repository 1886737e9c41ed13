//! Which snapshot a start begins from: the newest that is whole, else the one before (`log.md`
//! 8.5). Cold.

use std::fmt::Write;

use lockstep_archive::disk::{ColdFiles, DiskError, SegmentName};
use lockstep_archive::files::snapshot_index::{SnapshotEntry, SnapshotIndex, SnapshotIndexFile};
use lockstep_archive::log::chain::Checkpoint;
use lockstep_archive::log::recovery::{LogOrigin, RecoveredTerm};
use lockstep_archive::log::segment::LOG_RECORDING_ID;
use lockstep_archive::snapshot_file::source::SnapshotFileSource;
use lockstep_service::snapshot::{SnapshotReader, SnapshotSource, SnapshotSummary, verify};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::apply::applied_log::AppliedLog;
use crate::log::logged_limits;
use crate::node::birth;
use crate::node::start_error::StartError;
use crate::node::unusable_snapshot::UnusableSnapshot;
use crate::settings::cluster_limits::ClusterLimits;
use crate::settings::config::ClusterConfig;
use crate::snapshot::header::{SnapshotHeader, TERM_LENGTH, TERMS_SECTION, decode_term};

/// From what a start begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Begun {
    /// The snapshot, if there is one that can be used.
    pub(super) snapshot: Option<StartSnapshot>,
    /// Those that are not what was stored: where they were taken, and why not.
    unusable: Vec<(Position, String)>,
    /// Those that the log does not bear out.
    not_borne_out: Vec<(Position, String)>,
    /// What of the log below is not there although it should be.
    pub(super) missing: Option<(Position, Position)>,
}

impl Begun {
    /// The snapshots that the index names and that are not what was stored, and why not.
    #[cfg(feature = "sim")]
    pub(crate) fn unusable(&self) -> &[(Position, String)] {
        &self.unusable
    }

    /// Those that are not used, and why not.
    pub(super) fn passed_over(&self) -> impl Iterator<Item = &(Position, String)> {
        self.unusable.iter().chain(&self.not_borne_out)
    }

    /// Makes durable that the log starts at `start` and which snapshots there are: those that are
    /// not used, or that the log does not follow, are none from now on, so that what follows takes
    /// their places and not that of one that is good. Removes all others.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn keep(
        &self,
        files: &mut impl ColdFiles,
        snapshot_index: &mut SnapshotIndexFile,
        start: Checkpoint,
    ) -> Result<(), DiskError> {
        let found = *snapshot_index.durable();
        let passed_over = self.passed_over();
        let left = passed_over.fold(found, |left, (position, _)| left.without(*position));
        let useless = found
            .snapshots()
            .filter(|entry| entry.position < start.position);
        let left = useless.fold(left, |left, entry| left.without(entry.position));
        let lacking_below = self.missing.map_or(0, |(_, to)| to);
        let index = left.with_log_start(start).lacking(lacking_below);
        snapshot_index.want(index);
        snapshot_index.write(files)?;
        remove_unnamed(files, &index)
    }

    /// What is applied before anything else.
    pub(super) fn position(&self) -> Position {
        self.snapshot.as_ref().map_or(0, StartSnapshot::position)
    }

    /// Log time where it was taken, 0 without one, ns.
    pub(super) fn log_time(&self) -> i64 {
        self.snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.header.log_time)
    }

    /// In words, for the node's first line.
    pub(crate) fn words(&self, takes_snapshots: bool) -> String {
        let mut words = match &self.snapshot {
            Some(snapshot) => format!("; begun from the snapshot at {}", snapshot.position()),
            None => "; begun from the start of its log".to_owned(),
        };
        if let Some((from, to)) = self.missing {
            write!(words, " (its log is missing from {from} to {to})")
                .expect("words are always taken");
        }
        for (position, reason) in self.passed_over() {
            write!(words, " (the snapshot at {position} is not used: {reason})")
                .expect("words are always taken");
        }
        if !takes_snapshots {
            words.push_str(
                "; no snapshots, for the service has no snapshot_step: costs the disk of its whole \
                 log, and the time to execute all of it at each start",
            );
        }
        words
    }
}

/// The snapshots of a directory.
#[derive(Clone, Debug)]
pub(super) struct FoundSnapshots {
    log_start: Checkpoint,
    lacking_below: Position,
    /// Those whose bytes are all good, the newest first.
    good: Vec<StartSnapshot>,
    /// Those that are not what was stored.
    unusable: Vec<(Position, String)>,
}

impl FoundSnapshots {
    /// Those that `index` names, of `cluster`.
    ///
    /// # Errors
    /// The disk's, and limits that are not those of the configuration.
    pub fn check(
        files: &mut impl ColdFiles,
        cluster: &ClusterConfig,
        index: &SnapshotIndex,
    ) -> Result<Self, StartError> {
        let expected = birth::formed_record(files)?.map(|record| record.cluster);
        let mut found = Self::none(index.log_start(), index.lacking_below());
        for entry in index.snapshots() {
            let checked = if found.is_gone(&entry) {
                Err(UnusableSnapshot::Gone)
            } else {
                StartSnapshot::check(files, &entry, expected)
            };
            if checked == Err(UnusableSnapshot::Disk(DiskError::Crashed)) {
                return Err(DiskError::Crashed.into());
            }
            if let Ok((snapshot, _)) = &checked {
                let limits = Some(snapshot.header.term.limits);
                logged_limits::check(limits, &ClusterLimits::of(cluster))?;
            }
            found.add(&entry, &checked);
        }
        Ok(found)
    }

    /// Of a log that starts at `log_start` and is not here below another position, as long as none
    /// was checked.
    pub const fn none(log_start: Checkpoint, lacking_below: Position) -> Self {
        Self {
            log_start,
            lacking_below,
            good: Vec::new(),
            unusable: Vec::new(),
        }
    }

    /// Whether the log that follows it is gone: nothing can go on from it.
    pub fn is_gone(&self, entry: &SnapshotEntry) -> bool {
        entry.position < self.log_start.position
    }

    /// The next one was checked, which is older than those before.
    pub fn add(&mut self, entry: &SnapshotEntry, checked: &CheckedSnapshot) {
        let reason = match checked {
            _ if self.is_gone(entry) => UnusableSnapshot::Gone.to_string(),
            Ok((snapshot, _)) => return self.good.push(snapshot.clone()),
            Err(error) => error.to_string(),
        };
        self.unusable.push((entry.position, reason));
    }

    /// What the newest of them shows: all of the log below was durable here before it was stored,
    /// and is committed.
    pub fn evidence(&self) -> Option<(LeadershipTermId, Position)> {
        let newest = self.good.first()?;
        Some((newest.header.term.term, newest.position()))
    }

    /// Nothing yet, and what cannot be used.
    fn begun(&self) -> Begun {
        Begun {
            unusable: self.unusable.clone(),
            ..Begun::default()
        }
    }

    /// Whether the newest was fetched to stand for log that is not here (`log.md` 8.8).
    fn replaces_log(&self) -> bool {
        let newest = self.good.first().map_or(0, StartSnapshot::position);
        self.lacking_below > self.log_start.position && newest >= self.lacking_below
    }

    /// Where a look at all of the log begins, unless the newest snapshot stands for more than
    /// `length_max` bytes of it that are still there, or for what is not here.
    pub fn whole_origin(&self, length_max: u64) -> Option<LogOrigin> {
        if self.replaces_log() {
            return None;
        }
        let Some(newest) = self.good.first() else {
            return (self.log_start.position == 0).then(LogOrigin::default);
        };
        let below = newest.position() - self.log_start.position;
        (below as u64 <= length_max).then(|| newest.origin_at_start(self.log_start))
    }

    /// The newest that the log bears out, all of which was looked at and ends at `end`; none is
    /// needed where it begins at 0. Where nobody else has what the log lacks, it is the newest or
    /// none.
    pub fn borne_out(&self, end: Position, terms: &[RecoveredTerm]) -> Option<Begun> {
        let mut begun = self.begun();
        for snapshot in &self.good {
            let reason = if snapshot.position() > end {
                "the log ends below it"
            } else if !snapshot.is_of(terms) {
                "it is of another log"
            } else {
                begun.begin_from(snapshot);
                return Some(begun);
            };
            if snapshot.is_of_one_member() {
                return None;
            }
            let passed_over = (snapshot.position(), reason.to_owned());
            begun.not_borne_out.push(passed_over);
        }
        (self.log_start.position == 0).then_some(begun)
    }

    /// The newest, and where the log is read from then, without a look at what lies below.
    pub fn newest(&self) -> Option<(Begun, LogOrigin)> {
        let newest = self.good.first()?;
        let mut begun = self.begun();
        begun.begin_from(newest);
        Some((begun, newest.origin(self.log_start, self.replaces_log())))
    }

    /// That nothing can be used although the log begins above 0.
    pub fn none_usable(&self) -> StartError {
        let reasons = self.unusable.iter();
        let reasons: Vec<String> = reasons
            .map(|(position, reason)| format!("the one at {position}: {reason}"))
            .collect();
        StartError::NoSnapshot {
            log_start: self.log_start.position,
            reasons: reasons.join(", "),
        }
    }
}

impl Begun {
    fn begin_from(&mut self, snapshot: &StartSnapshot) {
        sometimes(Mark::SnapshotBegunFrom);
        if self.passed_over().next().is_some() {
            sometimes(Mark::SnapshotBeforeBegunFrom);
        }
        self.snapshot = Some(snapshot.clone());
    }
}

/// The files of snapshots that `index` does not name: they were not finished, or are out of date.
///
/// # Errors
/// The disk's.
pub(super) fn unnamed(
    files: &mut impl ColdFiles,
    index: &SnapshotIndex,
) -> Result<Vec<String>, DiskError> {
    let is_named = |name| index.snapshots().any(|entry| entry.name() == name);
    let is_unnamed = |name: &String| {
        let snapshot =
            SegmentName::parse(name).filter(|segment| segment.recording_id != LOG_RECORDING_ID);
        snapshot.is_some_and(|snapshot| !is_named(snapshot))
    };
    let mut names = files.list()?;
    names.retain(is_unnamed);
    Ok(names)
}

/// Removes the files of snapshots that `index` does not name.
///
/// # Errors
/// The disk's.
fn remove_unnamed(files: &mut impl ColdFiles, index: &SnapshotIndex) -> Result<(), DiskError> {
    for name in unnamed(files, index)? {
        sometimes(Mark::SnapshotFileRemoved);
        files.remove(&name)?;
    }
    Ok(())
}

/// A snapshot, all of which was read, or why it cannot be used.
pub(super) type CheckedSnapshot = Result<(StartSnapshot, SnapshotSummary), UnusableSnapshot>;

/// A snapshot, all of which was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartSnapshot {
    entry: SnapshotEntry,
    pub(super) header: SnapshotHeader,
    terms: Vec<RecoveredTerm>,
}

impl StartSnapshot {
    /// The snapshot of this `entry` of the index, of `cluster`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn check(
        files: &mut impl ColdFiles,
        entry: &SnapshotEntry,
        cluster: Option<u128>,
    ) -> CheckedSnapshot {
        let mut file = open(files, entry)?;
        let summary = verify(&mut file)?;
        if (summary.length, summary.hash) != (entry.length, entry.hash) {
            return Err(UnusableSnapshot::Other);
        }
        let mut reader = SnapshotReader::open(&mut file)?;
        let header = read_header(&mut reader)?;
        let terms = read_terms(&mut reader, header.terms)?;
        let last = terms.last().map(|last| last.term);
        if header.at.position != entry.position || last != Some(header.term.term) {
            return Err(UnusableSnapshot::Header);
        }
        let found = header.term.formation.cluster;
        if Some(found) != cluster {
            return Err(UnusableSnapshot::Foreign { found });
        }
        let this = Self {
            entry: *entry,
            header,
            terms,
        };
        Ok((this, summary))
    }

    /// Where it was taken.
    pub const fn position(&self) -> Position {
        self.header.at.position
    }

    /// Whether nobody else can have what the log below it lacks.
    const fn is_of_one_member(&self) -> bool {
        self.header.term.formation.members == 1
    }

    /// Whether a log with these leadership terms has led to it.
    fn is_of(&self, terms: &[RecoveredTerm]) -> bool {
        terms.get(..self.terms.len()) == Some(&self.terms)
    }

    /// From where all of the log is looked at that starts at `log_start`.
    fn origin_at_start(&self, log_start: Checkpoint) -> LogOrigin {
        let below = |term: &&RecoveredTerm| term.base < log_start.position;
        LogOrigin {
            log_start,
            checkpoint: log_start,
            terms: self.terms.iter().filter(below).copied().collect(),
            ..LogOrigin::default()
        }
    }

    /// From where the log is read that starts at `log_start`, when nothing below is looked at, or
    /// is of no use: the log `lacks_below` this.
    fn origin(&self, log_start: Checkpoint, lacks_below: bool) -> LogOrigin {
        LogOrigin {
            log_start,
            checkpoint: self.header.at,
            terms: self.terms.clone(),
            log_time: self.header.log_time,
            lacks_below,
        }
    }

    /// What is known of the log up to here.
    pub fn applied_log(&self) -> AppliedLog {
        AppliedLog::beginning_at(self.header.at, self.terms.clone(), Some(self.header.term))
    }

    /// Hands `load` what follows the sections that were read here.
    ///
    /// # Errors
    /// Its own, and what has happened to the file since it was checked.
    pub fn load<E: From<UnusableSnapshot>>(
        &self,
        files: &mut impl ColdFiles,
        load: impl FnOnce(&mut SnapshotReader<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut file = open(files, &self.entry).map_err(UnusableSnapshot::from)?;
        let mut reader = SnapshotReader::open(&mut file).map_err(UnusableSnapshot::from)?;
        read_header(&mut reader)?;
        read_terms(&mut reader, self.header.terms)?;
        load(&mut reader)?;
        let summary = reader.finish().map_err(UnusableSnapshot::from)?;
        if summary.hash == self.entry.hash {
            Ok(())
        } else {
            Err(UnusableSnapshot::Other.into())
        }
    }
}

/// The bytes of a file, for whoever reads a snapshot.
struct FileBytes<'a, F>(SnapshotFileSource<'a, F>);

impl<F: ColdFiles> SnapshotSource for FileBytes<'_, F> {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
        match self.0.read(offset, buffer) {
            Ok(length) if length == buffer.len() => Ok(()),
            Ok(_) => Err("the file is shorter".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn open<'a, F: ColdFiles>(
    files: &'a mut F,
    entry: &SnapshotEntry,
) -> Result<FileBytes<'a, F>, DiskError> {
    SnapshotFileSource::open(files, entry.name(), entry.length).map(FileBytes)
}

fn read_header(reader: &mut SnapshotReader<'_>) -> Result<SnapshotHeader, UnusableSnapshot> {
    reader.expect_section(SnapshotHeader::SECTION)?;
    let mut bytes = [0; SnapshotHeader::LENGTH];
    reader.read_exact(&mut bytes)?;
    reader.end_section()?;
    SnapshotHeader::decode(&bytes).ok_or(UnusableSnapshot::Header)
}

fn read_terms(
    reader: &mut SnapshotReader<'_>,
    count: u64,
) -> Result<Vec<RecoveredTerm>, UnusableSnapshot> {
    reader.expect_section(TERMS_SECTION)?;
    let mut terms: Vec<RecoveredTerm> = Vec::new();
    while reader.has_more()? {
        let mut bytes = [0; TERM_LENGTH];
        reader.read_exact(&mut bytes)?;
        let term = decode_term(&bytes).ok_or(UnusableSnapshot::Terms)?;
        let is_next = terms
            .last()
            .is_none_or(|last| last.term < term.term && last.base < term.base);
        if !is_next || terms.len() as u64 == count {
            return Err(UnusableSnapshot::Terms);
        }
        terms.push(term);
    }
    reader.end_section()?;
    if terms.len() as u64 == count {
        Ok(terms)
    } else {
        Err(UnusableSnapshot::Terms)
    }
}
