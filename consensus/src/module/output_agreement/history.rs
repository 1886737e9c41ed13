//! The hashes of a member's own output at the entries it executed last, oldest first.

use lockstep_transport::invariant;
use lockstep_transport::position::Position;

use super::report::OutputAt;

/// Entries whose hash is remembered: more than may be on their way through the log.
pub(crate) const HISTORY_MAX: usize = 8_192;

/// See the module.
#[derive(Debug)]
pub(super) struct OutputHistory {
    entries: Box<[OutputAt]>,
    recorded: usize,
}

impl OutputHistory {
    /// Of a member that has executed nothing. Allocates all it will ever need.
    pub(super) fn new() -> Self {
        Self {
            entries: vec![OutputAt::default(); HISTORY_MAX].into_boxed_slice(),
            recorded: 0,
        }
    }

    /// The entry at `output.position` was executed.
    pub(super) fn record(&mut self, output: OutputAt) {
        invariant!(
            OutputsRise,
            self.recorded == 0 || output.position > self.newest().position,
            "S7: an output at {} after {}",
            output.position,
            self.newest().position
        );
        self.entries[self.recorded % HISTORY_MAX] = output;
        self.recorded += 1;
    }

    /// The newest entry executed.
    pub(super) fn newest(&self) -> OutputAt {
        match self.recorded.checked_sub(1) {
            Some(last) => self.at(last),
            None => OutputAt::default(),
        }
    }

    /// The entry executed after `place` others, one of those remembered.
    pub(super) fn at(&self, place: usize) -> OutputAt {
        self.entries[place % HISTORY_MAX]
    }

    /// The hash at an entry that was executed not too long ago.
    pub(super) fn hash_at(&self, position: Position) -> Option<u64> {
        if position == 0 {
            return Some(0);
        }
        let newest = self.newest();
        if position == newest.position {
            return Some(newest.hash);
        }
        let place = self.place(position).checked_sub(1)?;
        let entry = self.at(place);
        (place >= self.first() && entry.position == position).then_some(entry.hash)
    }

    /// The outputs at the entries from `position` on and at the newest one, oldest first, as far as
    /// they are remembered.
    pub(super) fn since(&self, position: Position) -> impl ExactSizeIterator<Item = OutputAt> {
        let newest = self.recorded.saturating_sub(1);
        let first = self.place(position - 1).min(newest);
        (first..self.recorded).map(|place| self.at(place))
    }

    /// How many entries up to `position` were executed, remembered or not.
    pub(super) fn place(&self, position: Position) -> usize {
        let (mut low, mut high) = (self.first(), self.recorded);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(middle).position <= position {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many entries are forgotten.
    const fn first(&self) -> usize {
        self.recorded.saturating_sub(HISTORY_MAX)
    }
}
