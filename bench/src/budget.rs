//! The latency budget: joins the trace records of client and nodes into the 24 steps
//! (`performance.md` 7).
//!
//! A sampled message's time at a cursor is the first move that reaches the end of its entry.
//! A step's duration is its time minus that of the previous step *on the critical path*, so
//! the critical durations of a message sum to its total exactly; steps that run beside the
//! path (10, 11, 12, 19, 20) are listed with their duration from their own start and not
//! added. Cold: reads the rings after the run.

use std::collections::BTreeMap;

use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::{TraceKind, TracePoint, TraceRecord};

use crate::histogram::LatencyHistogram;

/// Number of steps.
pub const STEPS: usize = TracePoint::ALL.len();

/// Steps of the connect phase: 1 to 6.
const CONNECT_STEPS: usize = 6;

/// The four phases and the steps (by index from 0) that belong to each.
pub(crate) const PHASES: [(&str, std::ops::Range<usize>); 4] = [
    ("connect", 0..6),
    ("request", 6..14),
    ("execute", 14..17),
    ("response", 17..24),
];

/// Times of one message or connect at each step; `None` where it left no trace.
pub type StepTimes = [Option<Nanos>; STEPS];

/// What step, if any, a step that runs beside the critical path starts at.
#[must_use]
pub(crate) const fn overlap_start(point: TracePoint) -> Option<TracePoint> {
    match point {
        TracePoint::RequestReplicate
        | TracePoint::RequestPersist
        | TracePoint::RequestFollowerAppend => Some(TracePoint::RequestAppend),
        TracePoint::ResponseReplicate | TracePoint::ResponsePersist => {
            Some(TracePoint::ResponseAppend)
        }
        _ => None,
    }
}

/// The cursor whose moves date a step of the response crossing.
const fn response_cursor(point: TracePoint) -> TracePoint {
    match point {
        TracePoint::ResponseReplicate => TracePoint::RequestReplicate,
        TracePoint::ResponsePersist => TracePoint::RequestPersist,
        TracePoint::ResponseFollowerAck => TracePoint::RequestFollowerAck,
        TracePoint::ResponseCommit => TracePoint::RequestCommit,
        other => other,
    }
}

const fn index(point: TracePoint) -> usize {
    point as usize - 1
}

/// One sampled message with its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageTimes {
    /// Session of the message.
    pub session: SessionId,
    /// Its request number.
    pub number: RequestNumber,
    /// The member that appended it.
    pub leader: u8,
    /// When it reached each step.
    pub times: StepTimes,
}

impl MessageTimes {
    /// From `request.send` to `response.receive`, when both are known.
    #[must_use]
    pub fn total(&self) -> Option<Nanos> {
        let end = self.times[index(TracePoint::ResponseReceive)]?;
        Some(end - self.times[index(TracePoint::RequestSend)]?)
    }

    /// Duration of each step; critical ones sum to [`total`](Self::total).
    #[must_use]
    pub fn durations(&self) -> StepTimes {
        durations(&self.times, CONNECT_STEPS..STEPS)
    }
}

fn durations(times: &StepTimes, steps: std::ops::Range<usize>) -> StepTimes {
    let mut result = [None; STEPS];
    let mut previous = None;
    for step in steps {
        let Some(time) = times[step] else { continue };
        if let Some(start) = overlap_start(TracePoint::ALL[step]) {
            result[step] = times[index(start)].map(|start| time - start);
        } else {
            result[step] = previous.map(|previous| time - previous);
            previous = Some(time);
        }
    }
    result
}

/// Moves of one cursor: running maximum of `to`, with the time it was first reached.
#[derive(Debug, Default)]
struct CursorMoves {
    first_from: Option<Position>,
    reached: Vec<(Position, Nanos)>,
}

impl CursorMoves {
    fn push(&mut self, record: &TraceRecord) {
        self.first_from.get_or_insert(record.a);
        if self.reached.last().is_none_or(|(to, _)| record.b > *to) {
            self.reached.push((record.b, record.time));
        }
    }

