//! A directory that is only looked at: no lock, no file made, removed, synced or written, no access
//! time left behind. For tools that look at a stopped node, at a running one, at a copy, or at what
//! belongs to somebody else; whatever would change something is refused.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::disk_error;
use super::looks::{free_bytes, list_files, place_of};
use crate::disk::{ColdFiles, DiskError, FileId, FilePlace};

/// Files held open at once: a scan is in one segment at a time, and a log of any number of segments
/// must not meet the limit on descriptors.
const OPEN_MAX: usize = 16;

/// Why a directory cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// There is nothing of that name.
    #[error("there is no directory {}: correct the path", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// There is something else of that name.
    #[error("{} is not a directory: give the data directory of a node", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The operating system does not show it.
    #[error(
        "the directory {} cannot be read ({detail}): give this user permission to read it and the \
         files in it, or look as its owner", path.display()
    )]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The operating system's words.
        detail: String,
    },
}

impl LookError {
    fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::Missing { path },
            Some(libc::ENOTDIR) => Self::NotADirectory { path },
            _ => Self::Unreadable {
                path,
                detail: error.to_string(),
            },
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct ReadOnlyDirectory {
    path: PathBuf,
    names: Vec<String>,
    /// The files held open, the one used last at the end.
    open: VecDeque<(FileId, File)>,
}

impl ReadOnlyDirectory {
    /// Looks at the directory.
    ///
    /// # Errors
    /// See [`LookError`].
    pub fn open(path: &Path) -> Result<Self, LookError> {
        let listed = std::fs::read_dir(path);
        listed.map_err(|error| LookError::from_io(path, &error))?;
        Ok(Self {
            path: path.to_path_buf(),
            names: Vec::new(),
            open: VecDeque::with_capacity(OPEN_MAX),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn held(&self, id: FileId) -> Option<usize> {
        self.open.iter().position(|(held, _)| *held == id)
    }

    fn file(&mut self, id: FileId) -> Result<&File, DiskError> {
        let held = self.held(id);
        let file = match held.and_then(|index| self.open.remove(index)) {
            Some((_, file)) => file,
            None => {
                let name = &self.names[id.0 as usize];
                open_to_read(&self.path.join(name))
                    .map_err(|error| disk_error("opening", name, 0, &error))?
            }
        };
        if self.open.len() == OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back((id, file));
        let (_, file) = self.open.back().expect("one was just put there");
        Ok(file)
    }

    fn refused<T>(&self, operation: &'static str, file: FileId) -> Result<T, DiskError> {
        let name = self.names[file.0 as usize].clone();
        Err(DiskError::ReadOnly { operation, name })
    }
}

/// Opens a file for reading. Access times are left as they are where that is permitted, which is to
/// the file's owner. Whatever else has its name is refused, and not waited for.
fn open_to_read(path: &Path) -> io::Result<File> {
    let open = |flags| {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK | flags);
        options.open(path)
    };
    let file = match open(libc::O_NOATIME) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => open(0),
        outcome => outcome,
    }?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no file"))
    }
}

impl ColdFiles for ReadOnlyDirectory {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        list_files(&self.path)
    }

    fn open(&mut self, name: &str) -> Result<FileId, DiskError> {
        let known = self.names.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        let id = FileId(index as u32);
        // By now it may be another file of that name.
        if let Some(held) = self.held(id) {
            self.open.remove(held);
        }
        self.file(id)?;
        Ok(id)
    }

    fn create(&mut self, name: &str, _length: u64) -> Result<FileId, DiskError> {
        Err(DiskError::ReadOnly {
            operation: "creation",
            name: name.to_owned(),
        })
    }

    fn length(&mut self, file: FileId) -> Result<u64, DiskError> {
        let metadata = self.file(file)?.metadata();
        let name = &self.names[file.0 as usize];
        metadata
            .map(|metadata| metadata.len())
            .map_err(|error| disk_error("length", name, 0, &error))
    }

    fn place(&mut self, file: FileId) -> Result<FilePlace, DiskError> {
        let name = self.names[file.0 as usize].clone();
        place_of(self.file(file)?, &name)
    }

    fn read(&mut self, file: FileId, offset: u64, target: &mut [u8]) -> Result<(), DiskError> {
        let read = self.file(file)?.read_exact_at(target, offset);
        read.map_err(|error| disk_error("read", &self.names[file.0 as usize], 0, &error))
    }

