//! The snapshots that a directory's index names, and what lies there in their names. Changes
//! nothing; the node may run meanwhile, store further ones and remove the oldest.

use lockstep_archive::disk::{ColdFiles, DiskError};
use lockstep_archive::files::slot_file::Opened;
use lockstep_archive::files::snapshot_index::{
    SNAPSHOT_INDEX_FILE, SnapshotEntry, SnapshotIndex, SnapshotIndexFile,
};
use lockstep_archive::log::recovery::LogOrigin;
use lockstep_archive::snapshot_file::source::file_length;
use lockstep_transport::position::Position;

use super::directory_look::{DirectoryLook, OfflineError, Standing};
use super::log_source::LogSource;
use super::looks::until_still;
use crate::node::snapshot_start::{CheckedSnapshot, FoundSnapshots, StartSnapshot, unnamed};
use crate::node::unusable_snapshot::UnusableSnapshot;

/// What lies in the name of a snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFile {
    /// A file of the length that the snapshot has there.
    There,
    /// A file of so many bytes, which are too few.
    Short(u64),
    /// A file of so many bytes, which are more than any node writes.
    Long(u64),
    /// Nothing.
    Missing,
    /// Something that cannot be looked at.
    Unreadable(String),
}

/// A snapshot that the index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSnapshot {
    /// What the index says of it.
    pub entry: SnapshotEntry,
    /// What lies there.
    pub file: SnapshotFile,
    /// The log starts above it: a start has no use for it.
    pub is_below_start: bool,
}

impl NamedSnapshot {
    fn look(
        disk: &mut impl ColdFiles,
        entry: SnapshotEntry,
        log_start: Position,
    ) -> Result<Self, OfflineError> {
        Ok(Self {
            file: SnapshotFile::look(disk, &entry)?,
            is_below_start: entry.position < log_start,
            entry,
        })
    }

    /// Whether a start tries it, as far as its length tells.
    const fn is_tried(&self) -> bool {
        let is_there = matches!(self.file, SnapshotFile::There | SnapshotFile::Long(_));
        is_there && !self.is_below_start
    }
}

impl SnapshotFile {
    fn look(disk: &mut impl ColdFiles, entry: &SnapshotEntry) -> Result<Self, OfflineError> {
        let expected = file_length(entry.length);
        let found = disk.open(&entry.name().file_name());
        Ok(match found.and_then(|file| disk.length(file)) {
            Ok(length) if length < expected => Self::Short(length),
            Ok(length) if length > expected => Self::Long(length),
            Ok(_) => Self::There,
            Err(DiskError::Missing { .. }) => Self::Missing,
            Err(DiskError::Crashed) => return Err(DiskError::Crashed.into()),
            Err(error) => Self::Unreadable(error.to_string()),
        })
    }
}

/// A snapshot's file that the index does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedFile {
    /// What it is called.
    pub name: String,
    /// Its bytes, where that can be seen.
    pub length: Option<u64>,
}

/// What the index says of snapshots, and which files of any there are.
#[derive(Debug)]
pub struct SnapshotList {
    /// The small files.
    pub directory: DirectoryLook,
    /// Whether a process uses the directory.
    pub is_running: bool,
    /// Those that the index names, newest first.
    pub named: Vec<NamedSnapshot>,
    /// Files of others: the node is writing it, or the next start removes it.
    pub unnamed: Vec<UnnamedFile>,
    /// Nothing can be read of the index, and there was one: which snapshots there were is not
    /// known.
    pub is_index_lost: bool,
}

