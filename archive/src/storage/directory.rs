//! A directory on a real file system: cold calls, open files, and the lock.
//!
//! Its names are made durable whenever it is opened: who made them may have crashed, or have
//! been told of a failure, before they were.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_transport::concurrent::AtomicBuffer;

use super::calls::{FileCalls, SystemCalls};
use super::error::{StorageError, disk_error};
use super::looks::{free_bytes, list_files, place_of};
use super::open_file::{FileOpener, OpenFile, TEMPORARY_SUFFIX};
use crate::disk::{BLOCK_LENGTH, ColdFiles, DiskError, FileId, FilePlace, SegmentName};
use crate::files::ack_mark::ACK_MARK_FILE;
use crate::files::catalog::CATALOG_FILE;
use crate::files::identity_file::IDENTITY_FILE;
use crate::files::snapshot_index::SNAPSHOT_INDEX_FILE;

/// The file whose lock says that a process uses the directory.
pub(crate) const LOCK_FILE: &str = "node.lock";

/// The file that tells whether direct writes work; it never gets a final name.
const PROBE: &str = "probe";

/// Open files there is room for from the start; each more costs one allocation when it is
/// taken over, as its name does.
const FILES_AT_FIRST: usize = 512;

/// Whether `name` is one of ours, or of the user's, that a crash kept from its final name. Other
/// people's files may lie in the directory, and may end alike: they are left alone.
fn is_unfinished(name: &str, of_user: &[&str]) -> bool {
    name.strip_suffix(TEMPORARY_SUFFIX).is_some_and(|name| {
        let ours = [
            CATALOG_FILE,
            ACK_MARK_FILE.name,
            IDENTITY_FILE,
            SNAPSHOT_INDEX_FILE.name,
            PROBE,
        ];
        SegmentName::parse(name).is_some() || ours.contains(&name) || of_user.contains(&name)
    })
}

/// Makes the directory, and the names that lead to it durable as far as they are new.
fn make_directory(path: &Path, calls: &dyn FileCalls) -> Result<(), StorageError> {
    let failed = |error: io::Error| StorageError::from_io(path, &error);
    let missing: Vec<PathBuf> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .map(Path::to_path_buf)
        .collect();
    std::fs::create_dir_all(path).map_err(failed)?;
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(StorageError::NotADirectory {
            path: path.to_path_buf(),
        });
    }
    sync_directory(path, calls)?;
    let is_new = !missing.is_empty();
    for made in missing {
        sync_directory(parent_of(&made), calls)?;
    }
    if is_new {
        return Ok(());
    }
    // Made by somebody who may have crashed since. One that this user may not look into was
    // made by an administrator, and long ago.
    match sync_directory(parent_of(path), calls) {
        Err(StorageError::ReadOnly { .. }) => Ok(()),
        outcome => outcome,
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn sync_directory(path: &Path, calls: &dyn FileCalls) -> Result<(), StorageError> {
    let mut options = OpenOptions::new();
    options.read(true);
    let directory = calls.open(path, &options);
    let directory = directory.map_err(|error| StorageError::from_io(path, &error))?;
    calls
        .sync(&directory, path)
        .map_err(|error| StorageError::from_write("sync", path, &error))
}

/// A file of the table, with its name where a segment is looked for: no string is.
#[derive(Debug)]
struct Entry {
    segment: Option<SegmentName>,
    file: Arc<OpenFile>,
}

/// A locked directory with its open files.
#[derive(Debug)]
pub struct NodeDirectory {
    opener: FileOpener,
    /// By number. A number whose file is no more is given to another one.
    files: Vec<Option<Entry>>,
}

impl NodeDirectory {
    /// Makes the directory if it does not exist, locks it, removes what a crash left of files
    /// being made, those among them that its user keeps there under the names `of_user`, and makes
    /// the names in it durable.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub fn open(path: &Path, of_user: &[&str]) -> Result<Self, StorageError> {
        Self::open_with(path, of_user, Arc::new(SystemCalls))
    }

    pub(super) fn open_with(
        path: &Path,
        of_user: &[&str],
        calls: Arc<dyn FileCalls>,
    ) -> Result<Self, StorageError> {
        let failed = |error: io::Error| StorageError::from_io(path, &error);
        make_directory(path, &*calls)?;
        let lock = lock_directory(path)?;
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if is_unfinished(&name.to_string_lossy(), of_user) {
                calls.remove(&path.join(name)).map_err(failed)?;
            }
        }
        sync_directory(path, &*calls)?;
        let opener = FileOpener {
            path: path.to_path_buf(),
            is_direct: true,
            calls,
            lock: Arc::new(lock),
        };
        Ok(Self {
            opener,
            files: Vec::with_capacity(FILES_AT_FIRST),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.opener.path
    }

    pub(super) const fn opener(&self) -> &FileOpener {
        &self.opener
    }

    /// Whether the file system takes direct writes of one block, found by making one as the
    /// log makes them. Files opened before are not told.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub(crate) fn probe_direct_writes(&mut self) -> Result<bool, StorageError> {
        let path = self.opener.path.join(format!("{PROBE}{TEMPORARY_SUFFIX}"));
        let probed = self.write_probe(&path);
        // Whether it could be written or not: a refused start leaves no probe behind.
        let removed = self.opener.calls.remove(&path);
        self.opener.is_direct = probed?;
        removed.map_err(|error| StorageError::from_io(&path, &error))?;
        Ok(self.opener.is_direct)
    }

    fn write_probe(&self, path: &Path) -> Result<bool, StorageError> {
        let calls = &self.opener.calls;
        let failed = |error: io::Error| StorageError::from_io(&self.opener.path, &error);
        let block = AtomicBuffer::allocate(BLOCK_LENGTH).map_err(failed)?;
        let bytes = block.bytes(0, BLOCK_LENGTH);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let buffered = calls.open(path, &options).map_err(failed)?;
        options.truncate(false).custom_flags(libc::O_DIRECT);
        let written = calls
            .open(path, &options)
            .and_then(|direct| calls.write_synced(&direct, path, bytes));
        match written {
            Ok(()) => return Ok(true),
            // No direct I/O at all, or none of 4 KiB.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(StorageError::from_write("a direct write", path, &error)),
        }
        calls
            .write_synced(&buffered, path, bytes)
            .map_err(|error| StorageError::from_write("a synced write", path, &error))?;
        Ok(false)
    }

    /// Whether the device syncs single writes (forced unit access) instead of flushing its
    /// whole cache: then an unsynced write does not become durable with the next synced one.
    #[must_use]
    pub(crate) fn syncs_single_writes(&self) -> bool {
        let Ok(metadata) = std::fs::metadata(self.path()) else {
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

    /// The open file with this number, if it was not removed.
    pub(super) fn file(&self, file: FileId) -> Result<&Arc<OpenFile>, DiskError> {
        let entry = self.files.get(file.0 as usize).and_then(Option::as_ref);
        let open = entry.map(|entry| &entry.file);
        open.ok_or_else(|| DiskError::Missing {
            name: format!("the removed file {}", file.0),
        })
    }

    pub(super) fn adopt(&mut self, file: Arc<OpenFile>) -> FileId {
        let free = self.files.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.files.push(None);
            self.files.len() - 1
        });
        self.files[index] = Some(Entry {
            segment: file.segment,
            file,
        });
        FileId(index as u32)
    }

    /// Gives away the open file of a segment that is about to go, if there is one. Whoever drops it
    /// closes it, once the last operation on it has ended, and may wait there for the file system
    /// to let go of its bytes.
    pub(super) fn take(&mut self, segment: SegmentName) -> Option<Arc<OpenFile>> {
        let is_of = |entry: &Entry| entry.segment == Some(segment);
        let mut files = self.files.iter_mut();
        let place = files.find(|place| place.as_ref().is_some_and(is_of))?;
        place.take().map(|entry| entry.file)
    }

    fn find(&self, name: &str) -> Option<FileId> {
        let is_named =
            |place: &Option<Entry>| place.as_ref().is_some_and(|entry| entry.file.name == name);
        let index = self.files.iter().position(is_named)?;
        Some(FileId(index as u32))
    }
}