    fn write(&mut self, file: FileId, _offset: u64, _bytes: &[u8]) -> Result<(), DiskError> {
        self.refused("write", file)
    }

    fn sync(&mut self, file: FileId) -> Result<(), DiskError> {
        self.refused("sync", file)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        Err(DiskError::ReadOnly {
            operation: "removal",
            name: name.to_owned(),
        })
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        free_bytes(&self.path)
    }

    fn boot_id(&mut self) -> Option<u128> {
        super::boot_id::boot_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_whatever_would_change_something_is_refused_by_name() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("x"), b"bytes").unwrap();
        let mut looked = ReadOnlyDirectory::open(place.path()).unwrap();
        assert_eq!(looked.list().unwrap(), ["x"]);
        let file = ColdFiles::open(&mut looked, "x").unwrap();
        let mut bytes = [0; 4];
        looked.read(file, 1, &mut bytes).unwrap();
        assert_eq!((&bytes, looked.length(file).unwrap()), (b"ytes", 5));
        assert!(looked.read(file, 2, &mut bytes).is_err());
        assert!(matches!(
            ColdFiles::open(&mut looked, "y"),
            Err(DiskError::Missing { .. })
        ));
        for refused in [
            looked.create("y", 1).map(|_| ()),
            looked.write(file, 0, b"a"),
            looked.sync(file),
            looked.remove("x"),
        ] {
            let Err(DiskError::ReadOnly { name, .. }) = refused else {
                panic!("{refused:?}");
            };
            assert!(["x", "y"].contains(&name.as_str()), "{name}");
        }
        assert_eq!(std::fs::read(place.path().join("x")).unwrap(), b"bytes");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn more_files_than_may_be_open_at_once_are_all_read() {
        let place = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..3 * OPEN_MAX).map(|n| format!("{n:02}")).collect();
        for name in &names {
            std::fs::write(place.path().join(name), name).unwrap();
        }
        let mut looked = ReadOnlyDirectory::open(place.path()).unwrap();
        let opened = names.iter().map(|name| ColdFiles::open(&mut looked, name));
        let files: Vec<FileId> = opened.map(Result::unwrap).collect();
        for (name, file) in names.iter().zip(&files) {
            let mut bytes = [0; 2];
            looked.read(*file, 0, &mut bytes).unwrap();
            assert_eq!(bytes, name.as_bytes());
            assert!(looked.open.len() <= OPEN_MAX);
        }
    }

    #[test]
    fn a_file_that_is_opened_again_is_the_one_that_has_the_name_by_then() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x");
        let mut looked = ReadOnlyDirectory::open(place.path()).unwrap();
        for content in [b"one", b"two"] {
            std::fs::write(place.path().join("y"), content).unwrap();
            std::fs::rename(place.path().join("y"), &path).unwrap();
            let file = ColdFiles::open(&mut looked, "x").unwrap();
            let mut bytes = [0; 3];
            looked.read(file, 0, &mut bytes).unwrap();
            assert_eq!(&bytes, content);
        }
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x");
        let mut looked = ReadOnlyDirectory::open(place.path()).unwrap();
        let mut expect_refused = |is_made: bool| {
            assert!(is_made);
            let refused = ColdFiles::open(&mut looked, "x");
            assert!(matches!(refused, Err(DiskError::Io { .. })), "{refused:?}");
        };
        std::fs::create_dir(&path).unwrap();
        expect_refused(true);
        std::fs::remove_dir(&path).unwrap();
        // Whoever opens one waits for somebody to write to it.
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        expect_refused(made.unwrap().success());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        expect_refused(true);
    }

    #[test]
    fn what_is_no_directory_is_named_with_a_remedy() {
        let place = tempfile::tempdir().unwrap();
        let missing = place.path().join("nowhere");
        let said = ReadOnlyDirectory::open(&missing).unwrap_err().to_string();
        assert!(said.contains("nowhere: correct the path"), "{said}");
        std::fs::write(&missing, b"").unwrap();
        let said = ReadOnlyDirectory::open(&missing).unwrap_err().to_string();
        assert!(said.contains("not a directory"), "{said}");
    }
}
