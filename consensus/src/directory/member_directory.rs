//! A member's directory: catalog, node state, ack mark and the index of snapshots, made and opened
//! together.
//!
//! Made in the order node state, ack mark, index, catalog, each durable before the next: a catalog
//! that verifies stands for a complete directory, and a crash on the way leaves one that is
//! recognised as unfinished and made again. A finished directory that lost a part is never
//! taken for a fresh one: an amnesiac member could vote twice (`rules.md` D15). Without its
//! catalog it is not opened: the values of a log that cannot be checked could make recovery erase
//! what is good. Without node state or ack mark it is, and says what it [`Lost`]: its owner must
//! see to it that this directory never counts again before it writes either of them.

use lockstep_archive::disk::{ColdFiles, DiskError, SegmentName};
use lockstep_archive::files::ack_mark::{ACK_MARK_FILE, AckMark};
use lockstep_archive::files::catalog::{CATALOG_FILE, Catalog, CatalogContent, CatalogMismatch};
use lockstep_archive::files::slot_file::{Opened, SlotContent, SlotFile};
use lockstep_archive::files::snapshot_index::{SnapshotIndexError, SnapshotIndexFile};

use crate::directory::node_state::{NODE_STATE_FILE, NodeState, NodeStateFile};

/// The files in a directory that the archive does not know by itself.
pub(crate) const FILES_BESIDE_ARCHIVE: [&str; 1] = [NODE_STATE_FILE.name];

/// Why a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The disk's error.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It was made for something else.
    #[error(transparent)]
    Mismatch(#[from] CatalogMismatch),
    /// The index of snapshots.
    #[error(transparent)]
    SnapshotIndex(SnapshotIndexError),
    /// A file that must be good is not.
    #[error(
        "{name} is missing or damaged: this member cannot know what it promised; keep the \
         directory as it is, it may hold the only copy of an answered request, and see \"A \
         directory is damaged\" in docs/operating.md"
    )]
    Damaged {
        /// Which file.
        name: &'static str,
    },
    /// A whole file of another version.
    #[error(
        "{name} was written by another version of lockstep: nothing was changed; start this \
         member with the version that wrote it"
    )]
    OtherVersion {
        /// Which file.
        name: &'static str,
    },
}

impl From<SnapshotIndexError> for DirectoryError {
    fn from(error: SnapshotIndexError) -> Self {
        match error {
            SnapshotIndexError::Disk(error) => Self::Disk(error),
            error => Self::SnapshotIndex(error),
        }
    }
}

/// Which files of a finished directory are missing, or have no good slot left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Term, vote and incarnation are not known.
    pub node_state: bool,
    /// How far the member acknowledged is not known.
    pub ack_mark: bool,
}

/// The open small files of a directory.
#[derive(Debug)]
pub struct Directory {
    /// What the directory holds.
    pub catalog: Catalog,
    /// Term, vote and incarnation.
    pub node_state: NodeStateFile,
    /// How far the member ever acknowledged.
    pub ack_mark: AckMark,
    /// Which snapshots there are, and where the log starts.
    pub snapshot_index: SnapshotIndexFile,
    /// Whether it was made just now.
    pub is_new: bool,
    /// What is blank here although the directory is not new.
    pub lost: Lost,
}

