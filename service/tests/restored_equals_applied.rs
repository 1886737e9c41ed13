//! A container that was loaded from a snapshot is the one that applied the log: it says the same,
//! and writes the same snapshots, byte for byte. What no snapshot can say is refused.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::{Container, ServiceFault};
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::outbox::OutboxLimits;
use lockstep_service::snapshot::{
    ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress, SnapshotReader,
    SnapshotWriter, verify,
};
use lockstep_service::state_hash::StateHash;
use lockstep_transport::ids::SessionId;
use proptest::collection::vec;
use proptest::prelude::*;

const MESSAGE_MAX: usize = 300;
const LIMITS: OutboxLimits = OutboxLimits {
    effects_per_cause: 4,
    effect_bytes_per_cause: 640,
    capacity_bytes: 8 * 1024,
    enabled: true,
    service: 2,
};

/// Remembers all messages and answers a message of n bytes with n % 7 answers, some of which are
/// too many or too long.
#[derive(Debug, Default)]
struct Journal {
    messages: Vec<Vec<u8>>,
}

impl ClusteredService for Journal {
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        self.messages.push(message.to_vec());
        for index in 0..message.len() % 7 {
            let to = ClientSession {
                id: SessionId::new(session.id.get() + index as i64 / 3),
            };
            let answer = vec![self.messages.len() as u8; message.len() * (index + 1) / 2];
            let _ = cluster.respond(to, &answer);
        }
    }

    fn state_hash(&self) -> u64 {
        let mut hash = StateHash::new();
        self.messages.iter().for_each(|message| hash.bytes(message));
        hash.value()
    }

    fn takes_snapshots(&self) -> bool {
        true
    }

    /// A message in a step.
    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        if step == 0 {
            snapshot.begin_section("messages")?;
        }
        let Some(message) = self.messages.get(step as usize) else {
            snapshot.end_section()?;
            return Ok(SnapshotProgress::Done);
        };
        snapshot.bytes(message)?;
        Ok(SnapshotProgress::More)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        snapshot.expect_section("messages")?;
        while snapshot.has_more()? {
            let mut message = Vec::new();
            snapshot.bytes(MESSAGE_MAX, &mut message)?;
            self.messages.push(message);
        }
        snapshot.end_section()
    }
}

fn container(limits: OutboxLimits) -> Container<Journal> {
    Container::new(Journal::default(), limits.service, limits, MESSAGE_MAX)
}

/// The whole snapshot of a container.
fn saved(container: &mut Container<Journal>) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    let mut from = Some(0);
    while let Some(index) = from {
        from = container.outputs().save(index, &mut writer).unwrap();
    }
    let mut steps = 0..;
    while container
        .snapshot_step(steps.next().unwrap(), &mut writer)
        .unwrap()
        == SnapshotProgress::More
    {}
    writer.finish().unwrap();
    writer.pending().to_vec()
}

fn load(
    container: &mut Container<Journal>,
    reader: &mut SnapshotReader<'_>,
) -> Result<(), ServiceFault> {
    let refused = |error| ServiceFault::Snapshot {
        position: 0,
        error: Box::new(error),
    };
    container.outputs_mut().load(reader).map_err(refused)?;
    container.load_snapshot(reader)?;
    reader.finish().map_err(refused).map(|_| ())
}

fn restored(limits: OutboxLimits, stream: &[u8]) -> Container<Journal> {
    let mut container = container(limits);
    let mut source = stream;
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    load(&mut container, &mut reader).unwrap();
    container
}

/// What happens next in the log.
#[derive(Clone, Debug)]
enum Step {
    /// A request of so many bytes.
    Request(usize),
    /// The Response to the effect at the front.
    Response,
    Open,
    Close,
    /// Nothing that concerns the service.
    Other,
}

