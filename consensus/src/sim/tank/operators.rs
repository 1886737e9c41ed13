//! The operators of a run: they start members, mix up directories and put old states of them back,
//! clean up what a start refuses, and know what is repaired.

use lockstep_archive::disk::DiskError;
use lockstep_archive::files::ack_mark::ACK_MARK_FILE;

use crate::directory::member_directory::DirectoryError;
use crate::node::birth::BirthError;
use crate::node::start_error::StartError;
use crate::sim::log_range::LogRange;
use crate::sim::tank::accident::{Accident, Misplaced, has_forgotten, has_identity};
use crate::sim::tank::crash::Crash;
use crate::sim::tank::member::TankMember;
use crate::sim::tank::oracle::is_excused;
use crate::sim::tank::rot::{RotKind, lose_segment, rot_above_mark, rot_log, rot_slot};
use crate::sim::tank::tank_node::TankNode;
use crate::sim::tank::{Subject, Tank};
use crate::sim::{Broken, Rule};

/// An old state may be started less often than this before anybody hears it: more often than its
/// directory was since, or less.
const UNHEARD_STARTS: u64 = 8;

impl Tank {
    pub(super) fn mix_up(&mut self, id: usize) -> bool {
        let count = self.members.len();
        let other = (id + 1) % count;
        if other == id || self.oracle.committed() == 0 {
            return false;
        }
        self.send_accident(id, Accident::Foreign(other));
        if self.random.chance(0.5) {
            self.send_accident(other, Accident::Foreign(id));
        }
        false
    }

    /// A backup tool runs, or what it made is put back once the directory has lived on.
    pub(super) fn send_backup(&mut self, id: usize) -> bool {
        let outlived = (0..self.members.len()).find(|id| self.is_backup_outlived(*id));
        if let Some(id) = outlived.filter(|id| self.damage_map.may_lose(*id)) {
            self.send_accident(id, Accident::Stale);
        } else {
            self.members[id].take_backup();
            if self.random.chance(0.5) {
                self.crash(id, Crash::Kill);
            }
        }
        false
    }

    /// Whether those other members that count and do not durably know that the directory has lived
    /// on since its backup are too few to take it for what it was. Of two that are put back
    /// together, each might have forgotten of the other what it knew.
    fn is_backup_outlived(&self, id: usize) -> bool {
        let Some(backup) = self.members[id].backup() else {
            return false;
        };
        let others = (0..self.members.len()).filter(|other| *other != id);
        let counted = others.filter(|other| !self.damage_map.is_demoted(*other));
        let ignorant = counted.filter(|other| !self.members[*other].knows_more_than(id, &backup));
        let is_another_unheard =
            (0..self.members.len()).any(|other| other != id && self.members[other].is_unheard());
        !is_another_unheard && ignorant.count() < self.members.len() / 2
    }

    /// Members whose start is due are started on what has become of their directories.
    pub(super) fn bring_up(&mut self) -> Result<(), Broken> {
        for id in 0..self.members.len() {
            self.members[id].free_disk(self.now);
            if !self.members[id].is_due_to_start(self.now) {
                continue;
            }
            if let Some((accident, draw)) = self.members[id].take_accident()
                && self.with_draw(draw, |tank| tank.suffer(id, accident))
            {
                self.note_fault(Subject::Member(id), accident.class());
            }
            let mark = self.members[id].disk().durable_mark();
            self.members[id].check_end(mark)?;
            if self.members[id].is_unsynced() || has_forgotten(self.members[id].disk()) {
                self.damage_map.note_amnesia(id);
            }
            let sample = self.members[id].sample(self.now);
            let started = self.members[id].start(&self.network);
            self.schedule.call_everybody();
            self.oracle.forget_commit(id);
            if !self.damage_map.is_demoted(id) {
                let is_rotten = self.damage_map.is_rotten(id);
                self.members[id].check_start(is_rotten)?;
            }
            if let Some(fork) = sample.filter(|_| started.is_ok()) {
                self.members[id].check_second_start(self.now, fork)?;
            }
            match started {
                Ok(()) if !self.members[id].has_forfeited() => self.damage_map.on_start(id),
                Ok(()) if self.damage_map.may_give_up(id) => self.demote(id),
                Ok(()) => {
                    let what = format!("member {id} gave up its voice without a reason");
                    return Err(Rule::NoHalt.broken(what));
                }
                Err(error) => self.on_refused(id, &error)?,
            }
        }
        Ok(())
    }

