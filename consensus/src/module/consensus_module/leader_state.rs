//! What a leader keeps of its term and its followers: nothing of it is durable (C5).

use lockstep_transport::invariant;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::module::member::{MEMBERS_MAX, MemberId};

/// Chain-hash checkpoints a leader remembers. One is taken every 64 KiB, so followers are
/// compared while they are less than 1 MiB behind; those further behind are compared later.
const RECENT_CHECKPOINTS: usize = 16;

/// What a leader knows of one follower in this term. Zero until heard of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Follower {
    /// How far its log is durable in this term.
    pub(super) durable: Position,
    /// When it was last heard in this term.
    pub(super) heard: Nanos,
    /// Its newest join.
    pub(super) join: u32,
    /// Where its chain hash was found to differ.
    pub(super) differs_at: Option<Position>,
    /// Where it asks for a comparison, and its own chain hash there.
    pub(super) check: Option<(Position, Option<u64>)>,
    /// The leader's chain hash where it asked last.
    pub(super) own_hash: Option<(Position, Option<u64>)>,
    /// Where both were found to be equal.
    pub(super) agrees_at: Option<Position>,
}

/// A hand-over under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandingOver {
    pub(super) since: Nanos,
    /// To this member and no other.
    pub(super) named: Option<MemberId>,
    /// Who is told at present, and since when.
    pub(super) told: Option<(MemberId, Nanos)>,
    /// Who was, and nothing came of it: one bit each.
    pub(super) tried: u8,
    pub(super) repeat_at: Nanos,
}

/// All volatile state of a leader (C5).
#[derive(Debug, Default)]
pub(super) struct Leading {
    pub(super) base: Position,
    pub(super) entry_end: Option<Position>,
    pub(super) followers: [Follower; MEMBERS_MAX],
    pub(super) heartbeat_at: Nanos,
    /// The commit position that followers have been sent.
    pub(super) commit_told: Position,
    pub(super) commit_advanced: Nanos,
    pub(super) log_sent: Nanos,
    pub(super) checkpoints: [(Position, u64); RECENT_CHECKPOINTS],
    pub(super) checkpoint_count: usize,
    /// A hand-over under way.
    pub(super) handing_over: Option<HandingOver>,
    /// Members that were told to stand in this term, one bit each.
    pub(super) told: u8,
}

impl Leading {
    pub(super) fn new(now: Nanos, base: Position, commit: Position) -> Self {
        let heard = Follower {
            heard: now,
            ..Follower::default()
        };
        Self {
            base,
            followers: [heard; MEMBERS_MAX],
            heartbeat_at: now,
            commit_told: commit,
            ..Self::default()
        }
    }

    pub(super) const fn term_entry_end(&self) -> Option<Position> {
        self.entry_end
    }

    pub(super) fn match_position(&self, member: MemberId) -> Position {
        self.followers[usize::from(member)].durable
    }

    /// A new incarnation of `member` starts from nothing.
    pub(super) fn forget(&mut self, member: MemberId) {
        let follower = &mut self.followers[usize::from(member)];
        *follower = Follower {
            heard: follower.heard,
            ..Follower::default()
        };
    }

    pub(super) fn hear(&mut self, member: MemberId, now: Nanos) {
        self.followers[usize::from(member)].heard = now;
    }

    pub(super) fn on_own_entry(&mut self, base: Position, end: Position) {
        invariant!(
            TermBeginsAtOwnEnd,
            base == self.base,
            "W1: a term begins at {base}, and its leader stood at {}",
            self.base
        );
        self.entry_end = Some(end);
    }

    pub(super) fn remember_checkpoint(&mut self, checkpoint: (Position, u64)) {
        let newest = self.checkpoint_count.wrapping_sub(1) % RECENT_CHECKPOINTS;
        if checkpoint.0 > 0 && self.checkpoints[newest] != checkpoint {
            self.checkpoints[self.checkpoint_count % RECENT_CHECKPOINTS] = checkpoint;
            self.checkpoint_count += 1;
        }
    }

    pub(super) fn checkpoint_hash(&self, position: Position) -> Option<u64> {
        let is_there = |own: &&(Position, u64)| own.0 == position;
        let own = self.checkpoints.iter().find(is_there);
        own.filter(|_| position > 0).map(|own| own.1)
    }

    /// The leader's own hash at a follower's checkpoint, if it is another one.
    pub(super) fn other_hash(&self, checkpoint: (Position, u64)) -> Option<u64> {
        let own = self.checkpoint_hash(checkpoint.0);
        own.filter(|own| *own != checkpoint.1)
    }
}
