//! Files that are kept twice in two slots, of which one was found spoiled: torn by a crash, or
//! rotten. Nothing is lost by that, and the node goes on from the other one; but whoever looks
//! after the disk wants to know. Looked at once per start, before anything is written.

use crate::disk::{BLOCK_LENGTH, ColdFiles, DiskError};
use crate::files::ack_mark::ACK_MARK_FILE;
use crate::files::catalog::{CATALOG_FILE, Catalog, CatalogContent};
use crate::files::identity_file::{DirectoryIdentity, IDENTITY_FILE};
use crate::files::node_state::NODE_STATE_FILE;
use crate::files::slot_file::{self, SLOTS};

/// The files that are kept twice.
pub const FILES: [&str; 4] = [
    IDENTITY_FILE,
    CATALOG_FILE,
    NODE_STATE_FILE.name,
    ACK_MARK_FILE.name,
];

/// For each of [`FILES`], whether one of its slots is spoiled and the other one good.
pub type SpoiledSlots = [bool; FILES.len()];

/// Cold: what is spoiled in the directory behind `disk`. Changes nothing.
///
/// # Errors
/// The disk's, other than for missing files.
pub fn find(disk: &mut impl ColdFiles) -> Result<SpoiledSlots, DiskError> {
    let is_record = |magic| move |block: &Block| slot_file::decode(block, magic).is_some();
    Ok([
        is_half_good(disk, FILES[0], |block| {
            DirectoryIdentity::decode(block).is_some()
        })?,
        is_half_good(disk, FILES[1], |block| {
            matches!(Catalog::decode(block), CatalogContent::Valid(_))
        })?,
        is_half_good(disk, FILES[2], is_record(NODE_STATE_FILE.magic))?,
        is_half_good(disk, FILES[3], is_record(ACK_MARK_FILE.magic))?,
    ])
}

type Block = [u8; BLOCK_LENGTH];

fn is_half_good(
    disk: &mut impl ColdFiles,
    name: &str,
    is_good: impl Fn(&Block) -> bool,
) -> Result<bool, DiskError> {
    let mut good = 0;
    slot_file::read_slots(disk, name, |_, block| good += u64::from(is_good(block)))?;
    Ok(0 < good && good < SLOTS)
}