impl SnapshotList {
    /// Looks at all of them, without reading what they say.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn of(source: &mut LogSource<'_, impl ColdFiles>) -> Result<Self, OfflineError> {
        until_still(|| {
            let found = Self::look(source)?;
            let is_still = newest_index(source.disk)? == found.directory.index;
            Ok(is_still.then_some(found))
        })
    }

    /// One look, while the index may change.
    pub(super) fn look(source: &mut LogSource<'_, impl ColdFiles>) -> Result<Self, OfflineError> {
        let is_running = (source.is_in_use)();
        let disk = &mut *source.disk;
        let directory = DirectoryLook::read(disk)?;
        let index = directory.index.unwrap_or_default();
        let log_start = directory.log_start.position;
        let named = index
            .snapshots()
            .map(|entry| NamedSnapshot::look(disk, entry, log_start));
        let named = named.collect::<Result<_, _>>()?;
        let mut others = Vec::new();
        for name in unnamed(disk, &index)? {
            let length = disk.open(&name).and_then(|file| disk.length(file));
            if !matches!(length, Err(DiskError::Missing { .. })) {
                let length = length.ok();
                others.push(UnnamedFile { name, length });
            }
        }
        let is_there = disk
            .list()?
            .iter()
            .any(|name| name == SNAPSHOT_INDEX_FILE.name);
        Ok(Self {
            is_index_lost: directory.index.is_none() && (is_there || !others.is_empty()),
            directory,
            is_running,
            named,
            unnamed: others,
        })
    }

    /// The one that a start tries first, as far as the lengths of the files tell.
    #[must_use]
    pub fn first_tried(&self) -> Option<&NamedSnapshot> {
        self.named.iter().find(|snapshot| snapshot.is_tried())
    }
}

/// What the index says now.
fn newest_index(disk: &mut impl ColdFiles) -> Result<Option<SnapshotIndex>, OfflineError> {
    match SnapshotIndexFile::look(disk)? {
        Opened::Record(index) => Ok(Some(index)),
        Opened::Nothing => Ok(None),
        Opened::OtherVersion => Err(OfflineError::OtherVersion {
            name: SNAPSHOT_INDEX_FILE.name,
        }),
    }
}

/// The snapshots that the index of a directory names, all of each of which was read.
pub(super) struct ReadSnapshots {
    /// Newest first.
    pub(super) checked: Vec<(SnapshotEntry, CheckedSnapshot)>,
    /// The same, as a start sees them.
    pub(super) found: FoundSnapshots,
    log_start: LogOrigin,
}

impl ReadSnapshots {
    /// Reads them. `None` where one that could not be read had been removed by then, as a node does
    /// that has stored two others: no finding.
    pub(super) fn read(
        disk: &mut impl ColdFiles,
        directory: &DirectoryLook,
    ) -> Result<Option<Self>, OfflineError> {
        let index = directory.index.unwrap_or_default();
        let mut found = FoundSnapshots::none(directory.log_start, index.lacking_below());
        let mut all = Vec::new();
        for entry in index.snapshots() {
            let checked = check(disk, directory, &entry);
            if checked == Err(UnusableSnapshot::Disk(DiskError::Crashed)) {
                return Err(DiskError::Crashed.into());
            }
            if checked.is_err() && !is_named(disk, &entry)? {
                return Ok(None);
            }
            found.add(&entry, &checked);
            all.push((entry, checked));
        }
        Ok(Some(Self {
            checked: all,
            found,
            log_start: LogOrigin::unknown_below(directory.log_start),
        }))
    }

    /// From where all of the log is read, as a start reads it that looks at all of it.
    pub(super) fn origin(&self) -> LogOrigin {
        let of_snapshot = self.found.whole_origin(u64::MAX);
        of_snapshot.unwrap_or_else(|| self.log_start.clone())
    }
}

fn check(
    disk: &mut impl ColdFiles,
    directory: &DirectoryLook,
    entry: &SnapshotEntry,
) -> CheckedSnapshot {
    let cluster = directory.formation.map(|record| record.cluster);
    match StartSnapshot::check(disk, entry, cluster) {
        // Whose the directory is cannot be read: nothing tells that it is another one's.
        Err(UnusableSnapshot::Foreign { found }) if directory.standing == Standing::Unknown => {
            StartSnapshot::check(disk, entry, Some(found))
        }
        checked => checked,
    }
}

fn is_named(disk: &mut impl ColdFiles, entry: &SnapshotEntry) -> Result<bool, OfflineError> {
    let index = newest_index(disk)?;
    Ok(index.is_none_or(|index| index.snapshots().any(|named| named == *entry)))
}
