//! A member's directory: catalog, node state and ack mark, made and opened together.
//!
//! Made in the order node state, ack mark, catalog, each durable before the next: a catalog
//! that verifies stands for a complete directory, and a crash on the way leaves one that is
//! recognised as unfinished and made again. A finished directory that lost a part is never
//! taken for a fresh one: an amnesiac member could vote twice (`rules.md` D15). Without its
//! catalog it is not opened: the values of a log that cannot be checked could make recovery erase
//! what is good. Without node state or ack mark it is, and says what it [`Lost`]: its owner must
//! see to it that this directory never counts again before it writes either of them.

use crate::disk::{ColdFiles, DiskError, SegmentName};
use crate::files::ack_mark::{self, ACK_MARK_FILE, AckMark, AckRecord};
use crate::files::catalog::{CATALOG_FILE, Catalog, CatalogContent, CatalogMismatch};
use crate::files::node_state::{NODE_STATE_FILE, NodeState, NodeStateFile};

use crate::files::slot_file::{SlotContent, SlotFile, SlotFileKind};

/// Why a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The disk's error.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It was made for something else.
    #[error(transparent)]
    Mismatch(#[from] CatalogMismatch),
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
    pub fn was_used(disk: &mut impl ColdFiles) -> Result<bool, DiskError> {
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
        let node_state = open_slots(disk, &NODE_STATE_FILE, NodeState::decode)?;
        let ack_mark = open_slots(disk, &ACK_MARK_FILE, ack_mark::decode)?;
        let lost = Lost {
            node_state: node_state.is_none(),
            ack_mark: ack_mark.is_none(),
        };
        let (slots, state) = match node_state {
            Some(found) => found,
            None => {
                let slots = SlotFile::renew(disk, &NODE_STATE_FILE)?;
                (slots, NodeState::fresh(catalog.cluster))
            }
        };
        if state.cluster != catalog.cluster {
            return Err(CatalogMismatch::Cluster {
                found: state.cluster,
                expected: catalog.cluster,
            }
            .into());
        }
        let (mark_slots, mark) = match ack_mark {
            Some(found) => found,
            None => {
                let slots = SlotFile::renew(disk, &ACK_MARK_FILE)?;
                (slots, AckRecord::default())
            }
        };
        catalog.repair(disk)?;
        Ok(Self {
            catalog,
            node_state: NodeStateFile::new(slots, state),
            ack_mark: AckMark::new(mark_slots, mark),
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
        let state = NodeState::fresh(catalog.cluster);
        let node_state = SlotFile::create(disk, &NODE_STATE_FILE, &state.encode())?;
        let ack_mark = SlotFile::create(
            disk,
            &ACK_MARK_FILE,
            &ack_mark::encode(&AckRecord::default()),
        )?;
        catalog.write(disk)?;
        Ok(Self {
            catalog: *catalog,
            node_state: NodeStateFile::new(node_state, state),
            ack_mark: AckMark::new(ack_mark, AckRecord::default()),
            is_new: true,
            lost: Lost::default(),
        })
    }
}

/// The file with its newest record; `None` when no slot of it is good.
fn open_slots<T>(
    disk: &mut impl ColdFiles,
    kind: &SlotFileKind,
    decode: impl Fn(&crate::files::slot_file::Record) -> Option<T>,
) -> Result<Option<(SlotFile, T)>, DirectoryError> {
    let SlotContent::Valid {
        slot,
        sequence,
        record,
    } = SlotFile::inspect(disk, kind)?
    else {
        return Ok(None);
    };
    match decode(&record) {
        Some(value) => Ok(Some((SlotFile::open(disk, kind, slot, sequence)?, value))),
        // Rot does not pass the slot's checksum.
        None => Err(DirectoryError::OtherVersion { name: kind.name }),
    }
}