impl Directory {
    /// Cold: the catalog of the directory behind `disk`, or `None` where it is empty or
    /// unfinished and may be made. Changes nothing.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn inspect(
        disk: &mut impl ColdFiles,
        expected: &Catalog,
    ) -> Result<Option<Catalog>, DirectoryError> {
        match Catalog::inspect(disk)? {
            CatalogContent::Valid(found) => {
                found.expect_equal(expected)?;
                Ok(Some(found))
            }
            CatalogContent::OtherVersion(found) => Err(CatalogMismatch::Version { found }.into()),
            content => {
                Self::expect_unfinished(disk, content)?;
                Ok(None)
            }
        }
    }

    /// Cold: whether anything was ever promised in the directory behind `disk`, as far as can be
    /// known: a start was counted, or lost count of, or there is a segment of a log. Changes
    /// nothing.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn was_used(disk: &mut impl ColdFiles) -> Result<bool, DiskError> {
        let names = disk.list()?;
        let has_log = names.iter().any(|name| SegmentName::parse(name).is_some());
        let was_started = match SlotFile::inspect(disk, &NODE_STATE_FILE)? {
            SlotContent::Valid { record, .. } => {
                NodeState::decode(&record).is_none_or(|state| state.incarnation > 0)
            }
            // Made before the catalog: beside a good one it has been lost.
            SlotContent::Blank | SlotContent::Unreadable => {
                matches!(Catalog::inspect(disk)?, CatalogContent::Valid(_))
            }
        };
        Ok(has_log || was_started)
    }

    /// Cold: opens the directory behind `disk`, or makes it when it is empty or unfinished.
    ///
    /// # Errors
    /// See [`DirectoryError`]; nothing is changed then.
    pub fn open_or_create(
        disk: &mut impl ColdFiles,
        expected: &Catalog,
    ) -> Result<Self, DirectoryError> {
        match Self::inspect(disk, expected)? {
            Some(found) => Self::open(disk, found),
            None => Self::create(disk, expected),
        }
    }

    fn open(disk: &mut impl ColdFiles, catalog: Catalog) -> Result<Self, DirectoryError> {
        let node_state = known(NodeStateFile::open(disk)?, NODE_STATE_FILE.name)?;
        let ack_mark = known(AckMark::open(disk)?, ACK_MARK_FILE.name)?;
        let snapshot_index = SnapshotIndexFile::open(disk, catalog.segment_length)?;
        let lost = Lost {
            node_state: node_state.is_none(),
            ack_mark: ack_mark.is_none(),
        };
        let node_state = match node_state {
            Some(found) => found,
            None => NodeStateFile::renew(disk, catalog.cluster)?,
        };
        if node_state.state().cluster != catalog.cluster {
            return Err(CatalogMismatch::Cluster {
                found: node_state.state().cluster,
                expected: catalog.cluster,
            }
            .into());
        }
        let ack_mark = match ack_mark {
            Some(found) => found,
            None => AckMark::renew(disk)?,
        };
        catalog.repair(disk)?;
        Ok(Self {
            catalog,
            node_state,
            ack_mark,
            snapshot_index,
            is_new: false,
            lost,
        })
    }

    /// A directory without a good catalog may be made (again) only if nothing was ever
    /// promised in it: no segment, no start counted.
    fn expect_unfinished(
        disk: &mut impl ColdFiles,
        catalog: CatalogContent,
    ) -> Result<(), DirectoryError> {
        let lost = DirectoryError::Damaged { name: CATALOG_FILE };
        if disk
            .list()?
            .iter()
            .any(|name| SegmentName::parse(name).is_some())
        {
            return Err(lost);
        }
        let never_started = match SlotFile::inspect(disk, &NODE_STATE_FILE)? {
            SlotContent::Valid { record, .. } => {
                NodeState::decode(&record).is_some_and(|state| state.incarnation == 0)
            }
            // The node state is made before the catalog: no catalog yet, none promised.
            SlotContent::Blank | SlotContent::Unreadable => catalog == CatalogContent::Blank,
        };
        if never_started { Ok(()) } else { Err(lost) }
    }

    fn create(disk: &mut impl ColdFiles, catalog: &Catalog) -> Result<Self, DirectoryError> {
        let node_state = NodeStateFile::create(disk, catalog.cluster)?;
        let ack_mark = AckMark::create(disk)?;
        let snapshot_index = SnapshotIndexFile::open(disk, catalog.segment_length)?;
        catalog.write(disk)?;
        Ok(Self {
            catalog: *catalog,
            node_state,
            ack_mark,
            snapshot_index,
            is_new: true,
            lost: Lost::default(),
        })
    }
}

/// What the file of this name was found to hold; `None` when no slot of it is good.
fn known<T>(opened: Opened<T>, name: &'static str) -> Result<Option<T>, DirectoryError> {
    match opened {
        Opened::Record(record) => Ok(Some(record)),
        Opened::Nothing => Ok(None),
        Opened::OtherVersion => Err(DirectoryError::OtherVersion { name }),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files of a real directory")]
mod tests {
    use lockstep_archive::disk::Disk;
    use lockstep_archive::files::catalog::LOG_STREAM_ID;
    use lockstep_archive::storage;
    use lockstep_transport::setting::IoChoice;

    use super::*;

    #[test]
    fn what_a_crash_left_of_any_of_its_files_is_removed_when_it_is_opened() {
        let place = tempfile::tempdir().unwrap();
        let open = || storage::open(place.path(), IoChoice::Syscall, &FILES_BESIDE_ARCHIVE);
        let (mut disk, _) = open().unwrap();
        let catalog = Catalog {
            cluster: 7,
            session_id: 1,
            stream_id: LOG_STREAM_ID,
            initial_term_id: 0,
            term_length: 65_536,
            segment_length: 65_536,
            mtu: 1408,
        };
        let files = disk.files();
        Directory::open_or_create(files, &catalog).unwrap();
        let made = files.list().unwrap();
        drop(disk);
        let made: Vec<&String> = made.iter().filter(|name| *name != "node.lock").collect();
        assert_eq!(made.len(), 4, "{made:?}");
        for name in &made {
            std::fs::write(place.path().join(format!("{name}.tmp")), b"x").unwrap();
        }
        let (mut disk, _) = open().unwrap();
        let left = disk.files().list().unwrap();
        assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
        assert!(made.iter().all(|name| left.contains(name)), "{left:?}");
    }
}
