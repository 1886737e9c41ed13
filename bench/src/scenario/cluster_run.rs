//! What runs of both kinds share, in threads and in processes: how long is waited until the
//! cluster serves, and what is left of it after the load.

use lockstep_transport::time::{Nanos, SECOND};
use lockstep_transport::trace::TraceRecord;

use super::bench_client::BenchClient;
use crate::member_summary::MemberSummary;

/// A cluster that has no leader after so long is not going to get one, nor, after so long
/// again, the client a session.
pub(super) const START_TIMEOUT_NS: Nanos = 30 * SECOND;

/// What a run of either kind leaves.
pub struct ClusterRun {
    /// The client.
    pub client: BenchClient,
    /// The members at the end.
    pub members: Vec<MemberSummary>,
    /// What they said when they started.
    pub start_lines: Vec<String>,
    /// Everybody's trace records.
    pub trace: Vec<TraceRecord>,
    /// System calls of all ports during the measured part.
    pub calls: i64,
    /// Heap allocations of other processes during the measured part.
    pub other_allocations: i64,
}

impl ClusterRun {
    pub(super) fn of_client(client: BenchClient) -> Self {
        Self {
            members: Vec::new(),
            start_lines: Vec::new(),
            trace: client.trace_records(),
            calls: client.calls().unwrap_or(0) as i64,
            other_allocations: 0,
            client,
        }
    }
}
