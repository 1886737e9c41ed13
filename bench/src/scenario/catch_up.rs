//! Kills a member that follows, under a steady load, until the others have let go of the log that
//! it needs, starts it again and measures what its catching up costs the clients: a snapshot, then
//! log. What it costs is told by comparison with the time in which it was down.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock")]

use std::path::PathBuf;

use lockstep_consensus::node::counters::Counter;
use lockstep_consensus::settings::config::{ClusterConfig, SyncMode};
use lockstep_transport::agent::{Agent, IdleStrategy, Idler, WakeSource};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND, earliest};

use super::agreement;
use super::bench_client::{BenchClient, drive_until};
use super::bench_error::BenchError;
use super::catch_up_report::{CatchUp, CatchUpReport, Round};
use super::cluster_bench::ClusterBench;
use super::process_cluster::ProcessCluster;
use super::run_directory::RunDirectory;
use super::service_choice::ServiceChoice;
use crate::load::{Load, LoadConfig, LoadLimit, LoadShape};

/// Length of the log's terms and segments: short, so that log is let go of in small steps.
const SEGMENT_LENGTH: usize = 4 << 20;

/// What comes right after a kill, or a start of the load, is of neither part.
const SETTLING_NS: Nanos = SECOND;

/// The load is meant to last for ever; latencies are told apart for half an hour.
const LOAD_NS: Nanos = 86_400 * SECOND;

/// By parts of which length they are.
const SLOT_NS: Nanos = SECOND / 10;

/// How often the members are looked at.
const LOOK_INTERVAL_NS: Nanos = 10 * MILLISECOND;

/// Log that is not let go of so long after a part was to end will not be, and who is not level will
/// not become so.
const PART_WITHIN_NS: Nanos = 300 * SECOND;

/// Answers that are not there so long after the last request are missing.
const ANSWERS_WITHIN_NS: Nanos = 20 * SECOND;

