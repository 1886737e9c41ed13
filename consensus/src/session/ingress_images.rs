//! The images of clients' ingress publications, on every member: followers need them to answer
//! connects with a redirect.
//!
//! A stream is half-open until its first message has arrived and makes sense; only then it gets
//! an image, which takes memory. Images of clients whose session is known have places of their
//! own, one client one image; those of strangers are few, and the oldest gives way. A cycle
//! looks only at images that something happened to or whose moment has come.

use core::net::SocketAddr;

use lockstep_client::protocol::INGRESS_STREAM_ID;
use lockstep_transport::datagram_port::DatagramPort;
#[cfg(feature = "sim")]
use lockstep_transport::fill::Fill;
use lockstep_transport::log_buffer::Frame;
use lockstep_transport::position::Position;
use lockstep_transport::prng::mix;
use lockstep_transport::protocol::{DataPacket, Packet};
use lockstep_transport::stream::{Image, ImageLimits, Message, PollAction};
use lockstep_transport::time::{MICROSECOND, Nanos};

use crate::log::entry_body::ClientKey;
use crate::notice::NodeNotice;
use crate::session::half_open::{HalfOpenStreams, SetupOutcome};
use crate::session::pending_connect::CONNECTS_MAX;
use crate::slots::{
    DueSlots, HOST_GROUPS, Slot, SlotIndex, SlotList, SlotTable, address_hash, host_group,
};

/// Images of strangers at a time, and of one group of hosts.
pub(crate) const STRANGERS_MAX: usize = 256;
const STRANGERS_PER_GROUP: usize = STRANGERS_MAX / 2;

/// Images per known client: its present one, and the next while it connects again.
const IMAGES_PER_CLIENT: usize = 2;

/// Making an image takes microseconds. Strangers may cause one per interval, and as many at
/// once as there are places for them.
const STRANGER_INTERVAL_NS: Nanos = 250 * MICROSECOND;

/// Messages taken from one image per duty cycle, so that one client cannot starve the others.
const FRAGMENTS_PER_POLL: usize = 64;

/// Images polled per round; the others have their turn in the next.
const POLLS_PER_ROUND: usize = 64;

/// Whose image it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody's that is known, as yet.
    Stranger,
    /// Nobody's, and it has been told so: the first to give way.
    Dismissed,
    /// A client's whose SessionOpen is on its way through the log.
    Awaited(ClientKey),
    /// It says that it is the client of a session.
    Resuming(ClientKey),
    /// It is the client of a session that is served here.
    Served(ClientKey),
}

impl Standing {
    const fn client(self) -> Option<ClientKey> {
        match self {
            Self::Stranger | Self::Dismissed => None,
            Self::Awaited(client) | Self::Resuming(client) | Self::Served(client) => Some(client),
        }
    }
}

/// What became of a message, and whose image it is.
type Handled = (PollAction, Standing);

/// What befell streams since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
struct Mishaps {
    /// Whose half-open stream gave way.
    half_open: Option<SocketAddr>,
    /// Which stranger's image gave way.
    stranger: Option<SocketAddr>,
    /// Whose messages were longer than any that is taken, and how many.
    too_long: Option<(SocketAddr, u64)>,
}

#[derive(Debug)]
struct IngressImage {
    image: Image,
    standing: Standing,
    /// Its next message was left for later.
    is_put_off: bool,
}

/// All ingress images of a node.
#[derive(Debug)]
pub struct IngressImages {
    table: SlotTable<IngressImage>,
    half_open: HalfOpenStreams,
    /// By source and transport session id.
    streams: SlotIndex,
    /// By client.
    clients: SlotIndex,
    /// Images of strangers by host group, those that give way first in front.
    strangers: [SlotList; HOST_GROUPS],
    /// Images whose client's session is being opened.
    awaited: SlotList,
    /// Images with messages that were not taken yet, in turn.
    unread: SlotList,
    /// How many of them were not asked since something changed.
    unasked: usize,
    /// Images to visit.
    due: DueSlots,
    /// From when on another stranger may cause an image: in the past while they cause few.
    next_stranger: Nanos,
    limits: ImageLimits,
    receiver_id: i64,
    seed: u64,
    mishaps: Mishaps,
}

