//! Both ends of the queues, the service's on a thread of its own.
#![allow(clippy::disallowed_methods, reason = "two threads are what is tried")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{sleep, yield_now};
use std::time::Duration;

use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::{ServiceFault, ServiceOutputs};
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::outbox::OutboxLimits;
use lockstep_service::snapshot::{
    ServiceSnapshot, SnapshotError, SnapshotProgress, SnapshotWriter,
};
use lockstep_transport::agent::{AgentThread, IdleStrategy, Idler, spawn};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use super::{ExecutedEntry, ServiceElsewhere};
use crate::apply::service_queue;
use crate::apply::service_runner::ServiceRunner;
use crate::apply::verdict::ServiceOrder;
use crate::log::entry_assembler::Entry;
use crate::node::fault::NodeFault;

/// One cause's effects: the queue has room for twice as many, and two of these are too near to it.
const EFFECT_BYTES: usize = 1 << 20;

const BODY_MAX: usize = 16;

/// Answers with as much as one cause may have, panics when told so, and sleeps when told so. Its
/// state is how many requests there were.
struct Bulky {
    answer: Vec<u8>,
    requests: u64,
}

impl ClusteredService for Bulky {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        self.requests += 1;
        match bytes {
            b"panic" => panic!("as it was told"),
            b"slow" => sleep(Duration::from_millis(50)),
            b"quiet" => {}
            _ => cluster
                .respond(from, &self.answer)
                .expect("it is as long as permitted"),
        }
    }

    fn state_hash(&self) -> u64 {
        self.requests
    }

    /// More than there is room for on its way.
    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        snapshot.begin_section(&step.to_string())?;
        snapshot.bytes(&vec![step as u8; EFFECT_BYTES])?;
        snapshot.end_section()?;
        Ok(match step {
            3 => SnapshotProgress::Done,
            _ => SnapshotProgress::More,
        })
    }
}

/// The applier's end, and the thread at the other.
struct Both {
    service: ServiceElsewhere,
    end: Position,
    /// It ends with this value.
    _thread: AgentThread<ServiceRunner<Bulky>>,
}

impl Both {
    fn start(idle: IdleStrategy) -> Self {
        let limits = OutboxLimits {
            effects_per_cause: 4,
            effect_bytes_per_cause: EFFECT_BYTES,
            capacity_bytes: 0,
            enabled: false,
            service: 0,
        };
        let (ends, service_ends) = service_queue::queues(&limits, BODY_MAX);
        let bulky = Bulky {
            answer: vec![7; EFFECT_BYTES],
            requests: 0,
        };
        let within = (limits, EFFECT_BYTES);
        let runner = ServiceRunner::new(bulky, within, service_ends, monotonic_now);
        let stop = Arc::new(AtomicBool::new(false));
        let outputs = ServiceOutputs::new(0, limits, EFFECT_BYTES);
        Self {
            service: ServiceElsewhere::new(outputs, ends, false),
            end: 0,
            _thread: spawn(runner, idle, None, stop, monotonic_now).expect("a thread"),
        }
    }

    fn hand_over(&mut self, body: &[u8]) {
        let handed = self.hand_over_of(0, ServiceOrder::Execute, body);
        handed.expect("it breaks no rule");
    }

    fn hand_over_of(
        &mut self,
        log_time: i64,
        order: ServiceOrder,
        body: &[u8],
    ) -> Result<(), NodeFault> {
        let position = self.end;
        self.end += 96;
        let entry = Entry {
            position,
            end: self.end,
            header: EntryHeader {
                log_time,
                ..EntryHeader::of_kind(EntryKind::Request)
            },
            body,
        };
        self.service.hand_over(0, &entry, order, false)
    }

    fn await_executed(&mut self) -> Result<ExecutedEntry, NodeFault> {
        loop {
            let taken = self.service.take_executed(0)?;
            self.service.wake();
            match taken {
                Some(executed) => return Ok(executed),
                None => yield_now(),
            }
        }
    }
}

/// A loaded host may hold up a thread: it is quick enough if it is once.
fn is_once_within(limit: Nanos, mut waited: impl FnMut() -> Nanos) {
    let times: Vec<Nanos> = (0..5)
        .map(|_| waited())
        .take_while(|took| *took >= limit)
        .collect();
    assert!(times.len() < 5, "{times:?} ns");
}

