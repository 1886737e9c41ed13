//! Why a scenario gave no report.

use lockstep_consensus::settings::config::ConfigError;
use lockstep_transport::agent::PinRefused;
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
    /// A thread is not on the core that the report would name.
    #[error(transparent)]
    Pin(#[from] PinRefused),
    /// The options make a configuration that cannot work.
    #[error("--{}: {}; {}", .0.key.replace('_', "-"), .0.problem, .0.remedy)]
    Config(#[from] ConfigError),
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
    #[error(
        "the client has no session after {} s: look at the members' counters, or run it again \
         with --keep",
        waited / SECOND
    )]
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
    /// Whether other options would do: nothing has been started then.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Option { .. } | Self::Config(_) | Self::Disk(_))
    }

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
