//! The seam to storage: one directory of one node.
//!
//! Two faces. The calls of [`ColdFiles`] are synchronous and made only while a node starts or
//! stops. Those of [`Disk`] have io_uring's shape: submit an operation, find its completion later,
//! in any order; they never block. Implemented in [`crate::storage`] (io_uring; a writer thread
//! where io_uring is refused), wrapped for slow-disk injection, cut in two where another thread
//! carries operations out ([`crate::queued_disk`]), and twinned by the simulator's disk, which
//! forgets what was not synced when it crashes.

use lockstep_transport::concurrent::KernelBlock;
use lockstep_transport::time::Nanos;

/// Names an open file of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub u32);

impl FileId {
    /// No file.
    pub const NONE: Self = Self(u32::MAX);
}

/// Chosen by whoever submits an operation; comes back with its completion.
pub type Token = u64;

/// Unit of direct writes, in bytes: offsets, lengths and addresses are multiples of it.
pub const BLOCK_LENGTH: usize = 4096;

/// Operations in flight on one disk: one write each of recorder, node state and ack mark, one
/// preparation, and a read for each of the readers of a node, with room to spare.
pub(crate) const QUEUE_LENGTH: usize = 64;

/// Identifies a segment file `<recording_id>-<position>.rec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// The recording; 0 is the cluster's log.
    pub recording_id: i64,
    /// Position of the segment's first byte in the log.
    pub position: i64,
}

/// When a write counts as complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage (RWF_DSYNC). Offset, length and address are [`BLOCK_LENGTH`] aligned.
    Synced,
    /// In the page cache, to survive a crash of the process but not of the host.
    Cached,
    /// The same, at the disk's leisure: nobody waits for it, and its copy costs the cycle nothing.
    Lazy,
    /// Handed to the device without a flush: durable once any later `Synced` write completes.
    Unflushed,
}

/// An operation for [`Disk::submit`].
#[derive(Debug)]
pub enum DiskOp {
    /// Writes `block` at `offset`.
    Write {
        /// Comes back with the completion.
        token: Token,
        /// Where to.
        file: FileId,
        /// Byte offset in the file.
        offset: u64,
        /// What.
        block: KernelBlock,
        /// When it counts as complete.
        durability: Durability,
    },
    /// Fills `block` from `offset`.
    Read {
        /// Comes back with the completion.
        token: Token,
        /// Where from.
        file: FileId,
        /// Byte offset in the file.
        offset: u64,
        /// Where the bytes go; not to be looked at before the completion.
        block: KernelBlock,
    },
    /// Creates a segment written with zeros, synced, its directory entry synced too, or opens
    /// it when it exists. One without a length is made longer by writes at its end. Slow; carried
    /// out off the hot path.
    Prepare {
        /// Comes back with the completion.
        token: Token,
        /// Which segment.
        name: SegmentName,
        /// Its length in bytes.
        length: u64,
    },
    /// Makes one segment of another, which is needed no more: of its room, written with zeros and
    /// synced, its name durable. A crash on the way leaves the one, the other, or neither. Slow;
    /// carried out off the hot path. Whoever submits it uses the old file no more.
    Recycle {
        /// Comes back with the completion.
        token: Token,
        /// Which segment goes.
        from: SegmentName,
        /// Which one comes. There is none of that name.
        to: SegmentName,
        /// Length of both in bytes.
        length: u64,
    },
    /// Removes a segment, durably; that there is none is no error. Slow; carried out off the hot
    /// path. Whoever submits it uses the file no more.
    Remove {
        /// Comes back with the completion.
        token: Token,
        /// Which segment.
        name: SegmentName,
    },
}

impl DiskOp {
    /// What comes back with its completion.
    pub(crate) const fn token(&self) -> Token {
        match self {
            Self::Write { token, .. }
            | Self::Read { token, .. }
            | Self::Prepare { token, .. }
            | Self::Recycle { token, .. }
            | Self::Remove { token, .. } => *token,
        }
    }
}

/// The outcome of an operation.
#[derive(Debug, PartialEq, Eq)]
pub struct Completion {
    /// Of the operation.
    pub token: Token,
    /// The file that was made for `Prepare` and `Recycle`, none for `Remove`, the operation's own
    /// file otherwise.
    pub result: Result<FileId, DiskError>,
}

