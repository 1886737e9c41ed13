//! Appends messages to a log buffer: framing, fragmentation and padding (`wire.md` A.7).
//!
//! One appender owns the end of one stream. A message is the concatenation of parts, so that a
//! header and a payload need no buffer of their own; every frame is sealed once and published
//! by its length word.

use super::buffer::LogBuffer;
use super::frame::{
    DataHeader, FLAG_BEGIN, FLAG_END, FLAGS_UNFRAGMENTED, FRAME_TYPE_DATA, FRAME_TYPE_PAD,
    HEADER_LENGTH,
};
use crate::position::{Geometry, Position, align_frame};

/// A message may fill this part of a term at most, so that padding at its end stays small.
const MESSAGES_PER_TERM: usize = 8;

/// No message is longer, whatever the term length, in bytes.
const MESSAGE_LENGTH_MAX: usize = 16 * 1024 * 1024;

/// A position beyond this many terms has no term id of its own.
const TERM_IDS: i64 = 1 << 31;

/// What became of a message offered to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is in the stream; the position is its end.
    Accepted(Position),
    /// No room below the limit now; nothing was written.
    BackPressured,
    /// It is longer than the stream takes.
    TooLong,
    /// The stream has reached the highest position there is.
    MaxPosition,
    /// Nobody receives the stream.
    NotConnected,
    /// The stream was closed.
    Closed,
}

/// Computes the reserved value of every frame as it is written.
pub trait Seal {
    /// The reserved value of a frame with this header (final length, reserved value 0) and
    /// this payload with its zero padding. Of a PAD the payload is empty.
    fn reserved_value(&mut self, header: &[u8; HEADER_LENGTH], payload_and_padding: &[u8]) -> i64;
}

/// Reserved value 0, as Aeron's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlainSeal;

impl Seal for PlainSeal {
    fn reserved_value(&mut self, _: &[u8; HEADER_LENGTH], _: &[u8]) -> i64 {
        0
    }
}

/// Bytes of a term that a message of `message_length` occupies when frames have at most `mtu`.
#[must_use]
pub const fn aligned_length(message_length: usize, mtu: usize) -> usize {
    let payload_max = mtu - HEADER_LENGTH;
    if message_length <= payload_max {
        return align_frame(HEADER_LENGTH + message_length);
    }
    let rest = message_length % payload_max;
    let last = if rest == 0 {
        0
    } else {
        align_frame(HEADER_LENGTH + rest)
    };
    message_length / payload_max * mtu + last
}

/// Longest message a stream with terms of `term_length` takes, in bytes.
#[must_use]
pub const fn message_length_max(term_length: usize) -> usize {
    let share = term_length / MESSAGES_PER_TERM;
    if share < MESSAGE_LENGTH_MAX {
        share
    } else {
        MESSAGE_LENGTH_MAX
    }
}

/// A frame reserved for a message that is written in place.
#[derive(Debug)]
#[must_use = "a claim that is neither committed nor aborted stops the stream"]
pub struct Claim {
    position: Position,
    length: usize,
}

impl Claim {
    /// The message's bytes, to be written.
    pub fn bytes_mut<'a>(&self, log: &'a mut LogBuffer) -> &'a mut [u8] {
        log.bytes_mut(self.position + HEADER_LENGTH as Position, self.length)
    }

    /// End of the frame.
    #[must_use]
    pub const fn end(&self) -> Position {
        self.position + align_frame(HEADER_LENGTH + self.length) as Position
    }
}

/// The one writer at the end of a stream.
#[derive(Debug)]
pub struct ExclusiveAppender {
    geometry: Geometry,
    session_id: i32,
    stream_id: i32,
    mtu: usize,
    position: Position,
}

/// The fields in which the frames of one message differ.
#[derive(Clone, Copy)]
struct FrameKind {
    frame_length: usize,
    flags: u8,
    frame_type: u16,
}

