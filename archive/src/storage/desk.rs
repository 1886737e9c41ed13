//! What is done where operations are ordered: the directory with its open files, and the thread
//! that makes segments. Whatever reads or writes leaves resolved, with its file and its memory.

use std::io;

use lockstep_transport::agent::WakeSources;
use lockstep_transport::time::Nanos;

use super::directory::NodeDirectory;
use super::operation::{Operation, Transfer};
use super::preparer::Preparer;
use crate::disk::{Busy, Completion, DiskOp};
use crate::queued_disk::Desk;

/// See the module.
#[derive(Debug)]
pub struct StorageDesk {
    directory: NodeDirectory,
    flushes_each: bool,
    preparer: Preparer,
}

impl StorageDesk {
    /// Over a locked directory; gives it back when no thread can be started.
    pub(super) fn start(directory: NodeDirectory) -> Result<Self, Box<(io::Error, NodeDirectory)>> {
        match Preparer::start(directory.opener().clone()) {
            Ok(preparer) => Ok(Self {
                flushes_each: directory.syncs_single_writes(),
                directory,
                preparer,
            }),
            Err(error) => Err(Box::new((error, directory))),
        }
    }
}

impl Desk for StorageDesk {
    type Files = NodeDirectory;
    type Work = Operation;

    fn files(&mut self) -> &mut NodeDirectory {
        &mut self.directory
    }

    fn resolve(&mut self, _now: Nanos, operation: DiskOp) -> Result<Option<Operation>, Busy> {
        let (token, file, offset, block, transfer) = match operation {
            DiskOp::Write {
                token,
                file,
                offset,
                block,
                durability,
            } => (token, file, offset, block, Transfer::Write(durability)),
            DiskOp::Read {
                token,
                file,
                offset,
                block,
            } => (token, file, offset, block, Transfer::Read),
            DiskOp::Prepare {
                token,
                name,
                length,
            } => return self.preparer.submit(token, name, length).map(|()| None),
        };
        let operation = Operation::new(&self.directory, token, file, offset, block, transfer);
        Ok(Some(if self.flushes_each {
            operation.flush_each()
        } else {
            operation
        }))
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        self.preparer.poll(&mut self.directory)
    }

    fn name_wake_sources(&self, sources: &WakeSources) {
        self.preparer.wake_with(sources.waker());
    }
}
