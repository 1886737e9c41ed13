//! SHELL. Reads `node.toml` from its file.

use std::path::Path;

use super::{NodeFile, NodeFileError, ServiceKey};

impl<S: ServiceKey> NodeFile<S> {
    /// Reads, parses and validates the file at `path`.
    ///
    /// # Errors
    /// What is wrong, in which line, and what to do.
    pub fn read(path: &Path) -> Result<Self, NodeFileError> {
        let text = std::fs::read_to_string(path).map_err(|problem| NodeFileError::Unreadable {
            path: path.to_owned(),
            problem,
        })?;
        Self::parse(path, &text)
    }
}
