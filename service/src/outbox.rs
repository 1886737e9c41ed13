//! Effects waiting for their place in the log: one FIFO per service (`log.md` 5).
//!
//! An effect is named (position of its cause, service, ordinal). The FIFO's content is a function
//! of the applied log: an item enters when its cause is applied and leaves only when the entry
//! bearing its name is applied. The leader's append cursor beside it is volatile.
//!
//! In direct mode there is no FIFO: the effects of the entry being applied are collected for
//! delivery at once and forgotten.
//!
//! Owned by the container's thread. All memory is reserved at construction. It does not append
//! to the log and does not deliver.

use std::collections::VecDeque;

use lockstep_transport::ids::SessionId;
use lockstep_transport::invariant;
use lockstep_transport::position::Position;

use crate::state_hash::StateHash;

mod difference;
mod effect;
mod emit_error;
mod outbox_snapshot;

use difference::difference;
pub use difference::{Difference, Divergence, ResponseVerdict};
pub use effect::{Effect, EffectName};
pub use emit_error::EmitError;

/// Bytes an effect is charged at least, so that tiny effects bound the number of items too.
///
/// Covers the item's own bookkeeping and keeps the item ring at half the byte ring at most.
pub const EFFECT_CHARGE_MIN: usize = 64;

/// Bytes of log per byte charged, at most: an effect of 64 bytes is charged as many, and with the
/// headers of its frame and its entry takes 160 aligned, two and a half times that; longer ones
/// take less, also when each of their frames has a header.
const LOG_BYTES_PER_CHARGE: u64 = 3;

/// What the word that an effect failed is charged: reserved for every cause beside its effects.
pub const FAILURE_CHARGE: usize = EFFECT_CHARGE_MIN;

/// Limits of one service's outbox; cluster-wide, because FIFO content must not depend on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Most effects one causing entry may have.
    pub effects_per_cause: u32,
    /// Most bytes of effects one causing entry may have, each charged
    /// [`EFFECT_CHARGE_MIN`] at least.
    pub effect_bytes_per_cause: usize,
    /// Bytes the FIFO may hold, by the same charge.
    pub capacity_bytes: usize,
    /// Whether effects go through the log; `false` is direct mode.
    pub enabled: bool,
    /// The service whose effects these are.
    pub service: u8,
}

impl OutboxLimits {
    /// Bytes of effects that are held at a time: the capacity, or in direct mode, where effects do
    /// not wait, what one entry may have.
    #[must_use]
    pub const fn held_max(&self) -> usize {
        if self.enabled {
            self.capacity_bytes
        } else {
            self.effect_bytes_per_cause + FAILURE_CHARGE
        }
    }
}

/// An effect's place in the byte ring.
#[derive(Clone, Copy, Debug)]
struct Item {
    cause: Position,
    session: SessionId,
    ordinal: u32,
    offset: u32,
    length: u32,
    is_failure: bool,
}

impl Item {
    fn charge(&self) -> usize {
        charge(self.length as usize)
    }
}

/// What an effect of `length` bytes is charged.
fn charge(length: usize) -> usize {
    length.max(EFFECT_CHARGE_MIN)
}

/// One service's effects that are not yet in the applied log.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    message_max: usize,
    items: VecDeque<Item>,
    storage: Box<[u8]>,
    /// Offset after the newest item's bytes.
    tail: usize,
    /// Sum of the charges of `items`.
    bytes: usize,
    cause: Position,
    cause_effects: u32,
    cause_bytes: usize,
    /// Whom the present cause's failed emission was for, and why it failed, unless the service
    /// emitted something else to that session afterwards.
    failed: Option<(SessionId, u8)>,
    last_popped: Option<EffectName>,
    append_cursor: Option<usize>,
    ignored_responses: u64,
    output: StateHash,
}

/// `cause` before the first entry.
const NO_CAUSE: Position = -1;

