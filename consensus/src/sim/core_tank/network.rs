//! The core tank's time and network: an event queue, and links that lose, duplicate, delay,
//! reorder and partition.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::Nanos;

use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::protocol::message::MemberMessage;
use crate::sim::core_tank::log::CoreEntry;

/// Entries in one datagram of the log.
pub const ENTRIES_PER_DATAGRAM: usize = 4;

/// What travels between members.
#[allow(
    clippy::large_enum_variant,
    reason = "kept in slots of one size, without an allocation each"
)]
#[derive(Clone, Copy, Debug)]
pub enum CoreDatagram {
    /// A member message and its sender's incarnation.
    Message {
        /// The sender's incarnation.
        incarnation: u64,
        /// What it says.
        message: MemberMessage,
    },
    /// Entries of the log from `position` on; none is a heartbeat of the log stream.
    Log {
        /// Where the entries begin.
        position: Position,
        /// Entries used.
        count: usize,
        /// The entries.
        entries: [CoreEntry; ENTRIES_PER_DATAGRAM],
    },
    /// How far a follower has placed the log; a gap asks for what follows.
    Status {
        /// The term followed.
        term: LeadershipTermId,
        /// End of its log.
        position: Position,
        /// Whether something above it was seen.
        is_gap: bool,
    },
}

/// What can happen to a simulated member or cluster.
#[derive(Clone, Copy, Debug)]
pub enum Happening {
    /// The datagram in this slot arrives.
    Arrival {
        /// Who sent it.
        from: MemberId,
        /// Index of the datagram.
        slot: u32,
    },
    /// A deadline passes.
    Wake,
    /// The log sync that covers so many entries ends.
    Synced {
        /// Entries covered.
        count: usize,
    },
    /// The oldest pending write of term and vote is durable.
    StateWritten,
    /// An ordered truncation is done.
    Truncated {
        /// To where.
        position: Position,
    },
    /// Clients offer something to whoever leads.
    Offer,
    /// The schedule injects a fault or ends one.
    Fault,
    /// A crashed member starts.
    Restart,
}

/// One entry of the queue. Ordered by time, then by the order of scheduling.
#[derive(Clone, Copy, Debug)]
pub struct Scheduled {
    /// When.
    pub time: Nanos,
    sequence: u64,
    /// To whom.
    pub member: MemberId,
    /// In which life of that member; 0 for any.
    pub life: u64,
    /// What.
    pub happening: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.sequence).cmp(&(other.time, other.sequence))
    }
}

/// How links behave, all alike except for what is cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkBehaviour {
    /// Probability of loss.
    pub loss: f64,
    /// Probability of a second copy.
    pub duplicate: f64,
    /// Probability that a datagram may overtake earlier ones.
    pub reorder: f64,
    /// Least delay, ns.
    pub delay_min_ns: u64,
    /// Mean of the exponential delay added to it, ns.
    pub delay_mean_ns: u64,
}

/// Time, pending events, and the links.
#[derive(Debug)]
pub struct CoreNetwork {
    /// Virtual time.
    pub now: Nanos,
    /// How links behave now.
    pub links: LinkBehaviour,
    /// `is_cut[from][to]`: nothing passes in this direction.
    pub is_cut: [[bool; MEMBERS_MAX]; MEMBERS_MAX],
    /// All randomness of network, disks and faults.
    pub prng: Prng,
    queue: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    /// When the newest datagram of each link arrives.
    arrivals: [[Nanos; MEMBERS_MAX]; MEMBERS_MAX],
    datagrams: Vec<CoreDatagram>,
    free: Vec<u32>,
}

impl CoreNetwork {
    /// Links without faults at time 1.
    #[must_use]
    pub fn new(prng: Prng, links: LinkBehaviour) -> Self {
        Self {
            now: 1,
            links,
            is_cut: [[false; MEMBERS_MAX]; MEMBERS_MAX],
            prng,
            queue: BinaryHeap::new(),
            sequence: 0,
            arrivals: [[0; MEMBERS_MAX]; MEMBERS_MAX],
            datagrams: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Lets something happen to `member` at `time`, unless its life ends before; life 0 is any.
    pub fn schedule(&mut self, time: Nanos, member: MemberId, life: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled {
            time: time.max(self.now),
            sequence: self.sequence,
            member,
            life,
            happening,
        }));
    }

    /// The next thing to happen, if it does before `end`. Time moves there.
    pub fn next(&mut self, end: Nanos) -> Option<Scheduled> {
        if self.queue.peek()?.0.time >= end {
            return None;
        }
        let Reverse(next) = self.queue.pop()?;
        self.now = next.time;
        Some(next)
    }

    /// Sends a datagram as the links permit.
    pub fn send(&mut self, from: MemberId, to: MemberId, datagram: &CoreDatagram) {
        if self.is_cut[usize::from(from)][usize::from(to)] || self.prng.chance(self.links.loss) {
            return;
        }
        let copies = 1 + usize::from(self.prng.chance(self.links.duplicate));
        for _ in 0..copies {
            let added = self.prng.exponential(self.links.delay_mean_ns);
            let mut time = self.now + (self.links.delay_min_ns + added) as Nanos;
            if !self.prng.chance(self.links.reorder) {
                let newest = &mut self.arrivals[usize::from(from)][usize::from(to)];
                time = time.max(*newest);
                *newest = time;
            }
            let slot = self.store(*datagram);
            self.schedule(time, to, 0, Happening::Arrival { from, slot });
        }
    }

    fn store(&mut self, datagram: CoreDatagram) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.datagrams[slot as usize] = datagram;
            return slot;
        }
        self.datagrams.push(datagram);
        self.datagrams.len() as u32 - 1
    }

    /// Takes an arrived datagram out of its slot.
    pub fn take(&mut self, slot: u32) -> CoreDatagram {
        self.free.push(slot);
        self.datagrams[slot as usize]
    }
}
