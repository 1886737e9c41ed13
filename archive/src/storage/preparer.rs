//! A helper thread that makes and removes segments while the log goes on.
//!
//! Zeros are really written, synced, and the name made durable before the segment is handed
//! over (`rules.md` A3); none of that happens on the caller's thread.

use std::sync::Arc;
use std::time::Duration;

use lockstep_transport::agent::Waker;
use lockstep_transport::allocations::leave_out_this_thread;

use super::directory::NodeDirectory;
use super::helper_thread::HelperThread;
use super::open_file::{FileOpener, OpenFile};
use crate::disk::{Busy, Completion, DiskError, FileId, SegmentName, Token};

/// Requests in flight: a recorder has one at a time, and whoever keeps snapshots has two.
const REQUESTS_MAX: usize = 8;

/// How often it is looked whether the last read of a removed file has ended, and the pause between.
const LOOKS_MAX: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(1);

/// What is done off the hot path. A segment that goes comes along as it was open, if it was: its
/// bytes are let go of where it is closed, and that may take long.
#[derive(Debug)]
pub(super) enum Request {
    Prepare {
        name: SegmentName,
        length: u64,
    },
    Recycle {
        from: SegmentName,
        open: Option<Arc<OpenFile>>,
        to: SegmentName,
        length: u64,
    },
    Remove {
        name: SegmentName,
        open: Option<Arc<OpenFile>>,
    },
}

impl Request {
    fn carry_out(self, opener: &FileOpener) -> Result<Option<Arc<OpenFile>>, DiskError> {
        match self {
            Self::Prepare { name, length } => {
                let made = opener.create(&name.file_name(), length);
                made.map(|file| Some(Arc::new(file)))
            }
            Self::Recycle {
                from,
                open,
                to,
                length,
            } => {
                let made = opener.recycle(&from.file_name(), &to.file_name(), length);
                drop(open);
                made.map(|file| Some(Arc::new(file)))
            }
            Self::Remove { name, open } => {
                let removed = opener.remove(&name.file_name());
                if let Some(open) = open {
                    close_last(open);
                }
                removed.map(|()| None)
            }
        }
    }
}

/// Closes a file that has lost its name. Whoever reads it still, and will soon have ended, is
/// waited for: else it would be the last, and its bytes would be let go of there.
fn close_last(file: Arc<OpenFile>) {
    for _ in 0..LOOKS_MAX {
        if Arc::strong_count(&file) == 1 {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    drop(file);
}

/// An answer: whose, and the file that was made.
type Done = (Token, Result<Option<Arc<OpenFile>>, DiskError>);

/// See the module.
#[derive(Debug)]
pub(super) struct Preparer(HelperThread<(Token, Request), Done>);

impl Preparer {
    pub(super) fn start(opener: FileOpener) -> std::io::Result<Self> {
        let carry_out = move |(token, request): (Token, Request)| {
            // Names are put together for each file, and no message waits for that.
            leave_out_this_thread();
            (token, request.carry_out(&opener))
        };
        HelperThread::start("lockstep-files", REQUESTS_MAX, carry_out).map(Self)
    }

    pub(super) fn wake_with(&self, waker: &Waker) {
        self.0.wake_with(waker);
    }

    /// Whether another request would be taken.
    pub(super) const fn has_room(&self) -> bool {
        self.0.has_room()
    }

    pub(super) fn submit(&mut self, token: Token, request: Request) -> Result<(), Busy> {
        self.0.submit((token, request)).map_err(|_| Busy)
    }

    pub(super) fn poll(&mut self, directory: &mut NodeDirectory) -> Option<Completion> {
        let (token, result) = self.0.poll()?;
        let result = result.map(|made| made.map_or(FileId::NONE, |file| directory.adopt(file)));
        Some(Completion { token, result })
    }
}
