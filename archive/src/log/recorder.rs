//! Writes the log to its segments and says how far it is durable (`log.md` 2.3).
//!
//! Driven by the node's agent. One write is in flight; everything appended meanwhile goes into the
//! next (group commit by overlap). In `data` mode whole blocks go to the device and count when
//! synced: straight from the log buffer's pages where the log has left them, else as a copy, for no
//! byte may change under a write in flight. In `none` mode exactly the new bytes go to the page
//! cache, at once or lazily. Segments are prepared one ahead, of those that hold nothing of the log
//! any more where there are any; what is left of these is removed. Any failed write is final
//! (`rules.md` D4). After a truncation the old bytes are overwritten with zeros from the top down
//! before anything new is written, so that a crash at any moment leaves a prefix of the old log or
//! of the new one, never a splice of both. It does not read, and does not decide what may be
//! appended: the owner keeps `append` below `written` + one term.

mod counters;
mod laziness;
mod preparation;
mod timing;

use lockstep_transport::concurrent::{AtomicBuffer, KernelBlock};
use lockstep_transport::invariant;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::named_setting;
use lockstep_transport::position::{Geometry, Position, align};
use lockstep_transport::time::{Nanos, SECOND, earliest};

pub use self::counters::RecorderCounters;
use self::laziness::Laziness;
use crate::disk::{
    BLOCK_LENGTH, ColdFiles, Completion, Disk, DiskError, DiskOp, Durability, SegmentName, Token,
};
use crate::log::budget::DiskBudget;
use crate::log::log_view::last_boundary;
use crate::log::recovery::restore_tail;
use crate::log::segment::{self, LOG_RECORDING_ID, SegmentTable, WRITE_LENGTH_MAX};
use crate::log::token::{OWNER_RECORDER, TokenSource};

/// Longest write that is copied out of the log buffer. Only one whose last block the log still
/// grows into is: a file system that keeps checksums, or mirrors, may read a page twice, and
/// must find the same bytes. A longer one goes up to its last whole block instead, straight
/// from the pages; its tail is in the next. Copying so much costs little beside a sync.
const COPY_LENGTH_MAX: usize = 64 * 1024;

/// Bytes erased by one write after a truncation.
const ERASE_LENGTH_MAX: usize = 64 * 1024;

/// Room that is left for what must still be written when no further segment can be had: ends of
/// sessions, first entries of terms (`log.md` 10.1). Of small segments, half of one.
const RESERVE_LENGTH: usize = 1 << 20;

/// Pause before preparing a segment is tried again after it failed.
const PREPARE_RETRY_NS: Nanos = SECOND;

/// When the log counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// On stable storage.
    #[default]
    Data,
    /// In memory that outlives the process, or in the page cache where there is none: survives a
    /// crash of the process, not of the host.
    None,
}

named_setting!(SyncMode {
    Data => "data",
    None => "none",
});

/// What a recorder needs to know.
#[derive(Clone, Copy, Debug)]
pub struct RecorderConfig {
    /// Of the log.
    pub geometry: Geometry,
    /// When a write counts.
    pub sync: SyncMode,
    /// Most bytes of segment files.
    pub budget: DiskBudget,
}

#[derive(Clone, Copy, Debug)]
enum WriteKind {
    /// Bytes of the log up to `end`; `boundary` is the last frame boundary among them.
    Append { end: Position, boundary: Position },
    /// Zeros over truncated bytes from `start` on.
    Erase { start: Position },
}

/// A segment that is being made.
#[derive(Clone, Copy, Debug)]
struct Preparing {
    token: Token,
    base: Position,
    /// Of one that was needed no more.
    is_recycled: bool,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    token: Token,
    since: Nanos,
    start: Position,
    length: usize,
    kind: WriteKind,
}

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    config: RecorderConfig,
    segments: SegmentTable,
    tokens: TokenSource,
    written: Position,
    durable: Position,
    in_flight: Option<InFlight>,
    idle_since: Option<Nanos>,
    /// Truncated bytes lie in the files up to here; at or below `written`: none do.
    stale_end: Position,
    /// They stay until something is to be written.
    is_stale_held: bool,
    /// The block that holds `written` still has truncated bytes behind it.
    is_tail_stale: bool,
    zeros: AtomicBuffer,
    /// What is in flight, where it is a copy.
    copy: AtomicBuffer,
    laziness: Option<Laziness>,
    preparing: Option<Preparing>,
    /// The removal of a segment.
    removing: Option<Token>,
    prepare_refused: bool,
    prepare_retry_at: Option<Nanos>,
    failed: Option<DiskError>,
    counters: RecorderCounters,
}

