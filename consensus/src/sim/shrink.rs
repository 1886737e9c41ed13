//! Makes a failing run of the node tank small: fewer faults, less of everything, the same rule
//! broken.
//!
//! Delta debugging over the list of faults, in turn with settings made plain one after another,
//! until nothing more can go; then other seeds are tried with fewer faults, for a fault that goes
//! changes all that follows it. What is left depends on the run alone: two make it small alike.

use lockstep_transport::prng::Prng;
use lockstep_transport::sim::LinkProfile;
use lockstep_transport::time::{MILLISECOND, Nanos};

use super::Broken;
use super::tank::{TankSetup, TankViolation, run_setup};
use crate::settings::config::ResponsesMode;

/// A run with fewer faults can be read.
const MANY_FAULTS: usize = 12;

/// Other seeds tried in a round.
const OTHER_SEEDS: u32 = 100;

/// A run made small.
#[derive(Clone, Debug)]
pub struct Shrunken {
    /// What it is now.
    pub setup: TankSetup,
    /// What it breaks.
    pub violation: TankViolation,
    /// Runs that were made on the way, those without a planted fault included.
    pub runs: u32,
}

/// Makes the run of `setup`, which ended in `violation`, as small as it gets within `runs_max`
/// runs, or one more. Where a fault is planted, what is left is clean without it.
#[must_use]
pub fn shrink(setup: &TankSetup, violation: TankViolation, runs_max: u32) -> Shrunken {
    let broken = violation.broken.clone();
    let mut shrinking = Shrinking {
        setup: setup.clone(),
        result: violation,
        runs: 0,
        runs_max,
        attempt: |setup: &TankSetup, runs: &mut u32| try_run(setup, &broken, runs),
    };
    shrinking.drop_later(shrinking.result.time);
    shrinking.settle();
    Shrunken {
        setup: shrinking.setup,
        violation: shrinking.result,
        runs: shrinking.runs,
    }
}

/// What the run of `setup` breaks, if it is as bad as `broken`. Counts the runs that it takes.
fn try_run(setup: &TankSetup, broken: &Broken, runs: &mut u32) -> Option<TankViolation> {
    *runs += 1;
    let violation = run_setup(setup).err()?;
    let Some(fault) = setup.planted else {
        return violation.broken.is_same(broken).then_some(violation);
    };
    if !fault.rules().contains(&violation.broken.rule) {
        return None;
    }
    *runs += 1;
    let clean = TankSetup {
        planted: None,
        ..setup.clone()
    };
    run_setup(&clean).is_ok().then_some(violation)
}

/// A run on its way; `attempt` says what comes of a smaller one that is just as bad.
struct Shrinking<T, F: FnMut(&TankSetup, &mut u32) -> Option<T>> {
    setup: TankSetup,
    result: T,
    runs: u32,
    runs_max: u32,
    attempt: F,
}

impl<T, F: FnMut(&TankSetup, &mut u32) -> Option<T>> Shrinking<T, F> {
    /// Takes over a setup that is another one and just as bad.
    fn take(&mut self, candidate: TankSetup) -> bool {
        let is_possible = candidate.problem().is_none();
        if candidate == self.setup || !is_possible || self.runs >= self.runs_max {
            return false;
        }
        let Some(result) = (self.attempt)(&candidate, &mut self.runs) else {
            return false;
        };
        self.setup = candidate;
        self.result = result;
        true
    }

    /// Faults after the violation had no part in it.
    fn drop_later(&mut self, end: Nanos) {
        let mut candidate = self.setup.clone();
        candidate.faults.retain(|fault| fault.at <= end);
        self.take(candidate);
    }

    /// Goes on until a whole round finds nothing that can go.
    fn settle(&mut self) {
        loop {
            let before = self.setup.clone();
            self.reduce_faults();
            self.make_plain();
            self.try_other_seeds();
            if self.setup == before {
                break;
            }
        }
    }

    /// Takes away faults, at first many at a time and in the end each alone.
    fn reduce_faults(&mut self) {
        let mut length = self.setup.faults.len().div_ceil(2);
        while length > 0 {
            let has_reduced = self.drop_pieces(length);
            length = if length == 1 && has_reduced {
                1
            } else {
                length / 2
            };
        }
    }

    fn drop_pieces(&mut self, length: usize) -> bool {
        let (mut at, mut has_reduced) = (0, false);
        while at < self.setup.faults.len() {
            let mut candidate = self.setup.clone();
            let end = candidate.faults.len().min(at + length);
            candidate.faults.drain(at..end);
            if self.take(candidate) {
                has_reduced = true;
            } else {
                at += length;
            }
        }
        has_reduced
    }

    /// Half of many faults may do, chosen anyhow, where all else happens otherwise.
    fn try_other_seeds(&mut self) {
        let mut random = Prng::new(self.setup.seed);
        for _ in 0..OTHER_SEEDS {
            if self.setup.faults.len() < MANY_FAULTS {
                break;
            }
            let mut candidate = self.setup.clone();
            candidate.seed = random.next_u64() >> 32;
            candidate.faults.retain(|_| random.chance(0.5));
            self.take(candidate);
        }
    }

    /// Makes one setting after another as plain as it can be.
    fn make_plain(&mut self) {
        for step in PLAINER {
            loop {
                let mut candidate = self.setup.clone();
                step(&mut candidate);
                if !self.take(candidate) {
                    break;
                }
            }
        }
    }
}

