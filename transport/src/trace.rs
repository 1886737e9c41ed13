//! The latency budget's raw material: named trace points, and the ring they are recorded in
//! (`performance.md` 7).
//!
//! Four kinds of record ([`TraceKind`]). A *cursor* record says that a cursor of this member moved
//! over a range of log positions; a *message* record, that one sampled message reached a point; an
//! *entry* or *effect* record, where a sampled message or a response stands in the log. A cold
//! reader joins them later. When tracing is off, each call is one predictable branch.

use crate::codec::{FieldReader, FieldWriter};
use crate::concurrent::AtomicBuffer;
use crate::position::Position;
use crate::time::Nanos;

/// The 24 steps of a message, in order. The name is the same in code, reports and docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TracePoint {
    /// 1: the client's SessionConnectRequest leaves.
    ConnectRequest = 1,
    /// 2: a follower's redirect arrives at the client.
    ConnectRedirect = 2,
    /// 3: the request reaches the leader.
    ConnectLeader = 3,
    /// 4: SessionOpen appended.
    ConnectAppend = 4,
    /// 5: SessionOpen committed and applied.
    ConnectCommit = 5,
    /// 6: SessionEvent OK at the client.
    ConnectOk = 6,
    /// 7: the ingress message leaves the client.
    RequestSend = 7,
    /// 8: the leader has rebuilt the frame and checked the session.
    RequestIngress = 8,
    /// 9: the entry is in the leader's log buffer.
    RequestAppend = 9,
    /// 10: its datagrams left for a follower.
    RequestReplicate = 10,
    /// 11: durable at the leader.
    RequestPersist = 11,
    /// 12: placed in a follower's log buffer.
    RequestFollowerAppend = 12,
    /// 13: durable at a follower and its AppendPosition is at the leader.
    RequestFollowerAck = 13,
    /// 14: committed.
    RequestCommit = 14,
    /// 15: handed to the container.
    ExecuteDispatch = 15,
    /// 16: the service returned.
    ExecuteService = 16,
    /// 17: its responses are in the outbox.
    ExecuteRespond = 17,
    /// 18: the response is in the leader's log buffer.
    ResponseAppend = 18,
    /// 19: its datagrams left for a follower.
    ResponseReplicate = 19,
    /// 20: durable at the leader.
    ResponsePersist = 20,
    /// 21: durable at a follower and acknowledged to the leader.
    ResponseFollowerAck = 21,
    /// 22: committed.
    ResponseCommit = 22,
    /// 23: its datagram left for the client.
    ResponseEgress = 23,
    /// 24: handed to the application.
    ResponseReceive = 24,
}

impl TracePoint {
    /// All points, in the order of the steps.
    pub const ALL: [Self; 24] = [
        Self::ConnectRequest,
        Self::ConnectRedirect,
        Self::ConnectLeader,
        Self::ConnectAppend,
        Self::ConnectCommit,
        Self::ConnectOk,
        Self::RequestSend,
        Self::RequestIngress,
        Self::RequestAppend,
        Self::RequestReplicate,
        Self::RequestPersist,
        Self::RequestFollowerAppend,
        Self::RequestFollowerAck,
        Self::RequestCommit,
        Self::ExecuteDispatch,
        Self::ExecuteService,
        Self::ExecuteRespond,
        Self::ResponseAppend,
        Self::ResponseReplicate,
        Self::ResponsePersist,
        Self::ResponseFollowerAck,
        Self::ResponseCommit,
        Self::ResponseEgress,
        Self::ResponseReceive,
    ];

    /// The point's name in reports, for example `request.append`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectRequest => "connect.request",
            Self::ConnectRedirect => "connect.redirect",
            Self::ConnectLeader => "connect.leader",
            Self::ConnectAppend => "connect.append",
            Self::ConnectCommit => "connect.commit",
            Self::ConnectOk => "connect.ok",
            Self::RequestSend => "request.send",
            Self::RequestIngress => "request.ingress",
            Self::RequestAppend => "request.append",
            Self::RequestReplicate => "request.replicate",
            Self::RequestPersist => "request.persist",
            Self::RequestFollowerAppend => "request.follower_append",
            Self::RequestFollowerAck => "request.follower_ack",
            Self::RequestCommit => "request.commit",
            Self::ExecuteDispatch => "execute.dispatch",
            Self::ExecuteService => "execute.service",
            Self::ExecuteRespond => "execute.respond",
            Self::ResponseAppend => "response.append",
            Self::ResponseReplicate => "response.replicate",
            Self::ResponsePersist => "response.persist",
            Self::ResponseFollowerAck => "response.follower_ack",
            Self::ResponseCommit => "response.commit",
            Self::ResponseEgress => "response.egress",
            Self::ResponseReceive => "response.receive",
        }
    }

    /// The point with this number, 1..=24.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// What a [`TraceRecord`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TraceKind {
    /// `a`..`b` are the positions a cursor moved over.
    Cursor = 1,
    /// `a` is a session id (or correlation id), `b` a request number.
    Message = 2,
    /// `a` is a session id, `b` a request number, and `c` the position of its entry.
    Entry = 3,
    /// `a` is a cause position, `b` the position of its response entry.
    Effect = 4,
}

