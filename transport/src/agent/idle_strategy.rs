//! What a thread does when a duty cycle found no work.
//!
//! `yield` is the default: on few cores a spinner that does not yield starves its peers and the
//! disk's completion work for 4 to 8 ms (measured, `performance.md` 1, 3), while `sched_yield`
//! costs a quarter of a microsecond.
#![allow(clippy::disallowed_methods, reason = "shell: gives the core away")]

use core::hint::spin_loop;
use std::thread;
use std::time::Duration;

use crate::named_setting;

/// Idle polls that only spin before [`IdleStrategy::Backoff`] yields: about 100 ns.
const BACKOFF_SPINS: u32 = 10;
/// Idle polls that yield before [`IdleStrategy::Backoff`] parks: 5 to 20 µs.
const BACKOFF_YIELDS: u32 = 20;
/// First park of [`IdleStrategy::Backoff`], doubled with each further idle poll.
const BACKOFF_PARK_MIN: Duration = Duration::from_micros(1);
/// Doublings of the first park: the longest is 1.024 ms, a fraction of the fastest heartbeat.
const BACKOFF_DOUBLINGS_MAX: u32 = 10;
/// One park of [`IdleStrategy::Park`]: 2,000 wake-ups a second cost under 1 % of a core.
const PARK: Duration = Duration::from_micros(500);

/// How a thread passes the time between two polls that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleStrategy {
    /// Polls again at once. Only where the thread has a core of its own.
    BusySpin,
    /// Gives the core to whoever else is runnable, then polls again.
    Yield,
    /// Spins a little, yields a little, then parks for longer and longer.
    Backoff,
    /// Sleeps half a millisecond after each idle poll: cheapest, slowest.
    Park,
}

named_setting!(IdleStrategy {
    BusySpin => "busy-spin",
    Yield => "yield",
    Backoff => "backoff",
    Park => "park",
});

/// Spinning threads would leave no core for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "busy-spin refused: {spinners} spinning threads on {cores} cores leave none for the disk's \
     completion work, which then stalls for milliseconds; use yield, or allow this process at \
     least {} cores", .spinners + 1
)]
pub struct NoCoreFree {
    /// Threads that would spin.
    pub spinners: usize,
    /// Cores this process may use.
    pub cores: usize,
}

impl IdleStrategy {
    /// This strategy, when `spinners` threads of it fit into `cores` cores.
    ///
    /// # Errors
    /// It spins, and no core would be left that does not.
    pub fn fit(self, spinners: usize, cores: usize) -> Result<Self, NoCoreFree> {
        if self == Self::BusySpin && spinners >= cores {
            return Err(NoCoreFree { spinners, cores });
        }
        Ok(self)
    }
}

/// A thread's own: its strategy, and for how long it has found nothing.
#[derive(Clone, Copy, Debug)]
pub struct Idler {
    strategy: IdleStrategy,
    /// Polls in a row that found nothing.
    idle_polls: u32,
}

impl Idler {
    /// Of a thread that has yet to poll.
    #[must_use]
    pub const fn new(strategy: IdleStrategy) -> Self {
        Self {
            strategy,
            idle_polls: 0,
        }
    }

    /// Passes some time unless the last cycle did `work`.
    pub fn idle(&mut self, work: usize) {
        if work > 0 {
            self.idle_polls = 0;
            return;
        }
        match self.strategy {
            IdleStrategy::BusySpin => spin_loop(),
            IdleStrategy::Yield => thread::yield_now(),
            IdleStrategy::Backoff => back_off(self.idle_polls),
            IdleStrategy::Park => thread::sleep(PARK),
        }
        self.idle_polls = self.idle_polls.saturating_add(1);
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
    use super::*;

    #[test]
    fn spinning_is_refused_where_it_would_leave_no_core() {
        assert!(IdleStrategy::BusySpin.fit(1, 2).is_ok());
        let refused = IdleStrategy::BusySpin.fit(2, 2).unwrap_err();
        assert!(refused.to_string().contains("at least 3 cores"));
        assert!(IdleStrategy::Yield.fit(9, 2).is_ok());
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
}
