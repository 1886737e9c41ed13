//! One 64-bit hash for names and configurations: the same on every machine and in every version.

/// FNV-1a over bytes. Not for secrets, and not against an adversary.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
