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
    fn request(
        &mut self,
        token: Token,
        request: impl FnOnce(&mut NodeDirectory) -> Request,
    ) -> Result<Option<Operation>, Busy> {
        // What is not taken leaves every file where it is.
        if !self.preparer.has_room() {
            return Err(Busy);
        }
        let request = request(&mut self.directory);
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
            } => return self.request(token, |_| Request::Prepare { name, length }),
            DiskOp::Recycle {
                token,
                from,
                to,
                length,
            } => {
                return self.request(token, |directory| Request::Recycle {
                    from,
                    open: directory.take(from),
                    to,
                    length,
                });
            }
            DiskOp::Remove { token, name } => {
                return self.request(token, |directory| Request::Remove {
                    name,
                    open: directory.take(name),
                });
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Weak;
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;
    use crate::disk::{ColdFiles, FileId, SegmentName};
    use crate::storage::open_file::OpenFile;

    const PAUSE: Duration = Duration::from_millis(1);

    const fn name(position: i64) -> SegmentName {
        SegmentName {
            recording_id: 0,
            position,
        }
    }

    fn desk(place: &Path) -> (StorageDesk, FileId) {
        let mut directory = NodeDirectory::open(place, &[]).unwrap();
        let file = directory.create(&name(0).file_name(), 8192).unwrap();
        (StorageDesk::start(directory).unwrap(), file)
    }

    fn submit(desk: &mut StorageDesk, operation: DiskOp) {
        assert!(desk.resolve(0, operation).unwrap().is_none());
    }

    fn completion(desk: &mut StorageDesk) -> Completion {
        loop {
            if let Some(completion) = desk.poll_completion(0) {
                return completion;
            }
            sleep(PAUSE);
        }
    }

    fn is_closed_without_a_poll(open: &Weak<OpenFile>) -> bool {
        (0..10_000).any(|_| {
            sleep(PAUSE);
            open.strong_count() == 0
        })
    }

    #[test]
    fn what_goes_is_closed_on_the_thread_that_makes_it_go() {
        let remove = DiskOp::Remove {
            token: 1,
            name: name(0),
        };
        let recycle = DiskOp::Recycle {
            token: 1,
            from: name(0),
            to: name(65_536),
            length: 8192,
        };
        for operation in [remove, recycle] {
            let place = tempfile::tempdir().unwrap();
            let (mut desk, file) = desk(place.path());
            let open = Arc::downgrade(desk.directory.file(file).unwrap());
            submit(&mut desk, operation);
            assert!(desk.directory.file(file).is_err());
            assert!(is_closed_without_a_poll(&open));
            let completion = completion(&mut desk);
            assert!(completion.token == 1 && completion.result.is_ok());
        }
    }

    #[test]
    fn the_last_read_of_a_removed_file_does_not_close_it() {
        let place = tempfile::tempdir().unwrap();
        let (mut desk, file) = desk(place.path());
        let read = Arc::clone(desk.directory.file(file).unwrap());
        let (token, name) = (1, name(0));
        submit(&mut desk, DiskOp::Remove { token, name });
        while place.path().join(name.file_name()).exists() {
            sleep(PAUSE);
        }
        sleep(20 * PAUSE);
        assert_eq!(Arc::strong_count(&read), 2, "the thread waits for it");
        let open = Arc::downgrade(&read);
        drop(read);
        assert_eq!(completion(&mut desk).token, token);
        assert_eq!(open.strong_count(), 0);
    }

    #[test]
    fn a_removal_that_is_not_taken_leaves_its_file_open() {
        let place = tempfile::tempdir().unwrap();
        let (mut desk, file) = desk(place.path());
        let name = name(0);
        let mut other = 1;
        let remove_other = |token| DiskOp::Remove {
            token,
            name: SegmentName {
                recording_id: 9,
                ..name
            },
        };
        while desk.resolve(0, remove_other(other)).is_ok() {
            other += 1;
        }
        let refused = desk.resolve(0, DiskOp::Remove { token: 0, name });
        assert!(refused.is_err());
        assert!(desk.directory.file(file).is_ok());
    }
}
