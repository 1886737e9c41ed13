//! A directory on a real file system: cold calls, open files, and the lock.
//!
//! Files are made under a temporary name, written with zeros, synced, renamed, and the
//! directory synced: a crash on the way leaves no file of the final name (`reliability.md`
//! D12). Every file is open twice: direct (synced writes from the log's pages) and buffered.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_transport::concurrent::AtomicBuffer;

use crate::ack_mark::ACK_MARK_FILE;
use crate::catalog::CATALOG_FILE;
use crate::disk::{DiskError, FileId, FilePlace, SegmentName};
use crate::identity_file::IDENTITY_FILE;
use crate::node_state::NODE_STATE_FILE;

/// The file whose lock says that a process uses the directory.
pub const LOCK_FILE: &str = "node.lock";

/// Ending of files that are being made.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// The file that tells whether direct writes work; it never gets a final name.
const PROBE: &str = "probe";

/// Zeros written at once when a file is made: large enough for the device's full bandwidth,
/// small enough that a log write waits behind it for less than a millisecond (limits 5).
const ZERO_LENGTH: usize = 1 << 20;

/// Why a directory cannot be used for storage. Each says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is something else of that name.
    #[error("{} is not a directory: choose another path for the data directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// No permission, or a file system mounted read-only.
    #[error(
        "the data directory {} cannot be written ({detail}): give this user write permission, \
         or choose another directory", path.display()
    )]
    ReadOnly {
        /// The path.
        path: PathBuf,
        /// The operating system's words.
        detail: String,
    },
    /// No space left.
    #[error(
        "no space left for the data directory {}: free some, or choose another directory",
        path.display()
    )]
    Full {
        /// The path.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error(
        "the data directory {} is in use by process {holder}: stop that process, or give this \
         node a directory of its own", path.display()
    )]
    InUse {
        /// The path.
        path: PathBuf,
        /// Process id of the holder, as it wrote it.
        holder: String,
    },
    /// io_uring was demanded and is refused.
    #[error("io_uring is refused by this host ({detail}): use io = auto or io = syscall")]
    UringRefused {
        /// The operating system's words.
        detail: String,
    },
    /// Anything else the operating system says.
    #[error(
        "the data directory {} cannot be used: {detail}; choose another directory",
        path.display()
    )]
    Other {
        /// The path.
        path: PathBuf,
        /// The operating system's words.
        detail: String,
    },
}

impl StorageError {
    fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        match error.raw_os_error() {
            Some(libc::ENOTDIR | libc::EEXIST) => Self::NotADirectory { path },
            Some(libc::EROFS | libc::EACCES | libc::EPERM) => Self::ReadOnly {
                path,
                detail: error.to_string(),
            },
            Some(libc::ENOSPC | libc::EDQUOT) => Self::Full { path },
            _ => Self::Other {
                path,
                detail: error.to_string(),
            },
        }
    }
}

/// The port's error for an operating system's error.
pub(super) fn disk_error(
    operation: &'static str,
    name: &str,
    needed: u64,
    error: &io::Error,
) -> DiskError {
    let name = name.to_owned();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => DiskError::Full { name, needed },
        Some(libc::ENOENT) => DiskError::Missing { name },
        _ => DiskError::Io {
            operation,
            name,
            detail: error.to_string(),
        },
    }
}

/// A file, open both ways.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) name: String,
    pub(super) buffered: File,
    /// Absent where the file system knows no direct I/O.
    pub(super) direct: Option<File>,
}

impl OpenFile {
    pub(super) fn open(path: &Path, name: &str) -> io::Result<Self> {
        let file_path = path.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let buffered = options.open(&file_path)?;
        let direct = match options.custom_flags(libc::O_DIRECT).open(&file_path) {
            Ok(file) => Some(file),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            name: name.to_owned(),
            buffered,
            direct,
        })
    }
}

