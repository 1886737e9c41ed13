//! A fixed 64-bit hash for comparing states and outputs between nodes.
//!
//! The function is part of what nodes agree on: it has no seed, is the same on every machine and
//! never changes within a logic version. It detects divergence; it does not resist an attacker
//! who chooses the input.

/// Multiplier of one step: odd, with well spread bits (the golden ratio's fraction).
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Accumulates words and bytes into one 64-bit value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash {
    value: u64,
}

impl Default for StateHash {
    fn default() -> Self {
        Self::new()
    }
}

impl StateHash {
    /// The hash of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { value: MULTIPLIER }
    }

    /// The hash of everything that had this value.
    #[must_use]
    pub const fn resumed(value: u64) -> Self {
        Self { value }
    }

    /// Adds one word.
    pub const fn word(&mut self, word: u64) {
        let mixed = (self.value.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
        self.value = mixed ^ (mixed >> 29);
    }

    /// Adds `bytes` and their length, so that neighbours cannot run into each other.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    /// The value so far.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut hash = StateHash::new();
        hash.bytes(bytes);
        hash.value()
    }

    #[test]
    fn every_single_bit_and_the_length_change_the_value() {
        let bytes = [7_u8; 21];
        let whole = of(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&changed), whole, "bit {bit}");
        }
        assert_ne!(of(&bytes[..20]), whole);
        assert_ne!(of(&[0; 7]), of(&[0; 8]));
    }

    #[test]
    fn the_value_is_the_same_on_every_machine() {
        assert_eq!(StateHash::new().value(), 0x9E37_79B9_7F4A_7C15);
        assert_eq!(of(b"lockstep"), of(b"lockstep"));
    }
}
