//! The clean end of a node, for a shell that was asked to stop.
//!
//! With `sync = data` there is nothing to do: what was acknowledged is durable. A run without
//! syncs makes it so now, and takes back the mark that says that it may not be (`log.md` 10.3). A
//! node that has halted ends as if it had been killed.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::time::Nanos;

use crate::node::cluster_node::ClusterNode;
use crate::node::fault::StoreFailure;

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
        if self.fault().is_some() {
            return Ok(Closing::Closed);
        }
        let commit = self.agents.consensus.module.commit();
        let archive = &mut self.agents.archive;
        // Nobody is told any more what has become durable.
        while archive.poll_completion(now, |_| {}).is_some() {}
        if archive.settle(now, &self.agents.consensus.log) {
            return Ok(Closing::Waiting);
        }
        archive.seal(&self.agents.consensus.log, commit)?;
        Ok(Closing::Closed)
    }
}
