//! What happens to members' disks and directories: by operators, by rot, and by failing hardware.

use lockstep_archive::disk::{BLOCK_LENGTH, DiskError};
use lockstep_archive::sim::SimBackup;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::{Members, SimCluster};
use crate::node::start_error::StartError;
use crate::sim::log_range::LogRange;
use crate::sim::shared_memory::SharedMemory;
use crate::sim::stored_log::StoredLog;

/// Where the record of a slot lies in it: its header is before.
const RECORD_OFFSET: usize = 20;

/// What is left of a frame that was torn.
const TORN_LENGTH: usize = 64;

/// An old state of a member's directory.
#[derive(Clone, Debug)]
pub struct OldState {
    directory: SimBackup,
    /// What of its log had rotted.
    rotten: Vec<LogRange>,
}

/// How a start ends before it has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartEnd {
    /// The process dies.
    Kill,
    /// The host loses power.
    PowerLoss,
}

impl<S: ClusteredService> SimCluster<S> {
    /// The directory of a member as it is now, for later.
    #[must_use]
    pub fn old_state(&self, id: usize) -> OldState {
        OldState {
            directory: self.hosts[id].disk.backup(),
            rotten: self.watch.rotten(id).to_vec(),
        }
    }

    /// The log buffer of a member that is down, for later.
    ///
    /// # Panics
    /// Where it is up.
    #[must_use]
    pub fn log_buffer(&self, id: usize) -> SharedMemory {
        self.hosts[id].memory.copy()
    }

    /// Two members that are down have their directories swapped.
    ///
    /// # Panics
    /// Where one of them is up.
    #[track_caller]
    pub fn swap(&mut self, one: usize, other: usize) {
        let (first, second) = (self.old_state(one), self.old_state(other));
        self.member(one).put_back(&second);
        self.member(other).put_back(&first);
    }
}

