//! Ingress streams of which only a SETUP was heard: a row each, and no buffer.
//!
//! Whoever sends a SETUP is answered up to three times; a stream gets its image only when its
//! first message makes sense. Rows lie in as many rings as there are host groups, so that one
//! host, however many ports it sends from, only ever displaces the oldest of its own.

use core::net::SocketAddr;

use lockstep_transport::datagram_port::{DatagramPort, SendOutcome};
use lockstep_transport::position::Position;
use lockstep_transport::prng::mix;
use lockstep_transport::protocol::{Nak, STATUS_MESSAGE_LENGTH_MAX, Setup, StatusMessage};
use lockstep_transport::stream::{ImageError, ImageLimits, OfferedStream};
use lockstep_transport::time::Nanos;

use crate::slots::{HOST_GROUPS, SlotIndex, SlotList, address_hash, host_group};

/// Rows per group, at least and at most: all clients of a cluster may be behind one host, and
/// come back at the same moment.
const GROUP_LENGTH: core::ops::RangeInclusive<usize> = 1024..=8192;

/// SETUPs answered before the first message of a stream, and requests for that message when it
/// was lost: more would make a node an amplifier of datagrams with a forged source.
const ANSWERS_PER_STREAM: u32 = 3;

/// Answers sent in one cycle.
const ANSWERS_PER_CYCLE: usize = 256;

/// A stream that has not said anything yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HalfOpenStream {
    /// Where it comes from.
    pub source: SocketAddr,
    /// What it announced.
    pub setup: Setup,
    offered: OfferedStream,
    setups_answered: u32,
    is_setup_due: bool,
    naks_sent: u32,
    /// End of what is known to have been sent and did not arrive.
    missing_to: Option<Position>,
}

impl HalfOpenStream {
    /// Where it begins.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.offered.position
    }
}

/// What became of a SETUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetupOutcome {
    /// It is answered in the next duty cycle.
    Taken {
        /// Whose stream gave way to this one.
        displaced: Option<SocketAddr>,
    },
    /// It was answered as often as it may be before the stream says something.
    Exhausted,
}

/// All half-open streams.
#[derive(Debug)]
pub(crate) struct HalfOpenStreams {
    rows: Vec<Option<HalfOpenStream>>,
    group_length: usize,
    /// Per group, the row that the next stream takes.
    cursors: [usize; HOST_GROUPS],
    streams: SlotIndex,
    to_answer: SlotList,
    receiver_id: i64,
    seed: u64,
    visits: u64,
}

impl HalfOpenStreams {
    /// Room for the clients of a cluster of `sessions_max` sessions in every host group.
    #[must_use]
    pub fn new(sessions_max: usize, receiver_id: i64, seed: u64) -> Self {
        let group_length = sessions_max.clamp(*GROUP_LENGTH.start(), *GROUP_LENGTH.end());
        let capacity = group_length * HOST_GROUPS;
        Self {
            rows: vec![None; capacity],
            group_length,
            cursors: [0; HOST_GROUPS],
            streams: SlotIndex::new(capacity),
            to_answer: SlotList::new(capacity),
            receiver_id,
            seed,
            visits: 0,
        }
    }

