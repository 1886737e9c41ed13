//! Where a run took place: kernel, processor, cores, file system, I/O backend. Printed with
//! every result, because a figure without its machine means nothing.

use std::path::Path;

use lockstep_transport::media::host::{HostFacts, file_system};
use serde_json::{Value, json};

/// Facts about the host, as far as they can be read without privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Kernel release.
    pub kernel: String,
    /// Processor model.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Type of the file system that holds the data directory.
    pub file_system: String,
    /// What the nodes chose for network and disk, in their own words.
    pub io_backend: String,
    /// Version of Lockstep.
    pub version: &'static str,
}

impl Environment {
    /// Reads the facts; `directory` is where the nodes keep their data.
    #[must_use]
    pub fn read(directory: &Path) -> Self {
        let facts = HostFacts::read();
        Self {
            kernel: facts.kernel_release,
            cpu: facts.cpu_model,
            cores: facts.cores_allowed.len().max(1),
            file_system: file_system(directory),
            io_backend: String::new(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The facts as the JSON object of `performance.md` 6.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "kernel": self.kernel, "cpu": self.cpu, "cores": self.cores,
            "fs": self.file_system, "io_backend": self.io_backend, "version": self.version,
        })
    }
}
