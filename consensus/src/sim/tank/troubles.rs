//! Faults that pass by themselves: of links, disks, clocks and clients.

use core::net::SocketAddr;

use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::sim::tank::member::ELECTION_TIMEOUT_NS;
use crate::sim::tank::plan::FaultClass;
use crate::sim::tank::{Subject, Tank};

/// How much faster or slower than true time a monotonic clock may run, in millionths.
const DRIFT_MAX: u64 = 50_000;

impl Tank {
    pub(super) fn trouble_clock(&mut self, class: FaultClass, id: usize) -> bool {
        if class == FaultClass::ClockDrift {
            let rate = self.random.range(0..2 * DRIFT_MAX) as i64 - DRIFT_MAX as i64;
            self.members[id].set_clock_rate(self.now, rate);
            return true;
        }
        let magnitude = 10_i64.pow(self.random.range(0..8) as u32);
        let error = self.random.range(1..10) as i64 * magnitude * MILLISECOND;
        let sign = if self.random.chance(0.5) { 1 } else { -1 };
        self.members[id].set_clock(sign * error);
        true
    }

    pub(super) fn trouble_client(&mut self, class: FaultClass) -> Subject {
        let until = self.now + self.a_while(2_500);
        let client = self.random.range(0..self.clients.len() as u64) as usize;
        match class {
            FaultClass::PauseClient => self.clients[client].pause(until),
            _ => self.clients[client].read_nothing(until),
        }
        Subject::Client(client)
    }

    fn cut(&mut self, from: SocketAddr, to: SocketAddr, until: Nanos) {
        self.network.partition(from, to);
        self.cuts.push((until, from, to));
    }

    /// Ends the cuts that are over.
    pub(super) fn end_cuts(&mut self) {
        let (now, network) = (self.now, &self.network);
        self.cuts.retain(|(until, from, to)| {
            if *until <= now {
                network.heal_link(*from, *to);
            }
            *until > now
        });
    }

    pub(super) fn trouble_links(&mut self, class: FaultClass, id: usize) -> bool {
        let until = self.now + self.a_while(1_200);
        let count = self.members.len();
        let own = self.members[id].member();
        let both = [(true, true), (true, false), (false, true)];
        let (outward, inward) = match class {
            FaultClass::Cut | FaultClass::Isolate => (true, true),
            FaultClass::CutClient => both[self.random.range(0..3) as usize],
            _ => both[1 + self.random.range(0..2) as usize],
        };
        if class == FaultClass::CutClient {
            let client = self.random.range(0..self.clients.len() as u64) as usize;
            let client = self.clients[client].address();
            let own = self.members[id].ingress();
            self.cut_both((own, client), (outward, inward), until);
            return true;
        }
        let is_of_all = matches!(class, FaultClass::Isolate | FaultClass::IsolateOneWay);
        let other = (id + 1 + self.random.range(0..count as u64) as usize) % count;
        for at in (0..count).filter(|at| *at != id && (is_of_all || *at == other)) {
            let other = self.members[at].member();
            if class == FaultClass::Clog {
                self.network.clog(own, other, until);
            } else {
                self.cut_both((own, other), (outward, inward), until);
            }
        }
        count > 1 && (is_of_all || other != id)
    }

    fn cut_both(
        &mut self,
        (one, other): (SocketAddr, SocketAddr),
        (outward, inward): (bool, bool),
        until: Nanos,
    ) {
        if outward {
            self.cut(one, other, until);
        }
        if inward {
            self.cut(other, one, until);
        }
    }

    pub(super) fn depose_leader(&mut self) -> Option<Subject> {
        let id = self.leader()?;
        let until = self.now + self.random.range(1..4) as Nanos * ELECTION_TIMEOUT_NS;
        let own = self.members[id].member();
        for at in (0..self.members.len()).filter(|at| *at != id) {
            let other = self.members[at].member();
            self.cut_both((own, other), (true, true), until);
        }
        (self.members.len() > 1).then_some(Subject::Member(id))
    }

    pub(super) fn trouble_disk(&mut self, class: FaultClass, id: usize) -> bool {
        let until = self.now + self.a_long_while(1_000);
        let count = self.random.range(1..4) as u32;
        let is_slow = self.random.chance(0.5);
        let member = &mut self.members[id];
        match class {
            FaultClass::Stall => member.stall_disk(until),
            FaultClass::SlowDisk => member.slow_disk(is_slow),
            FaultClass::FailWrites => member.fail_writes(count),
            FaultClass::FailReads => member.fail_reads(count),
            FaultClass::SpoilReads => member.spoil_reads(count),
            FaultClass::FailPreparation => member.fail_preparation(),
            _ => member.fill_disk(until),
        }
        true
    }
}
