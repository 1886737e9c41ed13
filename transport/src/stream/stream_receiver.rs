//! The receiving side of one stream: places frames, reports consumption, asks for what is
//! missing (`wire.md` A.9, A.12, A.15, A.21).
//!
//! Owned by whoever owns the log buffer it fills. It never places anything twice, outside the
//! window it announced, or above the limit its owner set; what it refuses is counted.

use core::net::SocketAddr;

use super::StreamIds;
use crate::datagram_port::{DatagramPort, SendOutcome};
use crate::log_buffer::{LogBuffer, gap_scanner, rebuilder};
use crate::marks::{Mark, sometimes};
use crate::position::{FRAME_ALIGNMENT, Geometry, Position};
use crate::protocol::{
    DataPacket, Heartbeat, Nak, Rtt, STATUS_MESSAGE_LENGTH_MAX, Setup, StatusMessage,
};
use crate::time::{MICROSECOND, MILLISECOND, Nanos, SECOND, earliest};

/// The pause before the next NAK for one hole is such a share of the time since its first: so long
/// a wait is made longer by no more than that, and who is gone is asked seldom in the end.
const NAK_PAUSE_SHARE: Nanos = 16;

/// The longest pause, in times of the shortest: 25.6 ms.
const NAK_PAUSE_MAX: Nanos = 256;

/// Window, identity and timers of a [`StreamReceiver`]; the timers default to Aeron's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// Bytes the sender may have under way; at most half a term is used.
    pub window_length: usize,
    /// Names this receiver to senders.
    pub receiver_id: i64,
    /// From seeing a hole to the first NAK. The default asks in the next cycle; a path that
    /// reorders wants a little more, so that mere reordering is not taken for loss.
    pub nak_delay_ns: Nanos,
    /// From the first NAK to the second for the same hole, and to each that comes soon after it.
    /// Pauses grow with the time since the first NAK, up to 256 times this one, so that a sender
    /// that is gone, or does not hear, is not asked without end; who sends anything that was asked
    /// for is asked as at first.
    pub nak_retry_ns: Nanos,
    /// Status messages are repeated so often.
    pub status_interval_ns: Nanos,
    /// Without a packet for so long the stream counts as dead.
    pub liveness_timeout_ns: Nanos,
}

impl ReceiverConfig {
    /// Bytes a sender may have under way by default: Aeron's.
    pub const WINDOW_LENGTH: usize = 128 * 1024;
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            window_length: Self::WINDOW_LENGTH,
            receiver_id: 0,
            nak_delay_ns: MICROSECOND,
            nak_retry_ns: 100 * MICROSECOND,
            status_interval_ns: 200 * MILLISECOND,
            liveness_timeout_ns: 10 * SECOND,
        }
    }
}

/// What became of a data packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It is in the log buffer.
    Inserted,
    /// It was there already.
    Duplicate,
    /// It lies beyond the window or the owner's limit.
    Overrun,
    /// It belongs to another stream, or to no term of this one.
    Foreign,
}

/// What a [`StreamReceiver`] has done and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverCounters {
    /// Packets of another stream, or of no term of this one.
    pub foreign: u64,
    /// Heartbeats taken.
    pub heartbeats_received: u64,
    /// NAKs sent.
    pub naks_sent: u64,
}

/// A hole under observation.
#[derive(Clone, Copy, Debug)]
struct Gap {
    position: Position,
    deadline: Nanos,
    /// When the first NAK for it left, or something that was asked for was placed after that.
    since: Option<Nanos>,
    /// What is missing was asked for up to here; its beginning if nothing was.
    asked_end: Position,
}

impl Gap {
    /// A datagram was placed at `start`, behind its beginning. If that was asked for, the sender
    /// hears who asks, and is asked again as soon as if it had been asked once. What is new says
    /// only that the sender is heard: over a path that is cut one way it would be asked for the
    /// same hole ten thousand times a second as long as it sends.
    fn on_placed(&mut self, now: Nanos, start: Position, retry_ns: Nanos) {
        if start < self.asked_end {
            self.since = Some(now);
            self.deadline = self.deadline.min(now + retry_ns);
        }
    }
}