impl ExclusiveAppender {
    /// An appender at `start`, a frame boundary, cutting messages into frames of at most `mtu`
    /// bytes.
    ///
    /// # Panics
    /// When `mtu` is not a multiple of 32 above 32, or `start` is not a frame boundary.
    #[must_use]
    pub fn new(
        geometry: Geometry,
        session_id: i32,
        stream_id: i32,
        mtu: usize,
        start: Position,
    ) -> Self {
        assert!(
            mtu > HEADER_LENGTH && mtu.is_multiple_of(HEADER_LENGTH),
            "an MTU of {mtu} bytes"
        );
        let mut appender = Self {
            geometry,
            session_id,
            stream_id,
            mtu,
            position: 0,
        };
        appender.resume(start);
        appender
    }

    /// End of the stream.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Goes on at `position`, a frame boundary: after a truncation.
    pub fn resume(&mut self, position: Position) {
        assert!(
            position >= 0 && position % HEADER_LENGTH as Position == 0,
            "{position} is no frame boundary"
        );
        self.position = position;
    }

    /// Appends the concatenation of `parts` if all of it, padding to the next term included,
    /// ends at or below `limit`; otherwise nothing is written.
    pub fn offer(
        &mut self,
        log: &mut LogBuffer,
        limit: Position,
        parts: &[&[u8]],
        seal: &mut impl Seal,
    ) -> Offer {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > message_length_max(self.geometry.term_length()) {
            return Offer::TooLong;
        }
        let required = aligned_length(length, self.mtu);
        let before = self.position;
        if let Err(refused) = self.reserve(log, limit, required, seal) {
            return refused;
        }
        if length <= self.mtu - HEADER_LENGTH {
            self.append_whole(log, parts, length, seal);
        } else {
            self.append_fragments(log, parts, length, seal);
        }
        self.publish_tail(log, before, limit);
        Offer::Accepted(self.position)
    }

    /// What was appended from `before` on, below `limit`, is there.
    fn publish_tail(&self, log: &mut LogBuffer, before: Position, limit: Position) {
        crate::invariant!(
            TailRises,
            self.position > before,
            "T1: the tail goes from {before} to {}",
            self.position
        );
        crate::invariant!(
            WrittenBelowLimit,
            self.position <= limit,
            "T2: written to {}, above the limit {limit}",
            self.position
        );
        log.set_tail(self.position);
    }

    /// Reserves a frame for a message of `length` bytes, to be written in place and then
    /// committed or aborted.
    ///
    /// # Errors
    /// Why there is none; messages longer than one frame are [`Offer::TooLong`].
    pub fn claim(
        &mut self,
        log: &mut LogBuffer,
        limit: Position,
        length: usize,
        seal: &mut impl Seal,
    ) -> Result<Claim, Offer> {
        let longest = message_length_max(self.geometry.term_length()).min(self.mtu - HEADER_LENGTH);
        if length > longest {
            return Err(Offer::TooLong);
        }
        let required = aligned_length(length, self.mtu);
        let before = self.position;
        self.reserve(log, limit, required, seal)?;
        let position = self.position;
        self.position += required as Position;
        self.publish_tail(log, before, limit);
        Ok(Claim { position, length })
    }

    /// Publishes a claimed message. Returns its end.
    pub fn commit(&self, log: &mut LogBuffer, claim: Claim, seal: &mut impl Seal) -> Position {
        let kind = FrameKind {
            frame_length: HEADER_LENGTH + claim.length,
            flags: FLAGS_UNFRAGMENTED,
            frame_type: FRAME_TYPE_DATA,
        };
        self.publish(log, claim.position, kind, seal);
        claim.end()
    }

    /// Gives a claimed frame up: it becomes padding. Returns its end.
    pub fn abort(&self, log: &mut LogBuffer, claim: Claim, seal: &mut impl Seal) -> Position {
        claim.bytes_mut(log).fill(0);
        let kind = FrameKind {
            frame_length: align_frame(HEADER_LENGTH + claim.length),
            flags: FLAGS_UNFRAGMENTED,
            frame_type: FRAME_TYPE_PAD,
        };
        self.publish(log, claim.position, kind, seal);
        claim.end()
    }

