//! When an agent that has a thread of its own runs: at once, or after a stall of microseconds to
//! seconds, as a thread does that its host has no core for.

use lockstep_transport::prng::Prng;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

use crate::sim::service_time;

/// A stall may come when so much time has gone by since the one before, at most.
const RUN_MAX_NS: Nanos = 20 * MILLISECOND;

/// How long stalls are at most: short ones, and one in so many long.
const SHORT_STALL_NS: Nanos = 300 * MICROSECOND;
const LONG_STALL_NS: Nanos = 2 * SECOND;
const STALLS_PER_LONG: u64 = 256;

/// The turns of one agent of a member. See the module.
#[derive(Debug)]
pub struct Turns {
    random: Prng,
    /// It does nothing before.
    until: Nanos,
    /// From then on it may stall.
    stall_at: Nanos,
    has_stalls: bool,
}

impl Turns {
    /// Of the agent whose seed this is.
    pub fn new(seed: u64) -> Self {
        let mut random = Prng::new(seed);
        Self {
            stall_at: random.range(0..RUN_MAX_NS as u64) as Nanos,
            random,
            until: 0,
            has_stalls: true,
        }
    }

    /// A process begins.
    pub const fn begin(&mut self) {
        self.until = 0;
    }

    /// It runs whenever it has something to do from now on.
    pub const fn end_stalls(&mut self) {
        self.until = 0;
        self.has_stalls = false;
    }

    /// Whether it runs before the rest of its node in this cycle rather than after it.
    pub fn is_first(&mut self) -> bool {
        self.random.chance(0.5)
    }

    /// Whether it can run now.
    #[must_use]
    pub const fn may_run(&self, now: Nanos) -> bool {
        now >= self.until
    }

    /// Until when it does nothing, if that is later than now.
    #[must_use]
    pub fn held_up(&self, now: Nanos) -> Option<Nanos> {
        (!self.may_run(now)).then_some(self.until)
    }

    /// Has it do what it has to do, unless it is busy or stalled; a stall may follow what it does.
    /// Returns how much that was, and how long the stall lasts.
    pub fn run(&mut self, now: Nanos, step: impl FnOnce() -> usize) -> (usize, Nanos) {
        if !self.may_run(now) {
            return (0, 0);
        }
        let before = service_time::spent();
        let work = step();
        if work == 0 {
            return (0, 0);
        }
        let busy_until = now + service_time::spent() - before;
        let stall = self.draw_stall(busy_until);
        self.until = busy_until + stall;
        (work, stall)
    }

    fn draw_stall(&mut self, now: Nanos) -> Nanos {
        if !self.has_stalls || now < self.stall_at {
            return 0;
        }
        let is_long = self.random.range(0..STALLS_PER_LONG) == 0;
        let longest = if is_long {
            LONG_STALL_NS
        } else {
            SHORT_STALL_NS
        };
        let stall = self.random.range(1..longest as u64) as Nanos;
        self.stall_at = now + stall + self.random.range(1..RUN_MAX_NS as u64) as Nanos;
        stall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_are_short_mostly_last_up_to_seconds_and_end_with_the_faults() {
        let mut turns = Turns::new(7);
        let (mut now, mut short, mut long) = (0, 0, 0);
        for _ in 0..100_000 {
            now += MILLISECOND;
            if !turns.may_run(now) {
                assert!(turns.held_up(now).is_some_and(|until| until > now));
                assert_eq!(turns.run(now, || unreachable!()), (0, 0));
                continue;
            }
            match turns.run(now, || 1) {
                (_, 0) => {}
                (_, stall) if stall < SHORT_STALL_NS => short += 1,
                (_, stall) => {
                    assert!(stall < LONG_STALL_NS);
                    long += 1;
                }
            }
        }
        assert!(short > 5_000 && (5..100).contains(&long), "{short} {long}");
        turns.end_stalls();
        for _ in 0..1_000 {
            now += MILLISECOND;
            assert_eq!(turns.run(now, || 1), (1, 0));
            assert!(turns.may_run(now));
        }
    }
}
