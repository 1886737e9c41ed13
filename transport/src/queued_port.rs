//! A port in two halves, for two threads: the near one is a [`DatagramPort`] without a system
//! call, the far one has the port itself and moves datagrams between it and two bounded queues.
//!
//! Agent: neither half knows a thread, and the simulator drives both. Where the near half is told
//! [`SendOutcome::Sent`], the datagram is on its way to a port that may still refuse it. So is what
//! a real port took: any datagram may be lost. Whoever sends treats a refusal as it treats a loss
//! (a stream's receiver asks again, everything else is said again when it is due) and learns of it
//! by [`DatagramPort::take_trouble`], from either half alike. Only a full queue is told at once.
//!
//! While the queue to the near half is full, datagrams wait in the port, and beyond its room are
//! lost, as they are where one thread does both and is late; this is a trouble of its own.

use core::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::agent::{WakeSource, WakeSources, WakerSlot};
use crate::datagram_port::{
    DATAGRAM_LENGTH_MAX, DATAGRAMS_PER_CYCLE, DatagramPort, Received, SendOutcome,
};
use crate::port_counters::PortCounters;
use crate::port_trouble::{PortTrouble, PortTroubles, TroubleKind};
use crate::record_ring::{self, Record, RecordReader, RecordWriter};
use crate::time::{MICROSECOND, Nanos, earliest};

/// Datagrams that wait each way at most: several windows of small ones.
const DATAGRAMS_MAX: usize = 2_048;
/// Bytes that wait each way at most: sixteen of the longest datagrams.
const BYTES_MAX: usize = 1 << 20;
/// Kinds of trouble on their way at most; what finds no room waits, counted, at the port.
const TROUBLES_MAX: usize = 16;
/// When a half that found something full looks again: a socket's queue and a busy thread's get
/// some room in about that time.
const RETRY_NS: Nanos = 100 * MICROSECOND;

/// A datagram in a queue.
#[derive(Clone, Copy, Debug)]
struct Datagram {
    /// Where it came from, or goes to.
    peer: SocketAddr,
    length: usize,
}

impl Record for Datagram {
    fn length(&self) -> usize {
        self.length
    }
}

/// What the far half's port has counted. Relaxed, and read by the near half: they order nothing.
#[derive(Debug, Default)]
struct FarCounts([AtomicU64; 5]);

/// The half that sends and receives: see the module.
#[derive(Debug)]
pub struct QueuedPort {
    local: SocketAddr,
    inbound: RecordReader<Datagram>,
    outbound: RecordWriter<Datagram>,
    far_troubles: Consumer<PortTrouble>,
    far_counts: Arc<FarCounts>,
    /// What this half refused, dropped and found full.
    troubles: PortTroubles,
    counters: PortCounters,
    own_waker: WakerSlot,
    far_waker: WakerSlot,
    /// Something was sent that the far half was not woken for.
    is_flush_due: bool,
    /// When to try again what found the queue full.
    retry_at: Option<Nanos>,
}

/// The half that owns the port: see the module.
#[derive(Debug)]
pub struct PortRunner<P> {
    port: P,
    counters_of: fn(&P) -> PortCounters,
    inbound: RecordWriter<Datagram>,
    outbound: RecordReader<Datagram>,
    near_troubles: Producer<PortTrouble>,
    near_counts: Arc<FarCounts>,
    troubles: PortTroubles,
    own_waker: WakerSlot,
    near_waker: WakerSlot,
    /// Whom the datagram in `outgoing` is for, which the port had no room for yet.
    held_for: Option<SocketAddr>,
    outgoing: Vec<u8>,
    incoming: Box<[u8]>,
    /// The near half took too little away for another datagram to be received.
    is_inbound_full: bool,
    retry_at: Option<Nanos>,
}

/// Cuts `port` in two. Each half belongs to the thread that drives it.
#[must_use]
pub fn queued_port<P: DatagramPort>(port: P) -> (QueuedPort, PortRunner<P>) {
    counted_port(port, |_| PortCounters::default())
}

/// The same for a port that counts: the near half tells the counts.
pub(crate) fn counted_port<P: DatagramPort>(
    port: P,
    counters_of: fn(&P) -> PortCounters,
) -> (QueuedPort, PortRunner<P>) {
    let local = port.local_address();
    let (inbound_end, inbound) = datagrams(local);
    let (outbound, outbound_end) = datagrams(local);
    let (near_troubles, far_troubles) = RingBuffer::new(TROUBLES_MAX);
    let counts = Arc::new(FarCounts::default());
    let (near_waker, far_waker) = (WakerSlot::default(), WakerSlot::default());
    let near = QueuedPort {
        local,
        inbound,
        outbound,
        far_troubles,
        far_counts: Arc::clone(&counts),
        troubles: PortTroubles::default(),
        counters: PortCounters::default(),
        own_waker: near_waker.clone(),
        far_waker: far_waker.clone(),
        is_flush_due: false,
        retry_at: None,
    };
    let far = PortRunner {
        port,
        counters_of,
        inbound: inbound_end,
        outbound: outbound_end,
        near_troubles,
        near_counts: counts,
        troubles: PortTroubles::default(),
        own_waker: far_waker,
        near_waker,
        held_for: None,
        outgoing: Vec::with_capacity(DATAGRAM_LENGTH_MAX),
        incoming: vec![0; DATAGRAM_LENGTH_MAX].into_boxed_slice(),
        is_inbound_full: false,
        retry_at: None,
    };
    (near, far)
}