    /// When the cursor first reached `position`; `None` when that was before the ring's
    /// oldest record or never.
    fn first_reach(&self, position: Position) -> Option<Nanos> {
        if self.first_from? >= position {
            return None;
        }
        let at = self.reached.partition_point(|(to, _)| *to < position);
        self.reached.get(at).map(|(_, time)| *time)
    }
}

/// All records, indexed by what they are about. The first record of a key wins: a resent
/// request or a second response of the same cause does not move a message's times.
#[derive(Debug, Default)]
struct TraceIndex {
    cursors: BTreeMap<(u8, u8), CursorMoves>,
    messages: BTreeMap<(u8, i64, i64), (u8, Nanos)>,
    entries: BTreeMap<(SessionId, RequestNumber), (u8, Position, Nanos)>,
    effects: BTreeMap<(u8, u8, Position), (Position, Nanos)>,
}

impl TraceIndex {
    fn build(records: &[TraceRecord]) -> Self {
        let mut sorted: Vec<&TraceRecord> = records.iter().collect();
        sorted.sort_by_key(|record| record.time);
        let mut index = Self::default();
        for record in sorted {
            let point = record.point as u8;
            match record.kind {
                TraceKind::Cursor => {
                    let key = (record.member, point);
                    index.cursors.entry(key).or_default().push(record);
                }
                TraceKind::Message => {
                    let key = (point, record.a, record.b);
                    let value = (record.member, record.time);
                    index.messages.entry(key).or_insert(value);
                }
                TraceKind::Entry => {
                    let value = (record.member, record.c, record.time);
                    let key = (SessionId::new(record.a), RequestNumber::new(record.b));
                    if record.point == TracePoint::RequestAppend {
                        index.entries.entry(key).or_insert(value);
                    }
                }
                TraceKind::Effect => {
                    let key = (point, record.member, record.a);
                    let value = (record.b, record.time);
                    index.effects.entry(key).or_insert(value);
                }
            }
        }
        index
    }

    fn message(
        &self,
        point: TracePoint,
        session: SessionId,
        number: RequestNumber,
    ) -> Option<Nanos> {
        let key = (point as u8, session.get(), number.get());
        self.messages.get(&key).map(|(_, time)| *time)
    }

    fn cursor(&self, member: u8, point: TracePoint, position: Position) -> Option<Nanos> {
        self.cursors
            .get(&(member, point as u8))?
            .first_reach(position)
    }

    /// The first member other than `leader` whose cursor reached `position`.
    fn first_follower(&self, leader: u8, point: TracePoint, position: Position) -> Option<Nanos> {
        self.cursors
            .iter()
            .filter(|((member, number), _)| *member != leader && *number == point as u8)
            .filter_map(|(_, moves)| moves.first_reach(position))
            .min()
    }

    fn effect(&self, point: TracePoint, member: u8, cause: Position) -> Option<(Position, Nanos)> {
        self.effects.get(&(point as u8, member, cause)).copied()
    }

    fn times(&self, session: SessionId, number: RequestNumber) -> Option<MessageTimes> {
        let (leader, start, appended) = *self.entries.get(&(session, number))?;
        // The cause of an effect is named by where its entry starts; cursors count ends.
        let (end, _) = self.effect(TracePoint::RequestAppend, leader, start)?;
        let mut times = [None; STEPS];
        for point in [
            TracePoint::RequestSend,
            TracePoint::RequestIngress,
            TracePoint::ResponseEgress,
            TracePoint::ResponseReceive,
        ] {
            times[index(point)] = self.message(point, session, number);
        }
        times[index(TracePoint::RequestAppend)] = Some(appended);
        for point in [
            TracePoint::RequestReplicate,
            TracePoint::RequestPersist,
            TracePoint::RequestFollowerAck,
            TracePoint::RequestCommit,
        ] {
            times[index(point)] = self.cursor(leader, point, end);
        }
        let placed = TracePoint::RequestFollowerAppend;
        times[index(placed)] = self.first_follower(leader, placed, end);
        for point in [
            TracePoint::ExecuteDispatch,
            TracePoint::ExecuteService,
            TracePoint::ExecuteRespond,
        ] {
            times[index(point)] = self.effect(point, leader, start).map(|(_, time)| time);
        }
        let append = TracePoint::ResponseAppend;
        if let Some((response_end, time)) = self.effect(append, leader, start) {
            times[index(append)] = Some(time);
            for point in [
                TracePoint::ResponseReplicate,
                TracePoint::ResponsePersist,
                TracePoint::ResponseFollowerAck,
                TracePoint::ResponseCommit,
            ] {
                times[index(point)] = self.cursor(leader, response_cursor(point), response_end);
            }
        }
        Some(MessageTimes {
            session,
            number,
            leader,
            times,
        })
    }

