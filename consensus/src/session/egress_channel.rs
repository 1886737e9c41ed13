//! One egress publication towards a client, and the session events that go first on it.
//!
//! A channel is opened for whoever sends a connect request; it belongs to a session only once
//! an OK was queued on it, and to that session until it ends: another process at the same address
//! is given another channel. Events wait until the client's subscription is connected (its first
//! status message), and always precede responses (`log.md` 7.2).

use core::net::SocketAddr;
use std::io;

use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::ids::SessionId;
use lockstep_transport::invariant;
use lockstep_transport::protocol::Packet;
use lockstep_transport::stream::{Offer, Publication, PublicationConfig};
use lockstep_transport::time::{Nanos, SECOND, earliest};

/// Most events that may wait on one channel: a client has one connect under way at a time,
/// and repeats are answered by the event that already waits.
pub(super) const CHANNEL_EVENTS_MAX: usize = 8;

/// Longest event in bytes: a header and the endpoints of seven members.
pub(crate) const EVENT_LENGTH_MAX: usize = 512;

/// A channel nobody connects to for so long is given up.
const CONNECT_TIMEOUT_NS: Nanos = 5 * SECOND;

/// A channel whose client was not heard for so long is told: by then the SETUPs for a connect
/// request have long been sent, and no more will follow.
const UNHEARD_NS: Nanos = SECOND;

/// SETUPs sent for a connect request before the client's subscription is heard of: the address
/// of a stranger may be forged. A client that lost all of them asks again.
const SETUPS_PER_REQUEST: u32 = 3;

/// An encoded session event.
#[derive(Clone, Copy, Debug)]
struct PendingEvent {
    bytes: [u8; EVENT_LENGTH_MAX],
    length: usize,
}

/// An egress publication and its waiting events.
#[derive(Debug)]
pub struct EgressChannel {
    publication: Publication,
    address: SocketAddr,
    stream_id: i32,
    events: Vec<PendingEvent>,
    session: Option<SessionId>,
    opened: Nanos,
    was_connected: bool,
    /// An event has left on it since it was last given to somebody: the client knows whose
    /// stream it is.
    is_introduced: bool,
    is_told_unheard: bool,
    is_closing: bool,
}

impl EgressChannel {
    /// Opens a channel; its publication starts to set up at the next `do_work`.
    ///
    /// # Errors
    /// The operating system's, when there is no memory for a log buffer.
    pub fn open(config: PublicationConfig, now: Nanos) -> io::Result<Self> {
        let address = config.destination;
        let stream_id = config.stream_id;
        Ok(Self {
            publication: Publication::new(config)?,
            address,
            stream_id,
            events: Vec::with_capacity(CHANNEL_EVENTS_MAX),
            session: None,
            opened: now,
            was_connected: false,
            is_introduced: false,
            is_told_unheard: false,
            is_closing: false,
        })
    }

    /// Whether it leads to this client and has never been used. One that belongs to a session is
    /// fresh for that `session` alone.
    ///
    /// A channel that was connected once is not used for a second introduction: the client may
    /// have given its image up, and would join a stream that began before its request.
    #[must_use]
    pub fn is_fresh_for(
        &self,
        address: SocketAddr,
        stream_id: i32,
        session: Option<SessionId>,
    ) -> bool {
        let is_client = self.address == address && self.stream_id == stream_id;
        is_client && !self.is_closing && !self.was_connected && !self.is_anothers(session)
    }

    /// Whether it belongs to a session, and not to this one. It never changes hands: a client
    /// that starts again at its address is given another channel.
    #[must_use]
    pub(crate) fn is_anothers(&self, session: Option<SessionId>) -> bool {
        self.session.is_some() && self.session != session
    }

    /// The client's address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The session it belongs to.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Gives it to a session, which the next event on it must tell. It must not be another's.
    pub fn bind(&mut self, session: SessionId) {
        invariant!(
            ChannelKeepsItsSession,
            !self.is_anothers(Some(session)),
            "S4: the channel of session {:?} is given to session {session}",
            self.session
        );
        self.session = Some(session);
        self.is_introduced = false;
    }

