//! What a thread does when a duty cycle found no work.
//!
//! `yield` is the default: on few cores a spinner that does not yield starves its peers and the
//! disk's completion work for 4 to 8 ms (measured, `performance.md` 1, 3), while `sched_yield`
//! costs a quarter of a microsecond.
#![allow(clippy::disallowed_methods, reason = "shell: gives the core away")]

use core::hint::spin_loop;
use std::thread;
use std::time::Duration;

use super::wake_sources::WakeSources;
use crate::named_setting;
use crate::time::{MICROSECOND, MILLISECOND, Nanos};

/// Idle polls that only spin before [`IdleStrategy::Backoff`] yields: about 100 ns.
const BACKOFF_SPINS: u32 = 10;
/// Idle polls that yield before [`IdleStrategy::Backoff`] parks: 5 to 20 µs.
const BACKOFF_YIELDS: u32 = 20;
/// First park of [`IdleStrategy::Backoff`], doubled with each further idle poll.
const BACKOFF_PARK_MIN: Duration = Duration::from_micros(1);
/// Doublings of the first park: the longest is 1.024 ms, a fraction of the fastest heartbeat.
const BACKOFF_DOUBLINGS_MAX: u32 = 10;
/// One park of [`IdleStrategy::Park`]: 2,000 wake-ups a second cost a member 2 to 3 % of a core
/// (`bench idle`, `performance.md` 1).
const PARK: Duration = Duration::from_micros(500);

/// For how long [`IdleStrategy::Adaptive`] polls on after a sleep, and by how much longer after
/// each cycle that found work: a heartbeat and its answers keep a thread up for a fraction of a
/// millisecond, a load soon for the longest time.
const LINGER_NS: Nanos = 50 * MICROSECOND;
/// For how long [`IdleStrategy::Adaptive`] polls on under load: longer than a disk takes, so that
/// nobody pays a wake-up between the steps of a message.
const LINGER_MAX_NS: Nanos = 2 * MILLISECOND;

/// How a thread passes the time between two polls that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleStrategy {
    /// Polls again at once. Only where the thread has a core of its own.
    BusySpin,
    /// Gives the core to whoever else is runnable, then polls again.
    Yield,
    /// Spins a little, yields a little, then parks for longer and longer.
    Backoff,
    /// Sleeps half a millisecond after each idle poll, whatever comes.
    Park,
    /// Polls as with [`Yield`](Self::Yield) while there is work and for a while after it, then
    /// sleeps until something comes or is due.
    Adaptive,
}

named_setting!(IdleStrategy {
    BusySpin => "busy-spin",
    Yield => "yield",
    Backoff => "backoff",
    Park => "park",
    Adaptive => "adaptive",
});

/// Spinning threads would leave no core for anything else: they yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "yield instead of busy-spin: {spinners} spinning threads on {cores} cores leave none for the \
     disk's completion work, which then stalls for milliseconds; costs a system call per idle \
     poll, allow this process at least {} cores to spin", .spinners + 1
)]
pub struct NoCoreFree {
    /// Threads that would spin.
    pub spinners: usize,
    /// Cores this process may use.
    pub cores: usize,
}

impl IdleStrategy {
    /// This strategy, when `spinners` threads of it fit into `cores` cores; otherwise what is
    /// taken instead, and why.
    #[must_use]
    pub fn fit(self, spinners: usize, cores: usize) -> (Self, Option<NoCoreFree>) {
        if self == Self::BusySpin && spinners >= cores {
            return (Self::Yield, Some(NoCoreFree { spinners, cores }));
        }
        (self, None)
    }
}

/// A thread's own: its strategy, and for how long it has found nothing.
#[derive(Debug)]
pub struct Idler {
    strategy: IdleStrategy,
    /// Polls in a row that found nothing.
    idle_polls: u32,
    sleeper: Option<Sleeper>,
}

impl Idler {
    /// Of a thread that has yet to poll. One that could not get what it would sleep on backs off
    /// instead.
    #[must_use]
    pub fn new(strategy: IdleStrategy) -> Self {
        let sources = match strategy {
            IdleStrategy::Adaptive => WakeSources::new().ok(),
            _ => None,
        };
        Self {
            strategy,
            idle_polls: 0,
            sleeper: sources.map(Sleeper::new),
        }
    }

    /// Where to name what can wake this thread; `None` where it never sleeps until woken.
    pub const fn wake_sources(&mut self) -> Option<&mut WakeSources> {
        match &mut self.sleeper {
            Some(sleeper) => Some(&mut sleeper.sources),
            None => None,
        }
    }

    /// Passes some time unless the last cycle did `work`. For threads that cannot tell what wakes
    /// them: [`IdleStrategy::Adaptive`] backs off.
    pub fn idle(&mut self, work: usize) {
        if work > 0 {
            self.idle_polls = 0;
            return;
        }
        match self.strategy {
            IdleStrategy::BusySpin => spin_loop(),
            IdleStrategy::Yield => thread::yield_now(),
            IdleStrategy::Backoff | IdleStrategy::Adaptive => back_off(self.idle_polls),
            IdleStrategy::Park => thread::sleep(PARK),
        }
        self.idle_polls = self.idle_polls.saturating_add(1);
    }

    /// The same after a cycle at `now`, for threads that have named what
    /// [wakes](Self::wake_sources) them and have nothing to do before the `deadline`.
    pub fn idle_until(
        &mut self,
        work: usize,
        now: Nanos,
        deadline: impl FnOnce() -> Option<Nanos>,
    ) {
        match &mut self.sleeper {
            Some(sleeper) => sleeper.idle(work, now, deadline),
            None => self.idle(work),
        }
    }
}

