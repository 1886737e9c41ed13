//! What a run found, as a table for people and as the JSON object of `performance.md` 6.

use std::fmt::{self, Display, Formatter};

use serde_json::{Map, Value, json};

use crate::budget::{Budget, StepBudget};
use crate::environment::Environment;
use crate::floor::FloorResult;
use crate::histogram::LatencySummary;
use crate::member_summary::{CycleTimes, MemberSummary, THREADS};
use crate::snapshot_figures::{SnapshotFigures, SnapshotLines, fewest};

/// The floor beside a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloorReport {
    /// Median of the floor, ns.
    pub p50_ns: u64,
    /// Its 99th percentile, ns.
    pub p99_ns: u64,
    /// Median round trip of two bare sockets, ns.
    pub udp_rtt_ns: u64,
    /// Median durable 4 KiB write, ns; 0 when not durable.
    pub write_sync_ns: u64,
}

impl FloorReport {
    /// The smaller of two measurements, just before and just after the run.
    #[must_use]
    pub(crate) fn smaller_of(before: &FloorResult, after: &FloorResult) -> Self {
        let (one, two) = (before.latencies.summary(), after.latencies.summary());
        Self {
            p50_ns: one.p50.min(two.p50),
            p99_ns: one.p99.min(two.p99),
            udp_rtt_ns: before.udp_rtt_ns.min(after.udp_rtt_ns),
            write_sync_ns: before.write_sync_ns.min(after.write_sync_ns),
        }
    }

    fn ratio(part: u64, floor: u64) -> f64 {
        part as f64 / floor.max(1) as f64
    }

    fn to_json(self, latency: &LatencySummary) -> Value {
        json!({
            "p50_ns": self.p50_ns, "p99_ns": self.p99_ns,
            "udp_rtt_ns": self.udp_rtt_ns, "write_sync_ns": self.write_sync_ns,
            "ratio_p50": Self::ratio(latency.p50, self.p50_ns),
            "ratio_p99": Self::ratio(latency.p99, self.p99_ns),
        })
    }
}

/// Everything a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// One line that names the scenario and every relaxation.
    pub title: String,
    /// What a reader must know besides.
    pub notes: Vec<String>,
    /// The effective configuration.
    pub config: Map<String, Value>,
    /// Where it ran.
    pub environment: Environment,
    /// Measured answers per second.
    pub throughput_per_s: f64,
    /// Requests sent, warm-up included.
    pub sent: u64,
    /// Requests answered, warm-up included.
    pub received: u64,
    /// What went wrong, in words; empty for a good run.
    pub errors: Vec<String>,
    /// The members at the end.
    pub members: Vec<MemberSummary>,
    /// Most bytes that each may have on its disk.
    pub disk_budget_bytes: u64,
    /// What their snapshots cost.
    pub snapshots: SnapshotFigures,
    /// Latency of the measured requests.
    pub latency: LatencySummary,
    /// Where the time went, when tracing was on.
    pub budget: Option<Budget>,
    /// Heap allocations of all nodes and the client per measured message.
    pub allocations_per_message: Option<f64>,
    /// System calls of all ports per measured message.
    pub syscalls_per_message: Option<f64>,
    /// The floor, for closed loops.
    pub floor: Option<FloorReport>,
}

impl Report {
    /// Whether every message came back right.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.errors.is_empty() && self.sent == self.received
    }

    /// The JSON object of `performance.md` 6.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let budget = self.budget.as_ref();
        let members = self.members.iter().map(MemberSummary::to_json);
        let pauses = self.members.iter().map(|member| member.snapshot_pause_ns);
        let mut environment = self.environment.to_json();
        environment["members"] = Value::Array(members.collect());
        environment["notes"] = json!(self.notes);
        json!({
            "config": self.config,
            "environment": environment,
            "throughput_per_s": self.throughput_per_s,
            "sent": self.sent,
            "received": self.received,
            "errors": self.errors,
            "latency_ns": self.latency.to_json(),
            "steps": budget.map(steps_json),
            "phases": budget.map(phases_json),
            "allocations_per_message": self.allocations_per_message,
            "syscalls_per_message": self.syscalls_per_message,
            "snapshots": fewest(&self.members, |member| member.snapshots.all()),
            "trims": fewest(&self.members, |member| member.trims),
            "snapshot_pause_ns": pauses.max().unwrap_or(0),
            "snapshot_figures": self.snapshots.to_json(),
            "floor": self.floor.map(|floor| floor.to_json(&self.latency)),
        })
    }
}

fn steps_json(budget: &Budget) -> Value {
    let steps = budget.steps.iter().map(|step| {
        let mut object = step.durations.summary().to_json();
        object["critical"] = json!(step.is_critical);
        object["middle_mean"] = json!(step.middle_mean);
        object["slowest_mean"] = json!(step.slowest_mean);
        (step.point.name().to_owned(), object)
    });
    Value::Object(steps.collect())
}

