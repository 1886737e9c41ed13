//! Why a scenario gave no report.

use lockstep_transport::time::{Nanos, SECOND};

use super::disk_plan::DiskPlanError;
use crate::floor::FloorError;

/// Why a run gave no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The options make no sense together.
    #[error("{option}: {problem}")]
    Option {
        /// Which.
        option: &'static str,
        /// Why, and what to do.
        problem: String,
    },
    /// The run would record too much.
    #[error(transparent)]
    Disk(#[from] DiskPlanError),
    /// The operating system refused something.
    #[error("{what}: {problem}")]
    Io {
        /// What was tried.
        what: String,
        /// The operating system's words.
        problem: std::io::Error,
    },
    /// A member did not start.
    #[error("member {member} did not start: {problem}")]
    Launch {
        /// Which.
        member: usize,
        /// Why.
        problem: String,
    },
    /// Nobody became leader.
    #[error("no leader after {} s: look at the members' start lines", waited / SECOND)]
    NoLeader {
        /// How long was waited, ns.
        waited: Nanos,
    },
    /// The client's session did not open.
    #[error("the client has no session after {} s", waited / SECOND)]
    NotConnected {
        /// How long was waited, ns.
        waited: Nanos,
    },
    /// Something went wrong while it ran.
    #[error("{problem}")]
    Cluster {
        /// What.
        problem: String,
    },
    /// The floor.
    #[error(transparent)]
    Floor(#[from] FloorError),
}

impl BenchError {
    /// An I/O error with what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |problem| Self::Io { what, problem }
    }

    pub(super) fn panicked() -> Self {
        let problem = "a thread of the run panicked".to_owned();
        Self::Cluster { problem }
    }
}
