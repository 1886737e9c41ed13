//! The service's part of a snapshot is the same wherever the service runs, and can be given up.

use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::container::{Container, ServiceOutputs};
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::outbox::OutboxLimits;
use lockstep_service::snapshot::{ServiceSnapshot, ServiceSnapshotReader};
use lockstep_service::state_hash::StateHash;
use lockstep_transport::agent::Agent;
use lockstep_transport::ids::SessionId;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::prng::Prng;
use lockstep_transport::trace::Tracer;

use super::*;
use crate::apply::service_agent::Executed;
use crate::apply::service_elsewhere::ServiceElsewhere;
use crate::apply::service_queue;
use crate::apply::verdict::ServiceOrder;
use crate::log::entry_assembler::Entry;
use crate::node::counters::{Counter, CounterBlocks};

const MESSAGE_MAX: usize = 200;

const LIMITS: OutboxLimits = OutboxLimits {
    effects_per_cause: 4,
    effect_bytes_per_cause: 1024,
    capacity_bytes: 1 << 20,
    enabled: true,
    service: 0,
};

/// Bytes of state that each request adds: after some hundreds they are more than fit on their way
/// between two threads.
const STATE_PER_REQUEST: usize = 16 * 1024;

/// Remembers requests, and answers with how many there were.
#[derive(Debug, Default)]
struct Ledger {
    state: Vec<u8>,
    /// How it fails at a snapshot.
    failure: Option<&'static str>,
}

impl ClusteredService for Ledger {
    fn on_session_message(&mut self, cluster: &mut Cluster<'_>, from: ClientSession, bytes: &[u8]) {
        let length = self.state.len() + STATE_PER_REQUEST;
        self.state.resize(length, bytes[0]);
        for _ in 0..bytes.len() % 4 {
            let answer = length.to_le_bytes().repeat(bytes.len() % 20);
            let _ = cluster.respond(from, &answer);
        }
    }

    fn state_hash(&self) -> u64 {
        let mut hash = StateHash::new();
        hash.bytes(&self.state);
        hash.value()
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    /// The state in pieces, and half of it again at once.
    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        if step == 0 {
            snapshot.begin_section("pieces")?;
        }
        if step == 3 {
            match self.failure {
                Some("panics") => panic!("as it was told"),
                Some(_) => snapshot.begin_section("within")?,
                None => {}
            }
        }
        if let Some(piece) = self.state.chunks(50_000).nth(step as usize) {
            snapshot.write(piece)?;
            return Ok(SnapshotProgress::More);
        }
        snapshot.end_section()?;
        snapshot.begin_section("half")?;
        snapshot.bytes(&self.state[..self.state.len() / 2])?;
        snapshot.end_section()?;
        Ok(SnapshotProgress::Done)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        snapshot.expect_section("pieces")?;
        while snapshot.has_more()? {
            let length = self.state.len() + STATE_PER_REQUEST;
            self.state.resize(length, 0);
            snapshot.read_exact(&mut self.state[length - STATE_PER_REQUEST..])?;
        }
        snapshot.end_section()?;
        snapshot.expect_section("half")?;
        snapshot.bytes(self.state.len(), &mut Vec::new())?;
        snapshot.end_section()
    }
}

/// A service, and its thread if it has one, which runs when it is told.
struct Member {
    agent: ServiceAgent<Ledger>,
    runner: Option<ServiceRunner<Ledger>>,
    position: Position,
    writer: SnapshotWriter,
}

impl Member {
    fn new(is_here: bool, failure: Option<&'static str>) -> Self {
        let ledger = Ledger {
            failure,
            ..Ledger::default()
        };
        let counters = CounterBlocks::in_memory().unwrap().service;
        let tracer = Tracer::disabled();
        if is_here {
            let container = Container::new(ledger, 0, LIMITS, MESSAGE_MAX);
            return Self {
                agent: ServiceAgent::here(container, tracer, counters),
                runner: None,
                position: 0,
                writer: SnapshotWriter::new(),
            };
        }
        let (ends, service_ends) = service_queue::queues(&LIMITS, MESSAGE_MAX);
        let within = (LIMITS, MESSAGE_MAX);
        let runner = ServiceRunner::new(ledger, within, service_ends, monotonic_now);
        let outputs = ServiceOutputs::new(0, LIMITS, MESSAGE_MAX);
        let elsewhere = ServiceElsewhere::new(outputs, ends, runner.container().takes_snapshots());
        Self {
            agent: ServiceAgent::elsewhere(elsewhere, tracer, counters),
            runner: Some(runner),
            position: 0,
            writer: SnapshotWriter::new(),
        }
    }

