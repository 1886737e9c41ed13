//! Writes a file that grows, without ever waiting for the disk.
//!
//! Bytes are copied into two buffers in turn: one is filled while the other is written. One write
//! is in flight, so the file grows at its end and nowhere else, and a log that shares the disk
//! waits behind one write of a snapshot at most; at a limited rate, if it is to. Only the last
//! write is synced, after all others have completed: it makes them durable too. What fails is final
//! for this file, and for nothing else. Owned by whoever makes or receives a snapshot.

use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::position::align;
use lockstep_transport::time::{Nanos, SECOND};

use crate::disk::{
    BLOCK_LENGTH, Completion, Disk, DiskError, DiskOp, Durability, FileId, SegmentName, Token,
};
use crate::log::segment::WRITE_LENGTH_MAX;
use crate::log::token::{OWNER_SNAPSHOT_WRITER, TokenSource};

/// Bytes of one write: as long as the log's longest, for the same reason.
const BUFFER_LENGTH: u64 = WRITE_LENGTH_MAX as u64;

/// One is filled while the other is written.
const BUFFERS: usize = 2;

/// How far a file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotFileState<'a> {
    /// There is none.
    Idle,
    /// It is being made; bytes are taken already.
    Preparing,
    /// It grows.
    Writing {
        /// Bytes that were written, though not durably.
        written: u64,
    },
    /// All of it is on stable storage.
    Durable {
        /// Its true length: zeros follow up to a whole block.
        length: u64,
    },
    /// It came to nothing, and is to be abandoned.
    Failed(&'a DiskError),
    /// It was given up: what is in flight is waited for, and it is removed.
    Abandoning,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Preparing,
    Writing,
    Durable,
    Failed(DiskError),
    Abandoning,
}

/// What the disk is asked for: one thing at a time.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Preparation,
    Removal,
    /// Whole blocks that end at this offset.
    Write {
        end: u64,
    },
}

/// See the module.
#[derive(Debug)]
pub struct SnapshotFileWriter {
    tokens: TokenSource,
    /// Byte `o` of the file passes through buffer `o / BUFFER_LENGTH` of these, in turn.
    buffers: [AtomicBuffer; BUFFERS],
    phase: Phase,
    in_flight: Option<(Token, Asked)>,
    name: SegmentName,
    file: Option<FileId>,
    /// Bytes taken.
    pushed: u64,
    /// Bytes written; whole buffers until the last write.
    written: u64,
    is_finished: bool,
    /// Bytes that are written per second at most, if there is a limit.
    rate: Option<u64>,
    /// The next write is not begun before.
    next_write: Nanos,
    /// The disk was asked to make it: there may be a file of its name.
    may_exist: bool,
}

