//! Kills members under load, the leader every second time or all at once, and the client too if
//! asked to, and proves that nothing was lost: every request answered exactly once and in order,
//! all members' logs equal byte for byte up to the commit position. All members have the same
//! timeouts; nobody is meant to lead.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock, yields")]

use std::path::PathBuf;

use lockstep_consensus::settings::config::{ClusterConfig, SyncMode};
use lockstep_consensus::settings::threading::Threading;
use lockstep_transport::agent::{Agent, IdleStrategy, Idler};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use super::agreement;
use super::bench_client::{self, BenchClient, drive_until};
use super::bench_error::BenchError;
use super::cluster_bench::{ClusterBench, check_window};
use super::failover_report::FailoverReport;
use super::outage::Outage;
use super::process_cluster::ProcessCluster;
use super::run_directory::RunDirectory;
use super::snapshot_request::{Stored, take_snapshot};
use super::victims::Victims;
use crate::histogram::LatencyHistogram;
use crate::load::{Load, LoadConfig, LoadLimit, LoadShape};

/// Load between two kills: long enough for a member to join again.
const KILL_PAUSE_NS: Nanos = 500 * MILLISECOND;

/// A cluster that gives no response for so long after a kill has failed.
const RECOVERY_TIMEOUT_NS: Nanos = 20 * SECOND;

/// Cycles of a client that take what members had sent before they were killed.
const LEFTOVER_CYCLES: usize = 1_000;

/// What `lockstep bench failover` can be told.
#[derive(Clone, Debug)]
pub struct FailoverConfig {
    /// Kills, one after the other.
    pub kills: u32,
    /// Whom they hit.
    pub victims: Victims,
    /// Whether a snapshot is taken before each.
    pub has_snapshots: bool,
    /// Whether the client is killed too, once for each, and continued by another process.
    pub has_client_restarts: bool,
    /// When the log counts as durable.
    pub sync: SyncMode,
    /// Cores: one left to the client, which is not pinned as it starts members again, then those
    /// that members are pinned to.
    pub cores: Vec<usize>,
    /// Requests in flight.
    pub window: usize,
    /// Which threads a node's agents have.
    pub threading: Threading,
    /// Bytes of a request.
    pub message_length: usize,
    /// Under which directory the run's own is made.
    pub directory: PathBuf,
    /// Whether the run's directory stays.
    pub is_kept: bool,
    /// Seed of the choice of followers.
    pub seed: u64,
}

/// Runs the scenario.
///
/// # Errors
/// When it cannot be run, or the cluster does not come back.
pub fn run(config: &FailoverConfig) -> Result<FailoverReport, BenchError> {
    let bench = ClusterBench {
        message_length: config.message_length,
        directory: config.directory.clone(),
        threading: config.threading,
        seed: config.seed,
        sync: config.sync,
        cores: config.cores.clone(),
        is_processes: true,
        trace_every: 0,
        ..ClusterBench::default()
    };
    let (bench, notes) = bench.fitted();
    bench.check()?;
    check_window(config.window)?;
    let directory = RunDirectory::create(&config.directory, config.is_kept)?;
    let cluster = bench.cluster_config()?;
    let mut members = ProcessCluster::start(&bench, &cluster, directory.path())?;
    let mut client = members.connected_client(&cluster, bench.workload())?;
    client.start(LoadConfig {
        shape: LoadShape::Closed {
            window: config.window,
        },
        warmup_ns: 0,
        limit: LoadLimit::Messages(u64::MAX),
        messages_cap: u64::MAX,
    });
    let mut run = Run {
        config,
        cluster: &cluster,
        members,
        client,
        random: Prng::new(config.seed),
        leader_kills: LatencyHistogram::default(),
        snapshots: 0,
        client_restarts: 0,
    };
    for kill in 0..config.kills {
        run.kill(kill)?;
    }
    run.finish(notes)
}

/// A run on its way.
struct Run<'a> {
    config: &'a FailoverConfig,
    cluster: &'a ClusterConfig,
    members: ProcessCluster,
    client: BenchClient,
    random: Prng,
    leader_kills: LatencyHistogram,
    snapshots: u32,
    client_restarts: u32,
}