    /// What happens to the directory of a member that is down. Whether it could.
    fn suffer(&mut self, id: usize, accident: Accident) -> bool {
        self.note_repairs();
        let may_rot = self.may_rot(id);
        let may_lose = self.oracle.committed() > 0 && self.damage_map.may_lose(id);
        let member = &mut self.members[id];
        match accident {
            Accident::Rot | Accident::LoseSegment if may_rot => {
                let ranges = match accident {
                    Accident::Rot => {
                        let committed = self.oracle.committed() as i64;
                        rot_above_mark(member, committed, &mut self.random).map_or_else(
                            || rot_log(member, RotKind::Any, i64::MAX, &mut self.random),
                            |range| vec![range],
                        )
                    }
                    _ => lose_segment(member, &mut self.random).into_iter().collect(),
                };
                let held = |rotten: &[LogRange]| member.held_log(rotten);
                self.damage_map.rot_log(id, &ranges, held);
                !ranges.is_empty()
            }
            Accident::RotSlot if may_rot => {
                let rotten = self.damage_map.rotten_ranges(id);
                let name = rot_slot(member, rotten, &mut self.random);
                if let Some(name) = name {
                    if name == ACK_MARK_FILE.name {
                        member.forget_mark();
                    }
                    self.damage_map
                        .rot_slot(id, |rotten| member.held_log(rotten));
                }
                name.is_some()
            }
            Accident::Wipe if may_lose => {
                self.demote(id);
                self.members[id].forget_last_life();
                self.members[id].disk().wipe();
                true
            }
            Accident::SelfCopy if may_lose => {
                self.demote(id);
                self.members[id].forget_last_life();
                let disk = self.members[id].disk();
                disk.copy_from(&disk.backup());
                true
            }
            Accident::Foreign(other) if has_identity(self.members[other].disk()) => {
                let theirs = self.members[other].disk().backup();
                self.members[id].forget_last_life();
                self.members[id].misplace(theirs);
                true
            }
            Accident::Stale if may_lose && self.is_backup_outlived(id) => {
                self.demote(id);
                self.members[id].forget_last_life();
                self.members[id].put_backup_back();
                self.start_unheard(id);
                true
            }
            _ => false,
        }
    }

    /// A member is started and ends again before anybody hears it, some times or never.
    fn start_unheard(&mut self, id: usize) {
        for _ in 0..self.random.range(0..UNHEARD_STARTS) {
            let seed = self.random.next_u64();
            let member = &mut self.members[id];
            // What keeps it from starting is dealt with at the start that follows.
            if member.start(&self.network).is_ok() {
                member.crash(&self.network, Crash::Kill, seed, self.now);
            }
        }
        self.members[id].forget_last_life();
    }

    /// The directory of `id` counts no more.
    fn demote(&mut self, id: usize) {
        let member = &self.members[id];
        self.damage_map.demote(id, |rotten| member.held_log(rotten));
    }

    /// A member did not start: its operator does what the words ask for.
    fn on_refused(&mut self, id: usize, error: &StartError) -> Result<(), Broken> {
        if let Some(Misplaced { own, found }) = self.members[id].take_misplaced() {
            let disk = self.members[id].disk();
            let is_foreign = matches!(error, StartError::Birth(BirthError::Foreign { .. }));
            if !is_foreign || disk.backup() != found {
                let what = format!("another's directory under member {id}: {error}");
                return Err(Rule::ForeignDirectory.broken(what));
            }
            disk.restore_in_place(&own);
        } else if is_damage(error, &self.members[id]) && self.damage_map.may_give_up(id) {
            // Another place for its directory.
            self.demote(id);
            self.members[id].forget_last_life();
            self.members[id].disk().wipe();
        } else if !is_crash(error) && !is_full(error, &self.members[id]) {
            let what = format!("member {id} does not start: {error}");
            return Err(Rule::NoHalt.broken(what));
        }
        let at = self.now + self.a_while(200);
        self.members[id].start_at(at);
        Ok(())
    }