/// The receiving side of a stream.
#[derive(Debug)]
pub struct StreamReceiver {
    ids: StreamIds,
    geometry: Geometry,
    mtu: usize,
    config: ReceiverConfig,
    source: SocketAddr,
    /// Everything below is placed.
    rebuild: Position,
    /// Highest position known to have been sent.
    high_water_mark: Position,
    /// The owner's limit.
    limit: Position,
    /// Position of the last status message: base of the overrun rule.
    status_position: Position,
    /// Position + window of the last status message.
    advertised: Position,
    last_status: Option<Nanos>,
    last_packet: Option<Nanos>,
    gap: Option<Gap>,
    end_of_stream: Option<Position>,
    is_end_announced: bool,
    is_leaving: bool,
    rtt_reply: Option<Rtt>,
    counters: ReceiverCounters,
}

impl StreamReceiver {
    /// A receiver of the stream `ids` from `join` on, a frame boundary, whose sender at
    /// `source` sends datagrams of at most `mtu` bytes.
    #[must_use]
    pub fn new(
        ids: StreamIds,
        geometry: Geometry,
        mtu: usize,
        join: Position,
        mut config: ReceiverConfig,
        source: SocketAddr,
    ) -> Self {
        config.window_length = config.window_length.min(geometry.term_length() / 2);
        Self {
            ids,
            geometry,
            mtu,
            config,
            source,
            rebuild: join,
            high_water_mark: join,
            limit: Position::MAX,
            status_position: join,
            advertised: join,
            last_status: None,
            last_packet: None,
            gap: None,
            end_of_stream: None,
            is_end_announced: false,
            is_leaving: false,
            rtt_reply: None,
            counters: ReceiverCounters::default(),
        }
    }

    /// Session and stream.
    #[must_use]
    pub const fn ids(&self) -> StreamIds {
        self.ids
    }

    /// The sender's address.
    #[must_use]
    pub const fn source(&self) -> SocketAddr {
        self.source
    }

    /// End of the contiguous stream.
    #[must_use]
    pub const fn rebuild_position(&self) -> Position {
        self.rebuild
    }

    /// Highest position known to have been sent.
    #[must_use]
    pub const fn high_water_mark(&self) -> Position {
        self.high_water_mark
    }

    /// What was done and refused.
    #[must_use]
    pub const fn counters(&self) -> &ReceiverCounters {
        &self.counters
    }

    /// Nothing is placed above `limit` from now on, and no window announced beyond it.
    pub fn set_limit(&mut self, limit: Position) {
        self.limit = limit;
    }

    /// Says in every status message from now on that this receiver is going away.
    pub fn leave(&mut self) {
        self.is_end_announced &= self.is_leaving;
        self.is_leaving = true;
    }

    /// Whether the stream has ended and everything of it is placed.
    #[must_use]
    pub fn is_end_of_stream(&self) -> bool {
        self.end_of_stream.is_some_and(|end| self.rebuild >= end)
    }

    /// Whether the sender was heard of within the liveness timeout, or not awaited yet.
    #[must_use]
    pub(crate) fn is_alive(&self, now: Nanos) -> bool {
        self.last_packet
            .is_none_or(|last| now - last < self.config.liveness_timeout_ns)
    }

    /// Places the frames of a datagram, if they belong here and are not there yet.
    pub fn on_data(&mut self, now: Nanos, log: &mut LogBuffer, data: &DataPacket<'_>) -> Placement {
        let placement = self.place(now, log, data);
        match placement {
            Placement::Inserted | Placement::Duplicate => {}
            // As if it had been lost: it is asked for once the window reaches it.
            Placement::Overrun => sometimes(Mark::FrameOverruns),
            Placement::Foreign => {
                self.counters.foreign += 1;
                return placement;
            }
        }
        self.last_packet = Some(now);
        placement
    }

