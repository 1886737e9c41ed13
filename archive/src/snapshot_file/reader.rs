//! Reads a snapshot's file without ever waiting for the disk, for whoever is sent it.
//!
//! One read ahead at a time into the reader's own buffer: what is asked for next is most likely
//! in it. Bytes are handed out as the disk gives them: whoever puts the whole together finds what
//! has rotted. A read that fails is final for the file, as long as it stays open here.

use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::time::Nanos;

use super::source::file_length;
use crate::disk::{BLOCK_LENGTH, Completion, Disk, DiskError, DiskOp, FileId, Token};
use crate::log::token::{OWNER_SNAPSHOT_READER_FIRST, TokenSource};

/// Bytes read ahead: the longest piece (a datagram, just below 64 KiB) from any block offset, and
/// as much again. A member has one reader for each other one, so it is no more.
pub const READ_AHEAD_LENGTH: usize = 128 * 1024;

/// The longest piece that can be asked for, wherever it begins.
pub const PIECE_LENGTH_MAX: usize = READ_AHEAD_LENGTH / 2;

/// The outcome of [`SnapshotFileReader::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotRead<'a> {
    /// The bytes asked for.
    Bytes(&'a [u8]),
    /// They have to come from disk: ask again after a completion.
    Pending,
    /// The file cannot be read, or none is open.
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct OpenFile {
    file: FileId,
    length: u64,
}

#[derive(Clone, Copy, Debug)]
struct PendingRead {
    token: Token,
    start: u64,
    length: usize,
    /// Another file is read by now.
    is_stale: bool,
}

/// See the module.
#[derive(Debug)]
pub struct SnapshotFileReader {
    tokens: TokenSource,
    buffer: AtomicBuffer,
    open: Option<OpenFile>,
    /// Bytes of the file from here on are in the buffer, from its first byte on.
    cached_start: u64,
    cached_length: usize,
    /// The first block that is wanted and not in the buffer.
    order: Option<u64>,
    pending: Option<PendingRead>,
    failed: Option<DiskError>,
}

impl SnapshotFileReader {
    /// Reader number `index` of a node: readers of one disk have different numbers.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn new(index: u16) -> std::io::Result<Self> {
        let mut buffer = AtomicBuffer::allocate(READ_AHEAD_LENGTH)?;
        buffer.pre_touch();
        Ok(Self {
            tokens: TokenSource::new(OWNER_SNAPSHOT_READER_FIRST + index),
            buffer,
            open: None,
            cached_start: 0,
            cached_length: 0,
            order: None,
            pending: None,
            failed: None,
        })
    }

    /// Reads this file from now on, of whose bytes the first `length` are the snapshot.
    pub fn open(&mut self, file: FileId, length: u64) {
        self.close();
        self.open = Some(OpenFile { file, length });
    }

    /// Reads no file from now on.
    pub fn close(&mut self) {
        self.open = None;
        self.cached_length = 0;
        self.order = None;
        self.failed = None;
        if let Some(pending) = &mut self.pending {
            pending.is_stale = true;
        }
    }

    /// Why the file cannot be read, if it cannot.
    #[must_use]
    pub const fn failed(&self) -> Option<&DiskError> {
        self.failed.as_ref()
    }

    /// Whether a read is on its way.
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        self.pending.is_some()
    }

    /// `length` bytes of the open file from `offset` on. What has to come from disk is ordered:
    /// [`do_work`](Self::do_work) is the other half.
    ///
    /// # Panics
    /// When the piece does not lie in the file, or is longer than [`PIECE_LENGTH_MAX`].
    pub fn read(&mut self, offset: u64, length: usize) -> SnapshotRead<'_> {
        let Some(open) = self.open.filter(|_| self.failed.is_none()) else {
            return SnapshotRead::Failed;
        };
        assert!(
            length <= PIECE_LENGTH_MAX
                && offset <= open.length
                && length as u64 <= open.length - offset,
            "{length} bytes at {offset} of a snapshot of {}",
            open.length
        );
        let cached_end = self.cached_start + self.cached_length as u64;
        if offset >= self.cached_start && offset + length as u64 <= cached_end {
            let start = (offset - self.cached_start) as usize;
            return SnapshotRead::Bytes(self.buffer.bytes(start, length));
        }
        if self.pending.is_none() {
            self.order = Some(offset & !(BLOCK_LENGTH as u64 - 1));
        }
        SnapshotRead::Pending
    }

    /// Submits what the last [`read`](Self::read) ordered, if anything. A disk that takes no more
    /// leaves the order for the next cycle.
    pub fn do_work(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        let (Some(open), Some(start), None) = (self.open, self.order, self.pending) else {
            return 0;
        };
        let left = file_length(open.length) - start;
        let length = left.min(READ_AHEAD_LENGTH as u64) as usize;
        let token = self.tokens.next_token();
        let operation = DiskOp::Read {
            token,
            file: open.file,
            offset: start,
            block: self.buffer.kernel_block(0, length),
        };
        if disk.submit(now, operation).is_err() {
            return 0;
        }
        self.order = None;
        self.cached_length = 0;
        self.pending = Some(PendingRead {
            token,
            start,
            length,
            is_stale: false,
        });
        1
    }

    /// Takes a completion; `false` when it is not this reader's.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        let of_this = |pending: &mut PendingRead| pending.token == completion.token;
        let Some(pending) = self.pending.take_if(of_this) else {
            return false;
        };
        match &completion.result {
            _ if pending.is_stale => {}
            Ok(_) => {
                self.cached_start = pending.start;
                self.cached_length = pending.length;
            }
            Err(error) => self.failed = Some(error.clone()),
        }
        true
    }
}
