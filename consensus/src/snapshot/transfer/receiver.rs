//! Gets a snapshot that other members have into a file here, and says when it is whole, checked and
//! durable: then it may be named in the index, and not before.
//!
//! It asks one member after the other: who refuses or is silent is let alone for a while, and what
//! is here stays, unless a newer one can be had meanwhile. Where the bytes of all that came are not
//! what the snapshot's name says, all of it goes, and who sent its end is not asked for long. It
//! decides neither whether a snapshot is needed nor what becomes of it.

use lockstep_archive::disk::{DiskError, SegmentName};
use lockstep_archive::snapshot_file::writer::{SnapshotFileState, SnapshotFileWriter};
use lockstep_service::snapshot::{StreamCheck, first_section, first_section_end};
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use super::fetch::{ChunkOutcome, FetchConfig, FetchCounters, FetchState, SnapshotFetch};
use super::offers::{SnapshotOffers, Wanted};
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::protocol::snapshot_message::{
    SnapshotChunk, SnapshotId, SnapshotOffer, SnapshotRefusal, SnapshotRequest,
};
use crate::snapshot::header::SnapshotHeader;

/// Recording of the file of a snapshot while it comes from another member.
pub const RECEIVED_RECORDING_ID: i64 = 2;

/// Who refused or was silent is let alone for so long: as long as a restart takes.
const PAUSE_NS: Nanos = 10 * SECOND;

/// Who sent something else than it said is let alone for so long.
const DISTRUST_NS: Nanos = 60 * SECOND;

/// Without anybody to go on with for so long, what is here is given up.
pub const LOST_NS: Nanos = 60 * SECOND;

/// Bytes of a snapshot that are kept as they come by: they say what it is of.
const BEGINNING_LENGTH: usize = first_section_end(SnapshotHeader::SECTION, SnapshotHeader::LENGTH);

/// Snapshots that are remembered because they are of no use, however whole: two of each of two
/// other histories. Where there are more, one is fetched in vain once again.
const REJECTED_MAX: usize = 4;

/// Interval at which somebody to go on with is looked for.
const LOOK_NS: Nanos = SECOND / 2;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverState {
    /// Nothing is received.
    Idle,
    /// This one is.
    Receiving {
        /// Which one.
        offer: SnapshotOffer,
        /// Bytes of it that are in the file's hands.
        received: u64,
    },
    /// It is whole, is what its name says, and is durable.
    Received(SnapshotOffer),
}

/// What went wrong, to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverTrouble {
    /// This member cannot give it.
    Refused(MemberId, SnapshotRefusal),
    /// This member does not answer.
    Silent(MemberId),
    /// What came, its end from this member, is not what the name says: all of it goes.
    OtherBytes(MemberId),
    /// Nobody has it any more: what is here goes.
    Lost,
    /// It cannot be stored.
    Disk(DiskError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Fetching,
    /// Nobody is asked, since then; the next look for somebody comes at the second time.
    Stuck(Nanos, Nanos),
    /// All of it is in the file's hands.
    Ending,
    Received,
}

/// See the module.
#[derive(Debug)]
pub struct SnapshotReceiver {
    fetch: SnapshotFetch,
    check: StreamCheck,
    step: Step,
    offer: SnapshotOffer,
    /// Its first bytes, as far as they came.
    beginning: [u8; BEGINNING_LENGTH],
    begun: usize,
    /// Not to be fetched, the one that was found last at the place that the next one takes.
    rejected: [SnapshotId; REJECTED_MAX],
    next_rejected: usize,
    /// Not to be asked before then.
    let_alone: [Nanos; MEMBERS_MAX],
    trouble: Option<ReceiverTrouble>,
    #[cfg(feature = "sim")]
    checks_nothing: bool,
}

impl SnapshotReceiver {
    /// Receives nothing yet.
    #[must_use]
    pub fn new(config: FetchConfig) -> Self {
        Self {
            fetch: SnapshotFetch::new(config),
            check: StreamCheck::new(0),
            step: Step::Idle,
            offer: SnapshotOffer::default(),
            beginning: [0; BEGINNING_LENGTH],
            begun: 0,
            rejected: [SnapshotId::default(); REJECTED_MAX],
            next_rejected: 0,
            let_alone: [Nanos::MIN; MEMBERS_MAX],
            trouble: None,
            #[cfg(feature = "sim")]
            checks_nothing: false,
        }
    }