/// One record of the ring, 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRecord {
    /// The step reached.
    pub point: TracePoint,
    /// How to read `a`, `b` and `c`.
    pub kind: TraceKind,
    /// Member that recorded it; 255 is a client.
    pub member: u8,
    /// See [`TraceKind`].
    pub a: i64,
    /// See [`TraceKind`].
    pub b: i64,
    /// See [`TraceKind`].
    pub c: i64,
    /// When.
    pub time: Nanos,
}

/// Bytes of one record in the ring.
pub const TRACE_RECORD_LENGTH: usize = 40;

/// Member number under which clients record.
pub const CLIENT_MEMBER: u8 = 255;

/// Bytes before the first record: the count of records ever written, as an i64.
pub const TRACE_HEADER_LENGTH: usize = 64;

/// Records trace points into a preallocated ring, overwriting the oldest.
#[derive(Debug)]
pub struct Tracer {
    ring: Option<AtomicBuffer>,
    clock: fn() -> Nanos,
    member: u8,
    capacity: u64,
    count: u64,
    sample_mask: u64,
}

fn no_clock() -> Nanos {
    0
}

impl Tracer {
    /// A tracer that records nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self {
            ring: None,
            clock: no_clock,
            member: 0,
            capacity: 0,
            count: 0,
            sample_mask: 0,
        }
    }

    /// Records for `member` into `ring`, which other processes may read afterwards.
    ///
    /// One message in `sample_every` (a power of two) is sampled, by a hash that every process
    /// computes alike.
    #[must_use]
    pub fn new(member: u8, ring: AtomicBuffer, clock: fn() -> Nanos, sample_every: u64) -> Self {
        assert!(
            sample_every.is_power_of_two(),
            "sample every {sample_every}: not a power of two"
        );
        let capacity =
            (ring.length().saturating_sub(TRACE_HEADER_LENGTH) / TRACE_RECORD_LENGTH) as u64;
        assert!(
            capacity > 0,
            "a trace ring of {} bytes holds no record",
            ring.length()
        );
        Self {
            ring: Some(ring),
            clock,
            member,
            capacity,
            count: 0,
            sample_mask: sample_every - 1,
        }
    }

    /// Whether anything is recorded at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.ring.is_some()
    }

    /// Whether the message (`session`, `number`) belongs to the sample. Number 0, under which the
    /// steps of a connect are recorded, always does: a session connects only once.
    #[must_use]
    pub(crate) fn is_sampled(&self, session: i64, number: i64) -> bool {
        if self.ring.is_none() {
            return false;
        }
        let mixed =
            (session as u64 ^ (number as u64).rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        number == 0 || (mixed >> 32) & self.sample_mask == 0
    }

    /// A cursor of this member moved from `from` to `to`.
    pub fn cursor(&mut self, point: TracePoint, from: Position, to: Position) {
        if self.ring.is_some() && to > from {
            self.record(point, TraceKind::Cursor, [from, to, 0]);
        }
    }

    /// The message (`session`, `number`) reached `point`, if it is sampled.
    pub fn message(&mut self, point: TracePoint, session: i64, number: i64) {
        if self.is_sampled(session, number) {
            self.record(point, TraceKind::Message, [session, number, 0]);
        }
    }

    /// The sampled message (`session`, `number`) has the entry at `position`.
    pub fn entry(&mut self, point: TracePoint, session: i64, number: i64, position: Position) {
        if self.is_sampled(session, number) {
            self.record(point, TraceKind::Entry, [session, number, position]);
        }
    }

    /// The effect of the entry at `cause` has its own entry, or none yet, at `position`.
    pub fn effect(&mut self, point: TracePoint, cause: Position, position: Position) {
        if self.ring.is_some() {
            self.record(point, TraceKind::Effect, [cause, position, 0]);
        }
    }

    /// As [`effect`](Self::effect), at the time `at` that another thread has read from this clock.
    pub fn effect_at(&mut self, point: TracePoint, cause: Position, position: Position, at: Nanos) {
        if self.ring.is_some() {
            self.record_at(point, TraceKind::Effect, [cause, position, 0], at);
        }
    }

    /// The clock that times are read from.
    #[must_use]
    pub const fn clock(&self) -> fn() -> Nanos {
        self.clock
    }

    fn record(&mut self, point: TracePoint, kind: TraceKind, fields: [i64; 3]) {
        let time = (self.clock)();
        self.record_at(point, kind, fields, time);
    }

    fn record_at(&mut self, point: TracePoint, kind: TraceKind, fields: [i64; 3], time: Nanos) {
        let Some(ring) = self.ring.as_mut() else {
            return;
        };
        let slot = (self.count % self.capacity) as usize;
        let bytes = ring.bytes_mut(
            TRACE_HEADER_LENGTH + slot * TRACE_RECORD_LENGTH,
            TRACE_RECORD_LENGTH,
        );
        let mut record = FieldWriter::new(bytes);
        record.u8(point as u8).u8(kind as u8).u8(self.member);
        record.zeros(5);
        for field in fields {
            record.i64(field);
        }
        record.i64(time);
        self.count += 1;
        ring.put_i64_release(0, self.count as i64);
    }

    /// Reads the records of a ring, oldest first. For cold readers, after the run.
    #[must_use]
    pub fn read(ring: &AtomicBuffer) -> Vec<TraceRecord> {
        let capacity = (ring.length() - TRACE_HEADER_LENGTH) / TRACE_RECORD_LENGTH;
        let count = ring.get_i64_acquire(0).max(0) as usize;
        let first = count.saturating_sub(capacity);
        (first..count)
            .filter_map(|index| decode(ring, index % capacity))
            .collect()
    }

    /// The records of this tracer, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<TraceRecord> {
        self.ring.as_ref().map(Self::read).unwrap_or_default()
    }
}

