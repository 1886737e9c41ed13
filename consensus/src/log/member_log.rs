//! The log as one member has it in memory: the term buffers, how far they are contiguous, the
//! chain hash over all of it and the leadership term at its end (`log.md` 2).
//!
//! Whoever appends or places frames owns it. It knows neither disk nor protocol.

use lockstep_archive::log::chain::{Chain, Checkpoint};
use lockstep_archive::log::log_memory::LogCursors;
use lockstep_archive::log::log_view::MemoryWindow;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::position::Position;

use crate::log::log_walk::{Expected, Walked, walk};
use crate::module::member::TermBase;

/// Bytes of the next term zeroed per cycle beyond what was appended: a term is clean long
/// before the log reaches it, and no cycle is long.
const CLEAN_BYTES_PER_CYCLE: usize = 64 * 1024;

/// One member's log in memory. See the module.
#[derive(Debug)]
pub struct MemberLog {
    buffer: LogBuffer,
    chain: Chain,
    append: Position,
    restart: Position,
    log_time: i64,
    tail_term: Option<TermBase>,
    /// No frame that was ever in this log is of a greater leadership term.
    term_max: LeadershipTermId,
    /// Of term buffers that outlive this process.
    cursors: Option<LogCursors>,
}

/// What recovery found of a log, to build it from.
#[derive(Debug)]
pub struct FoundLog {
    /// The log in memory, its tail block read back.
    pub buffer: LogBuffer,
    /// The chain hash, at the end of the log.
    pub chain: Chain,
    /// Log time of the last entry.
    pub log_time: i64,
    /// Leadership term of the last frame, and where it begins.
    pub tail_term: Option<TermBase>,
    /// How far it reaches in memory, for the next life of this directory: where the term buffers
    /// outlive this process.
    pub cursors: Option<LogCursors>,
}

impl MemberLog {
    /// The log of a node that has just recovered.
    #[must_use]
    pub fn new(recovered: FoundLog) -> Self {
        let append = recovered.chain.position();
        Self {
            buffer: recovered.buffer,
            chain: recovered.chain,
            append,
            restart: append,
            log_time: recovered.log_time,
            term_max: TermBase::term_of(recovered.tail_term),
            tail_term: recovered.tail_term,
            cursors: recovered.cursors,
        }
    }

    /// Whether what is in the log is safe from the death of this process (`log.md` 10.3).
    #[must_use]
    pub(crate) const fn outlives_process(&self) -> bool {
        self.cursors.is_some()
    }

    /// The term buffers.
    #[must_use]
    pub const fn buffer(&self) -> &LogBuffer {
        &self.buffer
    }

    /// The term buffers, to append or place frames.
    pub(crate) const fn buffer_mut(&mut self) -> &mut LogBuffer {
        &mut self.buffer
    }

    /// End of the contiguous log.
    #[must_use]
    pub const fn append(&self) -> Position {
        self.append
    }

    /// Log time of the last entry in the log, ns.
    #[must_use]
    pub const fn log_time(&self) -> i64 {
        self.log_time
    }

    /// No frame that was ever in this log is of a greater leadership term.
    #[must_use]
    pub const fn term_max(&self) -> LeadershipTermId {
        self.term_max
    }

    /// The newest chain-hash checkpoint at or below `position`, as (position, hash).
    #[must_use]
    pub(crate) fn checkpoint(&self, position: Position) -> (Position, u64) {
        self.chain
            .checkpoint_at_or_below(position)
            .map_or((0, 0), |c| (c.position, c.hash))
    }

    /// The nearest known chain hash at or below `position`; none below the start of the log.
    #[must_use]
    pub(crate) fn checkpoint_below(&self, position: Position) -> Option<Checkpoint> {
        self.chain.checkpoint_at_or_below(position)
    }

    /// Where the log starts.
    #[must_use]
    pub(crate) fn start(&self) -> Position {
        self.chain.start().position
    }

    /// A frame boundary at or below `position`, or above it where the log starts there, and not
    /// below `floor`, which is one.
    #[must_use]
    pub(crate) fn frame_boundary(&self, floor: Position, position: Position) -> Position {
        let floor = floor.max(self.start());
        let known = self.chain.checkpoint_at_or_below(position.min(self.append));
        known.map_or(floor, |checkpoint| checkpoint.position.max(floor))
    }

    /// The log is contiguous up to `to` now: looks at what is new, and takes it as far as it is
    /// what is expected.
    pub fn advance(&mut self, to: Position, expected: Expected<'_>, walked: &mut Walked) {
        let (chain, tail_term) = (&mut self.chain, &mut self.tail_term);
        walk(&self.buffer, chain, tail_term, to, expected, walked);
        let before = self.append;
        self.append = self.chain.position();
        if let Some(cursors) = &mut self.cursors {
            cursors.set_end(self.append);
        }
        self.term_max = self.term_max.max(TermBase::term_of(self.tail_term));
        if let Some(log_time) = walked.log_time {
            self.log_time = log_time;
        }
        let grown = (self.append - before) as usize;
        self.buffer
            .clean_ahead(self.append, 2 * grown + CLEAN_BYTES_PER_CYCLE);
    }

    /// Zeroes the memory between the end of the log and `end`: bytes that were written there
    /// and never became part of it, which the next leader's frames must not meet.
    pub(crate) fn erase_unreported(&mut self, end: Position) {
        let mut position = self.append;
        while position < end {
            let geometry = self.buffer.geometry();
            let term_end = geometry.term_start(position) + geometry.term_length() as Position;
            let length = end.min(term_end) - position;
            self.buffer.zero(position, length as usize);
            position += length;
        }
    }

    /// First position that is in memory.
    #[must_use]
    pub fn memory_start(&self) -> Position {
        self.window().start
    }

    /// The part that is read from memory.
    #[must_use]
    pub fn window(&self) -> MemoryWindow {
        MemoryWindow::new(self.buffer.geometry(), self.restart, self.append)
    }

    /// After a truncation: the leadership term of what is now the last frame.
    pub(crate) const fn set_tail_term(&mut self, tail_term: Option<TermBase>) {
        self.tail_term = tail_term;
    }

    /// Takes the chain hash back to the nearest checkpoint at or below `position`.
    ///
    /// # Panics
    /// When the log starts above: all below its start is committed.
    pub(super) fn cut_chain(&mut self, position: Position) {
        if self.chain.position() != position {
            let start = self.chain.start().position;
            let is_back = self.chain.rewind(position).is_some();
            assert!(is_back, "a log that starts at {start} is cut at {position}");
        }
    }

    /// The log starts at `start`, where a segment begins, from now on.
    pub(super) fn start_at(&mut self, start: Checkpoint) {
        self.chain.forget_below(start);
    }

    /// The greatest place at or below `position` that the log may be made to start at.
    pub(super) fn start_below(&self, position: Position) -> Option<Checkpoint> {
        self.chain.anchor_at_or_below(position)
    }

    /// The chain hash, to take it forward again over a log that is being cut.
    pub(super) const fn chain_mut(&mut self) -> &mut Chain {
        &mut self.chain
    }

    /// What lies above `position` is about to be erased in memory.
    pub(super) fn begin_cut(&mut self, position: Position) {
        if let Some(cursors) = &mut self.cursors {
            cursors.begin_cut(position);
        }
    }

    /// The log ends at `position` from now on.
    pub(super) fn end_at(&mut self, position: Position) {
        self.append = position;
        self.restart = position;
        if let Some(cursors) = &mut self.cursors {
            cursors.end_cut();
        }
    }
}
