//! Which directories may be damaged, so that the cluster must survive it.
//!
//! At most a minority of the directories is damaged at a time, whatever the damage: so every
//! committed byte has a good copy, and the undamaged members can elect one of themselves. A rotten
//! directory leaves the list once it is repaired. One that was emptied, copied or put back from
//! an old state never counts again and stays on it; where it was is remembered with how far its
//! log reached, because what it acknowledged by then may yet be counted.
//!
//! What is kept out, because no rule promises anything for it: rot of what lies above the ack
//! mark on stable storage, which is at most 10 ms old (W2); an old state that the other members do
//! not all know to be outlived (`docs/operating.md`, Directories); a directory that rots while
//! others of a majority do. In a few runs directories may be emptied beyond that, all but one:
//! then the cluster may have to stand still, and must say so.

use lockstep_transport::position::Position;

use crate::member::LeadershipTermId;

/// A range of the log, from and to.
pub type LogRange = (Position, Position);

/// What happened to a directory.
#[derive(Clone, Debug, Default)]
struct Damage {
    /// How far its log was durable then: what it may have acknowledged.
    held: Position,
    /// It never counts again. It had taken part in no greater term than this.
    demoted_in: Option<LeadershipTermId>,
    /// A file other than the log was damaged, which the next start mends.
    is_slot_rotten: bool,
    /// Rotten ranges of the log that have not been seen repaired.
    ranges: Vec<LogRange>,
}

/// See the module.
#[derive(Debug)]
pub struct Atlas {
    damage: Vec<Option<Damage>>,
    may_lose_all: bool,
}

impl Atlas {
    /// For so many members, all of them whole. `may_lose_all`: directories may be emptied beyond
    /// what the cluster survives.
    #[must_use]
    pub fn new(members: usize, may_lose_all: bool) -> Self {
        Self {
            damage: vec![None; members],
            may_lose_all,
        }
    }

    fn minority(&self) -> usize {
        (self.damage.len() - 1) / 2
    }

    fn others_damaged(&self, id: usize) -> usize {
        let others = self.damage.iter().enumerate().filter(|(at, _)| *at != id);
        others.filter(|(_, damage)| damage.is_some()).count()
    }

    /// Whether the directory of `id` may rot. Not where more may be lost than the cluster survives:
    /// there it would have to say more than how many are left.
    #[must_use]
    pub fn may_rot(&self, id: usize) -> bool {
        !self.may_lose_all && !self.is_demoted(id) && self.others_damaged(id) < self.minority()
    }

    /// Whether the directory of `id` may be lost.
    #[must_use]
    pub fn may_lose(&self, id: usize) -> bool {
        let others = self.others_damaged(id);
        others < self.minority() || (self.may_lose_all && others + 1 < self.damage.len())
    }

    fn damage_of(&mut self, id: usize, held: Position) -> &mut Damage {
        let damage = self.damage[id].get_or_insert_default();
        damage.held = damage.held.max(held);
        damage
    }

    /// The log of `id`, which was durable up to `held`, is rotten at `range`.
    pub fn rot_log(&mut self, id: usize, held: Position, range: LogRange) {
        self.damage_of(id, held).ranges.push(range);
    }

    /// A small file of `id`, whose log was durable up to `held`, is rotten.
    pub fn rot_slot(&mut self, id: usize, held: Position) {
        self.damage_of(id, held).is_slot_rotten = true;
    }

    /// The directory of `id`, whose log was durable up to `held` and that had taken part in `term`,
    /// will never count again.
    pub fn demote(&mut self, id: usize, held: Position, term: LeadershipTermId) {
        if self.is_demoted(id) {
            return;
        }
        let damage = self.damage_of(id, held);
        damage.demoted_in = Some(term);
        damage.is_slot_rotten = false;
        damage.ranges.clear();
    }

    /// Whether the directory of `id` never counts again.
    #[must_use]
    pub fn is_demoted(&self, id: usize) -> bool {
        self.damage[id]
            .as_ref()
            .is_some_and(|d| d.demoted_in.is_some())
    }

    /// Whether the directory of `id` is damaged, and not for good.
    #[must_use]
    pub fn is_rotten(&self, id: usize) -> bool {
        self.damage[id]
            .as_ref()
            .is_some_and(|d| d.demoted_in.is_none())
    }

    /// How many directories never count again.
    #[must_use]
    pub fn demoted(&self) -> usize {
        (0..self.damage.len())
            .filter(|id| self.is_demoted(*id))
            .count()
    }

    /// Whether those that still count are no majority: the cluster must stand still.
    #[must_use]
    pub fn is_quorum_lost(&self) -> bool {
        self.demoted() > self.minority()
    }

    /// Whether `id` may have acknowledged the log up to `position` before it was damaged.
    #[must_use]
    pub fn may_have_held(&self, id: usize, position: Position) -> bool {
        let damage = self.damage[id].as_ref();
        damage.is_some_and(|damage| damage.held >= position)
    }

    /// Whether `id`, which never counts again, may have voted in `term` before.
    #[must_use]
    pub fn may_have_voted(&self, id: usize, term: LeadershipTermId) -> bool {
        let damage = self.damage[id].as_ref();
        damage.is_some_and(|damage| damage.demoted_in >= Some(term))
    }

    /// Ranges of the log of `id` that may be rotten.
    #[must_use]
    pub fn rotten_ranges(&self, id: usize) -> &[LogRange] {
        self.damage[id].as_ref().map_or(&[], |d| &d.ranges)
    }

    /// `id` has started on its directory: the small files are whole again.
    pub fn on_start(&mut self, id: usize) {
        if let Some(damage) = &mut self.damage[id] {
            damage.is_slot_rotten = false;
        }
        self.settle(id);
    }

    /// Forgets those of the rotten ranges of `id` that `is_whole` again, and with the last of them
    /// the damage.
    pub fn repair(&mut self, id: usize, mut is_whole: impl FnMut(LogRange) -> bool) {
        if let Some(damage) = &mut self.damage[id] {
            damage.ranges.retain(|range| !is_whole(*range));
        }
        self.settle(id);
    }

    fn settle(&mut self, id: usize) {
        let is_over = self.damage[id].as_ref().is_some_and(|damage| {
            damage.demoted_in.is_none() && !damage.is_slot_rotten && damage.ranges.is_empty()
        });
        if is_over {
            self.damage[id] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_minority_is_damaged_at_a_time() {
        let mut atlas = Atlas::new(3, false);
        assert!(atlas.may_rot(1) && atlas.may_lose(2));
        atlas.rot_log(1, 640, (0, 32));
        assert!(atlas.may_rot(1) && atlas.may_lose(1));
        assert!(!atlas.may_rot(0) && !atlas.may_lose(2));
        assert!(atlas.may_have_held(1, 640) && !atlas.may_have_held(1, 672));
        atlas.repair(1, |_| true);
        assert!(atlas.may_rot(0) && !atlas.may_have_held(1, 640));
        atlas.demote(0, 64, 3);
        assert!(atlas.may_have_voted(0, 3) && !atlas.may_have_voted(0, 4));
        atlas.on_start(0);
        atlas.repair(0, |_| true);
        assert!(!atlas.may_rot(0) && !atlas.may_rot(1) && !atlas.is_quorum_lost());
    }

    #[test]
    fn where_more_may_be_lost_one_directory_remains() {
        let mut atlas = Atlas::new(3, true);
        atlas.demote(0, 0, 1);
        assert!(!atlas.may_rot(0) && atlas.may_lose(1));
        atlas.demote(1, 0, 1);
        assert!(atlas.is_quorum_lost() && !atlas.may_lose(2));
    }
}
