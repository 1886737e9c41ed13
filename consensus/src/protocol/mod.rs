//! Member messages on the wire: each is the payload of one Aeron DATA frame on its own stream.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 32 | DATA frame header: flags 0xC0, stream 108, session id from the cluster, term 0 |
//! | 32 | 8 | message header: block length, template, schema 0x4C53, version 4 (u16 each) |
//! | 40 | 8 | cluster id |
//! | 48 | 8 | digest of what all members must agree on |
//! | 56 | 16 | uuid of the sender's cluster, 0 while it belongs to none |
//! | 72 | 16 | directory id of the sender |
//! | 88 | 8, 8 | incarnation of the sender: counter, nonce |
//! | 104 | 1 + 7 | sender, zeros |
//! | 112 | | fields of the template, see `message_block` |
//!
//! The frame's reserved value is sealed like a log frame's, with the sender in the place of the
//! leadership term. All integers are little endian; padding is zero. A piece of a snapshot is as
//! long as a datagram of the log; all other messages are short. Pure.

mod hello_block;
pub mod message;
mod message_block;
mod message_error;
mod output_block;
mod snapshot_block;
pub mod snapshot_message;
#[cfg(test)]
mod tests;

use lockstep_transport::codec::{FieldReader, FieldWriter};
use lockstep_transport::datagram_port::DATAGRAM_LENGTH_MAX;
use lockstep_transport::log_buffer::frame_seal::{FrameSeal, verify};
use lockstep_transport::log_buffer::{
    DataHeader, FLAGS_UNFRAGMENTED, FRAME_TYPE_DATA, Frame, HEADER_LENGTH, Seal,
};
use lockstep_transport::position::align_frame;

use crate::module::formation::Incarnation;
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::module::membership::Sender;
use crate::protocol::message::{JOIN_PAGE_TERMS, MemberMessage};
use crate::protocol::snapshot_message::SnapshotMessage;

pub use self::message_error::MemberMessageError;

/// Stream id of member messages.
pub(crate) const MEMBER_STREAM_ID: i32 = 108;

/// Schema id of member messages: "LS".
pub(crate) const MEMBER_SCHEMA_ID: u16 = 0x4C53;

/// Version of the schema. Fields are only ever appended.
pub(crate) const MEMBER_SCHEMA_VERSION: u16 = 4;

/// Longest datagram, in bytes: a full page of terms. Only a chunk of a snapshot is longer.
pub const MEMBER_MESSAGE_MAX: usize =
    align_frame(MESSAGE_OFFSET + message_block::BLOCK_LENGTH_MAX + JOIN_PAGE_TERMS * 16);

/// Message header and envelope.
const ENVELOPE_LENGTH: usize = 80;
const MESSAGE_OFFSET: usize = HEADER_LENGTH + ENVELOPE_LENGTH;

const _: () = assert!(MEMBER_MESSAGE_MAX <= 1024);

/// A message with what identifies its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Whom the sender belongs to.
    pub cluster_id: u64,
    /// Hash of what all members must agree on.
    pub config_digest: u64,
    /// The sender.
    pub from: MemberId,
    /// Its cluster's uuid, directory and incarnation.
    pub sender: Sender,
    /// What it says.
    pub message: MemberMessage,
}

/// Writes `envelope` to the start of `buffer` and returns the datagram's length, a multiple of
/// 32 and at most [`MEMBER_MESSAGE_MAX`].
///
/// # Panics
/// If `buffer` is shorter than [`MEMBER_MESSAGE_MAX`], or the message is a chunk of a snapshot.
pub fn encode(envelope: &Envelope, buffer: &mut [u8]) -> usize {
    encode_with(envelope, &[], &mut buffer[..MEMBER_MESSAGE_MAX])
}

/// Most bytes of a snapshot in a datagram of at most `mtu` bytes, a multiple of 32.
#[must_use]
pub const fn chunk_length_max(mtu: usize) -> usize {
    mtu - MESSAGE_OFFSET - snapshot_block::CHUNK_LENGTH
}

/// Writes `envelope`, whose message is a chunk of a snapshot, with the chunk's `bytes` to the start
/// of `buffer`, and returns the datagram's length, a multiple of 32.
///
/// # Panics
/// If `buffer` is too short for it.
pub fn encode_chunk(envelope: &Envelope, bytes: &[u8], buffer: &mut [u8]) -> usize {
    let length = align_frame(MESSAGE_OFFSET + snapshot_block::CHUNK_LENGTH + bytes.len());
    encode_with(envelope, bytes, &mut buffer[..length])
}

fn encode_with(envelope: &Envelope, bytes: &[u8], buffer: &mut [u8]) -> usize {
    let told = match envelope.message {
        MemberMessage::Snapshot(SnapshotMessage::Chunk(chunk)) => chunk.length as usize,
        _ => 0,
    };
    assert_eq!(bytes.len(), told, "bytes after a message that tells others");
    buffer.fill(0);
    let (template, block_length) = message_block::template_of(&envelope.message);
    let mut writer = FieldWriter::new(&mut buffer[HEADER_LENGTH..]);
    writer.u16(block_length).u16(template);
    writer.u16(MEMBER_SCHEMA_ID).u16(MEMBER_SCHEMA_VERSION);
    writer.u64(envelope.cluster_id).u64(envelope.config_digest);
    let sender = &envelope.sender;
    writer.u128(sender.cluster).u128(sender.directory);
    writer.u64(sender.incarnation.counter);
    writer.u64(sender.incarnation.nonce);
    writer.u64(u64::from(envelope.from));
    message_block::write(&envelope.message, &mut writer);
    writer.bytes(bytes);
    let frame_length = HEADER_LENGTH + writer.length();
    let datagram_length = align_frame(frame_length);
    let session_id = session_id(envelope.cluster_id);
    let mut header = frame_header(frame_length as i32, session_id);
    let mut seal = FrameSeal::new(u32::from(envelope.from));
    let body = &buffer[HEADER_LENGTH..datagram_length];
    let reserved = seal.reserved_value(&header.to_bytes(), body);
    header.reserved_value = reserved.into();
    buffer[..HEADER_LENGTH].copy_from_slice(&header.to_bytes());
    datagram_length
}

