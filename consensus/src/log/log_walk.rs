//! Looks once at every frame that joins the contiguous log: the chain hash, the beginnings of
//! leadership terms and the leader's commit positions all come from here, for the leader's own
//! appends and a follower's placements alike.

use lockstep_archive::log::chain::Chain;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::{Frame, LogBuffer};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::log::log_entry::LogEntry;
use crate::module::event::Event;
use crate::module::formation::FormationRecord;
use crate::module::leadership_term::term_at;
use crate::module::member::TermBase;

/// Events one walk may yield at most: a NewLeadershipTerm entry each, plus one commit position.
/// Terms begin at elections, so more of them than this in one cycle's bytes do not occur; what
/// does not fit is walked in the next call.
pub(crate) const WALK_EVENTS_MAX: usize = 16;

/// What was found between two positions.
#[derive(Debug, Default)]
pub struct Walked {
    /// Events in log order.
    pub events: Vec<Event>,
    /// Log time of the last entry that began.
    pub log_time: Option<i64>,
    /// The frame here contradicts its place, its term or the leader's list.
    pub refused: Option<Position>,
}

impl Walked {
    /// Room for one walk.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: Vec::with_capacity(WALK_EVENTS_MAX),
            log_time: None,
            refused: None,
        }
    }
}

/// What the frames are held against.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// This member appended them itself.
    Own,
    /// The leader that is followed sent them.
    Leader {
        /// Its list.
        terms: &'a [TermBase],
        /// How this member's cluster was formed: what each first entry of a term says too, or
        /// the next start would refuse the log as another cluster's.
        formation: &'a FormationRecord,
    },
}

/// Walks the frames from the chain's position to `to`, folding them into `chain`. Stops before a
/// frame that contradicts its place, its term or the leader's list: a good checksum says only
/// that somebody wrote it so.
///
/// `tail_term` is the leadership term of the frame before and where it begins: with its first
/// frame, which is a PAD when the NewLeadershipTerm entry did not fit in what was left of the
/// log's term. Such a PAD is walked together with the entry only: alone it says nothing of a
/// term, as in recovery.
pub(crate) fn walk(
    log: &LogBuffer,
    chain: &mut Chain,
    tail_term: &mut Option<TermBase>,
    to: Position,
    expected: Expected<'_>,
    walked: &mut Walked,
) {
    walked.events.clear();
    walked.refused = None;
    walked.log_time = None;
    let mut step = Step {
        log,
        to,
        expected,
        tail_term: *tail_term,
        entry_at: None,
    };
    let mut commit: Option<(LeadershipTermId, Position)> = None;
    while chain.position() < to && walked.events.len() + 1 < WALK_EVENTS_MAX {
        let position = chain.position();
        let found = match step.frame(position) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(Contradiction) => {
                walked.refused = Some(position);
                break;
            }
        };
        *tail_term = step.tail_term;
        chain.fold(found.reserved, found.end);
        if let Some(header) = found.header {
            walked.log_time = Some(header.log_time);
            commit = Some((
                LeadershipTermId::new(found.reserved >> 32),
                header.leader_commit,
            ));
        }
        walked.events.extend(found.term_entry);
    }
    if let Some((term, position)) = commit {
        walked.events.push(Event::LeaderCommit { term, position });
    }
}

/// A frame that no leader of this log writes there.
#[derive(Clone, Copy, Debug)]
struct Contradiction;

/// What one frame says.
struct Found {
    reserved: i64,
    end: Position,
    header: Option<EntryHeader>,
    term_entry: Option<Event>,
}

/// The walk's memory from frame to frame.
struct Step<'a> {
    log: &'a LogBuffer,
    to: Position,
    expected: Expected<'a>,
    tail_term: Option<TermBase>,
    /// Where a PAD that begins a term wants its first entry.
    entry_at: Option<Position>,
}