impl Recorder {
    /// Cold: a recorder that goes on at `end`, the durable end of the log. Makes the segment
    /// of `end` if there is none. What lies above, up to `stale_end`, stays as it is until
    /// something is to be written; then it is erased first.
    ///
    /// # Errors
    /// The disk's; [`DiskError::Full`] also when the budget has no room for that segment.
    pub fn open(
        disk: &mut impl ColdFiles,
        config: RecorderConfig,
        mut segments: SegmentTable,
        end: Position,
        stale_end: Position,
    ) -> Result<Self, DiskError> {
        let segment_length = segments.segment_length();
        assert!(
            segment_length >= config.geometry.term_length(),
            "a segment of {segment_length} bytes holds no term"
        );
        if segments.locate(end).is_none() {
            let name = segment_at(end, segment_length);
            let room = config
                .budget
                .allows_segment(segments.count(), segment_length);
            if segments.is_full() || !room {
                return Err(DiskError::Full {
                    name: name.file_name(),
                    needed: segment_length as u64,
                });
            }
            sometimes(Mark::SegmentMadeAtStart);
            let file = disk.create(&name.file_name(), segment_length as u64)?;
            segments.insert(name.position, file);
        }
        let mut copy = allocate(COPY_LENGTH_MAX)?;
        copy.pre_touch();
        Ok(Self {
            config,
            segments,
            tokens: TokenSource::new(OWNER_RECORDER),
            written: end,
            durable: end,
            in_flight: None,
            idle_since: None,
            stale_end: stale_end.max(end),
            is_stale_held: stale_end > end,
            is_tail_stale: false,
            zeros: allocate(ERASE_LENGTH_MAX)?,
            copy,
            laziness: None,
            preparing: None,
            removing: None,
            prepare_refused: false,
            prepare_retry_at: None,
            failed: None,
            counters: RecorderCounters::default(),
        })
    }

    /// Everything below has reached its file. The log may be appended up to one term above.
    #[must_use]
    pub const fn written(&self) -> Position {
        self.written
    }

    /// Everything below is durable in the sense of the sync mode; a frame boundary.
    #[must_use]
    pub const fn durable(&self) -> Position {
        self.durable
    }

    /// Whether a write is in flight.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Since when the write in flight is under way, and where in the log it begins.
    #[must_use]
    pub fn writing_since(&self) -> Option<(Nanos, Position)> {
        self.in_flight.map(|write| (write.since, write.start))
    }

    /// The error that ended recording, if any. There is no way back but a restart.
    #[must_use]
    pub const fn failed(&self) -> Option<&DiskError> {
        self.failed.as_ref()
    }

