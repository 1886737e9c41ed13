//! No refusal without a word: every cause is counted, and told at most once a minute.
//!
//! Pure. Whoever drops, refuses or waits for something *notes* it here with its cause and a few
//! numbers; the shell around the agent takes what is to be told and makes a line of it. Noting
//! costs a counter and, once a minute, a place in a ring: no allocation, no formatting.
//!
//! The causes are an enum of the crate that knows them; each cause and *subject* (the member or
//! file it is about) has a minute of its own, so that one noisy member hides no other.

use core::net::SocketAddr;
use std::collections::VecDeque;

use crate::time::{Nanos, SECOND};

/// Subjects that are told apart per kind; greater ones share the last place.
pub(crate) const SUBJECTS_MAX: usize = 8;

/// Between two lines of one kind about one subject.
pub const NOTICE_INTERVAL_NS: Nanos = 60 * SECOND;

/// What has not happened for so long has ended; the next occurrence is the first again.
const ENDED_AFTER_NS: Nanos = 2 * SECOND;

/// Notices waiting to be taken. What finds no room is told by its next occurrence.
const PENDING_MAX: usize = 32;

/// An enum of causes.
pub trait NoticeKind: Copy + 'static {
    /// Indices are below this.
    const COUNT: usize;

    /// The place of this cause among the counts; it never changes.
    fn index(self) -> usize;

    /// How long it must go on before it is told: 0 tells the first occurrence. For what is
    /// normal for a moment, such as late datagrams, and amiss when it does not end.
    fn patience_ns(self) -> Nanos {
        0
    }
}

/// What one occurrence was about. Plain numbers only: words are made where they are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// What it is about, such as a member's id; see `SUBJECTS_MAX`.
    pub subject: u8,
    /// Where it came from, or would have gone to.
    pub source: Option<SocketAddr>,
    /// What the kind's text needs besides. Wider numbers are split by whoever notes them.
    pub values: [i64; 4],
}

impl Detail {
    /// About `subject`.
    #[must_use]
    pub const fn of(subject: u8) -> Self {
        Self {
            subject,
            source: None,
            values: [0; 4],
        }
    }

    /// About something that came from, or goes to, this address.
    #[must_use]
    pub const fn at(source: SocketAddr) -> Self {
        Self {
            subject: 0,
            source: Some(source),
            values: [0; 4],
        }
    }

    /// The same, with an address.
    #[must_use]
    pub const fn with_source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// The same, with numbers for the text.
    #[must_use]
    pub const fn with_values(mut self, values: [i64; 4]) -> Self {
        self.values = values;
        self
    }
}

/// Something to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice<K> {
    /// Its cause.
    pub kind: K,
    /// The occurrence that is told.
    pub detail: Detail,
    /// Occurrences since the last one told that were only counted.
    pub suppressed: u64,
    /// When it happened.
    pub at: Nanos,
}

/// What is remembered of one kind and subject.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    at: Option<Nanos>,
    untold: u64,
    /// The newest occurrence, and the first of those that followed each other without a pause.
    newest: Nanos,
    first: Nanos,
}

impl Told {
    /// Whether an occurrence at `now` is to be told; it has gone on for `patience` then.
    fn is_due(&mut self, now: Nanos, patience: Nanos) -> bool {
        if self.untold == 0 || now - self.newest > patience.max(ENDED_AFTER_NS) {
            self.first = now;
        }
        self.newest = now;
        let is_last_long_ago = self.at.is_none_or(|at| now - at >= NOTICE_INTERVAL_NS);
        is_last_long_ago && now - self.first >= patience
    }
}

/// Counts per kind, and the notices that wait to be told. See the module.
#[derive(Debug)]
pub struct Notices<K> {
    counts: Box<[u64]>,
    total: u64,
    told: Box<[Told]>,
    pending: VecDeque<Notice<K>>,
}

