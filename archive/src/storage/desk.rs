//! What is done where operations are ordered: the directory with its open files, and the thread
//! that makes and removes segments. Whatever reads or writes leaves resolved, with its file and its
//! memory.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use lockstep_transport::agent::WakeSources;
use lockstep_transport::time::Nanos;

use super::directory::NodeDirectory;
use super::operation::{Operation, Transfer};
use super::preparer::{Preparer, Request};
use crate::disk::{Busy, Completion, DiskError, DiskOp, QUEUE_LENGTH, Token};
use crate::queued_disk::Desk;

/// See the module.
#[derive(Debug)]
pub struct StorageDesk {
    directory: NodeDirectory,
    flushes_each: bool,
    preparer: Preparer,
    /// Of operations on files that are no more.
    in_vain: VecDeque<Completion>,
}

impl StorageDesk {
    /// Over a locked directory; gives it back when no thread can be started.
    pub(super) fn start(directory: NodeDirectory) -> Result<Self, Box<(io::Error, NodeDirectory)>> {
        match Preparer::start(directory.opener().clone()) {
            Ok(preparer) => Ok(Self {
                flushes_each: directory.syncs_single_writes(),
                directory,
                preparer,
                in_vain: VecDeque::with_capacity(QUEUE_LENGTH),
            }),
            Err(error) => Err(Box::new((error, directory))),
        }
    }
}

impl StorageDesk {
    fn request(&mut self, token: Token, request: Request) -> Result<Option<Operation>, Busy> {
        self.preparer.submit(token, request).map(|()| None)
    }

    /// Answers for an operation on a file that is no more.
    #[cold]
    fn refuse(&mut self, token: Token, error: DiskError) -> Result<Option<Operation>, Busy> {
        if self.in_vain.len() == QUEUE_LENGTH {
            return Err(Busy);
        }
        let result = Err(error);
        self.in_vain.push_back(Completion { token, result });
        Ok(None)
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
            } => return self.request(token, Request::Prepare { name, length }),
            DiskOp::Recycle {
                token,
                from,
                to,
                length,
            } => return self.request(token, Request::Recycle { from, to, length }),
            DiskOp::Remove { token, name } => {
                return self.request(token, Request::Remove { name });
            }
        };
        let open = match self.directory.file(file) {
            Ok(open) => Arc::clone(open),
            Err(error) => return self.refuse(token, error),
        };
        let operation = Operation::new((open, file), token, offset, block, transfer);
        Ok(Some(if self.flushes_each {
            operation.flush_each()
        } else {
            operation
        }))
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        let in_vain = self.in_vain.pop_front();
        in_vain.or_else(|| self.preparer.poll(&mut self.directory))
    }

    fn name_wake_sources(&self, sources: &WakeSources) {
        self.preparer.wake_with(sources.waker());
    }
}
