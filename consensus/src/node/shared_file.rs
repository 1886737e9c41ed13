//! Files that a node shares with tools, or with its own next life, mapped: counters and trace, and
//! where the log buffer lies.
//!
//! SHELL. The agent stores to them in its duty cycle. A store to a mapped page of a disk may
//! wait for it, and ends the process without a word where the file system has no room or fails
//! (SIGBUS). So the files lie in a memory file system, with all of their bytes allocated; the
//! node's directory has a symbolic link to each, by which tools find it. They go with the node,
//! but for the log buffer (`log_file.rs`): that goes at a clean end only (`log.md` 10.3).

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use lockstep_transport::media::host::file_system;
use lockstep_transport::stable_hash::stable_hash;

/// File systems that live in memory, as [`file_system`] names them; the number is ramfs.
const MEMORY_FILE_SYSTEMS: [&str; 2] = ["tmpfs", "0x858458f6"];

/// What the name of a file that was kept aside ends in.
pub(super) const KEPT: &str = "dat.kept";

/// Why a shared file cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum SharedFileError {
    /// The operating system's error.
    #[error("{file}: {source}; check that {place} is writable and not full, or set shared_memory")]
    Io {
        /// Which file.
        file: String,
        /// In which file system it was to lie.
        place: String,
        /// The operating system's words.
        source: io::Error,
    },
    /// A disk would be stored to in the duty cycle.
    #[error(
        "shared_memory = {place} is on {found}, not in memory: set it to a directory on a tmpfs, \
         as /dev/shm is"
    )]
    NotMemory {
        /// What is configured.
        place: String,
        /// The file system found there.
        found: String,
    },
    /// It is no log buffer of this cluster.
    #[error(
        "{file} has {found} bytes in memory and a log buffer of this node has {expected}: it was \
         left as it is; see whose it is, or set shared_memory to another directory"
    )]
    NotWhole {
        /// Which file.
        file: String,
        /// Bytes found.
        found: u64,
        /// Bytes wanted.
        expected: u64,
    },
    /// Somebody else has it.
    #[error("{file} is another user's: set shared_memory to a directory of this user's own")]
    Foreign {
        /// Which file.
        file: String,
    },
}

impl SharedFileError {
    /// Whether the place has no room for it.
    pub(crate) fn is_for_room(&self) -> bool {
        let Self::Io { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// A file in memory that is removed with this value.
#[derive(Debug)]
pub(crate) struct SharedFile {
    path: PathBuf,
}

impl SharedFile {
    /// Makes `name`, of `length` bytes, in `shared_memory` and links to it in `directory`, which
    /// this process has locked. What an earlier node of the directory left is used again.
    ///
    /// # Errors
    /// See [`SharedFileError`].
    pub fn place(
        directory: &Path,
        name: &str,
        length: usize,
        shared_memory: &Path,
    ) -> Result<Self, SharedFileError> {
        let failed = failed_in(shared_memory);
        let (path, _) = locate(directory, name, shared_memory)?;
        let this = Self { path };
        occupy(&this.path, length).map_err(|error| failed(&this.path, error))?;
        let link = directory.join(name);
        link_to(&this.path, &link).map_err(|error| failed(&link, error))?;
        Ok(this)
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        // Best effort: the next node of the directory uses it again.
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(super) fn failed_in(shared_memory: &Path) -> impl Fn(&Path, io::Error) -> SharedFileError {
    let place = shared_memory.display().to_string();
    move |path, source| SharedFileError::Io {
        file: path.display().to_string(),
        place: place.clone(),
        source,
    }
}

/// Where the file called `name` of the node of `directory` belongs, and what is there.
pub(super) fn locate(
    directory: &Path,
    name: &str,
    shared_memory: &Path,
) -> Result<(PathBuf, Option<Metadata>), SharedFileError> {
    let failed = failed_in(shared_memory);
    let key = key_of(directory).map_err(|error| failed(&directory.join(name), error))?;
    let path = shared_memory.join(format!("lockstep-{key:016x}-{name}"));
    std::fs::metadata(shared_memory).map_err(|error| failed(&path, error))?;
    let found = file_system(shared_memory);
    if !MEMORY_FILE_SYSTEMS.contains(&found.as_str()) {
        let place = shared_memory.display().to_string();
        return Err(SharedFileError::NotMemory { place, found });
    }
    let own = std::fs::metadata("/proc/self").map_err(|error| failed(&path, error))?;
    match std::fs::symlink_metadata(&path) {
        Ok(there) if !is_ours(&there, &own) => {
            let file = path.display().to_string();
            Err(SharedFileError::Foreign { file })
        }
        Ok(there) => Ok((path, Some(there))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path, None)),
        Err(error) => Err(failed(&path, error)),
    }
}

/// Removes the file behind `directory`'s link called `name`, and one that was kept aside of it, for
/// whoever has killed its node.
pub fn forget(directory: &Path, name: &str) {
    if let Ok(path) = std::fs::read_link(directory.join(name)) {
        // Best effort: it is a few pages of memory, and the next node uses them again.
        let _ = std::fs::remove_file(path.with_extension(KEPT));
        let _ = std::fs::remove_file(path);
    }
}

/// Tells directories apart, those of other mount namespaces included.
fn key_of(directory: &Path) -> io::Result<u64> {
    let found = std::fs::metadata(directory)?;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&found.dev().to_le_bytes());
    bytes.extend_from_slice(&found.ino().to_le_bytes());
    let path = std::fs::canonicalize(directory)?;
    bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
    Ok(stable_hash(&bytes))
}

pub(super) fn is_ours(there: &Metadata, own: &Metadata) -> bool {
    there.is_file() && there.uid() == own.uid()
}

/// Makes sure that the file has all its `length` bytes allocated: where it had not, the first
/// store to a page of a full file system would end the process.
fn occupy(path: &Path, length: usize) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|file| file.blocks() * 512 >= length as u64) {
        return Ok(());
    }
    // What is left of an earlier one is too short to be of use to anybody.
    make_anew(path, length)
}

/// Makes the file, with all its bytes allocated, whatever was there.
pub(super) fn make_anew(path: &Path, length: usize) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&vec![0; length]).inspect_err(|_| {
        // Best effort, as above.
        let _ = std::fs::remove_file(path);
    })
}

