//! What can end a thread's sleep, and the sleep itself.
//!
//! An agent names its sources once, on the thread that drives it: descriptors that become
//! readable, and whoever gets a [`Waker`]. Shell: system calls behind it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, OnceLock};

use super::sleep_flag::SleepFlag;
use crate::media::{Doorbell, WatchList};
use crate::time::{MICROSECOND, MILLISECOND, Nanos};

/// The longest sleep: whoever stops a thread by a flag alone waits no longer than this.
const SLEEP_MAX_NS: Nanos = 100 * MILLISECOND;
/// The longest sleep where something cannot wake the thread: as long, and as dear, as those of
/// [`IdleStrategy::Park`](super::IdleStrategy::Park).
const BLIND_SLEEP_MAX_NS: Nanos = 500 * MICROSECOND;

#[derive(Debug)]
struct Bed {
    flag: SleepFlag,
    doorbell: Doorbell,
}

/// Wakes one thread. Costs a fence while that thread is awake, a system call where it sleeps.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Bed>);

impl Waker {
    /// To be called after something was left for the thread, such as an item in a queue.
    pub fn wake(&self) {
        if self.0.flag.take() {
            self.0.doorbell.ring();
        }
    }
}

/// A place for the waker of a thread that names it later than others begin to work for it. Until
/// then nobody is woken.
#[derive(Clone, Debug, Default)]
pub struct WakerSlot(Arc<OnceLock<Waker>>);

impl WakerSlot {
    /// The thread is woken by `waker` from now on. One thread, once: another one changes nothing.
    pub fn fill(&self, waker: &Waker) {
        self.0.get_or_init(|| waker.clone());
    }

    /// As [`Waker::wake`].
    pub fn wake(&self) {
        if let Some(waker) = self.0.get() {
            waker.wake();
        }
    }
}

/// What can end the sleep of a thread that works for it.
pub trait WakeSource {
    /// Names itself, once and on that thread.
    fn name_wake_sources(&self, sources: &mut WakeSources);
}

/// A descriptor does so when it is readable.
impl<T: AsRawFd> WakeSource for T {
    fn name_wake_sources(&self, sources: &mut WakeSources) {
        sources.watch(self);
    }
}

/// The doorbell itself, for a kernel that rings it at each completion.
impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.doorbell.as_raw_fd()
    }
}

/// See the module.
#[derive(Debug)]
pub struct WakeSources {
    waker: Waker,
    list: WatchList,
    is_complete: bool,
}

impl WakeSources {
    /// None yet.
    ///
    /// # Errors
    /// The operating system's, when it has no descriptor to give.
    pub(super) fn new() -> io::Result<Self> {
        let (flag, doorbell) = (SleepFlag::new(), Doorbell::new()?);
        let mut list = WatchList::default();
        list.push(doorbell.as_raw_fd());
        Ok(Self {
            waker: Waker(Arc::new(Bed { flag, doorbell })),
            list,
            is_complete: true,
        })
    }

    /// The thread wakes when `source` is readable. It must stay open as long as the thread runs.
    pub fn watch(&mut self, source: &impl AsRawFd) {
        self.list.push(source.as_raw_fd());
    }

    /// What other threads wake this one with.
    #[must_use]
    pub const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Something that the thread waits for can do neither: it sleeps for short times only.
    pub const fn miss(&mut self) {
        self.is_complete = false;
    }

    /// Announces a sleep. To be followed by one more look for work.
    pub(super) fn announce(&self) {
        // In this order: who rings later than the announcement is heard by the sleep.
        self.waker.0.doorbell.silence();
        self.waker.0.flag.announce();
    }

    /// Takes the announcement back: there was work.
    pub(super) fn retract(&self) {
        self.waker.0.flag.retract();
    }

    /// Sleeps as announced, for `timeout_ns` at most.
    pub(super) fn sleep(&mut self, timeout_ns: Nanos) {
        let longest = if self.is_complete {
            SLEEP_MAX_NS
        } else {
            BLIND_SLEEP_MAX_NS
        };
        self.list.wait(timeout_ns.clamp(0, longest));
        self.retract();
    }
}
