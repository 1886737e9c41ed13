//! The directory of one run: made afresh, removed afterwards unless it is to be kept.
#![allow(
    clippy::disallowed_methods,
    reason = "shell: names a directory by the time"
)]

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::bench_error::BenchError;

/// A run's own directory.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    parent: PathBuf,
    is_kept: bool,
}

impl RunDirectory {
    /// Makes a directory of its own under `parent`, which is made too if need be.
    ///
    /// # Errors
    /// The operating system's, with the directory named.
    pub fn create(parent: &Path, is_kept: bool) -> Result<Self, BenchError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let stamp = since.map_or(0, |since| since.as_millis());
        let path = parent.join(format!("run-{stamp}-{}", std::process::id()));
        let what = format!("failed to make {}, choose another --dir", path.display());
        std::fs::create_dir_all(&path).map_err(BenchError::io(what))?;
        Ok(Self {
            path,
            parent: parent.to_owned(),
            is_kept,
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left behind is in the way of nobody: the next run has another name.
            let _ = std::fs::remove_dir_all(&self.path);
            // The parent goes too when nothing else is in it.
            let _ = std::fs::remove_dir(&self.parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_leaves_nothing_unless_asked_to() {
        let place = tempfile::tempdir().unwrap();
        let parent = place.path().join("data");
        let run = RunDirectory::create(&parent, false).unwrap();
        std::fs::write(run.path().join("file"), b"x").unwrap();
        drop(run);
        assert!(!parent.exists());
        let run = RunDirectory::create(&parent, true).unwrap();
        let path = run.path().to_owned();
        drop(run);
        assert!(path.exists());
    }
}
