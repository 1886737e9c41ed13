//! A small seeded generator: the same seed gives the same numbers on every host.
//!
//! xoshiro256++ (Blackman and Vigna), its state filled by splitmix64. Used for jitter, for fault
//! injection and by the simulator. It is not for secrets: its output is predictable.

use core::ops::Range;

/// A deterministic stream of random numbers. `Clone` repeats the stream, [`fork`](Self::fork)
/// starts another.
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

/// What splitmix64 adds to its state at each step.
const SPLITMIX64_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Spreads `value` over all 64 bits: the output of splitmix64 from this state. A bijection, so
/// different values stay different.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(SPLITMIX64_STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The generator splitmix64 (Steele, Lea and Flood): one word of state, enough for test data.
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        let mixed = mix(self.0);
        self.0 = self.0.wrapping_add(SPLITMIX64_STEP);
        mixed
    }
}

impl Prng {
    /// Starts the stream that belongs to `seed`. Every seed is good, zero included.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut filler = SplitMix64(seed);
        Self {
            state: core::array::from_fn(|_| filler.next_u64()),
        }
    }

    /// Starts a stream that only who knows all of `entropy` can repeat; for ids that must be
    /// unique, from the operating system's randomness.
    #[must_use]
    pub(crate) fn from_entropy(entropy: [u64; 4]) -> Self {
        // The one state that yields only zeros.
        if entropy == [0; 4] {
            return Self::new(0);
        }
        Self { state: entropy }
    }

    /// The next 128 random bits.
    pub fn next_u128(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c = c ^ a;
        let d = d ^ b;
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number in `0.0..1.0`, with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`; never for 0 or less, always for 1 or more.
    ///
    /// Consumes a number only when the outcome is open, so that a fault which is off does not
    /// shift the stream of the others.
    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && (p >= 1.0 || self.unit() < p)
    }

    /// A number in `range`, or its start when it is empty.
    ///
    /// Multiply and shift: the bias is below `length / 2^64`.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return range.start;
        }
        let scaled = (u128::from(self.next_u64()) * u128::from(length)) >> 64;
        range.start + scaled as u64
    }

    /// A number from the exponential distribution with this mean, at most 20 times the mean.
    ///
    /// The cap keeps virtual time bounded; it is met once in 500 million draws.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        if mean == 0 {
            return 0;
        }
        let drawn = -(1.0 - self.unit()).ln();
        (drawn.min(20.0) * mean as f64) as u64
    }

    /// A generator of its own for another part, so that the two do not disturb each other.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        let mut generator = SplitMix64(1_234_567);
        assert_eq!(generator.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(generator.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn xoshiro_gives_the_published_numbers() {
        let mut prng = Prng {
            state: [1, 2, 3, 4],
        };
        let numbers: Vec<u64> = (0..4).map(|_| prng.next_u64()).collect();
        assert_eq!(
            numbers,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386
            ]
        );
    }

    #[test]
    fn the_same_seed_repeats_and_a_fork_does_not() {
        let mut one = Prng::new(7);
        let mut two = Prng::new(7);
        assert!((0..100).all(|_| one.next_u64() == two.next_u64()));
        let mut fork = one.fork();
        assert_ne!(fork.next_u64(), one.next_u64());
    }

    #[test]
    fn ranges_are_kept_and_chances_are_met() {
        let mut prng = Prng::new(1);
        assert!((0..10_000).all(|_| (10..20).contains(&prng.range(10..20))));
        assert_eq!(prng.range(5..5), 5);
        let hits = (0..10_000).filter(|_| prng.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!prng.chance(0.0));
        assert!(prng.chance(1.0));
        let total: u64 = (0..10_000).map(|_| prng.exponential(1_000)).sum();
        assert!((9_500_000..10_500_000).contains(&total), "{total}");
    }
}
