//! The faults of a run as they are carried out, and the operators who clean up after some.

use lockstep_archive::directory::DirectoryError;
use lockstep_archive::disk::DiskError;
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos};

use super::tank::{FaultMark, Subject, Tank, Target};
use super::tank_accident::{
    Accident, Misplaced, RotKind, has_forgotten, has_identity, lose_segment, rot_above_mark,
    rot_log, rot_slot,
};
use super::tank_member::{Crash, TankMember};
use super::tank_oracle::is_excused;
use super::tank_plan::FaultClass;
use super::{Broken, Rule};
use crate::agent::birth::BirthError;
use crate::agent::start::StartError;

/// Changing cold operations of a start, about.
const START_OPERATIONS: u64 = 24;

/// An old state may be started less often than this before anybody hears it: more often than its
/// directory was since, or less.
const UNHEARD_STARTS: u64 = 8;

/// So long at most, in virtual time, a member runs on until some of its log is above its mark.
const UNMARKED_WITHIN_NS: Nanos = 200 * MILLISECOND;

/// So much of it, in bytes: some frames.
const UNMARKED_BYTES: Position = 1024;

impl Tank {
    /// The faults that are due now.
    pub(super) fn inject(&mut self) {
        while let Some(decision) = self.plan.take(self.now) {
            self.attention.alarm();
            let class = decision.class;
            let subject = self.with_draw(decision.draw, |tank| {
                let id = tank.victim(decision.target);
                tank.carry_out(class, id)
            });
            if let Some(subject) = subject {
                self.note_fault(subject, class);
            }
        }
    }

    /// Does something whose draws are its own, whatever else happens in the run.
    fn with_draw<T>(&mut self, draw: u32, action: impl FnOnce(&mut Self) -> T) -> T {
        let common = core::mem::replace(&mut self.random, Prng::new(draw.into()));
        let outcome = action(self);
        self.random = common;
        outcome
    }

    fn note_fault(&mut self, subject: Subject, class: FaultClass) {
        self.report.faults[class as usize] += 1;
        let time = self.now;
        self.faults.push(FaultMark {
            time,
            subject,
            class,
        });
    }

    /// The same, and sometimes much longer: what is said only of what lasts.
    pub(super) fn a_long_while(&mut self, longest: u64) -> Nanos {
        if self.random.range(0..40) == 0 {
            self.random.range(longest..4 * longest) as Nanos * MILLISECOND
        } else {
            self.a_while(longest)
        }
    }

    /// Milliseconds up to `longest`, as likely short as long.
    pub(super) fn a_while(&mut self, longest: u64) -> Nanos {
        let most = longest >> self.random.range(0..6);
        self.random.range(1..most.max(2)) as Nanos * MILLISECOND
    }

    pub(super) fn leader(&self) -> Option<usize> {
        self.members.iter().position(TankMember::leads)
    }

    /// The member that a fault is meant for.
    fn victim(&mut self, target: Target) -> usize {
        let count = self.members.len();
        let any = self.random.range(0..count as u64) as usize;
        match target {
            Target::Leader => self.leader().unwrap_or(any),
            Target::Member(id) => id.min(count - 1),
        }
    }

    /// Whom it befell, if there was something to it.
    fn carry_out(&mut self, class: FaultClass, id: usize) -> Option<Subject> {
        match class {
            FaultClass::PowerLossOfAll => Some(self.crash_all()),
            FaultClass::DeposeLeader => self.depose_leader(),
            FaultClass::PauseClient | FaultClass::SlowReader => Some(self.trouble_client(class)),
            _ => self.befall(class, id).then_some(Subject::Member(id)),
        }
    }

    /// What happens to a member. Whether there was something to it.
    fn befall(&mut self, class: FaultClass, id: usize) -> bool {
        match class {
            FaultClass::Kill => self.crash(id, Crash::Kill),
            FaultClass::PowerLoss => self.crash(id, Crash::PowerLoss),
            FaultClass::Pause => {
                let until = self.now + self.a_while(900);
                self.members[id].pause(until);
                true
            }
            FaultClass::CrashInStart => self.crash_in_start(id),
            FaultClass::Cut
            | FaultClass::CutOneWay
            | FaultClass::Isolate
            | FaultClass::IsolateOneWay
            | FaultClass::CutClient
            | FaultClass::Clog => self.trouble_links(class, id),
            FaultClass::Stall
            | FaultClass::SlowDisk
            | FaultClass::FailWrites
            | FaultClass::FailReads
            | FaultClass::SpoilReads
            | FaultClass::FailPreparation
            | FaultClass::FullDisk => self.trouble_disk(class, id),
            FaultClass::RotUp => self.rot_running(id, RotKind::Any),
            FaultClass::LostWrite => self.rot_running(id, RotKind::LostWrite),
            FaultClass::Misdirected => self.rot_running(id, RotKind::Misdirected),
            FaultClass::RotDown => self.await_unmarked(id),
            FaultClass::RotSlot => self.send_accident(id, Accident::RotSlot),
            FaultClass::LoseSegment => self.send_accident(id, Accident::LoseSegment),
            FaultClass::Wipe => self.send_accident(id, Accident::Wipe),
            FaultClass::SelfCopy => self.send_accident(id, Accident::SelfCopy),
            FaultClass::Foreign => self.mix_up(id),
            FaultClass::StaleBackup => self.send_backup(id),
            FaultClass::ClockJump | FaultClass::ClockDrift => self.trouble_clock(class, id),
            FaultClass::CrashInCycle => self.crash_in_cycle(id),
            FaultClass::Stranger => self.hear_strangers(id),
            // No single member's.
            FaultClass::PowerLossOfAll
            | FaultClass::DeposeLeader
            | FaultClass::PauseClient
            | FaultClass::SlowReader => false,
        }
    }

