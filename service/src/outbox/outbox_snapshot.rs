//! An outbox in a snapshot. What a leader has appended is no part of it, nor what is delivered
//! without the log: both are of this process alone.

use lockstep_transport::codec::{FieldReader, encoded};
use lockstep_transport::ids::SessionId;
use lockstep_transport::position::Position;

use super::{EffectName, Item, NO_CAUSE, Outbox, charge};
use crate::snapshot::{STEP_LENGTH, SnapshotError, SnapshotReader, SnapshotWriter};
use crate::state_hash::StateHash;

/// Bytes of what is kept besides the effects.
const HEAD_LENGTH: usize = 56;

/// Bytes before the message of an effect.
const EFFECT_LENGTH: usize = 32;

impl Outbox {
    /// Writes what is kept besides the effects, and how many come behind it:
    ///
    /// | offset | size | field of an outbox |
    /// |---|---|---|
    /// | 0 | 8 | position of the last entry that may have caused effects, -1 before the first |
    /// | 8 | 8 | hash of everything ever emitted |
    /// | 16 | 8 | Responses ignored |
    /// | 24 | 8 | cause of the effect popped last, -1 before the first |
    /// | 32 | 4 | its ordinal |
    /// | 36 | 4 | zeros |
    /// | 40 | 8 | effects that wait |
    /// | 48 | 8 | their bytes, as charged |
    pub(crate) fn save_head(&self, writer: &mut SnapshotWriter) -> Result<(), SnapshotError> {
        let popped = self.last_popped.map(|name| (name.cause, name.ordinal));
        let (cause, ordinal) = popped.unwrap_or((NO_CAUSE, 0));
        let (effects, bytes) = match self.limits.enabled {
            true => (self.items.len(), self.bytes),
            false => (0, 0),
        };
        let head: [u8; HEAD_LENGTH] = encoded(|fields| {
            fields.i64(self.cause).u64(self.output.value());
            fields.u64(self.ignored_responses);
            fields.i64(cause).u32(ordinal).zeros(4);
            fields.u64(effects as u64).u64(bytes as u64);
        });
        writer.write(&head)
    }

    /// Writes some of the effects that wait, from the one `from` places behind the front on, and
    /// returns where to go on. Each is:
    ///
    /// | offset | size | field of an effect |
    /// |---|---|---|
    /// | 0 | 8 | position of its cause |
    /// | 8 | 8 | session |
    /// | 16 | 4 | ordinal |
    /// | 20 | 4 | length of the message |
    /// | 24 | 1 | 1 when it only says that the service could not emit what it wanted |
    /// | 25 | 7 | zeros |
    /// | 32 | length | the message |
    pub(crate) fn save_effects(
        &self,
        from: usize,
        writer: &mut SnapshotWriter,
    ) -> Result<Option<usize>, SnapshotError> {
        let mut written = 0;
        let items = if self.limits.enabled {
            self.items.len()
        } else {
            0
        };
        for index in from..items {
            if written >= STEP_LENGTH {
                return Ok(Some(index));
            }
            let item = &self.items[index];
            let start: [u8; EFFECT_LENGTH] = encoded(|fields| {
                fields.i64(item.cause).i64(item.session.get());
                fields.u32(item.ordinal).u32(item.length);
                fields.u8(item.is_failure.into()).zeros(7);
            });
            writer.write(&start)?;
            writer.write(self.effect(item).message)?;
            written += EFFECT_LENGTH + item.length as usize;
        }
        Ok(None)
    }

