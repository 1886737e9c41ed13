//! `lockstep log`: looks at the log in the directory of a node that is stopped, running, killed, a
//! copy or somebody else's. Takes no lock and changes nothing.

mod entry_words;
mod report;
mod show;
mod verify;
mod words;

use clap::{Args, Subcommand};

use crate::outcome::Outcome;

/// What to look at.
#[derive(Args, Debug)]
pub struct LogArguments {
    #[command(subcommand)]
    verb: LogVerb,
}

#[derive(Subcommand, Debug)]
enum LogVerb {
    /// Print the log's entries, one line for each.
    Show(show::ShowArguments),
    /// Say whether all that was acknowledged is there, and what the next start would say.
    Verify(verify::VerifyArguments),
}

/// Looks.
pub fn run(arguments: &LogArguments) -> Outcome {
    match &arguments.verb {
        LogVerb::Show(arguments) => show::run(arguments),
        LogVerb::Verify(arguments) => verify::run(arguments),
    }
}
