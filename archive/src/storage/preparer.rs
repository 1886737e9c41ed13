//! A helper thread that makes and removes segments while the log goes on.
//!
//! Zeros are really written, synced, and the name made durable before the segment is handed
//! over (`rules.md` A3); none of that happens on the caller's thread.

use lockstep_transport::agent::Waker;

use super::directory::NodeDirectory;
use super::helper_thread::HelperThread;
use super::open_file::{FileOpener, OpenFile};
use crate::disk::{Busy, Completion, DiskError, FileId, SegmentName, Token};

/// Requests in flight: a recorder has one at a time, and whoever keeps snapshots has two.
const REQUESTS_MAX: usize = 8;

/// What is done off the hot path.
#[derive(Debug)]
pub(super) enum Request {
    Prepare {
        name: SegmentName,
        length: u64,
    },
    Recycle {
        from: SegmentName,
        to: SegmentName,
        length: u64,
    },
    Remove {
        name: SegmentName,
    },
}

impl Request {
    fn carry_out(&self, opener: &FileOpener) -> Result<Option<OpenFile>, DiskError> {
        match self {
            Self::Prepare { name, length } => opener.create(&name.file_name(), *length).map(Some),
            Self::Recycle { from, to, length } => opener
                .recycle(&from.file_name(), &to.file_name(), *length)
                .map(Some),
            Self::Remove { name } => opener.remove(&name.file_name()).map(|()| None),
        }
    }

    /// The segment that is no more, whatever becomes of the request.
    const fn gone(&self) -> Option<SegmentName> {
        match self {
            Self::Prepare { .. } => None,
            Self::Recycle { from: name, .. } | Self::Remove { name } => Some(*name),
        }
    }
}

/// An answer: whose, the file that was made, and the one that is no more.
type Done = (
    Token,
    Result<Option<OpenFile>, DiskError>,
    Option<SegmentName>,
);

/// See the module.
#[derive(Debug)]
pub(super) struct Preparer(HelperThread<(Token, Request), Done>);

impl Preparer {
    pub(super) fn start(opener: FileOpener) -> std::io::Result<Self> {
        let carry_out = move |(token, request): (Token, Request)| {
            (token, request.carry_out(&opener), request.gone())
        };
        HelperThread::start("lockstep-files", REQUESTS_MAX, carry_out).map(Self)
    }

    pub(super) fn wake_with(&self, waker: &Waker) {
        self.0.wake_with(waker);
    }

    pub(super) fn submit(&mut self, token: Token, request: Request) -> Result<(), Busy> {
        self.0.submit((token, request)).map_err(|_| Busy)
    }

    pub(super) fn poll(&mut self, directory: &mut NodeDirectory) -> Option<Completion> {
        let (token, result, gone) = self.0.poll()?;
        if let Some(gone) = gone {
            directory.close(&gone.file_name());
        }
        let result = result.map(|made| made.map_or(FileId::NONE, |file| directory.adopt(file)));
        Some(Completion { token, result })
    }
}