    fn crash_all(&mut self) -> Subject {
        for member in 0..self.members.len() {
            self.crash(member, Crash::PowerLoss);
        }
        Subject::Members
    }

    fn crash_in_cycle(&mut self, id: usize) -> bool {
        let (operations, seed) = (self.random.range(0..6), self.random.next_u64());
        let crash = match self.any_crash() {
            Crash::PowerLoss if !self.members[id].is_unsynced() => Crash::PowerLoss,
            _ => Crash::Kill,
        };
        if self.members[id].is_unheard() {
            return false;
        }
        self.members[id].crash_in_cycle(operations, crash, seed);
        true
    }

    /// Ends a member that is up; it starts again after a while.
    fn crash(&mut self, id: usize, crash: Crash) -> bool {
        let crash = self.within_atlas(id, crash);
        let is_up = self.members[id].node().is_some();
        let seed = self.random.next_u64();
        let until = self.now + self.a_long_while(800);
        self.members[id].crash(&self.network, crash, seed, until);
        self.oracle.forget_commit(id);
        is_up
    }

    /// A member without syncs loses with its host's power what it acknowledged: only where the
    /// cluster survives that.
    fn within_atlas(&mut self, id: usize, crash: Crash) -> Crash {
        if crash == Crash::Kill || !self.members[id].is_unsynced() {
            return crash;
        }
        if self.members[id].node().is_none() || !self.atlas.may_lose(id) {
            return Crash::Kill;
        }
        let member = &self.members[id];
        let (held, promised) = (member.held(), member.disk().durable_state());
        self.atlas.rot_slot(id, held, promised);
        crash
    }

    fn any_crash(&mut self) -> Crash {
        if self.random.chance(0.5) {
            Crash::Kill
        } else {
            Crash::PowerLoss
        }
    }

    fn crash_in_start(&mut self, id: usize) -> bool {
        let operation = self.random.range(0..START_OPERATIONS);
        let crash = self.any_crash();
        let crash = if self.members[id].is_unsynced() {
            Crash::Kill
        } else {
            crash
        };
        self.members[id].crash_in_start(operation, crash);
        let crash = self.any_crash();
        self.crash(id, crash);
        true
    }

    /// Rot under a member that runs: nobody sees it before it reads there.
    fn rot_running(&mut self, id: usize, kind: RotKind) -> bool {
        self.note_repairs();
        if self.members[id].node().is_none() || !self.may_rot(id) {
            return false;
        }
        let held = self.members[id].held();
        // What nobody has committed has no copy yet that the oracles could know for the right one;
        // it rots while its member is down.
        let limit = self.oracle.committed() as i64;
        let ranges = rot_log(&self.members[id], kind, limit, &mut self.random);
        for range in &ranges {
            self.atlas.rot_log(id, held, *range);
        }
        !ranges.is_empty()
    }

    /// Nothing is damaged before the cluster has formed and decided something.
    fn may_rot(&self, id: usize) -> bool {
        self.oracle.committed() > 0 && self.atlas.may_rot(id)
    }

    /// The member goes down, and before it starts again this happens to its directory: counted
    /// when it does.
    fn send_accident(&mut self, id: usize, accident: Accident) -> bool {
        let crash = self.any_crash();
        self.crash(id, crash);
        let draw = self.random.next_u64() as u32;
        self.members[id].await_accident(accident, draw);
        false
    }

    /// The log will rot while the member is down. It goes down at a moment at which some of its log
    /// is above its mark, if one comes soon: only then can that part rot.
    fn await_unmarked(&mut self, id: usize) -> bool {
        let until = self.now + UNMARKED_WITHIN_NS;
        let draw = self.random.next_u64() as u32;
        self.awaiting_unmarked.push((until, id, draw));
        false
    }

    /// Members whose moment has come go down for their log to rot.
    pub(super) fn end_unmarked(&mut self) {
        let committed = self.oracle.committed() as i64;
        let (now, members) = (self.now, &self.members);
        let is_due = |(until, id, _): &mut (Nanos, usize, u32)| {
            *until <= now || members[*id].unmarked_below(committed) >= UNMARKED_BYTES
        };
        for (until, id, draw) in self
            .awaiting_unmarked
            .extract_if(.., is_due)
            .collect::<Vec<_>>()
        {
            self.attention.alarm();
            self.with_draw(draw, |tank| {
                // Damage above the mark is judged by those whose host lives.
                let crash = if now < until {
                    Crash::Kill
                } else {
                    tank.any_crash()
                };
                tank.crash(id, crash);
                let draw = tank.random.next_u64() as u32;
                tank.members[id].await_accident(Accident::Rot, draw);
            });
        }
    }

