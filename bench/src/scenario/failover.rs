//! Kills members under load, the leader every second time or all at once, and proves that nothing
//! was lost:
//! every request answered exactly once and in order, all members' logs equal byte for byte up
//! to the commit position. All members have the same timeouts; nobody is meant to lead.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock, yields")]

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::settings::threading::Threading;
use lockstep_transport::agent::{Agent, IdleStrategy, Idler};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::named_setting;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use super::agreement;
use super::bench_client::BenchClient;
use super::bench_error::BenchError;
use super::cluster_bench::{ClusterBench, check_window};
use super::outage::Outage;
use super::process_cluster::ProcessCluster;
use super::run_directory::RunDirectory;
use crate::histogram::LatencyHistogram;
use crate::load::{Load, LoadConfig, LoadLimit, LoadShape};

/// Load between two kills: long enough for a member to join again.
const KILL_PAUSE_NS: Nanos = 500 * MILLISECOND;

/// A cluster that gives no response for so long after a kill has failed.
const RECOVERY_TIMEOUT_NS: Nanos = 20 * SECOND;

/// Cycles of a client that take what members had sent before they were killed.
const LEFTOVER_CYCLES: usize = 1_000;

/// Whom a kill hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Victims {
    /// The leader and any follower by turns.
    #[default]
    ByTurns,
    /// The leader.
    Leader,
    /// All members at once.
    All,
}

named_setting!(Victims {
    ByTurns => "by-turns",
    Leader => "leader",
    All => "all",
});

/// What `lockstep bench failover` can be told.
#[derive(Clone, Debug)]
pub struct FailoverConfig {
    /// Kills, one after the other.
    pub kills: u32,
    /// Whom they hit.
    pub victims: Victims,
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

/// What came out.
#[derive(Clone, Debug)]
pub struct FailoverReport {
    kills: u32,
    victims: Victims,
    sync: SyncMode,
    leader_kills: LatencyHistogram,
    members: usize,
    sent: u64,
    answered: u64,
    commit: i64,
    faults: Vec<String>,
    notes: Vec<String>,
}

impl FailoverReport {
    /// Whether nothing was lost, repeated or reordered.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.sent == self.answered && self.sent > 0
    }

    /// Said where it is not the default.
    const fn sync_words(&self) -> &'static str {
        match (self.victims, self.sync) {
            (Victims::All, SyncMode::Data) => " at once under load",
            (Victims::All, SyncMode::None) => " at once under load, sync none",
            (_, SyncMode::Data) => "",
            (_, SyncMode::None) => ", sync none",
        }
    }
}

