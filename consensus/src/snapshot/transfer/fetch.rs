//! Fetches a snapshot from another member, piece by piece.
//!
//! A window of chunks, a few dozen, is asked for ahead, in runs; what does not come is asked for
//! again. Everything is held to a pace, so that the log goes on beside it. Bytes are handed on in
//! order, to a sink that may be full. A transfer may begin anywhere, and go on at another member
//! that has the same snapshot. Only chunks that were asked for are taken, and only of who was
//! asked. Allocates nothing once it is made. Whether the whole is what its name says, whoever has
//! all of it finds out.

use lockstep_transport::time::{Nanos, SECOND, earliest};

use super::pace::Pace;
use super::patience::Patience;
use crate::module::member::MemberId;
use crate::protocol::snapshot_message::{
    SnapshotChunk, SnapshotId, SnapshotRefusal, SnapshotRequest,
};

/// Chunks that are asked for ahead: of a log's datagrams by default a quarter of a megabyte, as
/// much as a disk writes at once, and what a fast network has on its way.
const WINDOW: usize = 32;

/// Chunks asked for in one request: an eighth of the window, so that some are always on their way.
const RUN: usize = WINDOW / 4;

/// Who was asked and sends nothing for so long is not asked any more.
pub const SILENCE_NS: Nanos = 5 * SECOND;

/// Shape of a [`SnapshotFetch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchConfig {
    /// Bytes of a chunk: as many as fit a datagram of the log.
    pub chunk_length: usize,
    /// Bytes that may be asked for per second.
    pub bytes_per_second: u64,
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchState {
    /// There is none.
    Idle,
    /// It is under way.
    Fetching,
    /// Who was asked cannot give it: somebody else is to be asked.
    Refused(SnapshotRefusal),
    /// Who was asked does not answer: somebody else is to be asked.
    Silent,
    /// Everything was handed on.
    Complete,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkOutcome {
    /// It was waited for.
    Taken,
    /// It is there already.
    Repeated,
    /// It is not what was asked for: of another snapshot, from another member, or another piece.
    Unasked,
}

/// What a transfer has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchCounters {
    /// Chunks taken.
    pub chunks: u64,
    /// Chunks asked for again.
    pub asked_again: u64,
    /// Chunks that were there already.
    pub repeated: u64,
    /// Chunks that nobody asked for.
    pub unasked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// To be asked for.
    Empty,
    Asked {
        at: Nanos,
        is_again: bool,
    },
    Here,
}

/// See the module.
#[derive(Debug)]
pub struct SnapshotFetch {
    chunk_length: u64,
    state: FetchState,
    id: SnapshotId,
    from: MemberId,
    /// Where the transfer began: chunks are counted from here.
    origin: u64,
    /// The first chunk of the window. Chunk `n` is in slot `n` modulo the window.
    first: u64,
    /// Bytes of the first chunk that were handed on.
    given: usize,
    slots: [Slot; WINDOW],
    bytes: Box<[u8]>,
    pace: Pace,
    patience: Patience,
    /// When who is asked was last heard, or first had something to answer.
    heard: Nanos,
    counters: FetchCounters,
}

impl SnapshotFetch {
    /// Fetches nothing yet.
    ///
    /// # Panics
    /// When chunks have no length, or nothing may be asked for.
    #[must_use]
    pub fn new(config: FetchConfig) -> Self {
        assert!(
            config.chunk_length > 0 && config.bytes_per_second > 0,
            "a transfer without bytes: {config:?}"
        );
        Self {
            chunk_length: config.chunk_length as u64,
            state: FetchState::Idle,
            id: SnapshotId::default(),
            from: 0,
            origin: 0,
            first: 0,
            given: 0,
            slots: [Slot::Empty; WINDOW],
            bytes: vec![0; WINDOW * config.chunk_length].into_boxed_slice(),
            pace: Pace::new(config.bytes_per_second),
            patience: Patience::new(),
            heard: 0,
            counters: FetchCounters::default(),
        }
    }

    /// Whether it is waited for: then it is asked for faster.
    pub(super) const fn hurry(&mut self, is_hurried: bool) {
        self.pace.hurry(is_hurried);
    }

