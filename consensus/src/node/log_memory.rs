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
use lockstep_archive::files::slot_file::{Opened, SlotContent, SlotFile};
use lockstep_archive::log::log_memory::{LogCursors, LogMemory, LogMemoryOwner};
use lockstep_archive::log::recovery::RecoveredLog;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::position::Geometry;

use crate::directory::member_directory::Directory;
use crate::directory::node_state::{NODE_STATE_FILE, NodeState};
use crate::module::formation::DirectoryId;
use crate::node::start_error::StartError;
use crate::settings::config::SyncMode;

/// What memory that was found is to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The life before has left it, and the mark counts on it.
    Left,
    /// Nothing is in it that is not on disk too.
    Settled,
    /// It may be the only copy of something, of another directory or of another state of this one.
    Strange,
}

/// What a directory says of the memory that its lives have left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// The last life, whose memory its mark counts on.
    pub(super) before: Option<LogMemoryOwner>,
    /// The last life, where it is known how far all of them acknowledged.
    pub(super) last: Option<LogMemoryOwner>,
}

impl Claim {
    /// Cold: the claim of the directory behind `disk`. Changes nothing.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn read(disk: &mut impl ColdFiles, term_length: usize) -> Result<Self, DiskError> {
        let Opened::Record(mark) = AckMark::open(disk)? else {
            return Ok(Self::NONE);
        };
        let SlotContent::Valid { record, .. } = SlotFile::inspect(disk, &NODE_STATE_FILE)? else {
            return Ok(Self::NONE);
        };
        let Some(state) = NodeState::decode(&record) else {
            return Ok(Self::NONE);
        };
        let incarnation = state.incarnation;
        Self::of(disk, mark.record(), incarnation, term_length)
    }

    /// Of a directory that nothing is known of.
    pub(super) const NONE: Self = Self {
        before: None,
        last: None,
    };

    /// Cold: the claim of the directory behind `disk` whose mark and whose count of starts these
    /// are. Changes nothing.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn of(
        disk: &mut impl ColdFiles,
        mark: AckRecord,
        incarnation: u64,
        term_length: usize,
    ) -> Result<Self, DiskError> {
        let Some(boot_id) = disk.boot_id() else {
            return Ok(Self::NONE);
        };
        let IdentityContent::Valid(identity, _) = IdentityFile::inspect(disk)? else {
            return Ok(Self::NONE);
        };
        let last = LogMemoryOwner {
            term_length,
            directory: identity.directory,
            boot_id,
            incarnation,
        };
        let counts = mark.is_in_memory && mark.boot_id == Some(boot_id);
        Ok(Self {
            before: counts.then_some(last),
            last: Some(last),
        })
    }

    /// What `memory` is to a start of the directory.
    pub(crate) fn standing(&self, memory: &LogMemory) -> Standing {
        if self
            .before
            .is_some_and(|owner| memory.left(&owner).is_some())
        {
            return Standing::Left;
        }
        if memory.is_unused() {
            return Standing::Settled;
        }
        // Each life puts on disk what the one before has left, and takes the word back, before it
        // is counted.
        let is_settled = |owner: LogMemoryOwner| {
            let Some(last) = self.last else { return false };
            let of_this = LogMemoryOwner {
                incarnation: owner.incarnation,
                ..last
            };
            let is_before = owner.incarnation < last.incarnation;
            owner == of_this && (is_before || owner == last && self.before.is_none())
        };
        match memory.owner().is_some_and(is_settled) {
            true => Standing::Settled,
            false => Standing::Strange,
        }
    }
}

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
    let incarnation = directory.node_state.state().incarnation;
    Ok(Claim::of(disk, mark, incarnation, geometry.term_length())?.before)
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

#[cfg(test)]
mod tests {
    use lockstep_archive::log::log_memory::LOG_MEMORY_HEADER;
    use lockstep_transport::concurrent::{AtomicBuffer, HostMemory};

    use super::*;

    const LIFE: LogMemoryOwner = LogMemoryOwner {
        term_length: 64 * 1024,
        directory: 5,
        boot_id: 6,
        incarnation: 7,
    };

    /// Memory in which a life of `owner` has begun, if any.
    fn memory(owner: Option<&LogMemoryOwner>) -> LogMemory {
        let (header, terms) = (LOG_MEMORY_HEADER, LogMemory::terms_length(LIFE.term_length));
        let place = HostMemory::allocate(header).unwrap();
        let memory = LogMemory::new(place.map(), AtomicBuffer::allocate(terms).unwrap());
        let Some(owner) = owner else { return memory };
        let geometry = Geometry::new(0, owner.term_length).unwrap();
        drop(memory.begin(owner, geometry, 1408, 0));
        LogMemory::new(place.map(), AtomicBuffer::allocate(terms).unwrap())
    }

    #[test]
    fn memory_is_used_again_only_where_all_that_is_in_it_is_known_to_be_on_disk() {
        let life = |incarnation| LogMemoryOwner {
            incarnation,
            ..LIFE
        };
        let counts = Claim {
            before: Some(LIFE),
            last: Some(LIFE),
        };
        let is_on_disk = Claim {
            before: None,
            last: Some(LIFE),
        };
        let unused = memory(None);
        for claim in [counts, is_on_disk, Claim::NONE] {
            assert_eq!(claim.standing(&unused), Standing::Settled);
        }
        let (older, same, newer) = (life(6), life(7), life(8));
        for (owner, by_counting, by_clean) in [
            (older, Standing::Settled, Standing::Settled),
            (same, Standing::Left, Standing::Settled),
            // An older state of the directory was put back.
            (newer, Standing::Strange, Standing::Strange),
        ] {
            let memory = memory(Some(&owner));
            assert_eq!(counts.standing(&memory), by_counting, "{owner:?}");
            assert_eq!(is_on_disk.standing(&memory), by_clean, "{owner:?}");
            // The mark or the state is lost.
            assert_eq!(Claim::NONE.standing(&memory), Standing::Strange);
        }
        let others = [
            LogMemoryOwner {
                directory: 1,
                ..older
            },
            LogMemoryOwner {
                boot_id: 1,
                ..older
            },
        ];
        for other in others {
            let memory = memory(Some(&other));
            assert_eq!(counts.standing(&memory), Standing::Strange, "{other:?}");
        }
    }
}
