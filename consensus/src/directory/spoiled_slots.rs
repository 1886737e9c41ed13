//! Files that are kept twice in two slots, of which one was found spoiled: torn by a crash, or
//! rotten. Nothing is lost by that, and the node goes on from the other one; but whoever looks
//! after the disk wants to know. Looked at once per start, before anything is written.

use lockstep_archive::disk::{ColdFiles, DiskError};
use lockstep_archive::files::ack_mark::ACK_MARK_FILE;
use lockstep_archive::files::catalog::{CATALOG_FILE, Catalog};
use lockstep_archive::files::identity_file::{IDENTITY_FILE, IdentityFile};
use lockstep_archive::files::slot_file::SlotFile;
use lockstep_archive::files::snapshot_index::SNAPSHOT_INDEX_FILE;

use crate::directory::node_state::NODE_STATE_FILE;

/// The files that are kept twice.
pub const FILES: [&str; 5] = [
    IDENTITY_FILE,
    CATALOG_FILE,
    NODE_STATE_FILE.name,
    ACK_MARK_FILE.name,
    SNAPSHOT_INDEX_FILE.name,
];

/// For each of [`FILES`], whether one of its slots is spoiled and the other one good.
pub(crate) type SpoiledSlots = [bool; FILES.len()];

/// Cold: what is spoiled in the directory behind `disk`. Changes nothing.
///
/// # Errors
/// The disk's, other than for missing files.
pub(crate) fn find(disk: &mut impl ColdFiles) -> Result<SpoiledSlots, DiskError> {
    Ok([
        IdentityFile::has_spoiled_slot(disk)?,
        Catalog::has_spoiled_slot(disk)?,
        SlotFile::has_spoiled_slot(disk, &NODE_STATE_FILE)?,
        SlotFile::has_spoiled_slot(disk, &ACK_MARK_FILE)?,
        SlotFile::has_spoiled_slot(disk, &SNAPSHOT_INDEX_FILE)?,
    ])
}
