//! Fault injection as part of the endpoint: loss, duplicates, reordering, delay, jitter and
//! partitions, by peer and direction, changeable at run time.
//!
//! Pure: wraps any port, draws from its own seeded generator. While no fault is set each call
//! costs one branch. The pool for delayed datagrams is made when the first fault is set, on that
//! cold path, and never grows. Without `reorder`, delay and jitter keep the order of a link.

use core::cmp::Reverse;
use core::net::SocketAddr;
use std::collections::BinaryHeap;

use crate::datagram_port::{DATAGRAM_LENGTH_MAX, DatagramPort, Received, SendOutcome};
use crate::port_trouble::PortTrouble;
use crate::prng::Prng;
use crate::time::{MICROSECOND, Nanos, earliest};

/// Datagrams held back at once: 10 ms of delay at 100,000 datagrams a second.
const DELAYED_MAX: usize = 1_024;
/// Links with faults of their own: both directions of 7 members, and room for clients. Two more
/// entries hold the faults of all other links.
const LINKS_MAX: usize = 64;
/// A reordered datagram is overtaken by what follows within a time drawn up to this.
const REORDER_WINDOW: Nanos = 200 * MICROSECOND;
/// Datagrams one `receive` takes from the port underneath at most, when it drops or delays
/// them: a flood must not hold up the duty cycle.
const INTAKE_MAX: usize = 64;

/// Which way a datagram travels, seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to this port.
    Receive,
    /// From this port to the peer.
    Send,
}

/// What happens to the datagrams of one link. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Probability that a datagram vanishes, `0.0..=1.0`.
    pub loss: f64,
    /// Probability that a datagram arrives twice.
    pub duplicate: f64,
    /// Probability that a datagram is overtaken by those after it.
    pub reorder: f64,
    /// Added to every datagram, in nanoseconds.
    pub delay_ns: Nanos,
    /// Added on top, drawn evenly from zero up to this, in nanoseconds.
    pub jitter_ns: Nanos,
    /// Nothing passes at all.
    pub partitioned: bool,
}

impl Faults {
    /// Whether these faults do nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What the faults did. Monotone counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// Datagrams lost by chance.
    pub lost: u64,
    /// Datagrams lost to a partition.
    pub partitioned: u64,
    /// Datagrams that arrived twice.
    pub duplicated: u64,
    /// Datagrams that others were allowed to overtake.
    pub reordered: u64,
    /// Datagrams lost because the pool of delayed ones was full: injected by no fault, so a
    /// run that counts any did not have the faults it was meant to have.
    pub overflowed: u64,
    /// Delayed datagrams that the receiver's buffer was too short for.
    pub too_long: u64,
}

#[derive(Debug)]
struct Link {
    peer: Option<SocketAddr>,
    direction: Direction,
    faults: Faults,
    /// When the last datagram that keeps its place is due.
    last_due: Nanos,
}

/// A datagram waits in `slot` until `due`; `order` breaks ties. Heaps order by the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Delayed {
    due: Nanos,
    order: u64,
    slot: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    peer: SocketAddr,
    length: usize,
}

/// Room for delayed datagrams: slots of the longest length, touched only when used.
#[derive(Debug)]
struct Pool {
    bytes: Box<[u8]>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    inbound: BinaryHeap<Reverse<Delayed>>,
    outbound: BinaryHeap<Reverse<Delayed>>,
    order: u64,
}

impl Pool {
    fn new() -> Self {
        Self {
            bytes: vec![0; DELAYED_MAX * DATAGRAM_LENGTH_MAX].into_boxed_slice(),
            slots: vec![None; DELAYED_MAX],
            // The lowest slots are used first, so that few pages are ever touched.
            free: (0..DELAYED_MAX).rev().collect(),
            inbound: BinaryHeap::with_capacity(DELAYED_MAX),
            outbound: BinaryHeap::with_capacity(DELAYED_MAX),
            order: 0,
        }
    }

    fn heap(&mut self, direction: Direction) -> &mut BinaryHeap<Reverse<Delayed>> {
        match direction {
            Direction::Receive => &mut self.inbound,
            Direction::Send => &mut self.outbound,
        }
    }

    /// Holds a datagram back until `due`. False: no slot is free, or it is too long for one.
    fn hold(
        &mut self,
        direction: Direction,
        due: Nanos,
        peer: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        if datagram.len() > DATAGRAM_LENGTH_MAX {
            return false;
        }
        let Some(slot) = self.free.pop() else {
            return false;
        };
        let start = slot * DATAGRAM_LENGTH_MAX;
        self.bytes[start..start + datagram.len()].copy_from_slice(datagram);
        let length = datagram.len();
        self.slots[slot] = Some(Slot { peer, length });
        self.order += 1;
        let order = self.order;
        self.heap(direction)
            .push(Reverse(Delayed { due, order, slot }));
        true
    }