/// What `lockstep bench catch-up` can be told.
#[derive(Clone, Debug)]
pub struct CatchUpConfig {
    /// Requests per second.
    pub rate: f64,
    /// Kills, one after the other.
    pub rounds: u32,
    /// How long the load runs with all members up before each, and with one down at least, ns.
    pub steady_ns: Nanos,
    /// Bytes of state of each member, and so of a snapshot.
    pub state_bytes: u64,
    /// Most bytes of log per member.
    pub disk_budget_bytes: u64,
    /// Bytes of log after which a snapshot is taken.
    pub snapshot_interval_bytes: u64,
    /// When the log counts as durable.
    pub sync: SyncMode,
    /// How members and client wait.
    pub idle: IdleStrategy,
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
/// When it cannot be run, or a member does not come back.
pub fn run(config: &CatchUpConfig) -> Result<CatchUpReport, BenchError> {
    if config.snapshot_interval_bytes == 0 {
        let problem = "without snapshots no log is let go of; use 16m, say".to_owned();
        let option = "--snapshot-interval";
        return Err(BenchError::Option { option, problem });
    }
    let bench = ClusterBench {
        message_length: config.message_length,
        directory: config.directory.clone(),
        sync: config.sync,
        idle: config.idle,
        is_processes: true,
        trace_every: 0,
        disk_budget_bytes: config.disk_budget_bytes,
        snapshot_interval_bytes: Some(config.snapshot_interval_bytes),
        service: match config.state_bytes {
            0 => ServiceChoice::Echo,
            bytes => ServiceChoice::BigState(bytes),
        },
        ..ClusterBench::default()
    };
    let (bench, notes) = bench.fitted();
    bench.check()?;
    let directory = RunDirectory::create(&config.directory, config.is_kept)?;
    let cluster = ClusterConfig {
        term_length: SEGMENT_LENGTH,
        segment_length: SEGMENT_LENGTH,
        ..bench.cluster_config()?
    };
    let load = LoadConfig {
        shape: LoadShape::Open { rate: config.rate },
        warmup_ns: SETTLING_NS,
        limit: LoadLimit::Duration(LOAD_NS),
        messages_cap: u64::MAX,
    };
    let load = Load::in_slots(load, &[SLOT_NS]);
    let mut members = ProcessCluster::start(&bench, &cluster, directory.path())?;
    let mut client = members.connected_client(&cluster, bench.workload())?;
    client.start(load);
    let mut idle = Idler::new(bench.idle);
    if let Some(sources) = idle.wake_sources() {
        client.client().port().name_wake_sources(sources);
    }
    let mut run = Run {
        members,
        client,
        idle,
        part_within: PART_WITHIN_NS.saturating_add(config.steady_ns),
    };
    let mut rounds = Vec::new();
    for round in 0..config.rounds {
        rounds.push(run.round(config, round as usize)?);
    }
    run.finish(config, &cluster, (rounds, notes))
}

/// A run on its way.
struct Run {
    members: ProcessCluster,
    client: BenchClient,
    idle: Idler,
    part_within: Nanos,
}

impl Run {
    /// Drives the client, and looks at the members now and then, until `is_over` says so of them.
    /// Returns from when to when that was.
    fn drive_until(
        &mut self,
        what: &str,
        mut is_over: impl FnMut(&mut ProcessCluster, Nanos) -> bool,
    ) -> Result<(Nanos, Nanos), BenchError> {
        let began = monotonic_now();
        let mut next_look = began;
        let client = &mut self.client;
        loop {
            let now = monotonic_now();
            let work = client.do_work(now);
            if now >= next_look {
                next_look = now + LOOK_INTERVAL_NS;
                if is_over(&mut self.members, now) {
                    return Ok((began, now));
                }
                if client.is_done(now) {
                    let problem = format!("{what}: {}", client.faults().join("; "));
                    return Err(BenchError::Cluster { problem });
                }
                if now - began > self.part_within {
                    let seconds = self.part_within / SECOND;
                    let problem = format!("not within {seconds} s: {what}");
                    return Err(BenchError::Cluster { problem });
                }
            }
            self.idle.idle_until(work, now, || {
                earliest(client.next_deadline(now), Some(next_look))
            });
        }
    }

    /// The same for so long, while all members go on.
    fn drive_for(&mut self, duration: Nanos) -> Result<(Nanos, Nanos), BenchError> {
        let until = monotonic_now() + duration;
        self.drive_until("the load goes on", |_, now| now >= until)
    }

    /// One member is killed, left behind, and caught up.
    fn round(&mut self, config: &CatchUpConfig, round: usize) -> Result<Round, BenchError> {
        self.drive_for(SETTLING_NS)?;
        let with_all = self.drive_for(config.steady_ns)?;
        let leader = self.members.await_leader()?;
        let all = self.members.members.len();
        let victim = (leader + 1 + round % (all - 1)) % all;
        self.members.kill(victim)?;
        let end = self.members.members[victim].counter(Counter::Append);
        eprintln!("lockstep: round {}: member {victim} is down", round + 1);
        self.drive_for(SETTLING_NS)?;
        let least = monotonic_now() + config.steady_ns;
        let without = self.drive_until("the others let go of their log", |members, now| {
            let starts = log_starts(members, victim);
            now >= least && starts.into_iter().all(|start| start > end)
        })?;
        let caught_up = self.catch_up(victim)?;
        let load = self.client.load();
        let latencies = |part: (Nanos, Nanos)| {
            let slots = load.and_then(|load| load.slots(SLOT_NS));
            let is_meant = |slot| is_within(slot, SLOT_NS, part);
            let merged = slots.map(|slots| slots.merged(part, is_meant));
            merged.unwrap_or_default().latencies.summary()
        };
        let latencies = [with_all, without, caught_up.during].map(latencies);
        Ok(Round {
            victim,
            down_ns: without.1 - without.0 + SETTLING_NS,
            latencies,
            caught_up,
        })
    }

