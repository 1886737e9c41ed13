//! Files that a run writes its results to: tried before the run, not after it.

use std::path::Path;

/// Checks that `path` can be written, and leaves it as it was.
///
/// # Errors
/// A sentence with the path, the reason and the remedy.
pub fn check(path: &Path) -> Result<(), String> {
    #[allow(clippy::disallowed_types, reason = "shell: tries a file")]
    let options = || std::fs::File::options();
    let is_new = !path.exists();
    let opened = options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    if is_new && opened.is_ok() {
        // Best effort: the run is about to write it anyway.
        let _ = std::fs::remove_file(path);
    }
    opened.map(|_| ()).map_err(|error| {
        let path = path.display();
        format!("cannot write {path}: {error}; choose a file in a directory that can be written")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_can_be_written_is_left_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("result.json");
        assert_eq!(check(&path), Ok(()));
        assert!(!path.exists());
        std::fs::write(&path, "old").unwrap();
        assert_eq!(check(&path), Ok(()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let place = tempfile::tempdir().unwrap();
        let problem = check(&place.path().join("nowhere/result.json")).unwrap_err();
        assert!(problem.contains("nowhere/result.json"), "{problem}");
        assert!(problem.contains("choose a file"), "{problem}");
    }
}
