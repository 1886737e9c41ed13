//! The egress channels of a node, in numbered slots, found by their client's address.
//!
//! A channel either belongs to a session, of which there are few enough for all, or *answers* a
//! connect request: these are bounded in all and per host, so that strangers take no place of a
//! session. A cycle looks only at channels that something happened to or whose moment has come.

use core::net::SocketAddr;

use lockstep_transport::datagram_port::DatagramPort;
#[cfg(feature = "sim")]
use lockstep_transport::fill::Fill;
use lockstep_transport::ids::SessionId;
use lockstep_transport::notices::Detail;
use lockstep_transport::prng::mix;
use lockstep_transport::protocol::Packet;
use lockstep_transport::stream::{PublicationConfig, SenderConfig};
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::notice::NodeNotice;
use crate::session::closed_session::CLOSED_SESSIONS_MAX;
#[cfg(feature = "sim")]
use crate::session::egress_channel::CHANNEL_EVENTS_MAX;
use crate::session::egress_channel::EgressChannel;
use crate::session::egress_streams::EgressStreams;
use crate::slots::{
    DueSlots, HOST_GROUPS, SlotIndex, SlotList, SlotTable, address_hash, host_group,
};

pub use crate::slots::Slot;

/// Channels that answer connect requests, at a time: each takes a few round trips of its client.
pub(crate) const CONNECT_ANSWERS_MAX: usize = 256;

/// Answers one group of hosts may have, half of all: one host that asks and asks leaves room for
/// others.
const ANSWERS_PER_GROUP: usize = CONNECT_ANSWERS_MAX / 2;

/// An answer younger than this does not give way to another: its client is on its way.
const ANSWER_LIFE_MIN_NS: Nanos = 20 * MILLISECOND;

/// Channels one address may have: a client has one, and those of its former attempts linger.
const CHANNELS_PER_ADDRESS: usize = 16;

/// A channel that sends so many datagrams at once stopped there, and has more.
const DATAGRAMS_PER_VISIT: usize = SenderConfig::DATAGRAMS_PER_CALL;

/// What happened to the channel of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelChange {
    /// It can take responses, perhaps more than before.
    Live,
    /// The client is gone, and the channel with it.
    Ended,
}

/// What befell channels of one kind since it was last asked.
#[derive(Clone, Copy, Debug)]
struct Mishap {
    kind: NodeNotice,
    count: u64,
    newest: Detail,
}

impl Mishap {
    const fn of(kind: NodeNotice) -> Self {
        let (count, newest) = (0, Detail::of(0));
        Self {
            kind,
            count,
            newest,
        }
    }
}

const UNHEARD: usize = 0;
const DISPLACED: usize = 1;
const NO_MEMORY: usize = 2;

/// All egress channels.
#[derive(Debug)]
pub struct EgressChannels {
    table: SlotTable<EgressChannel>,
    /// By client address and transport session id.
    streams: SlotIndex,
    /// By client address.
    addresses: SlotIndex,
    /// Channels to visit.
    due: DueSlots,
    /// Answers by host group, oldest first.
    answers: [SlotList; HOST_GROUPS],
    /// Channels that lead to nobody any more: they give way when places are wanted.
    yielding: SlotList,
    mishaps: [Mishap; 3],
    seed: u64,
}

