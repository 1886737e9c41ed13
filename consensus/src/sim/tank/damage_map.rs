//! Which directories may be damaged, so that the cluster must survive it.
//!
//! At most a minority of the directories is damaged at a time, whatever the damage: so every
//! committed byte has a good copy, and the undamaged members can elect one of themselves. A rotten
//! directory leaves the list once it is repaired. One that was emptied, copied or put back from
//! an old state never counts again and stays on it. What the log of a damaged directory was before
//! is remembered, byte for byte: it may yet be counted. A member whose service is made
//! to diverge stops for good, and counts as damaged from the start.
//!
//! Kept out, because no rule promises anything for it: rot above the ack mark (10 ms of log at
//! most, W2), but where the process died and its host lives, below the last whole frame; rot of the
//! mark's slot without which that of the log would lie above it; an old state that could count with
//! the voices of members that do not durably know that it is outlived (`docs/operating.md`, "How an
//! old state is recognised"); more than a minority at a time. In a few runs directories may be
//! emptied beyond that, all but one: then the cluster may have to stand still, and must say so.

use lockstep_transport::position::Position;

use crate::sim::held::Held;
use crate::sim::log_range::LogRange;

/// What happened to a directory.
#[derive(Clone, Debug, Default)]
struct Damage {
    /// What its log was durable with each time: what it may have acknowledged.
    held: Vec<Held>,
    /// It never counts again.
    is_demoted: bool,
    /// A file other than the log was damaged, which the next start mends.
    is_slot_rotten: bool,
    /// A start was tried on files that do not say any more what was promised.
    is_amnesiac: bool,
    /// Rotten ranges of the log that have not been seen repaired.
    ranges: Vec<LogRange>,
}

/// See the module.
#[derive(Debug)]
pub struct DamageMap {
    damage: Vec<Option<Damage>>,
    may_lose_all: bool,
    /// A member that will stop for good, whatever becomes of its directory.
    stopping: Option<usize>,
}

impl DamageMap {
    /// For so many members, all of them whole. `may_lose_all`: directories may be emptied beyond
    /// what the cluster survives.
    #[must_use]
    pub fn new(members: usize, may_lose_all: bool) -> Self {
        Self {
            damage: vec![None; members],
            may_lose_all,
            stopping: None,
        }
    }

    /// The member `id` will stop for good: it counts as damaged from now on. Then directories are
    /// lost only as far as the cluster survives that.
    pub fn expect_stop(&mut self, id: usize) {
        self.stopping = Some(id);
        self.may_lose_all = false;
    }

    fn minority(&self) -> usize {
        (self.damage.len() - 1) / 2
    }

