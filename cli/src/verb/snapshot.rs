//! `lockstep snapshot`: asks the node that runs on a directory for a snapshot of its cluster.

use std::path::PathBuf;

use clap::Args;
use lockstep_consensus::node::control::{CONTROL_SOCKET, ControlRequest, ask};

use crate::outcome::Outcome;

/// Whom to ask.
#[derive(Args, Debug)]
pub struct SnapshotArguments {
    /// The data directory of the node that leads.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Asks, and prints what the node answers.
pub fn run(arguments: &SnapshotArguments) -> Outcome {
    let place = arguments.dir.display();
    match ask(&arguments.dir, ControlRequest::Snapshot) {
        Ok(Ok(answer)) => {
            println!("{answer}");
            Outcome::Good
        }
        Ok(Err(refusal)) => Outcome::failed(format!("the node of {place} refuses: {refusal}")),
        Err(error) => Outcome::failed(format!(
            "no node answers at {place}/{CONTROL_SOCKET}: {error}; see that one runs there, and \
             its first line"
        )),
    }
}
