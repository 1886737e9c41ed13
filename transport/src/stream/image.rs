//! The receiver's copy of one publication: log buffer, receiver, and the subscriber's end with
//! reassembly of fragmented messages.

use core::net::SocketAddr;
use std::io;

use super::StreamIds;
use super::stream_receiver::{ReceiverConfig, ReceiverCounters, StreamReceiver};
use crate::datagram_port::DatagramPort;
use crate::log_buffer::{Frame, HEADER_LENGTH, LogBuffer, message_length_max};
use crate::marks::{Mark, sometimes};
use crate::position::{Geometry, Position, TERM_LENGTH_MIN};
use crate::protocol::{Packet, Setup};
use crate::time::{Nanos, SECOND, earliest};

/// An ended image tells its sender so for this long before it may be dropped.
const IMAGE_LINGER_NS: Nanos = SECOND;

/// What an application accepts of strangers' streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Longest term in bytes; an image takes three of them.
    pub term_length_max: usize,
    /// Longest message in bytes; longer ones are dropped and counted.
    pub message_max: usize,
    /// Bytes the sender may have under way; at most half a term is used.
    pub window_length: usize,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            term_length_max: 16 * 1024 * 1024,
            message_max: 1024 * 1024,
            window_length: ReceiverConfig::WINDOW_LENGTH,
        }
    }
}

/// Why no image was made of a SETUP.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Terms longer than the application accepts.
    #[error("terms of {length} bytes, at most {length_max} are accepted")]
    TermLength {
        /// What the sender uses.
        length: usize,
        /// What is accepted.
        length_max: usize,
    },
    /// Datagrams that do not fit the window.
    #[error("datagrams of {mtu} bytes do not fit a window of {window_length}")]
    Mtu {
        /// What the sender uses.
        mtu: usize,
        /// The window.
        window_length: usize,
    },
    /// A position that is none, or terms that are none.
    #[error("the SETUP describes no stream")]
    Setup,
    /// No memory.
    #[error("no memory for the image: {0}")]
    Memory(#[from] io::Error),
}

/// A whole message, as handed to a poll handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The message, reassembled.
    pub payload: &'a [u8],
    /// End of its last frame in the stream.
    pub position: Position,
    /// Session it came on.
    pub session_id: i32,
    /// Stream it came on.
    pub stream_id: i32,
}

/// What a poll handler did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollAction {
    /// It is done with; go on.
    Continue,
    /// Not now: stop, and hand the same message over again at the next poll.
    Abort,
}

/// What an [`Image`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageCounters {
    /// Messages longer than accepted.
    pub messages_too_long: u64,
    /// Fragments without their beginning.
    pub fragments_dropped: u64,
}

/// Reassembly of the message at the subscriber's position.
#[derive(Debug)]
struct Assembly {
    /// Capacity is the longest message accepted; never grows.
    bytes: Vec<u8>,
    message_max: usize,
    is_begun: bool,
}

/// One publication as its receiver sees it.
#[derive(Debug)]
pub struct Image {
    log: LogBuffer,
    receiver: StreamReceiver,
    position: Position,
    assembly: Assembly,
    counters: ImageCounters,
    /// When it ended; filled in by the first `do_work` after that.
    ended: Option<Nanos>,
}

/// The stream that a SETUP describes, as a receiver within its limits would take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedStream {
    /// Terms of the stream.
    pub geometry: Geometry,
    /// Where the sender stands.
    pub position: Position,
    /// Bytes that would be taken in advance.
    pub window_length: usize,
}

impl OfferedStream {
    /// What `setup` offers.
    ///
    /// # Errors
    /// Why the stream is not accepted; nothing must be sent to its sender then.
    pub fn new(setup: &Setup, limits: &ImageLimits) -> Result<Self, ImageError> {
        let geometry = setup.geometry().ok_or(ImageError::Setup)?;
        let position = setup.position().ok_or(ImageError::Setup)?;
        let term_length = geometry.term_length();
        if term_length > limits.term_length_max.max(TERM_LENGTH_MIN) {
            return Err(ImageError::TermLength {
                length: term_length,
                length_max: limits.term_length_max,
            });
        }
        let window_length = limits.window_length.min(term_length / 2);
        let mtu = setup.mtu();
        if mtu > window_length || mtu <= HEADER_LENGTH {
            return Err(ImageError::Mtu { mtu, window_length });
        }
        Ok(Self {
            geometry,
            position,
            window_length,
        })
    }
}

impl Image {
    /// Makes an image of the stream that `setup` from `source` describes, starting at the
    /// sender's position.
    ///
    /// # Errors
    /// Why the stream is not accepted; nothing must be sent to its sender then.
    pub fn from_setup(
        now: Nanos,
        setup: &Setup,
        source: SocketAddr,
        receiver_id: i64,
        limits: &ImageLimits,
    ) -> Result<Self, ImageError> {
        let OfferedStream {
            geometry,
            position,
            window_length,
        } = OfferedStream::new(setup, limits)?;
        let mtu = setup.mtu();
        let ids = StreamIds {
            session_id: setup.session_id(),
            stream_id: setup.stream_id(),
        };
        let config = ReceiverConfig {
            window_length,
            receiver_id,
            ..ReceiverConfig::default()
        };
        let mut log = LogBuffer::allocate(geometry, mtu)?;
        log.describe(ids.session_id, ids.stream_id);
        log.restart(position, &[]);
        let mut receiver = StreamReceiver::new(ids, geometry, mtu, position, config, source);
        receiver.on_setup(now, setup);
        let message_max = limits
            .message_max
            .min(message_length_max(geometry.term_length()));
        Ok(Self {
            log,
            receiver,
            position,
            assembly: Assembly {
                bytes: Vec::with_capacity(message_max),
                message_max,
                is_begun: false,
            },
            counters: ImageCounters::default(),
            ended: None,
        })
    }

