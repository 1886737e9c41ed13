//! Seeds of one simulator, on all cores, in an order that does not depend on how many there are.

use std::any::Any;
use std::ops::{ControlFlow, Range};
use std::panic::take_hook;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use lockstep_consensus::sim::core_tank::{self, CoreTankOptions};
use lockstep_consensus::sim::tank::{self, TankOptions, TankReport};
use lockstep_consensus::sim::{Broken, PlantedFault};

/// One simulator.
#[derive(Clone, Copy)]
pub enum Tank {
    /// Consensus modules over positions.
    Core,
    /// Whole nodes, in long runs or in short ones.
    Node {
        /// Long runs.
        is_full: bool,
    },
}

/// A run that looks for a planted fault, or the same without it.
#[derive(Clone, Copy)]
pub struct Trial {
    /// The fault.
    pub fault: PlantedFault,
    /// Whether it is planted.
    pub is_planted: bool,
}

/// What came of a seed: the hash of the run, and what the node tank reports.
pub type SeedReport = (u64, Option<TankReport>);

/// A rule that a seed broke.
#[derive(Debug)]
pub struct SeedViolation {
    /// The rule, and how it was broken.
    pub broken: Broken,
    /// All that there is to say, with seed, time and faults.
    pub text: String,
}

impl Tank {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Node { .. } => "node",
        }
    }

    /// Runs a seed.
    ///
    /// # Errors
    /// The rule that was broken; a failed assertion is a broken rule.
    pub fn run(self, seed: u64, trial: Option<Trial>) -> Result<SeedReport, SeedViolation> {
        match self.options(trial) {
            None => {
                let options = CoreTankOptions {
                    planted: planted(trial),
                    ..CoreTankOptions::default()
                };
                let report = core_tank::run(seed, &options).map_err(|v| SeedViolation {
                    text: v.to_string(),
                    broken: v.broken,
                })?;
                Ok((report.event_hash, None))
            }
            Some(options) => {
                let report = tank::run(seed, &options).map_err(|v| SeedViolation {
                    text: v.to_string(),
                    broken: v.broken,
                })?;
                Ok((report.event_hash, Some(report)))
            }
        }
    }

    /// What the node tank is asked to do; nothing where this is the other one.
    pub fn options(self, trial: Option<Trial>) -> Option<TankOptions> {
        let size = match self {
            Self::Core => return None,
            Self::Node { is_full: true } => TankOptions::full(),
            Self::Node { is_full: false } => TankOptions::default(),
        };
        let size = trial.map_or(size, |trial| size.made_for(trial.fault));
        Some(TankOptions {
            planted: planted(trial),
            ..size
        })
    }

    /// Whether this simulator has the parts in which the fault is planted.
    pub const fn has_parts_for(self, fault: PlantedFault) -> bool {
        match self {
            Self::Core => fault.is_of_core(),
            Self::Node { .. } => fault.is_of_node(),
        }
    }
}

fn planted(trial: Option<Trial>) -> Option<PlantedFault> {
    let trial = trial.filter(|trial| trial.is_planted);
    trial.map(|trial| trial.fault)
}

/// Does `work` for each of `seeds` on all cores, each on one of them, up to the first at which it
/// breaks off. Returns what came of them in their order; the last one may have broken off.
pub fn on_all_cores<T: Send>(
    seeds: Range<u64>,
    work: impl Fn(u64) -> ControlFlow<T, T> + Sync,
) -> Vec<T> {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let work = || {
        let mut done = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let outcome = work(seed);
            if outcome.is_break() {
                is_over.store(true, Ordering::Relaxed);
            }
            done.push((seed, outcome));
        }
        done
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        // Seeds that nobody looked at would count as clean.
        let done = joined.map(|done| done.unwrap_or_else(|panic| tell_panic(panic.as_ref())));
        done.flatten().collect()
    });
    done.sort_unstable_by_key(|(seed, _)| *seed);
    // Seeds are handed out in order: all below the first one that broke off have run.
    let broken = done.iter().position(|(_, outcome)| outcome.is_break());
    done.truncate(broken.map_or(done.len(), |at| at + 1));
    let outcomes = done.into_iter().map(|(_, outcome)| match outcome {
        ControlFlow::Break(last) => last,
        ControlFlow::Continue(one) => one,
    });
    outcomes.collect()
}

/// A run did not even begin: told aloud, although panics of runs are silent.
fn tell_panic(panic: &(dyn Any + Send)) -> ! {
    drop(take_hook());
    panic!("{}", Broken::of_panic(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_end_with_the_first_in_order_that_broke_off() {
        let outcomes = on_all_cores(10..1_000, |seed| {
            if seed >= 20 {
                ControlFlow::Break(seed)
            } else {
                ControlFlow::Continue(seed)
            }
        });
        assert_eq!(outcomes, (10..=20).collect::<Vec<u64>>());
    }
}
