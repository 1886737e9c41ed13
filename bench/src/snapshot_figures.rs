//! What a run shows of its snapshots: how many, what they cost in time, memory and allocations.
//! Pure.

use std::fmt::{self, Display, Formatter};

use lockstep_transport::time::Nanos;
use serde_json::{Value, json};

use crate::load::Load;
use crate::member_summary::MemberSummary;
use crate::watched::Watched;

/// Latencies of some seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecondsLatency {
    /// How many.
    pub seconds: u64,
    /// Median, ns.
    pub p50_ns: u64,
    /// 99th percentile, ns.
    pub p99_ns: u64,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFigures {
    /// The seconds in which any member was writing a snapshot.
    pub writing: SecondsLatency,
    /// All others.
    pub others: SecondsLatency,
    /// Heap allocations of all nodes and the client while one was written.
    pub allocations_writing: i64,
    /// Those of the rest of the measured part.
    pub allocations_otherwise: i64,
}

impl SnapshotFigures {
    /// Those of a run with this load, which was watched.
    #[must_use]
    pub(crate) fn of(load: &Load, watched: &Watched) -> Self {
        let seconds = watched.snapshot_seconds();
        let latency = |is_writing: bool| {
            let is_meant = |second: Nanos| seconds.binary_search(&second).is_ok() == is_writing;
            let (latencies, seconds) = load.second_latencies().merged(is_meant);
            SecondsLatency {
                seconds,
                p50_ns: latencies.quantile(0.50),
                p99_ns: latencies.quantile(0.99),
            }
        };
        let measured = load.measured();
        let (allocations_writing, allocations_otherwise) =
            measured.map_or((0, 0), |(since, until)| watched.allocations(since, until));
        Self {
            writing: latency(true),
            others: latency(false),
            allocations_writing,
            allocations_otherwise,
        }
    }

    /// Those of the seconds with a snapshot as a multiple of the others', at p50 and p99; `None`
    /// without seconds of both kinds.
    #[must_use]
    pub(crate) fn ratios(&self) -> Option<[f64; 2]> {
        if self.writing.seconds == 0 || self.others.seconds == 0 {
            return None;
        }
        let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        Some([
            ratio(self.writing.p50_ns, self.others.p50_ns),
            ratio(self.writing.p99_ns, self.others.p99_ns),
        ])
    }

    /// The figures as the JSON object of `performance.md` 6.
    #[must_use]
    pub(crate) fn to_json(self) -> Value {
        let ratios = self.ratios();
        json!({
            "snapshot_seconds": self.writing.seconds,
            "other_seconds": self.others.seconds,
            "p50_snapshot_seconds_ns": self.writing.p50_ns,
            "p99_snapshot_seconds_ns": self.writing.p99_ns,
            "p50_other_seconds_ns": self.others.p50_ns,
            "p99_other_seconds_ns": self.others.p99_ns,
            "ratio_p50": ratios.map(|[p50, _]| p50),
            "ratio_p99": ratios.map(|[_, p99]| p99),
            "allocations_writing": self.allocations_writing,
            "allocations_otherwise": self.allocations_otherwise,
        })
    }
}

/// How often all of these did what a member counts: what the one says that did it least.
#[must_use]
pub(crate) fn fewest(members: &[MemberSummary], of: impl Fn(&MemberSummary) -> i64) -> i64 {
    members.iter().map(of).min().unwrap_or(0)
}

/// The figures and the members that they are about, for people.
pub(crate) struct SnapshotLines<'a> {
    /// The figures.
    pub figures: &'a SnapshotFigures,
    /// The members.
    pub members: &'a [MemberSummary],
    /// Most bytes that each may have on its disk.
    pub budget_bytes: u64,
}

impl SnapshotLines<'_> {
    fn words(&self, of: impl Fn(&MemberSummary) -> String) -> String {
        let words: Vec<String> = self.members.iter().map(of).collect();
        words.join(", ")
    }
}