/// Applies the next step at `position`, to all of `containers` alike.
fn apply(containers: &mut [&mut Container<Journal>], position: i64, step: &Step) {
    let end = position + 1024;
    for container in containers {
        let mut header = EntryHeader::of_kind(EntryKind::Request);
        header.session = SessionId::new(3);
        header.log_time = container.outputs().log_time().max(position / 10);
        let outbox = container.outputs().outbox();
        let done = match step {
            Step::Request(_) | Step::Open | Step::Close if !outbox.admits(0) => {
                container.outputs_mut().advance(end);
                Ok(())
            }
            Step::Request(length) => {
                container.apply_request(&header, position, end, &vec![1; *length])
            }
            Step::Open => container.apply_session_open(&header, position, end, header.session),
            Step::Close => container.apply_session_close(&header, position, end),
            Step::Response if !outbox.is_empty() => {
                let front = outbox.front().unwrap();
                header.service = 2;
                header.session = front.session;
                header.number = front.name.cause;
                header.ordinal = front.name.ordinal;
                let message = front.message.to_vec();
                let outputs = container.outputs_mut();
                outputs.apply_response(&header, position, end, &message)
            }
            Step::Response | Step::Other => {
                container.outputs_mut().advance(end);
                Ok(())
            }
        };
        done.expect("the log is in order");
        container.outputs_mut().outbox_mut().clear_direct();
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..MESSAGE_MAX).prop_map(Step::Request),
        6 => Just(Step::Response),
        1 => Just(Step::Open),
        1 => Just(Step::Close),
        1 => Just(Step::Other),
    ];
    vec(step, 0..80)
}

proptest! {
    #[test]
    fn a_container_that_was_restored_anywhere_goes_on_as_the_one_that_applied_the_log(
        steps in steps(),
        enabled in any::<bool>(),
    ) {
        let limits = OutboxLimits { enabled, ..LIMITS };
        let mut applied = container(limits);
        let mut others: Vec<Container<Journal>> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let snapshot = saved(&mut applied);
            for other in &mut others {
                prop_assert_eq!(&saved(other), &snapshot);
            }
            prop_assert!(verify(&mut &snapshot[..]).is_ok());
            let mut all = vec![&mut applied];
            others.truncate(5);
            others.push(restored(limits, &snapshot));
            all.extend(&mut others);
            apply(&mut all, at as i64 * 1024 + 32, step);
            let expected = (applied.outputs().output_hash(), applied.state_hash());
            for other in &others {
                let outputs = other.outputs();
                prop_assert_eq!((outputs.output_hash(), other.state_hash()), expected);
                prop_assert_eq!(outputs.outbox().bytes(), applied.outputs().outbox().bytes());
                prop_assert_eq!(outputs.log_time(), applied.outputs().log_time());
                prop_assert_eq!(outputs.outbox().front(), applied.outputs().outbox().front());
            }
        }
    }

    #[test]
    fn hostile_bytes_in_an_outbox_are_refused_and_never_panic(
        steps in steps(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut applied = container(LIMITS);
        for (at, step) in steps.iter().enumerate() {
            apply(&mut [&mut applied], at as i64 * 1024 + 32, step);
        }
        let stream = saved(&mut applied);
        let mut content = section(&stream, "outbox");
        for (at, byte) in changes {
            let at = at.index(content.len());
            content[at] = byte;
        }
        let forged = with_outbox(&content);
        let mut container = container(LIMITS);
        let mut source = &forged[..];
        let mut reader = SnapshotReader::open(&mut source).unwrap();
        if load(&mut container, &mut reader).is_ok() {
            // What it says can be: then it must be possible to go on with it.
            let position = (container.outputs().applied() / 32 + 1) * 32;
            if position < i64::MAX / 2 {
                for (at, step) in steps.iter().enumerate() {
                    let position = position + at as i64 * 1024;
                    apply(&mut [&mut container], position, step);
                }
            }
        }
    }
}

/// What a section of a stream holds.
fn section(stream: &[u8], name: &str) -> Vec<u8> {
    let mut source = stream;
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    reader.expect_section(name).unwrap();
    let mut content = Vec::new();
    while reader.has_more().unwrap() {
        content.push(reader.u8().unwrap());
    }
    content
}

