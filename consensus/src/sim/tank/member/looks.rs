//! What oracles see of a member while it runs.

use lockstep_transport::ids::LeadershipTermId;

use super::{AppliedState, TankMember};
use crate::module::consensus_module::Role;

impl TankMember {
    /// Whether it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        let module = self
            .node
            .as_ref()
            .map(|node| &node.agents().consensus.module);
        module.is_some_and(|module| module.role() == Role::Leader)
    }

    /// Where its log ends now, while it cuts off what was above.
    #[must_use]
    pub fn truncates_to(&self) -> Option<i64> {
        let agents = self.node.as_ref().map(|node| node.agents());
        agents
            .filter(|agents| agents.archive.is_truncating())
            .map(|agents| agents.consensus.log.append())
    }

    /// Its leadership term.
    #[must_use]
    pub fn term(&self) -> LeadershipTermId {
        self.node.as_ref().map_or(LeadershipTermId::NONE, |node| {
            node.agents().consensus.module.term()
        })
    }

    /// Leadership terms in its log.
    #[must_use]
    pub fn log_terms(&self) -> usize {
        let node = self.node.as_ref();
        node.map_or(0, |node| node.agents().consensus.module.terms().len())
    }

    /// What it has applied; `None` while its service has yet to execute it.
    #[must_use]
    pub fn applied_state(&self) -> Option<AppliedState> {
        let Some(node) = self.node.as_ref() else {
            return Some((0, 0, 0, 0));
        };
        let applier = &node.agents().consensus.applier;
        let container = node.container()?;
        let output = node.agents().service.outputs().output_hash();
        let sessions = applier.sessions().state_hash();
        Some((applier.position(), container.state_hash(), output, sessions))
    }

    /// Whether it leads nobody for want of answers that clients are owed, as far as it knows.
    pub fn lacks_answers(&self) -> bool {
        let node = self.node.as_ref();
        node.is_some_and(|node| node.agents().consensus.module.lacks_answers())
    }

    /// Where it stands, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.node {
            None => format!("member {} is down", self.config.member),
            Some(node) => {
                let agents = node.agents();
                format!(
                    "member {} {:?} term {} leader {:?} commit {} append {} durable {} \
                     applied {} lost {:?} lacks answers {} {:?} open {} follows {:?} fault {:?}",
                    self.config.member,
                    agents.consensus.module.role(),
                    agents.consensus.module.term(),
                    agents.consensus.module.leader(),
                    agents.consensus.module.commit(),
                    agents.consensus.log.append(),
                    agents.archive.durable(&agents.consensus.log),
                    agents.consensus.applier.position(),
                    agents.consensus.module.lost(),
                    agents.consensus.module.lacks_answers(),
                    agents.consensus.membership.standing(),
                    agents.consensus.leadership.is_open(),
                    node.followed_position(),
                    node.fault(),
                )
            }
        }
    }
}
