//! What this agent tells tools.

use lockstep_transport::datagram_port::DatagramPort;

use super::ConsensusAgent;
use crate::module::consensus_module::Role;
use crate::module::membership::Standing;
use crate::node::counters::Counter;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Writes what changes with every cycle.
    pub(in crate::node) fn publish(&mut self) {
        let counters = &mut self.counters;
        let role = match self.module.role() {
            Role::Follower => 0,
            Role::PreCandidate => 1,
            Role::Candidate => 2,
            Role::Leader => 3,
        };
        let leader = self.module.leader().map_or(-1, i64::from);
        counters.set(Counter::Role, role);
        counters.set(Counter::Term, self.module.term().get());
        counters.set(Counter::Leader, leader);
        counters.set(
            Counter::Voter,
            i64::from(self.membership.standing() == Standing::Voter),
        );
        let elections = self.module.elections();
        counters.set(Counter::Elections, elections as i64);
        counters.set(Counter::Append, self.log.append());
        counters.set(Counter::Commit, self.module.commit());
        counters.set(Counter::Applied, self.applier.position());
        let is_open = self.leadership.is_open();
        counters.set(Counter::IngressOpen, i64::from(is_open));
        let sessions = self.applier.sessions().sessions().len();
        counters.set(Counter::Sessions, sessions as i64);
        counters.set(Counter::Refused, self.notices.total() as i64);
        let (waited, unverified) = (self.agreement.waited(), self.agreement.unverified());
        counters.set(Counter::AnswersWaited, waited as i64);
        counters.set(Counter::AnswersUnverified, unverified as i64);
    }
}
