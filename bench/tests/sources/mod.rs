//! Where the workspace's sources are, for the tests that read them.
#![allow(dead_code, reason = "each test uses its part")]

pub mod lexemes;
pub mod words;

use std::path::{Path, PathBuf};

/// The crates from the bottom up, each with those it may use besides itself.
pub const DIRECTION: [(&str, &[&str]); 7] = [
    ("transport", &[]),
    ("archive", &["transport"]),
    ("client", &["transport"]),
    ("service", &["transport"]),
    ("consensus", &["transport", "archive", "client", "service"]),
    (
        "bench",
        &["transport", "archive", "client", "service", "consensus"],
    ),
    (
        "cli",
        &[
            "transport",
            "archive",
            "client",
            "service",
            "consensus",
            "bench",
        ],
    ),
];

/// The crates of the workspace, from the bottom up.
pub const CRATES: [&str; DIRECTION.len()] = {
    let mut crates = [""; DIRECTION.len()];
    let mut at = 0;
    while at < crates.len() {
        crates[at] = DIRECTION[at].0;
        at += 1;
    }
    crates
};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent();
    root.expect("the crate lies in the workspace").to_owned()
}

/// A source with its name in the workspace.
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// Whether it is of a test as a whole.
    pub fn is_test(&self) -> bool {
        self.name.contains("/tests/") || self.name.ends_with("/tests.rs")
    }

    /// What stands before a trailing `mod tests { … }` and its `#[cfg(test)]`.
    pub fn product(&self) -> &str {
        let starts = self.text.match_indices("\nmod tests {\n");
        let Some((start, _)) = starts.last() else {
            return &self.text;
        };
        let before = &self.text[..=start];
        let attribute = before.rfind("\n#[cfg(").map(|at| at + 1);
        let attribute = attribute.filter(|at| before[*at..].lines().all(|l| l.starts_with("#[")));
        &before[..attribute.unwrap_or(before.len())]
    }
}

/// The Rust sources in these folders of `crates`, as far as there are any, in order.
pub fn rust(crates: &[&str], folders: &[&str]) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for member in crates {
        let folders = folders.iter().map(|name| root.join(member).join(name));
        for folder in folders.filter(|folder| folder.is_dir()) {
            collect(&folder, &mut paths);
        }
    }
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&root).expect("it lies below");
        Source {
            name: name.display().to_string(),
            text: std::fs::read_to_string(path).expect("a source just listed can be read"),
        }
    };
    paths.iter().map(read).collect()
}

/// The pages that people read: the README, and what lies in `docs/`, in order.
pub fn pages() -> Vec<Source> {
    let root = root();
    let folder = std::fs::read_dir(root.join("docs")).expect("a folder of pages can be read");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let file = entry.expect("it can be read").file_name();
        format!("docs/{}", file.to_string_lossy())
    };
    let mut names: Vec<String> = folder.map(name).collect();
    names.sort();
    names.push("README.md".to_owned());
    let read = |name: String| Source {
        text: std::fs::read_to_string(root.join(&name)).expect("a page just listed can be read"),
        name,
    };
    names.into_iter().map(read).collect()
}

/// Fails with all of them, where there are any.
pub fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// What stands between backticks in `line`.
pub fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The test of that name in `text`, from its head to the brace that ends it.
pub fn test_text(text: &str, name: &str) -> Option<String> {
    let head = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().collect();
    let is_test = |at: &usize| {
        let before = lines[..*at].iter().rev().map(|line| line.trim());
        let mut attributes = before.take_while(|line| line.starts_with('#'));
        lines[*at].trim().starts_with(&head) && attributes.any(|line| line == "#[test]")
    };
    let first = (0..lines.len()).find(is_test)?;
    if lines[first].ends_with("{}") {
        return Some(lines[first].to_owned());
    }
    let indentation = lines[first].len() - lines[first].trim_start().len();
    let end = format!("{}}}", " ".repeat(indentation));
    let length = lines[first..].iter().position(|line| *line == end)?;
    Some(lines[first..=first + length].join("\n"))
}

/// Adds the Rust sources below `directory`, in order.
fn collect(directory: &Path, sources: &mut Vec<PathBuf>) {
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
