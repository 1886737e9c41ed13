//! `lockstep sim`: runs simulator seeds and says how they came out.
//!
//! The same seeds always give the same rolling hash, whatever the machine.
#![allow(
    clippy::disallowed_methods,
    reason = "shell: tells how fast the seeds ran"
)]

mod distribution;

use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};
use lockstep_consensus::sim::PlantedFault;
use lockstep_consensus::sim::core_tank::{self, CoreTankOptions};
use lockstep_consensus::sim::tank::{self, TankOptions, TankReport};

use self::distribution::Distribution;
use crate::outcome::Outcome;

/// Options of `lockstep sim`.
#[derive(Args, Debug)]
pub struct SimArguments {
    /// Seeds to run.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Plant this fault, or each in turn with "all", and demand that it is found.
    #[arg(long, value_parser = planted_faults)]
    planted: Option<PlantedFaults>,
    /// Which simulator: the consensus core over positions, whole nodes, or both.
    #[arg(long, value_enum, default_value = "both")]
    tank: TankArgument,
    /// Long runs of the node tank: ten times the time for faults, more clients and requests.
    #[arg(long)]
    full: bool,
}

/// Faults to plant.
#[derive(Clone, Debug)]
struct PlantedFaults(Vec<PlantedFault>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TankArgument {
    Core,
    Node,
    Both,
}

fn planted_faults(text: &str) -> Result<PlantedFaults, String> {
    if text == "all" {
        return Ok(PlantedFaults(PlantedFault::ALL.to_vec()));
    }
    let named = PlantedFault::ALL
        .into_iter()
        .find(|fault| fault.name() == text);
    named
        .map(|fault| PlantedFaults(vec![fault]))
        .ok_or_else(|| {
            let names = PlantedFault::ALL.map(PlantedFault::name).join(", ");
            format!("no such fault: choose all, {names}")
        })
}

/// One simulator.
#[derive(Clone, Copy)]
enum Tank {
    Core,
    Node { is_full: bool },
}

/// What came of a seed: the hash of the run, and what the node tank reports.
type SeedReport = (u64, Option<TankReport>);

impl Tank {
    const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Node { .. } => "node",
        }
    }

    /// What came of it, or the rule that was broken; a failed assertion is a broken rule.
    fn run(self, seed: u64, planted: Option<PlantedFault>) -> Result<SeedReport, String> {
        catch_unwind(|| self.run_unguarded(seed, planted)).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            let said = said.unwrap_or("without words");
            Err(format!("seed {seed}: assertion failed: {said}"))
        })
    }

    fn run_unguarded(self, seed: u64, planted: Option<PlantedFault>) -> Result<SeedReport, String> {
        match self {
            Self::Core => {
                let options = CoreTankOptions {
                    planted,
                    ..CoreTankOptions::default()
                };
                let report = core_tank::run(seed, &options).map_err(|v| v.to_string())?;
                Ok((report.event_hash, None))
            }
            Self::Node { is_full } => {
                let size = if is_full {
                    TankOptions::full()
                } else {
                    TankOptions::default()
                };
                let options = TankOptions { planted, ..size };
                let report = tank::run(seed, &options).map_err(|v| v.to_string())?;
                Ok((report.event_hash, Some(report)))
            }
        }
    }

    /// Whether this simulator has the parts that the fault concerns.
    const fn can_find(self, fault: PlantedFault) -> bool {
        match self {
            Self::Core => !matches!(
                fault,
                PlantedFault::AppendBeforeOwnFirstEntryApplied | PlantedFault::ResumeWithoutEpoch
            ),
            Self::Node { .. } => true,
        }
    }
}

impl SimArguments {
    fn tanks(&self) -> Vec<Tank> {
        let node = Tank::Node { is_full: self.full };
        match self.tank {
            TankArgument::Core => vec![Tank::Core],
            TankArgument::Node => vec![node],
            TankArgument::Both => vec![Tank::Core, node],
        }
    }
}

