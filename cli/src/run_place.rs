//! Options that say where a run has its files.

use std::path::PathBuf;

use clap::Args;

/// See the module.
#[derive(Args, Debug)]
pub struct RunPlace {
    /// Where the run makes its own directory.
    #[arg(long, default_value = "lockstep-data")]
    pub dir: PathBuf,
    /// Leave the run's directory behind.
    #[arg(long)]
    pub keep: bool,
}
