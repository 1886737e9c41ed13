//! `lockstep snapshots`: looks at the snapshots in the directory of a node that is stopped, runs,
//! was killed, is a copy or somebody else's. Takes no lock and changes nothing.

mod list;
mod problems;
mod verify;
mod words;

use clap::{Args, Subcommand};

use crate::looked_at::LookedAt;
use crate::outcome::Outcome;

/// What to look at.
#[derive(Args, Debug)]
pub struct SnapshotsArguments {
    #[command(subcommand)]
    verb: SnapshotsVerb,
}

/// Where.
#[derive(Args, Debug)]
struct SnapshotsPlace {
    #[command(flatten)]
    at: LookedAt,
}

#[derive(Subcommand, Debug)]
enum SnapshotsVerb {
    /// Print which snapshots there are, by what the index says and how long their files are.
    List(SnapshotsPlace),
    /// Read all of each snapshot, compare it with the log, and print its sections.
    Verify(SnapshotsPlace),
}

/// Looks.
pub fn run(arguments: &SnapshotsArguments) -> Outcome {
    match &arguments.verb {
        SnapshotsVerb::List(place) => list::run(&place.at),
        SnapshotsVerb::Verify(place) => verify::run(&place.at),
    }
}