impl Outbox {
    /// Reserves everything the outbox will ever use.
    ///
    /// # Panics
    /// When a cause's worst case does not fit into the capacity, or the limits exceed 1 GiB:
    /// configurations are validated before they come here.
    #[must_use]
    pub fn new(limits: OutboxLimits) -> Self {
        let per_cause = limits.effect_bytes_per_cause;
        assert!(
            per_cause >= EFFECT_CHARGE_MIN && limits.capacity_bytes <= 1 << 30,
            "outbox limits out of range: {limits:?}"
        );
        assert!(
            !limits.enabled || per_cause + FAILURE_CHARGE <= limits.capacity_bytes,
            "one cause's effects exceed the outbox: {limits:?}"
        );
        let held = limits.held_max();
        // A message never wraps: at most one gap, smaller than one message, lies unused at the
        // end of the ring.
        Self {
            limits,
            message_max: per_cause,
            items: VecDeque::with_capacity(held / EFFECT_CHARGE_MIN),
            storage: vec![0; held + per_cause].into_boxed_slice(),
            tail: 0,
            bytes: 0,
            cause: NO_CAUSE,
            cause_effects: 0,
            cause_bytes: 0,
            failed: None,
            last_popped: None,
            append_cursor: None,
            ignored_responses: 0,
            output: StateHash::new(),
        }
    }

    /// Limits one message to `message_max` bytes, what the log accepts; cluster-wide.
    #[must_use]
    pub(crate) fn with_message_max(mut self, message_max: usize) -> Self {
        self.message_max = message_max.min(self.limits.effect_bytes_per_cause);
        self
    }

    /// The limits given at construction.
    #[must_use]
    pub const fn limits(&self) -> &OutboxLimits {
        &self.limits
    }

    /// The entry at `cause` is about to be applied; in direct mode forgets older effects.
    ///
    /// # Panics
    /// When `cause` is not greater than the previous one: the log would be applied twice.
    pub fn begin(&mut self, cause: Position) {
        invariant!(
            CausesRise,
            cause > self.cause,
            "S3: cause {cause} after {}",
            self.cause
        );
        self.cause = cause;
        self.cause_effects = 0;
        self.cause_bytes = 0;
        self.failed = None;
        self.clear_direct();
    }

    /// Adds the next effect of the entry at `cause`, which is the one begun last.
    ///
    /// # Errors
    /// When the entry's limits (items, bytes, message length) are exceeded; nothing is added.
    ///
    /// # Panics
    /// When `cause` is not the entry begun last, or the FIFO overflows although admission
    /// reserved the worst case (`log.md` 5.6): both are errors of the program, not of a service.
    pub fn emit(
        &mut self,
        cause: Position,
        session: SessionId,
        message: &[u8],
    ) -> Result<(), EmitError> {
        assert_eq!(cause, self.cause, "emission outside its entry");
        match self.check_emission(message.len()) {
            Ok(()) => {
                self.failed = self.failed.filter(|(failed, _)| *failed != session);
                self.push(session, message, false);
                Ok(())
            }
            Err(error) => {
                self.failed.get_or_insert((session, error.number()));
                Err(error)
            }
        }
    }

    /// The entry begun last is done. If it could not emit something to a session, and nothing
    /// else came instead, the session is told so: no request goes without a word.
    pub fn finish(&mut self) {
        if let Some((session, reason)) = self.failed.take() {
            self.push(session, &[reason], true);
        }
    }

    /// Takes the next effect of the entry begun last from where it was emitted, on another thread,
    /// within the same limits.
    ///
    /// # Panics
    /// As [`emit`](Self::emit).
    pub fn accept(&mut self, session: SessionId, message: &[u8], is_failure: bool) {
        self.push(session, message, is_failure);
    }

    fn check_emission(&self, length: usize) -> Result<(), EmitError> {
        if length > self.message_max {
            let limit = self.message_max;
            return Err(EmitError::MessageTooLong { length, limit });
        }
        if self.cause_effects == self.limits.effects_per_cause {
            let limit = self.limits.effects_per_cause;
            return Err(EmitError::TooManyEffects { limit });
        }
        let charged = charge(length);
        if self.cause_bytes + charged > self.limits.effect_bytes_per_cause {
            let limit = self.limits.effect_bytes_per_cause;
            return Err(EmitError::TooManyBytes { limit });
        }
        Ok(())
    }

