//! The threads that a node has besides its own, for as long as it lives.
//!
//! SHELL. Each drives the agents that share it.
#![allow(clippy::disallowed_methods, reason = "shell: waits for a thread")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::agent::{self, Agent, AgentThread, WakeSources};
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::Nanos;

use crate::apply::service_runner::ServiceRunner;
use crate::node::measured_agent::MeasuredAgent;
use crate::node::thread_plan::PlannedThread;

/// A thread that does not end is waited for so often, so long each time, when its node ends:
/// [`END_PATIENCE_S`] in all.
const END_CHECKS: u32 = 200;
const END_CHECK: Duration = Duration::from_millis(10);

/// For how long that is, in seconds.
pub(super) const END_PATIENCE_S: u32 = 2;

/// What shares a thread.
#[derive(Debug)]
pub(super) struct AgentGroup<S> {
    role_name: String,
    service: Option<ServiceRunner<S>>,
}

impl<S: ClusteredService> AgentGroup<S> {
    /// A group of no agent yet, of the thread that is called so.
    pub fn new(role_name: String) -> Self {
        Self {
            role_name,
            service: None,
        }
    }

    /// With this service.
    pub fn with_service(mut self, service: Option<ServiceRunner<S>>) -> Self {
        self.service = service;
        self
    }
}

impl<S: ClusteredService> Agent for AgentGroup<S> {
    fn role_name(&self) -> &str {
        &self.role_name
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        self.service.as_mut().map_or(0, |agent| agent.do_work(now))
    }

    fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let service = self.service.as_ref();
        service.and_then(|agent| agent.next_deadline(now))
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        if let Some(agent) = &mut self.service {
            agent.name_wake_sources(sources);
        }
    }

    /// Once all have.
    fn has_ended(&self) -> bool {
        self.service.as_ref().is_none_or(Agent::has_ended)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct AgentThreads<S: ClusteredService + Send + 'static> {
    threads: Vec<AgentThread<MeasuredAgent<AgentGroup<S>>>>,
    /// Which of them has the service.
    of_service: Option<usize>,
}

impl<S: ClusteredService + Send + 'static> AgentThreads<S> {
    /// Starts one for each group, as planned.
    ///
    /// # Errors
    /// The operating system's, when it has no thread to give.
    pub fn start(groups: Vec<(MeasuredAgent<AgentGroup<S>>, &PlannedThread)>) -> io::Result<Self> {
        let has_service = |group: &MeasuredAgent<AgentGroup<S>>| group.agent().service.is_some();
        let of_service = groups.iter().position(|(group, _)| has_service(group));
        let spawn = |(group, plan): (MeasuredAgent<AgentGroup<S>>, &PlannedThread)| {
            let stop = Arc::new(AtomicBool::new(false));
            agent::spawn(group, plan.idle, plan.core, stop, monotonic_now)
        };
        let threads = groups.into_iter().map(spawn).collect::<io::Result<_>>()?;
        Ok(Self {
            threads,
            of_service,
        })
    }

    /// Ends the service's thread after the entry that it is at. Returns whether it has ended: one
    /// that hangs in the service goes with the process, which is not to hang for it.
    pub fn end_service(&mut self) -> bool {
        let Some(index) = self.of_service.take() else {
            return true;
        };
        let thread = self.threads.swap_remove(index);
        thread.stop();
        end(thread)
    }
}

/// Waits for a thread that is about to end; one that does not goes with the process.
fn end<A>(thread: AgentThread<A>) -> bool {
    for _ in 0..END_CHECKS {
        if thread.is_finished() {
            return true;
        }
        std::thread::sleep(END_CHECK);
    }
    std::mem::forget(thread);
    false
}

impl<S: ClusteredService + Send + 'static> Drop for AgentThreads<S> {
    /// The node is gone: its threads see that, and end when they have done what it ordered.
    fn drop(&mut self) {
        self.end_service();
        for thread in self.threads.drain(..) {
            end(thread);
        }
    }
}
