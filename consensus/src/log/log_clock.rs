//! The clock of the log: continues the time of the last entry, and follows this member's wall
//! clock only as fast as a bounded slew allows (`log.md` 1.7).
//!
//! Log time never falls and never stands still while time passes: a leader whose wall clock is
//! ahead of the log lets it run at one and a half times real time, one whose clock is behind
//! at half of it, until both agree. So no leader's wrong clock is taken over at once, and
//! none that was taken over freezes the log's time after it.
//!
//! Only a member that has not heard the log live since it started does not know how long ago
//! the last entry was written: there the log's time may jump *forward* to its wall clock, once.
//! Owned by the node's agent. Pure.

use lockstep_transport::time::Nanos;

/// While log time is corrected it runs this part faster or slower than real time: half. An
/// error of an hour is gone after two, and durations measured by it are off by half at most.
pub(crate) const SLEW_DIVISOR: Nanos = 2;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogClock {
    time: i64,
    /// When `time` was right; unknown until an entry was heard live.
    at: Option<Nanos>,
}

impl LogClock {
    /// Of a log whose last entry has this time, written at an unknown moment.
    #[must_use]
    pub const fn recovered(log_time: i64) -> Self {
        Self {
            time: log_time,
            at: None,
        }
    }

    /// An entry of time `log_time` joined the log at `now`, as fresh as the network delivers;
    /// or, if not `is_live`, long after it was written.
    pub fn observe(&mut self, now: Nanos, log_time: i64, is_live: bool) {
        self.time = log_time;
        self.at = is_live.then_some(now);
    }

    /// The leader's reading at `now`, when its wall clock shows `wall`, both in ns. Never
    /// smaller than the one before.
    pub fn read(&mut self, now: Nanos, wall: i64) -> i64 {
        self.time = match self.at {
            Some(at) => {
                let elapsed = (now - at).max(0);
                let free = self.time.saturating_add(elapsed);
                let slew = elapsed / SLEW_DIVISOR;
                free.saturating_add(wall.saturating_sub(free).clamp(-slew, slew))
            }
            None => self.time.max(wall),
        };
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        self.time
    }

    /// By how much the log is ahead of the wall clock `wall` at `now`, ns; negative if behind.
    /// `None` until an entry was heard live.
    #[must_use]
    pub fn offset(&self, now: Nanos, wall: i64) -> Option<i64> {
        let at = self.at?;
        let free = self.time.saturating_add((now - at).max(0));
        Some(free.saturating_sub(wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_transport::time::SECOND;

    const HOUR: i64 = 3_600 * SECOND;

    #[test]
    fn a_clock_that_agrees_is_followed_exactly() {
        let mut clock = LogClock::recovered(5);
        for second in 1..10 {
            let now = second * SECOND;
            assert_eq!(clock.read(now, now + HOUR), now + HOUR);
            assert_eq!(clock.offset(now, now + HOUR), Some(0));
        }
    }

    #[test]
    fn a_log_hours_ahead_goes_on_at_half_of_real_time_until_the_clock_has_caught_up() {
        let mut clock = LogClock::recovered(0);
        clock.observe(0, 3 * HOUR, true);
        assert_eq!(clock.read(HOUR, HOUR), 3 * HOUR + HOUR / 2);
        assert_eq!(clock.offset(HOUR, HOUR), Some(2 * HOUR + HOUR / 2));
        assert_eq!(clock.read(6 * HOUR, 6 * HOUR), 6 * HOUR);
        assert_eq!(clock.read(7 * HOUR, 7 * HOUR), 7 * HOUR);
    }

    #[test]
    fn a_log_hours_behind_goes_on_at_one_and_a_half_times_real_time() {
        let mut clock = LogClock::recovered(0);
        clock.observe(0, HOUR, true);
        assert_eq!(clock.read(HOUR, 5 * HOUR), HOUR + HOUR + HOUR / 2);
        assert_eq!(clock.offset(HOUR, 5 * HOUR), Some(-(2 * HOUR + HOUR / 2)));
    }

    #[test]
    fn time_jumps_forward_only_where_the_age_of_the_log_is_unknown() {
        let mut clock = LogClock::recovered(HOUR);
        assert_eq!(clock.offset(7, HOUR), None);
        assert_eq!(clock.read(7, 9 * HOUR), 9 * HOUR);
        let mut behind = LogClock::recovered(9 * HOUR);
        assert_eq!(behind.read(7, HOUR), 9 * HOUR);
        assert!(behind.read(8, HOUR) >= 9 * HOUR);
        let mut caught_up = LogClock::recovered(0);
        caught_up.observe(7, HOUR, false);
        assert_eq!(caught_up.read(8, 9 * HOUR), 9 * HOUR);
    }

    #[test]
    fn no_step_of_the_wall_clock_takes_log_time_back_or_makes_it_leap() {
        let mut clock = LogClock::recovered(0);
        let mut before = clock.read(0, 100 * HOUR);
        let steps = [3 * HOUR, -5 * HOUR, i64::MAX / 2, i64::MIN / 2, 0];
        for (round, step) in steps.into_iter().enumerate() {
            let now = (round as i64 + 1) * SECOND;
            let time = clock.read(now, step);
            assert!((SECOND / 2..=SECOND + SECOND / 2).contains(&(time - before)));
            before = time;
        }
    }
}
