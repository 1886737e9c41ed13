//! A stream of messages to one destination: log buffer, appender and sender in one.

use core::net::SocketAddr;
use std::io;

use super::StreamIds;
use super::frame_source::LogBufferSource;
use super::stream_sender::{SenderConfig, SenderCounters, StreamSender};
use crate::datagram_port::{DATAGRAM_LENGTH_MAX, DatagramPort};
use crate::log_buffer::{
    ExclusiveAppender, HEADER_LENGTH, LogBuffer, Offer, PlainSeal, message_length_max,
};
use crate::position::{FRAME_ALIGNMENT, Geometry, Position};
use crate::protocol::Packet;
use crate::time::Nanos;

/// Parameters of a [`Publication`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicationConfig {
    /// Names this publication to its receiver; random, never reused towards the same one.
    pub session_id: i32,
    /// Which stream.
    pub stream_id: i32,
    /// Random, so that frames of an older publication do not fit.
    pub initial_term_id: i32,
    /// Bytes of a term: a power of two from 64 KiB to 1 GiB.
    pub term_length: usize,
    /// Largest datagram in bytes: a multiple of 32 above 32.
    pub mtu: usize,
    /// The receiver's address.
    pub destination: SocketAddr,
}

/// An exclusive unicast publication.
#[derive(Debug)]
pub struct Publication {
    log: LogBuffer,
    appender: ExclusiveAppender,
    sender: StreamSender,
    cleaned_at: Position,
    is_closed: bool,
}

impl Publication {
    /// A publication with its own log buffer. It sets up at the next
    /// [`do_work`](Self::do_work).
    ///
    /// # Errors
    /// `InvalidInput` for a term length or MTU that no stream can have; the operating
    /// system's when it has no memory to give.
    pub fn new(config: PublicationConfig) -> io::Result<Self> {
        let geometry = Geometry::new(config.initial_term_id, config.term_length);
        let is_mtu = config.mtu > HEADER_LENGTH
            && config.mtu.is_multiple_of(FRAME_ALIGNMENT)
            && config.mtu <= DATAGRAM_LENGTH_MAX
            && config.mtu <= message_length_max(config.term_length);
        let Some(geometry) = geometry.filter(|_| is_mtu) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no stream has this term length and MTU",
            ));
        };
        let PublicationConfig {
            session_id,
            stream_id,
            mtu,
            destination,
            ..
        } = config;
        let ids = StreamIds {
            session_id,
            stream_id,
        };
        let mut log = LogBuffer::allocate(geometry, mtu)?;
        log.describe(session_id, stream_id);
        let timers = SenderConfig::default();
        Ok(Self {
            log,
            appender: ExclusiveAppender::new(geometry, session_id, stream_id, mtu, 0),
            sender: StreamSender::new(ids, geometry, mtu, 0, destination, timers),
            cleaned_at: 0,
            is_closed: false,
        })
    }

    /// Appends the concatenation of `parts`. At most half a term may be unsent, and three
    /// quarters not yet consumed: memory keeps a whole term, so repetition stays possible.
    pub fn offer(&mut self, now: Nanos, parts: &[&[u8]]) -> Offer {
        if self.is_closed {
            return Offer::Closed;
        }
        if !self.sender.is_connected(now) {
            return Offer::NotConnected;
        }
        let half_term = self.log.geometry().term_length() as Position / 2;
        let limit = (self.sender.position() + half_term)
            .min(self.sender.consumption() + half_term + half_term / 2);
        self.appender
            .offer(&mut self.log, limit, parts, &mut PlainSeal)
    }

    /// Takes a packet of its receiver: status message, NAK, round trip or error. Returns `false`
    /// for one that has no place in the stream, or refuses it.
    pub fn on_packet(&mut self, now: Nanos, packet: &Packet<'_>) -> bool {
        let refused = self.sender.counters().packets_refused();
        match packet {
            Packet::StatusMessage(status) => self.sender.on_status_message(now, status),
            Packet::Nak(nak) => self.sender.on_nak(now, nak),
            Packet::Rtt(rtt) => self.sender.on_rtt(now, rtt),
            Packet::Error(error) => self.sender.on_error(now, error),
            Packet::Data(_) | Packet::Heartbeat(_) | Packet::Setup(_) => {}
        }
        self.sender.counters().packets_refused() == refused
    }

    /// Sends what is due. Returns the datagrams sent.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let end = self.appender.position();
        let mut source = LogBufferSource::new(&self.log, end);
        let sent = self.sender.do_work(now, &mut source, port);
        let grown = (end - self.cleaned_at) as usize;
        if grown > 0 {
            self.cleaned_at = end;
            self.log.clean_ahead(end, 2 * grown);
        }
        sent
    }

    /// Takes no more messages; sends what is left and announces the end.
    pub fn close(&mut self) {
        if !self.is_closed {
            self.is_closed = true;
            self.log.put_end_of_stream(self.appender.position());
            self.sender.close();
        }
    }

    /// Whether a closed publication has come to its end.
    #[must_use]
    pub fn is_done(&self, now: Nanos) -> bool {
        self.sender.is_done(now)
    }

    /// Whether its receiver was heard of within the connection timeout.
    #[must_use]
    pub fn is_connected(&self, now: Nanos) -> bool {
        self.sender.is_connected(now)
    }

    /// When its receiver will count as gone unless it is heard of again; `None` when it does.
    #[must_use]
    pub fn connected_until(&self) -> Option<Nanos> {
        self.sender.connected_until()
    }

    /// Sends at most `count` SETUPs from now on until the receiver is heard of.
    pub const fn limit_setups(&mut self, count: u32) {
        self.sender.limit_setups(count);
    }

    /// End of the last message appended.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.appender.position()
    }

    /// Its session id.
    #[must_use]
    pub const fn session_id(&self) -> i32 {
        self.sender.ids().session_id
    }

    /// Its stream id.
    #[must_use]
    pub const fn stream_id(&self) -> i32 {
        self.sender.ids().stream_id
    }

    /// What its sender has done and refused.
    #[must_use]
    pub const fn counters(&self) -> &SenderCounters {
        self.sender.counters()
    }

    /// When something is due even if nothing arrives and nothing is offered.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.sender.next_deadline()
    }
}