    /// Looks at rows in duty cycles since the start.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.visits
    }

    /// Whether answers wait to be sent.
    #[must_use]
    pub const fn has_answers(&self) -> bool {
        !self.to_answer.is_empty()
    }

    fn hash(&self, source: SocketAddr, session_id: i32) -> u64 {
        mix(address_hash(self.seed, source) ^ session_id as u32 as u64)
    }

    fn find(&self, source: SocketAddr, session_id: i32) -> Option<u32> {
        let is_it = |row: u32| {
            self.rows[row as usize]
                .as_ref()
                .is_some_and(|row| row.source == source && row.setup.session_id() == session_id)
        };
        self.streams.find(self.hash(source, session_id), is_it)
    }

    /// The stream of this name.
    #[must_use]
    pub fn get(&self, source: SocketAddr, session_id: i32) -> Option<&HalfOpenStream> {
        let row = self.find(source, session_id)?;
        self.rows[row as usize].as_ref()
    }

    /// Takes a SETUP, which is answered in the next [`do_work`](Self::do_work).
    ///
    /// # Errors
    /// When no stream within `limits` is meant.
    pub fn on_setup(
        &mut self,
        source: SocketAddr,
        setup: &Setup,
        limits: &ImageLimits,
    ) -> Result<SetupOutcome, ImageError> {
        if let Some(row) = self.find(source, setup.session_id()) {
            let is_answered = self.answer_setup(row);
            return Ok(if is_answered {
                SetupOutcome::Taken { displaced: None }
            } else {
                SetupOutcome::Exhausted
            });
        }
        let stream = HalfOpenStream {
            source,
            setup: *setup,
            offered: OfferedStream::new(setup, limits)?,
            setups_answered: 0,
            is_setup_due: false,
            naks_sent: 0,
            missing_to: None,
        };
        let group = host_group(self.seed, source.ip());
        let row = (group * self.group_length + self.cursors[group]) as u32;
        self.cursors[group] = (self.cursors[group] + 1) % self.group_length;
        let displaced = self.remove(row);
        self.rows[row as usize] = Some(stream);
        let hash = self.hash(source, setup.session_id());
        self.streams.insert(hash, row);
        self.answer_setup(row);
        Ok(SetupOutcome::Taken { displaced })
    }

    /// Something of the stream up to `end` was sent before `end`, and has not arrived. Returns
    /// `false` when it is not asked for, because that was done as often as it may be.
    pub fn on_missing(&mut self, source: SocketAddr, session_id: i32, end: Position) -> bool {
        let Some(row) = self.find(source, session_id) else {
            return true;
        };
        let Some(stream) = &mut self.rows[row as usize] else {
            return true;
        };
        if end <= stream.offered.position {
            return true;
        }
        let is_asked_for = stream.naks_sent < ANSWERS_PER_STREAM;
        if is_asked_for {
            stream.missing_to = Some(end);
            self.to_answer.push_back(row);
        }
        is_asked_for
    }

    /// Whether the SETUP is answered.
    fn answer_setup(&mut self, row: u32) -> bool {
        let Some(stream) = &mut self.rows[row as usize] else {
            return false;
        };
        stream.is_setup_due = stream.setups_answered < ANSWERS_PER_STREAM;
        if stream.is_setup_due {
            self.to_answer.push_back(row);
        }
        stream.is_setup_due
    }

    /// The stream has an image now, or never will.
    pub fn forget(&mut self, source: SocketAddr, session_id: i32) {
        if let Some(row) = self.find(source, session_id) {
            self.remove(row);
        }
    }

    fn remove(&mut self, row: u32) -> Option<SocketAddr> {
        let stream = self.rows[row as usize].take()?;
        let hash = self.hash(stream.source, stream.setup.session_id());
        self.streams.remove(hash, row);
        self.to_answer.remove(row);
        Some(stream.source)
    }

    /// Answers SETUPs and asks for what is missing. Returns the datagrams sent.
    pub fn do_work(&mut self, now: Nanos, port: &mut impl DatagramPort) -> usize {
        for sent in 0..ANSWERS_PER_CYCLE {
            let Some(row) = self.to_answer.pop_front() else {
                return sent;
            };
            self.visits += 1;
            let Some(stream) = &mut self.rows[row as usize] else {
                continue;
            };
            if stream.send_answer(now, self.receiver_id, port) == SendOutcome::BackPressured {
                self.to_answer.push_front(row);
                return sent;
            }
        }
        ANSWERS_PER_CYCLE
    }
}

impl HalfOpenStream {
    /// A NAK when the first message is known to be missing, and a status message when a SETUP
    /// waits for one.
    fn send_answer(
        &mut self,
        now: Nanos,
        receiver_id: i64,
        port: &mut impl DatagramPort,
    ) -> SendOutcome {
        let OfferedStream {
            geometry,
            position,
            window_length,
        } = self.offered;
        let (session_id, stream_id) = (self.setup.session_id(), self.setup.stream_id());
        if let Some(end) = self.missing_to {
            let length = (end - position).min(window_length as Position) as usize;
            let nak = Nak::new(session_id, stream_id, geometry, position, length);
            if port.send(now, self.source, &nak.encode()) == SendOutcome::BackPressured {
                return SendOutcome::BackPressured;
            }
            self.missing_to = None;
            self.naks_sent += 1;
        }
        if self.is_setup_due {
            let place = (geometry, position);
            let status =
                StatusMessage::new(session_id, stream_id, receiver_id, place, window_length);
            let mut bytes = [0; STATUS_MESSAGE_LENGTH_MAX];
            let outcome = port.send(now, self.source, status.encode(&mut bytes));
            if outcome == SendOutcome::BackPressured {
                return outcome;
            }
            self.is_setup_due = false;
            self.setups_answered += 1;
        }
        SendOutcome::Sent
    }
}

#[cfg(test)]
mod tests;
