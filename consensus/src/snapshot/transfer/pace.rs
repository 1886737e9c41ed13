//! Holds what is asked for to so many bytes per second.

use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

/// How far ahead of its pace somebody may be: a duty cycle that comes round so seldom is made up
/// for, and no more than that comes at once after a rest.
const AHEAD_NS: Nanos = 10 * MILLISECOND;

/// So many times the pace holds where what is fetched is waited for.
const HURRY: u64 = 8;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    is_hurried: bool,
    /// When everything so far would have come at the pace.
    due: Nanos,
}

impl Pace {
    pub const fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            is_hurried: false,
            due: Nanos::MIN,
        }
    }

    /// Whether what is fetched is waited for: then it comes eight times as fast.
    pub const fn hurry(&mut self, is_hurried: bool) {
        self.is_hurried = is_hurried;
    }

    /// From when on the next bytes may be asked for.
    pub const fn open_at(&self) -> Nanos {
        self.due.saturating_sub(AHEAD_NS)
    }

    /// So many more are asked for.
    pub fn spend(&mut self, now: Nanos, bytes: u64) {
        let times = if self.is_hurried { HURRY } else { 1 };
        let pace = u128::from(self.bytes_per_second) * u128::from(times);
        let cost = u128::from(bytes) * SECOND as u128 / pace;
        self.due = self.due.max(now).saturating_add(cost as Nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_bytes_than_it_may_but_for_the_time_that_may_be_made_up() {
        let mut pace = Pace::new(1_000_000);
        let (mut now, mut spent) = (5 * SECOND, 0);
        let start = now;
        while now < start + SECOND {
            while pace.open_at() <= now {
                pace.spend(now, 1000);
                spent += 1000;
            }
            now += 3 * MILLISECOND;
        }
        assert!((1_000_000..=1_012_000).contains(&spent), "{spent}");
        // A rest is not made up for.
        now += 10 * SECOND;
        let before = spent;
        while pace.open_at() <= now {
            pace.spend(now, 1000);
            spent += 1000;
        }
        assert!(spent - before <= 11_000);
        let (due, start) = (pace.due, now);
        pace.hurry(true);
        pace.spend(now, 8000);
        assert_eq!(pace.due - due.max(start), MILLISECOND);
    }
}
