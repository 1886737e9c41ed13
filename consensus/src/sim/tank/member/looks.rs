//! What oracles see of a member while it runs.

use lockstep_transport::ids::LeadershipTermId;

use super::{AppliedState, TankMember};
use crate::module::consensus_module::Role;

impl TankMember {
    /// Whether it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        let module = self.node.as_ref().map(|node| &node.parts().module);
        module.is_some_and(|module| module.role() == Role::Leader)
    }

    /// Where its log ends now, while it cuts off what was above.
    #[must_use]
    pub fn truncates_to(&self) -> Option<i64> {
        let parts = self.node.as_ref().map(|node| node.parts());
        parts
            .filter(|parts| parts.archive.is_truncating())
            .map(|parts| parts.log.append())
    }

    /// Its leadership term.
    #[must_use]
    pub fn term(&self) -> LeadershipTermId {
        self.node
            .as_ref()
            .map_or(LeadershipTermId::NONE, |node| node.parts().module.term())
    }

    /// Leadership terms in its log.
    #[must_use]
    pub fn log_terms(&self) -> usize {
        let node = self.node.as_ref();
        node.map_or(0, |node| node.parts().module.terms().len())
    }

    /// What it has applied.
    #[must_use]
    pub fn applied_state(&self) -> AppliedState {
        self.node.as_ref().map_or((0, 0, 0, 0), |node| {
            let applier = &node.parts().applier;
            let container = applier.container();
            let sessions = applier.sessions().state_hash();
            (
                applier.position(),
                container.state_hash(),
                container.output_hash(),
                sessions,
            )
        })
    }

    /// Where it stands, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.node {
            None => format!("member {} is down", self.config.member),
            Some(node) => {
                let parts = node.parts();
                format!(
                    "member {} {:?} term {} leader {:?} commit {} append {} durable {} \
                     applied {} lost {:?} {:?} open {} follows {:?} fault {:?}",
                    self.config.member,
                    parts.module.role(),
                    parts.module.term(),
                    parts.module.leader(),
                    parts.module.commit(),
                    parts.log.append(),
                    parts.archive.durable(),
                    parts.applier.position(),
                    parts.module.lost(),
                    parts.membership.standing(),
                    parts.leadership.is_open(),
                    node.followed_position(),
                    node.fault(),
                )
            }
        }
    }
}
