//! What the consensus module has asked for goes to the agents that it concerns, in order.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::time::Nanos;

use crate::module::action::{Action, HaltReason};
use crate::node::cluster_node::ClusterNode;
use crate::node::fault::NodeFault;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Does what the module has asked for, in order. Returns how much that was.
    #[inline]
    pub(super) fn carry_out(&mut self, now: Nanos) -> usize {
        // Asked many times a cycle, and nearly always there is nothing.
        if self.agents.consensus.actions.as_slice().is_empty() {
            return 0;
        }
        self.carry_out_all(now)
    }

    fn carry_out_all(&mut self, now: Nanos) -> usize {
        let mut index = 0;
        while let Some(action) = self.agents.consensus.actions.get(index) {
            index += 1;
            self.perform(now, action);
        }
        self.agents.consensus.actions.clear();
        index
    }

    fn perform(&mut self, now: Nanos, action: Action) {
        let consensus = &mut self.agents.consensus;
        let archive = &mut self.agents.archive;
        match action {
            Action::PersistState { term, vote } => archive.persist_state(now, term, vote),
            Action::Send { to, message } => consensus.send_of_module(now, to, message),
            Action::HashLog { member, position } => consensus.chain_query.ask(member, position),
            Action::Differs {
                member,
                position,
                own,
                other,
                was_joined,
            } => consensus.note_difference(now, (member, position), (own, other), was_joined),
            Action::StopPlacing => consensus.stop_following(),
            Action::Truncate { position } => archive.begin_truncation(position, &consensus.log),
            Action::Follow {
                leader, position, ..
            } => consensus.follow(leader, position),
            Action::Lead { term } => consensus.lead(now, term, archive),
            Action::Replicate { member, position } => consensus.replicate(member, position),
            Action::Abdicate => self.abdicate(),
            Action::HandOverFailed { to } => consensus.note_hand_over_failed(now, to),
            Action::Commit { position } => consensus.on_committed(position),
            Action::Halt { reason } => self.halt(reason),
        }
    }

    /// Stops for good; a failure of storage is told by its own words.
    fn halt(&mut self, reason: HaltReason) {
        let failure = match reason {
            HaltReason::StorageFailed => self.agents.archive.failure(),
            _ => None,
        };
        let fault = failure.map_or(NodeFault::Halted(reason), NodeFault::from);
        self.agents.consensus.fault = Some(fault);
    }

    /// What a leader knows goes with its leadership, whichever agent knows it.
    fn abdicate(&mut self) {
        self.agents.consensus.abdicate();
        self.agents.clients.abdicate();
        self.agents.service.stop_appending();
    }
}