    /// Takes a packet of its sender: data, heartbeat, SETUP or round trip.
    pub fn on_packet(&mut self, now: Nanos, packet: &Packet<'_>) {
        match packet {
            Packet::Data(data) => {
                self.receiver.on_data(now, &mut self.log, data);
            }
            Packet::Heartbeat(heartbeat) => self.receiver.on_heartbeat(now, heartbeat),
            Packet::Setup(setup) => self.receiver.on_setup(now, setup),
            Packet::Rtt(rtt) => self.receiver.on_rtt(now, rtt),
            Packet::StatusMessage(_) | Packet::Nak(_) | Packet::Error(_) => {}
        }
    }

    /// Hands the messages that are complete to `handler`, looking at no more than
    /// `fragment_limit` frames. Returns how many frames were consumed.
    pub fn poll(
        &mut self,
        fragment_limit: usize,
        handler: &mut impl FnMut(Message<'_>) -> PollAction,
    ) -> usize {
        let ids = self.receiver.ids();
        let end = self.receiver.rebuild_position();
        let start = self.position;
        let mut fragments = 0;
        while fragments < fragment_limit && self.position < end {
            let geometry = self.log.geometry();
            let term_end = geometry.term_start(self.position) + geometry.term_length() as Position;
            let length = (end.min(term_end) - self.position) as usize;
            let frame = Frame::first(self.log.bytes(self.position, length))
                .expect("frames below the rebuild position were checked to be whole");
            let next = self.position + frame.aligned_length() as Position;
            let Some(payload) = self.assembly.add(&frame, &mut self.counters) else {
                self.position = next;
                fragments += 1;
                continue;
            };
            let message = Message {
                payload,
                position: next,
                session_id: ids.session_id,
                stream_id: ids.stream_id,
            };
            if handler(message) == PollAction::Abort {
                sometimes(Mark::MessageLeftForLater);
                self.assembly.take_back(&frame);
                break;
            }
            self.assembly.is_begun = false;
            self.position = next;
            fragments += 1;
        }
        let consumed = (self.position - start) as usize;
        if consumed > 0 {
            self.log.clean_ahead(self.position, 2 * consumed);
        }
        fragments
    }

    /// Sends status messages and NAKs. Returns the datagrams sent.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        if self.ended.is_none() && self.has_ended() {
            self.ended = Some(now);
        }
        self.receiver.do_work(now, &self.log, self.position, port)
    }

    /// Leaves the stream: its sender is told for a second, then the image is closed.
    pub fn close(&mut self, now: Nanos) {
        self.receiver.leave();
        self.ended.get_or_insert(now);
    }

    /// Whether the image may be dropped: its sender has gone silent, or it has ended, was
    /// consumed, and has told its sender so for a second.
    #[must_use]
    pub fn is_closed(&self, now: Nanos) -> bool {
        !self.receiver.is_alive(now)
            || self
                .ended
                .is_some_and(|since| now - since >= IMAGE_LINGER_NS)
    }

    /// Whether the stream has ended and everything of it is consumed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.receiver.is_end_of_stream() && self.position >= self.receiver.rebuild_position()
    }

    /// Whether nothing waits to be polled.
    #[must_use]
    pub const fn is_polled_out(&self) -> bool {
        self.position >= self.receiver.rebuild_position()
    }

    /// How far it is consumed.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Its session id.
    #[must_use]
    pub const fn session_id(&self) -> i32 {
        self.receiver.ids().session_id
    }

    /// Its stream id.
    #[must_use]
    pub const fn stream_id(&self) -> i32 {
        self.receiver.ids().stream_id
    }

    /// Its sender's address.
    #[must_use]
    pub const fn source(&self) -> SocketAddr {
        self.receiver.source()
    }

    /// What was dropped on the subscriber's side.
    #[must_use]
    pub const fn counters(&self) -> &ImageCounters {
        &self.counters
    }

    /// What its receiver has done and refused.
    #[must_use]
    pub const fn receiver_counters(&self) -> &ReceiverCounters {
        self.receiver.counters()
    }

    /// When something is due even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let closing = self.ended.map(|since| since + IMAGE_LINGER_NS);
        earliest(self.receiver.next_deadline(), closing)
    }
}

impl Assembly {
    /// Adds a frame; returns the message when it is whole.
    fn add<'a>(&'a mut self, frame: &Frame<'a>, counters: &mut ImageCounters) -> Option<&'a [u8]> {
        if frame.is_padding() {
            return None;
        }
        let payload = frame.payload();
        if frame.is_begin() {
            self.bytes.clear();
            self.is_begun = true;
        } else if !self.is_begun {
            // The rest of a message that began before this image did, or was too long.
            counters.fragments_dropped += 1;
            return None;
        }
        if payload.len() > self.message_max - self.bytes.len() {
            counters.messages_too_long += 1;
            self.is_begun = false;
            return None;
        }
        if frame.is_begin() && frame.is_end() {
            return Some(payload);
        }
        self.bytes.extend_from_slice(payload);
        frame.is_end().then_some(&self.bytes)
    }

    /// Undoes [`add`](Self::add) for a message that was not taken.
    fn take_back(&mut self, frame: &Frame<'_>) {
        let kept = self.bytes.len().saturating_sub(frame.payload().len());
        self.bytes.truncate(kept);
    }
}

#[cfg(test)]
mod tests;
