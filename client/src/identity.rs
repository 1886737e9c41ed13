//! Who a client is: numbers that nobody else has. Pure: they are drawn by whoever makes the
//! client, from the operating system unless a test asks for the same ones again.

use lockstep_transport::prng::Prng;

/// The random part of a client. Two clients with equal nonces and principals are one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Names the session while it is opened and proves whose it is: not to be guessed.
    pub(crate) nonce: u64,
    /// Tells this process from others that continue the same session.
    pub(crate) incarnation: u64,
    /// Decides stream ids and jitter.
    pub(crate) seed: u64,
}

impl ClientIdentity {
    /// Draws an identity from `random`, which nobody must be able to repeat:
    /// `lockstep_transport::media::randomness()`.
    #[must_use]
    pub fn draw(random: &mut Prng) -> Self {
        Self {
            nonce: random.next_u64(),
            incarnation: random.next_u64(),
            seed: random.next_u64(),
        }
    }

    /// This identity, but taken for the process of `other`: a fault that the simulator plants.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn passing_for(self, other: &Self) -> Self {
        Self {
            incarnation: other.incarnation,
            ..self
        }
    }

    /// The identity that belongs to `seed`, for tests and simulators: whoever has the same seed
    /// is the same client.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self::draw(&mut Prng::new(seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_client_and_two_are_two() {
        assert_eq!(ClientIdentity::of_seed(1), ClientIdentity::of_seed(1));
        let (one, two) = (ClientIdentity::of_seed(1), ClientIdentity::of_seed(2));
        assert_ne!(one.nonce, two.nonce);
        assert_ne!(one.incarnation, two.incarnation);
    }
}