    /// Takes a heartbeat: what was sent so far, and perhaps that this was all.
    pub fn on_heartbeat(&mut self, now: Nanos, heartbeat: &Heartbeat) {
        let lowest = self.status_position - self.geometry.term_length() as Position;
        let position = heartbeat
            .position(self.geometry)
            .filter(|_| self.is_ours(heartbeat.session_id(), heartbeat.stream_id()))
            .filter(|position| *position >= lowest && *position <= self.overrun_limit());
        let Some(position) = position else {
            sometimes(Mark::HeartbeatForeign);
            self.counters.foreign += 1;
            return;
        };
        self.counters.heartbeats_received += 1;
        self.last_packet = Some(now);
        self.high_water_mark = self.high_water_mark.max(position);
        if heartbeat.is_end_of_stream() {
            self.end_of_stream = self.end_of_stream.max(Some(position));
        }
    }

    /// Takes a SETUP of the running stream: a sign of life.
    pub fn on_setup(&mut self, now: Nanos, setup: &Setup) {
        if self.is_ours(setup.session_id(), setup.stream_id()) {
            self.last_packet = Some(now);
            // The sender waits for a status message.
            self.last_status = None;
        } else {
            self.counters.foreign += 1;
        }
    }

    /// Takes a round trip measurement; a request is answered in the next cycle.
    pub(crate) fn on_rtt(&mut self, _now: Nanos, rtt: &Rtt) {
        if rtt.is_request() && self.is_ours(rtt.session_id(), rtt.stream_id()) {
            self.rtt_reply = Some(rtt.reply());
        }
    }

    /// Sends the status messages and NAKs that are due; the stream is consumed up to
    /// `consumption`. Returns the datagrams sent.
    pub fn do_work(
        &mut self,
        now: Nanos,
        log: &LogBuffer,
        consumption: Position,
        port: &mut impl DatagramPort,
    ) -> usize {
        self.last_packet.get_or_insert(now);
        let mut sent = 0;
        if let Some(reply) = self.rtt_reply
            && self.send(now, port, &reply.encode())
        {
            self.rtt_reply = None;
            sent += 1;
        }
        if self.is_status_due(now, consumption) {
            sent += self.send_status(now, consumption, port);
        }
        sent + self.send_nak(now, log, port)
    }

