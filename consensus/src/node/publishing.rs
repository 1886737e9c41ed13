//! What a node tells tools: what its agents count, each by itself, and the hashes that tools ask
//! for.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::trace::{TraceRecord, Tracer};

use crate::node::cluster_node::ClusterNode;
use crate::node::counters::Counter;
use crate::notice::NodeNotice;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// One of its counters, as other processes read it.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> i64 {
        let agents = &self.agents;
        let blocks = [
            &self.counters,
            &agents.consensus.counters,
            &agents.archive.counters,
            &agents.service.counters,
            &agents.clients.counters,
        ];
        blocks.into_iter().map(|block| block.get(counter)).sum()
    }

    /// Of what was refused or amiss in this way.
    #[must_use]
    pub fn notice_count(&self, kind: NodeNotice) -> u64 {
        self.agents.consensus.notices.count(kind) + self.agents.clients.notices.count(kind)
    }

    /// The agents' trace points so far, each agent's oldest first.
    #[must_use]
    pub(crate) fn trace_records(&self) -> Vec<TraceRecord> {
        let agents = &self.agents;
        let (service, clients) = (&agents.service, &agents.clients);
        let tracers = [&agents.consensus.tracer, &service.tracer, &clients.tracer];
        tracers.into_iter().flat_map(Tracer::records).collect()
    }

    /// Has the agents write what changes with every cycle.
    pub(super) fn publish_counters(&mut self) {
        self.counters.set(Counter::Cycles, self.cycles);
        let agents = &mut self.agents;
        agents.consensus.publish();
        agents.archive.publish(&agents.consensus.log);
        agents.clients.publish();
    }

    /// Has them write what is written ten times a second: counts of all notices, and the hashes of
    /// the applied state for a tool that asked.
    pub(super) fn publish_seldom(&mut self) {
        let agents = &mut self.agents;
        let consensus = &mut agents.consensus;
        consensus.counters.set_notices(&consensus.notices);
        let clients = &mut agents.clients;
        clients.counters.set_notices(&clients.notices);
        let applied = consensus.applier.position();
        agents.service.publish_hashes(applied);
        agents.service.wake();
    }
}
