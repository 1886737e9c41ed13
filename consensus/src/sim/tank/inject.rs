//! The faults of a run as they are carried out.

use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::sim::log_range::LogRange;
use crate::sim::tank::accident::Accident;
use crate::sim::tank::crash::Crash;
use crate::sim::tank::member::TankMember;
use crate::sim::tank::plan::FaultClass;
use crate::sim::tank::rot::{RotKind, rot_log};
use crate::sim::tank::{FaultMark, Subject, Tank, Target};

/// Changing cold operations of a start, about.
const START_OPERATIONS: u64 = 24;

/// So long at most, in virtual time, a member runs on until some of its log is above its mark.
const UNMARKED_WITHIN_NS: Nanos = 200 * MILLISECOND;

/// So much of it, in bytes: some frames.
const UNMARKED_BYTES: Position = 1024;

/// Of so many kills of a member without syncs one is followed by the loss of its log buffer.
const MEMORY_KEPT: u64 = 4;

impl Tank {
    /// The faults that are due now.
    pub(super) fn inject(&mut self) {
        while let Some(decision) = self.plan.take(self.now) {
            self.schedule.call_everybody();
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
    pub(super) fn with_draw<T>(&mut self, draw: u32, action: impl FnOnce(&mut Self) -> T) -> T {
        let common = core::mem::replace(&mut self.random, Prng::new(draw.into()));
        let outcome = action(self);
        self.random = common;
        outcome
    }

    pub(super) fn note_fault(&mut self, subject: Subject, class: FaultClass) {
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
                let is_of_all = self.random.chance(0.5);
                let member = &mut self.members[id];
                if is_of_all || !member.has_threads() {
                    member.pause(until);
                } else {
                    member.stall_node(until);
                }
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
            FaultClass::RotSnapshot => self.rot_snapshot_soon(id),
            FaultClass::RotSlot => self.send_accident(id, Accident::RotSlot),
            FaultClass::LoseSegment => self.send_accident(id, Accident::LoseSegment),
            FaultClass::Wipe => self.send_accident(id, Accident::Wipe),
            FaultClass::SelfCopy => self.send_accident(id, Accident::SelfCopy),
            FaultClass::Foreign => self.mix_up(id),
            FaultClass::StaleBackup => self.send_backup(id),
            FaultClass::ClockJump | FaultClass::ClockDrift => self.trouble_clock(class, id),
            FaultClass::CrashInCycle => self.crash_in_cycle(id),
            FaultClass::Stranger => self.hear_strangers(id),
            FaultClass::HandOver => self.hand_over(id),
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
    pub(super) fn crash(&mut self, id: usize, crash: Crash) -> bool {
        let crash = self.within_damage_map(id, crash);
        let is_up = self.members[id].node().is_some();
        let is_memory_lost = crash == Crash::Kill && self.loses_memory(id);
        let seed = self.random.next_u64();
        let until = self.now + self.a_long_while(800);
        self.members[id].crash(&self.network, crash, seed, until);
        if is_memory_lost {
            self.members[id].lose_memory();
        }
        self.oracle.forget_commit(id);
        is_up
    }

    /// A member without syncs loses with its host's power what it acknowledged: only where the
    /// cluster survives that.
    fn within_damage_map(&mut self, id: usize, crash: Crash) -> Crash {
        if crash == Crash::Kill || !self.members[id].is_unsynced() {
            return crash;
        }
        if self.members[id].node().is_none() || !self.damage_map.may_lose(id) {
            return Crash::Kill;
        }
        let member = &self.members[id];
        self.damage_map
            .rot_slot(id, |rotten| member.held_log(rotten));
        crash
    }

    /// Somebody removes the log buffer of a member without syncs, while it is down: only where the
    /// cluster survives that.
    fn loses_memory(&mut self, id: usize) -> bool {
        let member = &self.members[id];
        if !member.is_unsynced() || member.node().is_none() || !self.damage_map.may_lose(id) {
            return false;
        }
        let is_lost = self.random.range(0..MEMORY_KEPT) == 0;
        if is_lost {
            let member = &self.members[id];
            self.damage_map
                .rot_slot(id, |rotten| member.held_log(rotten));
        }
        is_lost
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
        // What nobody has committed has no copy yet that the oracles could know for the right one;
        // it rots while its member is down.
        let limit = self.oracle.committed() as i64;
        let member = &self.members[id];
        let ranges = rot_log(member, kind, limit, &mut self.random);
        let held = |rotten: &[LogRange]| member.held_log(rotten);
        self.damage_map.rot_log(id, &ranges, held);
        !ranges.is_empty()
    }

    /// Nothing is damaged before the cluster has formed and decided something, nor while another
    /// member lacks answers: that one leads nobody (`log.md` 8.8), and of those that are left one
    /// may be behind.
    pub(super) fn may_rot(&self, id: usize) -> bool {
        let mut others = self.members.iter().enumerate().filter(|(at, _)| *at != id);
        let is_lacking = others.any(|(_, other)| other.lacks_answers());
        self.oracle.committed() > 0 && self.damage_map.may_rot(id) && !is_lacking
    }

    /// The member goes down, and before it starts again this happens to its directory: counted
    /// when it does.
    pub(super) fn send_accident(&mut self, id: usize, accident: Accident) -> bool {
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
            self.schedule.call_everybody();
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

    /// A member whose process has ended in the middle of its cycle is down.
    pub(super) fn bury(&mut self, id: usize) {
        self.schedule.call_everybody();
        let until = self.now + self.a_while(800);
        self.members[id].crash(&self.network, Crash::InCycle, 0, until);
        self.oracle.forget_commit(id);
    }
}
