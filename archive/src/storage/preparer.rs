//! A helper thread that makes segments while the log goes on.
//!
//! Zeros are really written, synced, and the name made durable before the segment is handed
//! over (`rules.md` A3); none of that happens on the caller's thread.

use lockstep_transport::agent::Waker;

use super::directory::NodeDirectory;
use super::helper_thread::HelperThread;
use super::open_file::{FileOpener, OpenFile};
use crate::disk::{Busy, Completion, DiskError, SegmentName, Token};

/// Preparations in flight: a recorder has one at a time.
const PREPARATIONS_MAX: usize = 4;

#[derive(Debug)]
struct Request {
    token: Token,
    name: SegmentName,
    length: u64,
}

type Prepared = (Token, Result<OpenFile, DiskError>);

/// See the module.
#[derive(Debug)]
pub(super) struct Preparer(HelperThread<Request, Prepared>);

impl Preparer {
    pub(super) fn start(opener: FileOpener) -> std::io::Result<Self> {
        let prepare = move |request: Request| {
            let name = request.name.file_name();
            (request.token, opener.create(&name, request.length))
        };
        HelperThread::start("lockstep-files", PREPARATIONS_MAX, prepare).map(Self)
    }

    pub(super) fn wake_with(&self, waker: &Waker) {
        self.0.wake_with(waker);
    }

    pub(super) fn submit(
        &mut self,
        token: Token,
        name: SegmentName,
        length: u64,
    ) -> Result<(), Busy> {
        let request = Request {
            token,
            name,
            length,
        };
        self.0.submit(request).map_err(|_| Busy)
    }

    pub(super) fn poll(&mut self, directory: &mut NodeDirectory) -> Option<Completion> {
        let (token, result) = self.0.poll()?;
        Some(Completion {
            token,
            result: result.map(|file| directory.adopt(file)),
        })
    }
}