    /// Somebody asks a member to hand its leadership over, to one member or to any, or stops it.
    pub(super) fn hand_over(&mut self, id: usize) -> bool {
        let count = self.members.len() as u64;
        let is_stopped = self.random.chance(0.5);
        let named = self.random.range(0..2 * count);
        let to = (named < count).then_some(named as u8);
        let own_now = self.members[id].tell_time(self.now);
        let Some(node) = self.members[id].node_mut() else {
            return false;
        };
        let is_asked = if is_stopped {
            node.leave(own_now);
            true
        } else {
            node.hand_over(own_now, to).is_ok()
        };
        let module = &node.agents().consensus.module;
        if module.is_handing_over() {
            self.oracle.on_hand_over(id, module.term());
        }
        is_asked
    }

    /// A member that was told to stop has left: its process ends, and its host keeps what it had.
    fn end_left(&mut self, id: usize) {
        let (seed, until) = (self.random.next_u64(), self.now + self.a_while(400));
        self.members[id].crash(&self.network, Crash::Kill, seed, until);
        self.oracle.forget_commit(id);
    }

    /// Members that stopped for a reason, or were told to and have left, are started again.
    pub(super) fn look_after_members(&mut self) {
        for id in 0..self.members.len() {
            let member = &self.members[id];
            if member.node().is_some_and(TankNode::has_left) {
                self.schedule.call_everybody();
                self.end_left(id);
                continue;
            }
            let fault = member.node().and_then(|node| node.fault());
            let is_rotten = self.damage_map.is_rotten(id);
            if fault.is_some_and(|fault| is_excused(fault, member, is_rotten)) {
                self.schedule.call_everybody();
                self.crash(id, Crash::Kill);
            }
        }
    }

    /// Faults are over: members under which the log rotted are started again, so that they see it,
    /// and so are those that still wait to end.
    pub(super) fn restart_unsettled(&mut self) {
        for id in 0..self.members.len() {
            let is_leaving = self.members[id].node().is_some_and(TankNode::is_leaving);
            if is_leaving || self.damage_map.is_rotten(id) {
                self.crash(id, Crash::Kill);
            }
        }
    }

    /// Takes off the list what has been repaired: committed again and equal on the disk.
    pub(super) fn note_repairs(&mut self) {
        for id in 0..self.members.len() {
            let member = &self.members[id];
            let Some(node) = member.node().filter(|_| self.damage_map.is_rotten(id)) else {
                continue;
            };
            let module = &node.agents().consensus.module;
            if module.is_damaged() {
                continue;
            }
            let (commit, oracle) = (module.commit(), &self.oracle);
            let log_start = node.agents().archive.snapshot_index().log_start().position;
            self.damage_map.repair(id, |(from, to)| {
                // What was let go of needs no repair.
                let from = from.max(log_start).min(to);
                let good = oracle.range(from, to).filter(|_| to <= commit);
                good.is_some_and(|good| member.holds_durably(from, good))
            });
        }
    }
}

fn is_damage(error: &StartError, member: &TankMember) -> bool {
    match error {
        StartError::Birth(BirthError::Damaged { .. })
        | StartError::Directory(DirectoryError::Damaged { .. }) => true,
        StartError::NoSnapshot { .. } => member.has_rotten_snapshots(),
        _ => false,
    }
}

fn is_crash(error: &StartError) -> bool {
    error.disk_error() == Some(&DiskError::Crashed)
}

fn is_full(error: &StartError, member: &TankMember) -> bool {
    let is_of_space = matches!(error, StartError::Room(_))
        || matches!(error.disk_error(), Some(DiskError::Full { .. }));
    is_of_space && member.full_until().is_some()
}