impl EgressChannels {
    /// What there is of channels, of answers, and of events in the fullest channel.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn fills(&self) -> (Fill, Fill, Fill) {
        let answers = self.answers.iter().map(SlotList::len).sum();
        let channels = (0..self.table.end()).filter_map(|index| self.table.at(index));
        let events = channels.map(EgressChannel::events_waiting).max();
        (
            Fill::of("egress channels", self.table.count(), self.table.capacity()),
            Fill::of("answers to connects", answers, CONNECT_ANSWERS_MAX),
            Fill::of(
                "events of a channel",
                events.unwrap_or(0),
                CHANNEL_EVENTS_MAX,
            ),
        )
    }

    /// Room for `sessions_max` sessions. `seed` keeps strangers from choosing what addresses
    /// hash to.
    #[must_use]
    pub fn new(sessions_max: usize, seed: u64) -> Self {
        let capacity = sessions_max + CLOSED_SESSIONS_MAX + CONNECT_ANSWERS_MAX;
        Self {
            table: SlotTable::new(capacity),
            streams: SlotIndex::new(capacity),
            addresses: SlotIndex::new(capacity),
            due: DueSlots::new(capacity),
            answers: core::array::from_fn(|_| SlotList::new(capacity)),
            yielding: SlotList::new(capacity),
            mishaps: [
                Mishap::of(NodeNotice::ClientUnheard),
                Mishap::of(NodeNotice::AnswerDisplaced),
                Mishap::of(NodeNotice::EgressMemory),
            ],
            seed,
        }
    }

    /// The channel that leads to this client, has not been connected yet and belongs to no
    /// session but this, if there is one.
    #[must_use]
    pub(crate) fn find_fresh(
        &self,
        address: SocketAddr,
        stream_id: i32,
        session: Option<SessionId>,
    ) -> Option<Slot> {
        self.find(address, |channel| {
            channel.is_fresh_for(address, stream_id, session)
        })
    }

    /// A channel to tell this client on, about this session if any: one that is fresh, or a new
    /// one as for any answer.
    pub(crate) fn fresh_or_new(
        &mut self,
        streams: &mut EgressStreams,
        (address, stream_id): (SocketAddr, i32),
        session: Option<SessionId>,
        now: Nanos,
    ) -> Option<Slot> {
        if let Some(slot) = self.find_fresh(address, stream_id, session) {
            self.allow_setups(slot);
            return Some(slot);
        }
        let config = streams.publication(address, stream_id);
        self.open_answer(config, now)
    }

    /// A channel that leads to this address, on whatever stream, and can be spoken on.
    #[must_use]
    pub(crate) fn find_live(&self, address: SocketAddr, now: Nanos) -> Option<Slot> {
        self.find(address, |channel| {
            channel.address() == address && channel.is_live(now)
        })
    }

    /// A channel that leads to this address and is not ending.
    #[must_use]
    pub(crate) fn find_open(&self, address: SocketAddr) -> Option<Slot> {
        self.find(address, |channel| {
            channel.address() == address && !channel.is_closing()
        })
    }

    fn find(
        &self,
        address: SocketAddr,
        mut matches: impl FnMut(&EgressChannel) -> bool,
    ) -> Option<Slot> {
        let hash = address_hash(self.seed, address);
        let index = self
            .addresses
            .find(hash, |index| self.table.at(index).is_some_and(&mut matches));
        self.table.slot(index?)
    }

    /// Opens a channel that answers a connect request. `None` when this address has enough, or
    /// every place an answer may have is taken by one that is about to be heard: then the
    /// request must wait.
    pub(crate) fn open_answer(&mut self, config: PublicationConfig, now: Nanos) -> Option<Slot> {
        let address = config.destination;
        let mut same = 0;
        // Counts; finds none.
        let _ = self.find(address, |channel| {
            same += usize::from(channel.address() == address);
            false
        });
        if same >= CHANNELS_PER_ADDRESS {
            let over = self.find(address, |c| c.address() == address && c.is_closing())?;
            self.remove(over.index());
        }
        let group = self.group(address);
        if self.answers[group].len() >= ANSWERS_PER_GROUP {
            self.make_room(group, now)?;
        } else if self.answers.iter().map(SlotList::len).sum::<usize>() >= CONNECT_ANSWERS_MAX {
            let fullest = (0..HOST_GROUPS).max_by_key(|group| self.answers[*group].len())?;
            self.make_room(fullest, now)?;
        }
        let slot = self.insert(config, now)?;
        self.answers[group].push_back(slot.index());
        self.allow_setups(slot);
        Some(slot)
    }

    /// Opens a channel for a session that another leader served until now.
    pub(crate) fn open_for(
        &mut self,
        session: SessionId,
        config: PublicationConfig,
        now: Nanos,
    ) -> Option<Slot> {
        let slot = self.insert(config, now)?;
        self.bind(slot, session);
        Some(slot)
    }

    /// The oldest answer of the group gives way, if it has had its time.
    fn make_room(&mut self, group: usize, now: Nanos) -> Option<()> {
        let oldest = self.answers[group].first()?;
        let channel = self.table.at(oldest)?;
        if now - channel.opened() < ANSWER_LIFE_MIN_NS {
            return None;
        }
        if channel.has_events() {
            let address = channel.address();
            self.note(DISPLACED, Detail::at(address));
        }
        self.remove(oldest);
        Some(())
    }

    fn note(&mut self, mishap: usize, detail: Detail) {
        let mishap = &mut self.mishaps[mishap];
        mishap.count += 1;
        mishap.newest = detail;
    }

    /// What befell channels since it was last asked: how often, and the newest case.
    pub(crate) fn take_mishap(&mut self) -> Option<(NodeNotice, Detail, u64)> {
        let mishap = self.mishaps.iter_mut().find(|mishap| mishap.count > 0)?;
        let count = std::mem::take(&mut mishap.count);
        Some((mishap.kind, mishap.newest, count))
    }

    fn insert(&mut self, config: PublicationConfig, now: Nanos) -> Option<Slot> {
        if self.table.is_full() {
            let yielding = self.yielding.first()?;
            self.remove(yielding);
        }
        let channel = match EgressChannel::open(config, now) {
            Ok(channel) => channel,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or_default();
                let detail = Detail::at(config.destination);
                self.note(NO_MEMORY, detail.with_values([i64::from(errno), 0, 0, 0]));
                return None;
            }
        };
        let hash = address_hash(self.seed, config.destination);
        let slot = self.table.insert(channel)?;
        self.addresses.insert(hash, slot.index());
        self.streams
            .insert(stream_hash(hash, config.session_id), slot.index());
        self.due.push(slot.index());
        Some(slot)
    }

    fn remove(&mut self, index: u32) {
        let Some(channel) = self.table.remove(index) else {
            return;
        };
        let hash = address_hash(self.seed, channel.address());
        self.addresses.remove(hash, index);
        self.streams
            .remove(stream_hash(hash, channel.transport_session_id()), index);
        self.due.remove(index);
        self.leave_lists(index);
    }

    fn leave_lists(&mut self, index: u32) {
        self.yielding.remove(index);
        for answers in &mut self.answers {
            answers.remove(index);
        }
    }

    fn group(&self, address: SocketAddr) -> usize {
        host_group(self.seed, address.ip())
    }

    /// The channel of this name, unless it has ended.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&EgressChannel> {
        self.table.get(slot)
    }

    /// Whether the channel belongs to a session, and not to this one: connects of two sessions
    /// that came from one address wait for the same channel, and the first to be decided has it.
    #[must_use]
    pub(crate) fn is_anothers(&self, slot: Slot, session: Option<SessionId>) -> bool {
        let channel = self.table.get(slot);
        channel.is_some_and(|channel| channel.is_anothers(session))
    }

    /// The client asks again: a few more SETUPs may leave.
    pub(crate) fn allow_setups(&mut self, slot: Slot) {
        if let Some(channel) = self.table.get_mut(slot) {
            channel.allow_setups();
            self.due.push(slot.index());
        }
    }

    /// Gives the channel to a session. It must not be another's.
    pub fn bind(&mut self, slot: Slot, session: SessionId) {
        if let Some(channel) = self.table.get_mut(slot) {
            channel.bind(session);
            self.leave_lists(slot.index());
        }
    }

    /// Queues an event on the channel, if it still is.
    pub(crate) fn queue_event(&mut self, slot: Slot, event: &[u8]) {
        if let Some(channel) = self.table.get_mut(slot) {
            channel.queue_event(event);
            self.due.push(slot.index());
        }
    }

    /// Offers a message. Returns whether it was taken.
    pub fn offer(&mut self, slot: Slot, now: Nanos, parts: &[&[u8]]) -> bool {
        self.speak(slot, |channel| channel.offer(now, parts))
    }

    /// Offers a response of `session`. Returns whether it was taken.
    pub fn answer(&mut self, slot: Slot, now: Nanos, session: SessionId, parts: &[&[u8]]) -> bool {
        self.speak(slot, |channel| channel.answer(now, session, parts))
    }

    fn speak(&mut self, slot: Slot, offer: impl FnOnce(&mut EgressChannel) -> bool) -> bool {
        let is_taken = self.table.get_mut(slot).is_some_and(offer);
        if is_taken {
            self.due.push(slot.index());
        }
        is_taken
    }

    /// Sends what is left, then ends the stream.
    pub fn close(&mut self, slot: Slot) {
        let is_answer = self.answers.iter().any(|list| list.contains(slot.index()));
        if self.end(slot, EgressChannel::close) && !is_answer {
            self.yielding.push_back(slot.index());
        }
    }

    /// Ends the stream at once; what waits is dropped.
    pub fn abandon(&mut self, slot: Slot) {
        if self.end(slot, EgressChannel::abandon) {
            self.leave_lists(slot.index());
            self.yielding.push_front(slot.index());
        }
    }

    fn end(&mut self, slot: Slot, how: impl FnOnce(&mut EgressChannel)) -> bool {
        let Some(channel) = self.table.get_mut(slot) else {
            return false;
        };
        how(channel);
        self.due.push(slot.index());
        true
    }

    /// Hands a control frame from `source` to the publication it concerns.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn on_packet(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        session_id: i32,
        packet: &Packet<'_>,
    ) -> Result<(), NodeNotice> {
        let hash = stream_hash(address_hash(self.seed, source), session_id);
        let table = &self.table;
        let index = self.streams.find(hash, |index| {
            table.at(index).is_some_and(|channel| {
                channel.transport_session_id() == session_id && channel.address() == source
            })
        });
        let index = index.ok_or(NodeNotice::UnknownEgressStream)?;
        if let Some(channel) = self.table.at_mut(index) {
            let is_taken = channel.on_packet(now, packet);
            self.due.push(index);
            if !is_taken {
                return Err(NodeNotice::EgressPacketRefused);
            }
        }
        Ok(())
    }

    /// Lets channels send whose moment has come or that something happened to; drops those
    /// that have ended. What sessions should know of theirs goes to `on_news`.
    pub fn do_work(
        &mut self,
        now: Nanos,
        port: &mut impl DatagramPort,
        on_news: &mut impl FnMut(SessionId, Slot, ChannelChange),
    ) -> usize {
        let mut work = 0;
        let visits = self.due.begin_cycle(now);
        for _ in 0..visits.count {
            let Some(index) = self.due.pop() else {
                break;
            };
            work += self.visit(now, index, port, on_news);
        }
        work + usize::from(visits.has_more)
    }

    fn visit(
        &mut self,
        now: Nanos,
        index: u32,
        port: &mut impl DatagramPort,
        on_news: &mut impl FnMut(SessionId, Slot, ChannelChange),
    ) -> usize {
        let slot = self.table.slot(index);
        let Some((slot, channel)) = slot.zip(self.table.at_mut(index)) else {
            return 0;
        };
        let put_off = channel.back_pressured();
        let sent = channel.do_work(now, port);
        let has_more = sent >= DATAGRAMS_PER_VISIT || channel.back_pressured() > put_off;
        let (session, is_live) = (channel.session(), channel.is_live(now));
        let unheard = channel.take_unheard(now).then(|| channel.address());
        let (is_done, deadline) = (channel.is_done(now), channel.next_deadline());
        if let Some(address) = unheard {
            self.note(UNHEARD, Detail::at(address));
        }
        if is_done {
            self.remove(index);
            if let Some(session) = session {
                on_news(session, slot, ChannelChange::Ended);
            }
            return sent + 1;
        }
        self.due.set_deadline(index, deadline);
        if has_more {
            self.due.push(index);
        }
        if let Some(session) = session.filter(|_| is_live) {
            on_news(session, slot, ChannelChange::Live);
        }
        sent
    }

    /// Ends all streams at once: this member no longer speaks for the cluster.
    pub(crate) fn abandon_all(&mut self) {
        for index in 0..self.table.end() {
            if let Some(slot) = self.table.slot(index) {
                self.abandon(slot);
            }
        }
    }

    /// Channels there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.count()
    }

    /// Looks at channels since the start.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.table.visits()
    }

    /// The next moment a channel has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.due.next_deadline()
    }
}

/// Hash of a stream of the client whose address hashes to `address`.
const fn stream_hash(address: u64, session_id: i32) -> u64 {
    mix(address ^ session_id as u32 as u64)
}

#[cfg(test)]
mod tests;
