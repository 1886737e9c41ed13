//! The sending side of one unicast stream (`wire.md` A.9 to A.11, A.13, A.16, A.21).
//!
//! Owned by whoever owns the stream's log; it keeps cursors and timers only and reads frames
//! from the [`FrameSource`] handed in. It sends nothing but SETUP before the first status
//! message, never beyond the receiver's window, and never loses its position: a port that is
//! full is tried again in the next cycle.

use core::net::SocketAddr;

use zerocopy::FromBytes;

use super::StreamIds;
use super::frame_source::{FrameSource, SourceFrames};
use super::retransmission::{Retransmission, mark_nak, mark_refused_nak};
use crate::datagram_port::{DatagramPort, SendOutcome};
use crate::log_buffer::gap_scanner::HOLE_LENGTH_MAX;
use crate::log_buffer::{DataHeader, HEADER_LENGTH, message_length_max};
use crate::marks::{Mark, sometimes};
use crate::position::{Geometry, Position};
use crate::protocol::{ErrorFrame, Heartbeat, Nak, Rtt, Setup, StatusMessage};
use crate::time::{MILLISECOND, Nanos, SECOND, earliest};

/// Timers and bounds of a [`StreamSender`]; the defaults are Aeron's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderConfig {
    /// SETUPs are at least so far apart.
    pub setup_interval_ns: Nanos,
    /// A heartbeat leaves after so long without data.
    pub heartbeat_interval_ns: Nanos,
    /// Without a status message for so long the receiver counts as gone.
    pub connection_timeout_ns: Nanos,
    /// After the end of the stream it is announced for so long.
    pub linger_ns: Nanos,
    /// Datagrams sent per call at most, so that one stream cannot starve the others.
    pub datagrams_per_call: usize,
}

impl SenderConfig {
    /// Datagrams sent per call by default.
    pub const DATAGRAMS_PER_CALL: usize = 32;
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            setup_interval_ns: 100 * MILLISECOND,
            heartbeat_interval_ns: 100 * MILLISECOND,
            connection_timeout_ns: 5 * SECOND,
            linger_ns: 5 * SECOND,
            datagrams_per_call: Self::DATAGRAMS_PER_CALL,
        }
    }
}

/// What a [`StreamSender`] has done and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderCounters {
    /// Datagrams sent again.
    pub retransmits_sent: u64,
    /// Sends that found the port full and were put off.
    pub back_pressured: u64,
    /// Status messages outside what the stream permits.
    pub status_messages_rejected: u64,
    /// NAKs outside what the stream permits.
    pub naks_rejected: u64,
    /// NAKs for what was just sent again.
    pub naks_suppressed: u64,
    /// Error frames of the receiver.
    pub errors_received: u64,
}

impl SenderCounters {
    /// Packets of the receiver that have no place in the stream, or refuse it.
    #[must_use]
    pub(crate) const fn packets_refused(&self) -> u64 {
        self.status_messages_rejected + self.naks_rejected + self.errors_received
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Sending.
    Active,
    /// Closed; what is left is being sent.
    Draining,
    /// Everything sent, the end announced since then.
    Linger(Nanos),
    /// Nothing left to do.
    Done,
}

/// The sending side of a stream to one receiver.
#[derive(Debug)]
pub struct StreamSender {
    ids: StreamIds,
    geometry: Geometry,
    mtu: usize,
    receiver_address: SocketAddr,
    config: SenderConfig,
    state: State,
    position: Position,
    limit: Position,
    /// Highest consumption position reported.
    consumption: Position,
    /// Time of the last status message of a live receiver.
    last_status: Option<Nanos>,
    has_been_connected: bool,
    is_setup_elicited: bool,
    /// SETUPs that may still be sent before the first status message.
    setups_left: u32,
    is_gone: bool,
    last_setup: Option<Nanos>,
    /// Time of the last data or heartbeat.
    last_sent: Option<Nanos>,
    retransmission: Retransmission,
    rtt_reply: Option<Rtt>,
    counters: SenderCounters,
}

impl StreamSender {
    /// A sender of the stream `ids` from `start`, a frame boundary, to `receiver_address`, in
    /// datagrams of at most `mtu` bytes.
    ///
    /// # Panics
    /// When `mtu` is not a multiple of 32 above 32.
    #[must_use]
    pub fn new(
        ids: StreamIds,
        geometry: Geometry,
        mtu: usize,
        start: Position,
        receiver_address: SocketAddr,
        config: SenderConfig,
    ) -> Self {
        assert!(
            mtu > HEADER_LENGTH && mtu.is_multiple_of(HEADER_LENGTH),
            "an MTU of {mtu} bytes"
        );
        Self {
            ids,
            geometry,
            mtu,
            receiver_address,
            config,
            state: State::Active,
            position: start,
            limit: start,
            consumption: start,
            last_status: None,
            has_been_connected: false,
            is_setup_elicited: false,
            setups_left: u32::MAX,
            is_gone: false,
            last_setup: None,
            last_sent: None,
            retransmission: Retransmission::default(),
            rtt_reply: None,
            counters: SenderCounters::default(),
        }
    }

