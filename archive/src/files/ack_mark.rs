//! `ack-mark.dat`: how far this member has ever acknowledged the log (`rules.md` W2), and
//! how far it knew the log to be committed (`log.md` 9.3).
//!
//! Recovery tells a torn tail from damage by it. It covers durable positions only and never goes
//! down except by [`AckMark::begin_truncation`]. While the log is busy it is at most
//! [`STALE_MAX_NS`] or three writes of the log old, and costs no sync: it rides on the log's next
//! flush, and the other slot holds the mark before. What is synced goes to both slots, or rot of
//! one would bring back an older mark: that of a log that rests, for whatever it lost since would
//! pass for a torn tail; those around a truncation, or the log would be cut again.
//! It also says whether what it covers was acknowledged without syncs (`log.md` 10.3), and in
//! which run of the host. That belongs here: both slots are written at each start, synced, before
//! anything is said, every later mark repeats it, and whoever loses the mark does not count
//! anyway, so that it cannot be lost apart from what it is about.
//! Owned by whoever sends acknowledgements. Where a device honours forced unit access the shell
//! syncs each mark (see `storage`).

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::disk::{ColdFiles, Completion, Disk, DiskError, Durability};
use crate::files::ack_record::AckRecord;
use crate::files::slot_file::{Opened, SlotFile, SlotFileKind};
use crate::log::token::OWNER_ACK_MARK;

/// Kind of the file.
pub const ACK_MARK_FILE: SlotFileKind = SlotFileKind {
    name: "ack-mark.dat",
    magic: *b"LSACKMRK",
    owner: OWNER_ACK_MARK,
};

/// Greatest age of the mark: what a double fault (crash and damage of the newest bytes within
/// this time) could hide, against one small write per so much time.
pub const STALE_MAX_NS: Nanos = 10 * MILLISECOND;

/// Growths of the durable log after an unflushed mark, of which the last is of a write that was
/// begun after it: the first may have been on its way with the one that completed just before.
const FLUSHES: u32 = 3;

/// How a mark is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// To both slots, with syncs of its own, or before the start.
    Synced,
    /// To one slot, without: durable only once a later synced write has completed.
    Unflushed,
}

/// The policy of when the mark is written.
#[derive(Debug)]
pub struct AckMark {
    slots: SlotFile,
    /// Newest submitted record.
    mark: AckRecord,
    written: Written,
    submitted_at: Option<Nanos>,
    /// Of an unflushed mark: the newest durable position seen since it was written, and how often
    /// that has grown.
    flushed_by: (Position, u32),
    /// Since when there has been more to say than `mark` says.
    stale_since: Option<Nanos>,
    next_deadline: Option<Nanos>,
    failed: Option<DiskError>,
    stale_max: Nanos,
}

