//! `lockstep sim`: runs simulator seeds and says how they came out.
//!
//! The same seeds always give the same rolling hash, whatever the machine.
#![allow(
    clippy::disallowed_methods,
    reason = "shell: tells how fast the seeds ran"
)]

mod coverage;
mod distribution;
mod planted;
mod scenario_file;
mod seeds;
mod shrinking;

use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use lockstep_consensus::sim::tank::TankSetup;

use self::coverage::{CoverageReport, SEEDS_FOR_ALL};
use self::distribution::Distribution;
use self::planted::{PlantedFaults, find_all};
use self::seeds::{Tank, on_all_cores};
use self::shrinking::{repeat, shrink_to};
use crate::outcome::Outcome;
use crate::output_file;

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
    #[arg(long, value_parser = PlantedFaults::parse)]
    planted: Option<PlantedFaults>,
    /// Which simulator: the consensus core over positions, whole nodes, or both.
    #[arg(long, value_enum, default_value = "both")]
    tank: TankArgument,
    /// Long runs of the node tank: ten times the time for faults, more clients and requests.
    #[arg(long)]
    full: bool,
    /// Print how many seeds of the node tank reached each mark, and fail if one is never reached.
    /// From 3000 seeds on that is asked for without saying so.
    #[arg(long)]
    coverage: bool,
    /// Make the run of the node tank that breaks a rule, or shows the planted fault, as small as
    /// it gets, and write it to this file.
    #[arg(long, value_name = "FILE")]
    shrink: Option<PathBuf>,
    /// Repeat the run in this file, which --shrink wrote.
    #[arg(long, value_name = "FILE", exclusive = true)]
    scenario: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TankArgument {
    Core,
    Node,
    Both,
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
    if let Some(path) = &arguments.scenario {
        return repeat(path);
    }
    let shrink = arguments.shrink.as_deref();
    if shrink.is_some() && arguments.tank == TankArgument::Core {
        return Outcome::usage(
            "--shrink: runs of the node tank are made small, ask for --tank node",
        );
    }
    if let Some(Err(problem)) = shrink.map(output_file::check) {
        return Outcome::usage(format!("--shrink: {problem}"));
    }
    match &arguments.planted {
        None => run_seeds(arguments, seeds),
        Some(faults) => find_all(&arguments.tanks(), &seeds, faults, shrink),
    }
}

/// What there is to do about a seed that broke a rule: makes it small, or says how to.
fn follow_up(arguments: &SimArguments, tank: Tank, seed: u64) -> String {
    let full = if arguments.full { " --full" } else { "" };
    let name = tank.name();
    let again = format!("lockstep sim --tank {name} --seeds 1 --from {seed}{full}");
    let Some(options) = tank.options(None) else {
        return format!("repeat with: {again}");
    };
    let Some(path) = &arguments.shrink else {
        return format!("repeat with: {again}\nmake it small with: {again} --shrink FILE");
    };
    match shrink_to(path, &TankSetup::draw(seed, &options)) {
        Ok(told) => format!("repeat with: {again}\n{told}"),
        Err(problem) => format!("repeat with: {again}\nnot made small: {problem}"),
    }
}

fn run_seeds(arguments: &SimArguments, seeds: Range<u64>) -> Outcome {
    for tank in arguments.tanks() {
        let (started, name) = (Instant::now(), tank.name());
        let mut rolling = 0_u64;
        let must_cover = arguments.coverage || arguments.seeds >= SEEDS_FOR_ALL;
        let mut distribution = Distribution::default();
        let mut coverage = CoverageReport::new(must_cover);
        let outcomes = on_all_cores(seeds.clone(), |seed| {
            let result = tank.run(seed, None);
            if result.is_err() {
                ControlFlow::Break((seed, result))
            } else {
                ControlFlow::Continue((seed, result))
            }
        });
        for (seed, result) in outcomes {
            match result {
                Ok((hash, report)) => {
                    rolling = (rolling.rotate_left(5) ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    if let Some(report) = report {
                        distribution.add(&report);
                        coverage.add(&report);
                    }
                }
                Err(violation) => {
                    let next = follow_up(arguments, tank, seed);
                    return Outcome::failed(format!("{}\n{next}", violation.text));
                }
            }
        }
        let minutes = started.elapsed().as_secs_f64().max(1e-9) / 60.0;
        println!(
            "{name} tank: {} seeds from {}: no violation, hash {rolling:016x}",
            arguments.seeds, arguments.from,
        );
        if matches!(tank, Tank::Node { .. }) {
            println!("{distribution}\n{coverage}");
        }
        eprintln!("{:.0} seeds/min", arguments.seeds as f64 / minutes);
        if let (Tank::Node { .. }, Some(what)) = (tank, coverage.shortfall(must_cover)) {
            return Outcome::failed(what);
        }
    }
    Outcome::Good
}