    /// Times of the last connect that ended in OK. Attempts before the redirect may carry a
    /// correlation id of their own, so their records are taken by time.
    fn connect(&self) -> Option<StepTimes> {
        let connects = |point: TracePoint| {
            self.messages
                .range((point as u8, i64::MIN, i64::MIN)..=(point as u8, i64::MAX, i64::MAX))
        };
        let ok = connects(TracePoint::ConnectOk)
            .map(|(_, (_, time))| *time)
            .max()?;
        let mut times = [None; STEPS];
        let mut until = ok;
        times[index(TracePoint::ConnectOk)] = Some(ok);
        for point in [
            TracePoint::ConnectCommit,
            TracePoint::ConnectAppend,
            TracePoint::ConnectLeader,
            TracePoint::ConnectRedirect,
            TracePoint::ConnectRequest,
        ] {
            let time = connects(point)
                .map(|(_, (_, time))| *time)
                .filter(|time| *time <= until)
                .max();
            times[index(point)] = time;
            until = time.unwrap_or(until);
        }
        Some(times)
    }
}

/// One line of the budget.
#[derive(Clone, Debug)]
pub struct StepBudget {
    /// The step.
    pub point: TracePoint,
    /// Whether its durations are part of the sum.
    pub is_critical: bool,
    /// Its durations over all sampled messages.
    pub durations: LatencyHistogram,
    /// Mean over the messages whose total lies between the 45th and the 55th percentile, ns.
    pub middle_mean: f64,
    /// Mean over the slowest 1 % of messages, ns.
    pub slowest_mean: f64,
}

/// One phase of the budget: the sum of its critical steps.
#[derive(Clone, Debug)]
pub struct PhaseBudget {
    /// Its name.
    pub name: &'static str,
    /// Its durations over all sampled messages.
    pub durations: LatencyHistogram,
    /// Mean over the middle band of messages, ns.
    pub middle_mean: f64,
    /// Mean over the slowest 1 % of messages, ns.
    pub slowest_mean: f64,
}

/// The whole budget.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Messages with a complete trace.
    pub messages: usize,
    /// Messages sampled whose trace had holes (ring overwritten, leader change).
    pub incomplete: usize,
    /// Their totals.
    pub total: LatencyHistogram,
    /// Mean total over the middle band, ns.
    pub middle_mean: f64,
    /// Mean total over the slowest 1 %, ns.
    pub slowest_mean: f64,
    /// The 24 steps, in order.
    pub steps: Vec<StepBudget>,
    /// The four phases, in order.
    pub phases: Vec<PhaseBudget>,
}

/// Joins records of all members and clients into the times of every sampled message whose
/// trace reaches from send to receive. The second value counts those with holes.
#[must_use]
pub(crate) fn join(records: &[TraceRecord]) -> (Vec<MessageTimes>, usize) {
    let index = TraceIndex::build(records);
    let all: Vec<MessageTimes> = index
        .entries
        .keys()
        .filter_map(|(session, number)| index.times(*session, *number))
        .collect();
    let sampled = all.len();
    let complete: Vec<MessageTimes> = all.into_iter().filter(is_complete).collect();
    let incomplete = sampled - complete.len();
    (complete, incomplete)
}

