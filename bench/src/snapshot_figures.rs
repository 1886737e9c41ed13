//! What a run shows of its snapshots: how many, what they cost in time, memory and allocations.
//! Pure.

use std::fmt::{self, Display, Formatter};

use lockstep_transport::time::{Nanos, SECOND};
use serde_json::{Map, Value, json};

use crate::latency_slots::{LatencySlots, Parts};
use crate::load::Load;
use crate::member_summary::MemberSummary;
use crate::report_words::mebibytes;
use crate::watched::Watched;

/// By parts of which lengths latencies are to be told apart for this.
pub(crate) const SLOTS_NS: [Nanos; 2] = [SECOND, SECOND / 10];

/// Latencies of some parts of the measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartsLatency {
    /// How many parts.
    pub parts: u64,
    /// Median, ns.
    pub p50_ns: u64,
    /// 99th percentile, ns.
    pub p99_ns: u64,
}

impl PartsLatency {
    fn of(parts: &Parts) -> Self {
        Self {
            parts: parts.count,
            p50_ns: parts.latencies.quantile(0.50),
            p99_ns: parts.latencies.quantile(0.99),
        }
    }
}

/// The parts of the measured time in which any member was storing a snapshot, written or fetched,
/// and all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The former.
    pub writing: PartsLatency,
    /// The latter.
    pub others: PartsLatency,
}

impl Comparison {
    /// Of the parts that `slots` tells apart, as far as they were measured.
    fn of(slots: &LatencySlots, watched: &Watched, measured: (Nanos, Nanos)) -> Self {
        let writing = watched.snapshot_parts(slots.length());
        let latency = |is_storing: bool| {
            let is_meant = |part: Nanos| writing.binary_search(&part).is_ok() == is_storing;
            PartsLatency::of(&slots.merged(measured, is_meant))
        };
        Self {
            writing: latency(true),
            others: latency(false),
        }
    }

    /// The former as a multiple of the latter, at p50 and p99; `None` without parts of both kinds.
    #[must_use]
    pub(crate) fn ratios(&self) -> Option<[f64; 2]> {
        if self.writing.parts == 0 || self.others.parts == 0 {
            return None;
        }
        let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        Some([
            ratio(self.writing.p50_ns, self.others.p50_ns),
            ratio(self.writing.p99_ns, self.others.p99_ns),
        ])
    }

    /// The comparison as members of a JSON object, of parts that are called so.
    fn members(&self, parts: &str) -> Map<String, Value> {
        let ratios = self.ratios();
        let (writing, others) = (&self.writing, &self.others);
        let members = [
            (format!("snapshot_{parts}"), json!(writing.parts)),
            (format!("other_{parts}"), json!(others.parts)),
            (format!("p50_snapshot_{parts}_ns"), json!(writing.p50_ns)),
            (format!("p99_snapshot_{parts}_ns"), json!(writing.p99_ns)),
            (format!("p50_other_{parts}_ns"), json!(others.p50_ns)),
            (format!("p99_other_{parts}_ns"), json!(others.p99_ns)),
            (
                format!("ratio_p50_{parts}"),
                json!(ratios.map(|[p50, _]| p50)),
            ),
            (
                format!("ratio_p99_{parts}"),
                json!(ratios.map(|[_, p99]| p99)),
            ),
        ];
        members.into_iter().collect()
    }