    fn restored(is_here: bool, position: Position, mut stream: &[u8]) -> Self {
        let mut member = Self::new(is_here, None);
        let mut reader = SnapshotReader::open(&mut stream).unwrap();
        let runner = member.runner.as_mut();
        let loaded = member.agent.load_snapshot(position, &mut reader, runner);
        loaded.unwrap();
        reader.finish().unwrap();
        member.position = position;
        member
    }

    fn run_thread(&mut self) {
        if let Some(runner) = &mut self.runner {
            runner.do_work(0);
        }
    }

    fn request(&mut self, body: &[u8]) {
        let entry = Entry {
            position: self.position,
            end: self.position + 256,
            header: EntryHeader {
                session: SessionId::new(7),
                number: self.position / 32 + 1,
                ..EntryHeader::of_kind(EntryKind::Request)
            },
            body,
        };
        self.position = entry.end;
        let executed = self.agent.execute(0, &entry, ServiceOrder::Execute, false);
        if executed.unwrap() == Executed::HandedOver {
            while self.agent.is_behind() {
                self.run_thread();
                let _ = self.agent.take_executed(0).unwrap();
            }
        }
    }

    /// The Response to the effect that waits longest, if one does.
    fn response(&mut self) {
        let (position, end) = (self.position, self.position + 256);
        self.position = end;
        let Some(front) = self.agent.outputs().outbox().front() else {
            self.agent.outputs_mut().advance(end);
            return;
        };
        let header = EntryHeader {
            session: front.session,
            number: front.name.cause,
            ordinal: front.name.ordinal,
            ..EntryHeader::of_kind(EntryKind::Response)
        };
        let body = front.message.to_vec();
        let entry = Entry {
            position,
            end,
            header,
            body: &body,
        };
        self.agent.apply_response(&entry).unwrap();
    }

    fn apply(&mut self, word: u64) {
        match word % 3 {
            0 => self.request(&vec![word as u8; 1 + (word >> 8) as usize % MESSAGE_MAX]),
            _ => self.response(),
        }
    }

    /// One duty cycle, in which a snapshot is written. The service's thread runs now and then.
    fn write(&mut self) -> Result<SnapshotProgress, NodeFault> {
        if !self.writer.length().is_multiple_of(3) {
            self.run_thread();
        }
        let progress = self.agent.snapshot_step(&mut self.writer);
        self.run_thread();
        progress
    }

