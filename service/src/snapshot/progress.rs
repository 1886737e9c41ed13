//! How far somebody who writes its part of a snapshot has come.

/// What a step of writing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SnapshotProgress {
    /// There is more to write.
    More,
    /// Everything is written.
    Done,
}

/// Bytes that one step writes, about: some tens of microseconds, between which a node does
/// everything else that it has to do.
pub const STEP_LENGTH: usize = 64 * 1024;
