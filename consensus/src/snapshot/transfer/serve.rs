//! Gives other members pieces of the snapshots that this one has.
//!
//! Each other member has a place of its own here, with a reader and a short list of what it asked
//! for. Nothing of it matters: who is forgotten asks again. So many datagrams leave per cycle and
//! no more, in turn to all who wait, and none is made that the port does not take. Allocates
//! nothing once it is made.

use lockstep_archive::disk::{Completion, Disk, FileId};
use lockstep_archive::log::token::{OWNER_SNAPSHOT_READER_FIRST, owner};
use lockstep_archive::snapshot_file::reader::{SnapshotFileReader, SnapshotRead};
use lockstep_transport::time::{Nanos, SECOND, earliest};

use crate::module::member::MemberId;
use crate::protocol::snapshot_message::{
    SNAPSHOT_OFFERS_MAX, SnapshotChunk, SnapshotId, SnapshotRefusal, SnapshotRequest,
};

/// Datagrams that leave per cycle: half of what a stream of the log may send in one.
pub const DATAGRAMS_PER_CYCLE: usize = 16;

/// Requests of one member that wait: a whole window of single chunks, asked for one by one.
const WAITING_MAX: usize = 32;

/// Who asks for nothing for so long is forgotten.
pub const FORGOTTEN_NS: Nanos = 10 * SECOND;

/// A snapshot that others may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedSnapshot {
    /// Which one.
    pub id: SnapshotId,
    /// Where it lies, from its first byte on.
    pub file: FileId,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// It is seen to.
    Taken,
    /// There is no such snapshot here: the member is to be told.
    Refused(SnapshotRefusal),
    /// It cannot be seen to: from nobody that is served, for chunks that fit no datagram, or one
    /// too many. Who asked asks again.
    Dropped,
}

/// What leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served<'a> {
    /// A piece that was asked for, and its bytes.
    Chunk(SnapshotChunk, &'a [u8]),
    /// There will be none.
    Refused(SnapshotId, SnapshotRefusal),
}

/// What is left of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    offset: u64,
    end: u64,
    chunk_length: u32,
}

#[derive(Debug)]
struct Requester {
    reader: SnapshotFileReader,
    wanted: Option<ServedSnapshot>,
    heard: Nanos,
    /// What it waits for, the first first.
    waiting: [Span; WAITING_MAX],
    count: usize,
}

/// See the module.
#[derive(Debug)]
pub struct SnapshotServe {
    chunk_length_max: u32,
    snapshots: [Option<ServedSnapshot>; SNAPSHOT_OFFERS_MAX],
    requesters: Vec<Requester>,
    /// Who is first in the next cycle.
    next: usize,
}

