//! A disk between two threads: the near end is ordered from, the far end carries out.
//!
//! One bounded queue takes the work out, one brings completions back; neither end ever waits for
//! the other. What crosses is resolved by the near end's [`Desk`], which keeps the cold files and
//! the table of open ones, and carried out by the far end's [`Engine`]; both are handed in, so the
//! same ends serve real disks and the simulated one. Memory on loan crosses with its operation,
//! which keeps it: either end may go while work is on its way. The near end counts what is on its
//! way, and has room for every result before it lets anything out.

use std::fmt;

use lockstep_transport::agent::{WakeSources, WakerSlot};
use lockstep_transport::time::Nanos;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::disk::{Busy, ColdFiles, Completion, Disk, DiskError, DiskOp, QUEUE_LENGTH, Token};

/// Pieces of work taken in one call of the far end: one that makes blocking calls sees between
/// calls that it is to end, and more are seldom on their way at once.
const PIECES_PER_CALL: usize = 8;

/// The near end's side of a directory: what is done where operations are ordered.
pub trait Desk {
    /// The directory's cold face.
    type Files: ColdFiles;
    /// What crosses.
    type Work;

    /// The directory, for cold calls.
    fn files(&mut self) -> &mut Self::Files;

    /// Turns an operation into what has to cross; `None`: nothing, this side has taken it.
    ///
    /// # Errors
    /// [`Busy`] when nothing was taken.
    fn resolve(&mut self, now: Nanos, operation: DiskOp) -> Result<Option<Self::Work>, Busy>;

    /// The next result of what this side has taken.
    fn poll_completion(&mut self, now: Nanos) -> Option<Completion>;

    /// Has whoever brings results to this side wake the near end's thread.
    fn name_wake_sources(&self, _sources: &WakeSources) {}
}

/// What carries work out, on the thread of whoever calls it.
pub trait Engine {
    /// What it carries out.
    type Work;

    /// Starts a piece of work.
    ///
    /// # Errors
    /// The work itself, when there is no room: nothing was taken, try again in a later cycle.
    fn submit(&mut self, now: Nanos, work: Self::Work) -> Result<(), Self::Work>;

    /// The next finished piece of work, in any order.
    fn poll_completion(&mut self, now: Nanos) -> Option<Completion>;

    /// Pushes what was submitted to the device. Called once per cycle.
    fn flush(&mut self, _now: Nanos) {}

    /// When it has something to do by itself, where that is known.
    fn next_deadline(&self) -> Option<Nanos> {
        None
    }

    /// System calls it has made so far on the thread that calls it.
    fn system_calls(&self) -> u64 {
        0
    }

    /// Names what brings completions to the thread that polls for them.
    fn name_wake_sources(&mut self, _sources: &mut WakeSources) {}
}

/// The end that operations are ordered from. See the module.
pub struct QueuedDisk<K: Desk> {
    desk: K,
    work: Producer<K::Work>,
    completions: Consumer<Completion>,
    /// What has crossed and was not answered: never more than the queue of answers takes.
    in_flight: Vec<Token>,
    own_waker: WakerSlot,
    far_waker: WakerSlot,
}

/// The end that carries out. See the module.
pub struct DiskRunner<E: Engine> {
    engine: E,
    work: Consumer<E::Work>,
    completions: Producer<Completion>,
    /// What the engine had no room for: it is next.
    in_hand: Option<E::Work>,
    /// What the engine has taken and not finished.
    in_flight: usize,
    own_waker: WakerSlot,
    near_waker: WakerSlot,
}

/// Both ends of a disk whose operations are resolved by `desk` and carried out by `engine`.
#[must_use]
pub fn queued_disk<K: Desk, E: Engine<Work = K::Work>>(
    desk: K,
    engine: E,
) -> (QueuedDisk<K>, DiskRunner<E>) {
    let (work, work_end) = RingBuffer::new(QUEUE_LENGTH);
    let (completions_end, completions) = RingBuffer::new(QUEUE_LENGTH);
    let (near_waker, far_waker) = (WakerSlot::default(), WakerSlot::default());
    let near = QueuedDisk {
        desk,
        work,
        completions,
        in_flight: Vec::with_capacity(QUEUE_LENGTH),
        own_waker: near_waker.clone(),
        far_waker: far_waker.clone(),
    };
    let far = DiskRunner {
        engine,
        work: work_end,
        completions: completions_end,
        in_hand: None,
        in_flight: 0,
        own_waker: far_waker,
        near_waker,
    };
    (near, far)
}