/// How [`IdleStrategy::Adaptive`] decides between polling on and sleeping.
#[derive(Debug)]
struct Sleeper {
    sources: WakeSources,
    /// When a cycle last found work.
    worked_at: Nanos,
    /// For how long to poll on after it.
    linger: Nanos,
    /// The last cycle looked for work after a sleep was announced.
    is_announced: bool,
}

impl Sleeper {
    const fn new(sources: WakeSources) -> Self {
        Self {
            sources,
            worked_at: 0,
            linger: LINGER_NS,
            is_announced: false,
        }
    }

    fn idle(&mut self, work: usize, now: Nanos, deadline: impl FnOnce() -> Option<Nanos>) {
        let is_announced = core::mem::take(&mut self.is_announced);
        if work > 0 {
            if is_announced {
                self.sources.retract();
            }
            self.worked_at = now;
            self.linger = (self.linger + LINGER_NS).min(LINGER_MAX_NS);
        } else if is_announced {
            let timeout = deadline().map_or(Nanos::MAX, |deadline| deadline - now);
            self.sources.sleep(timeout);
            self.linger = LINGER_NS;
        } else if now - self.worked_at < self.linger {
            thread::yield_now();
        } else {
            self.sources.announce();
            self.is_announced = true;
        }
    }
}

/// What the `idle_polls`-th idle poll in a row does.
fn back_off(idle_polls: u32) {
    if idle_polls < BACKOFF_SPINS {
        spin_loop();
    } else if idle_polls < BACKOFF_SPINS + BACKOFF_YIELDS {
        thread::yield_now();
    } else {
        let doublings = (idle_polls - BACKOFF_SPINS - BACKOFF_YIELDS).min(BACKOFF_DOUBLINGS_MAX);
        thread::sleep(BACKOFF_PARK_MIN * (1 << doublings));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::media::monotonic_now;

    #[test]
    fn threads_yield_where_spinning_would_leave_no_core() {
        let spin = IdleStrategy::BusySpin;
        assert_eq!(spin.fit(1, 2), (spin, None));
        let (instead, reason) = spin.fit(2, 2);
        assert_eq!(instead, IdleStrategy::Yield);
        assert!(reason.unwrap().to_string().contains("at least 3 cores"));
        let park = IdleStrategy::Park;
        assert_eq!(park.fit(9, 2), (park, None));
    }

    #[test]
    fn work_takes_a_backoff_to_its_start() {
        let mut idle = Idler::new(IdleStrategy::Backoff);
        for _ in 0..BACKOFF_SPINS + BACKOFF_YIELDS + 2 {
            idle.idle(0);
        }
        assert_eq!(idle.idle_polls, BACKOFF_SPINS + BACKOFF_YIELDS + 2);
        idle.idle(1);
        assert_eq!(idle.idle_polls, 0);
    }

    /// An adaptive idler that was woken at 0 and has found nothing since.
    fn woken() -> Idler {
        let mut idle = Idler::new(IdleStrategy::Adaptive);
        idle.sleeper.as_mut().unwrap().worked_at = 0;
        idle
    }

    #[test]
    fn an_adaptive_thread_sleeps_only_after_one_more_look_and_until_its_deadline() {
        let mut idle = woken();
        let asked = |_: &str| -> Option<Nanos> { panic!("asked for a deadline while polling") };
        idle.idle_until(0, LINGER_NS - 1, || asked("it lingers"));
        idle.idle_until(0, LINGER_NS, || asked("it announces"));
        let began = monotonic_now();
        idle.idle_until(0, LINGER_NS, || Some(LINGER_NS + MILLISECOND));
        assert!(monotonic_now() - began >= MILLISECOND);
        // A deadline that is over is no reason to wait, nor is one that never comes for ever.
        for deadline in [Some(0), None] {
            idle.idle_until(0, LINGER_NS, || asked("it announces"));
            idle.idle_until(0, LINGER_NS, || deadline);
        }
    }

    #[test]
    fn work_keeps_an_adaptive_thread_up_for_longer_and_longer() {
        let mut idle = woken();
        for _ in 0..LINGER_MAX_NS / LINGER_NS {
            idle.idle_until(1, 10, || None);
        }
        let never = || -> Option<Nanos> { panic!("it sleeps") };
        idle.idle_until(0, 9 + LINGER_MAX_NS, never);
        assert!(!idle.sleeper.as_ref().unwrap().is_announced);
        idle.idle_until(0, 10 + LINGER_MAX_NS, never);
        assert!(idle.sleeper.as_ref().unwrap().is_announced);
        // What the last look finds takes the announcement back.
        let waker = idle.wake_sources().unwrap().waker().clone();
        idle.idle_until(1, 11 + LINGER_MAX_NS, never);
        idle.idle_until(0, 11 + LINGER_MAX_NS, never);
        waker.wake();
    }

    #[test]
    fn a_sleeping_thread_is_woken_by_whoever_has_its_waker() {
        let mut idle = woken();
        let waker = idle.wake_sources().unwrap().waker().clone();
        let work = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&work);
        let other = thread::Builder::new().spawn(move || {
            for _ in 0..100 {
                left.fetch_add(1, Ordering::Release);
                waker.wake();
                while left.load(Ordering::Acquire) > 0 {
                    thread::yield_now();
                }
            }
        });
        let other = other.unwrap();
        while !other.is_finished() {
            // Long after all work: it goes to sleep at once.
            let found = work.swap(0, Ordering::AcqRel);
            idle.idle_until(found, monotonic_now(), || None);
            idle.sleeper.as_mut().unwrap().worked_at = 0;
        }
        other.join().unwrap();
    }
}