    /// Begins to fetch snapshot `id` from member `from`, from byte `offset` on. A transfer before
    /// it is forgotten.
    ///
    /// # Panics
    /// When there is no such byte.
    pub fn begin(&mut self, now: Nanos, from: MemberId, id: SnapshotId, offset: u64) {
        assert!(offset < id.length, "no byte {offset} in {id:?}");
        self.id = id;
        self.origin = offset;
        (self.first, self.given) = (0, 0);
        self.slots = [Slot::Empty; WINDOW];
        self.ask_anew(now, from);
    }

    /// Goes on at another member, or at the same once more; what is here stays.
    ///
    /// # Panics
    /// When nothing is being fetched.
    pub fn ask(&mut self, now: Nanos, from: MemberId) {
        assert!(
            !matches!(self.state, FetchState::Idle | FetchState::Complete),
            "nothing is left to ask for"
        );
        self.ask_anew(now, from);
    }

    fn ask_anew(&mut self, now: Nanos, from: MemberId) {
        self.from = from;
        self.state = FetchState::Fetching;
        self.patience = Patience::new();
        self.heard = now;
        for slot in &mut self.slots {
            if matches!(slot, Slot::Asked { .. }) {
                *slot = Slot::Empty;
            }
        }
    }

    /// Fetches nothing any more.
    pub fn stop(&mut self) {
        self.state = FetchState::Idle;
    }

    /// How far it is.
    #[must_use]
    pub const fn state(&self) -> FetchState {
        self.state
    }

    /// What is fetched, or was last.
    #[must_use]
    pub const fn id(&self) -> SnapshotId {
        self.id
    }

    /// Who is asked, or was last.
    #[must_use]
    pub const fn from(&self) -> MemberId {
        self.from
    }

