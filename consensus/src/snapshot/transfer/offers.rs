//! Which snapshots the other members have, as they said lately, and whom to ask for one.
//!
//! Members tell it again and again; what is not told again is forgotten. Two that took a snapshot
//! at the same position have the same bytes, or one of them has gone another way. Who fetched one
//! has the bytes of whoever it was fetched from, and says nothing about that.

use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::protocol::snapshot_message::{
    SNAPSHOT_OFFERS_MAX, SnapshotId, SnapshotOffer, SnapshotStatus,
};

/// What was told counts for so long: many times the interval at which it is told.
pub const TOLD_NS: Nanos = 5 * SECOND;

/// Members that took the same snapshot and are enough to say that another one is wrong: a single
/// one is not.
const WITNESSES_MIN: usize = 2;

/// Which snapshots are of use to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Taken above this position,
    pub above: Position,
    /// and here or below,
    pub up_to: Position,
    /// and told of for so long,
    pub told_for: Nanos,
    /// or taken by two: enough for who takes none itself, and has nothing to wait for.
    pub or_witnessed: bool,
}

impl Wanted {
    /// All above a position.
    #[must_use]
    pub const fn above(position: Position) -> Self {
        Self {
            above: position,
            up_to: Position::MAX,
            told_for: 0,
            or_witnessed: false,
        }
    }

    /// Whether one that was taken at `position` is of use.
    #[must_use]
    pub(crate) const fn is_one(&self, position: Position) -> bool {
        position > self.above && position <= self.up_to
    }
}

/// What others say of a snapshot that this member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Nobody has another one at its position.
    Alike,
    /// This member has another one there, and which of them is right no majority says.
    Contested(MemberId),
    /// Most of those who took one there have the same, this member among them, and it is another
    /// one.
    Outvoted(MemberId, SnapshotId),
}

#[derive(Clone, Copy, Debug)]
struct Told {
    at: Nanos,
    status: SnapshotStatus,
    /// Since when the member has told of each of its snapshots.
    since: [Nanos; SNAPSHOT_OFFERS_MAX],
}

/// A snapshot, who has it, and since when that is known.
type Offered = (MemberId, SnapshotOffer, Nanos);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct SnapshotOffers {
    told: [Option<Told>; MEMBERS_MAX],
}

impl SnapshotOffers {
    /// A member says what it has.
    pub fn hear(&mut self, now: Nanos, from: MemberId, status: SnapshotStatus) {
        let mut since = [now; SNAPSHOT_OFFERS_MAX];
        for (offer, since) in status.offers.iter().flatten().zip(&mut since) {
            let mut known = self.offers(now);
            if let Some((.., known)) = known.find(|known| (known.0, known.1.id) == (from, offer.id))
            {
                *since = known;
            }
        }
        if let Some(told) = self.told.get_mut(usize::from(from)) {
            *told = Some(Told {
                at: now,
                status,
                since,
            });
        }
    }

    /// What these members said, a bit each, counts no more.
    pub fn forget(&mut self, members: u8) {
        for (member, told) in self.told.iter_mut().enumerate() {
            told.take_if(|_| members >> member & 1 == 1);
        }
    }

    /// The newest wanted snapshot that somebody has whom `may_ask` lets be asked for it, and who
    /// that is. Where members took different ones at a position, the one that most took is it, and
    /// none is where that is not said.
    #[must_use]
    pub fn newest(
        &self,
        now: Nanos,
        wanted: &Wanted,
        may_ask: impl Fn(MemberId, SnapshotId) -> bool,
    ) -> Option<(MemberId, SnapshotOffer)> {
        let is_wanted = |(member, offer, since): &Offered| {
            let id = offer.id;
            wanted.is_one(id.position)
                && (now - since >= wanted.told_for
                    || wanted.or_witnessed && self.is_witnessed(now, id))
                && may_ask(*member, id)
                && self.agreed(now, id.position) == Some(id)
        };
        let found = self.offers(now).filter(is_wanted);
        // Of equals the last counts: the one of the lowest number is to be it.
        let lowest = |member: MemberId| MEMBERS_MAX - usize::from(member);
        let newest = found.max_by_key(|(member, offer, _)| (offer.id.position, lowest(*member)));
        newest.map(|(member, offer, _)| (member, offer))
    }