    /// Breaks `log.md` 8.7 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn check_nothing(&mut self) {
        self.checks_nothing = true;
    }

    /// How far it is.
    #[must_use]
    pub const fn state(&self) -> ReceiverState {
        match self.step {
            Step::Idle => ReceiverState::Idle,
            Step::Received => ReceiverState::Received(self.offer),
            Step::Fetching | Step::Stuck(..) | Step::Ending => ReceiverState::Receiving {
                offer: self.offer,
                received: self.fetch.delivered(),
            },
        }
    }

    /// Who is asked for it, or was asked last.
    #[cfg(feature = "sim")]
    pub(crate) const fn from(&self) -> MemberId {
        self.fetch.from()
    }

    /// What has come and gone over the network since it was made.
    #[must_use]
    pub const fn counters(&self) -> FetchCounters {
        self.fetch.counters()
    }

    /// Name of the file that the snapshot at `position` is received in.
    #[must_use]
    pub const fn file_name(position: Position) -> SegmentName {
        SegmentName {
            recording_id: RECEIVED_RECORDING_ID,
            position,
        }
    }

    /// What the snapshot is of that is received, or was last; `None` as long as that has not come,
    /// and where it says nothing of the kind.
    pub(crate) fn header(&self) -> Option<SnapshotHeader> {
        let section = first_section(&self.beginning[..self.begun], SnapshotHeader::SECTION)?;
        SnapshotHeader::decode(section.try_into().ok()?)
    }

    /// Whether what is fetched is waited for: then it is asked for faster.
    pub(crate) const fn hurry(&mut self, is_hurried: bool) {
        self.fetch.hurry(is_hurried);
    }

    /// The one that was received is of no use: it is not fetched again.
    pub(crate) const fn reject(&mut self) {
        self.rejected[self.next_rejected] = self.offer.id;
        self.next_rejected = (self.next_rejected + 1) % REJECTED_MAX;
    }

    /// Begins with the newest snapshot of those `wanted` that somebody has, if anybody does and
    /// nothing is received now. `writer` may have no file that is not durable.
    pub fn begin(
        &mut self,
        now: Nanos,
        wanted: &Wanted,
        offers: &SnapshotOffers,
        writer: &mut SnapshotFileWriter,
    ) -> bool {
        let is_free = matches!(
            writer.state(),
            SnapshotFileState::Idle | SnapshotFileState::Durable { .. }
        );
        if !matches!(self.step, Step::Idle | Step::Received) || !is_free {
            return false;
        }
        let found = offers.newest(now, wanted, |member, id| {
            self.may_ask(now, member) && !self.rejected.contains(&id)
        });
        let Some((member, offer)) = found else {
            return false;
        };
        self.offer = offer;
        self.check = StreamCheck::new(offer.id.length);
        self.begun = 0;
        writer.begin(Self::file_name(offer.id.position));
        self.fetch.begin(now, member, offer.id, 0);
        self.step = Step::Fetching;
        true
    }

    /// Gives up what is being received. One that was received is somebody else's by now.
    pub fn stop(&mut self, writer: &mut SnapshotFileWriter) {
        if !matches!(self.step, Step::Idle | Step::Received) {
            writer.abandon();
        }
        self.fetch.stop();
        self.step = Step::Idle;
    }

    /// The one that is being received, or was last.
    pub(crate) const fn id(&self) -> SnapshotId {
        self.offer.id
    }

    /// Its file is somebody else's by now: nothing is received.
    pub(crate) fn forget(&mut self) {
        self.fetch.stop();
        self.step = Step::Idle;
    }

    /// Moves what has come on, and goes on asking. Whoever has the file gives it its turn. Returns
    /// how much was done.
    pub fn do_work(
        &mut self,
        now: Nanos,
        offers: &SnapshotOffers,
        writer: &mut SnapshotFileWriter,
    ) -> usize {
        if matches!(self.step, Step::Idle | Step::Received) {
            return 0;
        }
        if let SnapshotFileState::Failed(error) = writer.state() {
            self.trouble = Some(ReceiverTrouble::Disk(error.clone()));
            self.stop(writer);
            return 1;
        }
        let (check, beginning, begun) = (&mut self.check, &mut self.beginning, &mut self.begun);
        let mut work = self.fetch.deliver(|bytes| {
            let taken = writer.push(bytes);
            check.push(&bytes[..taken]);
            let kept = taken.min(BEGINNING_LENGTH - *begun);
            beginning[*begun..*begun + kept].copy_from_slice(&bytes[..kept]);
            *begun += kept;
            taken
        });
        match self.step {
            // Also where who was asked last has fallen silent since.
            Step::Fetching | Step::Stuck(..) if self.fetch.state() == FetchState::Complete => {
                self.end(now, writer);
            }
            Step::Fetching => self.watch_fetch(now),
            Step::Stuck(since, next) if now >= next => self.look(now, since, offers, writer),
            Step::Ending if matches!(writer.state(), SnapshotFileState::Durable { .. }) => {
                self.step = Step::Received;
                work += 1;
            }
            _ => {}
        }
        work
    }

    /// The next request that is due and whom it is for. To be called until there is none.
    pub fn poll_request(&mut self, now: Nanos) -> Option<(MemberId, SnapshotRequest)> {
        let request = self.fetch.poll_request(now)?;
        Some((self.fetch.from(), request))
    }

    /// A chunk has come.
    pub fn on_chunk(
        &mut self,
        now: Nanos,
        from: MemberId,
        chunk: &SnapshotChunk,
        bytes: &[u8],
    ) -> ChunkOutcome {
        self.fetch.on_chunk(now, from, chunk, bytes)
    }

    /// A member says that it cannot give a snapshot. Whether that was of interest.
    pub fn on_refused(&mut self, from: MemberId, id: SnapshotId, refusal: SnapshotRefusal) -> bool {
        self.fetch.on_refused(from, id, refusal)
    }

    /// What went wrong since the last call, the last of it.
    pub const fn take_trouble(&mut self) -> Option<ReceiverTrouble> {
        self.trouble.take()
    }

    /// When there is something to do although nothing comes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        match self.step {
            Step::Fetching => self.fetch.next_deadline(),
            Step::Stuck(_, next) => Some(next),
            Step::Idle | Step::Ending | Step::Received => None,
        }
    }

    fn may_ask(&self, now: Nanos, member: MemberId) -> bool {
        self.let_alone[usize::from(member)] <= now
    }

    fn watch_fetch(&mut self, now: Nanos) {
        let from = self.fetch.from();
        let trouble = match self.fetch.state() {
            FetchState::Refused(refusal) => ReceiverTrouble::Refused(from, refusal),
            FetchState::Silent => ReceiverTrouble::Silent(from),
            FetchState::Idle | FetchState::Fetching | FetchState::Complete => return,
        };
        self.trouble = Some(trouble);
        self.let_alone[usize::from(from)] = now + PAUSE_NS;
        self.step = Step::Stuck(now, now);
    }

    /// Goes on with somebody who has the same, if anybody does; where nobody does who can be asked,
    /// and somebody has a newer one, nothing is waited for.
    fn look(
        &mut self,
        now: Nanos,
        since: Nanos,
        offers: &SnapshotOffers,
        writer: &mut SnapshotFileWriter,
    ) {
        let id = self.offer.id;
        if let Some(member) = offers.holder(now, id, |member| self.may_ask(now, member)) {
            self.fetch.ask(now, member);
            self.step = Step::Fetching;
        } else if self.is_overtaken(now, offers) {
            self.stop(writer);
        } else if now - since >= LOST_NS {
            self.trouble = Some(ReceiverTrouble::Lost);
            self.stop(writer);
        } else {
            self.step = Step::Stuck(since, now + LOOK_NS);
        }
    }

    /// Whether a newer one can be had at once.
    fn is_overtaken(&self, now: Nanos, offers: &SnapshotOffers) -> bool {
        let newer = Wanted::above(self.offer.id.position);
        let may_ask = |member, id| self.may_ask(now, member) && !self.rejected.contains(&id);
        offers.newest(now, &newer, may_ask).is_some()
    }

    /// All of it has come.
    fn end(&mut self, now: Nanos, writer: &mut SnapshotFileWriter) {
        let is_right = self.check.finish() == Some(self.offer.id.hash);
        #[cfg(feature = "sim")]
        let is_right = is_right || self.checks_nothing;
        if is_right {
            writer.finish();
            self.step = Step::Ending;
            return;
        }
        let from = self.fetch.from();
        self.trouble = Some(ReceiverTrouble::OtherBytes(from));
        self.let_alone[usize::from(from)] = now + DISTRUST_NS;
        self.stop(writer);
    }
}