/// Whether every critical step of the message's mode left a trace.
fn is_complete(message: &MessageTimes) -> bool {
    let has = |point: TracePoint| message.times[index(point)].is_some();
    let crossing = |append: TracePoint, commit: TracePoint| has(append) && has(commit);
    let replicated = has(TracePoint::ResponseAppend);
    message.total().is_some()
        && has(TracePoint::RequestIngress)
        && crossing(TracePoint::RequestAppend, TracePoint::RequestCommit)
        && (!replicated || has(TracePoint::ResponseCommit))
}

/// Computes the budget of a run.
#[must_use]
pub(crate) fn budget(records: &[TraceRecord]) -> Budget {
    let (mut messages, incomplete) = join(records);
    messages.sort_by_key(MessageTimes::total);
    let count = messages.len();
    let middle = &messages[count * 45 / 100..(count * 55).div_ceil(100)];
    let slowest = &messages[count - count.div_ceil(100)..];
    let connect = TraceIndex::build(records)
        .connect()
        .map(|times| durations(&times, 0..CONNECT_STEPS));
    let mut total = LatencyHistogram::default();
    messages
        .iter()
        .filter_map(MessageTimes::total)
        .for_each(|t| total.record(t));
    let steps = (0..STEPS)
        .map(|step| step_budget(step, &messages, middle, slowest, connect.as_ref()))
        .collect();
    let phases = PHASES
        .into_iter()
        .map(|(name, range)| {
            let sum = |durations: &StepTimes| phase_sum(durations, range.clone());
            let mut histogram = LatencyHistogram::default();
            let connects = connect.as_ref().filter(|_| name == "connect");
            let messages = messages.iter().map(MessageTimes::durations);
            let sums = connects.copied().into_iter().chain(messages);
            sums.filter_map(|d| sum(&d))
                .for_each(|duration| histogram.record(duration));
            PhaseBudget {
                name,
                durations: histogram,
                middle_mean: mean(middle, &sum),
                slowest_mean: mean(slowest, &sum),
            }
        })
        .collect();
    Budget {
        messages: count,
        incomplete,
        total,
        middle_mean: mean(middle, &|d| phase_sum(d, CONNECT_STEPS..STEPS)),
        slowest_mean: mean(slowest, &|d| phase_sum(d, CONNECT_STEPS..STEPS)),
        steps,
        phases,
    }
}

fn step_budget(
    step: usize,
    messages: &[MessageTimes],
    middle: &[MessageTimes],
    slowest: &[MessageTimes],
    connect: Option<&StepTimes>,
) -> StepBudget {
    let mut histogram = LatencyHistogram::default();
    let connects = connect
        .copied()
        .into_iter()
        .filter(|_| step < CONNECT_STEPS);
    let durations = connects.chain(messages.iter().map(MessageTimes::durations));
    durations
        .filter_map(|durations| durations[step])
        .for_each(|duration| histogram.record(duration));
    let point = TracePoint::ALL[step];
    StepBudget {
        point,
        is_critical: overlap_start(point).is_none(),
        durations: histogram,
        middle_mean: mean(middle, &|durations| durations[step]),
        slowest_mean: mean(slowest, &|durations| durations[step]),
    }
}

/// Sum of the critical durations of a range of steps; `None` when none left a trace.
fn phase_sum(durations: &StepTimes, steps: std::ops::Range<usize>) -> Option<Nanos> {
    let critical = steps.filter(|step| overlap_start(TracePoint::ALL[*step]).is_none());
    let mut present = critical.filter_map(|step| durations[step]).peekable();
    present.peek()?;
    Some(present.sum())
}

/// Mean of `value` over all messages, where a message without the value counts as 0, so that
/// the means of the critical steps sum to the mean of the totals.
fn mean(messages: &[MessageTimes], value: &dyn Fn(&StepTimes) -> Option<Nanos>) -> f64 {
    if messages.is_empty() {
        return 0.0;
    }
    let sum: Nanos = messages
        .iter()
        .filter_map(|message| value(&message.durations()))
        .sum();
    sum as f64 / messages.len() as f64
}

#[cfg(test)]
mod tests;
