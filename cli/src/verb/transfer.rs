//! `lockstep transfer`: asks the node that runs on a directory to hand its leadership over.

use std::path::PathBuf;

use clap::Args;
use lockstep_consensus::node::control::{CONTROL_SOCKET, ControlRequest, ask};

use crate::outcome::Outcome;

/// Whom to ask, and for whom.
#[derive(Args, Debug)]
pub struct TransferArguments {
    /// The data directory of the node that leads.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The member that is to lead; without it, one that has everything.
    #[arg(long, value_name = "MEMBER")]
    to: Option<u8>,
}

/// Asks, and prints what the node answers.
pub fn run(arguments: &TransferArguments) -> Outcome {
    let place = arguments.dir.display();
    let request = ControlRequest::Transfer { to: arguments.to };
    match ask(&arguments.dir, request) {
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