impl<K: Desk> QueuedDisk<K> {
    /// Names what brings completions: the far end, and whoever works for the desk.
    pub fn name_wake_sources(&self, sources: &WakeSources) {
        self.own_waker.fill(sources.waker());
        self.desk.name_wake_sources(sources);
    }

    fn next_answer(&mut self) -> Option<Completion> {
        let completion = self.completions.pop().ok()?;
        let of_this = |token: &Token| *token == completion.token;
        let index = self.in_flight.iter().position(of_this);
        let index = index.expect("the far end answers once for what was ordered, and no other");
        self.in_flight.swap_remove(index);
        Some(completion)
    }

    fn has_lost_its_far_end(&self) -> bool {
        !self.in_flight.is_empty() && self.completions.is_abandoned()
    }

    /// The far end is gone: what it has not answered fails, and nobody knows what became of it.
    #[cold]
    fn fail_one(&mut self) -> Option<Completion> {
        // What it left on its way out counts.
        let left = self.next_answer();
        left.or_else(|| {
            let token = self.in_flight.pop()?;
            let result = Err(far_end_gone());
            Some(Completion { token, result })
        })
    }
}

impl<K: Desk> Disk for QueuedDisk<K> {
    type Files = K::Files;

    fn files(&mut self) -> &mut Self::Files {
        self.desk.files()
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        if self.in_flight.len() == QUEUE_LENGTH {
            return Err(Busy);
        }
        let token = operation.token();
        let Some(work) = self.desk.resolve(now, operation)? else {
            return Ok(());
        };
        let is_out = self.work.push(work).is_ok();
        assert!(is_out, "more work than the queue has room for");
        self.in_flight.push(token);
        // Now rather than at the end of the cycle: the device's latency begins.
        self.far_waker.wake();
        Ok(())
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        let found = self.next_answer();
        let found = found.or_else(|| self.desk.poll_completion(now));
        if found.is_none() && self.has_lost_its_far_end() {
            return self.fail_one();
        }
        found
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let is_due = !self.completions.is_empty() || self.has_lost_its_far_end();
        is_due.then_some(0)
    }
}

#[cold]
fn far_end_gone() -> DiskError {
    DiskError::Io {
        operation: "the thread",
        name: "the disk".to_owned(),
        detail: "it has ended, and the panic above says why".to_owned(),
    }
}

impl<E: Engine> DiskRunner<E> {
    /// What carries the work out, to look at.
    pub const fn engine(&self) -> &E {
        &self.engine
    }

    /// System calls made so far for what was carried out.
    #[must_use]
    pub fn system_calls(&self) -> u64 {
        self.engine.system_calls()
    }

    /// Takes work and hands it to the engine, and hands back what has finished. Returns how much
    /// that was.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        while work < PIECES_PER_CALL && self.start_next(now) {
            work += 1;
            // For each: the next one may take long, and this one's answer is not to wait for it.
            self.hand_back(now);
        }
        self.engine.flush(now);
        work + self.hand_back(now)
    }

    fn start_next(&mut self, now: Nanos) -> bool {
        let next = self.in_hand.take().or_else(|| self.work.pop().ok());
        let Some(next) = next else {
            return false;
        };
        self.in_hand = self.engine.submit(now, next).err();
        let is_started = self.in_hand.is_none();
        self.in_flight += usize::from(is_started);
        is_started
    }

    fn hand_back(&mut self, now: Nanos) -> usize {
        let mut answers = 0;
        while self.in_flight > 0
            && let Some(completion) = self.engine.poll_completion(now)
        {
            self.in_flight -= 1;
            let is_back = self.completions.push(completion).is_ok();
            assert!(is_back, "more answers than the queue has room for");
            answers += 1;
        }
        if answers > 0 {
            self.near_waker.wake();
        }
        answers
    }

    /// When there is something to do although nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        // What is in hand waits for the engine.
        if self.in_hand.is_none() && !self.work.is_empty() {
            return Some(0);
        }
        self.engine.next_deadline()
    }

    /// Whether the near end has gone, and nothing that it ordered is left to do.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // In this order: after its end nothing is put into the queue.
        self.work.is_abandoned()
            && self.work.is_empty()
            && self.in_hand.is_none()
            && self.in_flight == 0
    }

    /// Names what brings work and completions: the near end, and whatever the engine waits for.
    pub fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.own_waker.fill(sources.waker());
        self.engine.name_wake_sources(sources);
    }
}

impl<K: Desk + fmt::Debug> fmt::Debug for QueuedDisk<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("QueuedDisk")
            .field("desk", &self.desk)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

impl<E: Engine + fmt::Debug> fmt::Debug for DiskRunner<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DiskRunner")
            .field("engine", &self.engine)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
