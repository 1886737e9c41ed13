//! The turns of a member: its node's cycles and, before or after them, what runs apart from it.

use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::time::{MILLISECOND, Nanos, earliest};

use super::{ELECTION_TIMEOUT_NS, NOTICES_MAX, TankMember, planting};
use crate::sim::service_time;
use crate::sim::tank::tank_node::TankNode;

/// A disk that lags by less is a sound one.
const LAG_NS: Nanos = MILLISECOND;

impl TankMember {
    /// What its host's clock shows now.
    pub fn tell_time(&self, now: Nanos) -> Nanos {
        self.host.tell_time(now)
    }

    /// What it showed last.
    pub fn own_now(&self) -> Nanos {
        self.host.own_time(self.host.now())
    }

    /// The node, while it runs, for whoever asks it for something.
    pub const fn node_mut(&mut self) -> Option<&mut TankNode> {
        self.node.as_mut()
    }

    /// The process does not run before `until`, as under SIGSTOP.
    pub fn pause(&mut self, until: Nanos) {
        self.paused_until = until;
    }

    /// The thread of the node does not run before `until`; those of its other agents do.
    pub fn stall_node(&mut self, until: Nanos) {
        self.busy_until = self.busy_until.max(until);
    }

    /// A process begins: nothing of it is stalled.
    pub(super) const fn begin_turns(&mut self) {
        self.busy_until = 0;
        self.service_turns.begin();
        self.archive_turns.begin();
        self.client_turns.begin();
    }

    /// What runs apart stalls no more.
    pub(super) const fn end_stalls(&mut self) {
        self.service_turns.end_stalls();
        self.archive_turns.end_stalls();
        self.client_turns.end_stalls();
    }

    /// A turn of all its agents, unless it is down or paused.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        if now < self.paused_until {
            self.promise.excuse(now);
            return 0;
        }
        if self.node.is_none() {
            return 0;
        }
        let own_now = self.host.tell_time(now);
        // Before the node: a process that ends in this has told nobody of anything since it was
        // last looked at. After the node it is before the node's next cycle.
        let mut work = self.step_archive(now, own_now);
        let is_first = [self.service_turns.is_first(), self.client_turns.is_first()];
        work += self.step_apart(now, own_now, is_first);
        if !self.host.is_dead() {
            work += self.step_node(now, own_now);
        }
        work + self.step_apart(now, own_now, is_first.map(|is_first| !is_first))
    }

    /// Those of service and clients' side that run apart and have their turn.
    fn step_apart(&mut self, now: Nanos, own_now: Nanos, have_turns: [bool; 2]) -> usize {
        let [service, clients] = have_turns.map(|has_turn| has_turn && !self.host.is_dead());
        let mut work = 0;
        if service && self.threads.service {
            work += self.step_service(now, own_now);
        }
        if clients {
            work += self.step_clients(now, own_now);
        }
        work
    }

    fn step_service(&mut self, now: Nanos, own_now: Nanos) -> usize {
        let Some(node) = self.node.as_mut() else {
            return 0;
        };
        let step = || node.step_service(own_now);
        let (work, stall) = self.service_turns.run(now, step);
        self.note_stall(stall, Mark::LeadersServiceStalls);
        work
    }

    fn step_archive(&mut self, now: Nanos, own_now: Nanos) -> usize {
        let Some(disk) = &mut self.far_ends.disk else {
            return 0;
        };
        let (work, stall) = self.archive_turns.run(now, || disk.do_work(own_now));
        if stall > LAG_NS {
            self.promise.excuse(now + stall);
        }
        self.note_stall(stall, Mark::LeadersArchiveStalls);
        work
    }

    fn step_clients(&mut self, now: Nanos, own_now: Nanos) -> usize {
        let Some(port) = &mut self.far_ends.port else {
            return 0;
        };
        let (work, stall) = self.client_turns.run(now, || port.do_work(own_now));
        self.note_stall(stall, Mark::LeadersClientsSideStalls);
        work
    }

    fn note_stall(&self, stall: Nanos, mark: Mark) {
        if stall > ELECTION_TIMEOUT_NS && self.leads() {
            sometimes(mark);
        }
    }

    /// One duty cycle of the node, unless its thread is busy.
    fn step_node(&mut self, now: Nanos, own_now: Nanos) -> usize {
        if now < self.busy_until {
            self.promise.excuse(now);
            return 0;
        }
        let Some(node) = self.node.as_mut() else {
            return 0;
        };
        planting::before_cycle(self.planted, node, own_now);
        let before = service_time::spent();
        let work = node.do_work(own_now);
        self.busy_until = self.busy_until.max(now + service_time::spent() - before);
        if node.fault().is_some() || node.agents().archive.is_truncating() {
            self.promise.excuse(now);
        }
        let agents = node.agents();
        self.promise
            .note(now, agents.archive.durable(&agents.consensus.log));
        while let Some(notice) = node.take_notice() {
            if self.notices.len() < NOTICES_MAX {
                self.notices.push(notice);
            }
        }
        self.note_name();
        work
    }

    /// Whether something waits in one of its ports that somebody may take.
    #[must_use]
    pub fn has_datagrams(&self, now: Nanos) -> bool {
        let of_node = self.node.as_ref().is_some_and(|node| {
            let ports = [&node.agents().consensus.port, &node.agents().clients.port];
            ports.iter().any(|port| port.next_deadline().is_some())
        });
        let far = self.far_ends.port.as_ref();
        let far = far.filter(|_| self.client_turns.may_run(now));
        of_node || far.is_some_and(|far| far.port().next_deadline().is_some())
    }

    /// When it has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let Some(node) = self.node.as_ref() else {
            return self.start_at;
        };
        if now < self.paused_until {
            return Some(self.paused_until);
        }
        let true_time = |own: Option<Nanos>| own.map(|own| self.host.true_time(own));
        let of_node = if now < self.busy_until {
            Some(self.busy_until)
        } else {
            true_time(node.next_deadline(self.host.tell_time(now)))
        };
        let service = self.service_turns.held_up(now);
        let service = service.filter(|_| node.agents().service.is_behind());
        let archive = self.far_ends.disk.as_ref().and_then(|disk| {
            let held_up = self.archive_turns.held_up(now);
            held_up.or_else(|| true_time(disk.next_deadline()))
        });
        let clients = self.far_ends.port.as_ref().and_then(|port| {
            let held_up = self.client_turns.held_up(now);
            held_up.or_else(|| true_time(port.next_deadline()))
        });
        [service, archive, clients]
            .into_iter()
            .fold(of_node, earliest)
    }
}