    fn push(&mut self, session: SessionId, message: &[u8], is_failure: bool) {
        let cause = self.cause;
        let charged = charge(message.len());
        if self.limits.enabled {
            assert!(
                self.bytes + charged <= self.limits.capacity_bytes,
                "outbox overflow at {cause}: admission reserves the worst case (log.md 5.6)"
            );
        }
        let item = Item {
            cause,
            session,
            ordinal: self.cause_effects,
            offset: self.place(message),
            length: message.len() as u32,
            is_failure,
        };
        self.items.push_back(item);
        self.bytes += charged;
        self.cause_bytes += charged;
        self.cause_effects += 1;
        self.output.word(cause as u64);
        self.output.word(session.get() as u64);
        self.output.bytes(message);
        if is_failure {
            self.output.word(u64::MAX);
        }
    }

    /// Copies `message` to contiguous bytes of the ring and returns their offset.
    fn place(&mut self, message: &[u8]) -> u32 {
        let length = message.len();
        let head = self.items.front().map(|item| item.offset as usize);
        let offset = match head {
            None => 0,
            Some(head) if self.tail < head => {
                // Strictly: a tail that met the head would look like a ring without wrap.
                let free = head - self.tail;
                assert!(length < free, "the outbox ring holds its capacity");
                self.tail
            }
            Some(_) if length <= self.storage.len() - self.tail => self.tail,
            Some(head) => {
                assert!(length < head, "the outbox ring holds its capacity");
                0
            }
        };
        self.storage[offset..offset + length].copy_from_slice(message);
        self.tail = offset + length;
        offset as u32
    }

    fn name(&self, item: &Item) -> EffectName {
        EffectName {
            cause: item.cause,
            service: self.limits.service,
            ordinal: item.ordinal,
        }
    }

