//! The egress channels of a node, in numbered slots.
//!
//! Bounded by the sessions a cluster may have plus a few for connects under way; when all
//! slots are taken a new client is not answered until one frees.

use core::net::SocketAddr;

use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::protocol::Packet;
use lockstep_transport::stream::PublicationConfig;
use lockstep_transport::time::{Nanos, earliest};

use super::egress_channel::EgressChannel;

/// Slots beyond one per session: clients that are being redirected or refused.
const SPARE_SLOTS: usize = 64;

/// Number of a channel's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// All egress channels.
#[derive(Debug)]
pub struct EgressChannels {
    slots: Vec<Option<EgressChannel>>,
    capacity: usize,
}

impl EgressChannels {
    /// Room for `sessions_max` sessions.
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        let capacity = sessions_max + SPARE_SLOTS;
        Self {
            slots: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// The channel that leads to this client and has not been connected yet, if there is one.
    #[must_use]
    pub fn find_fresh(&self, address: SocketAddr, stream_id: i32) -> Option<Slot> {
        let leads = |slot: &Option<EgressChannel>| {
            slot.as_ref()
                .is_some_and(|channel| channel.is_fresh_for(address, stream_id))
        };
        self.slots.iter().position(leads).map(Slot)
    }

    /// A channel that leads to this address, on whatever stream.
    #[must_use]
    pub fn find_address(&self, address: SocketAddr) -> Option<Slot> {
        let leads = |slot: &Option<EgressChannel>| {
            slot.as_ref()
                .is_some_and(|channel| channel.address() == address)
        };
        self.slots.iter().position(leads).map(Slot)
    }

    /// Opens a channel; `None` when all slots are taken or memory is short.
    pub fn open(&mut self, config: PublicationConfig, now: Nanos) -> Option<Slot> {
        let channel = EgressChannel::open(config, now).ok()?;
        if let Some(free) = self.slots.iter().position(Option::is_none) {
            self.slots[free] = Some(channel);
            return Some(Slot(free));
        }
        if self.slots.len() == self.capacity {
            return None;
        }
        self.slots.push(Some(channel));
        Some(Slot(self.slots.len() - 1))
    }

    /// The channel in `slot`, unless it has ended.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut EgressChannel> {
        self.slots.get_mut(slot.0)?.as_mut()
    }

    /// The channel in `slot`, unless it has ended.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&EgressChannel> {
        self.slots.get(slot.0)?.as_ref()
    }

    /// Hands a control frame from `source` to the publication it concerns.
    pub fn on_packet(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        session_id: i32,
        packet: &Packet<'_>,
    ) -> bool {
        let concerned = self.slots.iter_mut().flatten().find(|channel| {
            channel.transport_session_id() == session_id && channel.address() == source
        });
        concerned.is_some_and(|channel| {
            channel.on_packet(now, packet);
            true
        })
    }

    /// Lets every channel send; drops those that have ended.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let mut work = 0;
        for slot in &mut self.slots {
            let Some(channel) = slot else { continue };
            work += channel.do_work(now, port);
            if channel.is_done(now) {
                *slot = None;
                work += 1;
            }
        }
        work
    }

    /// Ends all streams at once: this member no longer speaks for the cluster.
    pub fn abandon_all(&mut self) {
        for channel in self.slots.iter_mut().flatten() {
            channel.abandon();
        }
    }

    /// Whether any channel exists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// The next moment a channel has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.slots.iter().flatten().fold(None, |next, channel| {
            earliest(next, channel.next_deadline())
        })
    }
}
