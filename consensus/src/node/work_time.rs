//! How long the duty cycles took that did work, measured by the times that the thread was handed
//! anyway: such a cycle is followed by the next at once, whose time is when it ended.

use lockstep_transport::time::Nanos;

use crate::node::counters::{Counter, CounterBlock};
use crate::settings::threading::AgentName;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkTime {
    /// When the last cycle began, if it did work.
    began: Option<Nanos>,
    /// Cycles that did work.
    pub cycles: i64,
    /// Their time, ns.
    pub total_ns: Nanos,
    /// That of the longest, ns.
    pub longest_ns: Nanos,
}

impl WorkTime {
    /// A cycle begins: the one before has ended. Returns whether it is a new one to be counted.
    pub fn begin(&mut self, now: Nanos) -> bool {
        let Some(began) = self.began.take() else {
            return false;
        };
        let took = now - began;
        self.cycles += 1;
        self.total_ns += took;
        self.longest_ns = self.longest_ns.max(took);
        true
    }

    /// The cycle that began at `now` did so much work.
    pub fn end(&mut self, now: Nanos, work: usize) {
        self.began = (work > 0).then_some(now);
    }

    /// Writes it as that of the thread whose first agent is this one.
    pub fn write(&self, first: AgentName, block: &mut CounterBlock) {
        let values = [self.cycles, self.total_ns, self.longest_ns];
        for (counter, value) in Counter::work_of(first).into_iter().zip(values) {
            block.set(counter, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cycles_that_did_work_are_counted_and_idle_time_is_not() {
        let mut time = WorkTime::default();
        for (now, work) in [(0, 0), (100, 2), (110, 1), (140, 0), (900, 0)] {
            let is_new = time.begin(now);
            assert_eq!(is_new, [110, 140].contains(&now));
            time.end(now, work);
        }
        let counted = (time.cycles, time.total_ns, time.longest_ns);
        assert_eq!(counted, (2, 40, 30));
    }
}