    /// The snapshot was handed on up to here.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.offset_of(self.first) + self.given as u64
    }

    /// Counters since it was made.
    #[must_use]
    pub const fn counters(&self) -> FetchCounters {
        self.counters
    }

    /// The next request that is due, to be sent to [`from`](Self::from). To be called until there
    /// is none: that is soon, since what was asked for is not due at once.
    pub fn poll_request(&mut self, now: Nanos) -> Option<SnapshotRequest> {
        if self.state != FetchState::Fetching {
            return None;
        }
        let is_waiting = self.is_waiting();
        if is_waiting && now - self.heard >= SILENCE_NS {
            self.state = FetchState::Silent;
            return None;
        }
        if now < self.pace.open_at() {
            return None;
        }
        let patience = self.patience.length();
        let end = self.window_end();
        let start = (self.first..end).find(|chunk| self.is_due(*chunk, now, patience))?;
        let mut chunks = 0;
        let mut bytes = 0;
        while chunks < RUN as u64
            && start + chunks < end
            && self.is_due(start + chunks, now, patience)
        {
            let slot = &mut self.slots[index_of(start + chunks)];
            let is_again = *slot != Slot::Empty;
            *slot = Slot::Asked { at: now, is_again };
            self.counters.asked_again += u64::from(is_again);
            if is_again {
                self.patience.on_silence(now);
            }
            bytes += self.length_of(start + chunks) as u64;
            chunks += 1;
        }
        self.pace.spend(now, bytes);
        if !is_waiting {
            self.heard = now;
        }
        Some(SnapshotRequest {
            id: self.id,
            offset: self.offset_of(start),
            chunk_length: self.chunk_length as u32,
            chunks: chunks as u32,
        })
    }

    /// A chunk has come.
    pub fn on_chunk(
        &mut self,
        now: Nanos,
        from: MemberId,
        chunk: &SnapshotChunk,
        bytes: &[u8],
    ) -> ChunkOutcome {
        let outcome = match self.place_of(from, chunk, bytes) {
            None => ChunkOutcome::Unasked,
            Some(number) if number < self.first => ChunkOutcome::Repeated,
            Some(number) => self.take(now, number, bytes),
        };
        match outcome {
            ChunkOutcome::Taken => self.counters.chunks += 1,
            ChunkOutcome::Repeated => self.counters.repeated += 1,
            ChunkOutcome::Unasked => self.counters.unasked += 1,
        }
        outcome
    }

    /// Who is asked says that it cannot give the snapshot. Whether that was of interest.
    pub fn on_refused(&mut self, from: MemberId, id: SnapshotId, refusal: SnapshotRefusal) -> bool {
        let is_awaited = self.state == FetchState::Fetching && from == self.from && id == self.id;
        if is_awaited {
            self.state = FetchState::Refused(refusal);
        }
        is_awaited
    }

    /// Hands on what is here in order, until `sink` takes no more: it says how many of the bytes
    /// it took. Returns how many those were in all.
    pub fn deliver(&mut self, mut sink: impl FnMut(&[u8]) -> usize) -> usize {
        let mut delivered = 0;
        if matches!(self.state, FetchState::Idle | FetchState::Complete) {
            return delivered;
        }
        for _ in 0..WINDOW {
            if self.slots[index_of(self.first)] != Slot::Here {
                break;
            }
            let (start, length) = (self.bytes_at(self.first), self.length_of(self.first));
            let taken = sink(&self.bytes[start + self.given..start + length]);
            delivered += taken;
            self.given += taken;
            if self.given < length {
                break;
            }
            self.slots[index_of(self.first)] = Slot::Empty;
            self.first += 1;
            self.given = 0;
            if self.offset_of(self.first) >= self.id.length {
                self.state = FetchState::Complete;
                break;
            }
        }
        delivered
    }

    /// When there is something to do although nothing comes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.state != FetchState::Fetching {
            return None;
        }
        let patience = self.patience.length();
        let of_slot = |chunk| match self.slots[index_of(chunk)] {
            Slot::Empty => Some(Nanos::MIN),
            Slot::Asked { at, .. } => Some(at + patience),
            Slot::Here => None,
        };
        let due = (self.first..self.window_end()).filter_map(of_slot).min();
        let due = due.map(|due| due.max(self.pace.open_at()));
        let silent = self.is_waiting().then_some(self.heard + SILENCE_NS);
        earliest(due, silent)
    }

    /// The chunk's number, if it is one of this transfer.
    fn place_of(&self, from: MemberId, chunk: &SnapshotChunk, bytes: &[u8]) -> Option<u64> {
        let is_of_this =
            self.state == FetchState::Fetching && from == self.from && chunk.id == self.id;
        if !is_of_this {
            return None;
        }
        let distance = chunk.offset.checked_sub(self.origin)?;
        let number = distance / self.chunk_length;
        let is_whole = distance.is_multiple_of(self.chunk_length)
            && number < self.window_end()
            && bytes.len() == self.length_of(number)
            && chunk.length as usize == bytes.len();
        is_whole.then_some(number)
    }

    fn take(&mut self, now: Nanos, number: u64, bytes: &[u8]) -> ChunkOutcome {
        let slot = &mut self.slots[index_of(number)];
        let (at, is_again) = match *slot {
            Slot::Asked { at, is_again } => (at, is_again),
            Slot::Here => return ChunkOutcome::Repeated,
            Slot::Empty => return ChunkOutcome::Unasked,
        };
        *slot = Slot::Here;
        let start = self.bytes_at(number);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.patience.on_answer((!is_again).then_some(now - at));
        self.heard = now;
        ChunkOutcome::Taken
    }

    /// Whether something was asked for and did not come.
    fn is_waiting(&self) -> bool {
        let is_asked = |slot: &Slot| matches!(slot, Slot::Asked { .. });
        self.slots.iter().any(is_asked)
    }

    fn is_due(&self, chunk: u64, now: Nanos, patience: Nanos) -> bool {
        match self.slots[index_of(chunk)] {
            Slot::Empty => true,
            Slot::Asked { at, .. } => now - at >= patience,
            Slot::Here => false,
        }
    }

    /// The first chunk beyond the window, or beyond the snapshot.
    const fn window_end(&self) -> u64 {
        let chunks = (self.id.length - self.origin).div_ceil(self.chunk_length);
        let end = self.first + WINDOW as u64;
        if end < chunks { end } else { chunks }
    }

    /// Where a chunk begins in the snapshot; its end for the one behind the last.
    const fn offset_of(&self, chunk: u64) -> u64 {
        let offset = self.origin.saturating_add(chunk * self.chunk_length);
        if offset < self.id.length {
            offset
        } else {
            self.id.length
        }
    }

    const fn length_of(&self, chunk: u64) -> usize {
        (self.offset_of(chunk + 1) - self.offset_of(chunk)) as usize
    }

    /// Where its bytes are kept.
    const fn bytes_at(&self, chunk: u64) -> usize {
        index_of(chunk) * self.chunk_length as usize
    }
}

const fn index_of(chunk: u64) -> usize {
    (chunk % WINDOW as u64) as usize
}
