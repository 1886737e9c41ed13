//! Latencies part of time by part of time, so that after a run those parts in which something went
//! on can be compared with the others. Pure; all room is taken, and touched, before it begins.
//!
//! Parts are those of the host's monotonic clock: whoever watches the run numbers them alike. A
//! latency is counted in every part that it spans, so that a stall shows in all parts that it lay
//! in, and not in the one alone in which the answers came at last.

use core::hint::black_box;

use lockstep_transport::time::Nanos;

use crate::histogram::LatencyHistogram;

/// Bits of a latency that are told apart below its first: an error of at most 0.8 %.
const DETAIL_BITS: u32 = 6;

/// Greatest latency told apart, 73 minutes, in ns.
const LATENCY_MAX_NS: u64 = (1 << 42) - 1;

/// Counts of a slot.
const BUCKETS: usize = bucket(LATENCY_MAX_NS) + 1;

/// Slots that are told apart, at most: half an hour's of tenths of a second, 163 MiB.
const SLOTS_MAX: Nanos = 18_000;

/// Where a latency is counted.
const fn bucket(latency_ns: u64) -> usize {
    let latency_ns = if latency_ns > LATENCY_MAX_NS {
        LATENCY_MAX_NS
    } else {
        latency_ns
    };
    let first = (latency_ns | 1).ilog2();
    let shift = first.saturating_sub(DETAIL_BITS);
    ((shift as usize) << DETAIL_BITS) + (latency_ns >> shift) as usize
}

/// The middle of what is counted there, ns.
const fn middle(bucket: usize) -> u64 {
    let detail = 1_usize << DETAIL_BITS;
    let shift = (bucket / detail).saturating_sub(1);
    let least = ((bucket - shift * detail) as u64) << shift;
    least + (1_u64 << shift) / 2
}

/// Parts of the measured time: their latencies, and how many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    /// Each latency once for each of these parts that it spans.
    pub latencies: LatencyHistogram,
    /// By the clock: parts in which nothing came are among them.
    pub count: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct LatencySlots {
    length: Nanos,
    first: Nanos,
    counts: Vec<u32>,
}

impl LatencySlots {
    /// Room for so many slots of `length` as `duration` has, which begin at
    /// [`begin`](Self::begin). Its pages are there: a first touch in the run would count as the
    /// cluster's.
    #[must_use]
    pub fn new(length: Nanos, duration: Nanos) -> Self {
        let slots = (duration / length + 1).clamp(1, SLOTS_MAX);
        let mut counts = vec![0; slots as usize * BUCKETS];
        // What was zeroed by the kernel comes page by page when it is written. The compiler, which
        // knows that it is zero, is not to know here.
        black_box(&mut counts).fill(0);
        Self {
            length,
            first: 0,
            counts,
        }
    }

    /// Length of a slot.
    #[must_use]
    pub const fn length(&self) -> Nanos {
        self.length
    }

    /// The first slot is that of `now`.
    pub fn begin(&mut self, now: Nanos) {
        self.first = now / self.length;
    }

    /// Slots that there is room for.
    const fn slots(&self) -> Nanos {
        (self.counts.len() / BUCKETS) as Nanos
    }

    /// Records one that ended at `now` in each slot that it spans; slots that there is no room for
    /// are left out.
    pub fn record(&mut self, now: Nanos, latency_ns: Nanos) {
        let latency_ns = latency_ns.max(0);
        let bucket = bucket(latency_ns.unsigned_abs());
        let from = ((now - latency_ns) / self.length - self.first).max(0);
        let to = (now / self.length - self.first).min(self.slots() - 1);
        for slot in from..=to {
            let count = &mut self.counts[slot as usize * BUCKETS + bucket];
            *count = count.saturating_add(1);
        }
    }

