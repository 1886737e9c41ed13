//! The log buffer's file at a start: found, judged by whose it is, kept aside where this start has
//! no use for it and somebody else may, and made anew (`log.md` 10.3).
//!
//! SHELL. What is kept aside is one file at most, beside the one in use; it comes back by itself
//! when the directory is started in the state that it belongs to. Each step is one rename: a start
//! that ends on the way leaves nothing that the next one does not find.

use std::fs::{Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use lockstep_archive::log::log_memory::{
    LOG_MEMORY_FILE, LOG_MEMORY_HEADER, LogMemory, LogMemoryOwner,
};
use lockstep_transport::concurrent::AtomicBuffer;

use crate::node::log_memory::{Claim, Standing};
use crate::node::shared_file::{
    KEPT, SharedFileError, failed_in, is_ours, link_to, locate, make_anew,
};

/// What the name of a file ends in that is yet to have another name.
const UNFINISHED: &str = "dat.tmp";

/// The same of one that is to be kept aside once another one has come back.
const LEAVING: &str = "dat.leaving";

/// The log buffer's file. It stays when this value goes, for the next life of its directory.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    term_length: usize,
}

/// Copies what the log buffer of the node of `directory` has for `owner`, in use or kept aside, for
/// whoever only looks: nothing is changed. `None` where there is none that the directory leads to,
/// or it is another life's.
///
/// # Errors
/// The operating system's: it is another user's, say.
pub fn copy_log_memory(directory: &Path, owner: &LogMemoryOwner) -> io::Result<Option<LogMemory>> {
    let path = match std::fs::read_link(directory.join(LOG_MEMORY_FILE)) {
        // No link, or a file that was copied in its place.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ) =>
        {
            return Ok(None);
        }
        outcome => outcome?,
    };
    for path in [path.with_extension(KEPT), path] {
        let file = match OpenOptions::new().read(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            outcome => outcome?,
        };
        let whole = LogFile {
            path,
            term_length: owner.term_length,
        };
        if file.metadata()?.len() != whole.length() {
            continue;
        }
        let copied = LogMemory::copied(owner, |offset, target| file.read_exact_at(target, offset))?;
        if copied.is_some() {
            return Ok(copied);
        }
    }
    Ok(None)
}

/// What a start has found and made.
#[derive(Debug)]
pub(crate) struct PlacedLog {
    /// The file, where there is one.
    pub file: Option<LogFile>,
    /// Why there is none although one is wanted: for want of room.
    pub refusal: Option<SharedFileError>,
    /// What lies aside.
    pub kept: Option<PathBuf>,
}

impl PlacedLog {
    /// The file that the life before of `directory`, which this process has locked, has left, as
    /// its `claim` says; if there is none and `is_wanted`, another one. Nothing that may be the
    /// only copy of something is changed, but for an older one that was kept aside.
    ///
    /// # Errors
    /// See [`SharedFileError`]; a lack of room is none.
    pub fn place(
        directory: &Path,
        term_length: usize,
        shared_memory: &Path,
        is_wanted: bool,
        claim: &Claim,
    ) -> Result<Self, SharedFileError> {
        let (path, _) = locate(directory, LOG_MEMORY_FILE, shared_memory)?;
        let kept = path.with_extension(KEPT);
        let file = LogFile { path, term_length };
        let (file, refusal) = match file.place(directory, shared_memory, is_wanted, claim) {
            Ok(is_there) => (is_there.then_some(file), None),
            Err(error) if error.is_for_room() => (None, Some(error)),
            Err(error) => return Err(error),
        };
        Ok(Self {
            file,
            refusal,
            kept: kept.exists().then_some(kept),
        })
    }
}

impl LogFile {
    /// See [`PlacedLog::place`]. Returns whether there is a file.
    fn place(
        &self,
        directory: &Path,
        shared_memory: &Path,
        is_wanted: bool,
        claim: &Claim,
    ) -> Result<bool, SharedFileError> {
        let failed = |error| failed_in(shared_memory)(&self.path, error);
        self.finish_leaving().map_err(failed)?;
        let (_, there) = locate(directory, LOG_MEMORY_FILE, shared_memory)?;
        let found = match there {
            Some(there) => {
                self.expect_whole(&there)?;
                let memory = self.open().map_err(failed)?;
                Some(claim.standing(&memory))
            }
            None => None,
        };
        match found {
            Some(Standing::Left) => {}
            _ if self.is_left_aside(claim) => self.take_back().map_err(failed)?,
            Some(Standing::Settled) => {}
            Some(Standing::Strange) => {
                std::fs::rename(&self.path, self.kept()).map_err(failed)?;
            }
            None => {}
        }
        if !self.path.exists() {
            if !is_wanted {
                return Ok(false);
            }
            self.make().map_err(failed)?;
        }
        let link = directory.join(LOG_MEMORY_FILE);
        link_to(&self.path, &link).map_err(|error| failed_in(shared_memory)(&link, error))?;
        Ok(true)
    }

