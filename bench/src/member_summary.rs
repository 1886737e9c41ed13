//! Where a member stood at the end of a run, from its counters.

use std::fmt::{self, Display, Formatter};

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::settings::threading::AgentName;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;
use serde_json::{Map, Value, json};

use crate::watched::MemoryGrowth;

/// How long the duty cycles of one thread took that did work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CycleTimes {
    /// Their mean, ns.
    pub mean_ns: Nanos,
    /// The longest, ns; 0 where there is no such thread.
    pub max_ns: Nanos,
}

impl CycleTimes {
    fn read(counter: &impl Fn(Counter) -> i64, first: AgentName) -> Self {
        let [cycles, time, longest] = Counter::work_of(first);
        Self {
            mean_ns: counter(time) / counter(cycles).max(1),
            max_ns: counter(longest),
        }
    }
}

/// The threads that a member may have besides its own, by the first of their agents.
pub const THREADS: [AgentName; 3] = [AgentName::Archive, AgentName::Clients, AgentName::Service];

/// Snapshots that a member has stored: who leads others fetches theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredSnapshots {
    /// Those that it took and wrote.
    pub written: i64,
    /// Those of others.
    pub fetched: i64,
}

impl StoredSnapshots {
    /// Reads it from the member's counters, which `counter` reads.
    #[must_use]
    pub(crate) fn read(counter: impl Fn(Counter) -> i64) -> Self {
        Self {
            written: counter(Counter::Snapshots),
            fetched: counter(Counter::SnapshotsFetched),
        }
    }

    /// Both.
    #[must_use]
    pub(crate) const fn all(self) -> i64 {
        self.written + self.fetched
    }
}

impl Display for StoredSnapshots {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} + {}", self.written, self.fetched)
    }
}

/// Where a member stood at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
    /// Snapshots that it stored.
    pub snapshots: StoredSnapshots,
    /// For how long applying stood still for one, of the longest.
    pub snapshot_pause_ns: Nanos,
    /// How often the start of its log moved up.
    pub trims: i64,
    /// Greatest sum of the lengths of the files in its directory that was seen, if it was watched.
    pub disk_bytes_max: u64,
    /// Its memory around its snapshots, where it was watched in a process of its own.
    pub memory: Option<MemoryGrowth>,
    /// The duty cycles of its own thread.
    pub cycles: CycleTimes,
    /// Those of [`THREADS`].
    pub thread_cycles: [CycleTimes; THREADS.len()],
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
            snapshots: StoredSnapshots::read(&counter),
            snapshot_pause_ns: counter(Counter::SnapshotPause),
            trims: counter(Counter::Trims),
            disk_bytes_max: 0,
            memory: None,
            cycles: CycleTimes::read(&counter, AgentName::Consensus),
            thread_cycles: THREADS.map(|first| CycleTimes::read(&counter, first)),
        }
    }

    /// The summary as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let threads = THREADS.iter().zip(&self.thread_cycles);
        let threads = threads.filter(|(_, cycles)| cycles.max_ns > 0);
        let threads: Map<String, Value> = threads
            .map(|(first, CycleTimes { mean_ns, max_ns })| {
                let times = json!({ "cycle_mean_ns": mean_ns, "cycle_max_ns": max_ns });
                (first.name().to_owned(), times)
            })
            .collect();
        json!({
            "leader": self.is_leader, "term": self.term.get(), "append": self.append,
            "commit": self.commit, "elections": self.elections,
            "answers_waited": self.answers_waited,
            "answers_unverified": self.answers_unverified,
            "snapshots": self.snapshots.all(), "snapshots_written": self.snapshots.written,
            "snapshots_fetched": self.snapshots.fetched,
            "snapshot_pause_ns": self.snapshot_pause_ns,
            "trims": self.trims, "disk_bytes_max": self.disk_bytes_max,
            "memory": self.memory.map(MemoryGrowth::to_json),
            "cycle_mean_ns": self.cycles.mean_ns, "cycle_max_ns": self.cycles.max_ns,
            "threads": threads,
        })
    }
}
