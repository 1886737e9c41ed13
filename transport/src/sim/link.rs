//! What one directed link of the simulated network does to datagrams.

use crate::prng::Prng;
use crate::time::{MICROSECOND, Nanos};

/// Extra delay of a reordered datagram, drawn up to this many times the link's usual delay.
const REORDER_SPREAD: u64 = 8;

/// How a directed link behaves. Probabilities are `0.0..=1.0`.
///
/// Datagrams are delayed each for itself: with jitter they overtake each other, as on a real
/// network with several paths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkProfile {
    /// Shortest delay, in nanoseconds.
    pub delay_ns: Nanos,
    /// Mean of the exponential delay on top, in nanoseconds.
    pub jitter_ns: Nanos,
    /// Probability that a datagram vanishes.
    pub loss: f64,
    /// Probability that a datagram arrives twice.
    pub duplicate: f64,
    /// Some duplicates come up to this much later, in nanoseconds; 0 for none.
    pub late_ns: Nanos,
    /// Probability that a datagram is held back so that later ones overtake it.
    pub reorder: f64,
    /// Probability that one bit of a datagram is flipped.
    pub corrupt: f64,
}

impl Default for LinkProfile {
    /// A quiet local network: 20 µs, nothing lost, order kept.
    fn default() -> Self {
        Self {
            delay_ns: 20 * MICROSECOND,
            jitter_ns: 0,
            loss: 0.0,
            duplicate: 0.0,
            late_ns: 0,
            reorder: 0.0,
            corrupt: 0.0,
        }
    }
}

/// One of so many duplicates comes late, where any does.
const LATE_DUPLICATES: u64 = 8;

impl LinkProfile {
    /// How much later a duplicate sets out.
    pub(super) fn draw_lateness(&self, prng: &mut Prng) -> Nanos {
        if self.late_ns == 0 || prng.range(0..LATE_DUPLICATES) > 0 {
            return 0;
        }
        prng.range(0..self.late_ns as u64) as Nanos
    }

    /// How long this datagram travels, in nanoseconds.
    pub(super) fn draw_delay(&self, prng: &mut Prng) -> Nanos {
        let usual = self.delay_ns.max(0) as u64 + self.jitter_ns.max(0) as u64;
        let mut delay = self.delay_ns.max(0) as u64;
        delay += prng.exponential(self.jitter_ns.max(0) as u64);
        if prng.chance(self.reorder) {
            delay += prng.range(0..usual.max(MICROSECOND as u64) * REORDER_SPREAD);
        }
        delay as Nanos
    }
}

/// Flips one bit of `datagram`, if it has any.
pub(super) fn flip_one_bit(prng: &mut Prng, datagram: &mut [u8]) {
    if !datagram.is_empty() {
        let bit = prng.range(0..datagram.len() as u64 * 8) as usize;
        datagram[bit / 8] ^= 1 << (bit % 8);
    }
}
