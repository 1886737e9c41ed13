//! What members say to each other about snapshots: which ones they have, and how one is fetched.
//!
//! A snapshot is pulled, piece by piece, by whoever lacks it: nothing is sent that was not asked
//! for, and whoever is asked remembers nothing that matters.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

/// Snapshots that a member keeps at most.
pub const SNAPSHOT_OFFERS_MAX: usize = 2;

/// Most chunks in one request.
pub const CHUNKS_PER_REQUEST_MAX: u32 = 64;

/// Names the bytes of a snapshot: they are the same wherever this is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotId {
    /// The state is that of the log up to here.
    pub position: Position,
    /// Bytes of the whole.
    pub length: u64,
    /// Hash of the whole.
    pub hash: u128,
}

/// A snapshot that a member has, whole and durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotOffer {
    /// Which one.
    pub id: SnapshotId,
    /// Leadership term at its position.
    pub term: LeadershipTermId,
    /// It was fetched from another member: it says nothing of what the service here did.
    pub is_copy: bool,
}

/// What a member has to start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// Its log begins here.
    pub log_start: Position,
    /// Its snapshots, newest first.
    pub offers: [Option<SnapshotOffer>; SNAPSHOT_OFFERS_MAX],
}

/// Send me this of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Of which one.
    pub id: SnapshotId,
    /// From this byte on.
    pub offset: u64,
    /// In chunks of so many bytes; the last one of the snapshot may be shorter.
    pub chunk_length: u32,
    /// So many of them, at most [`CHUNKS_PER_REQUEST_MAX`].
    pub chunks: u32,
}

/// A piece of a snapshot; its bytes follow the message, under the checksum of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Of which one.
    pub id: SnapshotId,
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub length: u32,
}

/// Why no chunk comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotRefusal {
    /// The member has no such snapshot, or none any more.
    NoSuchSnapshot,
    /// It has it, and cannot read it.
    Unreadable,
}

/// A message about snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMessage {
    /// What the sender has.
    Status(SnapshotStatus),
    /// What it asks for.
    Request(SnapshotRequest),
    /// What it was asked for.
    Chunk(SnapshotChunk),
    /// It was asked for what it cannot give: ask somebody else.
    Refused {
        /// What was asked for.
        id: SnapshotId,
        /// Why it cannot.
        refusal: SnapshotRefusal,
    },
    /// The sender is about to end, and waits for a snapshot that was taken at this position or
    /// above: told to who leads.
    Wanted(Position),
}
