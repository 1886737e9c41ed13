//! An agent whose duty cycles are measured into a block of counters, which its thread alone writes.

use lockstep_transport::agent::{Agent, WakeSources};
use lockstep_transport::time::Nanos;

use crate::node::counters::CounterBlock;
use crate::node::work_time::WorkTime;
use crate::settings::threading::AgentName;

/// See the module.
#[derive(Debug)]
pub(super) struct MeasuredAgent<A> {
    agent: A,
    /// The first of those that it drives.
    first: AgentName,
    work_time: WorkTime,
    counters: CounterBlock,
}

impl<A> MeasuredAgent<A> {
    /// Measures `agent`, the agents of the thread whose first one is `first`.
    pub fn new(agent: A, first: AgentName, counters: CounterBlock) -> Self {
        Self {
            agent,
            first,
            work_time: WorkTime::default(),
            counters,
        }
    }

    /// The agent, to look at.
    pub const fn agent(&self) -> &A {
        &self.agent
    }
}

impl<A: Agent> Agent for MeasuredAgent<A> {
    fn role_name(&self) -> &str {
        self.agent.role_name()
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        // At once: this thread may sleep for long after it.
        if self.work_time.begin(now) {
            self.work_time.write(self.first, &mut self.counters);
        }
        let work = self.agent.do_work(now);
        self.work_time.end(now, work);
        work
    }

    fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        self.agent.next_deadline(now)
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.agent.name_wake_sources(sources);
    }

    fn has_ended(&self) -> bool {
        self.agent.has_ended()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::counters::{COUNTERS_FILE, Counter, CounterBlocks};

    /// An agent that does so much work in its next cycles.
    struct Worker(Vec<usize>);

    impl Agent for Worker {
        fn role_name(&self) -> &'static str {
            "worker"
        }

        fn do_work(&mut self, _now: Nanos) -> usize {
            self.0.pop().unwrap_or(0)
        }

        fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
            Some(now + 7)
        }

        fn has_ended(&self) -> bool {
            self.0.is_empty()
        }
    }

    #[test]
    fn the_cycles_of_an_agent_are_counted_as_soon_as_they_are_over_and_it_is_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(COUNTERS_FILE);
        let (_, mut threads) = CounterBlocks::create(&path).unwrap();
        let counters = threads.take(AgentName::Clients).unwrap();
        let worker = Worker(vec![0, 2, 1]);
        let mut agent = MeasuredAgent::new(worker, AgentName::Clients, counters);
        let mut counted = Vec::new();
        for now in [10, 15, 40, 90] {
            agent.do_work(now);
            counted.push(
                [
                    Counter::ClientsWorkCycles,
                    Counter::ClientsWorkTime,
                    Counter::ClientsWorkTimeMax,
                ]
                .map(|counter| agent.counters.get(counter)),
            );
        }
        assert_eq!(counted, [[0, 0, 0], [1, 5, 5], [2, 30, 25], [2, 30, 25]]);
        assert_eq!(
            (agent.role_name(), agent.next_deadline(1)),
            ("worker", Some(8))
        );
        assert!(agent.has_ended());
    }
}
