//! Which snapshots the other members have, as they said lately, and whom to ask for one.
//!
//! Members tell it again and again; what is not told again is forgotten. Two that took a snapshot
//! at the same position have the same bytes, or one of them has gone another way: whoever has one
//! too is told whose differs.

use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::protocol::snapshot_message::{SnapshotId, SnapshotOffer, SnapshotStatus};

/// What was told counts for so long: many times the interval at which it is told.
pub const TOLD_NS: Nanos = 5 * SECOND;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct SnapshotOffers {
    told: [Option<(Nanos, SnapshotStatus)>; MEMBERS_MAX],
}

impl SnapshotOffers {
    /// A member says what it has.
    pub fn hear(&mut self, now: Nanos, from: MemberId, status: SnapshotStatus) {
        if let Some(told) = self.told.get_mut(usize::from(from)) {
            *told = Some((now, status));
        }
    }

    /// The newest snapshot above `floor` that somebody has whom `may_ask` lets be asked, and who
    /// that is. Of several at one position, the one that most have.
    #[must_use]
    pub fn newest(
        &self,
        now: Nanos,
        floor: Position,
        may_ask: impl Fn(MemberId) -> bool,
    ) -> Option<(MemberId, SnapshotOffer)> {
        let askable = self.offers(now).filter(|(member, _)| may_ask(*member));
        let above = askable.filter(|(_, offer)| offer.id.position > floor);
        let holders = |id: SnapshotId| self.offers(now).filter(|(_, offer)| offer.id == id).count();
        // Of equals the last counts: the one of the lowest number is to be it.
        let lowest = |member: MemberId| MEMBERS_MAX - usize::from(member);
        above.max_by_key(|(member, offer)| {
            let id = offer.id;
            (id.position, holders(id), id.hash, lowest(*member))
        })
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
        let found = offers.find(|(member, offer)| offer.id == id && may_ask(*member));
        found.map(|(member, _)| member)
    }

    /// A member whose snapshot at the position of `own` is another one, and which that is.
    #[must_use]
    pub fn differing(&self, now: Nanos, own: SnapshotId) -> Option<(MemberId, SnapshotId)> {
        let mut ids = self.offers(now).map(|(member, offer)| (member, offer.id));
        ids.find(|(_, id)| id.position == own.position && *id != own)
    }

    /// Where the log of a member begins, if it said so lately.
    #[must_use]
    pub fn log_start(&self, now: Nanos, member: MemberId) -> Option<Position> {
        let (at, status) = (*self.told.get(usize::from(member))?)?;
        (now - at < TOLD_NS).then_some(status.log_start)
    }

    /// What everybody has, by member.
    fn offers(&self, now: Nanos) -> impl Iterator<Item = (MemberId, SnapshotOffer)> + '_ {
        let told = self.told.iter().enumerate();
        let lately = told.filter_map(move |(member, told)| {
            let (at, status) = (*told)?;
            (now - at < TOLD_NS).then_some((member as MemberId, status))
        });
        lately.flat_map(|(member, status)| {
            let offers = status.offers.into_iter().flatten();
            offers.map(move |offer| (member, offer))
        })
    }
}
