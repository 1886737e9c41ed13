//! The snapshots of a node on its disk: one that is being stored, and which are kept (`log.md`
//! 8.4).
//!
//! Bytes go to a file; the index names it once all of it is durable, and not before. The one before
//! the last two goes then. The bytes are this member's own, or come from another one: of those the
//! index is told once they have been looked at.

use lockstep_archive::disk::{
    ColdFiles, Completion, Disk, DiskError, DiskOp, FileId, SegmentName, Token,
};
use lockstep_archive::files::snapshot_index::{
    SNAPSHOTS_MAX, SnapshotEntry, SnapshotIndex, SnapshotIndexFile,
};
use lockstep_archive::log::token::{OWNER_SNAPSHOT_STORE, TokenSource};
use lockstep_archive::snapshot_file::SNAPSHOT_RECORDING_ID;
use lockstep_archive::snapshot_file::source::file_length;
use lockstep_archive::snapshot_file::writer::{SnapshotFileState, SnapshotFileWriter};
use lockstep_service::snapshot::SnapshotSummary;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::node::start_error::StartError;
use crate::snapshot::transfer::receiver::RECEIVED_RECORDING_ID;

/// How far the one is that is being stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SnapshotOutcome<'a> {
    /// Not yet there, or none is.
    UnderWay,
    /// It is there to stay. Told once.
    Stored,
    /// It is to be given up.
    Failed(&'a DiskError),
}

/// What is done about the one that is being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There is none.
    Nothing,
    /// Its bytes come, of a snapshot taken here, in this leadership term.
    Filling(Position, LeadershipTermId),
    /// Its bytes come from another member, or are being looked at.
    Fetching,
    /// All its bytes have come. It may stand for the log below, which is not here.
    Ending(SnapshotEntry, bool),
    /// Its entry is on its way to the index.
    Indexing(SnapshotEntry),
    /// It is there, and that was not told.
    Stored,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SnapshotStore {
    file: SnapshotFileWriter,
    step: Step,
    /// Taken here and stored since the start.
    stored: i64,
    /// Fetched and stored since the start.
    fetched: i64,
    /// One from another member was given up for one that is taken here.
    makes_way: bool,
    /// What the index names, and where it lies: open from the start on, or since it was stored.
    named: [Option<(SnapshotEntry, FileId)>; SNAPSHOTS_MAX],
    /// The index is another one than when somebody last asked.
    is_changed: bool,
    tokens: TokenSource,
    /// Out of date once the index is durable without it, and not yet asked to be removed.
    dropped: Option<SnapshotEntry>,
    removing: Option<Token>,
    #[cfg(feature = "sim")]
    is_named_early: bool,
}

impl SnapshotStore {
    /// Nothing is being stored. Cold: opens the files that `index` names.
    ///
    /// # Errors
    /// The disk's, and the operating system's, when it has no memory to give.
    pub fn open(files: &mut impl ColdFiles, index: &SnapshotIndex) -> Result<Self, StartError> {
        let mut named = [None; SNAPSHOTS_MAX];
        for (place, entry) in named.iter_mut().zip(index.snapshots()) {
            *place = Some((entry, files.open(&entry.name().file_name())?));
        }
        Ok(Self {
            file: SnapshotFileWriter::new()?,
            step: Step::Nothing,
            stored: 0,
            fetched: 0,
            makes_way: false,
            named,
            is_changed: true,
            tokens: TokenSource::new(OWNER_SNAPSHOT_STORE),
            dropped: None,
            removing: None,
            #[cfg(feature = "sim")]
            is_named_early: false,
        })
    }

