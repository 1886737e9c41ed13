//! A node that hands its leadership over, or is about to end and does so before (`log.md` 9.6).

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::time::Nanos;

use crate::module::consensus_module::{HandOverRefusal, Role};
use crate::module::member::MemberId;
use crate::node::cluster_node::{ClusterNode, Leaving};

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Hands the leadership over, to `to` if somebody is named, because somebody has asked for it.
    /// Requests wait meanwhile.
    ///
    /// # Errors
    /// Why it does not.
    pub fn hand_over(&mut self, now: Nanos, to: Option<MemberId>) -> Result<(), HandOverRefusal> {
        self.agents.consensus.hand_over(now, to)
    }

    /// This node is about to end: if it leads, it hands over before. Drive it on until it
    /// has left.
    pub fn leave(&mut self, now: Nanos) {
        let module = &mut self.agents.consensus.module;
        module.set_leaving();
        self.leaving = Some(Leaving {
            until: now + module.election_timeout_ns(),
            has_led: module.role() == Role::Leader,
            has_left: false,
        });
        self.tend_leaving(now);
    }

    /// Whether a node that is about to end may: it leads nobody, or nobody has taken over in time.
    #[must_use]
    pub(crate) fn has_left(&self) -> bool {
        self.leaving.is_some_and(|leaving| leaving.has_left)
    }

    /// Goes on with that.
    pub(super) fn tend_leaving(&mut self, now: Nanos) {
        let Some(mut leaving) = self.leaving else {
            return;
        };
        let consensus = &mut self.agents.consensus;
        let is_settled = match consensus.module.role() {
            Role::Leader if consensus.module.is_handing_over() => false,
            Role::Leader => {
                let asked = consensus.hand_over(now, None);
                // It serves soon, and hands over then.
                asked.is_err_and(|refusal| refusal != HandOverRefusal::NotOpen)
            }
            // Its vote may be what its successor waits for.
            _ => !leaving.has_led || consensus.module.leader().is_some(),
        };
        leaving.has_left = is_settled || now >= leaving.until || consensus.fault.is_some();
        self.leaving = Some(leaving);
    }
}
