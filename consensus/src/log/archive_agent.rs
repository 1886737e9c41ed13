//! The side of a node that faces the disk: it writes the log to segments, makes term, vote,
//! identity and ack mark durable, cuts the log back and reads it for those who lag.
//!
//! It reads the log in memory up to where it ends; only while the log is being cut back, when
//! nothing else may happen to it, it changes it. It knows no protocol.

use lockstep_archive::disk::{Completion, Disk};
use lockstep_archive::files::ack_mark::{AckMark, AckedPosition};
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::files::identity_file::{IdentityFile, Notes};
use lockstep_archive::files::snapshot_index::SnapshotIndexFile;
use lockstep_archive::log::log_reader::LogReader;
use lockstep_archive::log::log_view::LogView;
use lockstep_archive::log::recorder::Recorder;
use lockstep_archive::log::segment::base_position;
use lockstep_archive::log::token;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND, earliest};

use crate::directory::node_state::NodeStateFile;
use crate::log::chain_rewind;
use crate::log::member_log::MemberLog;
use crate::log::snapshot_store::SnapshotStore;
use crate::module::member::MemberId;
use crate::node::counters::{Counter, CounterBlock};
use crate::node::fault::StoreFailure;

/// Interval of the ack mark where the log outlives the process: the header of its memory says more,
/// and at any moment (`log.md` 10.3).
const LAZY_MARK_NS: Nanos = SECOND;

/// The part of a term that is left for the first entry of a leader's term, with the PAD before it
/// that is shorter than it is, where a log counts as durable before it is written.
const FIRST_ENTRY_SHARE: usize = 8;

/// What a completion meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveEvent {
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
pub(crate) struct OldestWrite {
    /// For so long.
    pub age: Nanos,
    /// Base position of the segment it goes to; none: it is the mark's.
    pub segment: Option<Position>,
}

/// What recovery found, to build the agent from.
#[derive(Debug)]
pub struct RecoveredArchive {
    /// The recorder, at the end of the log.
    pub recorder: Recorder,
    /// Term, vote and incarnation.
    pub node_state: NodeStateFile,
    /// Which directory this is, and what the member knows of its cluster.
    pub identity_file: IdentityFile,
    /// How far this member ever acknowledged.
    pub ack_mark: AckMark,
    /// Which snapshots there are, and where the log starts.
    pub snapshot_index: SnapshotIndexFile,
    /// Bytes of the log that only the log buffer of the life before had.
    pub taken: u64,
    /// The snapshots.
    pub(crate) snapshots: SnapshotStore,
}

/// See the module.
#[derive(Debug)]
pub struct ArchiveAgent<D> {
    disk: D,
    recorder: Recorder,
    node_state: NodeStateFile,
    identity_file: IdentityFile,
    ack_mark: AckMark,
    /// Which snapshots there are, and where the log starts.
    pub(crate) snapshot_index: SnapshotIndexFile,
    wanted_state: Option<(LeadershipTermId, Option<MemberId>)>,
    written_state: Option<(LeadershipTermId, Option<MemberId>)>,
    truncation: Option<Truncation>,
    /// How far the log in memory counted as durable when last looked at.
    held: Position,
    taken: u64,
    /// The snapshots.
    pub(crate) snapshots: SnapshotStore,
    failure: Option<StoreFailure>,
    /// What tools read.
    pub(crate) counters: CounterBlock,
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
}

impl<D: Disk> ArchiveAgent<D> {
    /// The agent of a node that has just recovered `log`.
    #[must_use]
    pub fn new(
        disk: D,
        recovered: RecoveredArchive,
        log: &MemberLog,
        counters: CounterBlock,
    ) -> Self {
        invariant!(
            ChainEndsWithLog,
            recovered.recorder.durable() == log.append(),
            "A4: the chain ends where the log ends"
        );
        let (mut recorder, mut ack_mark) = (recovered.recorder, recovered.ack_mark);
        if log.outlives_process() {
            recorder.write_lazily();
            ack_mark.be_written_each(LAZY_MARK_NS);
        }
        Self {
            disk,
            recorder,
            node_state: recovered.node_state,
            identity_file: recovered.identity_file,
            ack_mark,
            snapshot_index: recovered.snapshot_index,
            held: log.append(),
            snapshots: recovered.snapshots,
            taken: recovered.taken,
            wanted_state: None,
            written_state: None,
            truncation: None,
            failure: None,
            counters,
        }
    }

