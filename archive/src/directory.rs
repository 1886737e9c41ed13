//! A member's directory: catalog, node state and ack mark, made and opened together.
//!
//! Made in the order node state, ack mark, catalog, each durable before the next: a catalog
//! that verifies stands for a complete directory, and a crash on the way leaves one that is
//! recognised as unfinished and made again. A finished directory that lost a part is never
//! taken for a fresh one: an amnesiac member could vote twice (`reliability.md` D15).

use crate::ack_mark::{self, ACK_MARK_FILE, AckMark, AckRecord};
use crate::catalog::{CATALOG_FILE, Catalog, CatalogContent, CatalogMismatch};
use crate::disk::{Disk, DiskError, SegmentName};
use crate::node_state::{NODE_STATE_FILE, NodeState, NodeStateFile};

use crate::slot_file::{SlotContent, SlotFile, SlotFileKind};

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
}

impl Directory {
    /// Cold: the catalog of the directory behind `disk`, or `None` where it is empty or
    /// unfinished and may be made. Changes nothing.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn inspect(
        disk: &mut impl Disk,
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

    /// Cold: whether anything was ever promised in the directory behind `disk`: a start was
    /// counted, or there is a segment of a log. Changes nothing.
    ///
    /// # Errors
    /// The disk's.
    pub fn was_used(disk: &mut impl Disk) -> Result<bool, DiskError> {
        let names = disk.list()?;
        let has_log = names.iter().any(|name| SegmentName::parse(name).is_some());
        let was_started = match SlotFile::inspect(disk, &NODE_STATE_FILE)? {
            SlotContent::Valid { record, .. } => {
                NodeState::decode(&record).is_none_or(|state| state.incarnation > 0)
            }
            SlotContent::Blank | SlotContent::Unreadable => false,
        };
        Ok(has_log || was_started)
    }

    /// Cold: opens the directory behind `disk`, or makes it when it is empty or unfinished.
    ///
    /// # Errors
    /// See [`DirectoryError`]; nothing is changed then.
    pub fn open_or_create(
        disk: &mut impl Disk,
        expected: &Catalog,
    ) -> Result<Self, DirectoryError> {
        match Self::inspect(disk, expected)? {
            Some(found) => Self::open(disk, found),
            None => Self::create(disk, expected),
        }
    }

    fn open(disk: &mut impl Disk, catalog: Catalog) -> Result<Self, DirectoryError> {
        let damaged = |name| DirectoryError::Damaged { name };
        let (slots, state) = open_slots(disk, &NODE_STATE_FILE, NodeState::decode)?
            .ok_or(damaged(NODE_STATE_FILE.name))?;
        if state.cluster != catalog.cluster {
            return Err(CatalogMismatch::Cluster {
                found: state.cluster,
                expected: catalog.cluster,
            }
            .into());
        }
        let (mark_slots, mark) = open_slots(disk, &ACK_MARK_FILE, ack_mark::decode)?
            .ok_or(damaged(ACK_MARK_FILE.name))?;
        catalog.repair(disk)?;
        Ok(Self {
            catalog,
            node_state: NodeStateFile::new(slots, state),
            ack_mark: AckMark::new(mark_slots, mark),
            is_new: false,
        })
    }

    /// A directory without a good catalog may be made (again) only if nothing was ever
    /// promised in it: no segment, no start counted.
    fn expect_unfinished(
        disk: &mut impl Disk,
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

    fn create(disk: &mut impl Disk, catalog: &Catalog) -> Result<Self, DirectoryError> {
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
        })
    }
}

fn open_slots<T>(
    disk: &mut impl Disk,
    kind: &SlotFileKind,
    decode: impl Fn(&crate::slot_file::Record) -> Option<T>,
) -> Result<Option<(SlotFile, T)>, DiskError> {
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
        None => Ok(None),
    }
}
