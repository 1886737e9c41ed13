//! Reads frames of the log at any position: from memory while it is there, else from disk.
//!
//! One reader per consumer that may fall behind (a follower's sender, egress catch-up, a
//! restarted service); driven by the consumer's agent. What is not in memory it orders, and
//! whoever has the disk submits the order: whole aligned blocks ahead into the reader's own
//! buffer. Every frame from disk is verified before it is handed out. It never reads above the
//! limit it is given, and repairs nothing.

use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::log_buffer::frame_seal::{FramePlace, verify};
use lockstep_transport::log_buffer::{Frame, HEADER_LENGTH, scanner};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::{Geometry, Position, align};
use lockstep_transport::stream::{FrameSource, SourceFrames};
use lockstep_transport::time::Nanos;

use crate::disk::{BLOCK_LENGTH, Completion, Disk, DiskError, DiskOp, FileId, Token};
use crate::log::log_view::LogView;
use crate::log::segment::length_in_segment;
use crate::log::token::{OWNER_READER_FIRST, TokenSource};

/// Bytes read ahead: holds the largest frame (64 KiB) from any block offset several times
/// over, and at 1 to 2 GB/s of disk fills in about the time of one device round trip.
pub const READ_AHEAD_LENGTH: usize = 256 * 1024;

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSpan {
    /// A frame boundary.
    pub position: Position,
    /// A frame boundary at or below the append position: nothing above is handed out.
    pub limit: Position,
    /// Most bytes to hand out.
    pub length_max: usize,
}

/// The outcome of [`LogReader::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRead<'a> {
    /// Whole frames. `bytes` ends after the header of a PAD; `advance` covers all of it. Both
    /// are empty when nothing lies below the limit, or the first frame is above the length.
    Frames {
        /// The frames.
        bytes: &'a [u8],
        /// Positions they cover.
        advance: usize,
    },
    /// It has to come from disk: submit what is ordered, ask again after its completion.
    Pending,
    /// The frame cannot be read: missing segment, read error or bad checksum.
    Damaged,
    /// The log starts above, and what was there is kept no more.
    Gone,
}

/// A read that whoever has the disk is to submit.
#[derive(Clone, Copy, Debug)]
struct ReadOrder {
    file: FileId,
    offset: u64,
    length: usize,
    range: ReadRange,
}

/// What a disk read is for.
#[derive(Clone, Copy, Debug)]
struct ReadRange {
    /// The position asked for.
    wanted: Position,
    start: Position,
    end: Position,
}

#[derive(Clone, Copy, Debug)]
struct PendingRead {
    token: Token,
    range: ReadRange,
    /// The log was truncated meanwhile: what comes back is not to be used.
    is_stale: bool,
}

/// What a reader has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogReaderCounters {
    /// Disk reads completed.
    pub disk_reads: u64,
    /// Frames refused: bad checksum, wrong place, read error.
    pub damaged: u64,
}

/// See the module.
#[derive(Debug)]
pub struct LogReader {
    geometry: Geometry,
    tokens: TokenSource,
    buffer: AtomicBuffer,
    /// Positions `start..end` are in the buffer, from its first byte on.
    cached_start: Position,
    cached_end: Position,
    order: Option<ReadOrder>,
    pending: Option<PendingRead>,
    damaged_at: Option<Position>,
    error: Option<DiskError>,
    counters: LogReaderCounters,
}