    /// Writes what changes with every cycle, for tools.
    pub(crate) fn publish(&mut self, log: &MemberLog) {
        self.counters.set(Counter::Durable, self.durable(log));
        let log_start = self.recorder.segments().log_start();
        let recycled = self.recorder.counters().recycled as i64;
        self.counters.set(Counter::LogStart, log_start);
        self.counters.set(Counter::SegmentsRecycled, recycled);
        self.count_snapshots();
    }

    /// All below has reached its file.
    #[cfg(feature = "sim")]
    pub(crate) const fn written(&self) -> Position {
        self.recorder.written()
    }

    /// Bytes of the log that the start took from the log buffer of the life before.
    #[must_use]
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Durable end of the log: all of it where it outlives the process, unless a leader's first
    /// entry went beyond what others may be appended to. It counts once the disk has followed;
    /// else a member might stand again, and have no room for the next one.
    #[must_use]
    pub fn durable(&self, log: &MemberLog) -> Position {
        if !log.outlives_process() {
            self.recorder.durable()
        } else if log.append() <= self.append_limit(log) {
            log.append()
        } else {
            self.held
        }
    }

    /// Nothing but the first entry of a term may be appended or placed above this position
    /// (`log.md` 2.1).
    #[must_use]
    pub(crate) fn append_limit(&self, log: &MemberLog) -> Position {
        let limit = self.first_entry_limit(log);
        if !log.outlives_process() {
            // Who leads has drained its log.
            return limit;
        }
        limit - (log.buffer().geometry().term_length() / FIRST_ENTRY_SHARE) as Position
    }

    /// Nothing at all may be appended above.
    #[must_use]
    pub(crate) fn first_entry_limit(&self, log: &MemberLog) -> Position {
        self.recorder.written() + log.buffer().geometry().term_length() as Position
    }

