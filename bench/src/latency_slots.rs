//! Latencies tenth of a second by tenth of a second, so that after a run those in which something
//! went on can be compared with the others. Pure; all room is taken at the start.
//!
//! A slot is a tenth of a second of the host's monotonic clock: whoever watches the run numbers
//! them alike.

use lockstep_transport::time::{Nanos, SECOND};

use crate::histogram::LatencyHistogram;

/// Bits of a latency that are told apart below its first: an error of at most 0.8 %.
const DETAIL_BITS: u32 = 6;

/// Greatest latency told apart, 73 minutes, in ns.
const LATENCY_MAX_NS: u64 = (1 << 42) - 1;

/// Length of a slot.
pub(crate) const SLOT_NS: Nanos = SECOND / 10;

/// Counts of a slot.
const BUCKETS: usize = bucket(LATENCY_MAX_NS) + 1;

/// Slots that are told apart, at most: half an hour's, of 9 KiB each, of which the kernel gives
/// what is touched.
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

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct LatencySlots {
    first: Nanos,
    counts: Vec<u32>,
}

impl LatencySlots {
    /// Room for what is recorded within `duration` of `now`, half an hour at most.
    #[must_use]
    pub fn new(now: Nanos, duration: Nanos) -> Self {
        let slots = (duration / SLOT_NS + 1).clamp(1, SLOTS_MAX);
        Self {
            first: now / SLOT_NS,
            counts: vec![0; slots as usize * BUCKETS],
        }
    }

    /// Records one that was seen at `now`; what is seen in slots that there is no room for is
    /// left out.
    pub fn record(&mut self, now: Nanos, latency_ns: Nanos) {
        let latency_ns = u64::try_from(latency_ns).unwrap_or(0);
        let slot = usize::try_from(now / SLOT_NS - self.first).unwrap_or(usize::MAX);
        let at = slot.saturating_mul(BUCKETS);
        if let Some(count) = self.counts.get_mut(at.saturating_add(bucket(latency_ns))) {
            *count = count.saturating_add(1);
        }
    }

    /// The latencies of those parts of time, each of so many slots, that `is_meant` tells by their
    /// numbers, and how many of these have any.
    #[must_use]
    pub fn merged(
        &self,
        slots_per_part: Nanos,
        is_meant: impl Fn(Nanos) -> bool,
    ) -> (LatencyHistogram, u64) {
        let mut merged = LatencyHistogram::default();
        let (mut parts, mut last) = (0, None);
        for (slot, counts) in (self.first..).zip(self.counts.chunks_exact(BUCKETS)) {
            let part = slot / slots_per_part;
            if !is_meant(part) || counts.iter().all(|count| *count == 0) {
                continue;
            }
            parts += u64::from(last.replace(part) != Some(part));
            for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                merged.record_many(middle(bucket), u64::from(*count));
            }
        }
        (merged, parts)
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn slots_are_merged_as_one_histogram_of_all_of_them_has_it() {
        let start = 7 * SLOT_NS + 1;
        let mut slots = LatencySlots::new(start, 10 * SLOT_NS);
        let mut quick = LatencyHistogram::default();
        for at in 0..1_000 {
            let now = start + at * SLOT_NS / 100;
            let is_slow = now / SLOT_NS == 9;
            let latency = if is_slow { 900_000 } else { 100 * (at + 1) };
            slots.record(now, latency);
            if !is_slow {
                quick.record(latency);
            }
        }
        let (slow, count) = slots.merged(1, |slot| slot == 9);
        assert_eq!((slow.count(), count), (100, 1));
        assert!(slow.quantile(0.01).abs_diff(900_000) < 8_000);
        let (others, count) = slots.merged(1, |slot| slot != 9);
        assert_eq!((others.count(), count), (900, 9));
        for quantile in [0.1, 0.5, 0.99] {
            let (found, expected) = (others.quantile(quantile), quick.quantile(quantile));
            let error = found.abs_diff(expected) as f64 / expected as f64;
            assert!(error < 0.01, "{quantile}: {found} and {expected}");
        }
        let (all, count) = slots.merged(1, |_| true);
        assert_eq!((all.count(), count), (1_000, 10));
        let (halves, count) = slots.merged(5, |part| part > 1);
        assert_eq!((halves.count(), count), (700, 2));
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out() {
        let mut slots = LatencySlots::new(5 * SLOT_NS, SLOT_NS);
        for slot in [0, 4, 5, 6, 7, 1 << 30] {
            slots.record(slot * SLOT_NS, 1);
        }
        assert_eq!(slots.merged(1, |_| true).0.count(), 2);
        let endless = LatencySlots::new(0, Nanos::MAX / 2);
        assert_eq!(endless.counts.len(), SLOTS_MAX as usize * BUCKETS);
        // Nothing was recorded, and no slot counts.
        assert_eq!(endless.merged(1, |_| true).1, 0);
    }
}