impl<K: NoticeKind> Default for Notices<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: NoticeKind> Notices<K> {
    /// Nothing has happened. Allocates all it will ever need.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: vec![0; K::COUNT].into_boxed_slice(),
            total: 0,
            told: vec![Told::default(); K::COUNT * SUBJECTS_MAX].into_boxed_slice(),
            pending: VecDeque::with_capacity(PENDING_MAX),
        }
    }

    /// Counts an occurrence, and has it told unless this kind and subject were within a minute.
    #[cold]
    pub fn note(&mut self, now: Nanos, kind: K, detail: Detail) {
        self.note_many(now, kind, detail, 1);
    }

    /// The same for `count` occurrences, at least one, of which `detail` is the newest.
    #[cold]
    pub fn note_many(&mut self, now: Nanos, kind: K, detail: Detail, count: u64) {
        self.counts[kind.index()] += count;
        self.total += count;
        let subject = usize::from(detail.subject).min(SUBJECTS_MAX - 1);
        let told = &mut self.told[kind.index() * SUBJECTS_MAX + subject];
        if !told.is_due(now, kind.patience_ns()) || self.pending.len() == PENDING_MAX {
            told.untold += count;
            return;
        }
        self.pending.push_back(Notice {
            kind,
            detail,
            suppressed: told.untold + count.saturating_sub(1),
            at: now,
        });
        told.at = Some(now);
        told.untold = 0;
    }

    /// Counts an occurrence that needs no line here: whoever can mend it was told otherwise.
    #[cold]
    pub fn tally(&mut self, kind: K) {
        self.counts[kind.index()] += 1;
        self.total += 1;
    }

    /// What waits to be told.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn fill(&self) -> crate::fill::Fill {
        crate::fill::Fill::of("notices to be told", self.pending.len(), PENDING_MAX)
    }

    /// Occurrences of one kind, told or not.
    #[must_use]
    pub fn count(&self, kind: K) -> u64 {
        self.counts[kind.index()]
    }

    /// Occurrences by the index of their kind.
    #[must_use]
    pub const fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Occurrences of all kinds.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// When the oldest notice that waits to be told happened.
    #[must_use]
    pub fn oldest(&self) -> Option<Nanos> {
        self.pending.front().map(|notice| notice.at)
    }

    /// The oldest notice that waits to be told.
    pub fn take(&mut self) -> Option<Notice<K>> {
        self.pending.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Kind {
        Lost,
        Found,
        Late,
    }

    impl NoticeKind for Kind {
        const COUNT: usize = 3;

        fn index(self) -> usize {
            self as usize
        }

        fn patience_ns(self) -> Nanos {
            if self == Self::Late { 3 * SECOND } else { 0 }
        }
    }

    #[test]
    fn what_is_normal_for_a_moment_is_told_when_it_does_not_end() {
        let mut notices = Notices::new();
        for second in [0, 1, 2, 10, 11, 12, 20, 21, 22, 23, 24] {
            notices.note(second * SECOND, Kind::Late, Detail::default());
        }
        let told: Vec<_> = std::iter::from_fn(|| notices.take())
            .map(|notice| (notice.at / SECOND, notice.suppressed))
            .collect();
        assert_eq!(told, [(23, 9)]);
        assert_eq!(notices.count(Kind::Late), 11);
    }

    #[test]
    fn a_kind_is_told_at_most_once_a_minute_and_says_how_many_it_hid() {
        let mut notices = Notices::new();
        for second in 0..90 {
            notices.note(second * SECOND, Kind::Lost, Detail::default());
        }
        let told: Vec<_> = std::iter::from_fn(|| notices.take())
            .map(|notice| (notice.at / SECOND, notice.suppressed))
            .collect();
        assert_eq!(told, [(0, 0), (60, 59)]);
        assert_eq!((notices.count(Kind::Lost), notices.total()), (90, 90));
    }

    #[test]
    fn each_kind_and_subject_has_a_minute_of_its_own() {
        let mut notices = Notices::new();
        for subject in [0, 1, 0, 1, 200, 201] {
            notices.note(0, Kind::Lost, Detail::of(subject));
        }
        notices.note(0, Kind::Found, Detail::of(0));
        notices.tally(Kind::Found);
        let told: Vec<_> = std::iter::from_fn(|| notices.take())
            .map(|notice| (notice.kind, notice.detail.subject))
            .collect();
        let expected = [
            (Kind::Lost, 0),
            (Kind::Lost, 1),
            (Kind::Lost, 200),
            (Kind::Found, 0),
        ];
        assert_eq!(told, expected);
        assert_eq!(notices.counts(), [6, 2, 0]);
    }

    #[test]
    fn what_finds_the_ring_full_is_told_by_its_next_occurrence() {
        let mut notices = Notices::new();
        for minute in 0..PENDING_MAX as Nanos {
            notices.note(minute * NOTICE_INTERVAL_NS, Kind::Lost, Detail::default());
        }
        notices.note(0, Kind::Found, Detail::default());
        assert_eq!(notices.pending.len(), PENDING_MAX);
        while notices.take().is_some() {}
        notices.note(SECOND, Kind::Found, Detail::default());
        let notice = notices.take().unwrap();
        assert_eq!((notice.kind, notice.suppressed), (Kind::Found, 1));
    }
}
