//! What a thread does when a duty cycle found no work.
//!
//! `yield` is the default: on few cores a spinner that does not yield starves its peers and the
//! disk's completion work for 4 to 8 ms (measured, `performance.md` 1, 3), while `sched_yield`
//! costs a quarter of a microsecond.
#![allow(clippy::disallowed_methods, reason = "shell: gives the core away")]

use core::hint::spin_loop;
use std::thread;
use std::time::Duration;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdleStrategy {
    /// Polls again at once. Only where the thread has a core of its own.
    BusySpin,
    /// Gives the core to whoever else is runnable, then polls again.
    Yield,
    /// Spins a little, yields a little, then parks for longer and longer.
    Backoff {
        /// Polls in a row that found nothing; starts at 0.
        idle_polls: u32,
    },
    /// Sleeps half a millisecond after each idle poll: cheapest, slowest.
    Park,
}

/// Why a thread may not idle the way it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdleError {
    /// The name is none of the four.
    #[error("unknown idle strategy: choose busy-spin, yield, backoff or park")]
    Unknown,
    /// Spinning threads would leave no core for anything else.
    #[error(
        "busy-spin refused: {spinners} spinning threads on {cores} cores leave none for the \
         disk's completion work, which then stalls for milliseconds; use yield, or allow \
         this process at least {} cores", .spinners + 1
    )]
    NoCoreFree {
        /// Threads that would spin.
        spinners: usize,
        /// Cores this process may use.
        cores: usize,
    },
}

impl IdleStrategy {
    /// A backoff that starts with spinning.
    #[must_use]
    pub const fn backoff() -> Self {
        Self::Backoff { idle_polls: 0 }
    }

    /// The strategy called `name`, when `spinners` threads of it fit into `cores` cores.
    ///
    /// # Errors
    /// [`IdleError::Unknown`] for another name; [`IdleError::NoCoreFree`] when the name is
    /// `busy-spin` and no core would be left that does not spin.
    pub fn checked(name: &str, spinners: usize, cores: usize) -> Result<Self, IdleError> {
        match name {
            "busy-spin" if spinners >= cores => Err(IdleError::NoCoreFree { spinners, cores }),
            "busy-spin" => Ok(Self::BusySpin),
            "yield" => Ok(Self::Yield),
            "backoff" => Ok(Self::backoff()),
            "park" => Ok(Self::Park),
            _ => Err(IdleError::Unknown),
        }
    }

    /// The strategy's name in configuration and reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BusySpin => "busy-spin",
            Self::Yield => "yield",
            Self::Backoff { .. } => "backoff",
            Self::Park => "park",
        }
    }

    /// Passes some time unless the last cycle did `work`.
    pub fn idle(&mut self, work: usize) {
        if work > 0 {
            if let Self::Backoff { idle_polls } = self {
                *idle_polls = 0;
            }
            return;
        }
        match self {
            Self::BusySpin => spin_loop(),
            Self::Yield => thread::yield_now(),
            Self::Backoff { idle_polls } => {
                back_off(*idle_polls);
                *idle_polls = idle_polls.saturating_add(1);
            }
            Self::Park => thread::sleep(PARK),
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
    use super::*;

    #[test]
    fn names_are_read_back_as_the_strategy_they_name() {
        for name in ["busy-spin", "yield", "backoff", "park"] {
            assert_eq!(IdleStrategy::checked(name, 1, 4).unwrap().name(), name);
        }
        assert_eq!(
            IdleStrategy::checked("sleepy", 1, 4),
            Err(IdleError::Unknown)
        );
    }

    #[test]
    fn spinning_is_refused_where_it_would_leave_no_core() {
        assert!(IdleStrategy::checked("busy-spin", 1, 2).is_ok());
        let refused = IdleStrategy::checked("busy-spin", 2, 2).unwrap_err();
        assert!(refused.to_string().contains("at least 3 cores"));
        assert!(IdleStrategy::checked("yield", 9, 2).is_ok());
    }

    #[test]
    fn work_takes_a_backoff_to_its_start() {
        let mut idle = IdleStrategy::backoff();
        for _ in 0..BACKOFF_SPINS + BACKOFF_YIELDS + 2 {
            idle.idle(0);
        }
        assert_eq!(
            idle,
            IdleStrategy::Backoff {
                idle_polls: BACKOFF_SPINS + BACKOFF_YIELDS + 2
            }
        );
        idle.idle(1);
        assert_eq!(idle, IdleStrategy::backoff());
    }
}
