//! The trait an application implements.

use lockstep_transport::ids::LeadershipTermId;

use crate::cluster::{ClientSession, Cluster};

/// Deterministic application logic, run on every node of the cluster.
///
/// A callback's effects must be a function of the log alone: no clock, randomness, thread,
/// file or hash order. Everything it may use comes through [`Cluster`].
pub trait ClusteredService {
    /// A session opened; answers may be sent to it from now on.
    fn on_session_open(&mut self, _cluster: &mut Cluster<'_>, _session: ClientSession) {}

    /// A session closed; what is sent to it from now on is dropped.
    fn on_session_close(&mut self, _cluster: &mut Cluster<'_>, _session: ClientSession) {}

    /// A client's message, exactly once and in the session's order.
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    );

    /// A leadership term began. Nothing can be emitted here.
    fn on_new_leadership_term(&mut self, _leadership_term_id: LeadershipTermId, _log_time: i64) {}

    /// A hash of the whole state, equal on every node that applied the same log.
    fn state_hash(&self) -> u64;

    /// A human-readable account of the state, for tools.
    fn describe(&self) -> String {
        String::new()
    }
}

impl<S: ClusteredService + ?Sized> ClusteredService for Box<S> {
    fn on_session_open(&mut self, cluster: &mut Cluster<'_>, session: ClientSession) {
        (**self).on_session_open(cluster, session);
    }

    fn on_session_close(&mut self, cluster: &mut Cluster<'_>, session: ClientSession) {
        (**self).on_session_close(cluster, session);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        (**self).on_session_message(cluster, session, message);
    }

    fn on_new_leadership_term(&mut self, leadership_term_id: LeadershipTermId, log_time: i64) {
        (**self).on_new_leadership_term(leadership_term_id, log_time);
    }

    fn state_hash(&self) -> u64 {
        (**self).state_hash()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}
