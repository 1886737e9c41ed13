//! Starts members of a cluster whose log is long, from a snapshot: one that follows, then all of
//! them at once, and measures how long it takes until they vote and until they have executed all.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock, sleeps")]

use std::path::PathBuf;
use std::time::Duration;

use lockstep_archive::storage::free_bytes;
use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::settings::config::{ClusterConfig, SyncMode};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use super::agreement;
use super::bench_error::BenchError;
use super::cluster_bench::{ClusterBench, check_window};
use super::log_filling::fill_log;
use super::process_cluster::ProcessCluster;
use super::restart_report::{Restart, RestartReport, StartTimes};
use super::run_directory::RunDirectory;
use super::snapshot_request::{Stored, take_snapshot};

/// Segments that a log has room for beyond what it is filled with: the one being written, the next
/// that is made ready, and two more, for where two cannot be had log is let go of.
const SEGMENTS_SPARE: u64 = 4;

/// Bytes of a member's directory besides its segments: snapshots of a service that keeps next to
/// nothing, and the small files.
const BESIDE_LOG: u64 = 16 << 20;

/// Pause between two looks at the members: far below what is measured, and they need the cores.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// A start that takes longer than this has failed, whatever it reads.
const START_WITHIN_NS: Nanos = 600 * SECOND;

/// What `lockstep bench restart` can be told.
#[derive(Clone, Debug)]
pub struct RestartConfig {
    /// Bytes of log below the snapshot.
    pub log_bytes: u64,
    /// Bytes of log above it, which a start executes.
    pub above_bytes: u64,
    /// Restarts of each kind, one after the other.
    pub restarts: u32,
    /// When the log counts as durable.
    pub sync: SyncMode,
    /// Requests in flight while the log is filled.
    pub window: usize,
    /// Bytes of a request.
    pub message_length: usize,
    /// Under which directory the run's own is made.
    pub directory: PathBuf,
    /// Whether the run's directory stays.
    pub is_kept: bool,
}

/// Runs the scenario.
///
/// # Errors
/// When it cannot be run, for want of disk say, or a member does not come back.
pub fn run(config: &RestartConfig) -> Result<RestartReport, BenchError> {
    check_window(config.window)?;
    let segment = ClusterConfig::default().segment_length as u64;
    let log = config.log_bytes.saturating_add(config.above_bytes);
    let budget = log.saturating_add(SEGMENTS_SPARE * segment + BESIDE_LOG);
    let bench = ClusterBench {
        message_length: config.message_length,
        directory: config.directory.clone(),
        sync: config.sync,
        is_processes: true,
        trace_every: 0,
        disk_budget_bytes: budget,
        // The one that is asked for stays the only one, so that no log below it goes.
        snapshot_interval_bytes: Some(0),
        ..ClusterBench::default()
    };
    let (bench, notes) = bench.fitted();
    bench.check()?;
    let directory = RunDirectory::create(&config.directory, config.is_kept)?;
    check_room(&directory, bench.nodes as u64 * budget)?;
    let cluster = bench.cluster_config()?;
    let mut members = ProcessCluster::start(&bench, &cluster, directory.path())?;
    let load = (bench.workload(), config.window);
    fill_log(&mut members, &cluster, &load, config.log_bytes as Position)?;
    // The log was filled a bit further than that by then.
    let snapshot = take_snapshot(&mut members, Stored::ByAll, |_| 0)?;
    let goal = snapshot + config.above_bytes as Position;
    fill_log(&mut members, &cluster, &load, goal)?;
    let commit = agreement::await_caught_up(&mut members)?;
    let mut report = RestartReport {
        log_bytes: commit as u64,
        above_bytes: (commit - snapshot) as u64,
        sync: config.sync,
        message_length: config.message_length,
        of_follower: Vec::new(),
        of_all: Vec::new(),
        faults: Vec::new(),
        notes,
    };
    for _ in 0..config.restarts {
        report.of_follower.push(restart_follower(&mut members)?);
    }
    for _ in 0..config.restarts {
        report.of_all.push(restart_all(&mut members)?);
    }
    agreement::state_hash(&mut members)?;
    report.faults = shortcomings(&mut members, config.restarts as usize);
    Ok(report)
}

