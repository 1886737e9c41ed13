//! The search for planted faults: each must be found, by a rule that it is meant to break, on a
//! seed that is clean without it.

use std::fmt::Write as _;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::time::Instant;

use lockstep_consensus::sim::tank::TankSetup;
use lockstep_consensus::sim::{Broken, PlantedFault, Sighting};

use super::seeds::{Tank, Trial, on_all_cores};
use super::shrinking::shrink_to;
use crate::outcome::Outcome;

/// Faults to plant.
#[derive(Clone, Debug)]
pub struct PlantedFaults(Vec<PlantedFault>);

impl PlantedFaults {
    /// All of them for "all", else the one of that name.
    ///
    /// # Errors
    /// There is none of that name: which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(PlantedFault::ALL.to_vec()));
        }
        let mut all = PlantedFault::ALL.into_iter();
        let named = all.find(|fault| fault.name() == text);
        named.map(|fault| Self(vec![fault])).ok_or_else(|| {
            let names = PlantedFault::ALL.map(PlantedFault::name).join(", ");
            format!("no such fault: choose all, {names}")
        })
    }
}

fn try_seed(tank: Tank, fault: PlantedFault, seed: u64) -> Sighting {
    fault.look_for(|is_planted| {
        let run = tank.run(seed, Some(Trial { fault, is_planted }));
        run.map_err(|violation| violation.broken)
    })
}

/// Tries seeds in their order up to the first that shows the fault, and returns that one.
///
/// # Errors
/// None does: what the first that broke another rule said, for whoever asks why.
fn search(
    tank: Tank,
    fault: PlantedFault,
    seeds: Range<u64>,
) -> Result<(u64, Broken), Option<Broken>> {
    let trials = on_all_cores(seeds, |seed| match try_seed(tank, fault, seed) {
        found @ Sighting::Found(_) => ControlFlow::Break((seed, found)),
        other => ControlFlow::Continue((seed, other)),
    });
    let mut first = None;
    for (seed, sighting) in trials {
        match sighting {
            Sighting::Found(broken) => return Ok((seed, broken)),
            Sighting::Other(broken) => first = first.or(Some(broken)),
            Sighting::Nothing => {}
        }
    }
    Err(first)
}

/// Every fault must be found within the seeds given by each of the simulators that has the parts
/// in which it is planted. Prints one line for each. The run of the node tank that shows a single
/// fault is made small and written to `shrink`.
pub fn find_all(
    tanks: &[Tank],
    seeds: &Range<u64>,
    faults: &PlantedFaults,
    shrink: Option<&Path>,
) -> Outcome {
    if shrink.is_some() && faults.0.len() > 1 {
        return Outcome::usage("--shrink: plant one fault, not all");
    }
    let is_of_node = |fault: &PlantedFault| fault.is_of_node();
    if shrink.is_some() && !faults.0.iter().all(is_of_node) {
        return Outcome::usage(
            "--shrink: this fault shows in the core tank only, which has no list of faults",
        );
    }
    let mut missed = String::new();
    for fault in &faults.0 {
        if !tanks.iter().any(|tank| tank.has_parts_for(*fault)) {
            let _ = write!(
                missed,
                " {} (in parts that this tank has not)",
                fault.name()
            );
        }
        for tank in tanks.iter().filter(|tank| tank.has_parts_for(*fault)) {
            let (name, tank_name) = (fault.name(), tank.name());
            let started = Instant::now();
            let (seed, broken) = match search(*tank, *fault, seeds.clone()) {
                Ok(found) => found,
                Err(other) => {
                    println!("{name}: not found by the {tank_name} tank{}", told(other));
                    let _ = write!(missed, " {name} ({tank_name})");
                    continue;
                }
            };
            let (rule, seconds) = (broken.rule, started.elapsed().as_secs_f64());
            println!("{name}: {tank_name} tank, found at seed {seed} by {rule}, {seconds:.1} s");
            if faults.0.len() == 1 {
                println!("  {}: {}", fault.what(), broken.what);
            }
            let shrink = shrink.filter(|_| matches!(tank, Tank::Node { .. }));
            match shrink.map(|path| make_small(path, *tank, *fault, seed)) {
                Some(Ok(told)) => println!("  {told}"),
                Some(Err(problem)) => return Outcome::failed(problem),
                None => {}
            }
        }
    }
    if missed.is_empty() {
        Outcome::Good
    } else {
        let count = seeds.end - seeds.start;
        Outcome::failed(format!("not found within {count} seeds:{missed}"))
    }
}

/// Writes the run of the node tank that shows `fault` at `seed`, made small.
fn make_small(path: &Path, tank: Tank, fault: PlantedFault, seed: u64) -> Result<String, String> {
    let is_planted = true;
    match tank.options(Some(Trial { fault, is_planted })) {
        Some(options) => shrink_to(path, &TankSetup::draw(seed, &options)),
        None => Err("runs of the core tank are not made small".to_owned()),
    }
}

fn told(other: Option<Broken>) -> String {
    other.map_or_else(String::new, |broken| format!(", which saw {broken}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_chosen_by_name_or_all_at_once() {
        let all = PlantedFaults::parse("all").unwrap().0;
        assert_eq!(all, PlantedFault::ALL);
        let one = PlantedFaults::parse("ack-before-fsync").unwrap().0;
        assert_eq!(one, [PlantedFault::AckBeforeFsync]);
        let none = PlantedFaults::parse("gremlins").unwrap_err();
        assert!(none.contains("ack-before-fsync"));
    }
}