impl Display for FailoverReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let leaders = self.leader_kills.summary();
        let ms = |ns: u64| ns as f64 / MILLISECOND as f64;
        let kills = u64::from(self.kills);
        match self.victims {
            Victims::All => write!(f, "{kills} kills of all {} members", self.members)?,
            Victims::ByTurns | Victims::Leader => write!(
                f,
                "{kills} kills under load: {} of leaders, {} of followers",
                leaders.count,
                kills - leaders.count
            )?,
        }
        writeln!(f, "{}", self.sync_words())?;
        if leaders.count > 0 {
            let whom = match self.victims {
                Victims::All => "all killed and started again",
                Victims::ByTurns | Victims::Leader => "leader killed",
            };
            writeln!(
                f,
                "{whom} -> first new response, ms: min {:.1}  p50 {:.1}  p99 {:.1}  max {:.1}",
                ms(leaders.min),
                ms(leaders.p50),
                ms(leaders.p99),
                ms(leaders.max)
            )?;
        }
        let once = if self.is_good() {
            "exactly once"
        } else {
            "NOT exactly once"
        };
        writeln!(
            f,
            "{} requests sent, {} answered, {once} and in order",
            self.sent, self.answered
        )?;
        writeln!(
            f,
            "logs of all {} members equal byte for byte up to commit position {}",
            self.members, self.commit
        )?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for fault in &self.faults {
            writeln!(f, "ERROR: {fault}")?;
        }
        Ok(())
    }
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
    let mut random = Prng::new(config.seed);
    let mut leader_kills = LatencyHistogram::default();
    for kill in 0..config.kills {
        drive_for(&mut client, KILL_PAUSE_NS);
        let leader = members.await_leader()?;
        if config.victims == Victims::All {
            leader_kills.record(kill_and_restart_all(&mut client, &mut members)?);
        } else {
            let victim = if config.victims == Victims::Leader || kill % 2 == 0 {
                leader
            } else {
                follower(&mut random, leader, members.members.len())
            };
            let recovery = kill_and_restart(&mut client, &mut members, victim)?;
            if victim == leader {
                leader_kills.record(recovery);
            }
        }
        agreement::await_caught_up_while(&mut members, |now| client.do_work(now))?;
    }
    client.stop();
    drive_for(&mut client, KILL_PAUSE_NS);
    let started = monotonic_now();
    while !client.is_done(monotonic_now()) && monotonic_now() - started < RECOVERY_TIMEOUT_NS {
        drive_for(&mut client, KILL_PAUSE_NS);
    }
    let commit = agreement::await_caught_up(&mut members)?;
    agreement::state_hash(&mut members)?;
    let directories: Vec<&Path> = members.members.iter().map(|m| m.directory()).collect();
    agreement::compare_logs(&directories, cluster.segment_length, commit)?;
    Ok(FailoverReport {
        kills: config.kills,
        victims: config.victims,
        sync: config.sync,
        leader_kills,
        members: directories.len(),
        sent: client.load().map_or(0, Load::sent),
        answered: client.load().map_or(0, Load::received),
        commit,
        faults: client.faults(),
        notes,
    })
}

/// Any member but `leader`, each as likely as the other.
fn follower(random: &mut Prng, leader: usize, members: usize) -> usize {
    let step = 1 + (random.next_u64() % (members as u64 - 1)) as usize;
    (leader + step) % members
}

fn drive_for(client: &mut BenchClient, duration: Nanos) {
    let mut idle = Idler::new(IdleStrategy::Yield);
    let until = monotonic_now() + duration;
    loop {
        let now = monotonic_now();
        if now >= until {
            return;
        }
        idle.idle(client.do_work(now));
    }
}

/// Kills a member, waits for a response from the cluster as it is then, starts it again.
/// Returns the time from the kill to that response.
fn kill_and_restart(
    client: &mut BenchClient,
    members: &mut ProcessCluster,
    victim: usize,
) -> Result<Nanos, BenchError> {
    let mut outage = Outage::begin(members, victim)?;
    let mut idle = Idler::new(IdleStrategy::Yield);
    loop {
        let now = monotonic_now();
        idle.idle(client.do_work(now));
        if let Some(recovery) = outage.recovery(client) {
            outage.end(members)?;
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

/// Kills all members at once and starts them again. Returns the time from the kill to the first
/// response of the cluster that has come back.
fn kill_and_restart_all(
    client: &mut BenchClient,
    members: &mut ProcessCluster,
) -> Result<Nanos, BenchError> {
    let began = monotonic_now();
    members.kill_all()?;
    // What they still had on the wire does not count.
    for _ in 0..LEFTOVER_CYCLES {
        client.do_work(monotonic_now());
    }
    client.watch_for_response();
    for member in 0..members.members.len() {
        members.restart(member)?;
    }
    let mut idle = Idler::new(IdleStrategy::Yield);
    loop {
        let now = monotonic_now();
        idle.idle(client.do_work(now));
        if let Some(first) = client.first_response_since() {
            return Ok(first - began);
        }
        if now - began > RECOVERY_TIMEOUT_NS {
            members.check()?;
            let seconds = RECOVERY_TIMEOUT_NS / SECOND;
            let problem = format!("no response within {seconds} s after all members were killed");
            return Err(BenchError::Cluster { problem });
        }
    }
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