    fn mix_up(&mut self, id: usize) -> bool {
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
    fn send_backup(&mut self, id: usize) -> bool {
        let outlived = (0..self.members.len()).find(|id| self.is_backup_outlived(*id));
        if let Some(id) = outlived.filter(|id| self.atlas.may_lose(*id)) {
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
        let counted = others.filter(|other| !self.atlas.is_demoted(*other));
        let ignorant = counted.filter(|other| !self.members[*other].knows_more_than(id, backup));
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
                self.atlas.note_amnesia(id);
            }
            let sample = self.members[id].sample(self.now);
            let started = self.members[id].start(&self.network);
            self.attention.alarm();
            self.oracle.forget_commit(id);
            if !self.atlas.is_demoted(id) {
                let is_rotten = self.atlas.is_rotten(id);
                self.members[id].check_start(is_rotten)?;
            }
            if let Some(fork) = sample.filter(|_| started.is_ok()) {
                self.members[id].check_second_start(self.now, &fork)?;
            }
            match started {
                Ok(()) if !self.members[id].has_forfeited() => self.atlas.on_start(id),
                Ok(()) if self.atlas.may_give_up(id) => self.demote(id),
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
        let may_lose = self.oracle.committed() > 0 && self.atlas.may_lose(id);
        let member = &mut self.members[id];
        let (held, promised) = (member.held(), member.disk().durable_state());
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
                for range in &ranges {
                    self.atlas.rot_log(id, held, *range);
                }
                !ranges.is_empty()
            }
            Accident::RotSlot if may_rot => {
                let is_done = rot_slot(member, &mut self.random);
                if is_done {
                    member.forget_last_life();
                    self.atlas.rot_slot(id, held, promised);
                }
                is_done
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
        let (held, promised) = (member.held(), member.disk().durable_state());
        self.atlas.demote(id, held, promised);
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
        } else if is_damage(error) && self.atlas.may_give_up(id) {
            // Another place for its directory.
            self.demote(id);
            self.members[id].disk().wipe();
        } else if !is_crash(error) && !is_full(error, &self.members[id]) {
            let what = format!("member {id} does not start: {error}");
            return Err(Rule::NoHalt.broken(what));
        }
        let at = self.now + self.a_while(200);
        self.members[id].start_at(at);
        Ok(())
    }

    /// A member whose process has ended in the middle of its cycle is down.
    pub(super) fn bury(&mut self, id: usize) {
        self.attention.alarm();
        let until = self.now + self.a_while(800);
        self.members[id].crash(&self.network, Crash::InCycle, 0, until);
        self.oracle.forget_commit(id);
    }

    /// Members that stopped for a reason are started again.
    pub(super) fn look_after_members(&mut self) {
        for id in 0..self.members.len() {
            let member = &self.members[id];
            let fault = member.node().and_then(|node| node.fault());
            let is_rotten = self.atlas.is_rotten(id);
            if fault.is_some_and(|fault| is_excused(fault, member, is_rotten)) {
                self.attention.alarm();
                self.crash(id, Crash::Kill);
            }
        }
    }

    /// Faults are over: members under which the log rotted are started again, so that they see it.
    pub(super) fn restart_rotten(&mut self) {
        for id in 0..self.members.len() {
            if self.atlas.is_rotten(id) {
                self.crash(id, Crash::Kill);
            }
        }
    }

    /// Takes off the list what has been repaired: committed again and equal on the disk.
    pub(super) fn note_repairs(&mut self) {
        for id in 0..self.members.len() {
            let member = &self.members[id];
            let Some(node) = member.node().filter(|_| self.atlas.is_rotten(id)) else {
                continue;
            };
            let module = &node.parts().module;
            if module.is_damaged() {
                continue;
            }
            let (commit, oracle) = (module.commit(), &self.oracle);
            self.atlas.repair(id, |(from, to)| {
                let good = oracle.range(from, to).filter(|_| to <= commit);
                good.is_some_and(|good| member.holds_durably(from, good))
            });
        }
    }
}

fn is_damage(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Birth(BirthError::Damaged { .. })
            | StartError::Directory(DirectoryError::Damaged { .. })
    )
}

fn is_crash(error: &StartError) -> bool {
    error.disk_error() == Some(&DiskError::Crashed)
}

fn is_full(error: &StartError, member: &TankMember) -> bool {
    let is_of_space = matches!(
        error,
        StartError::Room(_)
            | StartError::Disk(DiskError::Full { .. })
            | StartError::Directory(DirectoryError::Disk(DiskError::Full { .. }))
    );
    is_of_space && member.full_until().is_some()
}