impl Run<'_> {
    /// One kill, from the load before it until all members are level again.
    fn kill(&mut self, kill: u32) -> Result<(), BenchError> {
        drive_for(&mut self.client, KILL_PAUSE_NS);
        if self.config.has_snapshots {
            let client = &mut self.client;
            let meanwhile = |now| client.do_work(now);
            take_snapshot(&mut self.members, Stored::ByFollowers, meanwhile)?;
            self.snapshots += 1;
        }
        // By turns while all members are up, and while those that are killed are down.
        let is_client_first = kill % 2 == 1;
        if is_client_first {
            self.restart_client()?;
        }
        let leader = self.members.await_leader()?;
        if self.config.victims == Victims::All {
            let recovery = self.kill_and_restart_all(!is_client_first)?;
            self.leader_kills.record(recovery);
        } else {
            let victim = if self.config.victims == Victims::Leader || kill.is_multiple_of(2) {
                leader
            } else {
                follower(&mut self.random, leader, self.members.members.len())
            };
            let recovery = self.kill_and_restart(victim, !is_client_first)?;
            if victim == leader {
                self.leader_kills.record(recovery);
            }
        }
        let client = &mut self.client;
        agreement::await_caught_up_while(&mut self.members, |now| client.do_work(now))?;
        Ok(())
    }

    /// Kills the client, if that is asked for, and has another process go on.
    fn restart_client(&mut self) -> Result<(), BenchError> {
        if self.config.has_client_restarts {
            bench_client::restart(self.cluster, &mut self.client)?;
            self.client_restarts += 1;
        }
        Ok(())
    }

    /// Kills a member, waits for a response from the cluster as it is then, starts it again.
    /// Returns the time from the kill to that response.
    fn kill_and_restart(&mut self, victim: usize, with_client: bool) -> Result<Nanos, BenchError> {
        let mut outage = Outage::begin(&mut self.members, victim)?;
        if with_client {
            self.restart_client()?;
        }
        let mut idle = Idler::new(IdleStrategy::Yield);
        loop {
            let now = monotonic_now();
            idle.idle(self.client.do_work(now));
            if let Some(recovery) = outage.recovery(&mut self.client) {
                outage.end(&mut self.members)?;
                return Ok(recovery);
            }
            if now - outage.began_at() > RECOVERY_TIMEOUT_NS {
                let seconds = RECOVERY_TIMEOUT_NS / SECOND;
                let problem =
                    format!("no response within {seconds} s after member {victim} was killed");
                return Err(BenchError::Cluster { problem });
            }
        }
    }

    /// Kills all members at once and starts them again. Returns the time from the kill to the
    /// first response of the cluster that has come back.
    fn kill_and_restart_all(&mut self, with_client: bool) -> Result<Nanos, BenchError> {
        let began = monotonic_now();
        self.members.kill_all()?;
        // What they still had on the wire does not count.
        for _ in 0..LEFTOVER_CYCLES {
            self.client.do_work(monotonic_now());
        }
        if with_client {
            self.restart_client()?;
        }
        self.client.watch_for_response();
        for member in 0..self.members.members.len() {
            self.members.restart(member)?;
        }
        let mut idle = Idler::new(IdleStrategy::Yield);
        loop {
            let now = monotonic_now();
            idle.idle(self.client.do_work(now));
            if let Some(first) = self.client.first_response_since() {
                return Ok(first - began);
            }
            if now - began > RECOVERY_TIMEOUT_NS {
                self.members.check()?;
                let seconds = RECOVERY_TIMEOUT_NS / SECOND;
                let problem =
                    format!("no response within {seconds} s after all members were killed");
                return Err(BenchError::Cluster { problem });
            }
        }
    }

    /// Waits for the last answers and compares what the members have.
    fn finish(mut self, notes: Vec<String>) -> Result<FailoverReport, BenchError> {
        let (client, members) = (&mut self.client, &mut self.members);
        client.stop();
        drive_for(client, KILL_PAUSE_NS);
        // The report counts what has no answer then.
        drive_until(client, RECOVERY_TIMEOUT_NS, |client, now| {
            client.is_done(now)
        });
        let commit = agreement::await_caught_up(members)?;
        agreement::state_hash(members)?;
        let from = agreement::compare_logs(members, self.cluster.segment_length, commit)?;
        let starts = members.members.iter().map(|m| m.starts_from_snapshots());
        Ok(FailoverReport {
            kills: self.config.kills,
            victims: self.config.victims,
            sync: self.config.sync,
            leader_kills: self.leader_kills,
            members: members.members.len(),
            snapshots: self.snapshots,
            starts_from_snapshots: starts.sum(),
            client_restarts: self.client_restarts,
            sent: client.load().map_or(0, Load::sent),
            answered: client.load().map_or(0, Load::received),
            compared: (from, commit),
            faults: client.faults(),
            notes,
        })
    }
}

/// Any member but `leader`, each as likely as the other.
pub(super) fn follower(random: &mut Prng, leader: usize, members: usize) -> usize {
    let step = 1 + (random.next_u64() % (members as u64 - 1)) as usize;
    (leader + step) % members
}

pub(super) fn drive_for(client: &mut BenchClient, duration: Nanos) {
    drive_until(client, duration, |_, _| false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_follower_is_never_the_leader_and_each_gets_its_turn() {
        let mut random = Prng::new(7);
        for leader in 0..3 {
            let chosen: Vec<usize> = (0..50).map(|_| follower(&mut random, leader, 3)).collect();
            for member in 0..3 {
                assert_eq!(chosen.contains(&member), member != leader);
            }
        }
    }
}