    /// Those slots of the clock from the one of `since` to the one of `until` that `is_meant` tells
    /// by their numbers, as far as there is room for them.
    #[must_use]
    pub fn merged(
        &self,
        (since, until): (Nanos, Nanos),
        is_meant: impl Fn(Nanos) -> bool,
    ) -> Parts {
        let mut merged = Parts::default();
        let measured = since / self.length..=until / self.length;
        for (slot, counts) in (self.first..).zip(self.counts.chunks_exact(BUCKETS)) {
            if !measured.contains(&slot) || !is_meant(slot) {
                continue;
            }
            merged.count += 1;
            for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let count = u64::from(*count);
                merged.latencies.record_many(middle(bucket), count);
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::time::SECOND;

    use super::*;

    #[test]
    fn each_latency_is_counted_near_itself_and_none_beside_the_counts() {
        assert_eq!(BUCKETS, 2_368);
        let mut latency = 0;
        while latency < LATENCY_MAX_NS {
            let found = middle(bucket(latency));
            let error = found.abs_diff(latency) as f64 / latency.max(1) as f64;
            assert!(error < 0.008, "{latency} became {found}");
            latency = latency * 65 / 64 + 1;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        let all: Vec<usize> = (0..100_000).map(bucket).collect();
        assert!(all.is_sorted() && all.windows(2).all(|next| next[1] - next[0] <= 1));
    }

    const LENGTH: Nanos = SECOND / 10;

    fn begun(now: Nanos, duration: Nanos) -> LatencySlots {
        let mut slots = LatencySlots::new(LENGTH, duration);
        slots.begin(now);
        slots
    }

    #[test]
    fn slots_are_merged_as_one_histogram_of_all_of_them_has_it() {
        let start = 7 * LENGTH + 1;
        let mut slots = begun(start, 10 * LENGTH);
        let mut quick = LatencyHistogram::default();
        for at in 0..1_000 {
            let now = start + at * LENGTH / 100;
            // Within its slot, all of them.
            let latency = (100 * (at + 1)).min(now % LENGTH);
            let is_slow = now / LENGTH == 9 && now % LENGTH >= 900_000;
            let latency = if is_slow { 900_000 } else { latency };
            slots.record(now, latency);
            if now / LENGTH != 9 {
                quick.record(latency);
            }
        }
        let measured = (start, start + 10 * LENGTH - 2);
        let slow = slots.merged(measured, |slot| slot == 9);
        assert_eq!((slow.latencies.count(), slow.count), (100, 1));
        assert!(slow.latencies.quantile(0.5).abs_diff(900_000) < 8_000);
        let others = slots.merged(measured, |slot| slot != 9);
        assert_eq!((others.latencies.count(), others.count), (900, 9));
        for quantile in [0.1, 0.5, 0.99] {
            let (found, expected) = (
                others.latencies.quantile(quantile),
                quick.quantile(quantile),
            );
            let error = found.abs_diff(expected) as f64 / expected as f64;
            assert!(error < 0.01, "{quantile}: {found} and {expected}");
        }
        let all = slots.merged(measured, |_| true);
        assert_eq!((all.latencies.count(), all.count), (1_000, 10));
    }

    #[test]
    fn a_stall_shows_in_every_slot_that_it_lay_in_and_slots_without_an_answer_are_counted() {
        let mut slots = begun(0, 10 * LENGTH);
        // Sent in slot 1, answered in slot 4.
        slots.record(4 * LENGTH + 5, 3 * LENGTH);
        let measured = (LENGTH, 8 * LENGTH);
        for slot in 0..10 {
            let found = slots.merged(measured, |meant| meant == slot);
            let is_in_stall = (1..=4).contains(&slot);
            assert_eq!(found.latencies.count(), u64::from(is_in_stall), "{slot}");
            assert_eq!(found.count, u64::from((1..=8).contains(&slot)), "{slot}");
        }
        // Nothing was answered in slots 5 to 8: they are there all the same.
        assert_eq!(slots.merged(measured, |slot| slot > 4).count, 4);
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out() {
        let mut slots = begun(5 * LENGTH, LENGTH);
        for slot in [0, 4, 5, 6, 7, 1 << 30] {
            slots.record(slot * LENGTH, 0);
        }
        let all = |slots: &LatencySlots| slots.merged((0, Nanos::MAX), |_| true);
        assert_eq!(all(&slots).latencies.count(), 2);
        // In both of them.
        slots.record(9 * LENGTH, 9 * LENGTH);
        assert_eq!(all(&slots).latencies.count(), 4);
        assert_eq!(all(&slots).count, 2);
        let endless = begun(0, Nanos::MAX / 2);
        assert_eq!(endless.slots(), SLOTS_MAX);
    }

    /// Pages that were given to this thread when it touched them first.
    fn pages_touched() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn no_page_is_touched_first_in_the_run() {
        let duration = 100 * SECOND;
        let mut slots = begun(0, duration);
        let before = pages_touched();
        for slot in 0..duration / LENGTH {
            slots.record((slot + 1) * LENGTH - 1, 1_000);
        }
        let touched = pages_touched() - before;
        assert!(touched < 100, "{touched} pages for 1000 slots");
    }
}
