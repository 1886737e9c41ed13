//! The log is made to start higher, where a snapshot stands for what is below (`log.md` 8.6).
//!
//! First the index says so, durably; then nobody reads below any more, and the recorder makes new
//! segments of those below, or removes them.

use lockstep_archive::disk::Disk;
use lockstep_archive::files::snapshot_index::SnapshotIndex;
use lockstep_archive::log::segment::base_position;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::log::archive_agent::ArchiveAgent;
use crate::log::member_log::MemberLog;
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

    /// What tools read of the snapshots here.
    pub(super) fn count_snapshots(&mut self) {
        let newest = self.snapshot_index.durable().snapshots().next();
        let position = newest.map_or(0, |newest| newest.position);
        self.counters.set(Counter::SnapshotPosition, position);
        let stored = self.snapshots.stored();
        self.counters.set(Counter::Snapshots, stored);
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
        self.snapshot_index.want(wanted.with_log_start(start));
        true
    }

    /// Where the log starts now, when that has become durable: nothing below is read from now on.
    pub(crate) fn poll_trimmed(&mut self, log: &mut MemberLog) -> Option<Position> {
        let start = self.snapshot_index.durable().log_start();
        if start.position <= self.recorder().segments().log_start() {
            return None;
        }
        self.recorder_mut().start_log_at(start.position);
        log.start_at(start);
        Some(start.position)
    }
}
