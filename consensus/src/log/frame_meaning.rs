//! What recovery wants to know of a whole frame, and whoever looks at a log as it does. Pure.

use lockstep_archive::log::recovery::FrameMeaning;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_transport::log_buffer::{Frame, frames};

use crate::log::entry_body::NewLeadershipTerm;
use crate::log::log_entry::LogEntry;
use crate::module::formation::FormationRecord;

/// What recovery wants to know of a whole frame, and the entry of the term that it begins. One
/// that does not decode begins a term all the same: applying it will name the cause.
pub(crate) fn frame_meaning(frame: &[u8]) -> (FrameMeaning, Option<NewLeadershipTerm>) {
    let begins = |frame: &Frame<'_>| frame.is_begin() && !frame.is_padding();
    let frame = frames(frame).next().filter(begins);
    let payload = frame.as_ref().map_or(&[][..], Frame::payload);
    let Some(header) = EntryHeader::decode(payload) else {
        return (FrameMeaning::default(), None);
    };
    let is_first = header.kind == EntryKind::NewLeadershipTerm;
    let entry = match LogEntry::decode_whole(payload) {
        Ok(LogEntry::NewLeadershipTerm(entry)) => Some(entry),
        _ => None,
    };
    let meaning = FrameMeaning {
        term_id: is_first.then(|| entry.map_or(0, |entry| entry.id)),
        leader_commit: header.leader_commit,
        is_foreign: false,
    };
    (meaning, entry)
}

/// The same where the log is to be of the cluster that was formed as `expected`, and how the one
/// was formed that the frame says it is of, where that is another one.
pub(crate) fn meaning_within(
    expected: Option<FormationRecord>,
    frame: &[u8],
) -> (FrameMeaning, Option<FormationRecord>) {
    let (meaning, entry) = frame_meaning(frame);
    let record = entry.map(|entry| entry.formation);
    let other = record.filter(|_| record != expected);
    let is_foreign = other.is_some();
    (
        FrameMeaning {
            is_foreign,
            ..meaning
        },
        other,
    )
}
