//! The threads that a node has besides its own, for as long as it lives.
//!
//! SHELL. Each drives the agents that share it.
#![allow(clippy::disallowed_methods, reason = "shell: waits for a thread")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lockstep_archive::storage::StorageRunner;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::agent::{self, Agent, AgentThread, PinRefused, WakeSources};
use lockstep_transport::media::{NetworkPort, monotonic_now};
use lockstep_transport::queued_port::PortRunner;
use lockstep_transport::time::{Nanos, earliest};

use crate::apply::service_runner::ServiceRunner;
use crate::node::measured_agent::MeasuredAgent;
use crate::node::thread_plan::PlannedThread;
use crate::settings::threading::AgentName;

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
    members: GroupMembers<S>,
}

/// What may be on a thread beside the node's own.
#[derive(Debug)]
pub(super) struct GroupMembers<S> {
    /// Carries out what the archive has ordered.
    pub archive: Option<StorageRunner>,
    /// Sends and hears for the client side.
    pub clients: Option<PortRunner<NetworkPort>>,
    /// Executes for the service.
    pub service: Option<Box<ServiceRunner<S>>>,
}

impl<S> Default for GroupMembers<S> {
    fn default() -> Self {
        Self {
            archive: None,
            clients: None,
            service: None,
        }
    }
}

impl<S> GroupMembers<S> {
    /// Takes those of these agents out.
    pub fn take(&mut self, agents: impl Iterator<Item = AgentName>) -> Self {
        let mut taken = Self::default();
        for agent in agents {
            match agent {
                AgentName::Consensus => {}
                AgentName::Archive => taken.archive = self.archive.take(),
                AgentName::Clients => taken.clients = self.clients.take(),
                AgentName::Service => taken.service = self.service.take(),
            }
        }
        taken
    }
}

impl<S> AgentGroup<S> {
    /// Those of the thread that is called so.
    pub const fn new(role_name: String, members: GroupMembers<S>) -> Self {
        Self { role_name, members }
    }
}

impl<S: ClusteredService> Agent for AgentGroup<S> {
    fn role_name(&self) -> &str {
        &self.role_name
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        let GroupMembers {
            archive,
            clients,
            service,
        } = &mut self.members;
        let archive = archive.as_mut().map_or(0, |end| end.do_work(now));
        let clients = clients.as_mut().map_or(0, |end| end.do_work(now));
        let service = service.as_mut().map_or(0, |agent| agent.do_work(now));
        archive + clients + service
    }

    fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let GroupMembers {
            archive,
            clients,
            service,
        } = &self.members;
        let archive = archive.as_ref().and_then(StorageRunner::next_deadline);
        let clients = clients.as_ref().and_then(PortRunner::next_deadline);
        let service = service.as_ref().and_then(|agent| agent.next_deadline(now));
        earliest(earliest(archive, clients), service)
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        if let Some(end) = &mut self.members.archive {
            end.name_wake_sources(sources);
        }
        if let Some(end) = &mut self.members.clients {
            end.name_wake_sources(sources);
        }
        if let Some(agent) = &mut self.members.service {
            agent.name_wake_sources(sources);
        }
    }

    /// Once all have.
    fn has_ended(&self) -> bool {
        let GroupMembers {
            archive,
            clients,
            service,
        } = &self.members;
        archive.as_ref().is_none_or(StorageRunner::has_ended)
            && clients.as_ref().is_none_or(PortRunner::has_ended)
            && service.as_ref().is_none_or(|agent| agent.has_ended())
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct AgentThreads<S: ClusteredService + Send + 'static> {
    threads: Vec<GroupThread<S>>,
}

#[derive(Debug)]
struct GroupThread<S> {
    name: String,
    has_service: bool,
    has_disk: bool,
    thread: AgentThread<MeasuredAgent<AgentGroup<S>>>,
}

impl<S: ClusteredService + Send + 'static> AgentThreads<S> {
    /// Starts one for each group, as planned.
    ///
    /// # Errors
    /// The operating system's, when it has no thread to give.
    pub fn start(groups: Vec<(MeasuredAgent<AgentGroup<S>>, &PlannedThread)>) -> io::Result<Self> {
        let spawn = |(group, plan): (MeasuredAgent<AgentGroup<S>>, &PlannedThread)| {
            let stop = Arc::new(AtomicBool::new(false));
            Ok(GroupThread {
                name: group.role_name().to_owned(),
                has_service: group.agent().members.service.is_some(),
                has_disk: group.agent().members.archive.is_some(),
                thread: agent::spawn(group, plan.idle, plan.core, stop, monotonic_now)?,
            })
        };
        let threads = groups.into_iter().map(spawn).collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// Those that were refused their core, by their places in the plan, where the node's own has
    /// the first.
    pub fn refused(&self) -> impl Iterator<Item = (usize, PinRefused)> {
        let refused = |(place, one): (usize, &GroupThread<S>)| {
            let refused = one.thread.pinned().err()?;
            Some((place, refused))
        };
        (1..).zip(&self.threads).filter_map(refused)
    }

    /// One that has ended although its node goes on. A service tells by itself why it has.
    pub fn ended(&self) -> Option<&str> {
        let is_lost = |one: &&GroupThread<S>| !one.has_service && one.thread.is_finished();
        let ended = self.threads.iter().find(is_lost);
        ended.map(|one| one.name.as_str())
    }

    /// Whether the disk waits while the service is at an entry.
    pub fn has_disk_with_service(&self) -> bool {
        self.threads
            .iter()
            .any(|one| one.has_service && one.has_disk)
    }

    /// Ends the service's thread after the entry that it is at. Returns whether it has ended: one
    /// that hangs in the service goes with the process, which is not to hang for it.
    pub fn end_service(&mut self) -> bool {
        let Some(index) = self.threads.iter().position(|one| one.has_service) else {
            return true;
        };
        let one = self.threads.swap_remove(index);
        one.thread.stop();
        end(one.thread)
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
        for one in self.threads.drain(..) {
            end(one.thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_service::samples::echo::Echo;
    use lockstep_transport::agent::IdleStrategy;

    use super::*;
    use crate::node::counters::{COUNTERS_FILE, CounterBlocks};

    /// A thread with nothing on it: it ends at once.
    fn empty(core: Option<usize>) -> AgentThreads<Echo> {
        let group = AgentGroup::<Echo>::new("clients-1".to_owned(), GroupMembers::default());
        let plan = PlannedThread {
            name: "clients".to_owned(),
            idle: IdleStrategy::Yield,
            core,
        };
        let place = tempfile::tempdir().unwrap();
        let (_, mut blocks) = CounterBlocks::create(&place.path().join(COUNTERS_FILE)).unwrap();
        let block = blocks.take(AgentName::Clients).unwrap();
        let group = MeasuredAgent::new(group, AgentName::Clients, block);
        AgentThreads::start(vec![(group, &plan)]).unwrap()
    }

    #[test]
    fn a_thread_that_is_refused_its_core_is_told_by_its_place_in_the_plan() {
        let refused = |core| empty(core).refused().collect::<Vec<_>>();
        assert_eq!(refused(Some(1_000)), [(1, PinRefused { core: 1_000 })]);
        assert_eq!(refused(None), []);
    }

    #[test]
    fn a_thread_that_has_ended_is_named() {
        let mut threads = empty(None);
        for _ in 0..END_CHECKS {
            if threads.ended().is_some() {
                break;
            }
            std::thread::sleep(END_CHECK);
        }
        assert_eq!(threads.ended(), Some("clients-1"));
        assert!(threads.end_service(), "there is none");
    }
}