/// A snapshot with this outbox, and a journal without messages.
fn with_outbox(content: &[u8]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    for (name, content) in [("outbox", content), ("service/messages", &[])] {
        writer.begin_section(name).unwrap();
        writer.write(content).unwrap();
        writer.end_section().unwrap();
    }
    writer.finish().unwrap();
    writer.pending().to_vec()
}

/// The words of an outbox with `effects`, each (cause, ordinal, length, failure).
fn outbox(head: [i64; 3], popped: (i64, u32), effects: &[(i64, u32, u32, u64)]) -> Vec<u8> {
    let [applied, service, cause] = head;
    let charged = effects.iter().map(|effect| i64::from(effect.2.max(64)));
    let mut bytes = [applied, 5, service, cause, 9, 0, popped.0]
        .map(i64::to_le_bytes)
        .concat();
    bytes.extend_from_slice(&u64::from(popped.1).to_le_bytes());
    bytes.extend_from_slice(&(effects.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&charged.sum::<i64>().to_le_bytes());
    for (cause, ordinal, length, failure) in effects {
        bytes.extend_from_slice(&[*cause, 7].map(i64::to_le_bytes).concat());
        bytes.extend_from_slice(&[*ordinal, *length].map(u32::to_le_bytes).concat());
        bytes.extend_from_slice(&failure.to_le_bytes());
        bytes.resize(bytes.len() + *length as usize, 1);
    }
    bytes
}

fn loaded(limits: OutboxLimits, content: &[u8]) -> Result<(), String> {
    let stream = with_outbox(content);
    let mut source = &stream[..];
    let mut reader = SnapshotReader::open(&mut source).unwrap();
    load(&mut container(limits), &mut reader).map_err(|fault| fault.to_string())
}

const HEAD: [i64; 3] = [640, 2, 320];
const FINE: [(i64, u32, u32, u64); 3] = [(96, 1, 10, 0), (320, 0, 300, 0), (320, 1, 1, 1)];

fn check_refused(content: &[u8], expected: &str) {
    let error = loaded(LIMITS, content).expect_err(expected);
    assert!(error.contains(expected), "{error}, not {expected}");
}

#[test]
fn what_no_service_can_have_come_to_is_refused() {
    let empty = |head, popped| outbox(head, popped, &[]);
    assert_eq!(loaded(LIMITS, &empty(HEAD, (96, 0))), Ok(()));
    assert_eq!(loaded(LIMITS, &empty([0, 2, -1], (-1, 0))), Ok(()));
    for (content, expected) in [
        (empty([-1, 2, -1], (-1, 0)), "applied up to -1"),
        (empty([640, 1, 320], (96, 0)), "effects of service 1"),
        (empty([640, 258, 320], (96, 0)), "effects of service 258"),
        (empty([640, 2, 640], (96, 0)), "a cause beyond"),
        (empty([640, 2, -2], (-2, 0)), "a cause beyond"),
        (empty(HEAD, (352, 0)), "a cause beyond"),
    ] {
        check_refused(&content, expected);
    }
}

#[test]
fn effects_that_no_outbox_can_hold_are_refused() {
    assert_eq!(loaded(LIMITS, &outbox(HEAD, (96, 0), &FINE)), Ok(()));
    let many: Vec<_> = (0..129).map(|ordinal| (320, ordinal, 1, 0)).collect();
    for (effect, expected) in [
        ((96, 0, 10, 0), "effect 0 of 96 in the wrong"),
        ((64, 0, 10, 0), "effect 0 of 64 in the wrong"),
        ((352, 0, 10, 0), "effect 0 of 352 in the wrong"),
        ((-32, 0, 10, 0), "effect 0 of -32 in the wrong"),
        ((320, 1, 10, 0), "effect 1 of 320 in the wrong"),
        ((320, 0, 301, 0), "that no service can have"),
        ((320, 0, 1, 2), "that no service can have"),
    ] {
        check_refused(&outbox(HEAD, (96, 0), &[effect]), expected);
    }
    let first = outbox(HEAD, (-1, 0), &[(-32, 0, 10, 0)]);
    check_refused(&first, "effect 0 of -32 in the wrong");
    let swapped = outbox(HEAD, (96, 0), &[FINE[1], FINE[0]]);
    check_refused(&swapped, "effect 1 of 96 in the wrong");
    let last = outbox(HEAD, (96, u32::MAX), &[(96, 7, 0, 0)]);
    check_refused(&last, "effect 7 of 96 in the wrong");
    check_refused(&outbox(HEAD, (96, 0), &many), "more than 8192 bytes");
    let mut short = outbox(HEAD, (96, 0), &FINE);
    short.pop();
    check_refused(&short, "the section has ended");
    let mut miscounted = outbox(HEAD, (96, 0), &FINE);
    miscounted[72] += 1;
    check_refused(&miscounted, "bytes of effects instead of");
    let direct = OutboxLimits {
        enabled: false,
        ..LIMITS
    };
    let error = loaded(direct, &outbox(HEAD, (96, 0), &FINE)).unwrap_err();
    assert!(error.contains("where none does"), "{error}");
}

/// A service that does not do what it should with a snapshot.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Panics,
    LeavesASectionOpen,
    Refuses,
    TakesNone,
}

