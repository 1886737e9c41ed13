//! The log is made to start higher, where a snapshot stands for what is below (`log.md` 8.6).
//!
//! First the index says so, durably; then nobody reads below any more, and the recorder makes new
//! segments of those below, or removes them.

use lockstep_archive::disk::Disk;
use lockstep_archive::files::snapshot_index::{SnapshotEntry, SnapshotIndex};
use lockstep_archive::log::segment::base_position;
use lockstep_archive::snapshot_file::source::file_length;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::log::archive_agent::ArchiveAgent;
use crate::log::member_log::MemberLog;
use crate::log::snapshot_store::SnapshotStore;
use crate::node::counters::Counter;

impl<D: Disk> ArchiveAgent<D> {
    /// What is durably known of the snapshots here, and where the log starts.
    #[must_use]
    pub const fn snapshot_index(&self) -> &SnapshotIndex {
        self.snapshot_index.durable()
    }

    /// The service is known to have gone wrong at `cause`: what was taken of it after that is no
    /// snapshot. True on disk once the index is settled.
    pub(crate) fn strike_snapshots_above(&mut self, cause: Position) {
        let wanted = *self.snapshot_index.wanted();
        let mut left = wanted;
        for taken in wanted.snapshots().filter(|taken| taken.position > cause) {
            sometimes(Mark::SnapshotStruck);
            left = left.without(taken.position);
        }
        self.snapshot_index.want(left);
    }

    /// The snapshot at `position` is of no use: it goes, if it can be spared.
    pub(crate) fn strike_snapshot(&mut self, position: Position) {
        self.snapshots.strike(position, &mut self.snapshot_index);
    }

    /// What tools read of the snapshots here.
    pub(super) fn count_snapshots(&mut self) {
        let newest = self.snapshot_index.durable().snapshots().next();
        let position = newest.map_or(0, |newest| newest.position);
        self.counters.set(Counter::SnapshotPosition, position);
        let (stored, fetched) = (self.snapshots.stored(), self.snapshots.fetched());
        self.counters.set(Counter::Snapshots, stored);
        self.counters.set(Counter::SnapshotsFetched, fetched);
        let is_writing = self.snapshots.is_under_way();
        self.counters
            .set(Counter::SnapshotWriting, i64::from(is_writing));
    }

    /// Says to the recorder what of the disk budget is for snapshots.
    pub(crate) fn share_room(&mut self) {
        let room = self.snapshots.room(self.snapshot_index.wanted());
        self.recorder_mut().keep_beside(room);
    }

    /// Makes room for the next snapshot that is taken here, as long as it is expected to be.
    pub(crate) fn make_room_for_snapshot(&mut self) {
        // What it turns out to take is looked at while it is written.
        let _ = self.make_room_for(SnapshotStore::expected(self.snapshot_index.wanted()));
    }

    /// Makes room for a snapshot that is so long: where the budget does not hold three, one is
    /// enough beside it.
    ///
    /// # Errors
    /// What the budget would have to be, and what it is, where it does not hold that either: then
    /// the older one stays.
    pub(crate) fn make_room_for(&mut self, length: u64) -> Result<(), (u64, u64)> {
        let index = *self.snapshot_index.wanted();
        let beside = self.snapshots.stored_length(&index);
        let room = beside.saturating_add(file_length(length));
        let made = self.recorder().check_beside(room).or_else(|_| {
            let older = index.snapshots().nth(1).map_or(0, |older| older.length);
            self.recorder()
                .check_beside(room.saturating_sub(file_length(older)))?;
            self.snapshots.drop_older(&mut self.snapshot_index);
            Ok(())
        });
        self.share_room();
        made
    }

    /// Whether the budget holds the snapshots that there are, the one that is being written as far
    /// as it is, if one is, and two segments.
    ///
    /// # Errors
    /// What the budget would have to be, and what it is.
    pub(crate) fn check_room(&mut self) -> Result<(), (u64, u64)> {
        self.share_room();
        if !self.snapshots.is_filling() {
            return Ok(());
        }
        let taken = self.snapshots.taken(self.snapshot_index.wanted());
        self.recorder().check_beside(taken)
    }

    /// Below this the log may go as far as the snapshots stand for it: two of them, for one may
    /// rot, or the newest alone where room is short. `None` while there are not so many.
    #[must_use]
    pub(crate) fn covered_below(&self) -> Option<Position> {
        let mut snapshots = self.snapshot_index().snapshots();
        let newest = snapshots.next();
        let covering = if self.is_short() {
            newest
        } else {
            snapshots.next()
        };
        covering.map(|covering| covering.position)
    }

    /// Whether there is little room for more log.
    pub(crate) fn is_short(&self) -> bool {
        self.recorder().is_short()
    }

    /// Lets go of the log below `position`, as far as whole segments of it can be had and all above
    /// is durable: everything below is in a snapshot that the index names, and wanted by nobody.
    /// Where the log starts then, `poll_trimmed` tells. Returns whether there
    /// is anything to let go of.
    pub fn trim_below(&mut self, position: Position, log: &MemberLog) -> bool {
        let recorder = self.recorder();
        let start = log.start_below(position.min(recorder.durable()));
        let segments = recorder.segments();
        let oldest = segments.start().unwrap_or(0);
        let frees = |at: Position| base_position(at, segments.segment_length()) > oldest;
        let Some(start) = start.filter(|start| frees(start.position)) else {
            return false;
        };
        let wanted = *self.snapshot_index.wanted();
        if self.failed() || start.position <= wanted.log_start().position {
            return false;
        }
        // From what the log does not follow nothing can go on.
        let is_below = |entry: SnapshotEntry| entry.position < start.position;
        let has_useless = wanted.snapshots().any(is_below);
        if has_useless && !self.snapshots.drop_older(&mut self.snapshot_index) {
            return false;
        }
        let wanted = *self.snapshot_index.wanted();
        self.snapshot_index.want(wanted.with_log_start(start));
        true
    }

    /// Where the log starts now, when that has become durable: nothing below is read from now on.
    pub(crate) fn poll_trimmed(&mut self, log: &mut MemberLog) -> Option<Position> {
        let start = self.snapshot_index.durable().log_start();
        if start.position <= self.recorder().segments().log_start() {
            return None;
        }
        sometimes(Mark::LogTrimmed);
        self.recorder_mut().start_log_at(start.position);
        log.start_at(start);
        let trims = self.counters.get(Counter::Trims) + 1;
        self.counters.set(Counter::Trims, trims);
        Some(start.position)
    }
}