fn phases_json(budget: &Budget) -> Value {
    let phases = budget.phases.iter().map(|phase| {
        let mut object = phase.durations.summary().to_json();
        object["middle_mean"] = json!(phase.middle_mean);
        object["slowest_mean"] = json!(phase.slowest_mean);
        (phase.name.to_owned(), object)
    });
    let mut total = budget.total.summary().to_json();
    total["middle_mean"] = json!(budget.middle_mean);
    total["slowest_mean"] = json!(budget.slowest_mean);
    total["incomplete"] = json!(budget.incomplete);
    Value::Object(phases.chain([("total".to_owned(), total)]).collect())
}

/// Nanoseconds as microseconds with the digits that matter.
fn micros(ns: f64) -> String {
    let us = ns / 1_000.0;
    match us {
        us if us < 100.0 => format!("{us:.2}"),
        us if us < 10_000.0 => format!("{us:.1}"),
        us => format!("{us:.0}"),
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        let environment = &self.environment;
        writeln!(
            f,
            "  on {}, {} cores, kernel {}, {}",
            environment.cpu, environment.cores, environment.kernel, environment.file_system,
        )?;
        if !environment.io_backend.is_empty() {
            writeln!(f, "  {}", environment.io_backend)?;
        }
        writeln!(
            f,
            "  sent {}, answered {}, {:.0} messages/s",
            self.sent, self.received, self.throughput_per_s
        )?;
        for (id, member) in self.members.iter().enumerate().filter(|(_, m)| m.is_leader) {
            let (term, commit) = (member.term, member.commit);
            writeln!(
                f,
                "  leader: member {id} in term {term}, committed to {commit}"
            )?;
        }
        write_cycles(f, &self.members)?;
        let (figures, members) = (&self.snapshots, &self.members[..]);
        let budget_bytes = self.disk_budget_bytes;
        let snapshots = SnapshotLines {
            figures,
            members,
            budget_bytes,
        };
        write!(f, "{snapshots}")?;
        let sum = |of: fn(&MemberSummary) -> i64| self.members.iter().map(of).sum::<i64>();
        let (waited, left) = (sum(|m| m.answers_waited), sum(|m| m.answers_unverified));
        if waited + left > 0 {
            writeln!(
                f,
                "  answers that waited for another member's output: {waited}, that left without a \
                 majority's: {left}"
            )?;
        }
        let latency = &self.latency;
        write_latency(f, latency)?;
        if let Some(floor) = &self.floor {
            write_floor(f, floor, latency)?;
        }
        if let Some(allocations) = self.allocations_per_message {
            writeln!(f, "  heap allocations per message: {allocations:.4}")?;
        }
        if let Some(calls) = self.syscalls_per_message {
            writeln!(
                f,
                "  system calls of all ports per message, idle polls included: {calls:.1}"
            )?;
        }
        if let Some(budget) = &self.budget {
            write_budget(f, budget, self.received)?;
        }
        for error in &self.errors {
            writeln!(f, "  ERROR: {error}")?;
        }
        Ok(())
    }
}

fn write_latency(f: &mut Formatter<'_>, latency: &LatencySummary) -> fmt::Result {
    writeln!(
        f,
        "  latency us: min {}  p50 {}  p90 {}  p99 {}  p99.9 {}  max {}  ({} measured)",
        micros(latency.min as f64),
        micros(latency.p50 as f64),
        micros(latency.p90 as f64),
        micros(latency.p99 as f64),
        micros(latency.p999 as f64),
        micros(latency.max as f64),
        latency.count
    )
}

fn write_cycles(f: &mut Formatter<'_>, members: &[MemberSummary]) -> fmt::Result {
    let words = |of: &dyn Fn(&MemberSummary) -> CycleTimes| {
        let word = |member: &MemberSummary| {
            let CycleTimes { mean_ns, max_ns } = of(member);
            format!("{} / {}", micros(mean_ns as f64), micros(max_ns as f64))
        };
        let words: Vec<String> = members.iter().map(word).collect();
        words.join(", ")
    };
    if members.is_empty() {
        return Ok(());
    }
    let own = words(&|member| member.cycles);
    writeln!(
        f,
        "  duty cycles with work us, mean / longest by member: {own}"
    )?;
    for (thread, first) in THREADS.into_iter().enumerate() {
        let of = |member: &MemberSummary| member.thread_cycles[thread];
        if members.iter().any(|member| of(member).max_ns > 0) {
            writeln!(
                f,
                "    those of the {} thread: {}",
                first.name(),
                words(&of)
            )?;
        }
    }
    Ok(())
}

fn write_floor(
    f: &mut Formatter<'_>,
    floor: &FloorReport,
    latency: &LatencySummary,
) -> fmt::Result {
    writeln!(
        f,
        "  floor us: p50 {}  p99 {}  => {:.2} x floor at p50, {:.2} x at p99",
        micros(floor.p50_ns as f64),
        micros(floor.p99_ns as f64),
        FloorReport::ratio(latency.p50, floor.p50_ns),
        FloorReport::ratio(latency.p99, floor.p99_ns)
    )?;
    write!(
        f,
        "    bare udp round trip {}",
        micros(floor.udp_rtt_ns as f64)
    )?;
    if floor.write_sync_ns > 0 {
        let write = micros(floor.write_sync_ns as f64);
        write!(f, ", one durable 4 KiB write {write}")?;
    }
    writeln!(f)
}