impl SnapshotServe {
    /// Serves `members` members chunks of at most `chunk_length_max` bytes, and has no snapshot
    /// yet.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn new(members: usize, chunk_length_max: usize) -> std::io::Result<Self> {
        let requester = |index| {
            Ok(Requester {
                reader: SnapshotFileReader::new(index as u16)?,
                wanted: None,
                heard: 0,
                waiting: [Span::default(); WAITING_MAX],
                count: 0,
            })
        };
        Ok(Self {
            chunk_length_max: chunk_length_max as u32,
            snapshots: [None; SNAPSHOT_OFFERS_MAX],
            requesters: (0..members)
                .map(requester)
                .collect::<std::io::Result<_>>()?,
            next: 0,
        })
    }

    /// These are the snapshots that there are from now on. Whoever fetches another one is refused
    /// the next time it asks.
    pub fn set_snapshots(&mut self, snapshots: [Option<ServedSnapshot>; SNAPSHOT_OFFERS_MAX]) {
        for requester in &mut self.requesters {
            if requester.wanted.is_some() && !snapshots.contains(&requester.wanted) {
                requester.forget();
            }
        }
        self.snapshots = snapshots;
    }

    /// Whether somebody fetches a snapshot now.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.requesters
            .iter()
            .any(|requester| requester.wanted.is_some())
    }

    /// A member asks for a piece.
    pub fn on_request(
        &mut self,
        now: Nanos,
        from: MemberId,
        request: &SnapshotRequest,
    ) -> RequestOutcome {
        let Some(requester) = self.requesters.get_mut(usize::from(from)) else {
            return RequestOutcome::Dropped;
        };
        let mut snapshots = self.snapshots.iter().flatten();
        let Some(served) = snapshots.find(|served| served.id == request.id) else {
            return RequestOutcome::Refused(SnapshotRefusal::NoSuchSnapshot);
        };
        if request.chunk_length > self.chunk_length_max {
            return RequestOutcome::Dropped;
        }
        requester.heard = now;
        if requester.wanted != Some(*served) {
            requester.forget();
            requester.wanted = Some(*served);
            requester.reader.open(served.file, served.id.length);
        }
        requester.wait_for(Span::of(request))
    }

    /// Sends what waits and is at hand, and orders the rest from disk. `send` says whether the
    /// port took it. Returns how much was done.
    pub fn do_work(
        &mut self,
        now: Nanos,
        disk: &mut impl Disk,
        mut send: impl FnMut(MemberId, Served<'_>) -> bool,
    ) -> usize {
        let mut left = DATAGRAMS_PER_CYCLE;
        let count = self.requesters.len();
        let mut is_open = true;
        // In turn, a datagram each, until nobody has any, or no more may leave.
        while is_open && left > 0 {
            let before = left;
            for turn in 0..count {
                let member = (self.next + turn) % count;
                let send = |served: Served<'_>| send(member as MemberId, served);
                match self.requesters[member].send_next(send) {
                    Sent::One => left -= 1,
                    Sent::None => {}
                    Sent::Refused => is_open = false,
                }
                if left == 0 || !is_open {
                    break;
                }
            }
            if left == before {
                break;
            }
        }
        self.next = (self.next + 1) % count.max(1);
        let mut work = DATAGRAMS_PER_CYCLE - left;
        for requester in &mut self.requesters {
            work += requester.reader.do_work(now, disk);
            if requester.wanted.is_some() && now - requester.heard >= FORGOTTEN_NS {
                requester.forget();
            }
        }
        work
    }

    /// Takes a completion; `false` when it is none of these readers'.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        let index = owner(completion.token).checked_sub(OWNER_SNAPSHOT_READER_FIRST);
        let requester = index.and_then(|index| self.requesters.get_mut(usize::from(index)));
        requester.is_some_and(|requester| requester.reader.on_completion(completion))
    }

    /// When there is something to do although nothing comes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let of_requester = |requester: &Requester| {
            requester.wanted?;
            let is_due = requester.count > 0 && !requester.reader.is_reading();
            Some(if is_due {
                Nanos::MIN
            } else {
                requester.heard + FORGOTTEN_NS
            })
        };
        self.requesters
            .iter()
            .map(of_requester)
            .fold(None, earliest)
    }
}

enum Sent {
    One,
    /// Nothing is wanted, or nothing is at hand.
    None,
    /// The port is full.
    Refused,
}

impl Span {
    fn of(request: &SnapshotRequest) -> Self {
        let length = u64::from(request.chunk_length) * u64::from(request.chunks);
        Self {
            offset: request.offset,
            end: request.offset.saturating_add(length).min(request.id.length),
            chunk_length: request.chunk_length,
        }
    }

    /// Whether all of `other` leaves with this.
    fn holds(&self, other: &Self) -> bool {
        self.chunk_length == other.chunk_length
            && (self.offset..self.end).contains(&other.offset)
            && other.end <= self.end
            && (other.offset - self.offset).is_multiple_of(u64::from(self.chunk_length))
    }
}

impl Requester {
    fn forget(&mut self) {
        self.wanted = None;
        self.count = 0;
        self.reader.close();
    }

    fn wait_for(&mut self, span: Span) -> RequestOutcome {
        if self.waiting[..self.count].iter().any(|w| w.holds(&span)) {
            return RequestOutcome::Taken;
        }
        let Some(place) = self.waiting.get_mut(self.count) else {
            return RequestOutcome::Dropped;
        };
        *place = span;
        self.count += 1;
        RequestOutcome::Taken
    }

    /// Sends the first chunk that waits, if it is at hand.
    fn send_next(&mut self, mut send: impl FnMut(Served<'_>) -> bool) -> Sent {
        let Some(ServedSnapshot { id, .. }) = self.wanted.filter(|_| self.count > 0) else {
            return Sent::None;
        };
        let span = self.waiting[0];
        let length = (span.end - span.offset).min(u64::from(span.chunk_length));
        let is_sent = match self.reader.read(span.offset, length as usize) {
            SnapshotRead::Pending => return Sent::None,
            SnapshotRead::Failed => send(Served::Refused(id, SnapshotRefusal::Unreadable)),
            SnapshotRead::Bytes(bytes) => {
                let chunk = SnapshotChunk {
                    id,
                    offset: span.offset,
                    length: length as u32,
                };
                send(Served::Chunk(chunk, bytes))
            }
        };
        if !is_sent {
            return Sent::Refused;
        }
        if self.reader.failed().is_some() {
            // What it asks for next is tried afresh.
            self.forget();
            return Sent::One;
        }
        self.waiting[0].offset += length;
        if self.waiting[0].offset >= self.waiting[0].end {
            self.waiting.copy_within(1..self.count, 0);
            self.count -= 1;
        }
        Sent::One
    }
}