impl LogReader {
    /// Reader number `index` of a node: readers of one disk have different numbers.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn new(geometry: Geometry, index: u16) -> std::io::Result<Self> {
        let mut buffer = AtomicBuffer::allocate(READ_AHEAD_LENGTH)?;
        buffer.pre_touch();
        Ok(Self {
            geometry,
            tokens: TokenSource::new(OWNER_READER_FIRST + index),
            buffer,
            cached_start: 0,
            cached_end: 0,
            order: None,
            pending: None,
            damaged_at: None,
            error: None,
            counters: LogReaderCounters::default(),
        })
    }

    /// Counters since the reader was made.
    #[must_use]
    pub const fn counters(&self) -> LogReaderCounters {
        self.counters
    }

    /// The frames of `span`, as many as are at hand. What has to come from disk is ordered:
    /// [`submit_order`](Self::submit_order) is the other half.
    pub fn read<'a>(&'a mut self, span: ReadSpan, view: LogView<'a>) -> LogRead<'a> {
        let limit = span.limit.min(view.window.append);
        if span.position >= limit {
            return LogRead::Frames {
                bytes: &[],
                advance: 0,
            };
        }
        if span.position >= view.window.start {
            return self.read_memory(span, limit, view);
        }
        if span.position < view.segments.log_start() {
            return LogRead::Gone;
        }
        if self.damaged_at == Some(span.position) {
            return LogRead::Damaged;
        }
        if self.pending.is_some() || self.order.is_some() {
            return LogRead::Pending;
        }
        match self.verified_run(span, limit) {
            Run::Frames { length, advance } => {
                let offset = (span.position - self.cached_start) as usize;
                LogRead::Frames {
                    bytes: self.buffer.bytes(offset, length),
                    advance,
                }
            }
            Run::NotCached => self.place_order(span.position, view),
            Run::Damaged => {
                sometimes(Mark::LogReadDamaged);
                self.damage(span.position);
                LogRead::Damaged
            }
        }
    }

    /// The frame at `position` of a run that [`read`](Self::read) has just found.
    ///
    /// # Panics
    /// When no read found it.
    #[must_use]
    pub fn frame_at<'a>(&'a self, position: Position, view: LogView<'a>) -> Frame<'a> {
        let bytes = if position >= view.window.start {
            let term_length = self.geometry.term_length() as Position;
            let term_end = self.geometry.term_start(position) + term_length;
            let end = view.window.append.min(term_end);
            view.log.bytes(position, (end - position) as usize)
        } else {
            let offset = (position - self.cached_start) as usize;
            let length = (self.cached_end - position) as usize;
            self.buffer.bytes(offset, length)
        };
        Frame::first(bytes).expect("a run consists of whole frames")
    }

    fn read_memory<'a>(
        &'a self,
        span: ReadSpan,
        limit: Position,
        view: LogView<'a>,
    ) -> LogRead<'a> {
        let term_length = self.geometry.term_length() as Position;
        let term_end = self.geometry.term_start(span.position) + term_length;
        let available = (limit.min(term_end) - span.position) as usize;
        let bytes = view.log.bytes(span.position, available);
        let block = scanner::scan(bytes, span.length_max.min(available));
        LogRead::Frames {
            bytes: &bytes[..block.length],
            advance: block.advance,
        }
    }

    /// Whole, verified frames of one term in the buffer at the span's position.
    fn verified_run(&self, span: ReadSpan, limit: Position) -> Run {
        let term_length = self.geometry.term_length() as Position;
        let term_end = self.geometry.term_start(span.position) + term_length;
        let limit = limit.min(term_end);
        let mut position = span.position;
        let mut length = 0;
        while position < limit {
            let place = match self.verified_frame(position) {
                Found::Good { place } => place,
                Found::Absent if length == 0 => return Run::NotCached,
                Found::Damaged if length == 0 => return Run::Damaged,
                Found::Absent | Found::Damaged => break,
            };
            if length + place.checked_length() > span.length_max {
                break;
            }
            length += place.checked_length();
            position += place.aligned_length as Position;
            // A PAD ends the run: it reaches to the end of its term.
            if place.is_pad {
                break;
            }
        }
        Run::Frames {
            length,
            advance: (position - span.position) as usize,
        }
    }

    fn verified_frame(&self, position: Position) -> Found {
        if position < self.cached_start || position + HEADER_LENGTH as Position > self.cached_end {
            return Found::Absent;
        }
        let offset = (position - self.cached_start) as usize;
        let bytes = self
            .buffer
            .bytes(offset, (self.cached_end - position) as usize);
        let Ok(place) = FramePlace::read(bytes) else {
            return Found::Damaged;
        };
        let in_place = place.term_id == self.geometry.term_id(position)
            && place.term_offset as usize == self.geometry.term_offset(position);
        let left = self.geometry.term_length() - self.geometry.term_offset(position);
        if !in_place || place.aligned_length > left {
            return Found::Damaged;
        }
        if place.checked_length() > bytes.len() {
            return Found::Absent;
        }
        match verify(bytes) {
            Ok(_) => Found::Good { place },
            // What is wrong with it, nobody can tell: its position says which one it is.
            Err(_) => Found::Damaged,
        }
    }

    fn place_order(&mut self, position: Position, view: LogView<'_>) -> LogRead<'static> {
        let start = position & !(BLOCK_LENGTH as Position - 1);
        // Blocks above the window's start may not have been written yet: what is read of them
        // must not be used, now or after the window has moved on.
        let end = view.window.start;
        let wanted = align((end - start) as usize, BLOCK_LENGTH).min(READ_AHEAD_LENGTH);
        let length = length_in_segment(start, wanted, view.segments.segment_length());
        let end = end.min(start + length as Position);
        let is_no_progress = start == self.cached_start && end <= self.cached_end;
        let Some((file, offset)) = view.segments.locate(start).filter(|_| !is_no_progress) else {
            // Reading the same range again would not make the frame whole.
            self.damage(position);
            return LogRead::Damaged;
        };
        sometimes(Mark::LogReadFromDisk);
        self.order = Some(ReadOrder {
            file,
            offset,
            length,
            range: ReadRange {
                wanted: position,
                start,
                end,
            },
        });
        LogRead::Pending
    }

    /// Submits what the last [`read`](Self::read) ordered, if anything. A disk that takes no
    /// more leaves nothing behind: the next read orders again.
    pub fn submit_order(&mut self, now: Nanos, disk: &mut impl Disk) {
        let Some(order) = self.order.take() else {
            return;
        };
        let token = self.tokens.next_token();
        let operation = DiskOp::Read {
            token,
            file: order.file,
            offset: order.offset,
            block: self.buffer.kernel_block(0, order.length),
        };
        if disk.submit(now, operation).is_ok() {
            self.pending = Some(PendingRead {
                token,
                range: order.range,
                is_stale: false,
            });
            (self.cached_start, self.cached_end) = (0, 0);
        }
    }

    #[cold]
    fn damage(&mut self, position: Position) {
        self.damaged_at = Some(position);
        self.counters.damaged += 1;
    }

    /// Why the disk could not be read, where that is what damaged the log, since the last call.
    pub const fn take_error(&mut self) -> Option<DiskError> {
        self.error.take()
    }

    /// Takes a completion; `false` when it is not this reader's.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        let Some(pending) = self
            .pending
            .filter(|pending| pending.token == completion.token)
        else {
            return false;
        };
        self.pending = None;
        self.counters.disk_reads += 1;
        match &completion.result {
            _ if pending.is_stale => sometimes(Mark::LogReadOutlived),
            Ok(_) => {
                let ReadRange { start, end, .. } = pending.range;
                (self.cached_start, self.cached_end) = (start, end);
            }
            Err(error) => {
                sometimes(Mark::LogReadFailed);
                self.error = Some(error.clone());
                self.damage(pending.range.wanted);
            }
        }
        true
    }

    /// The log was cut (or repaired): forgets everything read from disk.
    pub fn reset(&mut self) {
        (self.cached_start, self.cached_end) = (0, 0);
        self.damaged_at = None;
        self.order = None;
        if let Some(pending) = &mut self.pending {
            pending.is_stale = true;
        }
    }
}

