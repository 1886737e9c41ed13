//! `--shrink FILE`: a run that breaks a rule is made small and written as a scenario.
//! `--scenario FILE`: such a run once more.

use std::path::Path;

use lockstep_consensus::sim::shrink::shrink;
use lockstep_consensus::sim::tank::{TankSetup, run_setup};

use super::scenario_file;
use crate::outcome::Outcome;

/// Runs that are made at most.
const RUNS_MAX: u32 = 3_000;

/// Makes the run of `setup`, which breaks a rule, small, and writes it to `path`. Returns what came
/// of it, in words.
///
/// # Errors
/// A sentence: why there is no file.
pub fn shrink_to(path: &Path, setup: &TankSetup) -> Result<String, String> {
    eprintln!("making the run small: up to {RUNS_MAX} runs");
    let Err(violation) = run_setup(setup) else {
        return Err("the run breaks no rule any more: nothing to shrink".to_owned());
    };
    let small = shrink(setup, violation, RUNS_MAX);
    let rule = small.violation.broken.rule;
    let text = scenario_file::to_text(&small.setup, rule)?;
    let place = path.display();
    #[allow(
        clippy::disallowed_methods,
        reason = "shell: writes what was asked for"
    )]
    std::fs::write(path, text).map_err(|error| {
        format!("cannot write {place}: {error}; choose a file in a directory that can be written")
    })?;
    Ok(format!(
        "made small in {} runs, {} faults of {}: {}\nrepeat that with: lockstep sim --scenario \
         {place}",
        small.runs,
        small.setup.faults.len(),
        setup.faults.len(),
        small.violation.broken,
    ))
}

/// Runs the scenario in `path`.
pub fn repeat(path: &Path) -> Outcome {
    let scenario = match scenario_file::read(path) {
        Ok(scenario) => scenario,
        Err(problem) => return Outcome::usage(problem),
    };
    match run_setup(&scenario.setup) {
        Ok(report) => {
            let place = path.display();
            println!("{place}: no violation, hash {:016x}", report.event_hash);
            Outcome::Good
        }
        Err(violation) => {
            let expected = scenario
                .breaks
                .filter(|rule| *rule != violation.broken.rule);
            let other = expected.map(|rule| format!("\nthe file says that it breaks: {rule}"));
            Outcome::failed(format!("{violation}{}", other.unwrap_or_default()))
        }
    }
}