    /// Whether no further segment can be had, and what is ready is down to the reserve: the
    /// owner refuses new ingress and leaves the rest to what must still be written (D10).
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.has_room(self.written, 0)
    }

    /// Whether `bytes` more may be promised to a log that ends at `append`: a further segment can
    /// be had as far as is known, or what is ready takes them and leaves the reserve.
    #[must_use]
    pub fn has_room(&self, append: Position, bytes: u64) -> bool {
        let reserve = RESERVE_LENGTH.min(self.segments.segment_length() / 2) as u64;
        self.may_grow() || self.ready_bytes(append) >= reserve.saturating_add(bytes)
    }

    /// Whether a further segment can be had, as far as is known.
    fn may_grow(&self) -> bool {
        let (count, length) = (self.segments.count(), self.segments.segment_length());
        let is_allowed =
            !self.segments.is_full() && self.config.budget.allows_segment(count, length);
        let is_spare = self.segments.oldest_gone().is_some();
        !self.prepare_refused && (self.preparing.is_some() || is_allowed || is_spare)
    }

    /// Bytes that the segments ready now take above `append`.
    fn ready_bytes(&self, append: Position) -> u64 {
        let segment_length = self.segments.segment_length();
        let mut end = segment::base_position(self.written, segment_length);
        while self.segments.locate(end).is_some() {
            end += segment_length as Position;
        }
        (end - append).max(0) as u64
    }

    /// End of what may lie in the files and is no part of the log.
    #[must_use]
    pub const fn stale_end(&self) -> Position {
        self.stale_end
    }

    /// The open segments.
    #[must_use]
    pub const fn segments(&self) -> &SegmentTable {
        &self.segments
    }

    /// Counters since the recorder was opened.
    #[must_use]
    pub const fn counters(&self) -> RecorderCounters {
        self.counters
    }

    /// Since when nothing has been in flight, as of the last cycle: all is written, or what waits
    /// has no segment to go to.
    #[must_use]
    pub const fn log_idle_since(&self) -> Option<Nanos> {
        self.idle_since
    }

    /// When there is something to do although nothing was appended and nothing completed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let lazy = self.laziness.and_then(|laziness| laziness.due());
        earliest(self.prepare_retry_at, lazy.filter(|_| !self.is_writing()))
    }

    /// Starts what can be started: the next write up to `append`, the next segment. Returns
    /// the number of operations started.
    pub fn do_work(
        &mut self,
        now: Nanos,
        log: &LogBuffer,
        append: Position,
        disk: &mut impl Disk,
    ) -> usize {
        assert!(
            append >= self.written,
            "the log ends below what was written"
        );
        if self.failed.is_some() {
            return 0;
        }
        self.is_stale_held &= append == self.written;
        let mut work = 0;
        if self.in_flight.is_none() {
            work += if self.is_erasing() {
                self.erase(now, disk)
            } else if self.is_write_due(now, append) {
                self.write(now, log, append, disk)
            } else {
                0
            };
        }
        work += self.prepare_ahead(now, disk);
        if self.in_flight.is_none() {
            self.idle_since.get_or_insert(now);
        } else {
            self.idle_since = None;
        }
        work
    }

    /// Takes a completion; `false` when it is not the recorder's.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        if !self.tokens.owns(completion.token) {
            return false;
        }
        if let Some(preparing) = self.preparing
            && preparing.token == completion.token
        {
            self.preparing = None;
            self.on_prepared(preparing, completion);
            return true;
        }
        if self.removing == Some(completion.token) {
            self.removing = None;
            self.on_removed(completion);
            return true;
        }
        let Some(write) = self
            .in_flight
            .filter(|write| write.token == completion.token)
        else {
            // Tokens are never reused: an answer to nothing asked means a broken disk.
            self.failed.get_or_insert_with(unexpected_completion);
            return true;
        };
        self.in_flight = None;
        match &completion.result {
            Ok(_) => self.on_written(write),
            Err(error) => {
                sometimes(Mark::LogWriteFailed);
                self.failed.get_or_insert_with(|| error.clone());
            }
        }
        true
    }

    /// Whether everything up to `append` is durable, nothing is in flight and no truncated
    /// bytes are left to overwrite.
    #[must_use]
    pub fn is_drained(&self, append: Position) -> bool {
        self.in_flight.is_none()
            && self.written == append
            && !self.is_erasing()
            && !self.is_tail_stale
    }

    /// Cold: cuts the log at `position` (`log.md` 3.4), in memory at once; on disk once
    /// [`is_drained`](Self::is_drained) at `position` again. The owner has drained the
    /// recorder and lowered the ack mark, durably. The memory window begins at `position` from
    /// now on, as after a restart there.
    ///
    /// # Errors
    /// The disk's, when the end's block has to be read back: final.
    ///
    /// # Panics
    /// When a write is in flight or waiting, or `position` lies above the durable end.
    pub fn truncate(
        &mut self,
        position: Position,
        log: &mut LogBuffer,
        disk: &mut impl ColdFiles,
    ) -> Result<(), DiskError> {
        assert!(
            self.is_drained(self.durable),
            "truncation of a log that is not drained"
        );
        assert!(
            self.segments.log_start() <= position && position <= self.durable,
            "truncation at {position} of a log from {} to {}",
            self.segments.log_start(),
            self.durable
        );
        // The next direct write repeats the end's whole block: it has to be in memory.
        if !log.zero_above(position) {
            sometimes(Mark::TailBlockReadBack);
            if let Err(error) = restore_tail(disk, log, &self.segments, position) {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        self.stale_end = self.stale_end.max(self.written);
        self.is_stale_held = false;
        self.is_tail_stale = position < self.written
            && self.config.sync == SyncMode::Data
            && !(position as usize).is_multiple_of(BLOCK_LENGTH);
        self.written = position;
        self.durable = position;
        Ok(())
    }

    /// First position that is erased with whole writes of zeros.
    fn erase_floor(&self) -> Position {
        match self.config.sync {
            SyncMode::Data => align(self.written as usize, BLOCK_LENGTH) as Position,
            SyncMode::None => self.written,
        }
    }

    fn is_erasing(&self) -> bool {
        !self.is_stale_held && self.stale_end > self.erase_floor()
    }

    fn erase(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        let end = match self.config.sync {
            SyncMode::Data => align(self.stale_end as usize, BLOCK_LENGTH) as Position,
            SyncMode::None => self.stale_end,
        };
        let base = segment::base_position(end - 1, self.segments.segment_length());
        let start = (end - ERASE_LENGTH_MAX as Position)
            .max(self.erase_floor())
            .max(base);
        if self.segments.locate(start).is_none() {
            // Of a segment that is missing nothing is left.
            sometimes(Mark::StaleSegmentMissing);
            self.stale_end = start;
            return 1;
        }
        let length = (end - start) as usize;
        let block = self.zeros.kernel_block(0, length);
        self.submit(now, start, block, WriteKind::Erase { start }, disk)
    }

    fn write(
        &mut self,
        now: Nanos,
        log: &LogBuffer,
        append: Position,
        disk: &mut impl Disk,
    ) -> usize {
        let geometry = self.config.geometry;
        let start = match self.config.sync {
            SyncMode::Data => self.written & !(BLOCK_LENGTH as Position - 1),
            SyncMode::None => self.written,
        };
        let term_end = geometry.term_start(start) + geometry.term_length() as Position;
        let end = append
            .min(start + WRITE_LENGTH_MAX as Position)
            .min(term_end);
        if end == term_end {
            sometimes(Mark::WriteEndsTerm);
        }
        let (block, end) = match self.config.sync {
            SyncMode::Data => self.whole_blocks(log, start, end),
            SyncMode::None => (log.kernel_block(start, (end - start) as usize), end),
        };
        let boundary = if end == append {
            append
        } else {
            last_boundary(log, self.durable, end)
        };
        self.submit(now, start, block, WriteKind::Append { end, boundary }, disk)
    }

    /// Whole blocks from `start` that hold the log up to `end`, or to where it goes instead, and
    /// that stay as they are until they are written.
    fn whole_blocks(
        &mut self,
        log: &LogBuffer,
        start: Position,
        end: Position,
    ) -> (KernelBlock, Position) {
        let length = (end - start) as usize;
        if length.is_multiple_of(BLOCK_LENGTH) {
            return (log.kernel_block(start, length), end);
        }
        if length > COPY_LENGTH_MAX {
            let whole = length & !(BLOCK_LENGTH - 1);
            return (log.kernel_block(start, whole), start + whole as Position);
        }
        let aligned = align(length, BLOCK_LENGTH);
        let copy = self.copy.bytes_mut(0, aligned);
        copy[..length].copy_from_slice(log.bytes(start, length));
        copy[length..].fill(0);
        self.counters.copies += 1;
        (self.copy.kernel_block(0, aligned), end)
    }

    fn submit(
        &mut self,
        now: Nanos,
        start: Position,
        block: KernelBlock,
        kind: WriteKind,
        disk: &mut impl Disk,
    ) -> usize {
        let Some((file, offset)) = self.segments.locate(start) else {
            return 0;
        };
        let token = self.tokens.next_token();
        let length = block.length();
        let operation = DiskOp::Write {
            token,
            file,
            offset,
            block,
            durability: match (self.config.sync, self.laziness) {
                (SyncMode::Data, _) => Durability::Synced,
                (SyncMode::None, None) => Durability::Cached,
                (SyncMode::None, Some(_)) => Durability::Lazy,
            },
        };
        if disk.submit(now, operation).is_err() {
            return 0;
        }
        self.in_flight = Some(InFlight {
            token,
            since: now,
            start,
            length,
            kind,
        });
        1
    }

    fn on_written(&mut self, write: InFlight) {
        self.counters.writes += 1;
        self.counters.bytes += write.length as u64;
        match write.kind {
            WriteKind::Append { end, boundary } => {
                invariant!(
                    DurableWithinWrite,
                    self.durable <= boundary && boundary <= end,
                    "A1: durable {} to {boundary} by a write up to {end}",
                    self.durable
                );
                let ready = self.segments.end();
                invariant!(
                    DurableInReadySegment,
                    ready.is_some_and(|ready| end <= ready),
                    "A3: durable to {end}, and segments are ready to {ready:?}"
                );
                self.written = end;
                self.durable = boundary;
                self.stale_end = self.stale_end.max(end);
                if self.is_tail_stale {
                    sometimes(Mark::TailBlockRewritten);
                }
                self.is_tail_stale = false;
            }
            WriteKind::Erase { start } => {
                sometimes(Mark::StaleBytesErased);
                self.stale_end = start;
            }
        }
    }
}

const fn segment_at(position: Position, segment_length: usize) -> SegmentName {
    SegmentName {
        recording_id: LOG_RECORDING_ID,
        position: segment::base_position(position, segment_length),
    }
}

fn allocate(length: usize) -> Result<AtomicBuffer, DiskError> {
    AtomicBuffer::allocate(length).map_err(|error| DiskError::Io {
        operation: "allocation of a buffer",
        name: "recorder".to_owned(),
        detail: error.to_string(),
    })
}

#[cold]
fn unexpected_completion() -> DiskError {
    DiskError::Io {
        operation: "completion",
        name: "the log".to_owned(),
        detail: "an operation that was never submitted completed".to_owned(),
    }
}
