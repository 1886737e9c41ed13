//! How long an answer is waited for before it is asked for again: what answers took lately, and
//! their spread, as streams of the network do it.

use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

/// Before anything is known of the way.
const FIRST_NS: Nanos = 100 * MILLISECOND;

/// The shortest: a member whose duty cycle sleeps, and whose disk is slow once, is no loss. A disk
/// is read once for many chunks, so what most of them take says little of the next.
const SHORTEST_NS: Nanos = 20 * MILLISECOND;

/// The longest: a way that is back is found again within it.
const LONGEST_NS: Nanos = SECOND;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    mean: Nanos,
    spread: Nanos,
    is_known: bool,
    /// Doubles with each time that it was in vain.
    factor: Nanos,
    /// Until then it was in vain once.
    counted_until: Nanos,
}

impl Patience {
    pub const fn new() -> Self {
        Self {
            mean: 0,
            spread: 0,
            is_known: false,
            factor: 1,
            counted_until: Nanos::MIN,
        }
    }

    /// How long an answer is waited for now.
    pub fn length(&self) -> Nanos {
        let plain = if self.is_known {
            self.mean.saturating_add(self.spread.saturating_mul(4))
        } else {
            FIRST_NS
        };
        let plain = plain.max(SHORTEST_NS);
        plain.saturating_mul(self.factor).min(LONGEST_NS)
    }

    /// An answer came, after `taken` if it was asked for once.
    pub fn on_answer(&mut self, taken: Option<Nanos>) {
        self.factor = 1;
        let Some(taken) = taken else {
            return;
        };
        if self.is_known {
            self.spread += ((self.mean - taken).abs() - self.spread) / 4;
            self.mean += (taken - self.mean) / 8;
        } else {
            (self.mean, self.spread, self.is_known) = (taken, taken / 2, true);
        }
    }

    /// It was in vain. Several that were in vain together count once.
    pub fn on_silence(&mut self, now: Nanos) {
        if now >= self.counted_until {
            self.counted_until = now + self.length();
            let longest = LONGEST_NS / SHORTEST_NS;
            self.factor = (self.factor * 2).min(longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_answers_take_and_doubles_while_none_comes() {
        let mut patience = Patience::new();
        assert_eq!(patience.length(), FIRST_NS);
        for _ in 0..100 {
            patience.on_answer(Some(50 * MILLISECOND));
        }
        let length = patience.length();
        assert!((50 * MILLISECOND..53 * MILLISECOND).contains(&length));
        let mut now = SECOND;
        for _ in 0..3 {
            patience.on_silence(now);
            patience.on_silence(now + 1);
            now += LONGEST_NS;
        }
        assert_eq!(patience.length(), 8 * length);
        for _ in 0..100 {
            patience.on_silence(now);
            now += LONGEST_NS;
        }
        assert_eq!(patience.length(), LONGEST_NS);
        // An answer to what was asked for twice says that there is a way, not how long it is.
        patience.on_answer(None);
        assert_eq!(patience.length(), length);
        for _ in 0..100 {
            patience.on_answer(Some(MILLISECOND));
        }
        assert_eq!(patience.length(), SHORTEST_NS);
    }
}
