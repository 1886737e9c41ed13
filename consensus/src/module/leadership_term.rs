//! The history of leadership terms: which term the bytes at a position belong to (`log.md` 3).
//!
//! The history *is* the NewLeadershipTerm entries of the log; nothing here is stored anywhere
//! else, so it can never be ahead of the log (invariant E5 by construction). Owned by the
//! consensus module. Pure.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::position::{FRAME_ALIGNMENT, Position};

use crate::module::member::TermBase;

/// Most terms a history may hold: 16 MiB of them, an election every five minutes for ten years.
/// Bounds what a peer's list can make this member allocate.
pub(crate) const LEADERSHIP_TERMS_MAX: usize = 1 << 20;

/// Terms of one log, oldest first: both terms and bases strictly increase.
#[derive(Clone, Debug, Default)]
pub(crate) struct TermHistory {
    terms: Vec<TermBase>,
    /// Where the NewLeadershipTerm entry of the same index ends.
    ends: Vec<Position>,
}

impl TermHistory {
    /// The history of a log whose entries are all durable.
    ///
    /// # Panics
    /// If terms or bases do not increase: the log would not be one (invariant E5).
    #[must_use]
    pub fn recovered(terms: Vec<TermBase>) -> Self {
        invariant!(
            RecoveredTermsRise,
            terms.is_sorted_by(|a, b| a.term < b.term && a.base < b.base),
            "E5: terms and bases of a log increase"
        );
        // Whole and durable: any position inside the entry serves as its end.
        let end_of = |entry: &TermBase| entry.base + FRAME_ALIGNMENT as Position;
        let ends = terms.iter().map(end_of).collect();
        Self { terms, ends }
    }

    /// All terms, oldest first.
    #[must_use]
    pub fn terms(&self) -> &[TermBase] {
        &self.terms
    }

    /// The newest term, 0 for an empty log.
    #[must_use]
    pub fn newest(&self) -> LeadershipTermId {
        TermBase::term_of(self.terms.last().copied())
    }

    /// The newest term whose first entry ends at or below `durable`: the leadership term of the
    /// last durable frame. 0 for none.
    #[must_use]
    pub fn term_below(&self, durable: Position) -> LeadershipTermId {
        // From the back: all but the newest one or two terms are durable.
        let durable_entry = self.ends.iter().rposition(|end| *end <= durable);
        durable_entry.map_or(LeadershipTermId::NONE, |index| self.terms[index].term)
    }

    /// Adds a term. One that is already there is ignored.
    ///
    /// # Panics
    /// If term or base does not increase (invariants E1, W1).
    pub fn push(&mut self, entry: TermBase, end: Position) {
        if self.terms.last() == Some(&entry) {
            return;
        }
        let is_newer = self
            .terms
            .last()
            .is_none_or(|newest| entry.term > newest.term && entry.base > newest.base);
        invariant!(
            TermsRise,
            is_newer && entry.term > LeadershipTermId::NONE && end > entry.base,
            "W1: a log's terms and bases increase: {entry:?} ends at {end}"
        );
        assert!(
            self.terms.len() < LEADERSHIP_TERMS_MAX,
            "{LEADERSHIP_TERMS_MAX} leadership terms"
        );
        self.terms.push(entry);
        self.ends.push(end);
    }

    /// Drops the terms that begin at or above `position`.
    pub fn truncate(&mut self, position: Position) {
        let kept = self.terms.partition_point(|entry| entry.base < position);
        self.terms.truncate(kept);
        self.ends.truncate(kept);
    }
}

/// The term of a frame at `position` according to `terms`, `None` below the first.
#[must_use]
pub(crate) fn term_at(terms: &[TermBase], position: Position) -> Option<LeadershipTermId> {
    // A live stream is in the newest term; only catching up needs the search.
    match terms.last() {
        Some(newest) if newest.base <= position => Some(newest.term),
        _ => {
            let after = terms.partition_point(|entry| entry.base <= position);
            Some(terms[after.checked_sub(1)?].term)
        }
    }
}

