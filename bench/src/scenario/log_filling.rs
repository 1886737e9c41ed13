//! Fills the log of a cluster of processes: requests as fast as they are answered, up to a
//! position.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock")]

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::settings::config::ClusterConfig;
use lockstep_transport::agent::{Agent, IdleStrategy, Idler};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use super::bench_client::drive_until;
use super::bench_error::BenchError;
use super::process_cluster::ProcessCluster;
use super::workload::Workload;
use crate::load::{LoadConfig, LoadLimit, LoadShape};

/// How often it is looked how far the log is, and how often that is said.
const LOOK_INTERVAL_NS: Nanos = 10 * MILLISECOND;
const PROGRESS_INTERVAL_NS: Nanos = 10 * SECOND;

/// The last answers and the end of a session come within this.
const END_WITHIN_NS: Nanos = 20 * SECOND;

/// Has a client ask, with so many requests of its workload in flight, until so much is committed.
///
/// # Errors
/// When the client cannot connect, a member ends, or an answer is wrong or missing.
pub(super) fn fill_log(
    members: &mut ProcessCluster,
    cluster: &ClusterConfig,
    (workload, window): &(Workload, usize),
    goal: Position,
) -> Result<(), BenchError> {
    let mut client = members.connected_client(cluster, workload.clone())?;
    client.start(LoadConfig {
        shape: LoadShape::Closed { window: *window },
        warmup_ns: 0,
        limit: LoadLimit::Messages(u64::MAX),
        messages_cap: u64::MAX,
    });
    let mut idle = Idler::new(IdleStrategy::Yield);
    let started = monotonic_now();
    let (mut next_look, mut next_progress) = (started, started + PROGRESS_INTERVAL_NS);
    loop {
        let now = monotonic_now();
        idle.idle(client.do_work(now));
        if now < next_look {
            continue;
        }
        next_look = now + LOOK_INTERVAL_NS;
        members.check()?;
        let commits = members.members.iter_mut();
        let commit = commits.map(|member| member.counter(Counter::Commit)).max();
        let commit = commit.unwrap_or(0);
        if commit >= goal || client.is_done(now) {
            break;
        }
        if now >= next_progress {
            next_progress += PROGRESS_INTERVAL_NS;
            let seconds = (now - started) / SECOND;
            let (is, of) = (commit >> 20, goal >> 20);
            eprintln!("lockstep: {seconds} s: {is} of {of} MiB of log");
        }
    }
    client.stop();
    let is_done = drive_until(&mut client, END_WITHIN_NS, |client, now| {
        client.is_done(now)
    });
    let mut faults = client.faults();
    if !is_done {
        let seconds = END_WITHIN_NS / SECOND;
        faults.push(format!("answers are missing after {seconds} s"));
    }
    if !faults.is_empty() {
        let problem = faults.join("; ");
        return Err(BenchError::Cluster { problem });
    }
    client.client_mut().close(monotonic_now());
    // One that is not closed ends by itself, later.
    drive_until(&mut client, END_WITHIN_NS, |client, _| {
        client.client().is_done()
    });
    Ok(())
}
