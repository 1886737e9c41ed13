//! The snapshots of a member: how often they are taken, how fast they come from others, and what
//! has become of them.

use lockstep_archive::files::snapshot_index::SnapshotEntry;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use super::TankMember;
use crate::sim::{Broken, Rule};
use crate::snapshot::transfer::receiver::ReceiverState;

/// Where snapshots are asked for after a multiple of so many bytes, members fetch them slowly, so
/// that much happens meanwhile.
const SLOW_FETCHES: u64 = 2 * 1024;

/// The least that may be asked for: some pieces of a snapshot in a tenth of a second.
const SLOW_RATE_BYTES: u64 = 64 * 1024;

/// Where they are asked for after a multiple of so many bytes, a member that is told to stop waits
/// for one before it does.
const AWAITED: u64 = 3 * 1024;

/// It waits for so long, which a disk may be too slow for.
const AWAITED_FOR_NS: Nanos = 300 * MILLISECOND;

/// What is fetched otherwise is there at once: a run is short.
const FAST_RATE_BYTES: u64 = 32 << 20;

impl TankMember {
    /// While it leads, it asks for a snapshot whenever so many bytes of log have grown; 0: never.
    pub fn take_snapshots(&mut self, interval: u64) {
        self.config.snapshot_interval_bytes = interval;
        self.config.snapshot_on_stop_ns = if interval.is_multiple_of(AWAITED) {
            AWAITED_FOR_NS
        } else {
            0
        };
        self.config.snapshot_rate_bytes = if interval.is_multiple_of(SLOW_FETCHES) {
            SLOW_RATE_BYTES
        } else {
            FAST_RATE_BYTES
        };
    }

    /// The newest snapshot that its index names, if it runs and has one.
    pub fn newest_snapshot(&self) -> Option<SnapshotEntry> {
        self.node()?
            .agents()
            .archive
            .snapshot_index()
            .snapshots()
            .next()
    }

    /// Whether there is what it can begin with where its newest snapshot is of no use: an older
    /// one that is whole, or a log from its start on.
    pub fn has_another_beginning(&self) -> bool {
        self.node().is_some_and(|node| {
            let index = node.agents().archive.snapshot_index();
            let older = index.snapshots().nth(1).map(|older| older.position);
            let older = older.filter(|older| !self.has_rotten_snapshot(*older));
            older.unwrap_or(0) >= index.log_start().position
        })
    }

    /// From whom it fetches a snapshot, and where that was taken, if it does.
    pub fn fetched(&self) -> Option<(usize, Position)> {
        let receiver = &self.node()?.agents().consensus.exchange.receiver;
        let ReceiverState::Receiving { offer, .. } = receiver.state() else {
            return None;
        };
        Some((usize::from(receiver.from()), offer.id.position))
    }

    /// Its snapshot at `position` rots.
    pub fn rot_snapshot(&mut self, position: Position) {
        self.rotten_snapshots.push(position);
    }

    /// Whether its snapshot at `position` has rotted.
    #[must_use]
    pub fn has_rotten_snapshot(&self, position: Position) -> bool {
        self.rotten_snapshots.contains(&position)
    }

    /// Whether any of them has.
    #[must_use]
    pub const fn has_rotten_snapshots(&self) -> bool {
        !self.rotten_snapshots.is_empty()
    }

    /// What its index names is there, and whole.
    pub(super) fn check_snapshots(&self) -> Result<(), Broken> {
        let unusable = self
            .node()
            .map(|node| node.agents().consensus.begun.unusable());
        let mut unusable = unusable.unwrap_or_default().iter();
        let unusable = unusable.find(|(position, _)| !self.has_rotten_snapshot(*position));
        unusable.map_or(Ok(()), |(position, reason)| {
            Err(Rule::WholeSnapshots.broken(format!(
                "the index of member {} names a snapshot at {position} that is not whole: {reason}",
                self.config.member
            )))
        })
    }
}
