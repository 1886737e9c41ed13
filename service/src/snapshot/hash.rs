//! The hash of a snapshot and of its sections: XXH3 of 128 bits, without a seed.

use core::fmt;

use xxhash_rust::xxh3::Xxh3Default;

/// Hashes what it is handed piece by piece.
pub struct SnapshotHash {
    state: Xxh3Default,
}

impl SnapshotHash {
    /// Of nothing.
    pub fn new() -> Self {
        Self {
            state: Xxh3Default::new(),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// Of all bytes so far, however they were cut to pieces.
    pub fn digest(&self) -> u128 {
        self.state.digest128()
    }
}

impl fmt::Debug for SnapshotHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.digest())
    }
}