#[test]
fn a_service_that_sleeps_for_want_of_room_is_woken_when_there_is_some() {
    const ENTRIES: usize = 12;
    // A sleep that nobody ends lasts a tenth of a second, and each second entry is waited for.
    is_once_within(200 * MILLISECOND, || {
        let mut both = Both::start(IdleStrategy::Adaptive);
        for _ in 0..ENTRIES {
            both.hand_over(b"work");
        }
        both.service.wake();
        let mut waited = 0;
        for _ in 0..ENTRIES {
            // Meanwhile it fills the queue and goes to sleep.
            sleep(Duration::from_millis(10));
            let since = monotonic_now();
            both.await_executed().expect("it goes on");
            waited += monotonic_now() - since;
        }
        waited
    });
}

#[test]
fn an_entry_is_known_to_be_executed_while_the_service_is_slow_over_the_next() {
    // As a node sleeps that has nothing else to do: a tenth of a second, unless woken.
    is_once_within(80 * MILLISECOND, || {
        let mut both = Both::start(IdleStrategy::Yield);
        let mut idler = Idler::new(IdleStrategy::Adaptive);
        let sources = idler.wake_sources().expect("the host has descriptors");
        both.service.name_wake_sources(sources);
        for body in [b"quiet" as &[u8], b"slow", b"slow", b"slow"] {
            both.hand_over(body);
        }
        let begun = monotonic_now();
        while both.service.take_executed(0).expect("it goes on").is_none() {
            idler.idle_until(0, monotonic_now(), || None);
        }
        monotonic_now() - begun
    });
}

#[test]
fn what_the_service_did_before_it_panicked_is_known_before_that() {
    for _ in 0..300 {
        let mut both = Both::start(IdleStrategy::Yield);
        for body in [b"quiet" as &[u8], b"quiet", b"panic"] {
            both.hand_over(body);
        }
        let positions = [both.await_executed(), both.await_executed()]
            .map(|executed| executed.map(|executed| executed.entry.task.position));
        assert_eq!(positions, [Ok(0), Ok(96)]);
        let fault = both.await_executed().expect_err("it panicked");
        let message = "as it was told".to_owned();
        let position = 192;
        let panicked = ServiceFault::Panicked { position, message };
        assert_eq!(fault, NodeFault::Service(panicked));
    }
}

#[test]
fn a_state_is_told_as_it_was_where_it_was_asked_for_however_much_follows() {
    let mut both = Both::start(IdleStrategy::Yield);
    for _ in 0..3 {
        both.hand_over(b"quiet");
    }
    let asked = both.end;
    let found = loop {
        if let Some(found) = both.service.take_state(both.end) {
            break found;
        }
        // There is always one on its way.
        both.hand_over(b"quiet");
        both.await_executed().expect("it goes on");
    };
    assert_eq!((found.position, found.state), (asked, 3));
}

#[test]
fn what_the_service_passes_takes_it_no_time_further_as_on_a_node_that_is_not_behind() {
    let mut both = Both::start(IdleStrategy::Yield);
    let orders = [
        (5, ServiceOrder::Execute, true),
        (9, ServiceOrder::Pass, true),
        (6, ServiceOrder::Execute, true),
        (4, ServiceOrder::Execute, false),
    ];
    for (log_time, order, is_good) in orders {
        let handed = both.hand_over_of(log_time, order, b"quiet");
        assert_eq!(handed.is_ok(), is_good, "{order:?} at {log_time}");
    }
}

#[test]
fn a_state_is_written_although_both_sleep_and_what_was_given_up_is_not_mixed_with_it() {
    is_once_within(80 * MILLISECOND, || {
        let mut both = Both::start(IdleStrategy::Adaptive);
        let mut idler = Idler::new(IdleStrategy::Adaptive);
        let sources = idler.wake_sources().expect("the host has descriptors");
        both.service.name_wake_sources(sources);
        let begun = monotonic_now();
        for given_up in [true, true, false] {
            let mut writer = SnapshotWriter::new();
            both.service.begin_snapshot();
            loop {
                let before = writer.length();
                if both.service.snapshot_step(&mut writer) == Ok(SnapshotProgress::Done) {
                    break;
                }
                if given_up && writer.length() > 100_000 {
                    both.service.abandon_snapshot();
                    both.service.wake();
                    break;
                }
                let moved = usize::from(writer.length() > before);
                idler.idle_until(moved, monotonic_now(), || None);
            }
            let sections = if given_up { None } else { Some(4) };
            let finished = writer.finish().ok().map(|summary| summary.sections.len());
            assert_eq!(finished, sections);
        }
        monotonic_now() - begun
    });
}