impl ColdFiles for NodeDirectory {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        list_files(self.path())
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        if let Some(file) = self.find(name) {
            return self.file(file)?.check().map(|()| file);
        }
        let file = self.opener.open(name)?;
        Ok(self.adopt(Arc::new(file)))
    }

    fn create(&mut self, name: &str, length: u64) -> Result<FileId, DiskError> {
        if let Some(file) = self.find(name) {
            return self.file(file)?.check().map(|()| file);
        }
        let file = self.opener.create(name, length)?;
        Ok(self.adopt(Arc::new(file)))
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        let file = self.file(file)?;
        let metadata = file.buffered.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|error| disk_error("length", &file.name, 0, &error))
    }

    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError> {
        let file = self.file(file)?;
        place_of(&file.buffered, &file.name)
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        self.file(file)?.read(offset, target)
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file(file)?.write(offset, bytes)
    }

    fn sync(&mut self, file: FileId) -> Result<(), DiskError> {
        self.file(file)?.sync()
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        let failed = |error: io::Error| disk_error("removal", name, 0, &error);
        self.opener
            .calls
            .remove(&self.path().join(name))
            .map_err(failed)?;
        if let Some(file) = self.find(name) {
            self.files[file.0 as usize] = None;
        }
        self.opener.sync_names(name)
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        free_bytes(self.path())
    }

    fn boot_id(&mut self) -> Option<u128> {
        super::boot_id::boot_id()
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
        let ours = [
            "0-65536.rec.tmp",
            "archive.catalog.tmp",
            "probe.tmp",
            "state.dat.tmp",
        ];
        let others = [
            "letter.tmp",
            "0-x.rec.tmp",
            "rec.tmp",
            "0-0.rec",
            "state.dat",
        ];
        for name in ours.iter().chain(&others) {
            std::fs::write(place.path().join(name), b"x").unwrap();
        }
        let mut directory = NodeDirectory::open(place.path(), &["state.dat"]).unwrap();
        let left = directory.list().unwrap();
        assert!(others.iter().all(|name| left.iter().any(|l| l == name)));
        assert!(!ours.iter().any(|name| left.iter().any(|l| l == name)));
    }

    #[test]
    fn who_has_a_directory_is_told_without_touching_it() {
        let place = tempfile::tempdir().unwrap();
        assert!(in_use(place.path()).is_none());
        let held = NodeDirectory::open(place.path(), &[]).unwrap();
        let told = in_use(place.path()).map(|error| error.to_string());
        let holder = format!("in use by process {}", std::process::id());
        assert!(told.is_some_and(|told| told.contains(&holder)));
        drop(held);
        assert!(in_use(place.path()).is_none());
    }
}
