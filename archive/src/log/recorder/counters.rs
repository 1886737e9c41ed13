//! What a recorder counts.

/// What a recorder has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderCounters {
    /// Writes completed.
    pub writes: u64,
    /// Bytes in them, including what whole blocks repeat.
    pub bytes: u64,
    /// Writes of a copy, because the log still grew into their last block.
    pub copies: u64,
    /// Segments made of others that were needed no more.
    pub recycled: u64,
    /// Segments removed.
    pub removed: u64,
}
