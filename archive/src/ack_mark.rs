//! `ack-mark.dat`: how far this member has ever acknowledged the log (`reliability.md` W2).
//!
//! Recovery tells a torn tail from damage by it: the first bad frame at or above the mark is
//! the end of the log, one below it is damage. The mark is at most [`STALE_MAX_NS`] old, costs
//! no sync while the log is busy (its write rides on the log's next flush) and one once the
//! log goes idle. It covers durable positions only and never goes down except by
//! [`AckMark::reset`]. Owned by whoever sends acknowledgements. Where a device honours
//! forced unit access the shell syncs each mark (see `storage`).

use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::disk::{Completion, Disk, DiskError, Durability};
use crate::slot_file::{RECORD_LENGTH, Record, SlotFile, SlotFileKind};
use crate::token::OWNER_ACK_MARK;

/// Kind of the file.
pub const ACK_MARK_FILE: SlotFileKind = SlotFileKind {
    name: "ack-mark.dat",
    magic: *b"LSACKMRK",
    owner: OWNER_ACK_MARK,
};

/// Greatest age of the mark: what a double fault (crash and damage of the newest bytes within
/// this time) could hide, against one small write per so much time.
pub const STALE_MAX_NS: Nanos = 10 * MILLISECOND;

const VERSION: u32 = 1;

pub(crate) fn encode(position: Position) -> Record {
    let mut record = [0; RECORD_LENGTH];
    record[0..4].copy_from_slice(&VERSION.to_le_bytes());
    record[8..16].copy_from_slice(&position.to_le_bytes());
    record
}

pub(crate) fn decode(record: &Record) -> Option<Position> {
    let position = Position::from_le_bytes(*record[8..].first_chunk()?);
    (encode(position) == *record && position >= 0).then_some(position)
}

/// How the newest submitted mark was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// With a sync of its own, or before the start.
    Synced,
    /// Without: durable only once a later synced write has completed.
    Unflushed,
}

/// The policy of when the mark is written.
#[derive(Debug)]
pub struct AckMark {
    slots: SlotFile,
    /// Newest submitted position.
    mark: Position,
    written: Written,
    submitted_at: Option<Nanos>,
    /// Since when the acknowledged position has been above `mark`.
    stale_since: Option<Nanos>,
    next_deadline: Option<Nanos>,
    failed: Option<DiskError>,
}

impl AckMark {
    pub(crate) const fn new(slots: SlotFile, mark: Position) -> Self {
        Self {
            slots,
            mark,
            written: Written::Synced,
            submitted_at: None,
            stale_since: None,
            next_deadline: None,
            failed: None,
        }
    }

    /// Newest mark, on disk or on its way there.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.mark
    }

    /// The error that ended this file's use, if any (`reliability.md` D4).
    #[must_use]
    pub const fn failed(&self) -> Option<&DiskError> {
        self.failed.as_ref()
    }

    /// Writes the mark when it is due. `acked` is the greatest position ever acknowledged,
    /// `durable` what the recorder has synced, `log_idle_since` the time of the last log write
    /// while none is waiting or in flight. Returns the number of writes started.
    ///
    /// # Panics
    /// When `acked` lies above `durable` (invariant W1).
    pub fn do_work(
        &mut self,
        now: Nanos,
        acked: AckedPosition,
        log_idle_since: Option<Nanos>,
        disk: &mut impl Disk,
    ) -> usize {
        assert!(
            acked.position <= acked.durable,
            "W1: acknowledged {} above durable {}",
            acked.position,
            acked.durable
        );
        self.next_deadline = None;
        if self.failed.is_some() || self.slots.is_writing() {
            return 0;
        }
        if acked.position > self.mark {
            self.stale_since.get_or_insert(now);
        }
        let Some((due, durability)) = self.next_write(log_idle_since) else {
            return 0;
        };
        if now < due {
            self.next_deadline = Some(due);
            return 0;
        }
        let position = self.mark.max(acked.position);
        usize::from(self.submit(now, position, durability, disk))
    }

    /// When the next write is due, and how it is to be made.
    fn next_write(&self, log_idle_since: Option<Nanos>) -> Option<(Nanos, Durability)> {
        if let Some(idle_since) = log_idle_since {
            let needs_sync = self.stale_since.is_some() || self.written == Written::Unflushed;
            return needs_sync.then_some((idle_since + STALE_MAX_NS, Durability::Synced));
        }
        // At most one unflushed write per interval, whatever the log's pace.
        let stale_since = self.stale_since?;
        let earliest = self.submitted_at.unwrap_or(stale_since).max(stale_since);
        Some((earliest + STALE_MAX_NS, Durability::Unflushed))
    }

    fn submit(
        &mut self,
        now: Nanos,
        position: Position,
        durability: Durability,
        disk: &mut impl Disk,
    ) -> bool {
        let record = encode(position);
        if self.slots.submit(now, disk, &record, durability).is_err() {
            return false;
        }
        self.mark = position;
        self.submitted_at = Some(now);
        self.stale_since = None;
        self.written = match durability {
            Durability::Unflushed => Written::Unflushed,
            Durability::Synced | Durability::Cached => Written::Synced,
        };
        true
    }

    /// Lowers (or sets) the mark to `position` before the log is truncated there. The
    /// truncation may go ahead once [`is_settled`](Self::is_settled). Returns whether the
    /// write was started; if not, ask again in a later cycle.
    pub fn reset(&mut self, now: Nanos, position: Position, disk: &mut impl Disk) -> bool {
        self.failed.is_none()
            && !self.slots.is_writing()
            && self.submit(now, position, Durability::Synced, disk)
    }

    /// Whether the newest mark is on stable storage.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.slots.is_writing() && self.written == Written::Synced && self.failed.is_none()
    }

    /// Takes a completion; `false` when it is not the mark's. An error is final.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        if !self.slots.on_completion(completion.token) {
            return false;
        }
        if let Err(error) = &completion.result {
            self.failed = Some(error.clone());
        }
        true
    }

    /// When [`do_work`](Self::do_work) is next due, as of its last call.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Nanos> {
        self.next_deadline
    }
}

/// What has been acknowledged, and what could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckedPosition {
    /// Greatest position ever acknowledged to a leader (or counted by the leader itself).
    pub position: Position,
    /// Durable end of the log.
    pub durable: Position,
}