    /// Queues an event. When too many wait the oldest gives way: a client acts on the newest.
    pub(crate) fn queue_event(&mut self, event: &[u8]) {
        assert!(
            event.len() <= EVENT_LENGTH_MAX,
            "an event of {} bytes",
            event.len()
        );
        if self.events.len() == CHANNEL_EVENTS_MAX {
            self.events.remove(0);
        }
        let mut bytes = [0; EVENT_LENGTH_MAX];
        bytes[..event.len()].copy_from_slice(event);
        self.events.push(PendingEvent {
            bytes,
            length: event.len(),
        });
    }

    /// Events that wait.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) const fn events_waiting(&self) -> usize {
        self.events.len()
    }

    /// Whether messages may be offered: connected, its first event has left, and none waits.
    #[must_use]
    pub(crate) fn is_live(&self, now: Nanos) -> bool {
        let is_told = self.is_introduced && self.events.is_empty();
        is_told && !self.is_closing && self.publication.is_connected(now)
    }

    /// Whether events wait to be sent.
    #[must_use]
    pub(crate) const fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Offers a message, as its header and payload. Returns whether it was taken.
    pub fn offer(&mut self, now: Nanos, parts: &[&[u8]]) -> bool {
        self.is_live(now) && matches!(self.publication.offer(now, parts), Offer::Accepted(_))
    }

    /// Offers a response of `session`, as its header and payload. Returns whether it was taken.
    pub fn answer(&mut self, now: Nanos, session: SessionId, parts: &[&[u8]]) -> bool {
        if !self.is_live(now) {
            return false;
        }
        invariant!(
            AnswersOnOwnChannel,
            self.session == Some(session),
            "S4: an answer of session {session} on the channel of session {:?}",
            self.session
        );
        self.offer(now, parts)
    }

    /// Sends what is left, then ends the stream.
    pub fn close(&mut self) {
        self.is_closing = true;
        self.session = None;
        if self.events.is_empty() {
            self.publication.close();
        }
    }

    /// Ends the stream at once; what waits is dropped.
    pub fn abandon(&mut self) {
        self.events.clear();
        self.close();
    }

    /// Whether it takes nothing more.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// When it was opened.
    #[must_use]
    pub const fn opened(&self) -> Nanos {
        self.opened
    }

    /// Whoever lives at its address has asked: a few SETUPs may leave before it is heard of.
    pub(crate) const fn allow_setups(&mut self) {
        self.publication.limit_setups(SETUPS_PER_REQUEST);
    }

    /// Sends that the port has put off so far.
    #[must_use]
    pub const fn back_pressured(&self) -> u64 {
        self.publication.counters().back_pressured
    }

    /// Hands over a status message or NAK of the client. Returns `false` for one that has no
    /// place in the stream, or refuses it.
    pub fn on_packet(&mut self, now: Nanos, packet: &Packet<'_>) -> bool {
        self.publication.on_packet(now, packet)
    }

    /// Transport session id of the publication.
    #[must_use]
    pub(crate) fn transport_session_id(&self) -> i32 {
        self.publication.session_id()
    }

    /// Sends events, data, heartbeats and retransmissions.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let mut work = 0;
        if !self.events.is_empty() && self.publication.is_connected(now) {
            work += self.send_events(now);
        }
        self.was_connected |= self.publication.is_connected(now);
        work + self.publication.do_work(now, port)
    }

    fn send_events(&mut self, now: Nanos) -> usize {
        let mut sent = 0;
        for event in &self.events {
            let bytes = &event.bytes[..event.length];
            if !matches!(self.publication.offer(now, &[bytes]), Offer::Accepted(_)) {
                break;
            }
            sent += 1;
        }
        self.is_introduced |= sent > 0;
        self.events.drain(..sent);
        if self.is_closing && self.events.is_empty() {
            self.publication.close();
        }
        sent
    }

    /// Whether its client should have been heard by now and was not: true once.
    pub(crate) fn take_unheard(&mut self, now: Nanos) -> bool {
        let is_unheard = self.is_silent() && now - self.opened >= UNHEARD_NS;
        self.is_told_unheard |= is_unheard;
        is_unheard
    }

    /// Whether somebody is to be told something and nobody has been heard or given up yet.
    const fn is_silent(&self) -> bool {
        !self.was_connected && !self.is_told_unheard && !self.events.is_empty()
    }

    /// Whether the channel has come to its end and may be dropped.
    #[must_use]
    pub fn is_done(&self, now: Nanos) -> bool {
        if self.publication.is_done(now) {
            return true;
        }
        if self.was_connected {
            // A client that vanished without a word: five seconds without a status message.
            return !self.publication.is_connected(now);
        }
        now - self.opened > CONNECT_TIMEOUT_NS
    }

    /// When it has something to do even if nothing arrives and nothing is offered: the
    /// publication's own deadline, or that of its end.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let end = if self.was_connected {
            self.publication.connected_until().unwrap_or(0)
        } else if self.is_silent() {
            self.opened + UNHEARD_NS
        } else {
            self.opened + CONNECT_TIMEOUT_NS + 1
        };
        earliest(self.publication.next_deadline(), Some(end))
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::position::Geometry;
    use lockstep_transport::protocol::StatusMessage;
    use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};

    use super::*;

    const STREAM_ID: i32 = 2;
    const TRANSPORT_SESSION: i32 = 1;
    const TERM_LENGTH: usize = 1 << 16;
    const SESSION: SessionId = SessionId::new(7);

    /// A channel whose client has been heard, and the port it sends through.
    fn connected() -> (EgressChannel, SimPort) {
        let config = PublicationConfig {
            session_id: TRANSPORT_SESSION,
            stream_id: STREAM_ID,
            initial_term_id: 0,
            term_length: TERM_LENGTH,
            mtu: 1408,
            destination: "10.0.0.9:7".parse().unwrap(),
        };
        let mut channel = EgressChannel::open(config, 0).unwrap();
        let geometry = Geometry::new(0, TERM_LENGTH).unwrap();
        let window = TERM_LENGTH / 2;
        let heard = StatusMessage::new(TRANSPORT_SESSION, STREAM_ID, 5, (geometry, 0), window);
        assert!(channel.on_packet(0, &Packet::StatusMessage(heard)));
        let network = SimNetwork::new(1, LinkProfile::default());
        (channel, network.port("10.0.0.1:7".parse().unwrap()))
    }

    #[test]
    fn nothing_leaves_on_a_channel_before_the_event_that_says_whose_it_is() {
        let (mut channel, mut port) = connected();
        channel.do_work(1, &mut port);
        assert!(
            !channel.offer(1, &[b"refused"]),
            "its client knows of no session yet"
        );
        channel.queue_event(b"ok");
        channel.bind(SESSION);
        assert!(
            !channel.answer(1, SESSION, &[b"answer"]),
            "the event waits still"
        );
        channel.do_work(1, &mut port);
        assert!(channel.answer(1, SESSION, &[b"answer"]) && channel.offer(1, &[b"refused"]));
    }

    #[test]
    fn a_channel_given_to_a_session_anew_waits_for_the_next_event() {
        let (mut channel, mut port) = connected();
        channel.queue_event(b"wait");
        channel.do_work(1, &mut port);
        assert!(channel.is_live(1));
        channel.bind(SESSION);
        assert!(!channel.is_live(1) && !channel.answer(1, SESSION, &[b"answer"]));
        channel.queue_event(b"ok");
        channel.do_work(1, &mut port);
        assert!(channel.answer(1, SESSION, &[b"answer"]));
    }

    #[test]
    #[should_panic(expected = "S4: an answer of session 8 on the channel of session Some(7)")]
    fn an_answer_of_another_session_is_never_sent() {
        let (mut channel, mut port) = connected();
        channel.queue_event(b"ok");
        channel.bind(SESSION);
        channel.do_work(1, &mut port);
        channel.answer(1, SESSION.next(), &[b"answer"]);
    }
}
