//! Looks once at every frame that joins the contiguous log: the chain hash, the beginnings of
//! leadership terms and the leader's commit positions all come from here, for the leader's own
//! appends and a follower's placements alike.

use lockstep_archive::checksum::Chain;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_transport::log_buffer::{LogBuffer, frames};
use lockstep_transport::position::Position;

use crate::event::Event;
use crate::member::{LeadershipTermId, TermBase};

/// Events one walk may yield at most: a NewLeadershipTerm entry each, plus one commit position.
/// Terms begin at elections, so more of them than this in one cycle's bytes do not occur; what
/// does not fit is walked in the next call.
pub const WALK_EVENTS_MAX: usize = 16;

/// What was found between two positions.
#[derive(Debug, Default)]
pub struct Walked {
    /// Events in log order.
    pub events: Vec<Event>,
    /// Log time of the last entry that began.
    pub log_time: Option<i64>,
}

impl Walked {
    /// Room for one walk.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: Vec::with_capacity(WALK_EVENTS_MAX),
            log_time: None,
        }
    }
}

/// Walks the frames from the chain's position to `to`, folding them into `chain`.
///
/// `tail_term` is the leadership term of the frame before and where it begins: with its first
/// frame, which is a PAD when the NewLeadershipTerm entry did not fit in what was left of the
/// log's term. Such a PAD is walked together with the entry only: alone it says nothing of a
/// term, as in recovery.
pub fn walk(
    log: &LogBuffer,
    chain: &mut Chain,
    tail_term: &mut Option<TermBase>,
    to: Position,
    walked: &mut Walked,
) {
    walked.events.clear();
    walked.log_time = None;
    let mut commit: Option<(LeadershipTermId, Position)> = None;
    'log: while chain.position() < to && walked.events.len() + 1 < WALK_EVENTS_MAX {
        let from = chain.position();
        let geometry = log.geometry();
        let term_end = geometry.term_start(from) + geometry.term_length() as Position;
        let length = (to.min(term_end) - from) as usize;
        for frame in frames(log.bytes(from, length)) {
            let position = chain.position();
            let end = position + frame.aligned_length() as Position;
            let reserved = frame.reserved_value();
            let term = reserved >> 32;
            let is_new = tail_term.is_none_or(|tail| tail.term != term);
            if is_new && frame.is_padding() && to <= end {
                break 'log;
            }
            chain.fold(reserved, end);
            if is_new {
                *tail_term = Some(TermBase {
                    term,
                    base: position,
                });
            }
            if frame.is_padding() || !frame.is_begin() {
                continue;
            }
            let Some(header) = EntryHeader::decode(frame.payload()) else {
                continue;
            };
            walked.log_time = Some(header.log_time);
            commit = Some((term, header.leader_commit));
            if header.kind == EntryKind::NewLeadershipTerm {
                walked.events.push(Event::TermEntry {
                    term,
                    base: tail_term.map_or(position, |tail| tail.base),
                    end,
                });
                if walked.events.len() + 1 == WALK_EVENTS_MAX {
                    break;
                }
            }
        }
    }
    if let Some((term, position)) = commit {
        walked.events.push(Event::LeaderCommit { term, position });
    }
}
