//! How the threads of a run wait and where they run: as near to what was asked for as the host
//! permits. What it does not permit is done without, and said with what that costs.

use lockstep_transport::agent::{IdleStrategy, check_core};
use lockstep_transport::media::host::cores_allowed;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadPlan {
    /// Cores to pin threads to, in order; empty: none is pinned.
    pub cores: Vec<usize>,
    /// How threads wait.
    pub idle: IdleStrategy,
    /// What is other than asked for, and what it costs.
    pub notes: Vec<String>,
}

impl ThreadPlan {
    /// On this host, for `threads` threads, those that `cores` is too short for wherever they
    /// like.
    #[must_use]
    pub fn new(cores: &[usize], idle: IdleStrategy, threads: usize) -> Self {
        Self::on(&cores_allowed(), cores, idle, threads)
    }

    fn on(allowed: &[usize], cores: &[usize], idle: IdleStrategy, threads: usize) -> Self {
        let mut notes = Vec::new();
        let mut pinned = cores.to_vec();
        let checked = cores.iter().try_for_each(|core| check_core(*core, allowed));
        if let Err(refused) = checked {
            notes.push(refused.to_string());
            pinned.clear();
        }
        pinned.truncate(threads);
        let is_twice = |(at, core): (usize, &usize)| pinned[..at].contains(core);
        let shared = pinned.iter().enumerate().find(|thread| is_twice(*thread));
        let mut room = allowed.len();
        if let Some((_, core)) = shared {
            notes.push(format!(
                "several threads on core {core}: costs waiting for turns"
            ));
            // None of them may keep the core to itself.
            room = 0;
        }
        let (idle, downgrade) = idle.fit(threads, room);
        if let Some(reason) = downgrade {
            let said = reason.to_string();
            let spin = "yield instead of busy-spin: threads share a core";
            notes.push(if room == 0 { spin.to_owned() } else { said });
        }
        let cores = pinned;
        Self { cores, idle, notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPIN: IdleStrategy = IdleStrategy::BusySpin;

    #[test]
    fn what_the_host_permits_is_done_without_a_word() {
        let plan = ThreadPlan::on(&[0, 1, 2], &[2, 0], SPIN, 2);
        assert_eq!((plan.cores, plan.idle), (vec![2, 0], SPIN));
        assert!(plan.notes.is_empty());
        // Cores that no thread is left for are nobody's.
        let plan = ThreadPlan::on(&[0, 1], &[0, 1, 0], IdleStrategy::Park, 2);
        assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    }

    #[test]
    fn a_core_that_may_not_be_used_pins_nobody_and_is_named() {
        let plan = ThreadPlan::on(&[0, 1], &[0, 7], IdleStrategy::Yield, 2);
        assert!(plan.cores.is_empty());
        assert!(plan.notes[0].contains("may not use core 7, only [0, 1]"));
    }

    #[test]
    fn threads_that_share_a_core_or_leave_none_free_yield() {
        let plan = ThreadPlan::on(&[0, 1, 2, 3], &[1, 1], SPIN, 2);
        assert_eq!((plan.cores, plan.idle), (vec![1, 1], IdleStrategy::Yield));
        assert!(plan.notes[0].contains("several threads on core 1"));
        assert!(plan.notes[1].contains("threads share a core"));
        let plan = ThreadPlan::on(&[0, 1], &[], SPIN, 2);
        assert_eq!(plan.idle, IdleStrategy::Yield);
        assert!(plan.notes[0].contains("at least 3 cores"));
        let plan = ThreadPlan::on(&[0, 1, 2, 3, 4], &[], SPIN, 7);
        assert_eq!(plan.idle, IdleStrategy::Yield);
        assert!(plan.notes[0].contains("at least 8 cores"));
    }
}
