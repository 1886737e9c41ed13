//! The clean end of a node, for a shell that was asked to stop.
//!
//! With `sync = data` there is nothing to do: what was acknowledged is durable. A run without
//! syncs makes it so now, and takes back the mark that says that it may not be (`log.md` 10.3). A
//! node that has halted ends as if it had been killed; only what was stored of a service that had
//! gone wrong is given up, so that the next start executes again from before (`log.md` 5.8), or is
//! refused where nothing from before is left (`log.md` 8.7).

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::time::Nanos;

use crate::node::cluster_node::ClusterNode;
use crate::node::fault::{NodeFault, StoreFailure};

/// How far the end of a node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A write is under way: ask again.
    Waiting,
    /// It may go.
    Closed,
}

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Goes on with ending this node; call it until it says that it is closed. No duty cycle may
    /// follow. Cold: syncs.
    ///
    /// # Errors
    /// What failed, now or before: the node is unclean then.
    pub fn close(&mut self, now: Nanos) -> Result<Closing, StoreFailure> {
        let diverged_at = self.fault().and_then(NodeFault::diverged_at);
        let is_over = |fault: &NodeFault| diverged_at.is_none() && !fault.is_to_start_again();
        if self.fault().is_some_and(is_over) {
            return Ok(Closing::Closed);
        }
        let commit = self.agents.consensus.module.commit();
        let archive = &mut self.agents.archive;
        // Nobody is told any more what has become durable.
        while archive.poll_completion(now, |_| {}).is_some() {}
        if let Some(cause) = diverged_at {
            archive.strike_snapshots_above(cause);
        }
        if archive.settle(now, &self.agents.consensus.log) {
            return Ok(Closing::Waiting);
        }
        if diverged_at.is_some() {
            return Ok(Closing::Closed);
        }
        archive.seal(&self.agents.consensus.log, commit)?;
        Ok(Closing::Closed)
    }
}
