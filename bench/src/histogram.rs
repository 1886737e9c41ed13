//! Latency histograms: fixed memory, three significant digits, saturating.
//!
//! A thin wrapper over HdrHistogram that cannot fail after construction: values outside the
//! range are clamped to it instead of being refused.

use core::hint::black_box;

use hdrhistogram::Histogram;
use lockstep_transport::time::Nanos;
use serde_json::{Value, json};

/// Greatest latency told apart, in ns: one hour, longer than any run.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// Significant decimal digits kept: an error of at most 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies of one kind, in ns.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    inner: Histogram<u64>,
}

/// The percentiles that reports quote, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LatencySummary {
    /// Smallest value.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// 99.99th percentile.
    pub p9999: u64,
    /// Greatest value.
    pub max: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Values recorded.
    pub count: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        let inner = Histogram::new_with_bounds(1, LATENCY_MAX_NS, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that the library accepts");
        Self { inner }
    }
}

impl LatencyHistogram {
    /// One whose pages are there: none is touched first in a run, whose time that would be.
    #[must_use]
    pub(crate) fn touched() -> Self {
        let mut touched = Self::default();
        black_box(&mut touched).inner.reset();
        touched
    }

    /// Records one latency; negative ones count as 0, those above an hour as an hour.
    pub fn record(&mut self, latency_ns: Nanos) {
        self.inner
            .saturating_record(u64::try_from(latency_ns).unwrap_or(0));
    }

    /// Records one latency so many times.
    pub(crate) fn record_many(&mut self, latency_ns: u64, count: u64) {
        self.inner.saturating_record_n(latency_ns, count);
    }

    /// Forgets all values.
    pub fn reset(&mut self) {
        self.inner.reset();
    }

    /// Values recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.inner.len()
    }

    /// Value at `quantile` (0..=1), in ns; 0 when empty.
    #[must_use]
    pub(crate) fn quantile(&self, quantile: f64) -> u64 {
        self.inner.value_at_quantile(quantile)
    }

    /// The percentiles that reports quote.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        if self.inner.is_empty() {
            return LatencySummary::default();
        }
        LatencySummary {
            min: self.inner.min(),
            p50: self.quantile(0.50),
            p90: self.quantile(0.90),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            p9999: self.quantile(0.9999),
            max: self.inner.max(),
            mean: self.inner.mean(),
            count: self.inner.len(),
        }
    }
}

impl LatencySummary {
    /// The summary as the JSON object of `performance.md` 6.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "min": self.min, "p50": self.p50, "p90": self.p90, "p99": self.p99,
            "p999": self.p999, "p9999": self.p9999, "max": self.max,
            "mean": self.mean, "count": self.count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let mut histogram = LatencyHistogram::default();
        for value in 1..=10_000 {
            histogram.record(value * 1_000);
        }
        let summary = histogram.summary();
        assert_eq!(summary.count, 10_000);
        assert!((summary.p50 as f64 / 5_000_000.0 - 1.0).abs() < 0.002);
        assert!((summary.p99 as f64 / 9_900_000.0 - 1.0).abs() < 0.002);
        assert!((summary.mean / 5_000_500.0 - 1.0).abs() < 0.002);
    }

    #[test]
    fn values_outside_the_range_are_clamped() {
        let mut histogram = LatencyHistogram::default();
        histogram.record(-5);
        histogram.record(i64::MAX);
        let summary = histogram.summary();
        assert_eq!(summary.count, 2);
        assert_eq!(summary.min, 0);
        assert!(summary.max >= LATENCY_MAX_NS);
    }

    #[test]
    fn a_histogram_that_is_reset_is_like_a_new_one() {
        let mut one = LatencyHistogram::default();
        one.record(10);
        assert_eq!(one.count(), 1);
        one.reset();
        assert_eq!(one.summary(), LatencySummary::default());
    }
}
