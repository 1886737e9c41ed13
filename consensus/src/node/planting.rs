//! Rules that a node breaks on purpose: planted faults that the simulator must find
//! (`docs/simulator.md`). Compiled with the feature `sim` only, called by the simulator only.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::time::Nanos;

use crate::node::cluster_node::ClusterNode;
use crate::session::leader_sessions::PlantedAdmission;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// `log.md` 5.7: a leader appends before its own first entry is applied.
    pub(crate) fn open_leadership_early(&mut self, now: Nanos) {
        let agents = &mut self.agents;
        if agents.consensus.leadership.is_leading() && !agents.consensus.leadership.is_open() {
            let sessions = agents.consensus.applier.sessions();
            agents.consensus.leadership.open_at_once(sessions, now);
            let egress = &mut agents.clients.egress;
            let service = &mut agents.service;
            agents.consensus.serve_sessions(now, service, egress);
        }
    }

    /// `log.md` 6.6: no session is ever found to be silent.
    pub(crate) fn overlook_silence(&mut self, now: Nanos) {
        let sessions = &mut self.agents.consensus.leadership.sessions;
        while sessions.pop_silent(now).is_some() {}
    }

    /// `log.md` 6.3 and 6.4: neither the leader nor the table of sessions knows a request again.
    pub(crate) fn apply_duplicates(&mut self) {
        self.agents
            .consensus
            .applier
            .sessions_mut()
            .apply_duplicates();
        let repeats = true;
        self.agents
            .consensus
            .leadership
            .sessions
            .plant(PlantedAdmission {
                repeats,
                ..PlantedAdmission::default()
            });
    }

    /// A process speaks on while another one is about to take its session over.
    pub(crate) fn never_wait_for_takeovers(&mut self) {
        let never_waits = true;
        self.agents
            .consensus
            .leadership
            .sessions
            .plant(PlantedAdmission {
                never_waits,
                ..PlantedAdmission::default()
            });
    }

    /// `log.md` 5.8: neither are responses compared with the service's own, nor members' outputs.
    pub(crate) fn compare_no_output(&mut self) {
        self.agents.consensus.applier.answers.compare_nothing();
        self.agents.consensus.agreement.compare_nothing();
    }

    /// `log.md` 5.3 and 5.7: the service's cursor is ahead of what it covers.
    pub(crate) fn take_handed_for_executed(&mut self) {
        self.agents.service.take_handed_for_executed();
    }

    /// `log.md` 2: all of the log is applied, whatever is committed of it.
    pub(crate) fn apply_all(&mut self) {
        self.agents.consensus.applier.apply_all();
    }

    /// `log.md` 8.3: a snapshot lacks what waits in the outbox.
    pub(crate) fn leave_out_outbox(&mut self) {
        self.agents.service.leave_out_outbox();
    }

    /// `log.md` 8.4: the index names a snapshot before it is durable.
    pub(crate) fn name_snapshots_early(&mut self) {
        self.agents.archive.snapshots.name_early();
    }

    /// `log.md` 7.4: the log goes up to a snapshot, whatever clients are owed.
    pub(crate) const fn overlook_what_is_owed(&mut self) {
        self.agents.consensus.egress_floor.owe_nothing();
    }

    /// `log.md` 8.7: the index names another member's snapshot whatever its bytes are.
    pub(crate) fn name_fetched_unchecked(&mut self) {
        self.agents.consensus.exchange.receiver.check_nothing();
    }

    /// `log.md` 9.6: votes for another one than a leader that is heard are given to who asks.
    pub(crate) const fn take_any_token(&mut self) {
        self.agents.consensus.module.take_any_token();
    }

    /// `log.md` 9.1: all directories count, whatever became of them.
    pub(crate) fn count_all_directories(&mut self) {
        self.agents.consensus.membership.count_all();
    }
}
