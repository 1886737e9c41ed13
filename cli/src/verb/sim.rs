//! `lockstep sim`: runs simulator seeds and says how they came out.
//!
//! The same seeds always give the same rolling hash, whatever the machine.
#![allow(
    clippy::disallowed_methods,
    reason = "shell: tells how fast the seeds ran"
)]

use std::ops::Range;
use std::panic::catch_unwind;
use std::time::Instant;

use clap::{Args, ValueEnum};
use lockstep_consensus::sim::PlantedFault;
use lockstep_consensus::sim::core_tank::{self, CoreTankOptions};
use lockstep_consensus::sim::tank::{self, TankOptions};

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
    Node,
}

impl Tank {
    const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Node => "node",
        }
    }

    /// Hash of the run, or the rule that was broken; a failed assertion is a broken rule.
    fn run(self, seed: u64, planted: Option<PlantedFault>) -> Result<u64, String> {
        catch_unwind(|| self.run_unguarded(seed, planted)).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            let said = said.unwrap_or("without words");
            Err(format!("seed {seed}: assertion failed: {said}"))
        })
    }

    fn run_unguarded(self, seed: u64, planted: Option<PlantedFault>) -> Result<u64, String> {
        match self {
            Self::Core => {
                let options = CoreTankOptions {
                    planted,
                    ..CoreTankOptions::default()
                };
                let report = core_tank::run(seed, &options).map_err(|v| v.to_string())?;
                Ok(report.event_hash)
            }
            Self::Node => {
                let options = TankOptions {
                    planted,
                    ..TankOptions::default()
                };
                let report = tank::run(seed, &options).map_err(|v| v.to_string())?;
                Ok(report.event_hash)
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
            Self::Node => true,
        }
    }
}

impl TankArgument {
    fn tanks(self) -> &'static [Tank] {
        match self {
            Self::Core => &[Tank::Core],
            Self::Node => &[Tank::Node],
            Self::Both => &[Tank::Core, Tank::Node],
        }
    }
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
    for tank in arguments.tank.tanks() {
        let started = Instant::now();
        let mut rolling = 0_u64;
        for seed in seeds.clone() {
            match tank.run(seed, None) {
                Ok(hash) => {
                    rolling = (rolling.rotate_left(5) ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
                }
                Err(violation) => {
                    let name = tank.name();
                    return Outcome::failed(format!(
                        "{violation}\nrepeat with: lockstep sim --tank {name} --seeds 1 \
                         --from {seed}"
                    ));
                }
            }
        }
        let minutes = started.elapsed().as_secs_f64().max(1e-9) / 60.0;
        println!(
            "{} tank: {} seeds from {}: no violation, hash {rolling:016x}",
            tank.name(),
            arguments.seeds,
            arguments.from,
        );
        eprintln!("{:.0} seeds/min", arguments.seeds as f64 / minutes);
    }
    Outcome::Good
}

/// Every fault must be found by at least one simulator within the seeds given, on a seed that
/// is clean without it.
fn find_all(arguments: &SimArguments, seeds: Range<u64>, faults: &[PlantedFault]) -> Outcome {
    let mut missed = Vec::new();
    for fault in faults {
        let tanks = arguments.tank.tanks().iter().filter(|t| t.can_find(*fault));
        let tanks: Vec<&Tank> = tanks.collect();
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