    /// Whether space for the log has run out: ingress is refused, nothing is lost (D10).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.recorder.is_full()
    }

    /// Whether an entry may be appended at `append` that may yet cost `bytes` of log in effects.
    #[must_use]
    pub fn has_room(&self, append: Position, bytes: u64) -> bool {
        self.recorder.has_room(append, bytes)
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

    pub(super) const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(super) const fn recorder_mut(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// The log as readers see it now.
    #[must_use]
    pub fn view<'a>(&'a self, log: &'a MemberLog) -> LogView<'a> {
        LogView {
            log: log.buffer(),
            window: log.window(),
            segments: self.recorder.segments(),
        }
    }

    /// The disk, to look at.
    #[cfg(feature = "sim")]
    pub(crate) const fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk, for the shell that knows which one it is.
    pub(crate) const fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Submits what `reader` has ordered from disk.
    pub fn submit_order(&mut self, now: Nanos, reader: &mut LogReader) {
        reader.submit_order(now, &mut self.disk);
    }

    /// Makes (`term`, `vote`) durable; [`ArchiveEvent::StatePersisted`] tells when.
    pub(crate) fn persist_state(
        &mut self,
        now: Nanos,
        term: LeadershipTermId,
        vote: Option<MemberId>,
    ) {
        self.wanted_state = Some((term, vote));
        self.submit_state(now);
    }

    /// Makes the directory's id and notes durable; [`ArchiveEvent::IdentityPersisted`] tells when.
    /// `false` when the disk is busy: ask again in a later cycle.
    pub(crate) fn persist_identity(&mut self, now: Nanos, directory: u128, notes: &Notes) -> bool {
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

    /// Whether a term and vote are on their way to the disk: nobody was told that they are there.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) const fn is_persisting_state(&self) -> bool {
        self.node_state.is_writing()
    }

    /// Whether the log is being cut back.
    #[must_use]
    pub const fn is_truncating(&self) -> bool {
        self.truncation.is_some()
    }

    /// Orders the log cut back to `position`, which must be drained. [`Self::poll_truncated`]
    /// tells when it is done.
    pub fn begin_truncation(&mut self, position: Position, log: &MemberLog) {
        assert!(
            position <= log.append(),
            "truncation to {position} of {}",
            log.append()
        );
        self.truncation = Some(Truncation {
            position,
            step: TruncationStep::Beginning,
        });
    }

    /// The position of a truncation that is complete, once.
    pub fn poll_truncated(&mut self, now: Nanos, log: &mut MemberLog) -> Option<Position> {
        let position = self.truncation?.position;
        while let Some(step) = self.next_truncation_step(now, log) {
            self.truncation = Some(Truncation { position, step });
        }
        let is_done = self.truncation?.step == TruncationStep::Ending
            && self.ack_mark.is_settled()
            && !self.failed();
        is_done.then(|| {
            self.truncation = None;
            position
        })
    }

    /// The step that a truncation in progress may go on to now.
    fn next_truncation_step(&mut self, now: Nanos, log: &mut MemberLog) -> Option<TruncationStep> {
        let Truncation { position, step } = self.truncation?;
        match step {
            TruncationStep::Beginning => {
                let end = self.recorder.stale_end().max(log.append());
                let mark = &mut self.ack_mark;
                let is_begun = mark.begin_truncation(now, position, end, &mut self.disk);
                is_begun.then_some(TruncationStep::Marking)
            }
            TruncationStep::Marking => {
                let is_ready = self.ack_mark.is_settled() && self.recorder.is_drained(log.append());
                is_ready.then(|| {
                    log.cut_chain(position);
                    TruncationStep::Rewinding
                })
            }
            TruncationStep::Rewinding => match self.rewind_chain(log, position) {
                Ok(true) => {
                    self.truncate(log, position);
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
            TruncationStep::Ending => None,
        }
    }

    fn truncate(&mut self, log: &mut MemberLog, position: Position) {
        log.begin_cut(position);
        self.held = position;
        let (recorder, files) = (&mut self.recorder, self.disk.files());
        match recorder.truncate(position, log.buffer_mut(), files) {
            Ok(()) => log.end_at(position),
            Err(error) => {
                self.failure.get_or_insert(error.into());
            }
        }
    }

    /// Takes the chain hash forward to `position`. Returns whether it is there.
    fn rewind_chain(
        &mut self,
        log: &mut MemberLog,
        position: Position,
    ) -> Result<bool, StoreFailure> {
        let segments = self.recorder.segments();
        chain_rewind::step(log.chain_mut(), position, segments, self.disk.files())
    }

    /// A member that lost what it had acknowledged is whole again: its mark forgets the loss, or
    /// its next start would take it for new (D6).
    pub fn forget_loss(&mut self, now: Nanos, log: &MemberLog) {
        let is_due = self.truncation.is_none() && self.ack_mark.record().lost.is_some();
        if is_due && !self.failed() {
            let durable = self.recorder.durable();
            // Not started when a mark is being written: the next cycle asks again.
            let (mark, term) = (&mut self.ack_mark, log.term_max());
            if mark.forget_loss(now, durable, term, &mut self.disk) {
                sometimes(Mark::LossForgotten);
            }
        }
    }

    /// Submits whatever is due: the log's next write, the mark, a waiting state. `commit` is how
    /// far the log is known to be committed.
    pub fn persist(&mut self, now: Nanos, log: &MemberLog, commit: Position) -> usize {
        if self.failed() {
            return 0;
        }
        self.held = self.durable(log);
        self.recorder.hurry(self.truncation.is_some());
        let mut work = self
            .recorder
            .do_work(now, log.buffer(), log.append(), &mut self.disk);
        self.submit_state(now);
        work += self.node_state.do_work(now, &mut self.disk);
        self.identity_file.do_work(now, &mut self.disk);
        work += self.ack_mark.write_other_slot(now, &mut self.disk);
        work += self
            .snapshots
            .do_work(now, &mut self.disk, &mut self.snapshot_index);
        work += self.snapshot_index.do_work(now, &mut self.disk);
        if self.truncation.is_none() {
            let durable = self.recorder.durable();
            let acked = AckedPosition {
                position: durable,
                term: log.term_max(),
                commit,
                durable,
            };
            let idle = self.recorder.log_idle_since();
            work += self.ack_mark.do_work(now, acked, idle, &mut self.disk);
        }
        self.disk.flush(now);
        work
    }

    /// Whether a write of the log, of its mark or of its index is under way, or to come: at the end
    /// of a run, all that was acknowledged goes to its file, and the mark to both slots. After a
    /// failure nothing more does.
    pub(crate) fn settle(&mut self, now: Nanos, log: &MemberLog) -> bool {
        if self.failed() {
            return false;
        }
        let (is_lazy, disk) = (log.outlives_process(), &mut self.disk);
        if is_lazy {
            self.recorder.hurry(true);
            self.recorder.do_work(now, log.buffer(), log.append(), disk);
        }
        self.ack_mark.write_other_slot(now, disk);
        self.snapshot_index.do_work(now, disk);
        disk.flush(now);
        let is_ahead = is_lazy && self.recorder.written() < log.append();
        let is_writing = self.recorder.is_writing() || self.ack_mark.is_writing();
        is_ahead || is_writing || !self.snapshot_index.is_settled()
    }

    /// Of the writes of the log and of its mark under way at `now`, the one that has been for
    /// longest.
    #[must_use]
    pub(crate) fn oldest_write(&self, now: Nanos) -> Option<OldestWrite> {
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
    pub(crate) fn seal(&mut self, log: &MemberLog, commit: Position) -> Result<(), StoreFailure> {
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
            is_in_memory: false,
            ..mark
        };
        if self.truncation.is_none() {
            sealed.position = mark.position.max(self.recorder.durable());
            sealed.term = mark.term.max(log.term_max());
            sealed.commit = mark.commit.max(commit);
        }
        Ok(self.ack_mark.write(self.disk.files(), sealed)?)
    }

    /// Takes one completion; those of readers go to `readers`.
    pub fn poll_completion(
        &mut self,
        now: Nanos,
        mut readers: impl FnMut(&Completion),
    ) -> Option<ArchiveEvent> {
        let completion = self.disk.poll_completion(now)?;
        let owner = token::owner(completion.token);
        if owner >= token::OWNER_READER_FIRST {
            readers(&completion);
            return Some(ArchiveEvent::Done);
        }
        if self.recorder.on_completion(&completion) || self.ack_mark.on_completion(&completion) {
            return Some(ArchiveEvent::Done);
        }
        if self.snapshots.on_completion(&completion) {
            return Some(ArchiveEvent::Done);
        }
        if let Some(outcome) = self.snapshot_index.on_completion(&completion) {
            if let Err(error) = outcome {
                self.failure.get_or_insert(error.into());
            }
            self.snapshots.on_index(self.snapshot_index.durable());
            return Some(ArchiveEvent::Done);
        }
        if let Some(outcome) = self.identity_file.on_completion(&completion) {
            return Some(match outcome {
                Ok(true) => ArchiveEvent::IdentityPersisted,
                Ok(false) => ArchiveEvent::Done,
                Err(error) => {
                    sometimes(Mark::IdentityWriteFailed);
                    self.failure.get_or_insert(error.into());
                    ArchiveEvent::Done
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
                Some(ArchiveEvent::StatePersisted { term, vote })
            }
            Some(Ok(false)) => {
                self.node_state.do_work(now, &mut self.disk);
                Some(ArchiveEvent::Done)
            }
            Some(Err(error)) => {
                sometimes(Mark::StateWriteFailed);
                self.failure.get_or_insert(error.into());
                Some(ArchiveEvent::Done)
            }
            None => Some(ArchiveEvent::Done),
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
        let deadline = earliest(deadline, self.snapshots.next_deadline());
        earliest(earliest(deadline, rewinding), self.recorder.next_deadline())
    }
}