    /// The slot, peer and bytes of the datagram that is due first, when it is due at `now`.
    fn due(&mut self, direction: Direction, now: Nanos) -> Option<(SocketAddr, &[u8])> {
        let Reverse(first) = *self.heap(direction).peek()?;
        if first.due > now {
            return None;
        }
        let slot = self.slots[first.slot]?;
        let start = first.slot * DATAGRAM_LENGTH_MAX;
        Some((slot.peer, &self.bytes[start..start + slot.length]))
    }

    /// Forgets the datagram that is due first.
    fn release(&mut self, direction: Direction) {
        if let Some(Reverse(first)) = self.heap(direction).pop() {
            self.slots[first.slot] = None;
            self.free.push(first.slot);
        }
    }

    fn is_empty(&self) -> bool {
        self.free.len() == DELAYED_MAX
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let first = |heap: &BinaryHeap<Reverse<Delayed>>| heap.peek().map(|first| first.0.due);
        earliest(first(&self.inbound), first(&self.outbound))
    }
}

/// What a fault decided about one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Drop,
    /// Due then; the second copy, if any, too.
    Hold(Nanos, Option<Nanos>),
}

/// Everything that exists only while, or since, faults were set.
#[derive(Debug)]
struct Injector {
    links: Vec<Link>,
    pool: Pool,
    prng: Prng,
    counters: FaultCounters,
}

impl Injector {
    fn new(seed: u64) -> Self {
        Self {
            links: Vec::with_capacity(LINKS_MAX + 2),
            pool: Pool::new(),
            prng: Prng::new(seed),
            counters: FaultCounters::default(),
        }
    }

    fn is_idle(&self) -> bool {
        self.pool.is_empty() && self.links.iter().all(|link| link.faults.is_none())
    }

    /// The entry for this very peer, or the one for all peers.
    fn link(&self, peer: SocketAddr, direction: Direction) -> Option<usize> {
        let find = |wanted: Option<SocketAddr>| {
            self.links
                .iter()
                .position(|link| link.peer == wanted && link.direction == direction)
        };
        find(Some(peer)).or_else(|| find(None))
    }

    fn judge(&mut self, now: Nanos, peer: SocketAddr, direction: Direction) -> Verdict {
        let Some(index) = self.link(peer, direction) else {
            return Verdict::Pass;
        };
        let faults = self.links[index].faults;
        if faults.partitioned {
            self.counters.partitioned += 1;
            return Verdict::Drop;
        }
        if self.prng.chance(faults.loss) {
            self.counters.lost += 1;
            return Verdict::Drop;
        }
        let due = self.due(now, index, &faults);
        let copy = self.prng.chance(faults.duplicate).then(|| {
            self.counters.duplicated += 1;
            self.due(now, index, &faults)
        });
        if due <= now && copy.is_none() {
            return Verdict::Pass;
        }
        Verdict::Hold(due, copy)
    }

    /// When a datagram of link `index` that came at `now` goes on.
    fn due(&mut self, now: Nanos, index: usize, faults: &Faults) -> Nanos {
        let jitter = self.prng.range(0..faults.jitter_ns.max(0) as u64) as Nanos;
        let due = now + faults.delay_ns.max(0) + jitter;
        let link = &mut self.links[index];
        if self.prng.chance(faults.reorder) {
            self.counters.reordered += 1;
            return due.max(link.last_due) + 1 + self.prng.range(0..REORDER_WINDOW as u64) as Nanos;
        }
        link.last_due = due.max(link.last_due);
        link.last_due
    }

    /// Holds a datagram and its copy as the verdict says.
    fn hold(&mut self, direction: Direction, verdict: Verdict, peer: SocketAddr, bytes: &[u8]) {
        let Verdict::Hold(due, copy) = verdict else {
            return;
        };
        for due in [Some(due), copy].into_iter().flatten() {
            if !self.pool.hold(direction, due, peer, bytes) {
                self.counters.overflowed += 1;
            }
        }
    }

    /// Hands over the inbound datagram that is due, if any.
    fn take_inbound(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        while let Some((source, bytes)) = self.pool.due(Direction::Receive, now) {
            let length = bytes.len();
            let fits = length <= buffer.len();
            if fits {
                buffer[..length].copy_from_slice(bytes);
            }
            self.pool.release(Direction::Receive);
            if fits {
                return Some(Received { source, length });
            }
            self.counters.too_long += 1;
        }
        None
    }