impl<'a> Step<'a> {
    /// The frame at `position`; `None` when it has to wait for the one behind it.
    fn frame(&mut self, position: Position) -> Result<Option<Found>, Contradiction> {
        let frame = self.frame_at(position)?;
        let end = position + frame.aligned_length() as Position;
        let reserved = frame.reserved_value();
        let term = LeadershipTermId::new(reserved >> 32);
        let newest = TermBase::term_of(self.tail_term);
        let is_listed = match self.expected {
            Expected::Own => true,
            // From its first byte to its last: a later term may begin within it.
            Expected::Leader { terms, .. } => [position, end - 1]
                .into_iter()
                .all(|byte| term_at(terms, byte) == Some(term)),
        };
        if term < newest.max(LeadershipTermId::FIRST) || end > self.to || !is_listed {
            return Err(Contradiction);
        }
        let is_new = term != newest;
        if is_new && frame.is_padding() {
            if self.to <= end {
                sometimes(Mark::PadWaitsForFirstEntry);
                return Ok(None);
            }
            let next = self.frame_at(end)?;
            self.first_entry(&next, term, position)?;
            if let Expected::Leader { .. } = self.expected {
                sometimes(Mark::PaddedFirstEntryFollowed);
            }
            self.entry_at = Some(end);
        }
        if is_new {
            let base = position;
            self.tail_term = Some(TermBase { term, base });
        }
        let mut found = Found {
            reserved,
            end,
            header: None,
            term_entry: None,
        };
        if frame.is_padding() || !frame.is_begin() {
            return if is_new && !frame.is_padding() {
                Err(Contradiction)
            } else {
                Ok(Some(found))
            };
        }
        let header = EntryHeader::decode(frame.payload()).ok_or(Contradiction)?;
        let is_first = header.kind == EntryKind::NewLeadershipTerm;
        let is_due = (is_new && !frame.is_padding()) || self.entry_at == Some(position);
        // Nobody commits what is not written yet.
        if is_first != is_due || !(0..=position).contains(&header.leader_commit) {
            return Err(Contradiction);
        }
        if is_first {
            let base = self.tail_term.map_or(position, |tail| tail.base);
            self.first_entry(&frame, term, base)?;
            found.term_entry = Some(Event::TermEntry { term, base, end });
        }
        found.header = Some(header);
        Ok(Some(found))
    }

    /// The whole frame at `position` that says it belongs there.
    fn frame_at(&self, position: Position) -> Result<Frame<'a>, Contradiction> {
        let geometry = self.log.geometry();
        let term_end = geometry.term_start(position) + geometry.term_length() as Position;
        let length = (self.to.min(term_end) - position) as usize;
        let log: &'a LogBuffer = self.log;
        let bytes = log.bytes(position, length);
        let frame = Frame::first(bytes).ok_or(Contradiction)?;
        let header = frame.header();
        let is_in_place = header.term_id.get() == geometry.term_id(position)
            && usize::try_from(header.term_offset.get()) == Ok(geometry.term_offset(position))
            && position + frame.aligned_length() as Position <= term_end;
        is_in_place.then_some(frame).ok_or(Contradiction)
    }

    /// Checks the first entry of `term`, which begins at `base`.
    fn first_entry(
        &self,
        frame: &Frame<'_>,
        term: LeadershipTermId,
        base: Position,
    ) -> Result<(), Contradiction> {
        let Ok(LogEntry::NewLeadershipTerm(entry)) = LogEntry::decode_whole(frame.payload()) else {
            return Err(Contradiction);
        };
        let is_whole =
            frame.is_begin() && frame.is_end() && frame.reserved_value() >> 32 == term.get();
        let is_listed = match self.expected {
            Expected::Own => true,
            Expected::Leader { terms, formation } => {
                terms.contains(&TermBase { term, base }) && entry.formation == *formation
            }
        };
        let is_right = is_whole && is_listed && entry.term == term;
        is_right.then_some(()).ok_or(Contradiction)
    }
}

#[cfg(test)]
mod tests;