impl AckMark {
    /// Cold: makes the file, or reuses one that was never written: nothing is acknowledged, durable
    /// on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(disk: &mut impl ColdFiles) -> Result<Self, DiskError> {
        let mark = AckRecord::default();
        let slots = SlotFile::create(disk, &ACK_MARK_FILE, &mark.encode())?;
        Ok(Self::new(slots, mark))
    }

    /// Cold: opens the file, and makes durable what it holds.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn open(disk: &mut impl ColdFiles) -> Result<Opened<Self>, DiskError> {
        let opened = SlotFile::open(disk, &ACK_MARK_FILE, AckRecord::decode)?;
        Ok(opened.map(|(slots, mark)| Self::new(slots, mark)))
    }

    /// Cold: what the file holds, without changing anything.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn look(disk: &mut impl ColdFiles) -> Result<Opened<AckRecord>, DiskError> {
        SlotFile::look(disk, &ACK_MARK_FILE, AckRecord::decode)
    }

    /// Cold: a file without a good slot, or none at all, from which nothing is known to be
    /// acknowledged. It holds no mark until it is written.
    ///
    /// # Errors
    /// The disk's.
    pub fn renew(disk: &mut impl ColdFiles) -> Result<Self, DiskError> {
        let slots = SlotFile::renew(disk, &ACK_MARK_FILE)?;
        Ok(Self::new(slots, AckRecord::default()))
    }

    const fn new(slots: SlotFile, mark: AckRecord) -> Self {
        Self {
            slots,
            mark,
            written: Written::Synced,
            submitted_at: None,
            flushed_by: (0, 0),
            stale_since: None,
            next_deadline: None,
            failed: None,
            stale_max: STALE_MAX_NS,
        }
    }

    /// Newest mark, on disk or on its way there.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.mark.position
    }

    /// Newest record, on disk or on its way there.
    #[must_use]
    pub const fn record(&self) -> AckRecord {
        self.mark
    }

    /// Cold: replaces the record in both slots, durable on return. At each start, before
    /// anything is said: raised to what recovery found, and of this run of the host. And at a
    /// clean end, when everything it covers has been synced.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self, disk: &mut impl ColdFiles, record: AckRecord) -> Result<(), DiskError> {
        self.slots.write(disk, &record.encode())?;
        self.mark = record;
        Ok(())
    }

    /// The mark may be so old from now on: what it would say is known by other means as well.
    pub const fn be_written_each(&mut self, stale_max: Nanos) {
        self.stale_max = stale_max;
    }

    /// The error that ended this file's use, if any (D4).
    #[must_use]
    pub const fn failed(&self) -> Option<&DiskError> {
        self.failed.as_ref()
    }

    /// Goes on with a mark that goes to both slots: in each cycle, that of a truncation too.
    /// Returns the number of writes started.
    pub fn write_other_slot(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        if self.failed.is_some() {
            return 0;
        }
        self.slots.do_work(now, disk)
    }

    /// Writes the mark when it is due. `acked` is the greatest position ever acknowledged,
    /// `durable` what the recorder has synced, `log_idle_since` since when no write of the
    /// log has been under way, and none can be begun. Returns the number of writes started.
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
        invariant!(
            MarkBelowDurable,
            acked.position <= acked.durable,
            "W1: acknowledged {} above durable {}",
            acked.position,
            acked.durable
        );
        self.next_deadline = None;
        if self.failed.is_some() || self.slots.is_writing() {
            return 0;
        }
        self.note_flush(acked.durable);
        if acked.position > self.mark.position || acked.commit > self.mark.commit {
            self.stale_since.get_or_insert(now);
        }
        let Some((due, written)) = self.next_write(log_idle_since) else {
            return 0;
        };
        if now < due {
            self.next_deadline = Some(due);
            return 0;
        }
        let record = AckRecord {
            position: self.mark.position.max(acked.position),
            term: self.mark.term.max(acked.term),
            commit: self.mark.commit.max(acked.commit),
            ..self.mark
        };
        sometimes(match written {
            Written::Unflushed => Mark::MarkWrittenAlong,
            Written::Synced => Mark::MarkSyncedWhenIdle,
        });
        usize::from(self.submit(now, record, written, disk))
    }

    /// An unflushed mark is on stable storage once a synced write of the log has completed that was
    /// begun after it: the second at the latest, for one is under way at a time. From then on the
    /// other slot is written, and not before. Were it always the same one, a crash that tears its
    /// last write would leave a mark as old as the load has lasted.
    fn note_flush(&mut self, durable: Position) {
        // Where the log was cut, it grows from there.
        self.flushed_by.0 = self.flushed_by.0.min(durable);
        if durable == self.flushed_by.0 || self.mark.is_unsynced {
            return;
        }
        self.flushed_by = (durable, self.flushed_by.1 + 1);
        if self.flushed_by.1 == FLUSHES && self.written == Written::Unflushed {
            self.slots.confirm();
        }
    }

    /// When the next write is due, and how it is to be made.
    fn next_write(&self, log_idle_since: Option<Nanos>) -> Option<(Nanos, Written)> {
        if let Some(idle_since) = log_idle_since {
            let needs_sync = self.stale_since.is_some() || self.written == Written::Unflushed;
            return needs_sync.then_some((idle_since + self.stale_max, Written::Synced));
        }
        // At most one unflushed write per interval, and three writes of the log: whatever its pace.
        let is_in_cache = self.written == Written::Unflushed && self.flushed_by.1 < FLUSHES;
        if is_in_cache && !self.mark.is_unsynced {
            return None;
        }
        let stale_since = self.stale_since?;
        let earliest = self.submitted_at.unwrap_or(stale_since).max(stale_since);
        Some((earliest + self.stale_max, Written::Unflushed))
    }

    fn submit(
        &mut self,
        now: Nanos,
        record: AckRecord,
        written: Written,
        disk: &mut impl Disk,
    ) -> bool {
        let (bytes, slots) = (record.encode(), &mut self.slots);
        let submitted = match written {
            Written::Unflushed => {
                let submitted = slots.submit(now, disk, &bytes, Durability::Unflushed);
                submitted.map(|_| ())
            }
            Written::Synced => slots.submit_both(now, disk, &bytes),
        };
        if submitted.is_ok() {
            self.mark = record;
            self.submitted_at = Some(now);
            self.stale_since = None;
            self.written = written;
        }
        submitted.is_ok()
    }

    /// Says that the log, which reaches up to `end`, is being cut at `position`: a start that
    /// finds this cuts it there. The truncation may go ahead once
    /// [`is_settled`](Self::is_settled). Returns whether the write was started; if not, ask
    /// again in a later cycle.
    pub fn begin_truncation(
        &mut self,
        now: Nanos,
        position: Position,
        end: Position,
        disk: &mut impl Disk,
    ) -> bool {
        let record = AckRecord {
            position,
            truncated_end: end,
            ..self.mark
        };
        self.replace(now, record, disk)
    }

    /// The truncation to `position` is complete: no truncated bytes are left above it. Returns
    /// whether the write was started.
    pub fn end_truncation(&mut self, now: Nanos, position: Position, disk: &mut impl Disk) -> bool {
        let record = AckRecord {
            position,
            truncated_end: 0,
            ..self.mark
        };
        self.replace(now, record, disk)
    }

    /// The log, durable up to `position` with frames of leadership terms up to `term`, has again
    /// what this member had lost: what the mark covers from now on, for it knows no better what
    /// of it was acknowledged. Returns whether the write was started.
    pub fn forget_loss(
        &mut self,
        now: Nanos,
        position: Position,
        term: LeadershipTermId,
        disk: &mut impl Disk,
    ) -> bool {
        let record = AckRecord {
            position,
            term: self.mark.term.max(term),
            lost: None,
            ..self.mark
        };
        self.replace(now, record, disk)
    }

    fn replace(&mut self, now: Nanos, record: AckRecord, disk: &mut impl Disk) -> bool {
        self.failed.is_none()
            && !self.slots.is_writing()
            && self.submit(now, record, Written::Synced, disk)
    }

    /// Whether the newest mark is on stable storage.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.slots.is_writing() && self.written == Written::Synced && self.failed.is_none()
    }

    /// Whether a hot write is not complete yet.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.slots.is_writing()
    }

    /// Since when the hot write in flight is under way.
    #[must_use]
    pub fn writing_since(&self) -> Option<Nanos> {
        self.slots.writing_since()
    }

    /// Takes a completion; `false` when it is not the mark's. An error is final.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        if self.slots.on_completion(completion.token).is_none() {
            return false;
        }
        self.flushed_by.1 = 0;
        if let Err(error) = &completion.result {
            sometimes(Mark::MarkWriteFailed);
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
    /// No frame below it is of a greater leadership term.
    pub term: LeadershipTermId,
    /// How far the log is known to be committed.
    pub commit: Position,
    /// Durable end of the log.
    pub durable: Position,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::ack_record::LostAcks;
    use crate::sim::{SimDisk, SimDiskConfig};

    #[test]
    fn a_member_that_is_whole_again_marks_all_it_has_and_the_term_of_it() {
        let mut disk = SimDisk::new(SimDiskConfig::default());
        let record = AckRecord {
            position: 320,
            term: LeadershipTermId::new(1),
            lost: Some(LostAcks {
                position: 6592,
                term: LeadershipTermId::new(1),
                is_open: true,
            }),
            ..AckRecord::default()
        };
        let slots = SlotFile::create(&mut disk, &ACK_MARK_FILE, &record.encode()).unwrap();
        let mut mark = AckMark::new(slots, record);
        assert!(mark.forget_loss(0, 17_248, LeadershipTermId::new(2), &mut disk));
        let expected = AckRecord {
            position: 17_248,
            term: LeadershipTermId::new(2),
            lost: None,
            ..record
        };
        assert_eq!(mark.record(), expected);
    }

    /// A synced write of the log, then the mark if it is due, complete after `write_ns`: what
    /// takes the log to `durable`. Whether a mark was begun.
    fn record(
        disk: &mut SimDisk,
        mark: &mut AckMark,
        (now, write_ns): (&mut Nanos, Nanos),
        durable: Position,
    ) -> bool {
        let log = disk.open("log").unwrap();
        let page = lockstep_transport::concurrent::AtomicBuffer::allocate(4096).unwrap();
        let operation = crate::disk::DiskOp::Write {
            token: 1 << 60 | durable as u64,
            file: log,
            offset: 0,
            block: page.kernel_block(0, 4096),
            durability: Durability::Synced,
        };
        disk.submit(*now, operation).unwrap();
        *now += write_ns;
        while let Some(done) = disk.poll_completion(*now) {
            mark.on_completion(&done);
        }
        let acked = AckedPosition {
            position: durable,
            term: LeadershipTermId::new(1),
            commit: 0,
            durable,
        };
        mark.do_work(*now, acked, None, disk) > 0
    }

    #[test]
    fn under_a_load_without_a_pause_a_torn_mark_leaves_the_one_before_it() {
        for (seed, write_ns) in (0..64).zip([1, 3, 5, 30].map(|ms| ms * MILLISECOND).repeat(16)) {
            let mut disk = SimDisk::new(SimDiskConfig::default());
            let mut mark = AckMark::create(&mut disk).unwrap();
            disk.create("log", 1 << 20).unwrap();
            let (mut now, mut durable) = (0, 0);
            let before_last = loop {
                durable += 32;
                let before = mark.position();
                let is_written = record(&mut disk, &mut mark, (&mut now, write_ns), durable);
                // This one is in the cache only.
                if is_written && durable > 32 * 400 {
                    break before;
                }
            };
            assert!(before_last > 32 * 370, "{before_last} of {durable}");
            disk.crash(seed);
            let found = disk.durable_mark().unwrap().position;
            assert!(
                found >= before_last,
                "{found} found, {before_last} before the last"
            );
        }
    }

    #[test]
    fn a_log_that_was_cut_is_marked_from_there_on() {
        let mut disk = SimDisk::new(SimDiskConfig::default());
        let mut mark = AckMark::create(&mut disk).unwrap();
        disk.create("log", 1 << 20).unwrap();
        let mut now = 0;
        for write in 1..100 {
            record(&mut disk, &mut mark, (&mut now, MILLISECOND), 32 * write);
        }
        while !mark.end_truncation(now, 320, &mut disk) {
            record(&mut disk, &mut mark, (&mut now, MILLISECOND), 32 * 99);
        }
        for write in 11..50 {
            record(&mut disk, &mut mark, (&mut now, MILLISECOND), 32 * write);
            mark.write_other_slot(now, &mut disk);
        }
        assert!(mark.position() > 32 * 35, "{}", mark.position());
    }
}
