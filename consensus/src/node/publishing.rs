//! What a node tells tools: its counters, and the hashes that they ask for.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::trace::{TraceRecord, Tracer};

use crate::module::consensus_module::Role;
use crate::node::cluster_node::ClusterNode;
use crate::node::counters::Counter;
use crate::notice::NodeNotice;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
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

    /// Everything that was refused or amiss.
    fn notices_total(&self) -> u64 {
        self.agents.consensus.notices.total() + self.agents.clients.notices.total()
    }

    /// Writes the counts of all notices, where there are new ones.
    pub(super) fn publish_notice_counts(&mut self) {
        let total = self.notices_total();
        if total > self.published_notices {
            self.published_notices = total;
            let agents = &self.agents;
            let of_clients = agents.clients.notices.counts();
            let counts = agents.consensus.notices.counts().iter().zip(of_clients);
            self.counters
                .set_notices(counts.map(|(one, other)| one + other));
        }
    }

    /// Writes the hashes of the applied state for a tool that asked.
    pub(super) fn publish_hashes(&mut self) {
        let counters = &mut self.counters;
        if counters.get(Counter::HashRequest) == 0 {
            return;
        }
        let container = self.agents.service.container();
        counters.set(Counter::StateHash, container.state_hash() as i64);
        counters.set(Counter::OutputHash, container.output_hash() as i64);
        let position = self.agents.consensus.applier.position();
        counters.set(Counter::HashPosition, position);
        counters.set(Counter::HashRequest, 0);
    }

    /// Writes what changes with every cycle.
    pub(super) fn publish_counters(&mut self) {
        let total = self.notices_total();
        let (consensus, counters) = (&self.agents.consensus, &mut self.counters);
        let role = match consensus.module.role() {
            Role::Follower => 0,
            Role::PreCandidate => 1,
            Role::Candidate => 2,
            Role::Leader => 3,
        };
        let leader = consensus.module.leader().map_or(-1, i64::from);
        counters.set(Counter::Role, role);
        counters.set(Counter::Term, consensus.module.term().get());
        counters.set(Counter::Leader, leader);
        let elections = consensus.module.elections();
        counters.set(Counter::Elections, elections as i64);
        counters.set(Counter::Append, consensus.log.append());
        counters.set(Counter::Durable, self.agents.archive.durable());
        counters.set(Counter::Commit, consensus.module.commit());
        counters.set(Counter::Applied, consensus.applier.position());
        let is_open = consensus.leadership.is_open();
        counters.set(Counter::IngressOpen, i64::from(is_open));
        counters.set(Counter::Cycles, self.cycles);
        let sessions = consensus.applier.sessions().sessions().len();
        counters.set(Counter::Sessions, sessions as i64);
        counters.set(Counter::Refused, total as i64);
        let agreement = &consensus.agreement;
        let (waited, unverified) = (agreement.waited(), agreement.unverified());
        counters.set(Counter::AnswersWaited, waited as i64);
        counters.set(Counter::AnswersUnverified, unverified as i64);
    }
}
