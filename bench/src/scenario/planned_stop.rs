//! Members that are told to stop under load, as for an upgrade: each ends cleanly, the leader
//! after it has handed over, and is started again. What clients notice of that is the longest time
//! without an answer around each stop.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock")]

use core::fmt::{self, Display, Formatter};

use lockstep_transport::agent::{Agent, IdleStrategy, Idler};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::named_setting;
use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use super::agreement;
use super::bench_client::BenchClient;
use super::bench_error::BenchError;
use super::cluster_bench::{ClusterBench, check_window};
use super::failover::{FailoverConfig, drive_for, follower};
use super::process_cluster::ProcessCluster;
use super::run_directory::RunDirectory;
use super::victims::Victims;
use crate::histogram::LatencyHistogram;
use crate::load::{Load, LoadConfig, LoadLimit, LoadShape};

/// Load between two stops: long enough for a member to join again.
const STOP_PAUSE_NS: Nanos = 500 * MILLISECOND;

/// What a stop costs has shown so long after it: two election timeouts, and more.
const AFTERMATH_NS: Nanos = SECOND + SECOND / 2;

/// A member that has not ended so long after it was told to has failed.
const STOP_TIMEOUT_NS: Nanos = 20 * SECOND;

/// A planned stop of a leader may cost so long without an answer.
const PAUSE_MAX_NS: u64 = 50 * MILLISECOND as u64;

/// How members are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// As by a crash (SIGKILL).
    Kill,
    /// They are told to stop (SIGTERM).
    Term,
}

named_setting!(StopSignal {
    Kill => "KILL",
    Term => "TERM",
});

/// What came out.
#[derive(Clone, Debug)]
pub struct PlannedStopReport {
    stops: u32,
    /// Longest time without an answer around each stop of a leader, and of a follower.
    leaders: LatencyHistogram,
    followers: LatencyHistogram,
    sent: u64,
    answered: u64,
    faults: Vec<String>,
    notes: Vec<String>,
}

impl PlannedStopReport {
    /// Whether no client saw an error, and no stop of a leader cost more than it may.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is_quick = self.leaders.summary().p99 <= PAUSE_MAX_NS;
        self.faults.is_empty() && self.sent == self.answered && self.sent > 0 && is_quick
    }
}

impl Display for PlannedStopReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| ns as f64 / MILLISECOND as f64;
        writeln!(
            f,
            "{} members told to stop under load (SIGTERM)",
            self.stops
        )?;
        let lines = [
            ("pause ms", &self.leaders),
            ("of followers, ms", &self.followers),
        ];
        for (name, pauses) in lines {
            let pauses = pauses.summary();
            if pauses.count > 0 {
                writeln!(
                    f,
                    "{name}: {} stops  min {:.1}  p50 {:.1}  p99 {:.1}  max {:.1}",
                    pauses.count,
                    ms(pauses.min),
                    ms(pauses.p50),
                    ms(pauses.p99),
                    ms(pauses.max)
                )?;
            }
        }
        writeln!(
            f,
            "{} requests sent, {} answered; client errors {}",
            self.sent,
            self.answered,
            self.faults.len()
        )?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for fault in &self.faults {
            writeln!(f, "ERROR: {fault}")?;
        }
        let verdict = if self.is_good() { "good" } else { "NOT GOOD" };
        let most = PAUSE_MAX_NS / MILLISECOND as u64;
        writeln!(
            f,
            "verdict: {verdict} (p99 of leaders' stops at most {most} ms, no client error)"
        )
    }
}

/// Runs the scenario.
///
/// # Errors
/// When it cannot be run, a member does not end, or the cluster does not come back.
pub fn run(config: &FailoverConfig) -> Result<PlannedStopReport, BenchError> {
    if config.victims == Victims::All {
        let problem = "members that are all told to stop have nobody to hand over to: leave out \
                       --kill all, or --signal TERM"
            .to_owned();
        return Err(BenchError::Cluster { problem });
    }
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
    let (mut leaders, mut followers) = <(LatencyHistogram, LatencyHistogram)>::default();
    for stop in 0..config.kills {
        drive_for(&mut client, STOP_PAUSE_NS);
        let leader = members.await_leader()?;
        let is_leader = config.victims == Victims::Leader || stop % 2 == 0;
        let (victim, pauses) = if is_leader {
            (leader, &mut leaders)
        } else {
            let follower = follower(&mut random, leader, members.members.len());
            (follower, &mut followers)
        };
        pauses.record(stop_and_restart(&mut client, &mut members, victim)?);
        agreement::await_caught_up_while(&mut members, |now| client.do_work(now))?;
    }
    client.stop();
    let started = monotonic_now();
    while !client.is_done(monotonic_now()) && monotonic_now() - started < STOP_TIMEOUT_NS {
        drive_for(&mut client, STOP_PAUSE_NS);
    }
    Ok(PlannedStopReport {
        stops: config.kills,
        leaders,
        followers,
        sent: client.load().map_or(0, Load::sent),
        answered: client.load().map_or(0, Load::received),
        faults: client.faults(),
        notes,
    })
}

/// Tells a member to stop, and starts it again once it has ended. Returns the longest time without
/// an answer from then until long after.
fn stop_and_restart(
    client: &mut BenchClient,
    members: &mut ProcessCluster,
    victim: usize,
) -> Result<Nanos, BenchError> {
    let mut idle = Idler::new(IdleStrategy::Yield);
    let began = monotonic_now();
    let (mut answered, mut since, mut longest) = (client.responses(), began, 0);
    let what = format!("failed to tell member {victim} to stop");
    members.members[victim]
        .tell_to_stop()
        .map_err(BenchError::io(what))?;
    let mut has_ended = false;
    loop {
        let now = monotonic_now();
        idle.idle(client.do_work(now));
        longest = longest.max(now - since);
        if client.responses() > answered {
            (answered, since) = (client.responses(), now);
        }
        if !has_ended && let Some(status) = members.members[victim].status() {
            if !status.success() {
                let problem = format!("member {victim}, told to stop, ended with {status}");
                return Err(BenchError::Cluster { problem });
            }
            has_ended = true;
        }
        if has_ended && now - began > AFTERMATH_NS {
            members.restart(victim)?;
            return Ok(longest);
        }
        if now - began > STOP_TIMEOUT_NS {
            let seconds = STOP_TIMEOUT_NS / SECOND;
            let problem = format!("member {victim} has not ended within {seconds} s");
            return Err(BenchError::Cluster { problem });
        }
    }
}
