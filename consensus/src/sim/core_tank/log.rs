//! The core tank's log: entries as positions and terms, and what of them survives a crash.
//!
//! Below `durable` everything survives; of what lies above, any prefix may. Entries cut off by
//! a truncation stay on the disk until something newer is durable in their place, so a crash
//! may bring them back (`log.md` 3.4).

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;

use crate::module::event::LogHash;
use crate::module::member::TermBase;

/// Checkpoints of the chain hash are taken once per so many bytes: small, so that runs of a few
/// thousand entries compare many.
const CHECKPOINT_INTERVAL: Position = 1024;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreEntry {
    /// Where it begins.
    pub position: Position,
    /// Where it ends.
    pub end: Position,
    /// Its leadership term.
    pub term: LeadershipTermId,
    /// Whether it is its term's first.
    pub is_first: bool,
    /// The leader's commit position when it was appended.
    pub leader_commit: Position,
    /// Hash of the log up to its end.
    pub chain: u64,
}

/// One member's log.
#[derive(Clone, Debug, Default)]
pub struct CoreLog {
    entries: Vec<CoreEntry>,
    durable_count: usize,
    cut_off: Vec<CoreEntry>,
}

fn folded(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(23) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl CoreLog {
    /// All entries.
    #[must_use]
    pub fn entries(&self) -> &[CoreEntry] {
        &self.entries
    }

    /// The durable entries.
    #[must_use]
    pub fn durable_entries(&self) -> &[CoreEntry] {
        &self.entries[..self.durable_count]
    }

    /// End of the log.
    #[must_use]
    pub fn end(&self) -> Position {
        self.entries.last().map_or(0, |entry| entry.end)
    }

    /// Durable end of the log.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.durable_entries().last().map_or(0, |entry| entry.end)
    }

    /// Where the newest leadership terms begin, all of them, oldest first.
    #[must_use]
    pub fn terms(&self) -> Vec<TermBase> {
        let firsts = self.entries.iter().filter(|entry| entry.is_first);
        let base_of = |entry: &CoreEntry| TermBase {
            term: entry.term,
            base: entry.position,
        };
        firsts.map(base_of).collect()
    }

    /// Term of the entry that ends at or above `position`, 0 for none.
    #[must_use]
    pub fn term_at(&self, position: Position) -> LeadershipTermId {
        let above = self.entries.partition_point(|e| e.end < position);
        self.entries
            .get(above)
            .map_or(LeadershipTermId::NONE, |entry| entry.term)
    }

    /// Chain hash at `position`.
    #[must_use]
    pub fn hash_at(&self, position: Position) -> LogHash {
        let below = self.entries.partition_point(|entry| entry.end < position);
        match self.entries.get(below) {
            Some(entry) if entry.end == position => LogHash::Is(entry.chain),
            _ => LogHash::NoBoundary,
        }
    }

    /// Greatest commit position that a leader wrote into the entries.
    #[must_use]
    pub fn leader_commit(&self) -> Position {
        let commits = self.entries.iter().map(|entry| entry.leader_commit);
        commits.max().unwrap_or(0)
    }

    /// Index of the first entry at or above `position`.
    #[must_use]
    pub fn index_at(&self, position: Position) -> usize {
        self.entries.partition_point(|e| e.position < position)
    }

    /// Adds an entry at the end; its chain hash is computed here.
    pub fn push(&mut self, mut entry: CoreEntry) {
        let previous = self.entries.last().map_or(0, |last| last.chain);
        let place = folded(entry.position as u64, entry.end as u64);
        entry.chain = folded(folded(previous, place), entry.term.get() as u64);
        self.entries.push(entry);
    }

    /// The first `count` entries are durable.
    pub fn on_synced(&mut self, count: usize) {
        if count > self.durable_count {
            self.cut_off.clear();
            self.durable_count = count;
        }
    }

    /// Newest chain-hash checkpoint of the durable log.
    #[must_use]
    pub fn checkpoint(&self) -> (Position, u64) {
        let crosses = |entry: &&CoreEntry| {
            entry.position / CHECKPOINT_INTERVAL != entry.end / CHECKPOINT_INTERVAL
        };
        let newest = self.durable_entries().iter().rfind(crosses);
        newest.map_or((0, 0), |entry| (entry.end, entry.chain))
    }

    /// Cuts the log at `position`.
    pub fn truncate(&mut self, position: Position) {
        let kept = self.index_at(position);
        self.cut_off = self.entries.split_off(kept);
        self.durable_count = self.durable_count.min(kept);
    }

    /// The host stops: keeps what is durable, a prefix of the rest, and perhaps what a
    /// truncation left behind. What is left is durable: recovery syncs it.
    pub fn crash(&mut self, prng: &mut Prng) {
        let unsynced = (self.entries.len() - self.durable_count) as u64;
        let survivors = self.durable_count + prng.range(0..unsynced + 1) as usize;
        self.entries.truncate(survivors);
        let cut_off = std::mem::take(&mut self.cut_off);
        if survivors == self.durable_count && prng.chance(0.5) {
            let count = prng.range(0..cut_off.len() as u64 + 1) as usize;
            self.entries.extend(&cut_off[..count]);
        }
        self.durable_count = self.entries.len();
    }

    /// The disk loses what lies above some entry below `mark`. Whether anything was lost.
    pub fn damage(&mut self, mark: Position, prng: &mut Prng) -> bool {
        let below = self.index_at(mark) as u64;
        if below == 0 {
            return false;
        }
        self.entries.truncate(prng.range(0..below) as usize);
        self.durable_count = self.entries.len();
        self.cut_off.clear();
        true
    }
}
