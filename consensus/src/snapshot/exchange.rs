//! What a member has to do with the snapshots of others: it tells them what it has, gives it to
//! whoever asks, compares what they have with its own, and fetches what it lacks (`log.md` 8.7).
//!
//! Here is what is known and decided; messages, the disk and the log are the owner's. Allocates
//! nothing once it is made.

use std::io;

use lockstep_archive::disk::{Completion, FileId};
use lockstep_archive::files::snapshot_index::{SNAPSHOTS_MAX, SnapshotEntry};
use lockstep_archive::log::log_reader::LogReader;
use lockstep_archive::log::log_view::LogView;
use lockstep_archive::snapshot_file::writer::SnapshotFileWriter;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::time::{Nanos, SECOND};

use crate::log::chain_query::ChainQuery;
use crate::log::member_log::MemberLog;
use crate::log::snapshot_store::is_fetched;
use crate::module::event::{Event, LogHash};
use crate::module::formation::FormationRecord;
use crate::module::member::MemberId;
use crate::protocol::snapshot_message::{SnapshotId, SnapshotOffer, SnapshotStatus};
use crate::settings::cluster_limits::ClusterLimits;
use crate::snapshot::section_search::SectionSearch;
use crate::snapshot::transfer::fetch::FetchConfig;
use crate::snapshot::transfer::offers::{SnapshotOffers, Wanted};
use crate::snapshot::transfer::receiver::{RECEIVED_RECORDING_ID, ReceiverState, SnapshotReceiver};
use crate::snapshot::transfer::serve::{ServedSnapshot, SnapshotServe};

/// Election timeouts after which what others have is looked at again: half a second, by default,
/// for nothing is late by that, and the log of a leader does not run away in it.
const LOOK_TIMEOUTS: Nanos = 1;

/// Election timeouts after which a member tells again what it has.
const TELL_TIMEOUTS: Nanos = 2;

/// Election timeouts after which whoever takes a snapshot itself has done so, and needs no copy.
const COPY_TIMEOUTS: Nanos = 4;

/// Copies that are named, and the one that is on its way to the index.
const DOUBTED_MAX: usize = SNAPSHOTS_MAX + 1;

/// After one that came to nothing no other is begun for so long.
const PAUSE_NS: Nanos = 10 * SECOND;

/// What a snapshot that has come turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// That is not known yet.
    Open,
    /// It is of this log: it may be named.
    Good(SnapshotEntry),
    /// It stands for the log below: it may be named, and be started from.
    Replacement(SnapshotEntry),
    /// It is not needed any more.
    Unneeded,
    /// It is of another cluster or another log, or not of where it says.
    Foreign,
    /// The own log cannot be read where it was taken, or is gone there.
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SnapshotExchange {
    own: MemberId,
    election_timeout: Nanos,
    /// What the others have.
    pub offers: SnapshotOffers,
    /// Fetches.
    pub receiver: SnapshotReceiver,
    /// Gives.
    pub serve: SnapshotServe,
    /// Finds out in what the own one is wrong.
    pub search: SectionSearch,
    chain: ChainQuery,
    /// The chain hash of the own log at the position is asked for: it is to be this one.
    look: Option<(Position, u64)>,
    /// Where the one was taken that stands for the log from its name in the index on.
    replacing: Option<Position>,
    /// What this member has.
    named: [Option<SnapshotEntry>; SNAPSHOTS_MAX],
    /// Where copies were taken that may be of a member that has been outvoted since.
    doubted: [Option<Position>; DOUBTED_MAX],
    /// A member was outvoted that had agreed with the others up to here, and what is being stored
    /// was not looked at since.
    doubted_above: Option<Position>,
    next_tell: Nanos,
    next_look: Nanos,
    /// None is begun before.
    paused_until: Nanos,
    /// Where the log starts, as was told last.
    log_start: Position,
}

