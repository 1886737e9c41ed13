//! The fields of the messages about output, in the order they are written.
//!
//! | template | message | fields (i64 unless said otherwise) |
//! |---|---|---|
//! | 41 | Question | position, hash (u64), response |
//! | 42 | Answer | cause, response, hash (u64), flags (u64): 1 hash known, 2 match known, 4 match |
//!
//! 40 was a report, up to version 2: what a service put out travels with AppendPosition now.

use crate::module::output_agreement::{OutputAt, OutputMessage};
use lockstep_transport::codec::{FieldReader, FieldWriter};
use lockstep_transport::position::{FRAME_ALIGNMENT, Position};

const QUESTION: u16 = 41;
const ANSWER: u16 = 42;

const HASH_KNOWN: u64 = 1;
const MATCH_KNOWN: u64 = 2;
const MATCHES: u64 = 4;

/// Bytes of the block of `template` in this version, `None` if it is none of these.
pub(super) const fn block_length(template: u16) -> Option<usize> {
    Some(match template {
        QUESTION => 24,
        ANSWER => 32,
        _ => return None,
    })
}

/// Template and block length of a message.
pub(super) const fn template_of(message: &OutputMessage) -> (u16, u16) {
    match message {
        OutputMessage::Question { .. } => (QUESTION, 24),
        OutputMessage::Answer { .. } => (ANSWER, 32),
    }
}

/// Writes the block of a message.
pub(super) fn write(message: &OutputMessage, writer: &mut FieldWriter<'_>) {
    match *message {
        OutputMessage::Question { output, response } => {
            write_output(output, writer);
            writer.i64(response);
        }
        OutputMessage::Answer {
            cause,
            response,
            hash,
            matches,
        } => {
            writer.i64(cause).i64(response);
            writer.u64(hash.unwrap_or(0));
            let mut flags = u64::from(hash.is_some()) * HASH_KNOWN;
            flags |= u64::from(matches.is_some()) * MATCH_KNOWN;
            flags |= u64::from(matches == Some(true)) * MATCHES;
            writer.u64(flags);
        }
    }
}

/// Writes what a service put out up to an entry.
pub(super) fn write_output(output: OutputAt, writer: &mut FieldWriter<'_>) {
    writer.i64(output.position).u64(output.hash);
}

/// Reads the message of `template`; `None` for one of another kind or a value out of range.
pub(super) fn read(template: u16, block: &mut FieldReader<'_>) -> Option<OutputMessage> {
    Some(match template {
        QUESTION => OutputMessage::Question {
            output: read_output(block)?,
            response: read_position(block)?,
        },
        ANSWER => {
            let cause = read_position(block)?;
            let response = read_position(block)?;
            let hash = block.u64()?;
            let flags = block.u64()?;
            let is_plain = flags <= (HASH_KNOWN | MATCH_KNOWN | MATCHES);
            let is_whole = flags & MATCHES == 0 || flags & MATCH_KNOWN != 0;
            if !is_plain || !is_whole {
                return None;
            }
            OutputMessage::Answer {
                cause,
                response,
                hash: (flags & HASH_KNOWN != 0).then_some(hash),
                matches: (flags & MATCH_KNOWN != 0).then_some(flags & MATCHES != 0),
            }
        }
        _ => return None,
    })
}

/// Reads it; before the first entry nothing was put out.
pub(super) fn read_output(block: &mut FieldReader<'_>) -> Option<OutputAt> {
    let output = OutputAt {
        position: read_position(block)?,
        hash: block.u64()?,
    };
    (output.position > 0 || output.hash == 0).then_some(output)
}

fn read_position(block: &mut FieldReader<'_>) -> Option<Position> {
    let position = block.i64()?;
    (position >= 0 && position % FRAME_ALIGNMENT as Position == 0).then_some(position)
}