impl<S: ClusteredService> Members<'_, S> {
    /// Its directory is emptied.
    ///
    /// # Panics
    /// Where it is up.
    #[track_caller]
    pub fn wipe(&mut self) -> &mut Self {
        self.each_down("has its directory emptied", |cluster, id| {
            cluster.hosts[id].disk.wipe();
            cluster.watch.replace(id, &[]);
        })
    }

    /// Its directory is replaced by a copy of itself.
    ///
    /// # Panics
    /// Where it is up.
    #[track_caller]
    pub fn copy_onto_itself(&mut self) -> &mut Self {
        self.each_down("has its directory copied", |cluster, id| {
            let disk = &cluster.hosts[id].disk;
            disk.copy_from(&disk.backup());
        })
    }

    /// An old state of a directory is put back in place: nothing on the file system tells.
    ///
    /// # Panics
    /// Where it is up.
    #[track_caller]
    pub fn put_back(&mut self, state: &OldState) -> &mut Self {
        self.each_down("has an old state put back", |cluster, id| {
            cluster.hosts[id].disk.restore_in_place(&state.directory);
            cluster.watch.replace(id, &state.rotten);
        })
    }

    /// Its log buffer in shared memory is gone.
    ///
    /// # Panics
    /// Where it is up.
    #[track_caller]
    pub fn lose_log_buffer(&mut self) -> &mut Self {
        self.each_down("loses its log buffer", |cluster, id| {
            cluster.hosts[id].lose_memory();
            cluster.watch.forget(id);
        })
    }

    /// Its log buffer is the one that it had, or another member, when this was kept.
    ///
    /// # Panics
    /// Where it is up.
    #[track_caller]
    pub fn put_log_buffer(&mut self, kept: &SharedMemory) -> &mut Self {
        self.each_down("has another log buffer", |cluster, id| {
            cluster.hosts[id].lose_memory();
            cluster.hosts[id].memory = kept.copy();
            cluster.watch.forget(id);
        })
    }

    /// A file of its directory is gone.
    ///
    /// # Panics
    /// Where it is up.
    #[track_caller]
    pub fn lose(&mut self, file: &str) -> &mut Self {
        self.each_down(&format!("loses {file}"), |cluster, id| {
            cluster.hosts[id].disk.lose(file);
            cluster.watch.forget(id);
        })
    }

    /// The segment of its log that holds `position` is gone.
    ///
    /// # Panics
    /// Where it is up.
    #[track_caller]
    pub fn lose_segment(&mut self, position: Position) -> &mut Self {
        let name = format!("loses the segment of its log at {position}");
        self.each_down(&name, |cluster, id| {
            let (name, offset, rest) = cluster.stored(id).place_of(position);
            let start = position - offset as Position;
            cluster.watch.rot(id, (start, position + rest as Position));
            cluster.hosts[id].disk.lose(&name);
        })
    }

    /// A bit of its log rots at `position`, whether it is up or down.
    ///
    /// # Panics
    /// Where its disk has no log there.
    #[track_caller]
    pub fn rot(&mut self, position: Position) -> &mut Self {
        self.each(&format!("has its log rot at {position}"), |cluster, id| {
            let (name, offset, _) = cluster.stored(id).place_of(position);
            if !cluster.hosts[id].disk.flip_bit(&name, offset, 6) {
                cluster.fail(&format!("member {id} should have a log at {position}"));
            }
            cluster.watch.rot(id, (position, position + 1));
        })
    }

    /// One of the two slots of a small file rots.
    ///
    /// # Panics
    /// Where it has no such file.
    #[track_caller]
    pub fn rot_slot(&mut self, file: &str, slot: usize) -> &mut Self {
        self.each(&format!("has slot {slot} of {file} rot"), |cluster, id| {
            let offset = slot * BLOCK_LENGTH + RECORD_OFFSET;
            if !cluster.hosts[id].disk.flip_bit(file, offset, 3) {
                cluster.fail(&format!("member {id} should have a file {file}"));
            }
        })
    }

    /// Both slots of a small file rot, or what there is of them.
    ///
    /// # Panics
    /// Where it has no such file.
    #[track_caller]
    pub fn rot_file(&mut self, file: &str) -> &mut Self {
        self.each(&format!("has {file} rot"), |cluster, id| {
            let disk = &cluster.hosts[id].disk;
            let spoil =
                |slot| disk.overwrite(file, slot * BLOCK_LENGTH + RECORD_OFFSET, &[0xA5; 16]);
            let is_there = spoil(0);
            spoil(1);
            if !is_there {
                cluster.fail(&format!("member {id} should have a file {file}"));
            }
            cluster.watch.forget(id);
        })
    }

    /// Of a frame that its disk was writing behind the end of its log the beginning is there, and
    /// the rest is not.
    ///
    /// # Panics
    /// Where it is up, or has no log.
    #[track_caller]
    pub fn tear_tail(&mut self) -> &mut Self {
        self.each("has a torn frame at the end of its log", |cluster, id| {
            let (stored, end) = (cluster.stored(id), cluster.watch.end_of(id));
            let torn = newest_frame(&stored, end).filter(|_| cluster.hosts[id].node.is_none());
            let Some(torn) = torn else {
                cluster.fail(&format!("member {id} should be down, and have a log"));
            };
            let (name, offset, rest) = stored.place_of(end);
            let length = torn.len().min(TORN_LENGTH).min(rest);
            let is_there = stored.disk.overwrite(&name, offset, &torn[..length]);
            assert!(
                is_there,
                "the log ends in a segment, which has room for some of a frame"
            );
        })
    }

    /// Its disk completes nothing for so long.
    #[track_caller]
    pub fn stall_disk(&mut self, duration: Nanos) -> &mut Self {
        self.each("has its disk stall", |cluster, id| {
            let until = cluster.now + duration;
            cluster.hosts[id].disk.stall_until(until);
        })
    }

    /// Its disk has no room.
    #[track_caller]
    pub fn fill_disk(&mut self) -> &mut Self {
        self.each("has a full disk", |cluster, id| {
            cluster.hosts[id].disk.set_capacity(0);
        })
    }

    /// Its disk has room for so many bytes.
    #[track_caller]
    pub fn free_disk(&mut self, capacity_bytes: u64) -> &mut Self {
        self.each("has room on its disk", |cluster, id| {
            cluster.hosts[id].disk.set_capacity(capacity_bytes);
        })
    }

    /// The next `count` writes to its disk fail.
    #[track_caller]
    pub fn fail_writes(&mut self, count: u32) -> &mut Self {
        self.each("has its disk fail to write", |cluster, id| {
            cluster.hosts[id].disk.fail_writes(count);
        })
    }

    /// The next `count` reads of its running node fail.
    #[track_caller]
    pub fn fail_reads(&mut self, count: u32) -> &mut Self {
        self.each("has its disk fail to read", |cluster, id| {
            cluster.hosts[id].disk.fail_reads(count);
        })
    }

    /// It starts, and its start ends in the changing operation on its disk with this number, from
    /// 0. It is up where there are not as many, which is what is returned, and down otherwise.
    ///
    /// # Panics
    /// Where it is up, or a start fails for another reason.
    #[track_caller]
    pub fn start_in_vain(&mut self, end: StartEnd, operation: u64) -> bool {
        let mut is_whole = true;
        for id in self.ids.clone() {
            let how = format!("starts and ends in operation {operation}: {end:?}");
            self.cluster.note(format!("member {id} {how}"));
            self.cluster.demand_down(id, &how);
            let disk = self.cluster.disk(id);
            disk.restart();
            let operation = disk.cold_operations() + operation;
            match end {
                StartEnd::Kill => disk.kill_at_cold_operation(operation),
                StartEnd::PowerLoss => disk.crash_at_cold_operation(operation),
            }
            let outcome = self.cluster.boot(id);
            is_whole &= outcome.is_ok();
            if let Some(error) = outcome.err().filter(|error| !is_crash(error)) {
                self.cluster.fail(&format!("member {id}: {error}"));
            }
        }
        is_whole
    }
}

/// The newest frame of a log that ends at `end`.
fn newest_frame(stored: &StoredLog<'_>, end: Position) -> Option<Vec<u8>> {
    let frames = stored.frames(0, end);
    let (from, to) = *frames.last().filter(|(_, to)| *to == end)?;
    stored.range(from, to)
}

/// Whether a start ended because its disk did.
fn is_crash(error: &StartError) -> bool {
    error.disk_error() == Some(&DiskError::Crashed)
}
