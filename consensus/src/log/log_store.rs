//! The log as one node keeps it: memory, disk and everything between (`log.md` 2).
//!
//! Owns the log buffer, the recorder, the durable term and vote, the ack mark and the chain
//! hash, and the cursors over them: durable ≤ written ≤ append. It knows no protocol.

use lockstep_archive::disk::{Completion, Disk};
use lockstep_archive::files::ack_mark::{AckMark, AckRecord, AckedPosition};
use lockstep_archive::files::identity_file::{IdentityFile, Notes};
use lockstep_archive::files::node_state::NodeStateFile;
use lockstep_archive::log::chain::{Chain, Checkpoint};
use lockstep_archive::log::log_reader::LogReader;
use lockstep_archive::log::log_view::{LogView, MemoryWindow};
use lockstep_archive::log::recorder::Recorder;
use lockstep_archive::log::segment::base_position;
use lockstep_archive::log::token;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, earliest};

use crate::log::chain_rewind;
use crate::log::log_walk::{Expected, Walked, walk};
use crate::module::member::{MemberId, TermBase};
use crate::node::fault::StoreFailure;

/// Bytes of the next term zeroed per cycle beyond what was appended: a term is clean long
/// before the log reaches it, and no cycle is long.
const CLEAN_BYTES_PER_CYCLE: usize = 64 * 1024;

/// What a completion meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Nothing to report.
    Done,
    /// The directory's id and notes are durable.
    IdentityPersisted,
    /// The term and vote are durable.
    StatePersisted {
        /// The term.
        term: LeadershipTermId,
        /// The vote in it.
        vote: Option<MemberId>,
    },
}

/// A write that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldestWrite {
    /// For so long.
    pub age: Nanos,
    /// Base position of the segment it goes to; none: it is the mark's.
    pub segment: Option<Position>,
}

/// What recovery found, to build a store from.
#[derive(Debug)]
pub struct RecoveredStore {
    /// The log in memory, its tail block read back.
    pub log: LogBuffer,
    /// The recorder, at the end of the log.
    pub recorder: Recorder,
    /// Term, vote and incarnation.
    pub node_state: NodeStateFile,
    /// Which directory this is, and what the member knows of its cluster.
    pub identity_file: IdentityFile,
    /// How far this member ever acknowledged.
    pub ack_mark: AckMark,
    /// The chain hash, at the end of the log.
    pub chain: Chain,
    /// Log time of the last entry.
    pub log_time: i64,
    /// Leadership term of the last frame, and where it begins.
    pub tail_term: Option<TermBase>,
}

/// One node's log. See the module.
#[derive(Debug)]
pub struct LogStore<D> {
    disk: D,
    log: LogBuffer,
    recorder: Recorder,
    node_state: NodeStateFile,
    identity_file: IdentityFile,
    ack_mark: AckMark,
    chain: Chain,
    append: Position,
    restart: Position,
    log_time: i64,
    tail_term: Option<TermBase>,
    /// No frame that was ever in this log is of a greater leadership term.
    term_max: LeadershipTermId,
    wanted_state: Option<(LeadershipTermId, Option<MemberId>)>,
    written_state: Option<(LeadershipTermId, Option<MemberId>)>,
    truncation: Option<Truncation>,
    failure: Option<StoreFailure>,
}

/// A truncation in progress. A crash before `Cutting` leaves the log as it was; after that, what
/// lies above `position` is no part of it, however much of it is still on disk.
#[derive(Clone, Copy, Debug)]
struct Truncation {
    position: Position,
    step: TruncationStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TruncationStep {
    /// The mark has to say so.
    Beginning,
    /// The mark that says so becomes durable, the recorder drains.
    Marking,
    /// The chain hash goes back, a bounded step per cycle.
    Rewinding,
    /// The recorder overwrites what was cut off.
    Cutting,
    /// The mark that says that this is done becomes durable.
    Ending,
    /// And in its other slot: should one rot, no start cuts off what was acknowledged since.
    EndingTwice,
}

impl<D: Disk> LogStore<D> {
    /// The store of a node that has just recovered.
    #[must_use]
    pub fn new(disk: D, recovered: RecoveredStore) -> Self {
        let append = recovered.recorder.durable();
        invariant!(
            ChainEndsWithLog,
            append == recovered.chain.position(),
            "A4: the chain ends where the log ends"
        );
        Self {
            disk,
            log: recovered.log,
            recorder: recovered.recorder,
            node_state: recovered.node_state,
            identity_file: recovered.identity_file,
            ack_mark: recovered.ack_mark,
            chain: recovered.chain,
            append,
            restart: append,
            log_time: recovered.log_time,
            term_max: TermBase::term_of(recovered.tail_term),
            tail_term: recovered.tail_term,
            wanted_state: None,
            written_state: None,
            truncation: None,
            failure: None,
        }
    }

