//! A thread that does what it is sent, one piece of work after the other, and parks when there is
//! nothing to do: work goes to it and results come back through two bounded queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use lockstep_transport::agent::{Waker, WakerSlot};

/// See the module.
#[derive(Debug)]
pub(super) struct HelperThread<W, R> {
    work: rtrb::Producer<W>,
    results: rtrb::Consumer<R>,
    in_flight: usize,
    in_flight_max: usize,
    stop: Arc<AtomicBool>,
    waker: WakerSlot,
    thread: Option<JoinHandle<()>>,
}

impl<W: Send + 'static, R: Send + 'static> HelperThread<W, R> {
    /// Starts a thread that makes a result of each piece of work, of which at most so many are in
    /// flight.
    pub(super) fn start(
        name: &str,
        in_flight_max: usize,
        mut carry_out: impl FnMut(W) -> R + Send + 'static,
    ) -> std::io::Result<Self> {
        let (work, mut incoming) = rtrb::RingBuffer::<W>::new(in_flight_max);
        let (mut outgoing, results) = rtrb::RingBuffer::<R>::new(in_flight_max);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let waker = WakerSlot::default();
        let waiting = waker.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Acquire; pairs with the Release in `drop`.
                while !stopped.load(Ordering::Acquire) {
                    let Ok(work) = incoming.pop() else {
                        std::thread::park();
                        continue;
                    };
                    let sent = outgoing.push(carry_out(work));
                    assert!(
                        sent.is_ok(),
                        "more results than work the queue had room for"
                    );
                    waiting.wake();
                }
            })?;
        Ok(Self {
            work,
            results,
            in_flight: 0,
            in_flight_max,
            stop,
            waker,
            thread: Some(thread),
        })
    }
}

impl<W, R> HelperThread<W, R> {
    /// Has the thread wake by `waker` whoever waits for its results, from now on.
    pub(super) fn wake_with(&self, waker: &Waker) {
        self.waker.fill(waker);
    }

    /// Whether there is room for another piece of work.
    pub(super) const fn has_room(&self) -> bool {
        self.in_flight < self.in_flight_max
    }

    /// Hands a piece of work over, and wakes the thread; gives it back when there is no room.
    pub(super) fn submit(&mut self, work: W) -> Result<(), W> {
        if !self.has_room() {
            return Err(work);
        }
        self.work
            .push(work)
            .map_err(|rtrb::PushError::Full(work)| work)?;
        self.in_flight += 1;
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        Ok(())
    }

    /// The next result, if there is one.
    pub(super) fn poll(&mut self) -> Option<R> {
        if self.in_flight == 0 {
            return None;
        }
        let result = self.results.pop().ok()?;
        self.in_flight -= 1;
        Some(result)
    }
}

impl<W, R> Drop for HelperThread<W, R> {
    fn drop(&mut self) {
        // Release; pairs with the Acquire in the thread.
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread was already printed; there is nothing left to save.
            let _ = thread.join();
        }
    }
}