    /// Starts `victim`, until it is level with the others.
    fn catch_up(&mut self, victim: usize) -> Result<CatchUp, BenchError> {
        let starts_before = self.members.members[victim].starts().len();
        let began = monotonic_now();
        self.members.restart(victim)?;
        let mut begun = None;
        let mut behind = Position::MAX;
        let what = "the member is caught up";
        let during = self.drive_until(what, |members, now| {
            let applied = members.members[victim].counter(Counter::Applied);
            if begun.is_none() {
                let starts = members.members[victim].starts();
                let after = starts.get(starts_before + 1..).unwrap_or_default();
                begun = after.iter().flatten().next().map(|at| (now, *at));
            }
            // Level with where the others were at the look before.
            let is_level = begun.is_some() && applied >= behind;
            behind = commit(members, victim);
            is_level
        })?;
        let (begun_at, snapshot) = begun.unwrap_or((during.1, 0));
        Ok(CatchUp {
            during: (began, during.1),
            snapshot_ns: begun_at - began,
            snapshot_bytes: self.length_of_snapshot(snapshot),
            log_bytes: (behind - snapshot).unsigned_abs(),
        })
    }

    /// Length of the snapshot at `position`, as any of the members has it.
    fn length_of_snapshot(&self, position: Position) -> u64 {
        let members = self.members.members.iter();
        let lengths = members.map(|member| member.length_of_snapshot(position));
        lengths.max().unwrap_or(0)
    }

    /// Waits for the last answers and compares what the members have.
    fn finish(
        mut self,
        config: &CatchUpConfig,
        cluster: &ClusterConfig,
        (rounds, notes): (Vec<Round>, Vec<String>),
    ) -> Result<CatchUpReport, BenchError> {
        self.drive_for(SETTLING_NS)?;
        let (client, members) = (&mut self.client, &mut self.members);
        client.stop();
        // The report counts what has no answer then.
        drive_until(client, ANSWERS_WITHIN_NS, |client, now| client.is_done(now));
        agreement::state_hash_while(members, |now| client.do_work(now))?;
        let commit = agreement::await_caught_up(members)?;
        let from = agreement::compare_logs(members, cluster.segment_length, commit)?;
        let mut faults = client.faults();
        if rounds.iter().any(Round::is_blank) {
            let problem = "a part of a round has no latencies: nothing was answered in it, it \
                           has no whole tenth of a second, or it came after half an hour";
            faults.push(problem.to_owned());
        }
        Ok(CatchUpReport {
            rate: config.rate,
            message_length: config.message_length,
            state_bytes: config.state_bytes,
            sync: config.sync,
            idle: config.idle,
            rounds,
            sent: client.load().map_or(0, Load::sent),
            answered: client.load().map_or(0, Load::received),
            compared: (from, commit),
            faults,
            notes,
        })
    }
}

/// Whether this slot, one of so many nanoseconds, lies wholly between these moments.
const fn is_within(slot: Nanos, length: Nanos, (from, to): (Nanos, Nanos)) -> bool {
    slot * length >= from && (slot + 1) * length <= to
}

/// Where the logs of all but `victim` start.
fn log_starts(members: &mut ProcessCluster, victim: usize) -> Vec<Position> {
    let members = members.members.iter_mut().enumerate();
    let others = members.filter(|(id, _)| *id != victim);
    others
        .map(|(_, member)| member.counter(Counter::LogStart))
        .collect()
}

/// What the others have committed.
fn commit(members: &mut ProcessCluster, victim: usize) -> Position {
    let members = members.members.iter_mut().enumerate();
    let others = members.filter(|(id, _)| *id != victim);
    let commits = others.map(|(_, member)| member.counter(Counter::Commit));
    commits.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_slots_that_lie_in_it_and_not_those_that_it_shares() {
        let part = (10 * SECOND + 1, 13 * SECOND);
        let slots = 8..16;
        let within: Vec<Nanos> = slots
            .filter(|slot| is_within(*slot, SECOND, part))
            .collect();
        assert_eq!(within, [11, 12]);
    }
}