    fn write(&self, f: &mut Formatter<'_>, parts: &str) -> fmt::Result {
        let Some([p50, p99]) = self.ratios() else {
            return Ok(());
        };
        let us = |ns: u64| ns as f64 / 1_000.0;
        let (writing, others) = (&self.writing, &self.others);
        writeln!(
            f,
            "    latency us: p50 {:.0}  p99 {:.0} in the {} {parts} with one, p50 {:.0}  p99 {:.0} \
             in the {} others => {p50:.2} x at p50, {p99:.2} x at p99",
            us(writing.p50_ns),
            us(writing.p99_ns),
            writing.parts,
            us(others.p50_ns),
            us(others.p99_ns),
            others.parts,
        )
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFigures {
    /// By whole seconds.
    pub seconds: Comparison,
    /// By tenths of them: where snapshots are frequent, there are hardly any seconds without.
    pub tenths: Comparison,
    /// Heap allocations of all nodes and the client while one was stored.
    pub allocations_writing: i64,
    /// Those of the rest of the measured part.
    pub allocations_otherwise: i64,
}

impl SnapshotFigures {
    /// Those of a run with this load, which was watched.
    #[must_use]
    pub(crate) fn of(load: &Load, watched: &Watched) -> Self {
        let Some(measured) = load.measured() else {
            return Self::default();
        };
        let (allocations_writing, allocations_otherwise) =
            watched.allocations(measured.0, measured.1);
        let compared = SLOTS_NS.map(|length| {
            let slots = load.slots(length);
            slots.map(|slots| Comparison::of(slots, watched, measured))
        });
        let [seconds, tenths] = compared.map(Option::unwrap_or_default);
        Self {
            seconds,
            tenths,
            allocations_writing,
            allocations_otherwise,
        }
    }

    /// The figures as the JSON object of `performance.md` 8.
    #[must_use]
    pub(crate) fn to_json(self) -> Value {
        let mut members = self.seconds.members("seconds");
        members.extend(self.tenths.members("tenths"));
        for (key, count) in [
            ("allocations_writing", self.allocations_writing),
            ("allocations_otherwise", self.allocations_otherwise),
        ] {
            members.insert(key.to_owned(), json!(count));
        }
        Value::Object(members)
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
        writeln!(
            f,
            "  disk MiB, most by member: {} of {:.0}",
            self.words(|member| format!("{:.0}", mebibytes(member.disk_bytes_max))),
            mebibytes(self.budget_bytes)
        )?;
        if self
            .members
            .iter()
            .all(|member| member.snapshots.all() == 0)
        {
            return Ok(());
        }
        writeln!(
            f,
            "  snapshots stored by member, written + fetched: {}; trims: {}; longest pause ms: {}",
            self.words(|member| member.snapshots.to_string()),
            self.words(|member| member.trims.to_string()),
            self.words(|member| format!("{:.1}", member.snapshot_pause_ns as f64 / 1e6)),
        )?;
        let with_memory = self.members.iter().filter_map(|member| member.memory);
        for memory in with_memory {
            writeln!(
                f,
                "    memory MiB: {:.0} before the first, {:.0} at most while one was stored, at \
                 most {:.1} % more than before it",
                mebibytes(memory.before_bytes),
                mebibytes(memory.writing_max_bytes),
                memory.growth_percent
            )?;
        }
        self.figures.seconds.write(f, "seconds")?;
        self.figures.tenths.write(f, "tenths of a second")?;
        writeln!(
            f,
            "    heap allocations: {} while one was stored, {} otherwise",
            self.figures.allocations_writing, self.figures.allocations_otherwise,
        )
    }
}

#[cfg(test)]
mod tests {
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
        let mut load = Load::in_slots(config, &SLOTS_NS);
        for now in (0..50).map(|at| at * SECOND / 10) {
            load.on_sent(now);
            let latency = if now / SECOND == 2 { 3 } else { 1 } * SECOND / 1_000;
            load.on_response(now + latency, load.sent());
        }
        load
    }

    fn watched(is_storing: bool) -> Watched {
        let interval = |at: Nanos| Interval {
            from: at * SECOND / 2,
            to: (at + 1) * SECOND / 2 - 1,
            is_storing: is_storing && at / 2 == 2,
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
        let Comparison { writing, others } = figures.seconds;
        assert_eq!((writing.parts, others.parts), (1, 4));
        let [p50, p99] = figures.seconds.ratios().unwrap();
        assert!((p50 - 3.0).abs() < 0.05 && (p99 - 3.0).abs() < 0.05);
        assert_eq!(figures.allocations_writing, 4 + 5 + 6);
        assert_eq!(figures.allocations_otherwise, 1 + 2 + 3 + 7 + 8);
        let json = figures.to_json();
        assert_eq!(json["snapshot_seconds"], 1);
        assert_eq!(json["p99_other_seconds_ns"], others.p99_ns);
        assert_eq!(json["ratio_p99_seconds"], p99);
        assert_eq!(json["snapshot_tenths"], 10);
        assert_eq!(json.as_object().map(Map::len), Some(18));
    }

    #[test]
    fn where_each_second_has_a_snapshot_tenths_are_compared() {
        let moment = |at: Nanos| Interval {
            from: at * SECOND,
            to: at * SECOND + 1,
            is_storing: true,
            allocations: 0,
        };
        let watched = Watched {
            members: Vec::new(),
            intervals: (0..5).map(moment).collect(),
        };
        let figures = SnapshotFigures::of(&load(), &watched);
        assert_eq!(figures.seconds.ratios(), None);
        let Comparison { writing, others } = figures.tenths;
        assert_eq!((writing.parts, others.parts), (5, 45));
        assert!(figures.tenths.ratios().is_some());
    }

    #[test]
    fn a_stall_for_a_snapshot_is_told_of_its_seconds_though_the_answers_came_after_them() {
        let config = LoadConfig {
            shape: LoadShape::Closed { window: 1 },
            warmup_ns: 0,
            limit: LoadLimit::Duration(9 * SECOND),
            messages_cap: u64::MAX,
        };
        let mut load = Load::in_slots(config, &SLOTS_NS);
        // Nothing is answered while the snapshot is written, from the third second to the fourth.
        for at in (0..20).chain(40..90) {
            let now = at * SECOND / 10;
            load.on_sent(now);
            let took = if at == 19 { 21 } else { 1 } * SECOND / 10;
            load.on_response(now + took, load.sent());
        }
        let writing = |at: Nanos| Interval {
            from: at * SECOND,
            to: (at + 1) * SECOND - 1,
            is_storing: at == 2 || at == 3,
            allocations: 0,
        };
        let watched = Watched {
            members: Vec::new(),
            intervals: (0..9).map(writing).collect(),
        };
        let figures = SnapshotFigures::of(&load, &watched);
        for (comparison, parts) in [(figures.seconds, 2), (figures.tenths, 20)] {
            let writing = comparison.writing;
            assert_eq!(writing.parts, parts);
            assert!(writing.p50_ns > 2_000_000_000, "{writing:?}");
            assert!(comparison.ratios().unwrap()[0] > 15.0, "{comparison:?}");
        }
    }

    #[test]
    fn without_a_snapshot_there_is_nothing_to_compare() {
        let figures = SnapshotFigures::of(&load(), &watched(false));
        let Comparison { writing, others } = figures.seconds;
        assert_eq!((writing.parts, others.parts), (0, 5));
        assert_eq!(figures.seconds.ratios(), None);
        let json = figures.to_json();
        assert!(json["ratio_p99_seconds"].is_null() && json["ratio_p99_tenths"].is_null());
    }

    #[test]
    fn what_all_have_done_is_what_the_slowest_has() {
        let of = |trims| MemberSummary {
            trims,
            ..MemberSummary::default()
        };
        assert_eq!(fewest(&[of(3), of(2), of(9)], |member| member.trims), 2);
        assert_eq!(fewest(&[], |member| member.trims), 0);
    }
}