/// Where a file lies: what a copy of it does not share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilePlace {
    /// Its inode number.
    pub inode: u64,
    /// When it was made, ns; 0 where the file system does not keep that.
    pub birth_ns: u64,
    /// Names its file system.
    pub file_system: u64,
}

/// Why storage could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The operating system's error for a named file.
    #[error("{operation} of {name} failed: {detail}")]
    Io {
        /// Which operation.
        operation: &'static str,
        /// Which file.
        name: String,
        /// The operating system's words.
        detail: String,
    },
    /// No space left for a named file.
    #[error(
        "no space left on the device for {name} ({needed} bytes needed): free some on its file \
         system; another directory is only for a member that never ran"
    )]
    Full {
        /// Which file.
        name: String,
        /// Bytes it needs.
        needed: u64,
    },
    /// The file does not exist.
    #[error("{name} does not exist")]
    Missing {
        /// Which file.
        name: String,
    },
    /// The directory is only looked at: nothing in it may be changed.
    #[error("{operation} of {name} was refused: this directory is only looked at")]
    ReadOnly {
        /// What was asked for.
        operation: &'static str,
        /// Of which file.
        name: String,
    },
    /// A simulated crash: everything from here on fails until restart.
    #[error("the simulated host has crashed")]
    Crashed,
}

impl DiskError {
    /// The operating system's error number, where its words end in one.
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        let Self::Io { detail, .. } = self else {
            return None;
        };
        let (_, number) = detail.rsplit_once("(os error ")?;
        // No number, no error number: the words are told elsewhere.
        number.strip_suffix(')')?.parse().ok()
    }
}

/// [`Disk::submit`] has no room: nothing was taken, try again in a later cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// The files of one node's directory, as they are used while a node starts or stops. All calls
/// block.
pub trait ColdFiles {
    /// Names of all files, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&mut self) -> Result<Vec<String>, DiskError>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// [`DiskError::Missing`] when it does not exist.
    fn open(&mut self, name: &str) -> Result<FileId, DiskError>;

    /// Creates a file of `length` zeros, or opens it. On return it and its directory
    /// entry are durable; a crash on the way leaves no file of that name.
    ///
    /// # Errors
    /// [`DiskError::Full`] when there is no room.
    fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError>;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn length(&mut self, file: FileId) -> Result<u64, DiskError>;

    /// Where a file lies.
    ///
    /// # Errors
    /// The operating system's.
    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError>;

    /// Fills `target` from `offset`; short files are an error.
    ///
    /// # Errors
    /// The operating system's.
    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError>;

    /// Writes `bytes` at `offset`, durable on return.
    ///
    /// # Errors
    /// The operating system's; after a failed write or sync the file must not be trusted.
    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes durable what a file was found to hold: a process that has died may have left
    /// it in a cache.
    ///
    /// # Errors
    /// The operating system's; after a failed sync the file must not be trusted.
    fn sync(&mut self, file: FileId) -> Result<(), DiskError>;

    /// Removes a file, durably.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&mut self, name: &str) -> Result<(), DiskError>;

    /// Bytes that may still be written in this directory.
    ///
    /// # Errors
    /// The operating system's.
    fn free_bytes(&mut self) -> Result<u64, DiskError>;

    /// Names the present run of the host. While it is the same, every write that was
    /// handed to the system is whole and there: only the process has died. `None` where that
    /// cannot be known, which counts as another run each time.
    fn boot_id(&mut self) -> Option<u128> {
        None
    }
}

/// One node's directory. See the module.
pub trait Disk {
    /// Its cold face.
    type Files: ColdFiles;

    /// The same directory, for cold calls.
    fn files(&mut self) -> &mut Self::Files;

    /// Starts an operation.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy>;

    /// The next finished operation, if any.
    fn poll_completion(&mut self, now: Nanos) -> Option<Completion>;

    /// Pushes submitted operations to the device. Called once per cycle.
    fn flush(&mut self, _now: Nanos) {}

    /// When the next completion is due, where that is known (the simulator, injected delay).
    fn next_deadline(&self) -> Option<Nanos> {
        None
    }
}