impl IngressImages {
    /// Room for `sessions_max` sessions; `receiver_id` names this node to senders, `seed` keeps
    /// strangers from choosing what addresses hash to.
    #[must_use]
    pub fn new(sessions_max: usize, limits: ImageLimits, receiver_id: i64, seed: u64) -> Self {
        // Two more: one that is being added, one whose standing is being changed.
        let known = IMAGES_PER_CLIENT * sessions_max + CONNECTS_MAX;
        let capacity = known + STRANGERS_MAX + 2;
        Self {
            table: SlotTable::new(capacity),
            half_open: HalfOpenStreams::new(sessions_max, receiver_id, seed),
            streams: SlotIndex::new(capacity),
            clients: SlotIndex::new(capacity),
            strangers: core::array::from_fn(|_| SlotList::new(capacity)),
            awaited: SlotList::new(capacity),
            unread: SlotList::new(capacity),
            unasked: 0,
            due: DueSlots::new(capacity),
            next_stranger: 0,
            limits,
            receiver_id,
            seed,
            mishaps: Mishaps::default(),
        }
    }

    /// Whose stream gave way to another one's, or said more than is taken, and how often.
    pub(crate) fn take_mishap(&mut self) -> Option<(NodeNotice, SocketAddr, u64)> {
        if let Some(source) = self.mishaps.half_open.take() {
            return Some((NodeNotice::HalfOpenDisplaced, source, 1));
        }
        if let Some((source, count)) = self.mishaps.too_long.take() {
            return Some((NodeNotice::IngressMessageTooLong, source, count));
        }
        let source = self.mishaps.stranger.take()?;
        Some((NodeNotice::StrangerDisplaced, source, 1))
    }