    /// Next byte to be sent for the first time.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// End of the receiver's window.
    #[must_use]
    pub const fn limit(&self) -> Position {
        self.limit
    }

    /// How far the receiver has consumed the stream, as far as it said so.
    #[must_use]
    pub(crate) const fn consumption(&self) -> Position {
        self.consumption
    }

    /// Session and stream.
    #[must_use]
    pub const fn ids(&self) -> StreamIds {
        self.ids
    }

    /// What was done and refused.
    #[must_use]
    pub const fn counters(&self) -> &SenderCounters {
        &self.counters
    }

    /// Whether a receiver was heard of within the connection timeout.
    #[must_use]
    pub fn is_connected(&self, now: Nanos) -> bool {
        self.last_status
            .is_some_and(|last| now - last < self.config.connection_timeout_ns)
    }

    /// When the receiver will count as gone unless it is heard of again; `None` when it does.
    #[must_use]
    pub fn connected_until(&self) -> Option<Nanos> {
        self.last_status
            .map(|last| last + self.config.connection_timeout_ns)
    }

    /// Sends at most `count` SETUPs from now on until the receiver is heard of: a stranger's
    /// address may be forged, and whoever lives there must not be sent more than was asked for.
    pub const fn limit_setups(&mut self, count: u32) {
        self.setups_left = count;
    }

    /// Ends the stream at the source's limit: what is left is sent, then the end announced.
    pub fn close(&mut self) {
        if self.state == State::Active {
            self.state = State::Draining;
        }
    }

    /// Whether everything up to the source's `end` was sent, or nobody is there to send to.
    #[must_use]
    pub fn is_drained(&self, now: Nanos, end: Position) -> bool {
        self.position >= end || !self.is_connected(now)
    }

    /// Whether a closed stream has come to its end.
    #[must_use]
    pub fn is_done(&self, now: Nanos) -> bool {
        match self.state {
            State::Linger(since) => now - since >= self.config.linger_ns,
            State::Done => true,
            State::Active | State::Draining => false,
        }
    }

    /// Takes a status message of the stream's receiver.
    pub fn on_status_message(&mut self, now: Nanos, status: &StatusMessage) {
        if !self.is_ours(status.session_id(), status.stream_id()) {
            // Whoever sends notes it: see `counters`.
            self.counters.status_messages_rejected += 1;
            return;
        }
        if status.is_send_setup() {
            sometimes(Mark::SetupElicited);
            self.is_setup_elicited |= matches!(self.state, State::Active | State::Draining);
            return;
        }
        let half_term = self.geometry.term_length() / 2;
        // The position may have passed the limit by a PAD, which is not the receiver's doing.
        let lowest = self.position.min(self.limit) - half_term as Position;
        let highest = self.position + half_term as Position;
        let position = status
            .position(self.geometry)
            .filter(|position| (lowest..=highest).contains(position));
        let Some(position) = position.filter(|_| status.window() <= half_term) else {
            sometimes(Mark::StatusOutOfReach);
            // As above.
            self.counters.status_messages_rejected += 1;
            return;
        };
        if status.is_end_of_stream() {
            self.disconnect();
            return;
        }
        self.last_status = Some(now);
        self.has_been_connected = true;
        self.is_setup_elicited = false;
        self.consumption = self.consumption.max(position);
        self.limit = self.limit.max(position + status.window() as Position);
    }

    /// Takes a NAK of the stream's receiver.
    pub fn on_nak(&mut self, now: Nanos, nak: &Nak) {
        let keep =
            self.geometry.term_length() / 2 + message_length_max(self.geometry.term_length());
        let lowest = self.position - keep as Position;
        let start = nak
            .position(self.geometry)
            .filter(|start| self.is_ours(nak.session_id(), nak.stream_id()) && *start >= lowest)
            .filter(|start| *start < self.position);
        let Some(start) = start else {
            mark_refused_nak(nak.position(self.geometry), lowest);
            // As above.
            self.counters.naks_rejected += 1;
            return;
        };
        // Half of the shortest term is less than the longest hole (A.16).
        let most = HOLE_LENGTH_MAX.min(self.geometry.term_length() / 2);
        let length = most.min(nak.length() as usize);
        let end = self.position.min(start + length as Position);
        mark_nak(self.geometry, (start, end), self.position);
        if !self.retransmission.request(now, start, end) {
            self.counters.naks_suppressed += 1;
        }
    }

