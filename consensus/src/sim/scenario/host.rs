//! A member's host: its disk, the node that runs on it while it is up, and its clock.

use core::fmt::Write as _;

use lockstep_archive::sim::SimDisk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::Nanos;

use super::boot::SimNode;
use crate::node::closing::Closing;
use crate::node::fault::{NodeFault, StoreFailure};
use crate::sim::service_time;
use crate::sim::shared_memory::SharedMemory;
use crate::sim::stored_log::MemoryTail;
use crate::sim::wall_clock::TRUE_WALL_OFFSET;

/// See the module.
pub struct Host<S> {
    pub disk: SimDisk,
    /// Where its process keeps what is to outlive it.
    pub memory: SharedMemory,
    /// What the process before had in memory alone.
    left: MemoryTail,
    pub node: Option<SimNode<S>>,
    /// Its process acknowledges what its page cache has.
    pub is_unsynced: bool,
    pub wall_offset: i64,
    /// Its process does nothing before.
    pub busy_until: Nanos,
    /// Its service, on a thread of its own, does nothing before.
    pub service_busy_until: Nanos,
    /// It was told to stop: no duty cycle follows.
    is_closing: bool,
    /// The longest duty cycle so far, in its service's time.
    pub longest_cycle: Nanos,
}

impl<S: ClusteredService> Host<S> {
    pub fn new(disk: SimDisk) -> Self {
        Self {
            disk,
            memory: SharedMemory::default(),
            left: MemoryTail::default(),
            node: None,
            is_unsynced: false,
            wall_offset: TRUE_WALL_OFFSET,
            busy_until: 0,
            service_busy_until: 0,
            is_closing: false,
            longest_cycle: 0,
        }
    }

    pub fn fault(&self) -> Option<&NodeFault> {
        self.node.as_ref().and_then(SimNode::fault)
    }

    pub fn is_to_start_again(&self) -> bool {
        self.fault().is_some_and(NodeFault::is_to_start_again)
    }

    pub fn leads(&self) -> bool {
        let node = self.node.as_ref().filter(|node| node.fault().is_none());
        node.is_some_and(|node| node.agents().consensus.leadership.is_open())
    }

    pub fn describe(&self) -> String {
        let Some(node) = &self.node else {
            return "is down".to_owned();
        };
        let agents = node.agents();
        let mut words = format!(
            "{:?} {:?} of term {}, commit {}, durable {}, applied {}",
            agents.consensus.membership.standing(),
            agents.consensus.module.role(),
            agents.consensus.module.term(),
            agents.consensus.module.commit(),
            agents.archive.durable(&agents.consensus.log),
            agents.consensus.applier.position(),
        );
        if self.leads() {
            words.push_str(", leads");
        }
        if let Some(fault) = node.fault() {
            let written = write!(words, ", has stopped: {fault}");
            written.expect("a string takes everything");
        }
        words
    }

    /// Its process is gone: who comes next is a process of its own.
    pub fn end_process(&mut self) -> Option<SimNode<S>> {
        (self.busy_until, self.is_closing) = (0, false);
        self.service_busy_until = 0;
        self.left = self.tail();
        self.node.take()
    }

    /// What is, or was when its process ended, in memory alone of its log.
    pub fn tail(&self) -> MemoryTail {
        match &self.node {
            Some(node) => MemoryTail::of(&node.agents().archive, &node.agents().consensus.log),
            None => self.left.clone(),
        }
    }

    /// What was in memory has gone.
    pub fn lose_memory(&mut self) {
        self.memory.lose();
        self.left = MemoryTail::default();
    }

    /// It goes on with ending, if it is not busy: whether it has ended.
    pub fn close(&mut self, now: Nanos) -> Result<Closing, StoreFailure> {
        self.is_closing = true;
        match &mut self.node {
            Some(node) if now >= self.busy_until => node.close(now),
            Some(_) => Ok(Closing::Waiting),
            None => Ok(Closing::Closed),
        }
    }

    /// One duty cycle, unless it is down, ends or is busy: how much it found to do.
    pub fn run(&mut self, now: Nanos) -> Option<usize> {
        let is_held = self.is_closing || now < self.busy_until;
        let node = self.node.as_mut().filter(|_| !is_held)?;
        let before = service_time::spent();
        let mut work = node.do_work(now);
        let took = service_time::spent() - before;
        self.busy_until = now + took;
        self.longest_cycle = self.longest_cycle.max(took);
        if now >= self.service_busy_until {
            let before = service_time::spent();
            work += node.step_service(now);
            self.service_busy_until = now + service_time::spent() - before;
        }
        Some(work)
    }
}