impl Display for SnapshotLines<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let us = |ns: u64| ns as f64 / 1_000.0;
        writeln!(
            f,
            "  disk MiB, most by member: {} of {:.0}",
            self.words(|member| format!("{:.0}", mib(member.disk_bytes_max))),
            mib(self.budget_bytes)
        )?;
        if self.members.iter().all(|member| member.snapshots == 0) {
            return Ok(());
        }
        writeln!(
            f,
            "  snapshots by member: {}; trims: {}; longest pause ms: {}",
            self.words(|member| member.snapshots.to_string()),
            self.words(|member| member.trims.to_string()),
            self.words(|member| format!("{:.1}", member.snapshot_pause_ns as f64 / 1e6)),
        )?;
        let with_memory = self.members.iter().filter_map(|member| member.memory);
        for memory in with_memory {
            writeln!(
                f,
                "    memory MiB: {:.0} before the first, {:.0} at most while one was written, at \
                 most {:.1} % more than before it",
                mib(memory.before_bytes),
                mib(memory.writing_max_bytes),
                memory.growth_percent
            )?;
        }
        let SnapshotFigures {
            writing, others, ..
        } = self.figures;
        let Some([p50, p99]) = self.figures.ratios() else {
            return Ok(());
        };
        writeln!(
            f,
            "    latency us: p50 {:.1}  p99 {:.1} in the {} seconds with one, p50 {:.1}  p99 {:.1} \
             in the {} others\n    => {p50:.2} x at p50, {p99:.2} x at p99; heap allocations {} \
             while one was written, {} otherwise",
            us(writing.p50_ns),
            us(writing.p99_ns),
            writing.seconds,
            us(others.p50_ns),
            us(others.p99_ns),
            others.seconds,
            self.figures.allocations_writing,
            self.figures.allocations_otherwise,
        )
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::time::SECOND;

    use super::*;
    use crate::load::{LoadConfig, LoadLimit, LoadShape};
    use crate::watched::Interval;

    /// One request per 100 ms, answered after 1 ms, in the third second after 3.
    fn load() -> Load {
        let config = LoadConfig {
            shape: LoadShape::Closed { window: 1 },
            warmup_ns: 0,
            limit: LoadLimit::Duration(5 * SECOND),
            messages_cap: u64::MAX,
        };
        let mut load = Load::new(config, 0);
        for now in (0..50).map(|at| at * SECOND / 10) {
            load.on_sent(now);
            let latency = if now / SECOND == 2 { 3 } else { 1 } * SECOND / 1_000;
            load.on_response(now + latency, load.sent());
        }
        load
    }

    fn watched(is_writing: bool) -> Watched {
        let interval = |at: Nanos| Interval {
            from: at * SECOND / 2,
            to: (at + 1) * SECOND / 2 - 1,
            is_writing: is_writing && at / 2 == 2,
            allocations: at,
        };
        Watched {
            members: Vec::new(),
            intervals: (0..9).map(interval).collect(),
        }
    }

    #[test]
    fn seconds_with_a_snapshot_are_compared_with_the_others() {
        let figures = SnapshotFigures::of(&load(), &watched(true));
        assert_eq!((figures.writing.seconds, figures.others.seconds), (1, 4));
        let [p50, p99] = figures.ratios().unwrap();
        assert!((p50 - 3.0).abs() < 0.03 && (p99 - 3.0).abs() < 0.03);
        assert_eq!(figures.allocations_writing, 4 + 5);
        assert_eq!(figures.allocations_otherwise, 1 + 2 + 3 + 6 + 7 + 8);
        assert_eq!(figures.to_json()["snapshot_seconds"], 1);
    }

    #[test]
    fn without_a_snapshot_there_is_nothing_to_compare() {
        let figures = SnapshotFigures::of(&load(), &watched(false));
        assert_eq!((figures.writing.seconds, figures.others.seconds), (0, 5));
        assert_eq!(figures.ratios(), None);
        assert!(figures.to_json()["ratio_p99"].is_null());
    }

    #[test]
    fn what_all_have_done_is_what_the_slowest_has() {
        let of = |snapshots| MemberSummary {
            snapshots,
            ..MemberSummary::default()
        };
        assert_eq!(fewest(&[of(3), of(2), of(9)], |member| member.snapshots), 2);
        assert_eq!(fewest(&[], |member| member.snapshots), 0);
    }
}