/// Makes `link` point to `path`, whatever was there before: a link, or a file of a version that
/// kept it in the directory.
pub(super) fn link_to(path: &Path, link: &Path) -> io::Result<()> {
    if std::fs::read_link(link).is_ok_and(|found| found == path) {
        return Ok(());
    }
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(path, link),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED_MEMORY: &str = "/dev/shm";

    #[test]
    fn a_shared_file_lies_in_memory_is_found_by_its_directory_and_goes_with_its_node() {
        let place = tempfile::tempdir().unwrap();
        let memory = Path::new(SHARED_MEMORY);
        // A version before this one kept it in the directory.
        std::fs::write(place.path().join("x.dat"), b"old").unwrap();
        let shared = SharedFile::place(place.path(), "x.dat", 8192, memory).unwrap();
        assert!(shared.path().starts_with(memory));
        assert_eq!(file_system(shared.path()), "tmpfs");
        let found = std::fs::metadata(place.path().join("x.dat")).unwrap();
        assert!(found.len() == 8192 && found.blocks() * 512 >= 8192);
        let link = std::fs::symlink_metadata(place.path().join("x.dat")).unwrap();
        assert!(link.is_symlink());
        let path = shared.path().to_owned();
        drop(shared);
        assert!(!path.exists() && !place.path().join("x.dat").exists());
        let again = SharedFile::place(place.path(), "x.dat", 8192, memory).unwrap();
        assert_eq!(again.path(), path);
    }

    #[test]
    fn two_directories_never_share_a_file() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let memory = Path::new(SHARED_MEMORY);
        let placed = |place: &Path| SharedFile::place(place, "x.dat", 4096, memory).unwrap();
        assert_ne!(placed(one.path()).path(), placed(two.path()).path());
    }

    #[test]
    fn a_place_that_is_not_in_memory_is_refused_by_name() {
        let place = tempfile::tempdir().unwrap();
        for (memory, parts) in [
            ("/proc", ["shared_memory = /proc", "not in memory", "tmpfs"]),
            (
                "/no/such",
                ["/no/such", "No such file", "set shared_memory"],
            ),
        ] {
            let error = SharedFile::place(place.path(), "x.dat", 4096, Path::new(memory));
            let said = error.unwrap_err().to_string();
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }
}