    fn effect(&self, item: &Item) -> Effect<'_> {
        let offset = item.offset as usize;
        Effect {
            name: self.name(item),
            session: item.session,
            message: &self.storage[offset..offset + item.length as usize],
            is_failure: item.is_failure,
        }
    }

    /// The oldest effect.
    #[must_use]
    pub fn front(&self) -> Option<Effect<'_>> {
        self.get(0)
    }

    /// The effect `index` places behind the front.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Effect<'_>> {
        self.items.get(index).map(|item| self.effect(item))
    }

    /// Number of effects held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no effect is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes held, as charged against the capacity.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Name of the effect popped last.
    #[must_use]
    pub const fn last_popped(&self) -> Option<EffectName> {
        self.last_popped
    }

    /// Responses ignored because their name had been popped before: 0 in a correct cluster.
    #[must_use]
    pub const fn ignored_responses(&self) -> u64 {
        self.ignored_responses
    }

    /// Rolling hash of everything ever emitted, in order: equal on every node that applied the
    /// same log.
    #[must_use]
    pub const fn output_hash(&self) -> u64 {
        self.output.value()
    }

    /// Whether the Response entry `name` is what this node's service said and the log lacks:
    /// the front of the FIFO, byte for byte. Changes nothing.
    ///
    /// # Errors
    /// What differs.
    pub fn check_response(
        &self,
        name: EffectName,
        session: SessionId,
        payload: &[u8],
        is_failure: bool,
    ) -> Result<(), Divergence> {
        let front = self.front();
        let own = front.map(|effect| effect.name);
        let is_popped = self.last_popped.is_some_and(|last| name <= last);
        let difference = match front {
            _ if is_popped => Some(Difference::AnsweredBefore),
            Some(effect) if effect.name == name && effect.is_failure != is_failure => {
                Some(Difference::Failure)
            }
            Some(effect) if effect.name == name => difference(&effect, session, payload),
            _ => Some(Difference::Name),
        };
        match difference {
            None => Ok(()),
            Some(difference) => Err(Divergence {
                logged: name,
                own,
                difference,
            }),
        }
    }

    /// Compares the Response entry `name` with the front of the FIFO and pops it (`log.md` 5.3).
    ///
    /// # Panics
    /// When the front leaves although this node, as leader, has not appended it: the log would
    /// then name an effect twice.
    pub fn apply_response(
        &mut self,
        name: EffectName,
        session: SessionId,
        payload: &[u8],
    ) -> ResponseVerdict {
        let front = self.front();
        let own = front.map(|effect| effect.name);
        let ignored = match own {
            Some(own) => name.service == self.limits.service && name < own,
            None => self
                .last_popped
                .is_some_and(|last| name.service == last.service && name <= last),
        };
        if ignored {
            self.ignored_responses += 1;
            return ResponseVerdict::Ignored;
        }
        let difference = match front {
            Some(effect) if effect.name == name => difference(&effect, session, payload),
            _ => Some(Difference::Name),
        };
        if let Some(difference) = difference {
            return ResponseVerdict::Diverged(Divergence {
                logged: name,
                own,
                difference,
            });
        }
        self.pop_front();
        self.last_popped = Some(name);
        ResponseVerdict::Matched
    }

    fn pop_front(&mut self) {
        let item = self.items.pop_front().expect("the caller saw the front");
        self.bytes -= item.charge();
        if let Some(next) = &mut self.append_cursor {
            invariant!(
                LeavesAfterAppend,
                *next > 0,
                "S3: an effect left the FIFO before this leader appended it"
            );
            *next -= 1;
        }
    }

    /// The leader has applied the first entry of its term: appending starts at the front
    /// (`log.md` 5.4).
    pub fn start_append_cursor(&mut self) {
        self.append_cursor = Some(0);
    }

    /// Leadership ended: which effects were appended is forgotten (`log.md` 4.3).
    pub fn clear_append_cursor(&mut self) {
        self.append_cursor = None;
    }

    /// Effects appended in this term and not yet applied; `None` when not appending.
    #[must_use]
    pub const fn appended(&self) -> Option<usize> {
        self.append_cursor
    }

    /// The next effect to append, in order; `None` when there is none or when not appending.
    #[must_use]
    pub fn next_to_append(&self) -> Option<Effect<'_>> {
        self.get(self.append_cursor?)
    }

    /// What [`next_to_append`](Self::next_to_append) returned is in the log now.
    ///
    /// # Panics
    /// When there was nothing to append.
    pub fn mark_appended(&mut self) {
        let next = self
            .append_cursor
            .as_mut()
            .expect("marked while not appending");
        assert!(*next < self.items.len(), "marked beyond the newest effect");
        *next += 1;
    }

    /// Bytes of log that the effects of one more causing entry, of `causing_entries_unapplied`
    /// others and of all held here take at most, headers included.
    #[must_use]
    pub fn log_bytes_owed(&self, causing_entries_unapplied: u64) -> u64 {
        if !self.limits.enabled {
            return 0;
        }
        let causes = causing_entries_unapplied.saturating_add(1);
        let charges = causes.saturating_mul(self.worst_per_cause() as u64);
        charges
            .saturating_add(self.bytes as u64)
            .saturating_mul(LOG_BYTES_PER_CHARGE)
    }

    /// Whether one more causing entry may be appended while `causing_entries_unapplied` others
    /// wait between applied and append position (`log.md` 5.6): all of them at their worst still
    /// fit.
    #[must_use]
    pub fn admits(&self, causing_entries_unapplied: u64) -> bool {
        if !self.limits.enabled {
            return true;
        }
        let room = self.limits.capacity_bytes - self.bytes;
        let causes = (room / self.worst_per_cause()) as u64;
        causing_entries_unapplied < causes
    }

    /// What one causing entry is charged at its worst: its effects, and that one failed.
    fn worst_per_cause(&self) -> usize {
        self.limits.effect_bytes_per_cause + FAILURE_CHARGE
    }

    /// Direct mode: the effects of the entry applied last, in order.
    pub fn direct(&self) -> impl Iterator<Item = Effect<'_>> {
        let items = if self.limits.enabled {
            0
        } else {
            self.items.len()
        };
        self.items.iter().take(items).map(|item| self.effect(item))
    }

    /// Direct mode: forgets the effects that were delivered; without effect otherwise.
    pub fn clear_direct(&mut self) {
        if !self.limits.enabled {
            self.items.clear();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests;