    /// The log in memory.
    #[must_use]
    pub const fn log(&self) -> &LogBuffer {
        &self.log
    }

    /// The log in memory, to append or place frames.
    pub const fn log_mut(&mut self) -> &mut LogBuffer {
        &mut self.log
    }

    /// The disk.
    pub const fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// End of the contiguous log.
    #[must_use]
    pub const fn append(&self) -> Position {
        self.append
    }

    /// Durable end of the log.
    #[must_use]
    pub const fn durable(&self) -> Position {
        self.recorder.durable()
    }

    /// Nothing may be appended or placed above this position (`log.md` 2.1).
    #[must_use]
    pub fn append_limit(&self) -> Position {
        self.recorder.written() + self.log.geometry().term_length() as Position
    }

    /// Log time of the last entry in the log, ns.
    #[must_use]
    pub const fn log_time(&self) -> i64 {
        self.log_time
    }

    /// Whether space for the log has run out: ingress is refused, nothing is lost (D10).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.recorder.is_full()
    }

    /// Whether an entry may be appended that may yet cost `bytes` of log in effects.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.recorder.has_room(self.append, bytes)
    }

    /// Whether a write or sync has failed, or the log was found rotten. Final (D4).
    #[must_use]
    pub const fn failed(&self) -> bool {
        self.failure.is_some()
            || self.recorder.failed().is_some()
            || self.ack_mark.failed().is_some()
    }

    /// The first failure of storage that was met, with file and the operating system's words.
    #[must_use]
    pub fn failure(&self) -> Option<StoreFailure> {
        let of_disk = || self.recorder.failed().or_else(|| self.ack_mark.failed());
        let failure = self.failure.clone();
        failure.or_else(|| of_disk().cloned().map(StoreFailure::from))
    }

    /// The newest chain-hash checkpoint at or below `position`, as (position, hash).
    #[must_use]
    pub fn checkpoint(&self, position: Position) -> (Position, u64) {
        self.chain
            .checkpoint_at_or_below(position)
            .map_or((0, 0), |c| (c.position, c.hash))
    }

    /// The nearest known chain hash at or below `position`.
    #[must_use]
    pub fn checkpoint_below(&self, position: Position) -> Checkpoint {
        let known = self.chain.checkpoint_at_or_below(position);
        known.unwrap_or(Checkpoint::ZERO)
    }

    /// A frame boundary at or below `position` and not below `floor`, which is one.
    #[must_use]
    pub fn frame_boundary(&self, floor: Position, position: Position) -> Position {
        let known = self.chain.checkpoint_at_or_below(position.min(self.append));
        known.map_or(floor, |checkpoint| checkpoint.position.max(floor))
    }

    /// The log is contiguous up to `to` now: looks at what is new, and takes it as far as it is
    /// what is expected.
    pub fn advance(&mut self, to: Position, expected: Expected<'_>, walked: &mut Walked) {
        assert!(
            self.truncation.is_none(),
            "the log grew while it was being truncated"
        );
        let (chain, tail_term) = (&mut self.chain, &mut self.tail_term);
        walk(&self.log, chain, tail_term, to, expected, walked);
        let before = self.append;
        self.append = self.chain.position();
        self.term_max = self.term_max.max(TermBase::term_of(self.tail_term));
        if let Some(log_time) = walked.log_time {
            self.log_time = log_time;
        }
        let grown = (self.append - before) as usize;
        self.log
            .clean_ahead(self.append, 2 * grown + CLEAN_BYTES_PER_CYCLE);
    }

    /// Zeroes the memory between the end of the log and `end`: bytes that were written there
    /// and never became part of it, which the next leader's frames must not meet.
    pub fn erase_unreported(&mut self, end: Position) {
        let mut position = self.append;
        while position < end {
            let geometry = self.log.geometry();
            let term_end = geometry.term_start(position) + geometry.term_length() as Position;
            let length = end.min(term_end) - position;
            self.log.zero(position, length as usize);
            position += length;
        }
    }

    /// First position that is in memory.
    #[must_use]
    pub fn memory_start(&self) -> Position {
        self.window().start
    }

    fn window(&self) -> MemoryWindow {
        MemoryWindow::new(self.log.geometry(), self.restart, self.append)
    }

    /// The log as readers see it now.
    #[must_use]
    pub fn view(&self) -> LogView<'_> {
        LogView {
            log: &self.log,
            window: self.window(),
            segments: self.recorder.segments(),
        }
    }

    /// Submits what `reader` has ordered from disk.
    pub fn submit_order(&mut self, now: Nanos, reader: &mut LogReader) {
        reader.submit_order(now, &mut self.disk);
    }

    /// Makes (`term`, `vote`) durable; [`StoreEvent::StatePersisted`] tells when.
    pub fn persist_state(&mut self, now: Nanos, term: LeadershipTermId, vote: Option<MemberId>) {
        self.wanted_state = Some((term, vote));
        self.submit_state(now);
    }

    /// Makes the directory's id and notes durable; [`StoreEvent::IdentityPersisted`] tells when.
    /// `false` when the disk is busy: ask again in a later cycle.
    pub fn persist_identity(&mut self, now: Nanos, directory: u128, notes: &Notes) -> bool {
        if self.failed() {
            return false;
        }
        let file = &mut self.identity_file;
        file.submit(now, &mut self.disk, directory, notes).is_ok()
    }

    fn submit_state(&mut self, now: Nanos) {
        let Some((term, vote)) = self.wanted_state else {
            return;
        };
        if self.node_state.is_writing() || self.failed() {
            return;
        }
        if self
            .node_state
            .submit_state(now, &mut self.disk, term, vote)
            .is_ok()
        {
            self.written_state = self.wanted_state.take();
        }
    }

    /// Whether the log is being cut back.
    #[must_use]
    pub const fn is_truncating(&self) -> bool {
        self.truncation.is_some()
    }

    /// Orders the log cut back to `position`, which must be drained. [`Self::poll_truncated`]
    /// tells when it is done.
    pub fn begin_truncation(&mut self, position: Position) {
        assert!(
            position <= self.append,
            "truncation to {position} of {}",
            self.append
        );
        self.truncation = Some(Truncation {
            position,
            step: TruncationStep::Beginning,
        });
    }

    /// The position of a truncation that is complete, once.
    pub fn poll_truncated(&mut self, now: Nanos) -> Option<Position> {
        let position = self.truncation?.position;
        while let Some(step) = self.next_truncation_step(now) {
            self.truncation = Some(Truncation { position, step });
        }
        let is_done = self.truncation?.step == TruncationStep::EndingTwice
            && self.ack_mark.is_settled()
            && !self.failed();
        is_done.then(|| {
            self.truncation = None;
            position
        })
    }

    /// The step that a truncation in progress may go on to now.
    fn next_truncation_step(&mut self, now: Nanos) -> Option<TruncationStep> {
        let Truncation { position, step } = self.truncation?;
        match step {
            TruncationStep::Beginning => {
                let end = self.recorder.stale_end().max(self.append);
                let mark = &mut self.ack_mark;
                let is_begun = mark.begin_truncation(now, position, end, &mut self.disk);
                is_begun.then_some(TruncationStep::Marking)
            }
            TruncationStep::Marking => {
                let is_ready = self.ack_mark.is_settled() && self.recorder.is_drained(self.append);
                is_ready.then(|| {
                    self.cut_chain(position);
                    TruncationStep::Rewinding
                })
            }
            TruncationStep::Rewinding => match self.rewind_chain(position) {
                Ok(true) => {
                    self.truncate(position);
                    Some(TruncationStep::Cutting)
                }
                Ok(false) => None,
                Err(failure) => {
                    self.failure.get_or_insert(failure);
                    None
                }
            },
            TruncationStep::Cutting => {
                let is_ended = self.recorder.is_drained(position)
                    && self.ack_mark.end_truncation(now, position, &mut self.disk);
                is_ended.then_some(TruncationStep::Ending)
            }
            TruncationStep::Ending => (self.ack_mark.is_settled()
                && self.ack_mark.end_truncation(now, position, &mut self.disk))
            .then_some(TruncationStep::EndingTwice),
            TruncationStep::EndingTwice => None,
        }
    }

    fn truncate(&mut self, position: Position) {
        let (recorder, log) = (&mut self.recorder, &mut self.log);
        if let Err(error) = recorder.truncate(position, log, self.disk.files()) {
            self.failure.get_or_insert(error.into());
            return;
        }
        self.append = position;
        self.restart = position;
    }

    /// After a truncation: the leadership term of what is now the last frame.
    pub const fn set_tail_term(&mut self, tail_term: Option<TermBase>) {
        self.tail_term = tail_term;
    }

    /// Takes the chain hash back to the nearest checkpoint at or below `position`.
    fn cut_chain(&mut self, position: Position) {
        if self.chain.position() != position && self.chain.rewind(position).is_none() {
            self.chain = Chain::new();
        }
    }

    /// Takes the chain hash forward to `position`. Returns whether it is there.
    fn rewind_chain(&mut self, position: Position) -> Result<bool, StoreFailure> {
        let segments = self.recorder.segments();
        chain_rewind::step(&mut self.chain, position, segments, self.disk.files())
    }

    /// A member that lost what it had acknowledged is whole again: its mark forgets the loss, or
    /// its next start would take it for new (D6).
    pub fn forget_loss(&mut self, now: Nanos) {
        let is_due = self.truncation.is_none() && self.ack_mark.record().lost.is_some();
        if is_due && !self.failed() {
            let durable = self.recorder.durable();
            // Not started when a mark is being written: the next cycle asks again.
            let (mark, term) = (&mut self.ack_mark, self.term_max);
            if mark.forget_loss(now, durable, term, &mut self.disk) {
                sometimes(Mark::LossForgotten);
            }
        }
    }

    /// Submits whatever is due: the log's next write, the mark, a waiting state. `commit` is how
    /// far the log is known to be committed.
    pub fn persist(&mut self, now: Nanos, commit: Position) -> usize {
        if self.failed() {
            return 0;
        }
        let mut work = self
            .recorder
            .do_work(now, &self.log, self.append, &mut self.disk);
        self.submit_state(now);
        work += self.node_state.do_work(now, &mut self.disk);
        self.identity_file.do_work(now, &mut self.disk);
        if self.truncation.is_none() {
            let durable = self.recorder.durable();
            let acked = AckedPosition {
                position: durable,
                term: self.term_max,
                commit,
                durable,
            };
            let idle = self.recorder.log_idle_since();
            work += self.ack_mark.do_work(now, acked, idle, &mut self.disk);
        }
        self.disk.flush(now);
        work
    }

    /// Whether a write of the log or of its mark is under way.
    #[must_use]
    pub const fn is_settling(&self) -> bool {
        self.recorder.is_writing() || self.ack_mark.is_writing()
    }

    /// Of the writes of the log and of its mark under way at `now`, the one that has been for
    /// longest.
    #[must_use]
    pub fn oldest_write(&self, now: Nanos) -> Option<OldestWrite> {
        let of_log = self.recorder.writing_since().map(|(since, start)| {
            let length = self.recorder.segments().segment_length();
            (since, Some(base_position(start, length)))
        });
        let of_mark = self.ack_mark.writing_since().map(|since| (since, None));
        let (since, segment) = of_log.into_iter().chain(of_mark).min()?;
        let age = now - since;
        Some(OldestWrite { age, segment })
    }

    /// Cold, at the end of a run in which nothing is under way: what was acknowledged without
    /// syncs is durable on return, and so is the mark that says so (`log.md` 10.3).
    ///
    /// # Errors
    /// What failed, now or before.
    pub fn seal(&mut self, commit: Position) -> Result<(), StoreFailure> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let mark = self.ack_mark.record();
        if !mark.is_unsynced {
            return Ok(());
        }
        // Their names have been durable since the segments were made.
        let segments = self.recorder.segments();
        segments.sync_below(self.disk.files(), segments.end().unwrap_or(0))?;
        let mut sealed = AckRecord {
            is_unsynced: false,
            ..mark
        };
        if self.truncation.is_none() {
            sealed.position = mark.position.max(self.recorder.durable());
            sealed.term = mark.term.max(self.term_max);
            sealed.commit = mark.commit.max(commit);
        }
        Ok(self.ack_mark.write(self.disk.files(), sealed)?)
    }

    /// Takes one completion; those of readers go to `readers`.
    pub fn poll_completion(
        &mut self,
        now: Nanos,
        mut readers: impl FnMut(&Completion),
    ) -> Option<StoreEvent> {
        let completion = self.disk.poll_completion(now)?;
        if token::owner(completion.token) >= token::OWNER_READER_FIRST {
            readers(&completion);
            return Some(StoreEvent::Done);
        }
        if self.recorder.on_completion(&completion) || self.ack_mark.on_completion(&completion) {
            return Some(StoreEvent::Done);
        }
        if let Some(outcome) = self.identity_file.on_completion(&completion) {
            return Some(match outcome {
                Ok(true) => StoreEvent::IdentityPersisted,
                Ok(false) => StoreEvent::Done,
                Err(error) => {
                    sometimes(Mark::IdentityWriteFailed);
                    self.failure.get_or_insert(error.into());
                    StoreEvent::Done
                }
            });
        }
        match self.node_state.on_completion(&completion) {
            Some(Ok(true)) => {
                let (term, vote) = self
                    .written_state
                    .take()
                    .expect("only written states complete");
                self.submit_state(now);
                Some(StoreEvent::StatePersisted { term, vote })
            }
            Some(Ok(false)) => {
                self.node_state.do_work(now, &mut self.disk);
                Some(StoreEvent::Done)
            }
            Some(Err(error)) => {
                sometimes(Mark::StateWriteFailed);
                self.failure.get_or_insert(error.into());
                Some(StoreEvent::Done)
            }
            None => Some(StoreEvent::Done),
        }
    }

    /// When the disk or a file has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let deadline = earliest(self.disk.next_deadline(), self.ack_mark.next_deadline());
        let rewinding = self
            .truncation
            .filter(|cut| cut.step == TruncationStep::Rewinding)
            .map(|_| 0);
        earliest(earliest(deadline, rewinding), self.recorder.next_deadline())
    }
}
