//! Snapshots rot, most of them while somebody fetches them.

use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::sim::tank::plan::FaultClass;
use crate::sim::tank::{Subject, Tank};

/// So long at most, in virtual time, a snapshot waits for somebody who fetches it before it rots.
const FETCHED_WITHIN_NS: Nanos = 3000 * MILLISECOND;

impl Tank {
    /// The newest snapshot of member `id` is to rot: now, or once another member fetches it.
    pub(super) fn rot_snapshot_soon(&mut self, id: usize) -> bool {
        if self.random.chance(0.3) {
            return self.rot_snapshot(id);
        }
        let (until, draw) = (self.now + FETCHED_WITHIN_NS, self.random.next_u64() as u32);
        self.awaiting_fetch.push((until, id, draw));
        false
    }

    /// Snapshots rot that are fetched now, or that nobody has fetched for long enough.
    pub(super) fn rot_fetched(&mut self) {
        let (now, members) = (self.now, &self.members);
        let is_due = |(until, id, _): &mut (Nanos, usize, u32)| {
            let mut fetched = members.iter().filter_map(|member| member.fetched());
            let newest = members[*id].newest_snapshot();
            let mine = newest.map(|newest| (*id, newest.position));
            *until <= now || fetched.any(|fetched| Some(fetched) == mine)
        };
        let due = self.awaiting_fetch.extract_if(.., is_due);
        for (_, id, draw) in due.collect::<Vec<_>>() {
            if self.with_draw(draw, |tank| tank.rot_snapshot(id)) {
                self.note_fault(Subject::Member(id), FaultClass::RotSnapshot);
            }
        }
    }

    /// The newest snapshot of a member that runs rots: whoever fetches it finds that, and the
    /// member itself at its next start. It has to be able to go on without.
    fn rot_snapshot(&mut self, id: usize) -> bool {
        let member = &self.members[id];
        let Some(newest) = member.newest_snapshot() else {
            return false;
        };
        // Where room becomes short before that is noticed, it may be the only one after all.
        if !member.has_another_beginning() || !self.may_rot(id) {
            return false;
        }
        let (at, bit) = (self.random.range(0..newest.length), self.random.range(0..8));
        let name = newest.name().file_name();
        let is_done = member.disk().flip_bit(&name, at as usize, bit as u32);
        self.damage_map
            .rot_slot(id, |rotten| member.held_log(rotten));
        self.members[id].rot_snapshot(newest.position);
        is_done
    }
}
