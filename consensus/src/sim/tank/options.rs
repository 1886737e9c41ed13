//! What a run of the node tank is asked to do, what it did, and what it may find.

use core::fmt;

use lockstep_transport::notices::Notice;
use lockstep_transport::time::{Nanos, SECOND};

use super::{Broken, PlantedFault};
use crate::notice::NodeNotice;
use crate::settings::config::ResponsesMode;
use crate::sim::tank::coverage::Coverage;
use crate::sim::tank::plan::{FaultClass, FaultCounts};

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct TankOptions {
    /// Members of the cluster; `None` leaves it to the seed: 3, sometimes 1 or 5.
    pub members: Option<usize>,
    /// Clients.
    pub clients: u64,
    /// Requests per client.
    pub requests: i64,
    /// Length of the phase with faults, 0 for none.
    pub fault_phase_ns: Nanos,
    /// How responses reach clients.
    pub responses: ResponsesMode,
    /// One member's service answers one request otherwise than the others'.
    pub diverging: bool,
    /// A member runs with `sync = none`, or more: from its first loss of power on it is a learner.
    pub unsynced: bool,
    /// A fault planted on purpose, that the oracles must find.
    pub planted: Option<PlantedFault>,
}

impl Default for TankOptions {
    fn default() -> Self {
        Self {
            members: None,
            clients: 2,
            requests: 120,
            fault_phase_ns: 5 * SECOND,
            responses: ResponsesMode::Replicated,
            diverging: false,
            unsynced: false,
            planted: None,
        }
    }
}

impl TankOptions {
    /// What makes the effects of `fault` possible: nothing that is wrong by itself.
    #[must_use]
    pub fn made_for(self, fault: PlantedFault) -> Self {
        Self {
            diverging: self.diverging || fault == PlantedFault::ResponsesNotCompared,
            ..self
        }
    }

    /// A long run: ten times as many requests, and as much time for faults.
    #[must_use]
    pub fn full() -> Self {
        Self {
            clients: 4,
            requests: 600,
            fault_phase_ns: 50 * SECOND,
            ..Self::default()
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TankReport {
    /// Hash of every delivery and of every committed byte: equal for equal runs.
    pub event_hash: u64,
    /// Moments simulated.
    pub moments: u64,
    /// Responses that clients received.
    pub responses: u64,
    /// Responses that clients will never receive, in direct mode.
    pub lost: u64,
    /// Times that another process continued a client's session.
    pub client_restarts: u64,
    /// Sessions open at the end.
    pub sessions: u64,
    /// Sessions that the cluster closed because their client fell silent.
    pub expired: u64,
    /// Datagrams that arrived damaged.
    pub corrupted: u64,
    /// Bytes of log committed.
    pub committed: u64,
    /// Faults by class.
    pub faults: FaultCounts,
    /// Starts of members.
    pub starts: u64,
    /// Members that stopped because their service diverged.
    pub diverged: u64,
    /// Greatest leadership term reached.
    pub terms: i64,
    /// Leadership terms in the committed log.
    pub log_terms: u64,
    /// Members whose directories count no more at the end.
    pub demoted: u64,
    /// The cluster lost a majority of its directories, and stands still as it must.
    pub is_lost: bool,
    /// Virtual time, ns.
    pub virtual_ns: Nanos,
    /// What the run reached.
    pub coverage: Coverage,
}

/// What a member said about itself, in order.
pub type MemberNotices = Vec<Notice<NodeNotice>>;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed} at {time} ns: {broken}{}", told(faults))]
pub struct TankViolation {
    /// The seed of the run.
    pub seed: u64,
    /// Virtual time.
    pub time: Nanos,
    /// The rule, and how it was broken.
    pub broken: Broken,
    /// What was done to whom before, newest last.
    pub faults: Vec<FaultMark>,
}

/// A fault that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultMark {
    /// Virtual time.
    pub time: Nanos,
    /// Whom it befell.
    pub subject: Subject,
    /// Its class.
    pub class: FaultClass,
}

/// Whom a fault befell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A member.
    Member(usize),
    /// All members.
    Members,
    /// A client.
    Client(usize),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(id) => write!(f, "member {id}"),
            Self::Members => f.write_str("all members"),
            Self::Client(id) => write!(f, "client {id}"),
        }
    }
}

/// Faults told with a violation.
const TOLD_MAX: usize = 24;

fn told(faults: &[FaultMark]) -> String {
    let newest = &faults[faults.len().saturating_sub(TOLD_MAX)..];
    let lines = newest.iter().map(|fault| {
        let (time, subject, name) = (fault.time, fault.subject, fault.class.name());
        format!("\n  at {time:>12} ns, {subject}: {name}")
    });
    lines.collect()
}