    /// When something is due even if nothing arrives and nothing is consumed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let status = self
            .last_status
            .map_or(0, |last| last + self.config.status_interval_ns);
        let liveness = self
            .last_packet
            .map(|last| last + self.config.liveness_timeout_ns);
        let nak = self.gap.map(|gap| gap.deadline);
        earliest(earliest(Some(status), liveness), nak)
    }

    fn is_ours(&self, session_id: i32, stream_id: i32) -> bool {
        self.ids
            == StreamIds {
                session_id,
                stream_id,
            }
    }

    /// Nothing that ends above this position is taken.
    fn overrun_limit(&self) -> Position {
        self.status_position + (self.geometry.term_length() / 2) as Position
    }

    fn place(&mut self, now: Nanos, log: &mut LogBuffer, data: &DataPacket<'_>) -> Placement {
        let start = data
            .position(self.geometry)
            .filter(|_| self.is_ours(data.session_id(), data.stream_id()));
        let Some(start) = start else {
            return Placement::Foreign;
        };
        let end = start + data.advance() as Position;
        if start < self.rebuild {
            return Placement::Duplicate;
        }
        // Of a PAD only the header is there, and only that counts against the window: a sender
        // at the end of its window may pass it by what a PAD covers (A.10).
        let placed_end = start + data.bytes().len().min(data.advance()) as Position;
        let most = self.overrun_limit().min(log.clean_position());
        if placed_end > most || end > self.limit {
            return Placement::Overrun;
        }
        if !rebuilder::insert(log, start, data.bytes()) {
            sometimes(Mark::FrameTwiceBeyondGap);
            return Placement::Duplicate;
        }
        if end > most {
            sometimes(Mark::PadPassesWindow);
        }
        if start == self.rebuild && self.high_water_mark > end {
            sometimes(Mark::GapClosesAtOnce);
        }
        self.high_water_mark = self.high_water_mark.max(end);
        if start == self.rebuild {
            self.rebuild = gap_scanner::contiguous_end(log, start, self.high_water_mark);
            log.set_tail(self.rebuild);
        } else if let Some(gap) = &mut self.gap {
            gap.on_placed(now, start, self.config.nak_retry_ns);
        }
        Placement::Inserted
    }

    /// End of the window that could be announced now.
    fn window_end(&self, consumption: Position) -> Position {
        let end = consumption + self.config.window_length as Position;
        let end = end.min(self.limit) & !(FRAME_ALIGNMENT as Position - 1);
        end.max(consumption)
    }

    fn is_status_due(&self, now: Nanos, consumption: Position) -> bool {
        let Some(last) = self.last_status else {
            return true;
        };
        if now - last >= self.config.status_interval_ns {
            return true;
        }
        if self.is_closing() && !self.is_end_announced {
            return true;
        }
        let grown = self.window_end(consumption) - self.advertised;
        // The second case: the sender may be standing at the window's end.
        grown > (self.config.window_length / 4) as Position
            || (grown >= self.mtu as Position
                && self.high_water_mark + self.mtu as Position > self.advertised)
    }

    fn is_closing(&self) -> bool {
        self.is_leaving || self.is_end_of_stream()
    }

    fn send_status(
        &mut self,
        now: Nanos,
        consumption: Position,
        port: &mut impl DatagramPort,
    ) -> usize {
        let window_end = self.window_end(consumption);
        let half_term = (self.geometry.term_length() / 2) as Position;
        crate::invariant!(
            WindowWithinReach,
            window_end <= (consumption + half_term).min(self.limit).max(consumption),
            "T7: a window from {consumption} to {window_end}, and {} is the limit",
            self.limit
        );
        let mut status = StatusMessage::new(
            self.ids.session_id,
            self.ids.stream_id,
            self.config.receiver_id,
            (self.geometry, consumption),
            (window_end - consumption) as usize,
        );
        if self.is_closing() {
            status = status.with_end_of_stream();
        }
        let mut bytes = [0; STATUS_MESSAGE_LENGTH_MAX];
        if !self.send(now, port, status.encode(&mut bytes)) {
            // Due again at once, whatever made it due.
            self.last_status = None;
            return 0;
        }
        self.is_end_announced = self.is_closing();
        self.status_position = consumption;
        self.advertised = window_end;
        self.last_status = Some(now);
        1
    }

    fn send_nak(&mut self, now: Nanos, log: &LogBuffer, port: &mut impl DatagramPort) -> usize {
        let end = self.high_water_mark.min(self.limit);
        if self.rebuild >= end || self.is_leaving {
            self.gap = None;
            return 0;
        }
        let gap = match self.gap {
            Some(gap) if gap.position == self.rebuild => gap,
            _ => {
                sometimes(Mark::GapOpens);
                Gap {
                    position: self.rebuild,
                    deadline: now + self.config.nak_delay_ns,
                    since: None,
                    asked_end: self.rebuild,
                }
            }
        };
        self.gap = Some(gap);
        if now < gap.deadline {
            return 0;
        }
        let length = gap_scanner::hole_length(log, self.rebuild, end);
        if length == 0 {
            // Its sender contradicts itself: there is no hole to ask for now.
            let deadline = now + self.config.nak_retry_ns;
            self.gap = Some(Gap { deadline, ..gap });
            return 0;
        }
        let (session_id, stream_id) = (self.ids.session_id, self.ids.stream_id);
        let nak = Nak::new(session_id, stream_id, self.geometry, self.rebuild, length);
        if !self.send(now, port, &nak.encode()) {
            // Due again at once: nobody was asked.
            return 0;
        }
        let shortest = self.config.nak_retry_ns;
        let since = gap.since.unwrap_or(now);
        let pause = ((now - since) / NAK_PAUSE_SHARE).clamp(shortest, NAK_PAUSE_MAX * shortest);
        self.gap = Some(Gap {
            deadline: now + pause,
            since: Some(since),
            // A hole that has shrunk was asked for as it was: more of it may be under way.
            asked_end: gap.asked_end.max(self.rebuild + length as Position),
            ..gap
        });
        self.counters.naks_sent += 1;
        1
    }

    /// Returns `false` when the port is full.
    fn send(&self, now: Nanos, port: &mut impl DatagramPort, datagram: &[u8]) -> bool {
        port.send(now, self.source, datagram) != SendOutcome::BackPressured
    }
}

#[cfg(test)]
mod tests;
