//! `lockstep log verify`: whether all that was acknowledged is in the directory, and what the next
//! start would say of it.

use clap::Args;
use lockstep_consensus::node::offline::verification::Verification;

use super::report::{object, text};
use super::words::problem;
use crate::lines::Lines;
use crate::looked_at::{LookedAt, holder, with_source};
use crate::outcome::Outcome;

/// Options of `lockstep log verify`.
#[derive(Args, Debug)]
pub struct VerifyArguments {
    #[command(flatten)]
    at: LookedAt,
}

/// Looks, and says what was found.
pub fn run(arguments: &VerifyArguments) -> Outcome {
    let directory = &arguments.at.dir;
    with_source(directory, |source| {
        let found = Verification::of(source)?;
        let user = holder(directory).filter(|_| found.is_running);
        let mut lines = Lines::new();
        if arguments.at.json {
            lines.put(&object(directory, &found, user.as_deref()).to_string());
        } else {
            for line in text(directory, &found, user.as_deref()) {
                lines.put(&line);
            }
        }
        let outcome = match problem(&found) {
            None => Outcome::Good,
            Some(problem) => Outcome::failed(format!("{}: {problem}", directory.display())),
        };
        Ok(lines.finish(outcome))
    })
}
