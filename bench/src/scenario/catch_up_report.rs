//! What it has cost the clients that a member was caught up.

use std::fmt::{self, Display, Formatter};

use lockstep_consensus::settings::config::SyncMode;
use lockstep_transport::agent::IdleStrategy;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MICROSECOND, Nanos};
use serde_json::{Value, json};

use crate::histogram::LatencySummary;
use crate::report_words::{mebibytes, seconds, write_end};

/// How much slower answers may be at the middle, and at nine tenths, while a member is caught up.
const SLOWER_MAX: f64 = 1.10;

/// The parts of a round whose latencies are compared, in their order.
const PARTS: [&str; 3] = ["all members up", "one down", "it is caught up"];
const KEYS: [&str; 3] = ["all_up", "one_down", "caught_up"];

/// A member that was brought level with the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CatchUp {
    /// From its start to when it was level.
    pub(super) during: (Nanos, Nanos),
    /// Until it had fetched a snapshot, and begun from it.
    pub(super) snapshot_ns: Nanos,
    /// Length of that.
    pub(super) snapshot_bytes: u64,
    /// Log that it got after that.
    pub(super) log_bytes: u64,
}

impl CatchUp {
    fn took_ns(&self) -> Nanos {
        self.during.1 - self.during.0
    }

    fn bytes_per_s(&self) -> f64 {
        per_second(self.snapshot_bytes + self.log_bytes, self.took_ns())
    }
}

/// A member was killed, left behind, and caught up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Which.
    pub(super) victim: usize,
    /// How long it was down.
    pub(super) down_ns: Nanos,
    /// Of the requests that were under way in each part.
    pub(super) latencies: [LatencySummary; PARTS.len()],
    pub(super) caught_up: CatchUp,
}

impl Round {
    /// Whether one of its parts has nothing to compare.
    pub(super) fn is_blank(&self) -> bool {
        self.latencies.iter().any(|part| part.count == 0)
    }

    /// The last part as a multiple of an earlier one.
    fn ratio(&self, earlier: usize, of: impl Fn(&LatencySummary) -> u64) -> f64 {
        let [last, earlier] = [PARTS.len() - 1, earlier].map(|part| of(&self.latencies[part]));
        last as f64 / earlier.max(1) as f64
    }

    fn to_json(self) -> Value {
        let mut object = json!({
            "member": self.victim, "down_ns": self.down_ns,
            "caught_up_ns": self.caught_up.took_ns(),
            "snapshot_ns": self.caught_up.snapshot_ns,
            "snapshot_bytes": self.caught_up.snapshot_bytes,
            "log_bytes": self.caught_up.log_bytes,
            "bytes_per_s": self.caught_up.bytes_per_s(),
        });
        for (key, latencies) in KEYS.iter().zip(&self.latencies) {
            object[*key] = latencies.to_json();
        }
        object
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct CatchUpReport {
    pub(super) rate: f64,
    pub(super) message_length: usize,
    pub(super) state_bytes: u64,
    pub(super) sync: SyncMode,
    pub(super) idle: IdleStrategy,
    pub(super) rounds: Vec<Round>,
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// From where to where the logs were compared.
    pub(super) compared: (Position, Position),
    pub(super) faults: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// The last part as a multiple of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ratios {
    p50: f64,
    p90: f64,
    p99: f64,
}

impl Ratios {
    fn to_json(self) -> Value {
        json!({ "p50": self.p50, "p90": self.p90, "p99": self.p99 })
    }
}

impl CatchUpReport {
    /// Medians over the rounds.
    fn ratios_to(&self, earlier: usize) -> Ratios {
        let over = |of: fn(&LatencySummary) -> u64| {
            let rounds = self.rounds.iter();
            median(rounds.map(|round| round.ratio(earlier, of)).collect())
        };
        Ratios {
            p50: over(|summary| summary.p50),
            p90: over(|summary| summary.p90),
            p99: over(|summary| summary.p99),
        }
    }

    fn is_unnoticed(&self) -> bool {
        let Ratios { p50, p90, .. } = self.ratios_to(1);
        p50 <= SLOWER_MAX && p90 <= SLOWER_MAX
    }

    fn is_exact(&self) -> bool {
        self.faults.is_empty() && self.sent == self.answered && self.sent > 0
    }

    /// Whether clients had all their answers, and none noticed that a member was caught up.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_exact() && self.is_unnoticed()
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rounds: Vec<Value> = self.rounds.iter().map(|round| round.to_json()).collect();
        json!({
            "rate": self.rate, "message_length": self.message_length,
            "state_bytes": self.state_bytes, "sync": self.sync.name(), "idle": self.idle.name(),
            "rounds": rounds, "ratios_to_one_down": self.ratios_to(1).to_json(),
            "ratios_to_all_up": self.ratios_to(0).to_json(),
            "sent": self.sent, "received": self.answered,
            "is_good": self.is_good(), "errors": self.faults, "notes": self.notes,
        })
    }
}

/// The middle one, or the lower of two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(f64::NAN)
}