    /// Breaks `log.md` 8.4 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub const fn name_early(&mut self) {
        self.is_named_early = true;
    }

    /// Begins the file of one that is taken at `position`, in leadership term `term`.
    pub fn begin(&mut self, position: Position, term: LeadershipTermId) {
        self.file.begin(SegmentName {
            recording_id: SNAPSHOT_RECORDING_ID,
            position,
        });
        self.step = Step::Filling(position, term);
    }

    /// The one that was begun is stored at this rate at most, in bytes per second.
    pub const fn limit_rate(&mut self, bytes_per_second: u64) {
        self.file.limit_rate(bytes_per_second);
    }

    /// When it goes on by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.file.next_deadline()
    }

    /// Whether one may be begun.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_free = matches!(
            self.file.state(),
            SnapshotFileState::Idle | SnapshotFileState::Durable { .. }
        );
        self.step == Step::Nothing && is_free
    }

    /// Whether one is being stored.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        !matches!(self.step, Step::Nothing | Step::Stored)
    }

    /// Has `begin` begin the file of one that comes from another member, if one may be begun.
    /// Returns whether it did.
    pub fn begin_fetched(&mut self, begin: impl FnOnce(&mut SnapshotFileWriter) -> bool) -> bool {
        let has_begun = self.is_idle() && begin(&mut self.file);
        if has_begun {
            self.step = Step::Fetching;
        }
        has_begun
    }

    /// The file of one that comes from another member, while one does.
    pub fn fetched_file(&mut self) -> Option<&mut SnapshotFileWriter> {
        (self.step == Step::Fetching).then_some(&mut self.file)
    }

    /// All of the one from another member is there and durable, and is what it is to be.
    pub fn name_fetched(&mut self, entry: SnapshotEntry) {
        if self.step == Step::Fetching {
            self.step = Step::Ending(entry, false);
        }
    }

    /// The same of one that is to stand for the log below, which is not here: the next start goes
    /// on from it, whatever there is of that log.
    pub fn name_replacement(&mut self, entry: SnapshotEntry) {
        if self.step == Step::Fetching {
            self.step = Step::Ending(entry, true);
        }
    }

    /// Where the one was taken that comes from another member and is on its way to the index.
    pub fn fetched_under_way(&self) -> Option<Position> {
        match self.step {
            Step::Ending(entry, _) | Step::Indexing(entry) => {
                is_fetched(&entry).then_some(entry.position)
            }
            Step::Nothing | Step::Filling(..) | Step::Fetching | Step::Stored => None,
        }
    }

    /// No further bytes come from another member, and what came is of no use.
    pub fn give_up_fetched(&mut self) {
        if self.step == Step::Fetching {
            self.file.abandon();
            self.step = Step::Nothing;
        }
    }

    /// One is to be taken here: whatever comes from another member is given up, unless it is on its
    /// way to the index. Returns whether there is nothing of it left to wait for.
    pub fn make_way(&mut self) -> bool {
        if self.step == Step::Fetching || self.fetched_under_way().is_some() {
            sometimes(Mark::SnapshotMakesWay);
            self.makes_way = true;
        }
        self.give_up_fetched();
        self.makes_way &= !self.is_idle();
        !self.makes_way
    }

    /// The one at `position` is of no use: the index is to name it no more, and its file goes.
    /// Nothing changes where a log would be left without the snapshot that it follows from, nor
    /// while another one is seen to.
    pub fn strike(&mut self, position: Position, index: &mut SnapshotIndexFile) {
        let before = *index.wanted();
        let after = before.without(position);
        let newest = after.snapshots().next().map_or(0, |newest| newest.position);
        let is_free = self.is_idle() && self.dropped.is_none() && index.is_settled();
        if is_free && after.log_start().position <= newest {
            index.want(after);
            self.dropped = dropped(&before, &after);
        }
    }

    /// What the index names and where that lies, if the index has become another one since this
    /// was last asked. Nothing that it names no more is removed before.
    pub fn take_change(&mut self) -> Option<[Option<(SnapshotEntry, FileId)>; SNAPSHOTS_MAX]> {
        std::mem::take(&mut self.is_changed).then_some(self.named)
    }

    /// Takes the next bytes of it, as many as there is room for, and says how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.file.push(bytes)
    }

    /// All its bytes have come.
    pub fn finish(&mut self, summary: &SnapshotSummary) {
        if let Step::Filling(position, term) = self.step {
            self.file.finish();
            let entry = SnapshotEntry {
                position,
                term,
                recording_id: SNAPSHOT_RECORDING_ID as u32,
                length: summary.length,
                hash: summary.hash,
            };
            self.step = Step::Ending(entry, false);
        }
    }

    /// The one that is taken here is given up, if its entry is not on its way to the index. What
    /// comes from another member goes on, and what is there stays.
    pub fn abandon(&mut self) {
        let is_own = match self.step {
            Step::Filling(..) => true,
            Step::Ending(entry, _) => !is_fetched(&entry),
            Step::Nothing | Step::Fetching | Step::Indexing(_) | Step::Stored => false,
        };
        if is_own {
            self.file.abandon();
            self.step = Step::Nothing;
        }
    }

    /// How far it is.
    pub fn outcome(&mut self) -> SnapshotOutcome<'_> {
        if self.step == Step::Stored {
            self.step = Step::Nothing;
            return SnapshotOutcome::Stored;
        }
        match self.file.state() {
            SnapshotFileState::Failed(error) => SnapshotOutcome::Failed(error),
            _ => SnapshotOutcome::UnderWay,
        }
    }

    /// Starts what is due, and asks for the entry once the file is there to stay.
    pub fn do_work(
        &mut self,
        now: Nanos,
        disk: &mut impl Disk,
        index: &mut SnapshotIndexFile,
    ) -> usize {
        let work = self.file.do_work(now, disk);
        if let Step::Ending(entry, replaces_log) = self.step
            && self.dropped.is_none()
            && self.is_nameable()
        {
            let before = *index.wanted();
            let mut after = before.with_newest(entry);
            if replaces_log {
                after = after.lacking(entry.position);
            }
            index.want(after);
            self.dropped = dropped(&before, &after);
            self.step = Step::Indexing(entry);
            return work + 1;
        }
        work + self.remove_dropped(now, disk)
    }

    /// What of the disk the snapshots take, with as much as there is of one that is being written.
    pub(super) fn taken(&self, index: &SnapshotIndex) -> u64 {
        self.stored_length(index) + file_length(self.written())
    }

    /// The same when the one that is being written, or the next one, is there.
    pub(super) fn room(&self, index: &SnapshotIndex) -> u64 {
        let next = file_length(self.written().max(Self::expected(index)));
        self.stored_length(index).saturating_add(next)
    }

    /// So long the next one is expected to be: an eighth longer than the newest at most.
    pub(super) fn expected(index: &SnapshotIndex) -> u64 {
        let newest = index.snapshots().next().map_or(0, |entry| entry.length);
        newest.saturating_add(newest / 8)
    }

    /// Whether the file of one grows.
    pub(super) const fn is_filling(&self) -> bool {
        matches!(
            self.step,
            Step::Filling(..) | Step::Fetching | Step::Ending(..)
        )
    }

    /// What those take that are there.
    pub(super) fn stored_length(&self, index: &SnapshotIndex) -> u64 {
        let stored = index.snapshots().chain(self.dropped);
        let lengths = stored.map(|entry| file_length(entry.length));
        lengths.fold(0, u64::saturating_add)
    }

    fn written(&self) -> u64 {
        if self.is_filling() {
            self.file.taken()
        } else {
            0
        }
    }

    /// Lets the older of two go, for there is no room for a third. Returns whether there is one.
    pub(super) fn drop_older(&mut self, index: &mut SnapshotIndexFile) -> bool {
        let before = *index.wanted();
        let Some(older) = before.snapshots().nth(1).filter(|_| self.dropped.is_none()) else {
            return false;
        };
        sometimes(Mark::SnapshotDropped);
        index.want(before.without(older.position));
        self.dropped = Some(older);
        true
    }

    /// Removes the one that is out of date. While the disk has no room for that no other becomes
    /// so: the newest waits for its entry.
    fn remove_dropped(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        let Some(dropped) = self.dropped else {
            return 0;
        };
        let mut named = self.named.iter().flatten();
        let is_named = named.any(|(entry, _)| *entry == dropped);
        if self.removing.is_some() || is_named || self.is_changed {
            return 0;
        }
        let name = dropped.name();
        let token = self.tokens.next_token();
        if disk.submit(now, DiskOp::Remove { token, name }).is_err() {
            return 0;
        }
        sometimes(Mark::SnapshotRemoved);
        self.removing = Some(token);
        self.dropped = None;
        1
    }

    /// Whether the one whose bytes have all come is there to stay.
    fn is_nameable(&self) -> bool {
        #[cfg(feature = "sim")]
        if self.is_named_early {
            return true;
        }
        matches!(self.file.state(), SnapshotFileState::Durable { .. })
    }

    /// Takes a completion; `false` when it is not of a snapshot's file.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        // What came of a removal makes no difference: a file that is still there is named by
        // nothing, and the next start removes it.
        if self
            .removing
            .take_if(|token| *token == completion.token)
            .is_some()
        {
            return true;
        }
        self.file.on_completion(completion)
    }

    /// The index is durable like this.
    pub fn on_index(&mut self, durable: &SnapshotIndex) {
        if let Step::Indexing(entry) = self.step
            && durable.snapshots().any(|named| named == entry)
        {
            if is_fetched(&entry) {
                sometimes(Mark::SnapshotFetched);
                self.fetched += 1;
                self.step = Step::Nothing;
            } else {
                self.stored += 1;
                self.step = Step::Stored;
            }
            let newest = self.file.file().map(|file| (entry, file));
            let mut named = newest.into_iter().chain(self.named.into_iter().flatten());
            self.named = core::array::from_fn(|_| named.next());
        }
        for place in &mut self.named {
            place.take_if(|(entry, _)| durable.snapshots().all(|named| named != *entry));
        }
        self.is_changed = true;
    }

    /// How many that were taken here have been stored since the start.
    pub const fn stored(&self) -> i64 {
        self.stored
    }

    /// How many that came from another member have been.
    pub const fn fetched(&self) -> i64 {
        self.fetched
    }
}

/// Whether it came from another member.
pub(crate) fn is_fetched(entry: &SnapshotEntry) -> bool {
    i64::from(entry.recording_id) == RECEIVED_RECORDING_ID
}

/// The one that `after` names no more: there is one at most, for one has come or has been struck.
fn dropped(before: &SnapshotIndex, after: &SnapshotIndex) -> Option<SnapshotEntry> {
    let is_kept = |entry: &SnapshotEntry| after.snapshots().any(|kept| kept == *entry);
    before.snapshots().find(|entry| !is_kept(entry))
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