    /// Makes sure that `required` bytes lie ahead in one term, below `limit` and clean.
    fn reserve(
        &mut self,
        log: &mut LogBuffer,
        limit: Position,
        required: usize,
        seal: &mut impl Seal,
    ) -> Result<(), Offer> {
        let term_length = self.geometry.term_length();
        let room = term_length - self.geometry.term_offset(self.position);
        let padding = if required > room { room } else { 0 };
        let end = self.position + (padding + required) as Position;
        if end > term_length as i64 * TERM_IDS {
            return Err(Offer::MaxPosition);
        }
        if end > limit {
            return Err(Offer::BackPressured);
        }
        if end > log.clean_position() {
            log.clean_to(end);
        }
        if padding > 0 {
            let kind = FrameKind {
                frame_length: padding,
                flags: FLAGS_UNFRAGMENTED,
                frame_type: FRAME_TYPE_PAD,
            };
            self.publish(log, self.position, kind, seal);
            self.position += padding as Position;
        }
        Ok(())
    }

    fn append_whole(
        &mut self,
        log: &mut LogBuffer,
        parts: &[&[u8]],
        length: usize,
        seal: &mut impl Seal,
    ) {
        let mut at = self.position + HEADER_LENGTH as Position;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            log.write(at, part);
            at += part.len() as Position;
        }
        let kind = FrameKind {
            frame_length: HEADER_LENGTH + length,
            flags: FLAGS_UNFRAGMENTED,
            frame_type: FRAME_TYPE_DATA,
        };
        self.publish(log, self.position, kind, seal);
        self.position += align_frame(kind.frame_length) as Position;
    }

    fn append_fragments(
        &mut self,
        log: &mut LogBuffer,
        parts: &[&[u8]],
        length: usize,
        seal: &mut impl Seal,
    ) {
        let payload_max = self.mtu - HEADER_LENGTH;
        let mut gather = Gather {
            parts,
            part: 0,
            offset: 0,
        };
        let mut left = length;
        while left > 0 {
            let payload = left.min(payload_max);
            let begin = if left == length { FLAG_BEGIN } else { 0 };
            let end = if left == payload { FLAG_END } else { 0 };
            let at = self.position + HEADER_LENGTH as Position;
            gather.copy_to(log.bytes_mut(at, payload));
            let kind = FrameKind {
                frame_length: HEADER_LENGTH + payload,
                flags: begin | end,
                frame_type: FRAME_TYPE_DATA,
            };
            self.publish(log, self.position, kind, seal);
            self.position += align_frame(kind.frame_length) as Position;
            left -= payload;
        }
    }

    /// Seals the frame at `position`, whose payload is in place, and publishes it.
    fn publish(
        &self,
        log: &mut LogBuffer,
        position: Position,
        kind: FrameKind,
        seal: &mut impl Seal,
    ) {
        let mut header = DataHeader {
            frame_length: (kind.frame_length as i32).into(),
            version: 0,
            flags: kind.flags,
            frame_type: kind.frame_type.into(),
            term_offset: (self.geometry.term_offset(position) as i32).into(),
            session_id: self.session_id.into(),
            stream_id: self.stream_id.into(),
            term_id: self.geometry.term_id(position).into(),
            reserved_value: 0.into(),
        };
        let body = if kind.frame_type == FRAME_TYPE_PAD {
            &[]
        } else {
            let length = align_frame(kind.frame_length) - HEADER_LENGTH;
            log.bytes(position, HEADER_LENGTH + length)
                .split_at(HEADER_LENGTH)
                .1
        };
        let reserved = seal.reserved_value(&header.to_bytes(), body);
        header.reserved_value = reserved.into();
        log.write(position + 4, &header.to_bytes()[4..]);
        log.publish(position, kind.frame_length as i32);
    }
}

/// Reads the concatenation of parts piece by piece.
struct Gather<'a> {
    parts: &'a [&'a [u8]],
    part: usize,
    offset: usize,
}

impl Gather<'_> {
    fn copy_to(&mut self, target: &mut [u8]) {
        let mut filled = 0;
        while filled < target.len() {
            let rest = &self.parts[self.part][self.offset..];
            let length = rest.len().min(target.len() - filled);
            target[filled..filled + length].copy_from_slice(&rest[..length]);
            filled += length;
            self.offset += length;
            if length == rest.len() {
                self.part += 1;
                self.offset = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests;