    /// Takes a round trip measurement; a request is answered in the next cycle.
    pub(crate) fn on_rtt(&mut self, _now: Nanos, rtt: &Rtt) {
        if rtt.is_request() && self.is_ours(rtt.session_id(), rtt.stream_id()) {
            self.rtt_reply = Some(rtt.reply());
        }
    }

    /// Takes an error frame: the receiver has rejected the stream.
    pub(crate) fn on_error(&mut self, _now: Nanos, error: &ErrorFrame<'_>) {
        if self.is_ours(error.session_id(), error.stream_id()) {
            self.counters.errors_received += 1;
            self.disconnect();
        }
    }

    /// Sends what is due: SETUP, replies, repeated data, new data, heartbeats. Returns the
    /// datagrams sent.
    pub fn do_work(
        &mut self,
        now: Nanos,
        source: &mut impl FrameSource,
        port: &mut impl DatagramPort,
    ) -> usize {
        if self.state == State::Done {
            return 0;
        }
        let mut sent = 0;
        if self.is_setup_due(now) {
            sent += self.send_setup(now, port);
        }
        if !self.has_been_connected {
            if self.state == State::Draining {
                self.state = State::Done;
            }
            return sent;
        }
        sent += self.send_rtt_reply(now, port);
        let (repeated, may_send_new) = self.retransmit(now, source, port);
        sent += repeated;
        if may_send_new {
            sent += self.send_data(now, source, port);
        }
        self.finish(now, source.limit());
        if self.is_heartbeat_due(now) {
            sent += self.send_heartbeat(now, port);
        }
        sent
    }