/// Refuses what the disk does not hold.
fn check_room(directory: &RunDirectory, needed: u64) -> Result<(), BenchError> {
    let path = directory.path();
    let free = free_bytes(path).map_err(|error| BenchError::Cluster {
        problem: error.to_string(),
    })?;
    if needed <= free {
        return Ok(());
    }
    let (needed, free) = (needed >> 20, free >> 20);
    let problem = format!(
        "the members' logs and snapshots take {needed} MiB, and {free} MiB are free for {}: free \
         some, choose a --dir on another disk, or a smaller --log-size",
        path.display()
    );
    let option = "--log-size";
    Err(BenchError::Option { option, problem })
}

/// Kills a member that follows and starts it again, while the others go on.
fn restart_follower(members: &mut ProcessCluster) -> Result<Restart, BenchError> {
    let leader = members.await_leader()?;
    let commit = agreement::await_caught_up(members)?;
    let follower = (leader + 1) % members.members.len();
    members.kill(follower)?;
    let began = monotonic_now();
    members.restart(follower)?;
    watch(members, &[follower], (began, commit))
}

/// Kills all members and starts them again.
fn restart_all(members: &mut ProcessCluster) -> Result<Restart, BenchError> {
    let commit = agreement::await_caught_up(members)?;
    members.kill_all()?;
    let began = monotonic_now();
    let all: Vec<usize> = (0..members.members.len()).collect();
    for member in &all {
        members.restart(*member)?;
    }
    watch(members, &all, (began, commit))
}

/// Watches members that were `started` at `began` until they have executed all up to `commit`, and
/// one of all leads.
fn watch(
    members: &mut ProcessCluster,
    started: &[usize],
    (began, commit): (Nanos, Position),
) -> Result<Restart, BenchError> {
    let mut restart = Restart {
        members: vec![StartTimes::default(); started.len()],
        leads_ns: None,
    };
    loop {
        let since = monotonic_now() - began;
        for (times, member) in restart.members.iter_mut().zip(started) {
            let member = &mut members.members[*member];
            let note = |moment: &mut Option<Nanos>, has_come: bool| {
                if has_come && moment.is_none() {
                    *moment = Some(since);
                }
            };
            note(&mut times.recovered_ns, member.counter(Counter::Append) > 0);
            note(&mut times.voting_ns, member.counter(Counter::Voter) == 1);
            note(
                &mut times.replayed_ns,
                member.counter(Counter::Applied) >= commit,
            );
        }
        if restart.leads_ns.is_none() && members.leader().is_some() {
            restart.leads_ns = Some(since);
        }
        if restart.is_complete() {
            return Ok(restart);
        }
        members.check()?;
        if since > START_WITHIN_NS {
            let seconds = START_WITHIN_NS / SECOND;
            let problem = format!("not all members were back within {seconds} s: {restart:?}");
            return Err(BenchError::Cluster { problem });
        }
        std::thread::sleep(LOOK_PAUSE);
    }
}

/// What the run was to show and did not.
fn shortcomings(members: &mut ProcessCluster, restarts: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (id, member) in members.members.iter_mut().enumerate() {
        let start = member.counter(Counter::LogStart);
        if start > 0 {
            found.push(format!("member {id} has let go of its log below {start}"));
        }
        found.extend(wrong_starts(&member.starts(), restarts).map(|problem| {
            format!("member {id}, which was started again {restarts} times at least: {problem}")
        }));
    }
    found
}

/// What is wrong with these starts, of which the first had no log, and each other one, `restarts`
/// at least, was to go on from a snapshot.
fn wrong_starts(starts: &[Option<Position>], restarts: usize) -> Option<String> {
    let again = starts.get(1..).unwrap_or_default();
    let begun = again.iter().flatten().count();
    (begun < again.len().max(restarts)).then(|| {
        let seen = again.len();
        format!("{begun} of the {seen} starts that are in its log went on from its snapshot")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_after_the_first_is_to_go_on_from_a_snapshot() {
        assert_eq!(wrong_starts(&[None, Some(7), Some(7)], 2), None);
        assert_eq!(wrong_starts(&[None, Some(7), Some(7), Some(7)], 2), None);
        for starts in [
            &[None, Some(7), Some(7), None][..],
            &[None, Some(7)],
            &[None],
            &[],
        ] {
            assert!(wrong_starts(starts, 2).is_some(), "{starts:?}");
        }
    }
}