/// A queue of datagrams, gone round once so that its memory is there; `any` is an address.
fn datagrams(any: SocketAddr) -> (RecordWriter<Datagram>, RecordReader<Datagram>) {
    let (mut writer, mut reader) = record_ring::queue(DATAGRAMS_MAX, BYTES_MAX);
    let empty = Datagram {
        peer: any,
        length: 0,
    };
    for _ in 0..DATAGRAMS_MAX {
        writer.push(empty, &[]);
        reader.pop_into(&mut []);
    }
    (writer, reader)
}

impl QueuedPort {
    /// The thread that drives this half sleeps: the far half wakes it when a datagram came.
    pub fn name_wake_sources(&self, sources: &WakeSources) {
        self.own_waker.fill(sources.waker());
    }

    /// What either half counted.
    #[must_use]
    pub(crate) fn counters(&self) -> PortCounters {
        let mut counts = self.counters.to_array();
        for (count, of_far) in counts.iter_mut().zip(&self.far_counts.0) {
            *count += of_far.load(Ordering::Relaxed);
        }
        PortCounters::from_array(counts)
    }
}

impl DatagramPort for QueuedPort {
    fn local_address(&self) -> SocketAddr {
        self.local
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        self.retry_at = self.retry_at.filter(|at| now < *at);
        // No more than there can be: what comes meanwhile is found by the next cycle.
        for _ in 0..DATAGRAMS_MAX {
            let Datagram { peer, length } = self.inbound.pop_into(buffer)?;
            if length <= buffer.len() {
                return Some(Received {
                    source: peer,
                    length,
                });
            }
            self.counters.too_long += 1;
            self.troubles.note(TroubleKind::TooLong, 0, None);
        }
        None
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        let length = datagram.len();
        if length > DATAGRAM_LENGTH_MAX {
            // As the real ports do: kept with its number until the node asks for it.
            self.counters.refused += 1;
            self.troubles
                .note(TroubleKind::SendRefused, libc::EMSGSIZE, Some(to));
            return SendOutcome::Refused;
        }
        if !self.outbound.has_room(1, length) {
            self.counters.back_pressured += 1;
            self.retry_at = Some(now + RETRY_NS);
            return SendOutcome::BackPressured;
        }
        self.outbound.push(Datagram { peer: to, length }, datagram);
        self.is_flush_due = true;
        SendOutcome::Sent
    }

    /// Wakes the far half, where something was sent.
    fn flush(&mut self, _now: Nanos) {
        if core::mem::take(&mut self.is_flush_due) {
            self.far_waker.wake();
        }
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        let own = self.troubles.take();
        own.or_else(|| self.far_troubles.pop().ok())
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.retry_at
    }
}

impl<P: DatagramPort> PortRunner<P> {
    /// Sends what the near half sent, and receives for it. Returns how many datagrams were moved.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        let sent = self.send(now);
        self.port.flush(now);
        let received = self.receive(now);
        if received > 0 {
            self.near_waker.wake();
        }
        self.pass_troubles();
        self.publish_counts();
        let is_held_up = self.held_for.is_some() || self.is_inbound_full;
        self.retry_at = is_held_up.then(|| now + RETRY_NS);
        sent + received
    }

    /// When there is something to do even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        earliest(self.port.next_deadline(), self.retry_at)
    }

    /// Whether the near half is gone and has left nothing to be sent.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // In this order: what it left was left before it went.
        self.outbound.is_abandoned() && self.outbound.is_empty() && self.held_for.is_none()
    }

    /// The port, to look at.
    #[must_use]
    pub const fn port(&self) -> &P {
        &self.port
    }

    fn send(&mut self, now: Nanos) -> usize {
        for sent in 0..DATAGRAMS_PER_CYCLE {
            let next = self.held_for.take();
            let next = next.or_else(|| Some(self.outbound.pop(&mut self.outgoing)?.peer));
            let Some(to) = next else {
                return sent;
            };
            // What is refused is told as a trouble, by the port.
            if self.port.send(now, to, &self.outgoing) == SendOutcome::BackPressured {
                self.held_for = Some(to);
                return sent;
            }
        }
        DATAGRAMS_PER_CYCLE
    }

    fn receive(&mut self, now: Nanos) -> usize {
        for received in 0..DATAGRAMS_PER_CYCLE {
            let is_full = !self.inbound.has_room(1, DATAGRAM_LENGTH_MAX);
            let was_full = core::mem::replace(&mut self.is_inbound_full, is_full);
            if is_full {
                if !was_full {
                    self.troubles.note(TroubleKind::NotTaken, 0, None);
                }
                return received;
            }
            let Some(Received { source, length }) = self.port.receive(now, &mut self.incoming)
            else {
                return received;
            };
            let datagram = Datagram {
                peer: source,
                length,
            };
            self.inbound.push(datagram, &self.incoming[..length]);
        }
        DATAGRAMS_PER_CYCLE
    }

    fn pass_troubles(&mut self) {
        while !self.near_troubles.is_full() {
            let trouble = self.troubles.take().or_else(|| self.port.take_trouble());
            let Some(trouble) = trouble else { break };
            let passed = self.near_troubles.push(trouble);
            passed.expect("there was room, and nobody else fills it");
        }
    }

    fn publish_counts(&self) {
        let counts = (self.counters_of)(&self.port).to_array();
        for (place, count) in self.near_counts.0.iter().zip(counts) {
            place.store(count, Ordering::Relaxed);
        }
    }
}

impl<P: DatagramPort + WakeSource> PortRunner<P> {
    /// The thread that drives this half sleeps: the port and the near half wake it.
    pub fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.own_waker.fill(sources.waker());
        self.port.name_wake_sources(sources);
    }
}

#[cfg(test)]
mod tests;