    /// When something is due even if nothing arrives and nothing is written.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.state == State::Done {
            return None;
        }
        let setup = self.needs_setup().then(|| {
            self.last_setup
                .map_or(0, |last| last + self.config.setup_interval_ns)
        });
        if !self.has_been_connected {
            return setup;
        }
        if self.rtt_reply.is_some() {
            return Some(0);
        }
        let repeated = self.retransmission.next_deadline();
        let heartbeat = self
            .last_sent
            .map_or(0, |last| last + self.config.heartbeat_interval_ns);
        let own = match self.state {
            State::Linger(since) => heartbeat.min(since + self.config.linger_ns),
            _ => heartbeat,
        };
        earliest(repeated, earliest(setup, Some(own)))
    }

    fn is_ours(&self, session_id: i32, stream_id: i32) -> bool {
        self.ids
            == StreamIds {
                session_id,
                stream_id,
            }
    }

    /// The receiver said that it is leaving, or rejected the stream.
    fn disconnect(&mut self) {
        self.last_status = None;
        if matches!(self.state, State::Linger(_)) {
            self.state = State::Done;
        }
    }

    fn needs_setup(&self) -> bool {
        (!self.has_been_connected && self.setups_left > 0) || self.is_setup_elicited
    }

    fn is_setup_due(&self, now: Nanos) -> bool {
        let is_spaced = self
            .last_setup
            .is_none_or(|last| now - last >= self.config.setup_interval_ns);
        self.needs_setup() && is_spaced
    }

    fn send_setup(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let StreamIds {
            session_id,
            stream_id,
        } = self.ids;
        let setup = Setup::new(
            session_id,
            stream_id,
            self.geometry,
            self.mtu,
            self.position,
        );
        if !self.send(now, port, &setup.encode()) {
            return 0;
        }
        self.last_setup = Some(now);
        self.setups_left -= u32::from(!self.has_been_connected && self.setups_left < u32::MAX);
        1
    }

    fn send_rtt_reply(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let Some(reply) = self.rtt_reply else {
            return 0;
        };
        if !self.send(now, port, &reply.encode()) {
            return 0;
        }
        self.rtt_reply = None;
        1
    }

    /// Sends again what was asked for. Returns the datagrams sent, and whether new data may
    /// follow: not while the port is full, nor while the source is reading for the repetition,
    /// which a read elsewhere would make it start over.
    fn retransmit(
        &mut self,
        now: Nanos,
        source: &mut impl FrameSource,
        port: &mut impl DatagramPort,
    ) -> (usize, bool) {
        let mut sent = 0;
        while let Some(position) = self.retransmission.next() {
            if sent == self.config.datagrams_per_call {
                break;
            }
            // Never what was not yet sent for the first time: it may lie beyond the window.
            let length_max = self.mtu.min((self.position - position) as usize);
            match source.frames(position, length_max) {
                SourceFrames::Ready { bytes, advance } if self.is_frame_at(bytes, position) => {
                    crate::invariant!(
                        RepeatsWhatWasSent,
                        position + bytes.len() as Position <= self.position,
                        "T5: {} bytes at {position} are sent again, and {} was sent so far",
                        bytes.len(),
                        self.position
                    );
                    if !self.send(now, port, bytes) {
                        return (sent, false);
                    }
                    sent += 1;
                    self.counters.retransmits_sent += 1;
                    self.retransmission.on_sent(now, advance);
                }
                SourceFrames::NotYet => {
                    return (sent, !self.retransmission.on_not_yet(now));
                }
                SourceFrames::Ready { .. } | SourceFrames::Gone => {
                    // The receiver asks again where it still misses it.
                    self.counters.naks_rejected += 1;
                    self.retransmission.abandon();
                }
            }
        }
        (sent, true)
    }

    /// Whether `bytes` begin with the frame of `position`: a NAK may name any offset, and what
    /// lies there need not be a frame.
    fn is_frame_at(&self, bytes: &[u8], position: Position) -> bool {
        DataHeader::ref_from_prefix(bytes).is_ok_and(|(header, _)| {
            header.term_offset.get() as usize == self.geometry.term_offset(position)
                && header.term_id.get() == self.geometry.term_id(position)
                && header.session_id.get() == self.ids.session_id
                && header.stream_id.get() == self.ids.stream_id
        })
    }

    fn send_data(
        &mut self,
        now: Nanos,
        source: &mut impl FrameSource,
        port: &mut impl DatagramPort,
    ) -> usize {
        let mut sent = 0;
        let end = source.limit();
        while sent < self.config.datagrams_per_call && self.position < end {
            let window = usize::try_from(self.limit - self.position).unwrap_or(0);
            let length_max = window.min(self.mtu);
            if length_max < HEADER_LENGTH {
                sometimes(Mark::FlowControlStops);
                break;
            }
            match source.frames(self.position, length_max) {
                SourceFrames::Ready { bytes, advance } => {
                    crate::invariant!(
                        SentWithinWindow,
                        bytes.len() <= length_max,
                        "T4: {} bytes sent",
                        bytes.len()
                    );
                    if !self.send(now, port, bytes) {
                        break;
                    }
                    self.position += advance as Position;
                    self.last_sent = Some(now);
                    sent += 1;
                }
                SourceFrames::NotYet => break,
                SourceFrames::Gone => {
                    sometimes(Mark::SenderSourceGone);
                    self.is_gone = true;
                    break;
                }
            }
        }
        sent
    }

    /// Moves a closed stream on once everything was sent.
    fn finish(&mut self, now: Nanos, end: Position) {
        match self.state {
            State::Draining if self.is_drained(now, end) => {
                self.state = State::Linger(now);
                // The end is announced at once.
                self.last_sent = None;
            }
            State::Linger(since) if now - since >= self.config.linger_ns => {
                self.state = State::Done;
            }
            _ => {}
        }
    }

    fn is_heartbeat_due(&self, now: Nanos) -> bool {
        let is_idle = self
            .last_sent
            .is_none_or(|last| now - last >= self.config.heartbeat_interval_ns);
        self.state != State::Done && is_idle
    }

    fn send_heartbeat(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        let heartbeat = Heartbeat::new(
            self.ids.session_id,
            self.ids.stream_id,
            self.geometry,
            self.position,
            matches!(self.state, State::Linger(_)),
        );
        if !self.send(now, port, &heartbeat.encode()) {
            return 0;
        }
        self.last_sent = Some(now);
        1
    }

    /// Returns `false` when the port is full. What it refuses for good counts as sent: the
    /// receiver asks for it again.
    fn send(&mut self, now: Nanos, port: &mut impl DatagramPort, datagram: &[u8]) -> bool {
        let outcome = port.send(now, self.receiver_address, datagram);
        let is_taken = outcome != SendOutcome::BackPressured;
        if !is_taken {
            self.counters.back_pressured += 1;
        }
        is_taken
    }
}

#[cfg(test)]
mod tests;
