//! Where a log that is looked at comes from: the files of a directory, and the log buffer of its
//! node in shared memory, which may have more.

use std::io;

use lockstep_archive::disk::{ColdFiles, DiskError};
use lockstep_archive::log::log_memory::{LeftLog, LogMemory, LogMemoryOwner};

use super::directory_look::{DirectoryLook, Standing};
use crate::node::log_memory::Claim;

/// Reads what the log buffer of the node has for this owner; `None` where there is no such file, or
/// it is of another life.
pub type ReadMemory<'a> = dyn FnMut(&LogMemoryOwner) -> io::Result<Option<LogMemory>> + 'a;

/// What there is to be looked at.
pub struct LogSource<'a, D> {
    /// The directory.
    pub disk: &'a mut D,
    /// Whether a process uses it now.
    pub is_in_use: &'a dyn Fn() -> bool,
    /// The log buffer in shared memory.
    pub read_memory: &'a mut ReadMemory<'a>,
}

/// What was found of the log buffer.
#[derive(Debug)]
pub enum FoundMemory {
    /// Nothing was acknowledged that is not on disk.
    NotNeeded,
    /// It is gone, or another life's.
    Gone,
    /// It is there, and this user cannot read it.
    Unreadable(String),
    /// It is there.
    There(LogMemory, LogMemoryOwner),
}

impl FoundMemory {
    /// What is left in it.
    #[must_use]
    pub fn left(&self) -> Option<LeftLog<'_>> {
        match self {
            Self::There(memory, owner) => memory.left(owner),
            _ => None,
        }
    }

    /// Whether what was acknowledged there, if anything was, can be looked at.
    #[must_use]
    pub const fn is_seen(&self) -> bool {
        matches!(self, Self::NotNeeded | Self::There(..))
    }

    /// Whether what was acknowledged there may be there still.
    pub(super) const fn may_be_there(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::There(..))
    }
}

impl<D: ColdFiles> LogSource<'_, D> {
    /// Reads the log buffer that the newest life of the directory that was looked at must have
    /// left.
    ///
    /// # Errors
    /// The disk's.
    pub fn memory(&mut self, look: &DirectoryLook) -> Result<FoundMemory, DiskError> {
        let mark = look.mark.unwrap_or_default();
        if !mark.is_in_memory {
            return Ok(FoundMemory::NotNeeded);
        }
        let starts = look.node_state.map_or(0, |state| state.incarnation);
        let owner = Claim::of(self.disk, mark, starts, look.catalog.term_length)?.before;
        // What a copy leads to is the original's.
        let Some(owner) = owner.filter(|_| look.standing != Standing::Copy) else {
            return Ok(FoundMemory::Gone);
        };
        Ok(match (self.read_memory)(&owner) {
            Ok(Some(memory)) => FoundMemory::There(memory, owner),
            Ok(None) => FoundMemory::Gone,
            Err(error) => FoundMemory::Unreadable(error.to_string()),
        })
    }
}
