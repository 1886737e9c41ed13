//! A service on a thread of its own, for as long as its node lives.
//!
//! SHELL. Where the host does not give what the thread is configured with, it runs all the same,
//! and the words for the start line say what that costs.
#![allow(clippy::disallowed_methods, reason = "shell: waits for a thread")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::agent::{self, AgentThread, IdleStrategy};
use lockstep_transport::media::monotonic_now;

use crate::apply::service_runner::ServiceRunner;
use crate::settings::config::NodeConfig;

/// Threads of a node whose service has one of its own.
const THREADS: usize = 2;

/// A service that does not return is waited for so often, so long each time, when its node ends:
/// [`END_PATIENCE_S`] in all.
const END_CHECKS: u32 = 200;
const END_CHECK: Duration = Duration::from_millis(10);

/// For how long that is, in seconds.
pub(super) const END_PATIENCE_S: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceThread<S: ClusteredService + Send + 'static> {
    thread: Option<AgentThread<ServiceRunner<S>>>,
}

/// How the thread is to run on this host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServicePlan {
    idle: IdleStrategy,
    core: Option<usize>,
    /// For the start line.
    pub words: String,
}

impl ServicePlan {
    /// As near to what `node` asks for as the `cores` permit that this process may use.
    pub fn new(node: &NodeConfig, cores: &[usize]) -> Self {
        let (idle, downgrade) = node.service_idle.fit(THREADS, cores.len());
        let mut words = match downgrade {
            None => format!("service on a thread of its own, {idle}"),
            Some(reason) => format!("service on a thread of its own, {reason}"),
        };
        let core = node.service_core.filter(|core| cores.contains(core));
        match (core, node.service_core) {
            (Some(core), _) => words.push_str(&format!(", on core {core}")),
            (None, Some(core)) => words.push_str(&format!(
                ", not pinned: this process may not use core {core}, only {cores:?}; costs moves \
                 between cores"
            )),
            (None, None) => words.push_str(", not pinned"),
        }
        if cores.len() < THREADS {
            words.push_str("; it shares the only core with the node: costs waiting for turns");
        }
        Self { idle, core, words }
    }
}

impl<S: ClusteredService + Send + 'static> ServiceThread<S> {
    /// Starts it.
    ///
    /// # Errors
    /// The operating system's, when it has no thread to give.
    pub fn start(runner: ServiceRunner<S>, plan: &ServicePlan) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = agent::spawn(runner, plan.idle, plan.core, stop, monotonic_now)?;
        Ok(Self {
            thread: Some(thread),
        })
    }

    /// Ends it after the entry that the service is at. Returns whether it has ended: one that
    /// hangs in the service goes with the process, which is not to hang for it.
    pub fn end(&mut self) -> bool {
        let Some(thread) = self.thread.take() else {
            return true;
        };
        thread.stop();
        for _ in 0..END_CHECKS {
            if thread.is_finished() {
                return true;
            }
            std::thread::sleep(END_CHECK);
        }
        std::mem::forget(thread);
        false
    }
}

impl<S: ClusteredService + Send + 'static> Drop for ServiceThread<S> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(idle: IdleStrategy, core: Option<usize>, cores: &[usize]) -> ServicePlan {
        let node = NodeConfig {
            service_idle: idle,
            service_core: core,
            ..NodeConfig::default()
        };
        ServicePlan::new(&node, cores)
    }

    #[test]
    fn the_thread_runs_as_asked_for_where_the_host_permits() {
        let granted = plan(IdleStrategy::BusySpin, Some(2), &[0, 1, 2]);
        assert_eq!(
            (granted.idle, granted.core),
            (IdleStrategy::BusySpin, Some(2))
        );
        assert_eq!(
            granted.words,
            "service on a thread of its own, busy-spin, on core 2"
        );
    }

    #[test]
    fn what_the_host_does_not_give_is_named_with_what_that_costs() {
        let spinning = plan(IdleStrategy::BusySpin, None, &[0, 1]);
        assert_eq!(spinning.idle, IdleStrategy::Yield);
        assert!(
            spinning.words.contains("yield instead of busy-spin"),
            "{spinning:?}"
        );
        let elsewhere = plan(IdleStrategy::Yield, Some(7), &[0, 1]);
        assert_eq!(elsewhere.core, None);
        assert!(
            elsewhere.words.contains("may not use core 7"),
            "{elsewhere:?}"
        );
        let alone = plan(IdleStrategy::Yield, None, &[0]);
        assert!(alone.words.contains("the only core"), "{alone:?}");
    }
}