impl SnapshotFileWriter {
    /// One per disk. All its memory is had from the start.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn new() -> std::io::Result<Self> {
        let buffer = || {
            let mut buffer = AtomicBuffer::allocate(BUFFER_LENGTH as usize)?;
            buffer.pre_touch();
            std::io::Result::Ok(buffer)
        };
        Ok(Self {
            tokens: TokenSource::new(OWNER_SNAPSHOT_WRITER),
            buffers: [buffer()?, buffer()?],
            phase: Phase::Idle,
            in_flight: None,
            name: SegmentName {
                recording_id: 0,
                position: 0,
            },
            file: None,
            pushed: 0,
            written: 0,
            is_finished: false,
            rate: None,
            next_write: 0,
            may_exist: false,
        })
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> SnapshotFileState<'_> {
        match &self.phase {
            Phase::Idle => SnapshotFileState::Idle,
            Phase::Preparing => SnapshotFileState::Preparing,
            Phase::Writing => SnapshotFileState::Writing {
                written: self.written,
            },
            Phase::Durable => SnapshotFileState::Durable {
                length: self.pushed,
            },
            Phase::Failed(error) => SnapshotFileState::Failed(error),
            Phase::Abandoning => SnapshotFileState::Abandoning,
        }
    }

    /// Bytes that were taken.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.pushed
    }

    /// The file, once it is there.
    #[must_use]
    pub const fn file(&self) -> Option<FileId> {
        self.file
    }

    /// Begins a file of this name. A durable one before it stays as it is.
    ///
    /// # Panics
    /// While there is a file that is neither durable nor gone.
    pub fn begin(&mut self, name: SegmentName) {
        assert!(
            matches!(self.phase, Phase::Idle | Phase::Durable),
            "a snapshot file is begun while {:?} is {:?}",
            self.name,
            self.phase
        );
        self.phase = Phase::Preparing;
        self.name = name;
        self.file = None;
        (self.pushed, self.written) = (0, 0);
        self.is_finished = false;
        (self.rate, self.next_write) = (None, 0);
        self.may_exist = false;
    }

    /// The file that was begun grows by so many bytes per second at most: whoever shares the disk
    /// is not to wait for it.
    pub const fn limit_rate(&mut self, bytes_per_second: u64) {
        self.rate = Some(bytes_per_second);
    }

    /// When it goes on by itself, where it waits for its turn.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let is_waiting = self.rate.is_some()
            && matches!(self.phase, Phase::Writing)
            && self.in_flight.is_none()
            && self.next_length().is_some();
        is_waiting.then_some(self.next_write)
    }

    /// Takes the next bytes of the file, as many as there is room for, and says how many; none of
    /// a file that has failed or was abandoned.
    ///
    /// # Panics
    /// When there is no file, or it was finished.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        match self.phase {
            Phase::Preparing | Phase::Writing => {}
            Phase::Failed(_) | Phase::Abandoning => return 0,
            Phase::Idle | Phase::Durable => panic!("bytes for a snapshot file that is not open"),
        }
        assert!(!self.is_finished, "bytes after the end of a snapshot file");
        let mut taken = 0;
        // Twice at most: once in each buffer.
        while taken < bytes.len() {
            let (index, offset) = place_of(self.pushed);
            let room = BUFFERS as u64 * BUFFER_LENGTH - (self.pushed - self.written);
            let room = room.min(BUFFER_LENGTH - offset as u64) as usize;
            if room == 0 {
                break;
            }
            let length = room.min(bytes.len() - taken);
            let target = self.buffers[index].bytes_mut(offset, length);
            target.copy_from_slice(&bytes[taken..taken + length]);
            taken += length;
            self.pushed += length as u64;
        }
        taken
    }

    /// The file ends with what was pushed.
    ///
    /// # Panics
    /// When there is no file that grows.
    pub fn finish(&mut self) {
        match self.phase {
            Phase::Preparing | Phase::Writing => {
                self.is_finished = true;
                self.end_when_whole();
            }
            Phase::Failed(_) | Phase::Abandoning => {}
            Phase::Idle | Phase::Durable => panic!("the end of a snapshot file that is not open"),
        }
    }

    /// Gives the file up, whatever state it is in: it is removed. [`SnapshotFileState::Idle`] says
    /// when the disk has nothing left to do with it. One that cannot be removed is left to the next
    /// start.
    pub fn abandon(&mut self) {
        self.phase = match self.phase {
            Phase::Idle => Phase::Idle,
            _ => Phase::Abandoning,
        };
        self.settle();
    }

    /// Starts what can be started. Returns the number of operations started.
    pub fn do_work(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        if self.in_flight.is_some() {
            return 0;
        }
        match self.phase {
            Phase::Preparing => self.prepare(now, disk),
            Phase::Writing => self.write(now, disk),
            Phase::Abandoning => self.remove(now, disk),
            Phase::Idle | Phase::Durable | Phase::Failed(_) => 0,
        }
    }

    /// Takes a completion; `false` when it is not this file's.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        if !self.tokens.owns(completion.token) {
            return false;
        }
        let asked = self
            .in_flight
            .take_if(|(token, _)| *token == completion.token)
            .map(|(_, asked)| asked);
        let outcome = match (&completion.result, asked) {
            (Ok(file), Some(asked)) => {
                self.on_done(*file, asked);
                Ok(())
            }
            // Tokens are never reused: an answer to nothing asked means a broken disk.
            (Ok(_), None) => Err(unexpected_completion(&self.name)),
            (Err(error), _) => Err(error.clone()),
        };
        if let Err(error) = outcome
            && matches!(self.phase, Phase::Preparing | Phase::Writing)
        {
            self.phase = Phase::Failed(error);
        }
        if matches!(asked, Some(Asked::Removal)) {
            self.may_exist = false;
        }
        self.settle();
        true
    }

    fn prepare(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        let token = self.tokens.next_token();
        let operation = DiskOp::Prepare {
            token,
            name: self.name,
            length: 0,
        };
        let submitted = self.submit(now, disk, operation, Asked::Preparation);
        self.may_exist |= submitted > 0;
        submitted
    }

    fn remove(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        let token = self.tokens.next_token();
        let operation = DiskOp::Remove {
            token,
            name: self.name,
        };
        self.submit(now, disk, operation, Asked::Removal)
    }

    /// What the next write would have, if there is one.
    fn next_length(&self) -> Option<(usize, Durability)> {
        let left = self.pushed - self.written;
        // A full buffer waits for the byte after it: were it the last one, it would be synced.
        if left > BUFFER_LENGTH {
            Some((BUFFER_LENGTH as usize, Durability::Unflushed))
        } else {
            self.is_finished
                .then_some((left as usize, Durability::Synced))
        }
    }

    fn write(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        if now < self.next_write {
            return 0;
        }
        let (Some((length, durability)), Some(file)) = (self.next_length(), self.file) else {
            return 0;
        };
        let (index, start) = place_of(self.written);
        let aligned = align(length, BLOCK_LENGTH);
        self.buffers[index].zero(start + length, aligned - length);
        let token = self.tokens.next_token();
        let operation = DiskOp::Write {
            token,
            file,
            offset: self.written,
            block: self.buffers[index].kernel_block(start, aligned),
            durability,
        };
        let end = self.written + length as u64;
        let submitted = self.submit(now, disk, operation, Asked::Write { end });
        if submitted > 0
            && let Some(rate) = self.rate
        {
            self.next_write = now + length as Nanos * SECOND / rate.max(1) as Nanos;
        }
        submitted
    }

    fn submit(
        &mut self,
        now: Nanos,
        disk: &mut impl Disk,
        operation: DiskOp,
        asked: Asked,
    ) -> usize {
        let token = operation.token();
        let is_taken = disk.submit(now, operation).is_ok();
        self.in_flight = is_taken.then_some((token, asked));
        usize::from(is_taken)
    }

    fn on_done(&mut self, file: FileId, asked: Asked) {
        match asked {
            Asked::Preparation => {
                self.file = Some(file);
                if matches!(self.phase, Phase::Preparing) {
                    self.phase = Phase::Writing;
                }
            }
            Asked::Write { end } => self.written = end,
            Asked::Removal => {}
        }
        self.end_when_whole();
    }

    fn end_when_whole(&mut self) {
        let is_whole = self.is_finished && self.written == self.pushed;
        if matches!(self.phase, Phase::Writing) && is_whole {
            self.phase = Phase::Durable;
        }
    }

    /// Nothing is left to do with an abandoned file that is gone, or never was.
    fn settle(&mut self) {
        let is_over = self.in_flight.is_none() && !self.may_exist;
        if matches!(self.phase, Phase::Abandoning) && is_over {
            self.phase = Phase::Idle;
            self.file = None;
        }
    }
}

/// Buffer and offset in it through which the byte at `offset` of the file passes.
const fn place_of(offset: u64) -> (usize, usize) {
    let index = (offset / BUFFER_LENGTH) as usize % BUFFERS;
    (index, (offset % BUFFER_LENGTH) as usize)
}

#[cold]
fn unexpected_completion(name: &SegmentName) -> DiskError {
    DiskError::Io {
        operation: "completion",
        name: name.file_name(),
        detail: "an operation that was never submitted completed".to_owned(),
    }
}
