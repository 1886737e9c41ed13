//! Keys of 128 bits for the states of an exhaustive search.

use std::hash::{Hash, Hasher};

/// Two multiplicative lanes: quick, and 128 bits make a collision unthinkable here.
struct Lanes(u64, u64);

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u64::from_le_bytes(word);
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
            self.1 = (self.1 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            self.1 ^= self.1 >> 29;
        }
    }
}

/// What tells `state` from every other one.
pub fn key<S: Hash>(state: &S) -> u128 {
    let mut lanes = Lanes(1, 2);
    state.hash(&mut lanes);
    u128::from(lanes.0) << 64 | u128::from(lanes.1)
}
