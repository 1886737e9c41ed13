//! The budget on synthetic traces whose answer is known.

use super::*;
use lockstep_transport::trace::CLIENT_MEMBER;

const SESSION: i64 = 7;
const LEADER: u8 = 2;

struct Trace(Vec<TraceRecord>);

impl Trace {
    fn add(&mut self, point: TracePoint, kind: TraceKind, member: u8, abc: [i64; 3], time: Nanos) {
        let [a, b, c] = abc;
        self.0.push(TraceRecord {
            point,
            kind,
            member,
            a,
            b,
            c,
            time,
        });
    }

    fn cursor(&mut self, point: TracePoint, member: u8, from: i64, to: i64, time: Nanos) {
        self.add(point, TraceKind::Cursor, member, [from, to, 0], time);
    }

    fn message(&mut self, point: TracePoint, member: u8, number: i64, time: Nanos) {
        let fields = [SESSION, number, 0];
        self.add(point, TraceKind::Message, member, fields, time);
    }

    fn effect(&mut self, point: TracePoint, cause: i64, position: i64, time: Nanos) {
        let fields = [cause, position, 0];
        self.add(point, TraceKind::Effect, LEADER, fields, time);
    }

    /// One crossing of the bytes `from..to` that begins at `start`: committed at `start + 40`.
    fn crossing(&mut self, from: i64, to: i64, start: Nanos) {
        self.cursor(TracePoint::RequestReplicate, LEADER, from, to, start + 2);
        self.cursor(TracePoint::RequestFollowerAppend, 0, from, to, start + 12);
        self.cursor(TracePoint::RequestFollowerAppend, 1, from, to, start + 9);
        self.cursor(TracePoint::RequestFollowerAck, LEADER, from, to, start + 30);
        self.cursor(TracePoint::RequestFollowerAck, LEADER, from, to, start + 70);
        self.cursor(TracePoint::RequestPersist, LEADER, from, to, start + 35);
        self.cursor(TracePoint::RequestCommit, LEADER, from, to, start + 40);
    }

    /// Message `number` sent at `start`, its entry at `base..base + 64`.
    fn message_through(&mut self, number: i64, base: i64, start: Nanos, replicated: bool) {
        let end = base + 64;
        self.message(TracePoint::RequestSend, CLIENT_MEMBER, number, start);
        self.message(TracePoint::RequestIngress, LEADER, number, start + 5);
        let fields = [SESSION, number, base];
        let append = TracePoint::RequestAppend;
        self.effect(append, base, end, start + 6);
        self.add(append, TraceKind::Entry, LEADER, fields, start + 6);
        self.crossing(base, end, start + 6);
        self.effect(TracePoint::ExecuteDispatch, base, end, start + 47);
        self.effect(TracePoint::ExecuteService, base, end, start + 49);
        self.effect(TracePoint::ExecuteRespond, base, end, start + 50);
        let mut time = start + 50;
        if replicated {
            self.effect(TracePoint::ResponseAppend, base, end + 64, start + 52);
            self.crossing(end, end + 64, start + 52);
            time = start + 92;
        }
        self.message(TracePoint::ResponseEgress, LEADER, number, time + 1);
        self.message(TracePoint::ResponseReceive, CLIENT_MEMBER, number, time + 8);
    }
}

#[test]
fn critical_steps_sum_to_the_total_exactly() {
    let mut trace = Trace(Vec::new());
    for number in 1..=200 {
        trace.message_through(number, number * 128, number * 1_000, true);
    }
    let (messages, incomplete) = join(&trace.0);
    assert_eq!((messages.len(), incomplete), (200, 0));
    for message in &messages {
        let sum = phase_sum(&message.durations(), CONNECT_STEPS..STEPS);
        assert_eq!(sum, message.total());
        assert_eq!(message.total(), Some(100));
        assert_eq!(message.leader, LEADER);
    }
    let budget = budget(&trace.0);
    let critical = budget.steps.iter().filter(|step| step.is_critical);
    let sum: f64 = critical.map(|step| step.middle_mean).sum();
    assert!((sum - budget.middle_mean).abs() < 1e-9);
    let phases: f64 = budget.phases.iter().map(|phase| phase.middle_mean).sum();
    assert!((phases - 100.0).abs() < 1e-9);
}

#[test]
fn a_cursor_dates_a_message_by_the_first_move_that_reaches_its_end() {
    let mut trace = Trace(Vec::new());
    trace.message_through(1, 128, 1_000, true);
    let durations = join(&trace.0).0[0].durations();
    let of = |point: TracePoint| durations[index(point)];
    assert_eq!(of(TracePoint::RequestReplicate), Some(2));
    assert_eq!(of(TracePoint::RequestFollowerAppend), Some(9));
    assert_eq!(of(TracePoint::RequestPersist), Some(35));
    assert_eq!(of(TracePoint::RequestFollowerAck), Some(30));
    assert_eq!(of(TracePoint::RequestCommit), Some(10));
    assert_eq!(of(TracePoint::ResponseFollowerAck), Some(30));
    assert_eq!(of(TracePoint::ResponseReceive), Some(7));
}

#[test]
fn direct_responses_have_no_second_crossing() {
    let mut trace = Trace(Vec::new());
    trace.message_through(1, 128, 1_000, false);
    let budget = budget(&trace.0);
    assert_eq!(budget.messages, 1);
    for step in &budget.steps[17..22] {
        assert_eq!(step.durations.count(), 0, "{}", step.point.name());
    }
    assert_eq!(budget.total.quantile(0.5), 58);
}

#[test]
fn messages_older_than_the_ring_are_counted_as_incomplete() {
    let mut trace = Trace(Vec::new());
    trace.message_through(1, 128, 1_000, true);
    trace.message_through(2, 256, 2_000, true);
    trace
        .0
        .retain(|record| record.kind != TraceKind::Cursor || record.a >= 256);
    let (messages, incomplete) = join(&trace.0);
    assert_eq!(incomplete, 1);
    assert_eq!(messages[0].number, RequestNumber::new(2));
}

#[test]
fn the_connect_phase_follows_the_redirect_back_in_time() {
    let mut trace = Trace(Vec::new());
    let connects = [
        (TracePoint::ConnectRequest, CLIENT_MEMBER, -1, 10),
        (TracePoint::ConnectRedirect, CLIENT_MEMBER, -1, 30),
        (TracePoint::ConnectLeader, LEADER, -2, 45),
        (TracePoint::ConnectAppend, LEADER, -2, 50),
        (TracePoint::ConnectCommit, LEADER, -2, 90),
        (TracePoint::ConnectOk, CLIENT_MEMBER, -2, 95),
    ];
    for (point, member, correlation, time) in connects {
        let fields = [correlation, 0, 0];
        trace.add(point, TraceKind::Message, member, fields, time);
    }
    let budget = budget(&trace.0);
    let first: Vec<u64> = budget.steps[1..6]
        .iter()
        .map(|step| step.durations.quantile(0.5))
        .collect();
    assert_eq!(first, [20, 15, 5, 40, 5]);
    assert_eq!(budget.phases[0].durations.quantile(0.5), 85);
}

#[test]
fn an_empty_trace_gives_an_empty_budget() {
    let budget = budget(&[]);
    assert_eq!(budget.messages, 0);
    assert_eq!(budget.steps.len(), STEPS);
    assert_eq!(budget.middle_mean, 0.0);
}
