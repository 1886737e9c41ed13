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

/// Channels one address may have: a client has one, and those of its former attempts linger.
/// Asking for ever new streams must not take the slots of others.
const CHANNELS_PER_ADDRESS: usize = 16;

/// Names one channel for ever: a slot that is used again for another client has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    index: usize,
    serial: u64,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    channel: EgressChannel,
}

/// All egress channels.
#[derive(Debug)]
pub struct EgressChannels {
    slots: Vec<Option<Entry>>,
    capacity: usize,
    opened: u64,
}

impl EgressChannels {
    /// Room for `sessions_max` sessions.
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        let capacity = sessions_max + SPARE_SLOTS;
        Self {
            slots: Vec::with_capacity(capacity),
            capacity,
            opened: 0,
        }
    }

    /// The channel that leads to this client and has not been connected yet, if there is one.
    #[must_use]
    pub fn find_fresh(&self, address: SocketAddr, stream_id: i32) -> Option<Slot> {
        self.position(|channel| channel.is_fresh_for(address, stream_id))
    }

    /// A channel that leads to this address, on whatever stream, and can be spoken on.
    #[must_use]
    pub fn find_live(&self, address: SocketAddr, now: Nanos) -> Option<Slot> {
        self.position(|channel| channel.address() == address && channel.is_live(now))
    }

    fn position(&self, matches: impl Fn(&EgressChannel) -> bool) -> Option<Slot> {
        let is_match = |slot: &Option<Entry>| slot.as_ref().is_some_and(|e| matches(&e.channel));
        let index = self.slots.iter().position(is_match)?;
        let serial = self.slots[index].as_ref()?.serial;
        Some(Slot { index, serial })
    }

    /// Opens a channel; `None` when all slots are taken, by whomever or by this address, or
    /// memory is short. A channel that was abandoned gives way.
    pub fn open(&mut self, config: PublicationConfig, now: Nanos) -> Option<Slot> {
        let is_same = |channel: &EgressChannel| channel.address() == config.destination;
        let same = self
            .channels_mut()
            .filter(|channel| is_same(channel))
            .count();
        let free = self.slots.iter().position(Option::is_none);
        let mut index = free.unwrap_or(self.slots.len());
        if same >= CHANNELS_PER_ADDRESS {
            let gives_way = |channel: &EgressChannel| is_same(channel) && channel.is_abandoned();
            index = self.position(gives_way)?.index;
        } else if index == self.capacity {
            index = self.position(EgressChannel::is_abandoned)?.index;
        }
        let channel = EgressChannel::open(config, now).ok()?;
        self.opened += 1;
        let serial = self.opened;
        if index == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[index] = Some(Entry { serial, channel });
        Some(Slot { index, serial })
    }

    /// The channel of this name, unless it has ended.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut EgressChannel> {
        let entry = self.slots.get_mut(slot.index)?.as_mut()?;
        (entry.serial == slot.serial).then_some(&mut entry.channel)
    }

    /// The channel of this name, unless it has ended.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&EgressChannel> {
        let entry = self.slots.get(slot.index)?.as_ref()?;
        (entry.serial == slot.serial).then_some(&entry.channel)
    }

    fn channels_mut(&mut self) -> impl Iterator<Item = &mut EgressChannel> {
        self.slots
            .iter_mut()
            .flatten()
            .map(|entry| &mut entry.channel)
    }

    /// Hands a control frame from `source` to the publication it concerns.
    pub fn on_packet(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        session_id: i32,
        packet: &Packet<'_>,
    ) -> bool {
        let concerned = self.channels_mut().find(|channel| {
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
            let Some(entry) = slot else { continue };
            work += entry.channel.do_work(now, port);
            if entry.channel.is_done(now) {
                *slot = None;
                work += 1;
            }
        }
        work
    }

    /// Ends all streams at once: this member no longer speaks for the cluster.
    pub fn abandon_all(&mut self) {
        for channel in self.channels_mut() {
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
        self.slots.iter().flatten().fold(None, |next, entry| {
            earliest(next, entry.channel.next_deadline())
        })
    }
}
