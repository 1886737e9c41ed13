//! What a member's process left behind when it ended, and what the next start must make of it:
//! what was durable is there or known to be lost (A2), what is taken for durable is (A1), what was
//! cut off stays cut off (`log.md` 3.4), the mark covers what was acknowledged a while ago (W2),
//! and the floor below which nothing is cut covers what was known to be committed (`log.md` 9.3).

use lockstep_archive::files::ack_mark::STALE_MAX_NS;
use lockstep_archive::files::ack_record::AckRecord;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MILLISECOND, Nanos};

use crate::module::consensus_module::ConsensusModule;
use crate::sim::tank::crash::Crash;
use crate::sim::tank::tank_node::TankNode;
use crate::sim::{Broken, Rule};

/// So old is the oldest acknowledgement, on a sound disk, that the mark may lack: its age, and as
/// much again for writes that queue behind others.
const MARKED_AFTER_NS: Nanos = 4 * STALE_MAX_NS;

/// A disk that was troubled has this long to catch up.
const RECOVERY_NS: Nanos = 100 * MILLISECOND;

/// What the mark must cover, as far as a running node can be held to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkPromise {
    /// The lowest durable position since the first sample, at which it was this.
    older: (Nanos, Position),
    newer: (Nanos, Position),
    is_slow: bool,
    troubled_until: Nanos,
}

impl MarkPromise {
    /// Nothing can be asked of the member before it had some time from `until` on.
    pub fn excuse(&mut self, until: Nanos) {
        self.troubled_until = self.troubled_until.max(until + RECOVERY_NS);
        self.older.1 = 0;
        self.newer.1 = 0;
    }

    /// The disk is slow from now on, or not.
    pub const fn set_slow(&mut self, is_slow: bool) {
        self.is_slow = is_slow;
    }

    /// The log is durable up to `durable`.
    pub fn note(&mut self, now: Nanos, durable: Position) {
        self.older.1 = self.older.1.min(durable);
        self.newer.1 = self.newer.1.min(durable);
        if self.is_slow {
            self.excuse(now);
        }
        if now < self.troubled_until {
            self.older = (now, 0);
            self.newer = (now, 0);
        } else if now - self.newer.0 >= MARKED_AFTER_NS {
            self.older = self.newer;
            self.newer = (now, durable);
        }
    }

    /// At least so much must be marked.
    const fn position(&self) -> Position {
        self.older.1
    }
}

/// Durable end of the log as a start finds it. A PAD whose NewLeadershipTerm entry is not durable
/// is no part of a log (`log.md` 2.4), and nothing of it was acknowledged (W2).
fn durable_end(durable: Position, module: &ConsensusModule) -> Position {
    let first = module
        .terms()
        .iter()
        .find(|term| term.term > module.log_term());
    first.map_or(durable, |next| durable.min(next.base))
}

/// What a process left behind.
#[derive(Clone, Copy, Debug)]
pub struct LastLife {
    /// How it ended.
    pub crash: Crash,
    pub durable: Position,
    pub append: Position,
    pub is_truncating: bool,
    /// It was short of something that it had acknowledged, or its disk failed.
    pub is_excused: bool,
    /// What its mark says since may be what it said before.
    pub is_mark_rotten: bool,
    marked: Position,
}

impl LastLife {
    /// Of a process that ends now by `crash`.
    #[must_use]
    pub fn of(node: &TankNode, crash: Crash, promise: &MarkPromise) -> Self {
        let (archive, module) = (&node.agents().archive, &node.agents().consensus.module);
        let is_damaged = module.is_damaged();
        Self {
            crash,
            durable: durable_end(archive.durable(&node.agents().consensus.log), module),
            append: node.agents().consensus.log.append(),
            is_truncating: archive.is_truncating(),
            is_mark_rotten: false,
            is_excused: is_damaged || node.fault().is_some(),
            marked: promise.position(),
        }
    }

    /// The mark covers what was acknowledged a while before the end.
    ///
    /// # Errors
    /// It does not.
    pub fn check_mark(&self, id: usize, mark: Option<AckRecord>) -> Result<(), Broken> {
        let marked = mark.map_or(0, |mark| mark.position.max(mark.truncated_end));
        let lost = mark.and_then(|mark| mark.lost).map_or(0, |l| l.position);
        // The other slot of a mark is at most one mark older than the newest; rot of both is told.
        let is_gone = self.is_mark_rotten && mark.is_none();
        if self.is_truncating || is_gone || marked.max(lost) >= self.marked {
            return Ok(());
        }
        Err(Rule::W2.broken(format!(
            "member {id} had its log durable up to {} for {} ms, and its mark says {marked}",
            self.marked,
            MARKED_AFTER_NS / MILLISECOND
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_to_cover_what_was_durable_for_a_while_on_a_sound_disk() {
        let mut promise = MarkPromise::default();
        promise.note(MARKED_AFTER_NS, 640);
        assert_eq!(promise.position(), 0);
        promise.note(2 * MARKED_AFTER_NS, 960);
        assert_eq!(promise.position(), 640);
        // A truncation takes it back, and trouble with the disk excuses.
        promise.note(2 * MARKED_AFTER_NS + 1, 320);
        assert_eq!(promise.position(), 320);
        promise.excuse(2 * MARKED_AFTER_NS + 2);
        promise.note(3 * MARKED_AFTER_NS + 3, 2_000);
        assert_eq!(promise.position(), 0);
    }

    #[test]
    fn a_mark_that_lags_is_named() {
        let life = LastLife {
            crash: Crash::Kill,
            durable: 960,
            append: 960,
            is_truncating: false,
            is_excused: false,
            is_mark_rotten: false,
            marked: 640,
        };
        let mark = |position| {
            Some(AckRecord {
                position,
                ..AckRecord::default()
            })
        };
        assert_eq!(life.check_mark(0, mark(640)), Ok(()));
        let broken = |life: LastLife, mark| life.check_mark(0, mark).unwrap_err().rule;
        assert_eq!(broken(life, mark(608)), Rule::W2);
        assert_eq!(broken(life, None), Rule::W2);
        // Rot of one slot is no excuse, that of both is.
        let rotten = LastLife {
            is_mark_rotten: true,
            ..life
        };
        assert_eq!(broken(rotten, mark(608)), Rule::W2);
        assert_eq!(rotten.check_mark(0, None), Ok(()));
    }
}
