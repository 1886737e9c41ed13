//! What is known of the log itself as far as it is applied: the chain hash there, and the
//! leadership terms up to there. A snapshot says it, so that a start from it need not read what
//! lies below.
//!
//! It moves with the frames that are passed. An entry that is put off is as if it had not been met.

use lockstep_archive::log::chain::Checkpoint;
use lockstep_archive::log::recovery::RecoveredTerm;
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::Frame;
use lockstep_transport::log_buffer::frame_seal::leadership_term;
use lockstep_transport::position::Position;

use crate::log::entry_body::NewLeadershipTerm;
use crate::log::log_entry::LogEntry;

/// See the module.
#[derive(Clone, Debug)]
pub struct AppliedLog {
    /// Behind the last frame that was passed.
    head: Checkpoint,
    /// Before the first frame of the entry that was passed last.
    entry_start: Checkpoint,
    /// Of the entry that is put off.
    put_off: Option<PutOff>,
    terms: Vec<RecoveredTerm>,
    /// The first entry of the last of them.
    newest_term: Option<NewLeadershipTerm>,
}

/// An entry that is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PutOff {
    /// Position and chain hash behind it.
    pub end: Checkpoint,
    /// Its log time, ns.
    pub log_time: i64,
}

impl AppliedLog {
    /// Before the first frame.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::beginning_at(Checkpoint::ZERO, Vec::new(), None)
    }

    /// Applied up to `at`, with these terms, oldest first, and the first entry of the last of them.
    #[must_use]
    pub(crate) fn beginning_at(
        at: Checkpoint,
        terms: Vec<RecoveredTerm>,
        newest_term: Option<NewLeadershipTerm>,
    ) -> Self {
        Self {
            head: at,
            entry_start: at,
            put_off: None,
            terms,
            newest_term,
        }
    }

    /// `frame` is the next one.
    pub(super) fn pass(&mut self, frame: &Frame<'_>) {
        let at = self.head;
        if frame.is_begin() {
            self.entry_start = at;
        }
        let reserved = frame.reserved_value();
        let term = LeadershipTermId::from(leadership_term(reserved));
        if term > self.term() {
            self.terms.push(RecoveredTerm {
                term,
                base: at.position,
                id: 0,
                chain: at.hash,
            });
        }
        self.head = at.fold(reserved, at.position + frame.aligned_length() as Position);
        self.put_off = None;
    }

    /// The entry that was passed last is applied.
    pub(crate) fn apply(&mut self, entry: &LogEntry<'_>) {
        if let LogEntry::NewLeadershipTerm(first) = entry {
            if let Some(newest) = self.terms.last_mut() {
                newest.id = first.id;
            }
            self.newest_term = Some(*first);
        }
    }

    /// The entry that was passed last is put off; it has this log time.
    pub(super) fn put_off(&mut self, log_time: i64) {
        let end = self.head;
        self.put_off = Some(PutOff { end, log_time });
        self.head = self.entry_start;
    }

    /// The entry that is put off.
    #[must_use]
    pub(crate) const fn waiting(&self) -> Option<PutOff> {
        self.put_off
    }

    /// Position and chain hash behind what is applied.
    #[must_use]
    pub(crate) const fn head(&self) -> Checkpoint {
        self.head
    }

    /// The leadership terms so far, oldest first.
    #[must_use]
    pub(crate) fn terms(&self) -> &[RecoveredTerm] {
        &self.terms
    }

    /// The first entry of the last of them.
    #[must_use]
    pub(crate) const fn newest_term(&self) -> Option<&NewLeadershipTerm> {
        self.newest_term.as_ref()
    }

    /// The leadership term of the last frame.
    #[must_use]
    pub(crate) fn term(&self) -> LeadershipTermId {
        self.terms
            .last()
            .map_or(LeadershipTermId::NONE, |newest| newest.term)
    }
}