fn decode(ring: &AtomicBuffer, slot: usize) -> Option<TraceRecord> {
    let bytes = ring.bytes(
        TRACE_HEADER_LENGTH + slot * TRACE_RECORD_LENGTH,
        TRACE_RECORD_LENGTH,
    );
    let mut fields = FieldReader::new(bytes);
    let point = TracePoint::from_number(fields.u8()?)?;
    let kind = match fields.u8()? {
        1 => TraceKind::Cursor,
        2 => TraceKind::Message,
        3 => TraceKind::Entry,
        4 => TraceKind::Effect,
        _ => return None,
    };
    let member = fields.u8()?;
    fields.skip(5)?;
    Some(TraceRecord {
        point,
        kind,
        member,
        a: fields.i64()?,
        b: fields.i64()?,
        c: fields.i64()?,
        time: fields.i64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_its_number_and_a_name_of_its_own() {
        for (index, point) in TracePoint::ALL.into_iter().enumerate() {
            assert_eq!(point as usize, index + 1);
            assert_eq!(TracePoint::from_number(point as u8), Some(point));
            assert!(
                TracePoint::ALL
                    .iter()
                    .filter(|p| p.name() == point.name())
                    .count()
                    == 1
            );
        }
        assert_eq!(TracePoint::from_number(0), None);
        assert_eq!(TracePoint::from_number(25), None);
    }

    #[test]
    fn one_message_in_so_many_is_sampled_and_every_connect() {
        let ring = AtomicBuffer::allocate(4096).unwrap();
        let tracer = Tracer::new(1, ring, || 42, 16);
        for session in 1..100 {
            assert!(tracer.is_sampled(session, 0));
            let sampled = (1..1600).filter(|number| tracer.is_sampled(session, *number));
            let count = sampled.count();
            assert!((50..200).contains(&count), "session {session}: {count}");
        }
        assert!(!Tracer::disabled().is_sampled(1, 0));
    }

    #[test]
    fn the_ring_keeps_the_newest_records_in_order() {
        let ring = AtomicBuffer::allocate(4096).unwrap();
        let mut tracer = Tracer::new(1, ring, || 42, 1);
        for position in 0..1000 {
            tracer.cursor(
                TracePoint::RequestPersist,
                position * 32,
                position * 32 + 32,
            );
        }
        let records = tracer.records();
        assert_eq!(records.len(), (4096 - 64) / 40);
        assert_eq!(records.last().map(|r| r.b), Some(32_000));
        assert!(records.windows(2).all(|pair| pair[0].b == pair[1].a));
    }
}
