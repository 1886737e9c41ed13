//! The fields of the messages about snapshots, in the order they are written.
//!
//! | template | message | fields (u64 unless said otherwise) |
//! |---|---|---|
//! | 50 | Status | log start (i64); 2 × (snapshot, term (i64), fetched), newest first, or zeros |
//! | 51 | Request | snapshot, offset, chunk length (u32), chunks (u32) |
//! | 52 | Chunk | snapshot, offset, length (u32), zero (u32); the bytes follow |
//! | 53 | Refused | snapshot, why: 1 no such snapshot, 2 it cannot be read |
//! | 54 | Wanted | position (i64) |
//!
//! A snapshot is named by its position (i64), length (u64) and hash (u128). Fetched is 1 for one
//! that came from another member, else 0.

use lockstep_transport::codec::{FieldReader, FieldWriter};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::{FRAME_ALIGNMENT, Position};

use super::snapshot_message::{
    CHUNKS_PER_REQUEST_MAX, SNAPSHOT_OFFERS_MAX, SnapshotChunk, SnapshotId, SnapshotMessage,
    SnapshotOffer, SnapshotRefusal, SnapshotRequest, SnapshotStatus,
};

const STATUS: u16 = 50;
const REQUEST: u16 = 51;
/// The only message that may be as long as a datagram.
pub(super) const CHUNK: u16 = 52;
const REFUSED: u16 = 53;
const WANTED: u16 = 54;

const ID_LENGTH: usize = 32;
const STATUS_LENGTH: usize = 8 + SNAPSHOT_OFFERS_MAX * (ID_LENGTH + 16);
const REQUEST_LENGTH: usize = ID_LENGTH + 16;
pub(super) const CHUNK_LENGTH: usize = ID_LENGTH + 16;
const REFUSED_LENGTH: usize = ID_LENGTH + 8;
const WANTED_LENGTH: usize = 8;

const NO_SUCH_SNAPSHOT: u64 = 1;
const UNREADABLE: u64 = 2;

/// Bytes of the block of `template` in this version, `None` if it is none of these.
pub(super) const fn block_length(template: u16) -> Option<usize> {
    Some(match template {
        STATUS => STATUS_LENGTH,
        REQUEST => REQUEST_LENGTH,
        CHUNK => CHUNK_LENGTH,
        REFUSED => REFUSED_LENGTH,
        WANTED => WANTED_LENGTH,
        _ => return None,
    })
}

/// Template and block length of a message.
pub(super) const fn template_of(message: &SnapshotMessage) -> (u16, u16) {
    match message {
        SnapshotMessage::Status(_) => (STATUS, STATUS_LENGTH as u16),
        SnapshotMessage::Request(_) => (REQUEST, REQUEST_LENGTH as u16),
        SnapshotMessage::Chunk(_) => (CHUNK, CHUNK_LENGTH as u16),
        SnapshotMessage::Refused { .. } => (REFUSED, REFUSED_LENGTH as u16),
        SnapshotMessage::Wanted(_) => (WANTED, WANTED_LENGTH as u16),
    }
}

/// Writes the block of a message.
pub(super) fn write(message: &SnapshotMessage, writer: &mut FieldWriter<'_>) {
    match *message {
        SnapshotMessage::Status(status) => {
            writer.i64(status.log_start);
            for offer in status.offers.map(Option::unwrap_or_default) {
                write_id(&offer.id, writer);
                writer.i64(offer.term.get()).u64(offer.is_copy.into());
            }
        }
        SnapshotMessage::Request(request) => {
            write_id(&request.id, writer);
            writer.u64(request.offset);
            writer.u32(request.chunk_length).u32(request.chunks);
        }
        SnapshotMessage::Chunk(chunk) => {
            write_id(&chunk.id, writer);
            writer.u64(chunk.offset).u32(chunk.length).u32(0);
        }
        SnapshotMessage::Refused { id, refusal } => {
            write_id(&id, writer);
            writer.u64(match refusal {
                SnapshotRefusal::NoSuchSnapshot => NO_SUCH_SNAPSHOT,
                SnapshotRefusal::Unreadable => UNREADABLE,
            });
        }
        SnapshotMessage::Wanted(position) => {
            writer.i64(position);
        }
    }
}