fn write_budget(f: &mut Formatter<'_>, budget: &Budget, received: u64) -> fmt::Result {
    writeln!(
        f,
        "\n  latency budget of {} of the {received} messages ({} traced incompletely), us;\n  \
         middle = mean over p45-p55, slowest = mean over the slowest 1 %,\n  \
         ~ runs beside the path and is not added",
        budget.messages, budget.incomplete
    )?;
    let columns = ["p50", "p99", "middle", "share", "slowest"];
    write!(f, "  {:>2} {:<24}", "#", "step")?;
    for column in columns {
        write!(f, " {column:>9}")?;
    }
    writeln!(f)?;
    for (step, line) in budget.steps.iter().enumerate() {
        write_step(f, step, line, budget.middle_mean)?;
    }
    for phase in &budget.phases {
        let share = share(phase.middle_mean, budget.middle_mean);
        write_line(
            f,
            "  ",
            phase.name,
            &[
                phase.durations.quantile(0.5) as f64,
                phase.durations.quantile(0.99) as f64,
                phase.middle_mean,
                phase.slowest_mean,
            ],
            &share,
        )?;
    }
    let share = share(budget.middle_mean, budget.middle_mean);
    write_line(
        f,
        "  ",
        "total (sum of the steps)",
        &[
            budget.total.quantile(0.5) as f64,
            budget.total.quantile(0.99) as f64,
            budget.middle_mean,
            budget.slowest_mean,
        ],
        &share,
    )
}

fn share(part: f64, whole: f64) -> String {
    if whole <= 0.0 {
        return "-".to_owned();
    }
    format!("{:.1} %", 100.0 * part / whole)
}

fn write_step(f: &mut Formatter<'_>, step: usize, line: &StepBudget, total: f64) -> fmt::Result {
    let number = format!("{:>2}", step + 1);
    if line.durations.count() == 0 {
        return writeln!(f, "  {number} {:<24} {:>9}", line.point.name(), "-");
    }
    let share = if line.is_critical {
        share(line.middle_mean, total)
    } else {
        "~".to_owned()
    };
    let values = [
        line.durations.quantile(0.5) as f64,
        line.durations.quantile(0.99) as f64,
        line.middle_mean,
        line.slowest_mean,
    ];
    write_line(f, &number, line.point.name(), &values, &share)
}

fn write_line(
    f: &mut Formatter<'_>,
    number: &str,
    name: &str,
    values: &[f64; 4],
    share: &str,
) -> fmt::Result {
    let [p50, p99, middle, slowest] = values.map(micros);
    writeln!(
        f,
        "  {number} {name:<24} {p50:>9} {p99:>9} {middle:>9} {share:>9} {slowest:>9}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            title: "cluster, three nodes".to_owned(),
            notes: Vec::new(),
            config: Map::new(),
            environment: Environment::read(std::path::Path::new("/")),
            throughput_per_s: 1_000.0,
            sent: 10,
            received: 10,
            errors: Vec::new(),
            members: Vec::new(),
            disk_budget_bytes: 1 << 30,
            snapshots: SnapshotFigures::default(),
            latency: LatencySummary {
                p50: 30_000,
                p99: 60_000,
                ..LatencySummary::default()
            },
            budget: Some(crate::budget::budget(&[])),
            allocations_per_message: Some(0.0),
            syscalls_per_message: Some(12.5),
            floor: Some(FloorReport {
                p50_ns: 15_000,
                p99_ns: 20_000,
                udp_rtt_ns: 4_000,
                write_sync_ns: 0,
            }),
        }
    }

    #[test]
    fn the_json_object_has_every_promised_key_and_no_other() {
        let json = report().to_json();
        for key in [
            "config",
            "environment",
            "throughput_per_s",
            "sent",
            "received",
            "errors",
            "latency_ns",
            "steps",
            "phases",
            "allocations_per_message",
            "syscalls_per_message",
            "snapshots",
            "trims",
            "snapshot_pause_ns",
            "snapshot_figures",
            "floor",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json.as_object().map(Map::len), Some(16));
        assert_eq!(json["steps"].as_object().map(Map::len), Some(24));
        assert_eq!(json["floor"]["ratio_p50"], 2.0);
        assert_eq!(json["floor"]["ratio_p99"], 3.0);
        assert_eq!(json["latency_ns"]["p50"], 30_000);
    }

    #[test]
    fn a_run_that_lost_a_message_is_not_good() {
        let mut report = report();
        assert!(report.is_good());
        report.received = 9;
        assert!(!report.is_good());
    }

    #[test]
    fn the_table_names_all_steps_and_the_ratio() {
        let table = report().to_string();
        assert!(table.contains("2.00 x floor at p50"));
        for point in lockstep_transport::trace::TracePoint::ALL {
            assert!(table.contains(point.name()), "{}", point.name());
        }
    }
}
