//! A moment of virtual time: everybody who has something to do works until nobody has, the
//! oracles look at whom that may have changed, faults strike, and time moves on to the next.
//!
//! Whoever has nothing to do is left alone: an agent's `next_deadline` and its ports say when it
//! has. Datagrams and disks take their time, so within a moment nobody waits for anybody else.

use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, earliest};

use crate::sim::rule::{Broken, Rule};
use crate::sim::tank::Tank;
use crate::sim::tank::bounds::{check_client, check_member};

/// Cycles of all agents at one moment before time must move on; more is a livelock.
const CYCLES_PER_MOMENT: usize = 10_000;

/// Time moves on by so much at most.
const STEP_MAX_NS: Nanos = 10 * MILLISECOND;

impl Tank {
    /// Runs everything at this moment, checks, and moves to the next.
    pub(super) fn moment(&mut self, with_faults: bool) -> Result<(), Broken> {
        self.report.moments += 1;
        self.wake_up();
        for cycle in 0.. {
            let work = self.cycle();
            self.check()?;
            if work == 0 {
                break;
            }
            if cycle > CYCLES_PER_MOMENT {
                let what = format!("more than {CYCLES_PER_MOMENT} cycles at one moment");
                return Err(Rule::NoLivelock.broken(what));
            }
        }
        self.check_bounds()?;
        if with_faults {
            self.inject();
            self.end_unmarked();
            self.rot_fetched();
            self.restart_clients();
        }
        self.end_cuts();
        self.look_after_members();
        self.bring_up()?;
        self.note_deadlines();
        let latest = self.now + STEP_MAX_NS;
        let next = self.next_moment(with_faults).unwrap_or(latest);
        self.now = next.clamp(self.now + MICROSECOND, latest);
        Ok(())
    }

    /// Who is due, or has something in its ports.
    fn wake_up(&mut self) {
        self.network.advance(self.now);
        let is_everybody_due = core::mem::take(&mut self.schedule.is_everybody_due);
        let members = self.schedule.members.iter_mut().zip(&self.members);
        for (turn, member) in members {
            turn.begin(self.now, is_everybody_due || member.has_datagrams(self.now));
        }
        let clients = self.schedule.clients.iter_mut().zip(&self.clients);
        for (turn, client) in clients {
            turn.begin(self.now, is_everybody_due || client.has_datagrams());
        }
    }

    /// One duty cycle of everybody who had something to do in the one before.
    fn cycle(&mut self) -> usize {
        let mut work = 0;
        let count = self.members.len();
        let first = self.random.range(0..count as u64) as usize;
        for index in 0..count {
            let id = (first + index) % count;
            let turn = &mut self.schedule.members[id];
            if turn.is_awake {
                let done = self.members[id].do_work(self.now);
                turn.is_awake = done > 0;
                work += done;
                if self.members[id].has_died() {
                    self.bury(id);
                }
            }
        }
        let clients = self.schedule.clients.iter_mut().zip(&mut self.clients);
        for (turn, client) in clients.filter(|(turn, _)| turn.is_awake) {
            client.reopen(&self.network);
            let done = client.do_work(self.now);
            turn.is_awake = done > 0;
            work += done;
        }
        work
    }

    fn check(&mut self) -> Result<(), Broken> {
        for id in 0..self.members.len() {
            if self.schedule.members[id].has_worked {
                if let Some(end) = self.members[id].truncates_to() {
                    self.damage_map.cut(id, end);
                }
                self.oracle.look(id, &self.members, &self.damage_map)?;
            }
        }
        self.replay()?;
        let clients = self.schedule.clients.iter().zip(&self.clients);
        for (_, client) in clients.filter(|(turn, _)| turn.has_worked) {
            if let Some(broken) = client.violation() {
                return Err(broken.clone());
            }
            if client.received() > 0 && client.last_position() >= self.oracle.committed() as i64 {
                let what = format!(
                    "a response at {} although {} is committed",
                    client.last_position(),
                    self.oracle.committed()
                );
                return Err(Rule::AnsweredIsCommitted.broken(what));
            }
        }
        Ok(())
    }

    /// What those who have worked hold, and what all have sent in the last second.
    fn check_bounds(&mut self) -> Result<(), Broken> {
        let turns = self.schedule.members.iter().enumerate();
        for (id, _) in turns.filter(|(_, turn)| turn.has_worked) {
            check_member(id, &self.members[id])?;
        }
        let clients = self.schedule.clients.iter().zip(&self.clients);
        for (_, client) in clients.filter(|(turn, _)| turn.has_worked) {
            check_client(client)?;
        }
        let members = &self.members;
        let is_member = |address| {
            let mut members = members.iter();
            members.any(|member| member.member() == address || member.ingress() == address)
        };
        let log_datagrams = self.oracle.committed() / members[0].cluster().log_mtu;
        self.traffic
            .look(self.now, &self.network, log_datagrams as u64, is_member)
    }

    /// When those who have worked, or to whom something was done, have something to do again.
    fn note_deadlines(&mut self) {
        let is_everybody_due = self.schedule.is_everybody_due;
        let members = self.schedule.members.iter_mut().zip(&self.members);
        for (turn, member) in members.filter(|(turn, _)| is_everybody_due || turn.has_worked) {
            turn.next = member.next_deadline(self.now);
        }
        let clients = self.schedule.clients.iter_mut().zip(&self.clients);
        for (turn, client) in clients.filter(|(turn, _)| is_everybody_due || turn.has_worked) {
            turn.next = client.next_deadline(self.now);
        }
    }

    fn next_moment(&self, with_faults: bool) -> Option<Nanos> {
        let mut next = self.network.next_delivery();
        for member in &self.members {
            next = earliest(next, member.full_until());
        }
        let turns = self.schedule.members.iter().chain(&self.schedule.clients);
        next = turns.fold(next, |next, turn| earliest(next, turn.next));
        next = earliest(next, self.cuts.iter().map(|cut| cut.0).min());
        if with_faults {
            next = earliest(next, self.plan.next());
            next = earliest(next, self.next_client_restart());
        }
        next
    }
}
