//! Where a member stood at the end of a run, from its counters.

use lockstep_consensus::node::counters::Counter;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;
use serde_json::{Value, json};

/// Where a member stood at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberSummary {
    /// Whether it led.
    pub is_leader: bool,
    /// Its leadership term.
    pub term: LeadershipTermId,
    /// End of its log.
    pub append: Position,
    /// Its commit position.
    pub commit: Position,
    /// Elections it stood in.
    pub elections: i64,
    /// Answers that waited for what another member's service put out.
    pub answers_waited: i64,
    /// Answers that left although no majority was known to have the same.
    pub answers_unverified: i64,
    /// Mean time of the duty cycles that did work, ns.
    pub cycle_mean_ns: Nanos,
    /// Time of the longest of them, ns.
    pub cycle_max_ns: Nanos,
}

impl MemberSummary {
    /// Reads it from the member's counters, which `counter` reads.
    #[must_use]
    pub fn read(counter: impl Fn(Counter) -> i64) -> Self {
        Self {
            is_leader: counter(Counter::IngressOpen) == 1,
            term: LeadershipTermId::new(counter(Counter::Term)),
            append: counter(Counter::Append),
            commit: counter(Counter::Commit),
            elections: counter(Counter::Elections),
            answers_waited: counter(Counter::AnswersWaited),
            answers_unverified: counter(Counter::AnswersUnverified),
            cycle_mean_ns: counter(Counter::WorkTime) / counter(Counter::WorkCycles).max(1),
            cycle_max_ns: counter(Counter::WorkTimeMax),
        }
    }

    /// The summary as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "leader": self.is_leader, "term": self.term.get(), "append": self.append,
            "commit": self.commit, "elections": self.elections,
            "answers_waited": self.answers_waited,
            "answers_unverified": self.answers_unverified,
            "cycle_mean_ns": self.cycle_mean_ns, "cycle_max_ns": self.cycle_max_ns,
        })
    }
}