impl ClusteredService for Wrong {
    fn on_session_message(&mut self, _: &mut Cluster<'_>, _: ClientSession, _: &[u8]) {}

    fn state_hash(&self) -> u64 {
        0
    }

    fn snapshot_step(
        &mut self,
        _: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        match self {
            Self::Panics => panic!("no ink"),
            Self::LeavesASectionOpen => snapshot.begin_section("open")?,
            Self::Refuses => snapshot.u64(1)?,
            Self::TakesNone => return Err(SnapshotError::NotTaken),
        }
        Ok(SnapshotProgress::Done)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        match self {
            Self::Panics => panic!("no glasses"),
            Self::LeavesASectionOpen => snapshot.expect_section("messages"),
            Self::Refuses => Err(snapshot.refuse("it is not mine")),
            Self::TakesNone => Err(SnapshotError::NotTaken),
        }
    }
}

#[test]
fn a_service_that_fails_at_its_snapshot_is_told_from_one_that_panics() {
    let cases = [
        (
            Wrong::Panics,
            "panicked at position 0: no ink",
            "no glasses",
        ),
        (
            Wrong::LeavesASectionOpen,
            "section service/open has not ended",
            "service/messages has",
        ),
        (Wrong::Refuses, "there is no section here", "it is not mine"),
        (Wrong::TakesNone, "takes no snapshots", "takes no snapshots"),
    ];
    for (wrong, written, loaded) in cases {
        let is_panic = matches!(wrong, Wrong::Panics);
        let mut container = Container::new(wrong, 0, LIMITS, MESSAGE_MAX);
        assert!(!container.takes_snapshots());
        let fault = container
            .snapshot_step(0, &mut SnapshotWriter::new())
            .unwrap_err();
        assert!(fault.to_string().contains(written), "{fault}");
        let stopped = container.outputs().stopped();
        assert_eq!(stopped.is_some(), is_panic);
        let again = container
            .snapshot_step(0, &mut SnapshotWriter::new())
            .unwrap_err();
        assert_eq!(matches!(again, ServiceFault::Stopped { .. }), is_panic);
        let mut container = Container::new(wrong, 0, LIMITS, MESSAGE_MAX);
        let stream = with_outbox(&[]);
        let mut source = &stream[..];
        let mut reader = SnapshotReader::open(&mut source).unwrap();
        reader.expect_section("outbox").unwrap();
        reader.end_section().unwrap();
        let fault = container.load_snapshot(&mut reader).unwrap_err();
        assert!(fault.to_string().contains(loaded), "{fault}");
    }
}
