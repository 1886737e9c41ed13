//! The trait an application implements.

use lockstep_transport::ids::LeadershipTermId;

use crate::cluster::{ClientSession, Cluster};
use crate::snapshot::{ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress};

/// Deterministic application logic, run on every node of the cluster.
///
/// A callback's effects must be a function of the log alone: no clock, randomness, thread,
/// file or hash order. Everything it may use comes through [`Cluster`].
///
/// # Snapshots
/// A service that gives its state away and takes it back need not execute the whole log at each
/// start. The state is written in steps, between which nothing is applied, so it is no copy that
/// is written; and a node does everything else between two steps, so each is to be short.
///
/// ```
/// use lockstep_service::cluster::{ClientSession, Cluster};
/// use lockstep_service::clustered_service::ClusteredService;
/// use lockstep_service::snapshot::{
///     ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress,
/// };
///
/// /// Remembers every message.
/// #[derive(Default)]
/// struct Archive {
///     messages: Vec<Vec<u8>>,
/// }
///
/// impl ClusteredService for Archive {
///     fn on_session_message(&mut self, _: &mut Cluster<'_>, _: ClientSession, message: &[u8]) {
///         self.messages.push(message.to_vec());
///     }
///
///     fn state_hash(&self) -> u64 {
///         self.messages.len() as u64
///     }
///
///     fn takes_snapshots(&self) -> bool {
///         true
///     }
///
///     fn snapshot_step(
///         &mut self,
///         step: u64,
///         snapshot: &mut ServiceSnapshot<'_>,
///     ) -> Result<SnapshotProgress, SnapshotError> {
///         if step == 0 {
///             snapshot.begin_section("messages")?;
///         }
///         // A hundred messages in a step.
///         let from = (step as usize * 100).min(self.messages.len());
///         let until = (from + 100).min(self.messages.len());
///         for message in &self.messages[from..until] {
///             snapshot.bytes(message)?;
///         }
///         if until < self.messages.len() {
///             return Ok(SnapshotProgress::More);
///         }
///         snapshot.end_section()?;
///         Ok(SnapshotProgress::Done)
///     }
///
///     fn load_snapshot(
///         &mut self,
///         snapshot: &mut ServiceSnapshotReader<'_, '_>,
///     ) -> Result<(), SnapshotError> {
///         snapshot.expect_section("messages")?;
///         while snapshot.has_more()? {
///             let mut message = Vec::new();
///             snapshot.bytes(1024, &mut message)?;
///             self.messages.push(message);
///         }
///         snapshot.end_section()
///     }
/// }
/// ```
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

    /// Whether it gives its state away and takes it back, by the two functions below.
    fn takes_snapshots(&self) -> bool {
        false
    }

    /// Writes the next part of the state, about 64 KiB of it: all of it must be a function of the
    /// log, and the same bytes on every node. Called with `step` = 0, 1, 2 … until it says that
    /// all is written. Nothing is applied in between; a snapshot may be given up after any step,
    /// and another one then begins with step 0.
    ///
    /// # Errors
    /// What [`ServiceSnapshot`] says to who uses it wrongly: then there is no snapshot.
    fn snapshot_step(
        &mut self,
        _step: u64,
        _snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        Err(SnapshotError::NotTaken)
    }

    /// Takes back the state that [`snapshot_step`](Self::snapshot_step) wrote: called once, before
    /// anything else, on a service as it is made. What the bytes say has been checked, but not
    /// whether it is a state that this program can have.
    ///
    /// # Errors
    /// What [`ServiceSnapshotReader`] says, or [refuses](ServiceSnapshotReader::refuse): the node
    /// does not start.
    fn load_snapshot(
        &mut self,
        _snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        Err(SnapshotError::NotTaken)
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

    fn takes_snapshots(&self) -> bool {
        (**self).takes_snapshots()
    }

    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        (**self).snapshot_step(step, snapshot)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        (**self).load_snapshot(snapshot)
    }
}