    fn others_damaged(&self, id: usize) -> usize {
        let others = self.damage.iter().enumerate().filter(|(at, _)| *at != id);
        let is_stopping = |at| self.stopping == Some(at);
        others
            .filter(|(at, damage)| damage.is_some() || is_stopping(*at))
            .count()
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

    /// What is known of the damage of `id`, whose log was durable with what `held` says of it,
    /// told what of it is rotten.
    fn damage_of(&mut self, id: usize, held: impl FnOnce(&[LogRange]) -> Held) -> &mut Damage {
        let damage = self.damage[id].get_or_insert_default();
        damage.held.push(held(&damage.ranges));
        damage
    }

    /// The log of `id` is rotten at these ranges too.
    pub fn rot_log(
        &mut self,
        id: usize,
        ranges: &[LogRange],
        held: impl FnOnce(&[LogRange]) -> Held,
    ) {
        if ranges.is_empty() {
            return;
        }
        let damage = self.damage[id].get_or_insert_default();
        damage.ranges.extend_from_slice(ranges);
        self.damage_of(id, held);
    }

    /// A small file of `id` is rotten.
    pub fn rot_slot(&mut self, id: usize, held: impl FnOnce(&[LogRange]) -> Held) {
        self.damage_of(id, held).is_slot_rotten = true;
    }

    /// The directory of `id` will never count again.
    pub fn demote(&mut self, id: usize, held: impl FnOnce(&[LogRange]) -> Held) {
        if self.is_demoted(id) {
            return;
        }
        let damage = self.damage_of(id, held);
        damage.is_demoted = true;
        damage.is_slot_rotten = false;
        damage.ranges.clear();
    }

    /// `id` is started on small files that do not say what was promised.
    pub fn note_amnesia(&mut self, id: usize) {
        if let Some(damage) = &mut self.damage[id] {
            damage.is_amnesiac |= damage.is_slot_rotten;
        }
    }

    /// Whether `id` may have to give up its voice: rot took what it had promised, or it never
    /// counts anyway.
    #[must_use]
    pub fn may_give_up(&self, id: usize) -> bool {
        let damage = self.damage[id].as_ref();
        damage.is_some_and(|damage| damage.is_amnesiac || damage.is_demoted)
    }

    /// The log of `id` ends at `append`: what a rotten directory had above it, it does not hold any
    /// more.
    pub fn cut(&mut self, id: usize, append: Position) {
        if let Some(damage) = self.damage[id].as_mut().filter(|d| !d.is_demoted) {
            damage.held.iter_mut().for_each(|held| held.cut(append));
        }
    }

    /// Whether the directory of `id` never counts again.
    #[must_use]
    pub fn is_demoted(&self, id: usize) -> bool {
        self.damage[id].as_ref().is_some_and(|d| d.is_demoted)
    }

    /// Whether the directory of `id` is damaged, and not for good.
    #[must_use]
    pub fn is_rotten(&self, id: usize) -> bool {
        self.damage[id].as_ref().is_some_and(|d| !d.is_demoted)
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

    /// Whether `id` had these `bytes` of the log at `from` before it was damaged, and may have
    /// acknowledged them.
    #[must_use]
    pub fn has_held(&self, id: usize, from: Position, bytes: &[u8]) -> bool {
        let damage = self.damage[id].as_ref();
        damage.is_some_and(|damage| damage.held.iter().any(|held| held.holds(from, bytes)))
    }

    /// Ranges of the log of `id` that may be rotten.
    #[must_use]
    pub fn rotten_ranges(&self, id: usize) -> &[LogRange] {
        self.damage[id].as_ref().map_or(&[], |d| &d.ranges)
    }

    /// `id` has started on its directory and speaks in its name: the small files are whole again.
    pub fn on_start(&mut self, id: usize) {
        if let Some(damage) = &mut self.damage[id] {
            damage.is_slot_rotten = false;
            damage.is_amnesiac = false;
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
            !damage.is_demoted && !damage.is_slot_rotten && damage.ranges.is_empty()
        });
        if is_over {
            self.damage[id] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bytes of log, all the same.
    fn held(length: usize) -> impl FnOnce(&[LogRange]) -> Held {
        move |rotten| Held::new(vec![7; length], rotten)
    }

    #[test]
    fn no_more_than_a_minority_is_damaged_at_a_time() {
        let mut damage_map = DamageMap::new(3, false);
        assert!(damage_map.may_rot(1) && damage_map.may_lose(2));
        damage_map.rot_log(1, &[(0, 32)], held(640));
        assert!(damage_map.may_rot(1) && damage_map.may_lose(1));
        assert!(!damage_map.may_rot(0) && !damage_map.may_lose(2));
        assert!(damage_map.has_held(1, 608, &[7; 32]) && !damage_map.has_held(1, 608, &[7; 64]));
        assert!(!damage_map.has_held(1, 608, &[8; 32]) && damage_map.has_held(1, 0, &[8; 32]));
        damage_map.repair(1, |_| true);
        assert!(damage_map.may_rot(0) && !damage_map.has_held(1, 608, &[7; 32]));
        damage_map.demote(0, held(64));
        damage_map.on_start(0);
        damage_map.repair(0, |_| true);
        assert!(!damage_map.may_rot(0) && !damage_map.may_rot(1) && !damage_map.is_quorum_lost());
    }

    #[test]
    fn a_voice_is_given_up_only_where_rot_took_what_was_promised() {
        let mut damage_map = DamageMap::new(3, false);
        damage_map.note_amnesia(0);
        damage_map.rot_log(0, &[(0, 32)], held(640));
        damage_map.note_amnesia(0);
        assert!(!damage_map.may_give_up(0));
        damage_map.rot_slot(0, held(640));
        assert!(!damage_map.may_give_up(0));
        damage_map.note_amnesia(0);
        assert!(damage_map.may_give_up(0));
        damage_map.on_start(0);
        assert!(!damage_map.may_give_up(0));
    }

    #[test]
    fn what_a_rotten_member_cuts_off_it_does_not_hold() {
        let mut damage_map = DamageMap::new(3, false);
        damage_map.rot_log(0, &[(0, 32)], held(640));
        damage_map.cut(0, 320);
        assert!(damage_map.has_held(0, 288, &[7; 32]) && !damage_map.has_held(0, 288, &[7; 64]));
        damage_map.demote(0, held(640));
        damage_map.cut(0, 0);
        assert!(damage_map.has_held(0, 608, &[7; 32]));
    }

    #[test]
    fn a_member_that_will_stop_for_good_counts_as_damaged_from_the_start() {
        let mut damage_map = DamageMap::new(3, true);
        damage_map.expect_stop(1);
        assert!(
            !damage_map.may_lose(0)
                && !damage_map.may_rot(2)
                && damage_map.may_lose(1)
                && damage_map.may_rot(1)
        );
    }

    #[test]
    fn where_more_may_be_lost_one_directory_remains() {
        let mut damage_map = DamageMap::new(3, true);
        damage_map.demote(0, held(0));
        assert!(!damage_map.may_rot(0) && damage_map.may_lose(1));
        damage_map.demote(1, held(0));
        assert!(damage_map.is_quorum_lost() && !damage_map.may_lose(2));
    }
}