    /// Images there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.count()
    }

    /// Looks at images and half-open streams since the start.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.table.visits() + self.half_open.visits()
    }

    fn stream_hash(&self, source: SocketAddr, session_id: i32) -> u64 {
        mix(address_hash(self.seed, source) ^ session_id as u32 as u64)
    }

    const fn client_hash(&self, client: ClientKey) -> u64 {
        mix(mix(self.seed ^ client.0) ^ client.1)
    }

    fn group(&self, source: SocketAddr) -> usize {
        host_group(self.seed, source.ip())
    }

    fn find(&self, source: SocketAddr, session_id: i32) -> Option<u32> {
        let is_it = |index| {
            self.table.at(index).is_some_and(|row| {
                row.image.session_id() == session_id && row.image.source() == source
            })
        };
        self.streams
            .find(self.stream_hash(source, session_id), is_it)
    }

    /// Takes a SETUP, data frame or heartbeat from `source`. Of a half-open stream's first
    /// message `judge` says whose it is, unless no client begins like that.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn on_packet(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        packet: &Packet<'_>,
        judge: impl FnOnce(&[u8]) -> Result<Standing, NodeNotice>,
    ) -> Result<(), NodeNotice> {
        let session_id = packet.session_id().unwrap_or_default();
        if let Some(index) = self.find(source, session_id) {
            return self.hand_over(now, index, packet);
        }
        match packet {
            Packet::Setup(setup) if setup.stream_id() == INGRESS_STREAM_ID => {
                match self.half_open.on_setup(source, setup, &self.limits) {
                    Ok(SetupOutcome::Taken { displaced }) => {
                        self.mishaps.half_open = self.mishaps.half_open.or(displaced);
                        Ok(())
                    }
                    Ok(SetupOutcome::Exhausted) => Err(NodeNotice::HalfOpenExhausted),
                    // Whichever it is: the remedy is the same.
                    Err(_) => Err(NodeNotice::IngressParameters),
                }
            }
            Packet::Setup(_) => Err(NodeNotice::IngressParameters),
            Packet::Data(data) => self.on_first_data(now, source, data, judge),
            Packet::Heartbeat(heartbeat) => {
                let row = self.half_open.get(source, session_id);
                let geometry = row.and_then(|row| row.setup.geometry());
                let end = geometry.and_then(|geometry| heartbeat.position(geometry));
                let end = end.ok_or(NodeNotice::UnknownIngressStream)?;
                self.ask_for_first(source, session_id, end)
            }
            _ => Err(NodeNotice::UnknownIngressStream),
        }
    }

    fn hand_over(&mut self, now: Nanos, index: u32, packet: &Packet<'_>) -> Result<(), NodeNotice> {
        if let Some(row) = self.table.at_mut(index) {
            let before = row.image.receiver_counters().foreign;
            row.image.on_packet(now, packet);
            if row.image.receiver_counters().foreign > before {
                return Err(NodeNotice::IngressFrameMisplaced);
            }
            if !row.image.is_polled_out() && self.unread.push_back(index) {
                self.unasked += 1;
            }
            self.due.push(index);
        }
        Ok(())
    }

    /// The first message of a half-open stream: it gets an image if a client begins like that.
    fn on_first_data(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        data: &DataPacket<'_>,
        judge: impl FnOnce(&[u8]) -> Result<Standing, NodeNotice>,
    ) -> Result<(), NodeNotice> {
        let session_id = data.session_id();
        let stream = self.half_open.get(source, session_id).copied();
        let stream = stream.ok_or(NodeNotice::UnknownIngressStream)?;
        let position = stream
            .setup
            .geometry()
            .and_then(|geometry| data.position(geometry));
        let position = position.ok_or(NodeNotice::UnknownIngressStream)?;
        if position != stream.position() {
            return self.ask_for_first(source, session_id, position);
        }
        let frame = Frame::first(data.bytes()).filter(Frame::is_begin);
        let frame = frame.ok_or(NodeNotice::IngressBeginning)?;
        let standing = if frame.is_end() {
            judge(frame.payload())?
        } else {
            Standing::Stranger
        };
        if standing.client().is_none() && !self.may_take_stranger(now) {
            return Err(NodeNotice::IngressImagesFull);
        }
        let receiver_id = self.receiver_id;
        let image = Image::from_setup(now, &stream.setup, source, receiver_id, &self.limits)
            .map_err(|_| NodeNotice::IngressParameters)?;
        self.half_open.forget(source, session_id);
        self.insert(image, standing);
        if let Some(index) = self.find(source, session_id) {
            self.hand_over(now, index, &Packet::Data(*data))?;
        }
        Ok(())
    }

    /// Something before `end` was sent on a half-open stream and has not arrived: it is asked for,
    /// unless that was done as often as it may be.
    fn ask_for_first(
        &mut self,
        source: SocketAddr,
        session_id: i32,
        end: Position,
    ) -> Result<(), NodeNotice> {
        let is_asked_for = self.half_open.on_missing(source, session_id, end);
        is_asked_for
            .then_some(())
            .ok_or(NodeNotice::HalfOpenExhausted)
    }

    /// Whether strangers have not caused too many images lately.
    fn may_take_stranger(&mut self, now: Nanos) -> bool {
        let burst = STRANGERS_PER_GROUP as Nanos * STRANGER_INTERVAL_NS;
        let next = self.next_stranger.max(now - burst);
        let is_taken = next <= now;
        self.next_stranger = next + Nanos::from(is_taken) * STRANGER_INTERVAL_NS;
        is_taken
    }

    fn insert(&mut self, image: Image, standing: Standing) {
        if let Some(client) = standing.client() {
            self.keep(client, IMAGES_PER_CLIENT - 1);
        }
        let (source, session_id) = (image.source(), image.session_id());
        let row = IngressImage {
            image,
            standing: Standing::Stranger,
            is_put_off: false,
        };
        let slot = self
            .table
            .insert(row)
            .expect("every standing has a bound, and room is made for strangers");
        let index = slot.index();
        let hash = self.stream_hash(source, session_id);
        self.streams.insert(hash, index);
        self.set_standing(index, standing);
        self.trim_strangers(self.group(source));
    }

    /// What there is of images, of strangers' and of such whose session is being opened.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn fills(&self) -> (Fill, Fill, Fill) {
        let strangers = self.strangers.iter().map(SlotList::len).sum();
        (
            Fill::of("ingress images", self.table.count(), self.table.capacity()),
            Fill::of("images of strangers", strangers, STRANGERS_MAX),
            Fill::of("images awaited", self.awaited.len(), CONNECTS_MAX),
        )
    }

    /// Where a stranger has come to `group`: those that are the first to give way do.
    fn trim_strangers(&mut self, group: usize) {
        let all: usize = self.strangers.iter().map(SlotList::len).sum();
        let from = if self.strangers[group].len() > STRANGERS_PER_GROUP {
            group
        } else if all > STRANGERS_MAX {
            let fullest = (0..HOST_GROUPS).max_by_key(|group| self.strangers[*group].len());
            fullest.unwrap_or(group)
        } else {
            return;
        };
        if let Some(index) = self.strangers[from].first() {
            let row = self.table.at(index);
            self.mishaps.stranger = row.map(|row| row.image.source());
            self.remove(index);
        }
    }

    /// Removes all but `count` images of a client: those first that do not serve it, and of
    /// them the oldest.
    fn keep(&mut self, client: ClientKey, count: usize) {
        let hash = self.client_hash(client);
        loop {
            let mut images = 0;
            let mut first: Option<(_, Slot)> = None;
            // Looks at all; finds none.
            let _ = self.clients.find(hash, |index| {
                let row = self.table.at(index);
                let standing = row.map(|row| row.standing);
                let slot = self.table.slot(index);
                if standing.is_some_and(|standing| standing.client() == Some(client)) {
                    images += 1;
                    let is_served = standing == Some(Standing::Served(client));
                    let next = slot.map(|slot| ((is_served, slot.serial()), slot));
                    first = [first, next]
                        .into_iter()
                        .flatten()
                        .min_by_key(|next| next.0);
                }
                false
            });
            let Some((_, first)) = first.filter(|_| images > count) else {
                return;
            };
            self.remove(first.index());
        }
    }

    fn set_standing(&mut self, index: u32, standing: Standing) {
        let Some(row) = self.table.at_mut(index) else {
            return;
        };
        let before = core::mem::replace(&mut row.standing, standing);
        let group = host_group(self.seed, row.image.source().ip());
        if before.client() != standing.client() {
            if let Some(client) = before.client() {
                self.clients.remove(self.client_hash(client), index);
            }
            if let Some(client) = standing.client() {
                self.clients.insert(self.client_hash(client), index);
            }
        }
        self.awaited.remove(index);
        match standing {
            Standing::Stranger => {
                self.strangers[group].push_back(index);
            }
            Standing::Dismissed => self.strangers[group].push_front(index),
            Standing::Awaited(_) => {
                self.strangers[group].remove(index);
                self.awaited.push_back(index);
                if self.awaited.len() > CONNECTS_MAX
                    && let Some(oldest) = self.awaited.first()
                {
                    // Its connect was forgotten with a leadership.
                    self.dismiss(oldest);
                }
            }
            Standing::Resuming(_) | Standing::Served(_) => {
                self.strangers[group].remove(index);
            }
        }
    }

    fn remove(&mut self, index: u32) {
        let Some(row) = self.table.remove(index) else {
            return;
        };
        let (source, session_id) = (row.image.source(), row.image.session_id());
        let hash = self.stream_hash(source, session_id);
        self.streams.remove(hash, index);
        if let Some(client) = row.standing.client() {
            self.clients.remove(self.client_hash(client), index);
        }
        self.strangers[self.group(source)].remove(index);
        self.awaited.remove(index);
        self.unread.remove(index);
        self.due.remove(index);
    }

    fn image_of(&self, client: ClientKey, is_meant: impl Fn(Standing) -> bool) -> Option<u32> {
        self.clients.find(self.client_hash(client), |index| {
            let row = self.table.at(index);
            row.is_some_and(|row| is_meant(row.standing))
        })
    }

    /// The session that this client asked for is open, and its.
    pub fn on_served(&mut self, client: ClientKey) {
        let awaited = Standing::Awaited(client);
        if let Some(index) = self.image_of(client, |standing| standing == awaited) {
            self.set_standing(index, Standing::Served(client));
        }
    }

    /// The session that this client asked for is not its.
    pub(crate) fn on_ignored(&mut self, client: ClientKey) {
        let awaited = Standing::Awaited(client);
        if let Some(index) = self.image_of(client, |standing| standing == awaited) {
            self.dismiss(index);
        }
    }

    /// The session of this client is closed.
    pub(crate) fn on_closed(&mut self, client: ClientKey) {
        let is_its = |standing: Standing| standing.client() == Some(client);
        while let Some(index) = self.image_of(client, is_its) {
            self.dismiss(index);
        }
    }

    fn dismiss(&mut self, index: u32) {
        self.set_standing(index, Standing::Dismissed);
        if let Some(row) = self.table.at(index) {
            self.trim_strangers(self.group(row.image.source()));
        }
    }

    /// Hands waiting messages to `handler`, with whether it left them for later before. It may
    /// do so now, and says whose image it is if it was not served before.
    pub fn poll(
        &mut self,
        handler: &mut impl FnMut(SocketAddr, Standing, bool, &Message<'_>) -> Handled,
    ) -> usize {
        let mut work = 0;
        for _ in 0..self.unread.len().min(POLLS_PER_ROUND) {
            let Some(index) = self.unread.pop_front() else {
                break;
            };
            self.unasked = self.unasked.saturating_sub(1);
            let consumed = self.poll_image(index, handler);
            if consumed > 0 {
                self.unasked = self.unread.len();
            }
            work += consumed;
        }
        self.unasked = self.unasked.min(self.unread.len());
        // Nobody knows yet whether the others have to wait.
        work + usize::from(self.unasked > 0)
    }

    fn poll_image(
        &mut self,
        index: u32,
        handler: &mut impl FnMut(SocketAddr, Standing, bool, &Message<'_>) -> Handled,
    ) -> usize {
        let Some(row) = self.table.at_mut(index) else {
            return 0;
        };
        let (source, before) = (row.image.source(), row.standing);
        let mut standing = before;
        let mut is_put_off = row.is_put_off;
        let too_long = row.image.counters().messages_too_long;
        let consumed = row.image.poll(FRAGMENTS_PER_POLL, &mut |message| {
            let (action, seen) = handler(source, standing, is_put_off, &message);
            standing = seen;
            is_put_off = action == PollAction::Abort;
            action
        });
        row.is_put_off = is_put_off;
        let too_long = row.image.counters().messages_too_long - too_long;
        if too_long > 0 {
            let before = self.mishaps.too_long.map_or(0, |(_, count)| count);
            self.mishaps.too_long = Some((source, before + too_long));
        }
        if !row.image.is_polled_out() {
            self.unread.push_back(index);
        }
        if consumed > 0 {
            self.due.push(index);
        }
        if standing != before {
            if let (Standing::Served(client), None) = (standing, before.client()) {
                self.keep(client, IMAGES_PER_CLIENT - 1);
            }
            self.set_standing(index, standing);
            self.trim_strangers(self.group(source));
        }
        consumed
    }

    /// Sends status messages and NAKs where something happened or is due; drops images that
    /// have ended.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let mut work = self.half_open.do_work(now, port);
        let visits = self.due.begin_cycle(now);
        for _ in 0..visits.count {
            let Some(index) = self.due.pop() else {
                break;
            };
            let Some(row) = self.table.at_mut(index) else {
                continue;
            };
            work += row.image.do_work(now, port);
            let (is_closed, deadline) = (row.image.is_closed(now), row.image.next_deadline());
            if is_closed {
                self.remove(index);
                work += 1;
            } else {
                self.due.set_deadline(index, deadline);
            }
        }
        work + usize::from(visits.has_more)
    }

    /// The next moment an image has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.unasked > 0 || self.half_open.has_answers() {
            return Some(0);
        }
        self.due.next_deadline()
    }
}

#[cfg(test)]
mod tests;