    /// Makes it. A start that is killed in the middle of this leaves nothing under its name.
    fn make(&self) -> io::Result<()> {
        let unfinished = self.path.with_extension(UNFINISHED);
        make_anew(&unfinished, self.length() as usize)?;
        std::fs::rename(&unfinished, &self.path)
    }

    fn kept(&self) -> PathBuf {
        self.path.with_extension(KEPT)
    }

    /// Whether what lies aside is what the life before has left: an older state of the directory
    /// was started meanwhile, by mistake.
    fn is_left_aside(&self, claim: &Claim) -> bool {
        let aside = Self {
            path: self.kept(),
            ..*self
        };
        let found = std::fs::symlink_metadata(&aside.path);
        let own = std::fs::metadata("/proc/self");
        let is_whole = found.is_ok_and(|found| {
            own.is_ok_and(|own| is_ours(&found, &own)) && aside.expect_whole(&found).is_ok()
        });
        let opened = is_whole.then(|| aside.open().ok()).flatten();
        opened.is_some_and(|memory| claim.standing(&memory) == Standing::Left)
    }

    /// What lies aside and what has its place change places.
    fn take_back(&self) -> io::Result<()> {
        if self.path.exists() {
            std::fs::rename(&self.path, self.path.with_extension(LEAVING))?;
        }
        std::fs::rename(self.kept(), &self.path)?;
        self.finish_leaving()
    }

    /// Ends what a start was killed in.
    fn finish_leaving(&self) -> io::Result<()> {
        let leaving = self.path.with_extension(LEAVING);
        if leaving.exists() && !self.kept().exists() {
            std::fs::rename(leaving, self.kept())?;
        }
        Ok(())
    }

    fn expect_whole(&self, there: &Metadata) -> Result<(), SharedFileError> {
        use std::os::unix::fs::MetadataExt;
        let expected = self.length();
        let found = there.len().min(there.blocks() * 512);
        if there.len() == expected && found >= expected {
            return Ok(());
        }
        let file = self.path.display().to_string();
        Err(SharedFileError::NotWhole {
            file,
            found,
            expected,
        })
    }