    /// Takes over what was saved where the log was applied up to `applied`.
    pub(crate) fn load(
        &mut self,
        applied: Position,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        let mut head = [0; HEAD_LENGTH];
        reader.read_exact(&mut head)?;
        let head = Head::decode(&head);
        let is_cause = |cause: Position| NO_CAUSE <= cause && cause < applied;
        if !is_cause(head.cause) || head.popped.0 > head.cause || head.popped.0 < NO_CAUSE {
            return Err(reader.refuse(format!("a cause beyond the applied position {applied}")));
        }
        let service = self.limits.service;
        let (cause, ordinal) = head.popped;
        let popped = EffectName {
            cause,
            service,
            ordinal,
        };
        self.items.clear();
        (self.tail, self.bytes) = (0, 0);
        (self.append_cursor, self.failed) = (None, None);
        (self.cause_effects, self.cause_bytes) = (0, 0);
        self.cause = head.cause;
        self.output = StateHash::resumed(head.output);
        self.ignored_responses = head.ignored;
        self.last_popped = (cause != NO_CAUSE).then_some(popped);
        if head.effects > 0 && !self.limits.enabled {
            return Err(reader.refuse("effects that wait, where none does"));
        }
        for _ in 0..head.effects {
            self.load_effect(reader)?;
        }
        if self.bytes as u64 != head.bytes {
            return Err(reader.refuse(format!(
                "{} bytes of effects instead of {}",
                self.bytes, head.bytes
            )));
        }
        Ok(())
    }

    fn load_effect(&mut self, reader: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let mut start = [0; EFFECT_LENGTH];
        reader.read_exact(&mut start)?;
        let (mut item, is_known) = decode_effect(&start);
        let length = item.length as usize;
        if !is_known || length > self.message_max {
            return Err(reader.refuse("an effect that no service can have emitted"));
        }
        let before = self.items.back().map(|last| (last.cause, last.ordinal));
        let popped = self.last_popped.map(|last| (last.cause, last.ordinal));
        let expected = match before.or(popped) {
            Some((cause, ordinal)) if cause == item.cause => ordinal.wrapping_add(1),
            _ => 0,
        };
        let is_in_order = before
            .or(popped)
            .is_none_or(|(cause, _)| cause <= item.cause);
        if !is_in_order || item.ordinal != expected || item.cause > self.cause || item.cause < 0 {
            let (cause, ordinal) = (item.cause, item.ordinal);
            return Err(reader.refuse(format!("effect {ordinal} of {cause} in the wrong place")));
        }
        if self.bytes + item.charge() > self.limits.capacity_bytes {
            let limit = self.limits.capacity_bytes;
            return Err(reader.refuse(format!("more than {limit} bytes of effects")));
        }
        // Behind each other from the start: there is room for all that the capacity permits.
        item.offset = self.tail as u32;
        reader.read_exact(&mut self.storage[self.tail..self.tail + length])?;
        self.tail += length;
        self.bytes += charge(length);
        self.items.push_back(item);
        Ok(())
    }

    /// Becomes what `other` is, but for the effects that wait.
    pub(crate) fn resume(&mut self, other: &Self) {
        self.items.clear();
        (self.tail, self.bytes) = (0, 0);
        (self.cause_effects, self.cause_bytes) = (0, 0);
        (self.append_cursor, self.failed) = (None, None);
        self.cause = other.cause;
        self.output = other.output;
    }
}

/// What is kept besides the effects.
struct Head {
    cause: Position,
    output: u64,
    ignored: u64,
    /// Cause and ordinal of the effect popped last.
    popped: (Position, u32),
    effects: u64,
    bytes: u64,
}

impl Head {
    fn decode(bytes: &[u8; HEAD_LENGTH]) -> Self {
        let mut fields = FieldReader::new(bytes);
        let mut read = || {
            let (cause, output) = (fields.i64()?, fields.u64()?);
            let ignored = fields.u64()?;
            let popped = (fields.i64()?, fields.u32()?);
            fields.skip(4)?;
            Some(Self {
                cause,
                output,
                ignored,
                popped,
                effects: fields.u64()?,
                bytes: fields.u64()?,
            })
        };
        read().expect("these are as many bytes")
    }
}

/// What precedes a message, and whether it is what [`Outbox::save_effects`] writes.
fn decode_effect(bytes: &[u8; EFFECT_LENGTH]) -> (Item, bool) {
    let mut fields = FieldReader::new(bytes);
    let mut read = || {
        let item = Item {
            cause: fields.i64()?,
            session: SessionId::new(fields.i64()?),
            ordinal: fields.u32()?,
            offset: 0,
            length: fields.u32()?,
            is_failure: false,
        };
        Some((item, fields.u64()?))
    };
    let (item, failure) = read().expect("these are as many bytes");
    let is_failure = failure == 1;
    (Item { is_failure, ..item }, failure <= 1)
}