fn per_second(bytes: u64, ns: Nanos) -> f64 {
    bytes as f64 / seconds(ns.max(1))
}

impl Display for Round {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let CatchUp {
            snapshot_ns,
            snapshot_bytes,
            log_bytes,
            ..
        } = self.caught_up;
        writeln!(
            f,
            "member {} down for {:.1} s; started -> begun from a snapshot of {:.1} MiB in {:.2} s, \
             level after {:.1} MiB of log in {:.2} s: {:.1} MiB/s",
            self.victim,
            seconds(self.down_ns),
            mebibytes(snapshot_bytes),
            seconds(snapshot_ns),
            mebibytes(log_bytes),
            seconds(self.caught_up.took_ns()),
            self.caught_up.bytes_per_s() / f64::from(1 << 20),
        )?;
        let us = |ns: u64| ns as f64 / MICROSECOND as f64;
        for (part, latencies) in PARTS.iter().zip(&self.latencies) {
            writeln!(
                f,
                "  {part:<16} latency us: p50 {:>8.1}  p90 {:>8.1}  p99 {:>9.1}  of {}",
                us(latencies.p50),
                us(latencies.p90),
                us(latencies.p99),
                latencies.count
            )?;
        }
        Ok(())
    }
}

impl Display for CatchUpReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "three members under {:.0} requests of {} bytes per second, state of {:.0} MiB each; \
             sync {}, idle {}",
            self.rate,
            self.message_length,
            mebibytes(self.state_bytes),
            self.sync.name(),
            self.idle.name()
        )?;
        for round in &self.rounds {
            write!(f, "{round}")?;
        }
        for (earlier, words) in [(1, "the time in which it was down"), (0, "all members up")] {
            let Ratios { p50, p90, p99 } = self.ratios_to(earlier);
            writeln!(
                f,
                "while it is caught up, as a multiple of {words}: p50 {p50:.2}  p90 {p90:.2}  p99 \
                 {p99:.2}"
            )?;
        }
        let within = if self.is_unnoticed() { "" } else { "NOT " };
        let percent = 100.0 * (SLOWER_MAX - 1.0);
        writeln!(
            f,
            "p50 and p90 are {within}within {percent:.0} % of those of the time in which it was \
             down, median of {} rounds",
            self.rounds.len()
        )?;
        let once = if self.is_exact() { "" } else { "NOT " };
        let (from, commit) = self.compared;
        writeln!(
            f,
            "{} requests sent, {} answered, {once}exactly once and in order\nlogs of all members \
             equal byte for byte from {from}, where the last of them starts, up to commit position \
             {commit}",
            self.sent, self.answered
        )?;
        write_end(f, &self.notes, &self.faults)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::time::SECOND;

    use super::*;

    fn round(p50: [u64; 3], p90: [u64; 3]) -> Round {
        let summary = |part: usize| LatencySummary {
            p50: p50[part],
            p90: p90[part],
            p99: p90[part],
            count: 1,
            ..LatencySummary::default()
        };
        Round {
            victim: 1,
            down_ns: SECOND,
            latencies: [0, 1, 2].map(summary),
            caught_up: CatchUp {
                during: (SECOND, 3 * SECOND),
                snapshot_ns: SECOND,
                snapshot_bytes: 3 << 20,
                log_bytes: 1 << 20,
            },
        }
    }

    fn report(rounds: Vec<Round>) -> CatchUpReport {
        CatchUpReport {
            rate: 2e3,
            message_length: 288,
            state_bytes: 1 << 20,
            sync: SyncMode::Data,
            idle: IdleStrategy::Yield,
            rounds,
            sent: 7,
            answered: 7,
            compared: (1, 2),
            faults: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_middle_round_decides() {
        let (same, slow) = (
            round([90, 100, 105], [90, 100, 110]),
            round([1, 1, 3], [1, 1, 3]),
        );
        let good = report(vec![same, slow, same]);
        assert!(good.is_good(), "{good}");
        assert!(good.to_string().contains("p50 1.05  p90 1.10"), "{good}");
        assert!(good.to_string().contains(": 2.0 MiB/s"), "{good}");
        assert!(!report(vec![slow, same, slow]).is_good());
        // Beside the other part it is only told.
        assert!(
            good.to_string().contains("all members up: p50 1.17"),
            "{good}"
        );
        assert!(!report(vec![round([1, 100, 100], [1, 100, 111])]).is_good());
    }

    #[test]
    fn a_missing_answer_is_never_good() {
        let mut report = report(vec![round([1, 1, 1], [1, 1, 1])]);
        assert!(report.is_good());
        report.answered -= 1;
        assert!(!report.is_good() && report.to_string().contains("NOT exactly once"));
    }

    #[test]
    fn without_a_round_or_answers_nothing_is_shown() {
        assert!(!report(Vec::new()).is_good());
        let mut blank = round([1, 1, 1], [1, 1, 1]);
        assert!(!blank.is_blank());
        blank.latencies[2].count = 0;
        assert!(blank.is_blank());
    }
}