impl SnapshotExchange {
    /// Of member `own` of so many with this election timeout, whose reader of the log has this
    /// number.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn new(
        (own, members, election_timeout): (MemberId, usize, Nanos),
        config: FetchConfig,
        (geometry, reader): (Geometry, u16),
    ) -> io::Result<Self> {
        Ok(Self {
            own,
            election_timeout,
            offers: SnapshotOffers::default(),
            receiver: SnapshotReceiver::new(config),
            serve: SnapshotServe::new(members, config.chunk_length)?,
            search: SectionSearch::new(config.chunk_length),
            chain: ChainQuery::new(geometry, reader)?,
            look: None,
            replacing: None,
            named: [None; SNAPSHOTS_MAX],
            doubted: [None; DOUBTED_MAX],
            doubted_above: None,
            next_tell: Nanos::MIN,
            next_look: Nanos::MIN,
            paused_until: Nanos::MIN,
            log_start: 0,
        })
    }

    /// These are the snapshots that there are from now on, and where their files are. The others
    /// are to be told.
    pub fn set_snapshots(&mut self, named: [Option<(SnapshotEntry, FileId)>; SNAPSHOTS_MAX]) {
        self.named = named.map(|named| named.map(|(entry, _)| entry));
        self.serve.set_snapshots(named.map(|named| {
            let (entry, file) = named?;
            let id = id_of(&entry);
            Some(ServedSnapshot { id, file })
        }));
        self.next_tell = Nanos::MIN;
    }

    /// What this member has, newest first.
    pub fn own(&self) -> impl Iterator<Item = SnapshotOffer> + use<> {
        self.named
            .into_iter()
            .flatten()
            .map(|entry| offer_of(&entry))
    }

    /// A member is outvoted, whose service agreed with the others up to `position`: what was
    /// fetched of later may be of that one. Of `outvoted` members, a bit each, nothing is taken.
    pub fn doubt_copies_above(&mut self, position: Position, outvoted: u8) {
        self.offers.forget(outvoted);
        self.doubted_above = Some(position);
    }

    /// Whether there is something that may be of an outvoted member: looks at what is named, and at
    /// the one `under_way` to the index.
    pub fn take_doubt(&mut self, under_way: Option<Position>) -> bool {
        let Some(above) = self.doubted_above.take() else {
            return false;
        };
        let named = self.named.into_iter().flatten();
        let copies = named.filter(is_fetched).map(|entry| entry.position);
        let mut doubted = copies.chain(under_way).filter(|position| *position > above);
        self.doubted = core::array::from_fn(|_| doubted.next());
        true
    }

    /// Where the newest snapshot was taken that may be of a member that is outvoted, as long as
    /// there is one.
    pub fn doubted(&self) -> Option<Position> {
        let mut doubted = self.doubted.into_iter().flatten();
        doubted.find(|position| self.own().any(|offer| offer.id.position == *position))
    }

    /// What the others are to be told, where the log starts at `log_start`, if that is due.
    pub fn take_status(&mut self, now: Nanos, log_start: Position) -> Option<SnapshotStatus> {
        if now < self.next_tell && log_start == self.log_start {
            return None;
        }
        self.next_tell = now + TELL_TIMEOUTS * self.election_timeout;
        self.log_start = log_start;
        Some(SnapshotStatus {
            log_start,
            offers: self.named.map(|entry| entry.map(|entry| offer_of(&entry))),
        })
    }

    /// Whether it is time to look at what others have.
    pub fn take_look(&mut self, now: Nanos) -> bool {
        let is_due = now >= self.next_look;
        if is_due {
            self.next_look = now + LOOK_TIMEOUTS * self.election_timeout;
        }
        is_due
    }

    /// For so long a snapshot is told of before a copy of it is fetched.
    pub const fn copy_after(&self) -> Nanos {
        COPY_TIMEOUTS * self.election_timeout
    }

    /// Begins to fetch one of those `wanted`, if somebody has one.
    pub fn begin(&mut self, now: Nanos, wanted: &Wanted, file: &mut SnapshotFileWriter) -> bool {
        self.stop_looking();
        now >= self.paused_until && self.receiver.begin(now, wanted, &self.offers, file)
    }

    /// What is fetched is somebody else's by now, or is given up.
    pub fn forget(&mut self) {
        self.receiver.forget();
        self.stop_looking();
    }

    /// What was asked about the log is nothing of the next one.
    fn stop_looking(&mut self) {
        self.look = None;
        self.chain.reset();
    }

    /// What was fetched came to nothing: a while passes before anything is begun.
    pub fn pause(&mut self, now: Nanos) {
        self.paused_until = now + PAUSE_NS;
    }

    /// Goes on with looking at the one that has come whole: whether it is of cluster `cluster` and
    /// of this log, whose leadership term at its place is `term`. Returns how much was done, and
    /// what is known.
    pub fn look_at_received(
        &mut self,
        (cluster, term): (u128, Option<LeadershipTermId>),
        log: &MemberLog,
        view: LogView<'_>,
    ) -> (usize, Finding) {
        let ReceiverState::Received(offer) = self.receiver.state() else {
            return (0, Finding::Open);
        };
        if self.look.is_none() {
            let Some(header) = self.receiver.header() else {
                return (0, Finding::Foreign);
            };
            let is_of_this = header.at.position == offer.id.position
                && header.term.formation.cluster == cluster
                && header.term.term == offer.term
                && term == Some(offer.term);
            if !is_of_this {
                return (0, Finding::Foreign);
            }
            self.chain.ask(self.own, header.at.position);
            self.look = Some((header.at.position, header.at.hash));
        }
        let (has_moved, answer) = self.chain.do_work(log, view);
        let finding = match (self.look, answer) {
            (Some((_, expected)), Some(Event::LogHashed { hash, .. })) => match hash {
                LogHash::Is(hash) if hash == expected => Finding::Good(entry_of(&offer)),
                LogHash::Is(_) | LogHash::NoBoundary => Finding::Foreign,
                LogHash::Unreadable | LogHash::Gone => Finding::Unknown,
            },
            _ => Finding::Open,
        };
        (usize::from(has_moved), finding)
    }

    /// Looks at the one that has come whole, to stand for log that is not here: whether it is of
    /// the cluster with this record, and under these limits.
    pub fn look_at_replacement(
        &mut self,
        record: &FormationRecord,
        limits: &ClusterLimits,
    ) -> Finding {
        let ReceiverState::Received(offer) = self.receiver.state() else {
            return Finding::Open;
        };
        let is_right = self.receiver.header().is_some_and(|header| {
            header.at.position == offer.id.position
                && header.term.term == offer.term
                && header.term.formation == *record
                && header.term.limits == *limits
        });
        if !is_right {
            return Finding::Foreign;
        }
        self.replacing = Some(offer.id.position);
        Finding::Replacement(entry_of(&offer))
    }

    /// Where the one was taken that stands for the log, once it is named.
    pub fn replaced(&self) -> Option<Position> {
        let position = self.replacing?;
        let is_named = self.own().any(|offer| offer.id.position == position);
        is_named.then_some(position)
    }

    /// The log was truncated: what was read of it is read again.
    pub fn on_truncated(&mut self) {
        self.chain.reset();
        if let Some((position, _)) = self.look {
            self.chain.ask(self.own, position);
        }
    }

    /// The reader of the log, whose orders from disk are to be submitted after a look.
    pub const fn log_reader_mut(&mut self) -> &mut LogReader {
        self.chain.reader_mut()
    }

    /// Takes a completion; `false` when it is none of its readers'.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        self.serve.on_completion(completion) || self.chain.on_completion(completion)
    }

    /// When there is something to do although nothing comes.
    pub fn next_deadline(&self) -> Nanos {
        let others = [self.receiver.next_deadline(), self.serve.next_deadline()];
        let others = others.into_iter().flatten();
        others.fold(self.next_tell.min(self.next_look), Nanos::min)
    }
}

fn id_of(entry: &SnapshotEntry) -> SnapshotId {
    SnapshotId {
        position: entry.position,
        length: entry.length,
        hash: entry.hash,
    }
}

fn offer_of(entry: &SnapshotEntry) -> SnapshotOffer {
    SnapshotOffer {
        id: id_of(entry),
        term: entry.term,
        is_copy: is_fetched(entry),
    }
}

/// What the index says of one that was fetched.
fn entry_of(offer: &SnapshotOffer) -> SnapshotEntry {
    SnapshotEntry {
        position: offer.id.position,
        term: offer.term,
        recording_id: RECEIVED_RECORDING_ID as u32,
        length: offer.id.length,
        hash: offer.id.hash,
    }
}