/// Reads the one member message that `datagram` must be, of a member of this cluster with the
/// same cluster-wide configuration.
///
/// # Errors
/// Why it is refused. Nothing of a refused datagram may be used.
pub fn decode(
    datagram: &[u8],
    cluster_id: u64,
    config_digest: u64,
) -> Result<Envelope, MemberMessageError> {
    let envelope = decode_any(datagram)?;
    let from = envelope.from;
    if envelope.cluster_id != cluster_id {
        let cluster_id = envelope.cluster_id;
        return Err(MemberMessageError::OtherCluster { from, cluster_id });
    }
    if envelope.config_digest != config_digest {
        let config_digest = envelope.config_digest;
        return Err(MemberMessageError::OtherConfig {
            from,
            config_digest,
        });
    }
    Ok(envelope)
}

/// The bytes of the chunk of a snapshot that [`decode`] has found in `datagram`: to be asked for of
/// such a datagram only.
#[must_use]
pub fn chunk_bytes(datagram: &[u8]) -> &[u8] {
    let Some(frame) = Frame::first(datagram) else {
        return &[];
    };
    let payload = frame.payload();
    let block_length = FieldReader::new(payload).u16().unwrap_or(0);
    let start = ENVELOPE_LENGTH + usize::from(block_length);
    payload.get(start..).unwrap_or(&[])
}

fn decode_any(datagram: &[u8]) -> Result<Envelope, MemberMessageError> {
    let frame = checked_frame(datagram)?;
    let mut reader = FieldReader::new(frame.payload());
    let malformed = MemberMessageError::Malformed;
    let block_length = usize::from(reader.u16().ok_or(malformed)?);
    let template = reader.u16().ok_or(malformed)?;
    let schema = reader.u16().ok_or(malformed)?;
    let version = reader.u16().ok_or(malformed)?;
    let unknown = MemberMessageError::Unknown {
        schema,
        template,
        version,
    };
    if schema != MEMBER_SCHEMA_ID || version < MEMBER_SCHEMA_VERSION {
        return Err(unknown);
    }
    if datagram.len() > MEMBER_MESSAGE_MAX && template != snapshot_block::CHUNK {
        return Err(malformed);
    }
    let cluster_id = reader.u64().ok_or(malformed)?;
    let config_digest = reader.u64().ok_or(malformed)?;
    let sender = Sender {
        cluster: reader.u128().ok_or(malformed)?,
        directory: reader.u128().ok_or(malformed)?,
        incarnation: Incarnation {
            counter: reader.u64().ok_or(malformed)?,
            nonce: reader.u64().ok_or(malformed)?,
        },
    };
    let from = reader.u64().ok_or(malformed)?;
    let sealed = frame.reserved_value().cast_unsigned() >> 32;
    if from != sealed
        || sender.directory == 0
        || from >= MEMBERS_MAX as u64
        || frame.header().session_id.get() != session_id(cluster_id)
    {
        return Err(MemberMessageError::Field);
    }
    let expected = message_block::block_length(template).ok_or(unknown)?;
    if block_length < expected {
        return Err(unknown);
    }
    let message = message_block::read(template, block_length, &mut reader)?;
    Ok(Envelope {
        cluster_id,
        config_digest,
        from: from as MemberId,
        sender,
        message,
    })
}

/// Checks that the datagram is one whole unfragmented DATA frame of this stream with a good
/// checksum and nothing in its padding.
fn checked_frame(datagram: &[u8]) -> Result<Frame<'_>, MemberMessageError> {
    let malformed = MemberMessageError::Malformed;
    let frame = Frame::first(datagram).ok_or(malformed)?;
    if datagram.len() > DATAGRAM_LENGTH_MAX || frame.aligned_length() != datagram.len() {
        return Err(malformed);
    }
    let header = *frame.header();
    let expected = DataHeader {
        term_id: header.term_id,
        reserved_value: header.reserved_value,
        ..frame_header(header.frame_length.get(), header.session_id.get())
    };
    if header != expected {
        return Err(malformed);
    }
    verify(datagram).map_err(|_| MemberMessageError::Checksum)?;
    let padding = &datagram[HEADER_LENGTH + frame.payload().len()..];
    if padding.iter().any(|byte| *byte != 0) {
        return Err(malformed);
    }
    Ok(frame)
}

/// The frame header without its reserved value.
fn frame_header(frame_length: i32, session_id: i32) -> DataHeader {
    DataHeader {
        frame_length: frame_length.into(),
        version: 0,
        flags: FLAGS_UNFRAGMENTED,
        frame_type: FRAME_TYPE_DATA.into(),
        term_offset: 0.into(),
        session_id: session_id.into(),
        stream_id: MEMBER_STREAM_ID.into(),
        term_id: 0.into(),
        reserved_value: 0.into(),
    }
}

/// Session id of member messages in this cluster.
const fn session_id(cluster_id: u64) -> i32 {
    (cluster_id ^ (cluster_id >> 32)) as i32
}
