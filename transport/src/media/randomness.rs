//! The operating system's randomness, from which ids that must never repeat are drawn.

use std::io;

use crate::prng::Prng;

/// A generator that no other process, host or start of this one repeats.
///
/// # Errors
/// When the operating system has none to give.
pub fn randomness() -> io::Result<Prng> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    let mut entropy = [0; 4];
    for (word, chunk) in entropy.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut raw = [0; 8];
        raw.copy_from_slice(chunk);
        *word = u64::from_le_bytes(raw);
    }
    Ok(Prng::from_entropy(entropy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generators_draw_different_ids() {
        let draw = || randomness().expect("Linux has randomness").next_u128();
        assert_ne!(draw(), draw());
    }
}
