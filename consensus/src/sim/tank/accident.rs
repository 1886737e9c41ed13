//! What may happen to a member's directory behind its back, and what it is then.

use lockstep_archive::files::catalog::{Catalog, CatalogContent};
use lockstep_archive::files::identity_file::{IdentityContent, IdentityFile};
use lockstep_archive::sim::{SimBackup, SimDisk};

use crate::sim::tank::plan::FaultClass;
use crate::sim::tank::stored_state::durable_state;

/// What happens to a directory while its member is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accident {
    /// Rot in the log.
    Rot,
    /// Rot of one place of a small file.
    RotSlot,
    /// A segment of the log is gone.
    LoseSegment,
    /// The directory is emptied.
    Wipe,
    /// It is replaced by a copy of itself.
    SelfCopy,
    /// The member is started on a copy of this one's.
    Foreign(usize),
    /// An old state is put back.
    Stale,
}

impl Accident {
    /// The class of faults it is one of.
    #[must_use]
    pub const fn class(self) -> FaultClass {
        match self {
            Self::Rot => FaultClass::RotDown,
            Self::RotSlot => FaultClass::RotSlot,
            Self::LoseSegment => FaultClass::LoseSegment,
            Self::Wipe => FaultClass::Wipe,
            Self::SelfCopy => FaultClass::SelfCopy,
            Self::Foreign(_) => FaultClass::Foreign,
            Self::Stale => FaultClass::StaleBackup,
        }
    }
}

/// A member's directory is kept aside while it is started on another's.
#[derive(Debug)]
pub struct Misplaced {
    /// Its own.
    pub own: SimBackup,
    /// What it is started on.
    pub found: SimBackup,
}

/// Whether a directory says whose it is: one that does not, another's that was just emptied, is as
/// good as new for whoever is started on it.
pub fn has_identity(disk: &SimDisk) -> bool {
    let content = IdentityFile::inspect(&mut disk.clone());
    matches!(content, Ok(IdentityContent::Valid(..)))
}

/// Whether one of the small files of a directory that was whole before says nothing any more.
pub fn has_forgotten(disk: &SimDisk) -> bool {
    let catalog = Catalog::inspect(&mut disk.clone());
    let has_catalog = matches!(catalog, Ok(CatalogContent::Valid(_)));
    let has_promises = durable_state(disk).is_some() && disk.durable_mark().is_some();
    !(has_identity(disk) && has_catalog && has_promises)
}
