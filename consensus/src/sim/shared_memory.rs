//! The shared memory of a simulated host, where the log buffer of its member lies: it outlives
//! processes, and goes with the host's power.

use lockstep_archive::log::log_memory::{LOG_MEMORY_HEADER, LogMemory};
use lockstep_transport::concurrent::HostMemory;

use crate::settings::config::SyncMode;

/// See the module.
#[derive(Debug, Default)]
pub struct SharedMemory {
    log: Option<(HostMemory, HostMemory)>,
}

impl SharedMemory {
    /// What a process that starts finds, or makes where it will run without syncs.
    ///
    /// # Panics
    /// Where the process before has not ended, or there is no memory.
    pub fn open(&mut self, sync: SyncMode, term_length: usize) -> Option<LogMemory> {
        if sync == SyncMode::None && self.log.is_none() {
            let make = |length| HostMemory::allocate(length).expect("some pages of memory");
            let length = LogMemory::terms_length(term_length);
            self.log = Some((make(LOG_MEMORY_HEADER), make(length)));
        }
        let (header, terms) = self.log.as_ref()?;
        Some(LogMemory::new(header.map(), terms.map()))
    }

    /// A process runs that was started with this.
    pub(crate) fn on_start(&mut self, sync: SyncMode) {
        if sync == SyncMode::Data {
            self.lose();
        }
    }

    /// It is empty again.
    pub fn lose(&mut self) {
        self.log = None;
    }

    /// Other memory with the same content, for another future.
    ///
    /// # Panics
    /// While a process has it, or where there is no memory.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copied = |memory: &HostMemory| memory.copy().expect("some pages of memory");
        let log = self.log.as_ref();
        Self {
            log: log.map(|(header, terms)| (copied(header), copied(terms))),
        }
    }
}
