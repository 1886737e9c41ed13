//! Where the workspace's sources are, for the tests that read them.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};

/// The crates of the workspace, from the bottom up.
pub const CRATES: [&str; 7] = [
    "transport",
    "archive",
    "client",
    "service",
    "consensus",
    "bench",
    "cli",
];

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent();
    root.expect("the crate lies in the workspace").to_owned()
}

/// Adds the Rust sources below `directory`, in order.
pub fn collect(directory: &Path, sources: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).expect("a folder of sources can be read");
    let path = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("it can be read").path();
    let mut paths: Vec<PathBuf> = entries.map(path).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}