enum Run {
    Frames { length: usize, advance: usize },
    NotCached,
    Damaged,
}

enum Found {
    Good { place: FramePlace },
    Absent,
    Damaged,
}

/// The log as the source of a stream to another member: memory and archive alike.
#[derive(Debug)]
pub struct LogSource<'a> {
    reader: &'a mut LogReader,
    view: LogView<'a>,
    limit: Position,
}

impl<'a> LogSource<'a> {
    /// A source for one duty cycle; frames up to `limit` may be sent.
    #[must_use]
    pub const fn new(reader: &'a mut LogReader, view: LogView<'a>, limit: Position) -> Self {
        Self {
            reader,
            view,
            limit,
        }
    }
}

impl FrameSource for LogSource<'_> {
    fn limit(&self) -> Position {
        self.limit
    }

    fn frames(&mut self, position: Position, length_max: usize) -> SourceFrames<'_> {
        let span = ReadSpan {
            position,
            limit: self.limit,
            length_max,
        };
        match self.reader.read(span, self.view) {
            LogRead::Frames { advance: 0, .. } | LogRead::Pending => SourceFrames::NotYet,
            LogRead::Frames { bytes, advance } => SourceFrames::Ready { bytes, advance },
            LogRead::Damaged | LogRead::Gone => SourceFrames::Gone,
        }
    }
}
