//! A node that hands its leadership over, or is about to end and does so before (`log.md` 9.6).

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::time::Nanos;

use crate::module::consensus_module::{HandOverRefusal, Role};
use crate::module::member::MemberId;
use crate::node::cluster_node::ClusterNode;
use crate::node::leaving_step::Leaving;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Hands the leadership over, to `to` if somebody is named, because somebody has asked for it.
    /// Requests wait meanwhile.
    ///
    /// # Errors
    /// Why it does not.
    pub fn hand_over(&mut self, now: Nanos, to: Option<MemberId>) -> Result<(), HandOverRefusal> {
        self.agents.consensus.hand_over(now, to)
    }

    /// This node is about to end: it waits for a snapshot, where that is asked for, and if it leads
    /// it hands over. Drive it on until it has left.
    pub fn leave(&mut self, now: Nanos) {
        let awaited = self.await_snapshot(now).map(Leaving::Snapshot);
        self.leaving = Some(awaited.unwrap_or_else(|| self.begin_to_leave(now)));
        self.tend_leaving(now);
    }

    /// Whether a node that is about to end may: it leads nobody, or nobody has taken over in time.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        matches!(self.leaving, Some(Leaving::Left))
    }

    /// Whether it was told to end.
    #[cfg(feature = "sim")]
    pub(crate) const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Goes on with that.
    pub(super) fn tend_leaving(&mut self, now: Nanos) {
        if let Some(Leaving::Snapshot(awaited)) = self.leaving {
            self.leaving = Some(self.tend_awaited(now, awaited));
        }
        if let Some(Leaving::HandOver { until, has_led }) = self.leaving
            && (self.is_handed_over(now, has_led) || now >= until)
        {
            self.leaving = Some(Leaving::Left);
        }
    }

    pub(super) fn begin_to_leave(&mut self, now: Nanos) -> Leaving {
        let module = &mut self.agents.consensus.module;
        module.set_leaving();
        Leaving::HandOver {
            until: now + module.election_timeout_ns(),
            has_led: module.role() == Role::Leader,
        }
    }

    /// Hands over what it leads. Whether there is nothing to hand over any more.
    fn is_handed_over(&mut self, now: Nanos, has_led: bool) -> bool {
        let consensus = &mut self.agents.consensus;
        let is_settled = match consensus.module.role() {
            Role::Leader if consensus.module.is_handing_over() => false,
            Role::Leader => {
                let asked = consensus.hand_over(now, None);
                // It serves soon, and hands over then.
                asked.is_err_and(|refusal| refusal != HandOverRefusal::NotOpen)
            }
            // Its vote may be what its successor waits for.
            _ => !has_led || consensus.module.leader().is_some(),
        };
        is_settled || consensus.fault.is_some()
    }
}
