//! What is to be known of a whole snapshot, and of each of its sections.

use super::section_name::SectionName;

/// A section of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionSummary {
    /// What it is called.
    pub name: SectionName,
    /// Bytes that were written to it.
    pub length: u64,
    /// Their 128-bit hash.
    pub hash: u128,
}

/// A snapshot: equal summaries are of equal snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Bytes of the whole stream.
    pub length: u64,
    /// The 128-bit hash of the stream, which is its end too.
    pub hash: u128,
    /// Its sections, in their order.
    pub sections: Vec<SectionSummary>,
}
