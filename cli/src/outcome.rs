//! How a verb ended, and the exit code that says so: 0 good, 1 failed run, 2 usage or
//! configuration. Scripts rely on it.

use std::fmt::Display;
use std::process::ExitCode;

use lockstep_bench::scenario::bench_error::BenchError;

/// How a verb ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything came out right.
    Good,
    /// The run failed; the words go to stderr.
    Failed(String),
    /// What was asked for makes no sense; the words go to stderr.
    Usage(String),
}

impl Outcome {
    /// A failed run.
    pub fn failed(problem: impl Display) -> Self {
        Self::Failed(problem.to_string())
    }

    /// A mistake in options or configuration.
    pub fn usage(problem: impl Display) -> Self {
        Self::Usage(problem.to_string())
    }

    /// Says what went wrong on stderr, and turns the outcome into the exit code.
    #[must_use]
    pub fn report(self) -> ExitCode {
        match self {
            Self::Good => ExitCode::SUCCESS,
            Self::Failed(problem) => {
                eprintln!("lockstep: {problem}");
                ExitCode::from(1)
            }
            Self::Usage(problem) => {
                eprintln!("lockstep: {problem}");
                ExitCode::from(2)
            }
        }
    }
}

/// A run that could not be made, or was not to be.
impl From<BenchError> for Outcome {
    fn from(error: BenchError) -> Self {
        if error.is_usage() {
            Self::usage(error)
        } else {
            Self::failed(error)
        }
    }
}
