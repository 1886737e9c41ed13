//! A service rebuilt by replaying the log is the service that ran live: same state, same output,
//! same outbox, at every position.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::Container;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::outbox::{EffectName, OutboxLimits};
use lockstep_service::samples::counter::Counter;
use lockstep_service::samples::echo::Echo;
use lockstep_service::samples::order_book::OrderBook;
use lockstep_service::samples::order_book::csv::parse_line;
use lockstep_transport::ids::{LeadershipTermId, SessionId};

const MESSAGE_MAX: usize = 4096;
const LIMITS: OutboxLimits = OutboxLimits {
    effects_per_cause: 64,
    effect_bytes_per_cause: 64 * 1024,
    capacity_bytes: 256 * 1024,
    enabled: true,
    service: 0,
};

/// One entry of the log.
struct Entry {
    header: EntryHeader,
    position: i64,
    end: i64,
    payload: Vec<u8>,
}

fn apply<S: ClusteredService>(container: &mut Container<S>, entry: &Entry) {
    let Entry {
        header,
        position,
        end,
        payload,
    } = entry;
    match header.kind {
        EntryKind::NewLeadershipTerm => container.apply_new_leadership_term(
            header,
            *position,
            *end,
            LeadershipTermId::new(header.number),
        ),
        EntryKind::SessionOpen => {
            container.apply_session_open(header, *position, *end, SessionId::new(1))
        }
        EntryKind::SessionClose => container.apply_session_close(header, *position, *end),
        EntryKind::Request => container.apply_request(header, *position, *end, payload),
        EntryKind::Response => container
            .outputs_mut()
            .apply_response(header, *position, *end, payload),
        _ => {
            container.outputs_mut().advance(*end);
            Ok(())
        }
    }
    .expect("the log is in order");
}

/// What must be equal between two containers that applied the same log.
#[derive(Debug, PartialEq)]
struct Fingerprint {
    applied: (i64, i64),
    outbox: (usize, usize, Option<EffectName>),
    front: Option<(EffectName, Vec<u8>)>,
    hashes: (u64, u64),
}

fn fingerprint<S: ClusteredService>(container: &Container<S>) -> Fingerprint {
    let outbox = container.outputs().outbox();
    Fingerprint {
        applied: (
            container.outputs().applied(),
            container.outputs().log_time(),
        ),
        outbox: (outbox.len(), outbox.bytes(), outbox.last_popped()),
        front: outbox
            .front()
            .map(|effect| (effect.name, effect.message.to_vec())),
        hashes: (container.state_hash(), container.outputs().output_hash()),
    }
}

/// A single leader that appends requests and, in order, what its outbox holds.
struct Live<S> {
    container: Container<S>,
    log: Vec<Entry>,
    applied: usize,
    random: u64,
    /// Entries applied, and what the container was then.
    seen: Vec<(usize, Fingerprint)>,
}

impl<S: ClusteredService> Live<S> {
    fn new(service: S) -> Self {
        let mut live = Self {
            container: Container::new(service, 0, LIMITS, MESSAGE_MAX),
            log: Vec::new(),
            applied: 0,
            random: 1,
            seen: Vec::new(),
        };
        live.append(EntryKind::NewLeadershipTerm, (0, 0), 1, Vec::new());
        live.apply_up_to(1);
        live.container
            .outputs_mut()
            .outbox_mut()
            .start_append_cursor();
        live.append(EntryKind::SessionOpen, (0, 0), 0, Vec::new());
        live
    }

    fn append(&mut self, kind: EntryKind, name: (i64, u32), number: i64, payload: Vec<u8>) {
        let position = self.log.last().map_or(0, |entry| entry.end);
        let header = EntryHeader {
            kind,
            service: 0,
            flags: 0,
            ordinal: name.1,
            log_time: self.log.len() as i64 * 1_000,
            session: SessionId::new(1),
            number: if kind == EntryKind::Response {
                name.0
            } else {
                number
            },
            refers_to: 0,
            leader_commit: 0,
        };
        let length = (80 + payload.len() as i64 + 31) / 32 * 32;
        self.log.push(Entry {
            header,
            position,
            end: position + length,
            payload,
        });
    }

    fn apply_up_to(&mut self, count: usize) {
        while self.applied < count {
            apply(&mut self.container, &self.log[self.applied]);
            self.applied += 1;
            if self.applied.is_multiple_of(61) {
                self.seen.push((self.applied, fingerprint(&self.container)));
            }
        }
    }

    fn append_responses(&mut self) {
        while let Some(effect) = self.container.outputs().outbox().next_to_append() {
            let (name, message) = (effect.name, effect.message.to_vec());
            self.append(EntryKind::Response, (name.cause, name.ordinal), 0, message);
            self.container.outputs_mut().outbox_mut().mark_appended();
        }
    }

    /// Requests, responses and applying in a random interleaving.
    fn run(&mut self, requests: impl Iterator<Item = Vec<u8>>) {
        for (number, payload) in (1..).zip(requests) {
            let is_cause = |entry: &&Entry| entry.header.kind == EntryKind::Request;
            let causes = self.log[self.applied..].iter().filter(is_cause).count() as u64;
            if !self.container.outputs().outbox().admits(causes) {
                self.apply_up_to(self.log.len());
                self.append_responses();
                self.apply_up_to(self.log.len());
            }
            self.append(EntryKind::Request, (0, 0), number, payload);
            self.random = self
                .random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            if self.random >> 62 == 0 {
                let behind = (self.random >> 32) as usize % 5;
                self.apply_up_to(self.log.len().saturating_sub(behind).max(self.applied));
                self.append_responses();
            }
        }
        self.append(EntryKind::SessionClose, (0, 0), 0, Vec::new());
        self.apply_up_to(self.log.len());
    }
}

/// Runs `service` live, replays its log from scratch and compares all along the way.
fn check<S: ClusteredService>(service: impl Fn() -> S, requests: impl Iterator<Item = Vec<u8>>) {
    let mut live = Live::new(service());
    live.run(requests);
    let mut replayed = Container::new(service(), 0, LIMITS, MESSAGE_MAX);
    let mut seen = live.seen.iter();
    for (count, entry) in (1..).zip(&live.log) {
        apply(&mut replayed, entry);
        if count % 61 == 0 {
            assert_eq!(seen.next(), Some(&(count, fingerprint(&replayed))));
        }
    }
    assert_eq!(fingerprint(&replayed), fingerprint(&live.container));
    let responses = live
        .log
        .iter()
        .filter(|e| e.header.kind == EntryKind::Response)
        .count();
    assert!(responses > 100, "{responses} responses prove little");
    assert_eq!(live.container.outputs().outbox().ignored_responses(), 0);
}

#[test]
fn echo_and_counter_replay_to_what_they_were() {
    let messages = || (0..2_000_usize).map(|at| vec![at as u8; at % 300]);
    check(Echo::new, messages());
    check(Counter::new, messages());
}

#[test]
fn the_order_book_replays_to_what_it_was() {
    let text = include_str!("../examples/data/orders.csv");
    let requests = (1..)
        .zip(text.lines())
        .take(20_000)
        .filter_map(|(number, line)| {
            let line = parse_line(number, line).unwrap()?;
            Some(line.request.encode().to_vec())
        });
    check(OrderBook::default, requests);
}