/// Each makes something plainer, or changes nothing.
const PLAINER: [fn(&mut TankSetup); 30] = [
    |setup| setup.network = LinkProfile::default(),
    |setup| setup.network.corrupt = 0.0,
    |setup| setup.network.late_ns = 0,
    |setup| setup.network.duplicate = 0.0,
    |setup| setup.network.reorder = 0.0,
    |setup| setup.network.loss = 0.0,
    |setup| setup.network.jitter_ns = 0,
    |setup| setup.load.restarts = 0,
    |setup| setup.load.may_expire = false,
    |setup| setup.load.clients = 1,
    |setup| setup.load.requests = (setup.load.requests / 2).max(1),
    |setup| setup.load.window = (setup.load.window / 2).max(1),
    |setup| setup.load.padded = 0.0,
    |setup| setup.load.wave_ns = 0,
    |setup| setup.load.pause_ns = 0,
    |setup| setup.is_slow = false,
    |setup| setup.snapshot_interval = 0,
    |setup| setup.threads.services = 0,
    |setup| setup.threads.archives = 0,
    |setup| setup.threads.clients = 0,
    |setup| setup.is_seen_late = false,
    |setup| setup.first_start_ns = 0,
    |setup| setup.is_watched_long = false,
    |setup| setup.unsynced = 0,
    |setup| setup.unsynced &= setup.unsynced.wrapping_sub(1),
    |setup| setup.may_lose_all = false,
    |setup| setup.responses = ResponsesMode::Replicated,
    |setup| {
        setup.members = 3.min(setup.members);
        setup.keep_members();
    },
    end_with_last_fault,
    halve_phase,
];

/// The phase with faults need not last longer than they do.
fn end_with_last_fault(setup: &mut TankSetup) {
    let last = setup.faults.last().map_or(0, |fault| fault.at);
    setup.fault_phase_ns = setup.fault_phase_ns.min(last + MILLISECOND);
}

/// Nor half as long as it does, if the faults are over by then.
fn halve_phase(setup: &mut TankSetup) {
    setup.fault_phase_ns /= 2;
}

#[cfg(test)]
mod tests {
    use super::super::tank::{FaultClass, Load, TankOptions, Threads};
    use super::*;

    fn shrink_as_long_as(is_bad: impl Fn(&TankSetup) -> bool, runs_max: u32) -> (TankSetup, u32) {
        let setup = TankSetup::draw(3, &TankOptions::default());
        assert!(is_bad(&setup));
        let mut shrinking = Shrinking {
            setup,
            result: (),
            runs: 0,
            runs_max,
            attempt: |setup: &TankSetup, runs: &mut u32| {
                *runs += 1;
                is_bad(setup).then_some(())
            },
        };
        shrinking.settle();
        (shrinking.setup, shrinking.runs)
    }

    fn count(setup: &TankSetup, class: FaultClass) -> usize {
        let faults = setup.faults.iter();
        faults.filter(|fault| fault.class == class).count()
    }

    #[test]
    fn only_the_faults_that_matter_are_left() {
        let setup = TankSetup::draw(3, &TankOptions::default());
        let present = |class: &FaultClass| count(&setup, *class) > 1;
        let classes: Vec<FaultClass> = FaultClass::ALL.into_iter().filter(present).collect();
        let (one, other) = (classes[0], classes[classes.len() - 1]);
        let is_bad = |setup: &TankSetup| count(setup, one) > 1 && count(setup, other) > 0;
        let (small, _) = shrink_as_long_as(is_bad, 10_000);
        assert_eq!(small.faults.len(), 3);
        assert_eq!((count(&small, one), count(&small, other)), (2, 1));
        assert_eq!(small.network, LinkProfile::default());
        assert_eq!((small.load.clients, small.load.requests), (1, 1));
    }

    #[test]
    fn a_setting_that_matters_stays() {
        let (small, _) = shrink_as_long_as(|setup| setup.load.requests > 20, 10_000);
        assert_eq!(small.load.requests, 30);
        assert!(small.faults.is_empty());
    }

    #[test]
    fn all_that_does_not_matter_becomes_plain() {
        let (small, _) = shrink_as_long_as(|_| true, 10_000);
        let Load {
            clients,
            requests,
            window,
            padded,
            pause_ns,
            wave_ns,
            restarts,
            may_expire,
        } = small.load;
        assert_eq!((clients, requests, window), (1, 1, 1));
        assert_eq!((pause_ns, wave_ns, restarts, may_expire), (0, 0, 0, false));
        assert!(padded == 0.0 && small.faults.is_empty());
        assert_eq!((small.fault_phase_ns, small.may_lose_all), (0, false));
        assert_eq!(small.threads, Threads::default());
    }

    #[test]
    fn what_cannot_be_run_is_not_tried() {
        let is_bad = |setup: &TankSetup| {
            assert_eq!(setup.problem(), None);
            true
        };
        let _ = shrink_as_long_as(is_bad, 10_000);
    }

    #[test]
    fn no_more_runs_are_made_than_were_asked_for() {
        let (small, runs) = shrink_as_long_as(|_| true, 7);
        assert_eq!(runs, 7);
        assert!(small.faults.len() < 200);
    }
}