fn write_id(id: &SnapshotId, writer: &mut FieldWriter<'_>) {
    writer.i64(id.position).u64(id.length).u128(id.hash);
}

/// Reads the message of `template`, and for a chunk looks at what follows its block; `None` for
/// what no sender writes.
pub(super) fn read(
    template: u16,
    block: &mut FieldReader<'_>,
    rest: &FieldReader<'_>,
) -> Option<SnapshotMessage> {
    Some(match template {
        STATUS => SnapshotMessage::Status(read_status(block)?),
        REQUEST => SnapshotMessage::Request(read_request(block)?),
        CHUNK => {
            let chunk = read_chunk(block)?;
            let is_whole = rest.rest().len() == chunk.length as usize;
            return is_whole.then_some(SnapshotMessage::Chunk(chunk));
        }
        REFUSED => SnapshotMessage::Refused {
            id: read_id(block)?,
            refusal: match block.u64()? {
                NO_SUCH_SNAPSHOT => SnapshotRefusal::NoSuchSnapshot,
                UNREADABLE => SnapshotRefusal::Unreadable,
                _ => return None,
            },
        },
        WANTED => SnapshotMessage::Wanted(block.i64().filter(|position| is_place(*position))?),
        _ => return None,
    })
}

fn read_status(block: &mut FieldReader<'_>) -> Option<SnapshotStatus> {
    let log_start = block.i64()?;
    let mut offers = [None; SNAPSHOT_OFFERS_MAX];
    let mut before = i64::MAX;
    for offer in &mut offers {
        let read = SnapshotOffer {
            id: read_any_id(block)?,
            term: LeadershipTermId::new(block.i64()?),
            is_copy: match block.u64()? {
                0 => false,
                1 => true,
                _ => return None,
            },
        };
        if read == SnapshotOffer::default() {
            before = 0;
            continue;
        }
        let is_named = is_snapshot(&read.id) && read.id.position < before;
        let is_of_a_term = (LeadershipTermId::NONE..=LeadershipTermId::MAX).contains(&read.term)
            && read.term > LeadershipTermId::NONE;
        if !is_named || !is_of_a_term {
            return None;
        }
        before = read.id.position;
        *offer = Some(read);
    }
    let is_plain = log_start >= 0 && log_start % FRAME_ALIGNMENT as i64 == 0;
    is_plain.then_some(SnapshotStatus { log_start, offers })
}

fn read_request(block: &mut FieldReader<'_>) -> Option<SnapshotRequest> {
    let request = SnapshotRequest {
        id: read_id(block)?,
        offset: block.u64()?,
        chunk_length: block.u32()?,
        chunks: block.u32()?,
    };
    let is_plain = request.offset < request.id.length
        && request.chunk_length > 0
        && (1..=CHUNKS_PER_REQUEST_MAX).contains(&request.chunks);
    is_plain.then_some(request)
}

fn read_chunk(block: &mut FieldReader<'_>) -> Option<SnapshotChunk> {
    let chunk = SnapshotChunk {
        id: read_id(block)?,
        offset: block.u64()?,
        length: block.u32()?,
    };
    let is_plain = block.u32()? == 0
        && chunk.length > 0
        && chunk.offset < chunk.id.length
        && u64::from(chunk.length) <= chunk.id.length - chunk.offset;
    is_plain.then_some(chunk)
}

fn read_id(block: &mut FieldReader<'_>) -> Option<SnapshotId> {
    read_any_id(block).filter(is_snapshot)
}

fn read_any_id(block: &mut FieldReader<'_>) -> Option<SnapshotId> {
    Some(SnapshotId {
        position: block.i64()?,
        length: block.u64()?,
        hash: block.u128()?,
    })
}

/// Whether a frame of some log ends there.
const fn is_place(position: Position) -> bool {
    position > 0 && position % FRAME_ALIGNMENT as i64 == 0
}

/// Whether such a snapshot may be: of some log, and of a length that a file may have.
const fn is_snapshot(id: &SnapshotId) -> bool {
    is_place(id.position) && id.length > 0 && id.length <= i64::MAX as u64
}