/// Makes a durable file of `length` zeros, or opens the one that exists.
pub(super) fn create_file(path: &Path, name: &str, length: u64) -> io::Result<OpenFile> {
    match OpenFile::open(path, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    let outcome = write_zeros(path, &temporary, length)
        .and_then(|()| std::fs::rename(path.join(&temporary), path.join(name)))
        .and_then(|()| sync_directory(path));
    if let Err(error) = outcome {
        // Best effort: opening the directory again removes what is left.
        let _ = std::fs::remove_file(path.join(&temporary));
        return Err(error);
    }
    OpenFile::open(path, name)
}

fn write_zeros(path: &Path, temporary: &str, length: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    drop(options.open(path.join(temporary))?);
    let file = OpenFile::open(path, temporary)?;
    let zeros = AtomicBuffer::allocate(ZERO_LENGTH)?;
    let mut offset = 0;
    while offset < length {
        let chunk = (length - offset).min(ZERO_LENGTH as u64) as usize;
        let bytes = zeros.bytes(0, chunk);
        match &file.direct {
            // Direct: the zeros do not push anything out of the page cache.
            Some(direct) if chunk == ZERO_LENGTH => direct.write_all_at(bytes, offset)?,
            _ => file.buffered.write_all_at(bytes, offset)?,
        }
        offset += chunk as u64;
    }
    file.buffered.sync_all()
}

/// Whether `name` is one of ours that a crash kept from its final name. Other people's files may
/// lie in the directory, and may end alike: they are left alone.
fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(TEMPORARY_SUFFIX).is_some_and(|name| {
        let others = [
            CATALOG_FILE,
            NODE_STATE_FILE.name,
            ACK_MARK_FILE.name,
            IDENTITY_FILE,
            PROBE,
        ];
        SegmentName::parse(name).is_some() || others.contains(&name)
    })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A locked directory with its open files.
#[derive(Debug)]
pub struct NodeDirectory {
    path: PathBuf,
    files: Vec<Arc<OpenFile>>,
    _lock: File,
}

impl NodeDirectory {
    /// Makes the directory if it does not exist, locks it, and removes what a crash left of
    /// files being made.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let failed = |error: io::Error| StorageError::from_io(path, &error);
        std::fs::create_dir_all(path).map_err(failed)?;
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            return Err(StorageError::NotADirectory {
                path: path.to_path_buf(),
            });
        }
        let lock = lock_directory(path)?;
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if is_unfinished(&name.to_string_lossy()) {
                std::fs::remove_file(path.join(name)).map_err(failed)?;
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            files: Vec::with_capacity(crate::segment::SEGMENTS_MAX + super::QUEUE_LENGTH),
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file system takes direct writes; probed with a small file.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub fn takes_direct_writes(&self) -> Result<bool, StorageError> {
        let name = format!("{PROBE}{TEMPORARY_SUFFIX}");
        let failed = |error: io::Error| StorageError::from_io(&self.path, &error);
        let probed = write_zeros(&self.path, &name, 4096)
            .and_then(|()| OpenFile::open(&self.path, &name))
            .map_err(failed);
        // Whether it could be written or not: a refused start leaves no probe behind.
        let removed = std::fs::remove_file(self.path.join(&name));
        let file = probed?;
        removed.map_err(failed)?;
        Ok(file.direct.is_some())
    }

    /// Whether the device syncs single writes (forced unit access) instead of flushing its
    /// whole cache: then an unsynced write does not become durable with the next synced one.
    #[must_use]
    pub fn syncs_single_writes(&self) -> bool {
        let Ok(metadata) = std::fs::metadata(&self.path) else {
            return true;
        };
        let (major, minor) = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
        let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        // A partition has no queue of its own; its parent, the disk, has.
        let queues = [device.join("queue/fua"), device.join("../queue/fua")];
        let fua = queues
            .iter()
            .find_map(|queue| std::fs::read_to_string(queue).ok());
        fua.is_none_or(|value| value.trim() != "0")
    }

    pub(super) fn file(&self, file: FileId) -> &Arc<OpenFile> {
        &self.files[file.0 as usize]
    }

    pub(super) fn adopt(&mut self, file: OpenFile) -> FileId {
        self.files.push(Arc::new(file));
        FileId(self.files.len() as u32 - 1)
    }

    fn find(&self, name: &str) -> Option<FileId> {
        let index = self.files.iter().position(|file| file.name == name)?;
        Some(FileId(index as u32))
    }

    pub(super) fn list(&self) -> Result<Vec<String>, DiskError> {
        let failed = |error: io::Error| disk_error("listing", "the data directory", 0, &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().into_string()
                && entry.file_type().map_err(failed)?.is_file()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn open_file(&mut self, name: &str) -> Result<FileId, DiskError> {
        if let Some(file) = self.find(name) {
            return Ok(file);
        }
        let file = OpenFile::open(&self.path, name)
            .map_err(|error| disk_error("opening", name, 0, &error))?;
        Ok(self.adopt(file))
    }

    pub(super) fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        if let Some(file) = self.find(name) {
            return Ok(file);
        }
        let file = create_file(&self.path, name, length)
            .map_err(|error| disk_error("creation", name, length, &error))?;
        Ok(self.adopt(file))
    }

    pub(super) fn length(&self, file: FileId) -> Result<u64, DiskError> {
        let file = self.file(file);
        let metadata = file.buffered.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|error| disk_error("length", &file.name, 0, &error))
    }

    pub(super) fn place(&self, file: FileId) -> Result<FilePlace, DiskError> {
        let file = self.file(file);
        let failed = |error: io::Error| disk_error("place", &file.name, 0, &error);
        let metadata = file.buffered.metadata().map_err(failed)?;
        let birth = metadata.created().ok();
        let since = birth.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Ok(FilePlace {
            inode: metadata.ino(),
            birth_ns: since.map_or(0, |since| since.as_nanos() as u64),
            file_system: metadata.dev(),
        })
    }

    pub(super) fn read(
        &self,
        file: FileId,
        offset: u64,
        target: &mut [u8],
    ) -> Result<(), DiskError> {
        let file = self.file(file);
        file.buffered
            .read_exact_at(target, offset)
            .map_err(|error| disk_error("read", &file.name, 0, &error))
    }

    pub(super) fn write(&self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let file = self.file(file);
        file.buffered
            .write_all_at(bytes, offset)
            .and_then(|()| file.buffered.sync_data())
            .map_err(|error| disk_error("write", &file.name, bytes.len() as u64, &error))
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        std::fs::remove_file(self.path.join(name))
            .and_then(|()| sync_directory(&self.path))
            .map_err(|error| disk_error("removal", name, 0, &error))?;
        if let Some(file) = self.find(name) {
            // The number stays taken; the name is free for a new file.
            let removed = Arc::clone(self.file(file));
            let unnamed = OpenFile {
                name: String::new(),
                buffered: removed
                    .buffered
                    .try_clone()
                    .map_err(|error| disk_error("removal", name, 0, &error))?,
                direct: None,
            };
            self.files[file.0 as usize] = Arc::new(unnamed);
        }
        Ok(())
    }

    pub(super) fn free_bytes(&self) -> Result<u64, DiskError> {
        let failed = || {
            let error = io::Error::last_os_error();
            disk_error("statvfs", "the data directory", 0, &error)
        };
        let directory = File::open(&self.path)
            .map_err(|error| disk_error("opening", "the data directory", 0, &error))?;
        let mut status = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: the descriptor is open and `status` has room for one statvfs.
        let outcome = unsafe { libc::fstatvfs(directory.as_raw_fd(), status.as_mut_ptr()) };
        if outcome != 0 {
            return Err(failed());
        }
        // SAFETY: fstatvfs succeeded, so it filled `status`.
        let status = unsafe { status.assume_init() };
        Ok(status.f_bavail * status.f_frsize)
    }
}

/// The error for a directory that another process uses at the moment; `None` when nobody does,
/// or when there is no such directory. Changes nothing.
#[must_use]
pub fn in_use(path: &Path) -> Option<StorageError> {
    let mut file = File::open(path.join(LOCK_FILE)).ok()?;
    let mut request = whole_file_lock();
    // SAFETY: the descriptor is open and `request` is a valid flock for the whole call.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) };
    if outcome != 0 || request.l_type == libc::F_UNLCK as libc::c_short {
        return None;
    }
    Some(held_by_another(path, &mut file))
}

fn held_by_another(path: &Path, lock: &mut File) -> StorageError {
    let mut holder = String::new();
    // The number only serves the message; whatever can be read of it will do.
    let _ = lock.read_to_string(&mut holder);
    StorageError::InUse {
        path: path.to_path_buf(),
        holder: holder.trim().to_owned(),
    }
}

fn whole_file_lock() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn lock_directory(path: &Path) -> Result<File, StorageError> {
    let failed = |error: io::Error| StorageError::from_io(path, &error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path.join(LOCK_FILE)).map_err(failed)?;
    let request = whole_file_lock();
    // SAFETY: the descriptor is open and `request` is a valid flock for the whole call.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
    if outcome != 0 {
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
            return Err(failed(error));
        }
        return Err(held_by_another(path, &mut file));
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unfinished_files_of_a_node_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let ours = ["0-65536.rec.tmp", "archive.catalog.tmp", "probe.tmp"];
        let others = ["letter.tmp", "0-x.rec.tmp", "rec.tmp", "0-0.rec"];
        for name in ours.iter().chain(&others) {
            std::fs::write(place.path().join(name), b"x").unwrap();
        }
        let directory = NodeDirectory::open(place.path()).unwrap();
        let left = directory.list().unwrap();
        assert!(others.iter().all(|name| left.iter().any(|l| l == name)));
        assert!(!ours.iter().any(|name| left.iter().any(|l| l == name)));
    }

    #[test]
    fn who_has_a_directory_is_told_without_touching_it() {
        let place = tempfile::tempdir().unwrap();
        assert!(in_use(place.path()).is_none());
        let held = NodeDirectory::open(place.path()).unwrap();
        let told = in_use(place.path()).map(|error| error.to_string());
        let holder = format!("in use by process {}", std::process::id());
        assert!(told.is_some_and(|told| told.contains(&holder)));
        drop(held);
        assert!(in_use(place.path()).is_none());
    }
}