/// Runs `seeds` on all cores, each on one of them, up to the first that breaks a rule. Returns what
/// came of them in their order; the last one may have broken it.
fn run_on_all_cores(tank: Tank, seeds: Range<u64>) -> Vec<(u64, Result<SeedReport, String>)> {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let work = || {
        let mut done = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let result = tank.run(seed, None);
            if result.is_err() {
                is_over.store(true, Ordering::Relaxed);
            }
            done.push((seed, result));
        }
        done
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.flat_map(Result::unwrap_or_default).collect()
    });
    done.sort_unstable_by_key(|(seed, _)| *seed);
    // Seeds are handed out in order: all below the first one that broke a rule have run.
    let broken = done.iter().position(|(_, result)| result.is_err());
    done.truncate(broken.map_or(done.len(), |at| at + 1));
    done
}

/// Runs the seeds.
pub fn run(arguments: &SimArguments) -> Outcome {
    let Some(end) = arguments.from.checked_add(arguments.seeds) else {
        let (seeds, from) = (arguments.seeds, arguments.from);
        return Outcome::usage(format!("--from: there are no {seeds} seeds from {from} on"));
    };
    let seeds = arguments.from..end;
    // A violation that is an assertion is reported as one, with its seed; the panic's own
    // words in between would only hide it.
    std::panic::set_hook(Box::new(|_| {}));
    match &arguments.planted {
        None => run_seeds(arguments, seeds),
        Some(PlantedFaults(faults)) => find_all(arguments, seeds, faults),
    }
}

fn run_seeds(arguments: &SimArguments, seeds: Range<u64>) -> Outcome {
    for tank in arguments.tanks() {
        let (started, name) = (Instant::now(), tank.name());
        let mut rolling = 0_u64;
        let mut distribution = Distribution::default();
        for (seed, result) in run_on_all_cores(tank, seeds.clone()) {
            match result {
                Ok((hash, report)) => {
                    rolling = (rolling.rotate_left(5) ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    if let Some(report) = report {
                        distribution.add(&report);
                    }
                }
                Err(violation) => {
                    let full = if arguments.full { " --full" } else { "" };
                    return Outcome::failed(format!(
                        "{violation}\nrepeat with: lockstep sim --tank {name} --seeds 1 \
                         --from {seed}{full}"
                    ));
                }
            }
        }
        let minutes = started.elapsed().as_secs_f64().max(1e-9) / 60.0;
        println!(
            "{name} tank: {} seeds from {}: no violation, hash {rolling:016x}",
            arguments.seeds, arguments.from,
        );
        if matches!(tank, Tank::Node { .. }) {
            println!("{distribution}");
        }
        eprintln!("{:.0} seeds/min", arguments.seeds as f64 / minutes);
    }
    Outcome::Good
}

/// Every fault must be found by at least one simulator within the seeds given, on a seed that
/// is clean without it.
fn find_all(arguments: &SimArguments, seeds: Range<u64>, faults: &[PlantedFault]) -> Outcome {
    let mut missed = Vec::new();
    for fault in faults {
        let mut tanks = arguments.tanks();
        tanks.retain(|tank| tank.can_find(*fault));
        let found = seeds.clone().find_map(|seed| {
            tanks.iter().find_map(|tank| {
                let violation = tank.run(seed, Some(*fault)).err()?;
                tank.run(seed, None).is_ok().then_some((seed, violation))
            })
        });
        match found {
            Some((seed, violation)) => {
                println!("{}: found at seed {seed}: {violation}", fault.name());
            }
            None => missed.push(fault.name()),
        }
    }
    if missed.is_empty() {
        Outcome::Good
    } else {
        let (missed, seeds) = (missed.join(", "), arguments.seeds);
        Outcome::failed(format!("not found within {seeds} seeds: {missed}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_chosen_by_name_or_all_at_once() {
        assert_eq!(planted_faults("all").unwrap().0.len(), 5);
        let one = planted_faults("ack-before-fsync").unwrap().0;
        assert_eq!(one, [PlantedFault::AckBeforeFsync]);
        assert!(
            planted_faults("gremlins")
                .unwrap_err()
                .contains("ack-before-fsync")
        );
    }
}