    fn begin(&mut self) {
        self.writer.restart();
        self.agent.begin_snapshot();
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, NodeFault> {
        self.begin();
        while self.write()? == SnapshotProgress::More {
            assert!(self.agent.is_writing_snapshot());
        }
        assert!(!self.agent.is_writing_snapshot());
        self.writer.finish().unwrap();
        Ok(self.writer.pending().to_vec())
    }

    /// What it says the hash of its state is.
    fn hash(&mut self) -> i64 {
        self.agent.counters.set(Counter::HashRequest, 1);
        while self.agent.counters.get(Counter::HashRequest) > 0 {
            self.agent.publish_hashes(self.position);
            self.run_thread();
            if self.agent.is_writing_snapshot() {
                let _ = self.write().unwrap();
            } else {
                assert_eq!(self.agent.take_executed(0).unwrap().map(|_| ()), None);
            }
        }
        self.agent.counters.get(Counter::StateHash)
    }
}

#[test]
fn a_snapshot_is_the_same_wherever_the_service_runs_and_what_is_restored_goes_on_alike() {
    let mut random = Prng::new(11);
    let mut members = vec![Member::new(true, None), Member::new(false, None)];
    for round in 0..12 {
        for _ in 0..40 {
            let word = random.next_u64() >> 8;
            members.iter_mut().for_each(|member| member.apply(word));
        }
        let position = members[0].position;
        let streams: Vec<_> = members.iter_mut().map(|m| m.snapshot().unwrap()).collect();
        let hashes: Vec<_> = members.iter_mut().map(Member::hash).collect();
        let outputs = |m: &Member| m.agent.outputs().output_hash();
        assert!(
            streams.iter().all(|stream| *stream == streams[0]),
            "round {round}"
        );
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
        assert!(members.iter().all(|m| outputs(m) == outputs(&members[0])));
        members.truncate(2);
        let restored = |is_here| Member::restored(is_here, position, &streams[0]);
        members.extend([restored(true), restored(false)]);
    }
    // More than there is room for between the threads.
    assert!(members[0].snapshot().unwrap().len() > 2 << 20);
}

#[test]
fn a_snapshot_that_is_given_up_at_any_step_leaves_nothing_behind() {
    for is_here in [true, false] {
        let mut untouched = Member::new(is_here, None);
        let mut member = Member::new(is_here, None);
        for step in 0..60 {
            let bodies = [vec![1; 3], vec![step as u8; 1 + step]];
            for member in [&mut member, &mut untouched] {
                bodies.iter().for_each(|body| member.request(body));
                member.response();
            }
            member.begin();
            for _ in 0..step {
                if member.write().unwrap() == SnapshotProgress::Done {
                    break;
                }
            }
            member.agent.abandon_snapshot();
            if step % 3 == 0 {
                // And at once another one.
                assert_eq!(member.snapshot().unwrap(), untouched.snapshot().unwrap());
            }
        }
        assert_eq!(member.hash(), untouched.hash());
        assert_eq!(member.snapshot().unwrap(), untouched.snapshot().unwrap());
    }
}

#[test]
fn a_service_that_cannot_write_its_state_goes_on_without_a_snapshot() {
    for is_here in [true, false] {
        let mut member = Member::new(is_here, Some("fails"));
        for round in 0..3 {
            (0..30).for_each(|_| member.request(b"x"));
            let fault = member.snapshot().unwrap_err();
            let NodeFault::Service(ServiceFault::Snapshot { position, error }) = fault else {
                panic!("{fault}");
            };
            assert_eq!(position, member.position);
            let text = error.to_string();
            assert!(text.contains("service/pieces has not ended"), "{text}");
            assert!(!member.agent.is_writing_snapshot(), "round {round}");
            // One that fails when nobody wants it any more is forgotten.
            member.begin();
            for _ in 0..3 {
                let _ = member.agent.snapshot_step(&mut member.writer);
            }
            if member.agent.is_writing_snapshot() {
                (0..9).for_each(|_| member.run_thread());
                member.agent.abandon_snapshot();
            }
        }
    }
}

#[test]
fn a_service_that_panics_at_its_snapshot_stops_its_node() {
    for is_here in [true, false] {
        let mut member = Member::new(is_here, Some("panics"));
        (0..30).for_each(|_| member.request(b"x"));
        let fault = member.snapshot().unwrap_err();
        assert!(
            matches!(fault, NodeFault::Service(ServiceFault::Panicked { .. })),
            "{fault}"
        );
    }
}

#[test]
fn the_hash_of_a_state_is_told_while_the_state_is_written() {
    let mut member = Member::new(false, None);
    (0..30).for_each(|_| member.request(b"x"));
    let expected = member.hash();
    member.begin();
    while member.agent.is_writing_snapshot() {
        let _ = member.write().unwrap();
        assert_eq!(member.hash(), expected);
    }
}

#[test]
fn a_snapshot_of_something_later_is_refused() {
    let mut member = Member::new(true, None);
    (0..3).for_each(|_| member.request(b"xyz"));
    let stream = member.snapshot().unwrap();
    let mut source = &stream[..];
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    let mut other = Member::new(true, None);
    let loaded = other.agent.load_snapshot(768 - 32, &mut reader, None);
    let fault = loaded.unwrap_err().to_string();
    assert!(fault.contains("applied up to 768, beyond 736"), "{fault}");
    assert!(fault.contains("at position 736 of the log"), "{fault}");
}
