//! Has the members of a cluster of processes take a snapshot, asked for as anybody asks.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock, yields")]

use lockstep_consensus::node::control::{ControlRequest, ask};
use lockstep_consensus::node::counters::Counter;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use super::bench_error::BenchError;
use super::node_process::NodeProcess;
use super::process_cluster::ProcessCluster;

/// Members that have not stored one after so long will not.
const STORED_WITHIN_NS: Nanos = 60 * SECOND;

/// Who is to have stored it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// The members that follow, who write it.
    ByFollowers,
    /// The one that leads too, which fetches it from them.
    ByAll,
}

/// Asks the member that leads, and waits until it is `stored`; `meanwhile` is called over and over
/// with the time. Returns where it was taken.
///
/// # Errors
/// When there is no leader, or it is not stored in time.
pub(super) fn take_snapshot(
    cluster: &mut ProcessCluster,
    stored: Stored,
    mut meanwhile: impl FnMut(Nanos) -> usize,
) -> Result<Position, BenchError> {
    let started = monotonic_now();
    let before = positions(cluster).max().unwrap_or(0);
    let all = cluster.members.len();
    let wanted = match stored {
        Stored::ByFollowers => all - 1,
        Stored::ByAll => all,
    };
    let mut asked = None;
    loop {
        let now = monotonic_now();
        // Who is asked may lead no more, or have no room for a moment.
        if !matches!(asked, Some(Ok(_))) {
            asked = Some(ask_leader(cluster)?);
        }
        let newer: Vec<Position> = positions(cluster).filter(|at| *at > before).collect();
        if let Some(oldest) = newer.iter().min().filter(|_| newer.len() >= wanted) {
            return Ok(*oldest);
        }
        if now - started > STORED_WITHIN_NS {
            let seconds = STORED_WITHIN_NS / SECOND;
            let said = asked.and_then(Result::err).unwrap_or_default();
            let problem =
                format!("no snapshot was stored by {wanted} members in {seconds} s {said}");
            return Err(BenchError::Cluster { problem });
        }
        if meanwhile(now) == 0 {
            cluster.check()?;
            std::thread::yield_now();
        }
    }
}

/// What the member that leads says.
fn ask_leader(cluster: &mut ProcessCluster) -> Result<Result<String, String>, BenchError> {
    let leader = cluster.await_leader()?;
    let answer = ask(
        cluster.members[leader].directory(),
        ControlRequest::Snapshot,
    );
    Ok(answer.unwrap_or_else(|error| Err(error.to_string())))
}

/// Where the newest snapshot of each was taken.
fn positions(cluster: &mut ProcessCluster) -> impl Iterator<Item = Position> {
    let position = |member: &mut NodeProcess| member.counter(Counter::SnapshotPosition);
    cluster.members.iter_mut().map(position)
}
