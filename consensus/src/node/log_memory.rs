//! The memory that outlives a process, at a start: what the process before left in it, and this
//! one's own (`log.md` 10.3).
//!
//! The ack mark says whether there must be something. What is found is poured into the segments,
//! synced, and the mark says so, before the memory is used again: a start that ends on the way
//! finds either of the two. Then the incarnation is counted, then the header names it, and only
//! then does the mark say that this life acknowledges what is in memory.

use lockstep_archive::disk::{ColdFiles, DiskError};
use lockstep_archive::files::ack_mark::AckMark;
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::files::identity_file::{IdentityContent, IdentityFile};
use lockstep_archive::log::log_memory::{LogCursors, LogMemory, LogMemoryOwner};
use lockstep_archive::log::recovery::RecoveredLog;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::position::Geometry;

use crate::directory::member_directory::Directory;
use crate::module::formation::DirectoryId;
use crate::node::start_error::StartError;
use crate::settings::config::SyncMode;

/// Whose log buffer the life before must have left; `None` where it acknowledged nothing that is
/// not on disk.
///
/// # Errors
/// The disk's.
pub(super) fn owner_before(
    disk: &mut impl ColdFiles,
    directory: &Directory,
    geometry: Geometry,
) -> Result<Option<LogMemoryOwner>, DiskError> {
    let mark = directory.ack_mark.record();
    let (Some(boot_id), true) = (disk.boot_id(), mark.is_in_memory) else {
        return Ok(None);
    };
    if mark.boot_id != Some(boot_id) {
        return Ok(None);
    }
    let IdentityContent::Valid(identity, _) = IdentityFile::inspect(disk)? else {
        return Ok(None);
    };
    Ok(Some(LogMemoryOwner {
        term_length: geometry.term_length(),
        directory: identity.directory,
        boot_id,
        incarnation: directory.node_state.state().incarnation,
    }))
}

/// The memory that this life acknowledges from, with the run of the host: none where it syncs, or
/// where no start could tell what it finds from what another run left.
pub(super) fn for_this_life(
    disk: &mut impl ColdFiles,
    memory: Option<LogMemory>,
    sync: SyncMode,
) -> Option<(LogMemory, u128)> {
    let boot_id = disk.boot_id().filter(|_| sync == SyncMode::None);
    memory.zip(boot_id)
}

/// The term buffers of this life: in `memory`, if there is any, in the name of this start of the
/// directory in the run of the host that comes with it. The mark says so on return.
///
/// # Errors
/// The disk's, and the operating system's, which has no memory to give.
pub(super) fn begin(
    disk: &mut impl ColdFiles,
    (memory, (directory, incarnation)): (Option<(LogMemory, u128)>, (DirectoryId, u64)),
    (geometry, mtu): (Geometry, usize),
    recovered: &RecoveredLog,
    mark: &mut AckMark,
) -> Result<(LogBuffer, Option<LogCursors>), StartError> {
    let (mut log, cursors) = match memory {
        None => (LogBuffer::allocate(geometry, mtu)?, None),
        Some((memory, boot_id)) => {
            let owner = LogMemoryOwner {
                term_length: geometry.term_length(),
                directory,
                boot_id,
                incarnation,
            };
            let (log, cursors) = memory.begin(&owner, geometry, mtu, recovered.end);
            let record = AckRecord {
                is_unsynced: true,
                is_in_memory: true,
                ..mark.record()
            };
            mark.write(disk, record)?;
            (log, Some(cursors))
        }
    };
    log.pre_touch();
    recovered.restore(disk, &mut log)?;
    Ok((log, cursors))
}