    /// Somebody who has this very snapshot and whom `may_ask` lets be asked.
    #[must_use]
    pub fn holder(
        &self,
        now: Nanos,
        id: SnapshotId,
        may_ask: impl Fn(MemberId) -> bool,
    ) -> Option<MemberId> {
        let mut offers = self.offers(now);
        let found = offers.find(|(member, offer, _)| offer.id == id && may_ask(*member));
        found.map(|(member, ..)| member)
    }

    /// What others have where this member has `own`.
    #[must_use]
    pub fn compare(&self, now: Nanos, own: &SnapshotOffer) -> Comparison {
        let others = || self.offers(now).filter(|(_, offer, _)| is_at(own, offer));
        let Some((member, ..)) = others().find(|(_, offer, _)| offer.id != own.id) else {
            return Comparison::Alike;
        };
        let takers = others().filter(|(_, offer, _)| !offer.is_copy);
        let took = takers.clone().count() + usize::from(!own.is_copy);
        for (member, other, _) in takers.clone() {
            let same = takers.clone().filter(|(_, offer, _)| offer.id == other.id);
            let same = same.count();
            if other.id != own.id && same >= WITNESSES_MIN && 2 * same > took {
                return Comparison::Outvoted(member, other.id);
            }
        }
        Comparison::Contested(member)
    }

    /// Two members that have different snapshots at one position.
    #[must_use]
    pub fn differing(&self, now: Nanos) -> Option<(Position, [MemberId; 2])> {
        for (one, first, _) in self.offers(now) {
            let mut offers = self.offers(now);
            let is_other =
                |(_, second, _): &Offered| is_at(&first, second) && second.id != first.id;
            if let Some((two, ..)) = offers.find(is_other) {
                return Some((first.id.position, [one, two]));
            }
        }
        None
    }

    /// Where the log of a member begins, if it said so lately.
    #[must_use]
    pub fn log_start(&self, now: Nanos, member: MemberId) -> Option<Position> {
        let told = (*self.told.get(usize::from(member))?)?;
        (now - told.at < TOLD_NS).then_some(told.status.log_start)
    }

    /// The one snapshot at `position` that others took, or most of them; if nobody tells any more
    /// what it took there, the one that all have who fetched it.
    fn agreed(&self, now: Nanos, position: Position) -> Option<SnapshotId> {
        let at = |is_copy| {
            let offers = self.offers(now);
            let is_there = move |(_, offer, _): &Offered| {
                offer.id.position == position && offer.is_copy == is_copy
            };
            offers.filter(is_there).map(|(_, offer, _)| offer.id)
        };
        let is_copy = at(false).next().is_none();
        let count = at(is_copy).count();
        at(is_copy).find(|id| 2 * at(is_copy).filter(|other| other == id).count() > count)
    }

    /// Whether two took this very snapshot.
    fn is_witnessed(&self, now: Nanos, id: SnapshotId) -> bool {
        let offers = self.offers(now);
        let taken = offers.filter(|(_, offer, _)| offer.id == id && !offer.is_copy);
        taken.count() >= WITNESSES_MIN
    }

    /// What everybody has, by member.
    fn offers(&self, now: Nanos) -> impl Iterator<Item = Offered> + Clone + '_ {
        let told = self.told.iter().enumerate();
        let lately = told.filter_map(move |(member, told)| {
            let told = (*told)?;
            (now - told.at < TOLD_NS).then_some((member as MemberId, told))
        });
        lately.flat_map(|(member, told)| {
            let offers = told.status.offers.into_iter().zip(told.since);
            offers.filter_map(move |(offer, since)| Some((member, offer?, since)))
        })
    }
}

/// Whether they are of the same place in the same log.
fn is_at(one: &SnapshotOffer, other: &SnapshotOffer) -> bool {
    one.id.position == other.id.position && one.term == other.term
}