    /// Sends on the outbound datagrams that are due.
    fn send_due<P: DatagramPort>(&mut self, now: Nanos, port: &mut P) {
        while let Some((to, bytes)) = self.pool.due(Direction::Send, now) {
            if port.send(now, to, bytes) == SendOutcome::BackPressured {
                break;
            }
            self.pool.release(Direction::Send);
        }
    }
}

/// A port with faults in front of it.
#[derive(Debug)]
pub struct FaultyPort<P> {
    port: P,
    seed: u64,
    is_active: bool,
    injector: Option<Box<Injector>>,
}

impl<P: DatagramPort> FaultyPort<P> {
    /// Wraps `port`. No faults are set; when they are, `seed` decides whom they meet.
    #[must_use]
    pub const fn new(port: P, seed: u64) -> Self {
        Self {
            port,
            seed,
            is_active: false,
            injector: None,
        }
    }

    /// The port underneath.
    pub const fn inner(&self) -> &P {
        &self.port
    }

    /// Sets the faults of the link to `peer`, or (`None`) of all links without faults of their
    /// own, in one direction. They hold for datagrams from now on; delayed ones stay delayed.
    ///
    /// False, and nothing changed: 64 links have faults of their own already. The faults of all
    /// links (`None`) can always be set.
    pub fn set_faults(
        &mut self,
        peer: Option<SocketAddr>,
        direction: Direction,
        faults: Faults,
    ) -> bool {
        let seed = self.seed;
        let injector = self
            .injector
            .get_or_insert_with(|| Box::new(Injector::new(seed)));
        let known = injector
            .links
            .iter_mut()
            .find(|link| link.peer == peer && link.direction == direction);
        if let Some(link) = known {
            link.faults = faults;
        } else if peer.is_none() || injector.links.len() < LINKS_MAX {
            injector.links.push(Link {
                peer,
                direction,
                faults,
                last_due: Nanos::MIN,
            });
        } else {
            return false;
        }
        self.is_active = !injector.is_idle();
        true
    }

    /// Ends all faults. Delayed datagrams still arrive when they are due.
    pub fn heal(&mut self) {
        if let Some(injector) = &mut self.injector {
            injector.links.clear();
            self.is_active = !injector.is_idle();
        }
    }

    /// What the faults did so far.
    #[must_use]
    pub fn counters(&self) -> FaultCounters {
        self.injector
            .as_ref()
            .map_or_else(FaultCounters::default, |injector| injector.counters)
    }

    #[cold]
    #[inline(never)]
    fn receive_faulty(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        let injector = self.injector.as_mut()?;
        injector.send_due(now, &mut self.port);
        for _ in 0..INTAKE_MAX {
            if let Some(received) = injector.take_inbound(now, buffer) {
                return Some(received);
            }
            let Some(received) = self.port.receive(now, buffer) else {
                break;
            };
            match injector.judge(now, received.source, Direction::Receive) {
                Verdict::Pass => return Some(received),
                Verdict::Drop => {}
                verdict => injector.hold(
                    Direction::Receive,
                    verdict,
                    received.source,
                    &buffer[..received.length],
                ),
            }
        }
        let late = injector.take_inbound(now, buffer);
        self.is_active = !injector.is_idle();
        late
    }

    #[cold]
    #[inline(never)]
    fn send_faulty(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        let Some(injector) = self.injector.as_mut() else {
            return self.port.send(now, to, datagram);
        };
        injector.send_due(now, &mut self.port);
        match injector.judge(now, to, Direction::Send) {
            Verdict::Pass => self.port.send(now, to, datagram),
            Verdict::Drop => SendOutcome::Sent,
            verdict => {
                injector.hold(Direction::Send, verdict, to, datagram);
                injector.send_due(now, &mut self.port);
                SendOutcome::Sent
            }
        }
    }
}

impl<P: DatagramPort> DatagramPort for FaultyPort<P> {
    fn local_address(&self) -> SocketAddr {
        self.port.local_address()
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        if self.is_active {
            return self.receive_faulty(now, buffer);
        }
        self.port.receive(now, buffer)
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        if self.is_active {
            return self.send_faulty(now, to, datagram);
        }
        self.port.send(now, to, datagram)
    }

    fn flush(&mut self, now: Nanos) {
        if self.is_active
            && let Some(injector) = &mut self.injector
        {
            injector.send_due(now, &mut self.port);
        }
        self.port.flush(now);
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        self.port.take_trouble()
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let delayed = if self.is_active {
            self.injector
                .as_ref()
                .and_then(|injector| injector.pool.next_deadline())
        } else {
            None
        };
        earliest(delayed, self.port.next_deadline())
    }
}

#[cfg(test)]
mod tests;
