//! A log being written, recorded and acknowledged on a simulated disk, beside a model of what
//! it should contain.
#![allow(dead_code, reason = "each test file uses its part")]

mod port;

use lockstep_archive::disk::{Completion, Disk, DiskError};
use lockstep_archive::files::ack_mark::{AckMark, AckedPosition};
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::files::catalog::{Catalog, LOG_STREAM_ID};
use lockstep_archive::files::slot_file::Opened;
use lockstep_archive::log::budget::DiskBudget;
use lockstep_archive::log::log_view::{LogView, MemoryWindow};
use lockstep_archive::log::recorder::{Recorder, RecorderConfig, SyncMode};
use lockstep_archive::log::recovery::{
    Acknowledged, FrameMeaning, LogOrigin, RecoveredLog, RecoveryError, recover,
};
use lockstep_archive::sim::{SimDisk, SimDiskConfig};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::log_buffer::{ExclusiveAppender, LogBuffer, Offer};
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::prng::SplitMix64;
use lockstep_transport::time::Nanos;
pub use port::Port;

/// What these logs may take of their disk.
pub const BUDGET: u64 = 64 << 20;

pub const TERM_LENGTH: usize = 64 * 1024;
pub const SEGMENT_LENGTH: usize = 128 * 1024;
pub const MTU: usize = 1408;
pub const SESSION_ID: i32 = 77;

/// No member of these tests has heard of a greater leadership term.
pub const TERM_MAX: i64 = 1000;

/// First payload byte of an entry that begins a leadership term.
pub const NEW_LEADERSHIP_TERM: u8 = 1;

/// First payload byte of every other entry.
pub const REQUEST: u8 = 5;

pub fn catalog() -> Catalog {
    Catalog {
        cluster: 0xC0FFEE,
        session_id: SESSION_ID,
        stream_id: LOG_STREAM_ID,
        initial_term_id: 9,
        term_length: TERM_LENGTH,
        segment_length: SEGMENT_LENGTH,
        mtu: MTU,
    }
}

pub fn geometry() -> Geometry {
    Geometry::new(9, TERM_LENGTH).unwrap()
}

pub fn meaning_of(frame: &[u8]) -> FrameMeaning {
    let is_first = frame[5] & 0x80 != 0 && frame.get(32) == Some(&NEW_LEADERSHIP_TERM);
    FrameMeaning {
        term_id: is_first.then_some(1),
        ..FrameMeaning::default()
    }
}