    /// Its bytes.
    pub const fn length(&self) -> u64 {
        (LOG_MEMORY_HEADER + LogMemory::terms_length(self.term_length)) as u64
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Maps it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(&self) -> io::Result<LogMemory> {
        let length = LogMemory::terms_length(self.term_length);
        Ok(LogMemory::new(
            AtomicBuffer::map_file_part(&self.path, 0, LOG_MEMORY_HEADER)?,
            AtomicBuffer::map_file_part(&self.path, LOG_MEMORY_HEADER, length)?,
        ))
    }

    /// Removes it: what was acknowledged is on disk, and the ack mark says so.
    pub fn remove(&self) {
        // Best effort: it costs memory, and the next life uses it again.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use lockstep_archive::log::log_memory::LogMemoryOwner;
    use lockstep_transport::position::Geometry;

    use super::*;

    const SHARED_MEMORY: &str = "/dev/shm";
    const TERM: usize = 64 * 1024;

    fn file_length() -> u64 {
        (LOG_MEMORY_HEADER + LogMemory::terms_length(TERM)) as u64
    }

    #[test]
    fn a_log_buffer_stays_for_the_next_life_and_one_that_is_none_is_named_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let memory = Path::new(SHARED_MEMORY);
        let placed =
            |is_wanted| PlacedLog::place(place.path(), TERM, memory, is_wanted, &Claim::NONE);
        assert!(placed(false).unwrap().file.is_none());
        let file = placed(true).unwrap().file.unwrap();
        let path = file.path().to_owned();
        std::fs::write(path.with_extension("dat.tmp"), b"left by a crash").unwrap();
        drop(file);
        assert!(placed(false).unwrap().file.unwrap().open().is_ok());
        placed(true).unwrap().file.unwrap().remove();
        assert!(placed(true).unwrap().file.is_some() && !path.with_extension("dat.tmp").exists());
        // Too short, too long, and of the right length with nothing behind it.
        let length = file_length();
        for (length, holds) in [(length - 4096, true), (length + 1, true), (length, false)] {
            std::fs::remove_file(&path).unwrap();
            let bytes = if holds { length } else { 0 };
            std::fs::write(&path, vec![7; bytes as usize]).unwrap();
            let opened = OpenOptions::new().write(true).open(&path).unwrap();
            opened.set_len(length).unwrap();
            let said = placed(true).unwrap_err().to_string();
            assert!(said.contains("left as it is"), "{said}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
        }
        std::fs::remove_file(&path).unwrap();
    }

    /// A directory, and what its starts find in shared memory.
    struct Stage(tempfile::TempDir);

    fn life(directory: u128, incarnation: u64) -> LogMemoryOwner {
        LogMemoryOwner {
            term_length: TERM,
            directory,
            boot_id: 6,
            incarnation,
        }
    }

    impl Stage {
        /// A start of this life of the directory, whose mark counts on the memory of the one
        /// before.
        fn start(&self, before: LogMemoryOwner, is_wanted: bool) -> PlacedLog {
            let claim = Claim {
                before: Some(before),
                last: Some(before),
            };
            let memory = Path::new(SHARED_MEMORY);
            PlacedLog::place(self.0.path(), TERM, memory, is_wanted, &claim).unwrap()
        }

        /// The same, which goes on in the memory that it gets, and is killed.
        fn live(&self, before: LogMemoryOwner, own: &LogMemoryOwner) -> PlacedLog {
            let placed = self.start(before, true);
            let memory = placed.file.as_ref().unwrap().open().unwrap();
            let geometry = Geometry::new(0, TERM).unwrap();
            drop(memory.begin(own, geometry, 1408, 0));
            placed
        }
    }

    impl Drop for Stage {
        fn drop(&mut self) {
            crate::node::shared_file::forget(self.0.path(), LOG_MEMORY_FILE);
        }
    }

    fn owner_in(path: &Path) -> Option<LogMemoryOwner> {
        let file = LogFile {
            path: path.to_owned(),
            term_length: TERM,
        };
        file.open().unwrap().owner()
    }

    #[test]
    fn a_log_buffer_of_another_life_is_kept_aside_and_comes_back_to_the_state_it_belongs_to() {
        let stage = Stage(tempfile::tempdir().unwrap());
        let path = stage.live(life(1, 0), &life(1, 7)).file.unwrap().path;
        // A state of before life 7 is put back, and lives on.
        let placed = stage.live(life(1, 3), &life(9, 4));
        let kept = placed.kept.unwrap();
        assert_eq!(kept, path.with_extension("dat.kept"));
        assert_eq!(owner_in(&kept), Some(life(1, 7)));
        assert_eq!(owner_in(&path), Some(life(9, 4)));
        // It finds its own, whatever lies aside.
        let placed = stage.start(life(9, 4), true);
        assert_eq!(placed.kept.as_deref(), Some(&*kept));
        assert_eq!(owner_in(&path), Some(life(9, 4)));
        // The newest state again: they change places.
        stage.start(life(1, 7), true);
        assert_eq!(owner_in(&path), Some(life(1, 7)));
        assert_eq!(owner_in(&kept), Some(life(9, 4)));
    }

    #[test]
    fn a_start_that_is_killed_while_log_buffers_change_places_loses_neither() {
        let stage = Stage(tempfile::tempdir().unwrap());
        let path = stage.live(life(1, 0), &life(1, 7)).file.unwrap().path;
        let kept = stage.live(life(1, 3), &life(9, 4)).kept.unwrap();
        // After the first rename, and after the second.
        let leaving = path.with_extension(LEAVING);
        for renames in 1..=2 {
            std::fs::rename(&path, &leaving).unwrap();
            if renames == 2 {
                std::fs::rename(&kept, &path).unwrap();
            }
            stage.start(life(1, 7), true);
            assert_eq!(owner_in(&path), Some(life(1, 7)), "{renames}");
            assert_eq!(owner_in(&kept), Some(life(9, 4)), "{renames}");
            assert!(!leaving.exists());
            stage.start(life(9, 4), true);
        }
    }

    #[test]
    fn at_most_one_log_buffer_lies_aside_and_a_node_that_wants_none_keeps_it_too() {
        let stage = Stage(tempfile::tempdir().unwrap());
        let path = stage.live(life(1, 0), &life(1, 7)).file.unwrap().path;
        stage.live(life(2, 0), &life(2, 7));
        let placed = stage.start(life(3, 0), false);
        assert!(placed.file.is_none() && !path.exists());
        assert_eq!(owner_in(&placed.kept.unwrap()), Some(life(2, 7)));
    }
}