/// Where the log that ends at `own_end` parts from its leader's (`log.md` 3.3): the smaller of
/// both ends of the greatest term that both lists hold at the same base, 0 without one.
///
/// The leader's list ends with the term it leads. That term has no end yet, and none is needed:
/// what this log holds of it came from this leader, who never rewinds (W1).
#[must_use]
pub(crate) fn truncation_point(
    own: &[TermBase],
    own_end: Position,
    leader: &[TermBase],
) -> Position {
    let end_of = |terms: &[TermBase], index: usize, end: Position| -> Position {
        terms.get(index + 1).map_or(end, |next| next.base)
    };
    let mut ours = own.len();
    let mut theirs = leader.len();
    while ours > 0 && theirs > 0 {
        let (mine, other) = (own[ours - 1], leader[theirs - 1]);
        if mine == other {
            return end_of(own, ours - 1, own_end).min(end_of(leader, theirs - 1, own_end));
        }
        // Of two terms that differ, the greater one is in one list only; of one term with two
        // bases, neither is common.
        if mine.term >= other.term {
            ours -= 1;
        }
        if other.term >= mine.term {
            theirs -= 1;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Terms as (term, base).
    type Terms<'a> = &'a [(i64, Position)];

    fn list(terms: Terms<'_>) -> Vec<TermBase> {
        let entry = |&(term, base)| TermBase {
            term: LeadershipTermId::new(term),
            base,
        };
        terms.iter().map(entry).collect()
    }

    #[test]
    fn logs_part_at_the_smaller_end_of_their_greatest_common_term() {
        let leader = list(&[(1, 0), (3, 320), (5, 960)]);
        let cases: [(Terms<'_>, Position, Position); 8] = [
            (&[], 0, 0),
            (&[(1, 0)], 64, 64),
            (&[(1, 0)], 640, 320),
            (&[(1, 0), (2, 64)], 640, 64),
            (&[(1, 0), (3, 320)], 1600, 960),
            (&[(1, 0), (3, 320), (4, 640)], 1600, 640),
            (&[(1, 0), (3, 320), (5, 960)], 2048, 2048),
            (&[(2, 0)], 640, 0),
        ];
        for (own, end, expected) in cases {
            let point = truncation_point(&list(own), end, &leader);
            assert_eq!(point, expected, "own {own:?} ending at {end}");
        }
    }

    #[test]
    fn one_term_at_two_bases_is_not_common() {
        let own = list(&[(1, 0), (3, 352)]);
        let leader = list(&[(1, 0), (3, 320), (4, 640)]);
        assert_eq!(truncation_point(&own, 960, &leader), 320);
    }

    #[test]
    fn a_frame_takes_its_term_from_the_list() {
        let terms = list(&[(1, 0), (3, 320)]);
        let at = |position| term_at(&terms, position).map(LeadershipTermId::get);
        assert_eq!((at(0), at(288), at(320)), (Some(1), Some(1), Some(3)));
        assert_eq!(term_at(&list(&[(2, 32)]), 0), None);
        assert_eq!(term_at(&[], 0), None);
    }

    #[test]
    fn a_term_counts_as_durable_with_its_whole_first_entry() {
        let mut history = TermHistory::recovered(list(&[(1, 0)]));
        let entry = TermBase {
            term: LeadershipTermId::new(2),
            base: 320,
        };
        history.push(entry, 416);
        history.push(entry, 416);
        assert_eq!(history.terms().len(), 2);
        assert_eq!(history.term_below(384), LeadershipTermId::new(1));
        assert_eq!(history.term_below(416), LeadershipTermId::new(2));
        history.truncate(320);
        assert_eq!(
            (history.newest(), history.term_below(416)),
            (LeadershipTermId::FIRST, LeadershipTermId::FIRST)
        );
    }
}