/// Numbers of a seed.
pub struct Dice(SplitMix64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(SplitMix64(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What is in the segments below `end`.
pub fn stored_bytes(disk: &SimDisk, end: Position) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as Position) < end {
        let name = format!("0-{}.rec", bytes.len());
        bytes.extend(disk.contents(&name).expect("a segment below the end"));
    }
    bytes.truncate(end as usize);
    bytes
}

/// The mark of a member, which has none yet where the disk is blank.
pub fn open_mark(disk: &mut SimDisk) -> Result<AckMark, DiskError> {
    match AckMark::open(disk)? {
        Opened::Record(mark) => Ok(mark),
        Opened::Nothing => AckMark::create(disk),
        Opened::OtherVersion => panic!("a mark of another version"),
    }
}

/// Recovers after a crash of the host, with a mark at `ack_mark`.
pub fn recover_log(
    disk: &mut SimDisk,
    ack_mark: Position,
) -> Result<(LogBuffer, RecoveredLog), RecoveryError> {
    let mark = AckRecord {
        position: ack_mark,
        ..AckRecord::default()
    };
    recover_with(disk, &mark)
}

pub fn recover_with(
    disk: &mut SimDisk,
    mark: &AckRecord,
) -> Result<(LogBuffer, RecoveredLog), RecoveryError> {
    recover_from(disk, mark, &LogOrigin::default())
}

/// The same from somewhere within the log.
pub fn recover_from(
    disk: &mut SimDisk,
    mark: &AckRecord,
    origin: &LogOrigin,
) -> Result<(LogBuffer, RecoveredLog), RecoveryError> {
    let mut log = LogBuffer::allocate(geometry(), MTU).unwrap();
    let known = Acknowledged {
        mark: *mark,
        is_mark_lost: false,
        term_max: LeadershipTermId::new(TERM_MAX),
    };
    let recovered = recover(disk, &known, None, (&catalog(), origin), meaning_of)?;
    recovered.restore(disk, &mut log)?;
    Ok((log, recovered))
}

/// A node's archive side: mark, log, recorder.
pub struct RecordedLog {
    pub disk: SimDisk,
    /// How it is reached.
    pub port: Port,
    pub now: Nanos,
    pub ack_mark: AckMark,
    pub log: LogBuffer,
    pub recorder: Recorder,
    pub recovered: RecoveredLog,
    pub restart: Position,
    pub appender: ExclusiveAppender,
    pub leadership_term: u32,
    /// Frames appended since the start, by the position after each entry.
    pub boundaries: Vec<Position>,
    pub model: Vec<u8>,
    /// Completions of others on the same disk, where a test has others.
    pub strangers: Option<Vec<Completion>>,
}

impl RecordedLog {
    /// Starts on whatever the disk holds; `model` is what the log below its end should be.
    pub fn start(
        disk: &SimDisk,
        now: Nanos,
        sync: SyncMode,
        budget: u64,
        model: Vec<u8>,
    ) -> Result<Self, DiskError> {
        let origin = LogOrigin::default();
        Self::start_from(disk, &origin, now, (sync, budget), model)
    }

    /// The same from somewhere within the log.
    pub fn start_from(
        disk: &SimDisk,
        origin: &LogOrigin,
        now: Nanos,
        (sync, budget): (SyncMode, u64),
        mut model: Vec<u8>,
    ) -> Result<Self, DiskError> {
        let mut disk = disk.clone();
        let mut ack_mark = open_mark(&mut disk)?;
        let (log, recovered) = match recover_from(&mut disk, &ack_mark.record(), origin) {
            Ok(found) => found,
            Err(RecoveryError::Disk(error)) => return Err(error),
            Err(other) => panic!("{other}"),
        };
        let end = recovered.end;
        let is_unsynced = sync == SyncMode::None;
        let of_run = (recovered.commit, is_unsynced);
        recovered.raise_mark(&mut disk, &mut ack_mark, of_run)?;
        model.truncate(end as usize);
        let config = RecorderConfig {
            geometry: geometry(),
            sync,
            budget: DiskBudget::new(budget),
        };
        let recorder = Recorder::open(
            &mut disk,
            config,
            recovered.segments.clone(),
            end,
            recovered.stale_end,
        )?;
        Ok(Self {
            port: Port::Whole(disk.clone()),
            disk,
            now,
            ack_mark,
            recorder,
            restart: end,
            appender: new_appender(end),
            leadership_term: recovered.last_term.get() as u32,
            log,
            recovered,
            boundaries: vec![end],
            model,
            strangers: None,
        })
    }

    pub fn append_position(&self) -> Position {
        self.model.len() as Position
    }

    pub fn view(&self) -> LogView<'_> {
        LogView {
            log: &self.log,
            window: MemoryWindow::new(geometry(), self.restart, self.append_position()),
            segments: self.recorder.segments(),
        }
    }

    /// Appends an entry; `false` when the recorder is a term behind.
    pub fn append(&mut self, kind: u8, length: usize, fill: u8) -> bool {
        let limit = self.recorder.written() + TERM_LENGTH as Position;
        let mut body = vec![fill; length];
        body[0] = kind;
        let from = self.append_position();
        let offer = self.appender.offer(
            &mut self.log,
            limit,
            &[&body],
            &mut FrameSeal::new(self.leadership_term),
        );
        let Offer::Accepted(end) = offer else {
            return false;
        };
        let mut position = from;
        while position < end {
            let term_end = geometry().term_start(position) + TERM_LENGTH as Position;
            let length = (end.min(term_end) - position) as usize;
            self.model
                .extend_from_slice(self.log.bytes(position, length));
            position += length as Position;
        }
        self.boundaries.push(end);
        true
    }

    pub fn begin_leadership_term(&mut self) -> bool {
        self.leadership_term += 1;
        let begun = self.append(NEW_LEADERSHIP_TERM, 64, 0xAA);
        if !begun {
            self.leadership_term -= 1;
        }
        begun
    }

    /// One duty cycle of recorder and ack mark.
    pub fn cycle(&mut self) {
        while let Some(completion) = self.port.poll_completion(self.now) {
            let taken = self.recorder.on_completion(&completion)
                || self.ack_mark.on_completion(&completion);
            match &mut self.strangers {
                Some(strangers) if !taken => strangers.push(completion),
                _ => assert!(taken, "a completion of nobody: {completion:?}"),
            }
        }
        let append = self.append_position();
        self.recorder
            .do_work(self.now, &self.log, append, &mut self.port);
        self.log.clean_ahead(append, 16 * 1024);
        let durable = self.recorder.durable();
        let acked = AckedPosition {
            position: durable,
            term: self.leadership_term.into(),
            commit: 0,
            durable,
        };
        let idle = self.recorder.log_idle_since();
        let mark = &mut self.ack_mark;
        mark.write_other_slot(self.now, &mut self.port);
        if mark.position() <= durable {
            mark.do_work(self.now, acked, idle, &mut self.port);
        }
    }

    /// Lets time pass until the next completion.
    pub fn wait(&mut self) {
        self.now = self
            .port
            .next_deadline()
            .unwrap_or(self.now + 100_000)
            .max(self.now);
        self.cycle();
    }

    /// Idles for so long that the mark is written and synced.
    pub fn idle(&mut self) {
        for _ in 0..8 {
            self.now += 5_000_000;
            self.cycle();
        }
    }

    pub fn drain(&mut self) {
        for _ in 0..10_000 {
            if self.recorder.is_drained(self.append_position()) {
                return;
            }
            self.wait();
        }
        panic!("the recorder never drained: {:?}", self.recorder);
    }

    /// Cuts the log, on disk too.
    pub fn truncate(&mut self, position: Position) {
        assert!(self.truncate_in(position, usize::MAX));
    }

    /// Cuts the log, but stops after `steps` completed operations. Whether it came to its end.
    pub fn truncate_in(&mut self, position: Position, steps: usize) -> bool {
        self.drain();
        let end = self.append_position();
        let mut steps = steps;
        if !self.mark_truncation(position, Some(end), &mut steps) {
            return false;
        }
        self.recorder
            .truncate(position, &mut self.log, self.port.files())
            .unwrap();
        self.model.truncate(position as usize);
        self.boundaries.retain(|boundary| *boundary <= position);
        self.restart = position;
        self.appender = new_appender(position);
        while !self.recorder.is_drained(position) {
            self.recorder
                .do_work(self.now, &self.log, position, &mut self.port);
            if !self.recorder.is_drained(position) && !self.step(&mut steps) {
                return false;
            }
        }
        self.mark_truncation(position, None, &mut steps)
    }

    /// Says durably that the log is being cut, down from `end`, or that it is.
    fn mark_truncation(
        &mut self,
        position: Position,
        end: Option<Position>,
        steps: &mut usize,
    ) -> bool {
        let now = self.now;
        let mark = |node: &mut Self| {
            let (mark, disk) = (&mut node.ack_mark, &mut node.port);
            match end {
                Some(end) => mark.begin_truncation(now, position, end, disk),
                None => mark.end_truncation(now, position, disk),
            }
        };
        while !mark(self) {
            if !self.step(steps) {
                return false;
            }
        }
        while !self.ack_mark.is_settled() {
            if !self.step(steps) {
                return false;
            }
        }
        true
    }

    /// Takes the next completion, unless no step is left.
    fn step(&mut self, steps: &mut usize) -> bool {
        if *steps == 0 {
            return false;
        }
        *steps -= 1;
        self.now = self.port.next_deadline().unwrap_or(self.now).max(self.now);
        if let Some(completion) = self.port.poll_completion(self.now) {
            let taken = self.recorder.on_completion(&completion)
                || self.ack_mark.on_completion(&completion);
            assert!(taken, "a completion of nobody: {completion:?}");
            self.ack_mark.write_other_slot(self.now, &mut self.port);
        }
        true
    }
}

fn new_appender(start: Position) -> ExclusiveAppender {
    ExclusiveAppender::new(geometry(), SESSION_ID, LOG_STREAM_ID, MTU, start)
}

/// A disk that tears and loses what this seed says.
pub fn disk(seed: u64) -> SimDisk {
    SimDisk::new(SimDiskConfig {
        seed,
        ..SimDiskConfig::default()
    })
}

/// The log of a node that starts on it.
pub fn start(disk: &SimDisk, sync: SyncMode) -> RecordedLog {
    RecordedLog::start(disk, 0, sync, BUDGET, Vec::new()).unwrap()
}

/// A drained log of several segments, its process gone.
pub fn recorded(seed: u64, entries: usize) -> (SimDisk, Vec<u8>, Position) {
    let disk = disk(seed);
    let mut node = start(&disk, SyncMode::Data);
    assert!(node.begin_leadership_term());
    for entry in 0..entries {
        while !node.append(REQUEST, 1000, entry as u8) {
            node.wait();
        }
        node.cycle();
    }
    node.drain();
    node.idle();
    let mark = node.ack_mark.position();
    (disk, node.model, mark)
}
