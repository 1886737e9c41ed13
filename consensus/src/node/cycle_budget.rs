//! Bounds a duty cycle in time: a service that takes milliseconds must not keep heartbeats,
//! acknowledgements and the network waiting for as many entries as a cycle may have.
//!
//! Time is measured by a clock that the shell hands in; without one only counts bound a cycle.
//! One callback cannot be interrupted: a cycle is over by at most one.

use lockstep_transport::time::Nanos;

/// A cycle may execute entries for this part of a heartbeat interval: ten cycles fit between
/// two heartbeats, and a late one is noticed by nobody.
const CYCLES_PER_HEARTBEAT: Nanos = 10;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CycleBudget {
    clock: Option<fn() -> Nanos>,
    limit_ns: Nanos,
    slow_ns: Nanos,
    began: Nanos,
    last: Nanos,
}

impl CycleBudget {
    /// For a member that sends heartbeats so often. Without a clock time is not bounded.
    #[must_use]
    pub const fn new(heartbeat_interval_ns: Nanos) -> Self {
        Self {
            clock: None,
            limit_ns: heartbeat_interval_ns / CYCLES_PER_HEARTBEAT,
            slow_ns: heartbeat_interval_ns,
            began: 0,
            last: 0,
        }
    }

    /// Measures by this monotonic clock from now on.
    pub const fn measure_with(&mut self, clock: fn() -> Nanos) {
        self.clock = Some(clock);
    }

    /// A cycle begins.
    pub fn begin(&mut self) {
        if let Some(clock) = self.clock {
            self.began = clock();
            self.last = self.began;
        }
    }

    /// Entries are about to be executed: what came before is not the service's time.
    pub fn begin_lap(&mut self) {
        if let Some(clock) = self.clock {
            self.last = clock();
        }
    }

    /// An entry was executed. Returns how long that took when it took longer than a heartbeat
    /// interval, which its operator should know.
    pub fn lap(&mut self) -> Option<Nanos> {
        let clock = self.clock?;
        let now = clock();
        let took = now - self.last;
        self.last = now;
        self.is_slow(took).then_some(took)
    }

    /// Whether executing an entry took longer than a heartbeat interval.
    #[must_use]
    pub const fn is_slow(&self, took: Nanos) -> bool {
        took > self.slow_ns
    }

    /// Whether this cycle has executed entries for long enough.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.clock.is_some() && self.last - self.began >= self.limit_ns
    }
}

#[cfg(test)]
mod tests;
