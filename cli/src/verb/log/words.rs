//! What was found in a directory, in sentences: what it is, what it means, what is to be done.

use lockstep_archive::files::ack_record::{AckRecord, LostAcks};
use lockstep_consensus::node::offline::log_source::FoundMemory;
use lockstep_consensus::node::offline::next_start::Beginning;
use lockstep_consensus::node::offline::verification::{LogVerdict, Verification};

use crate::directory_words::{KEEP, next_words};

/// How what the mark covers was acknowledged.
pub const fn durability(mark: &AckRecord) -> &'static str {
    match (mark.is_unsynced, mark.is_in_memory) {
        (false, _) => "synced",
        (true, false) => "without syncs",
        (true, true) => "without syncs, from the log buffer",
    }
}

/// What the log buffer has, where it matters.
pub fn memory(found: &Verification) -> Option<String> {
    Some(match &found.memory {
        FoundMemory::NotNeeded => return None,
        FoundMemory::There(..) if found.log.taken == 0 => {
            "nothing of the log lies only in the log buffer in shared memory".to_owned()
        }
        FoundMemory::There(..) => format!(
            "{} bytes of the log lie only in the log buffer in shared memory, from where the next \
             start takes them",
            found.log.taken
        ),
        FoundMemory::Unreadable(detail) => format!(
            "the log buffer in shared memory cannot be read ({detail}): what lies only there is \
             not known; look as the user that the node runs as"
        ),
        FoundMemory::Gone if found.is_running => {
            "the log buffer in shared memory is not seen from here: what lies only there is not \
             known"
                .to_owned()
        }
        FoundMemory::Gone => {
            "the log buffer in shared memory is gone, or another start's: what lay only there is \
             not known"
                .to_owned()
        }
    })
}

/// What a machine calls it.
pub const fn memory_name(found: &FoundMemory) -> &'static str {
    match found {
        FoundMemory::NotNeeded => "not needed",
        FoundMemory::There(..) => "there",
        FoundMemory::Unreadable(_) => "unreadable",
        FoundMemory::Gone => "gone",
    }
}

/// What a machine calls the verdict.
pub const fn verdict_name(verdict: &LogVerdict) -> &'static str {
    match verdict {
        LogVerdict::Whole => "whole",
        LogVerdict::TornTail { .. } => "torn tail",
        LogVerdict::NotKnown => "not known",
        LogVerdict::UnfinishedCut { .. } => "unfinished cut",
        LogVerdict::MissingBelow { .. } => "missing below",
        LogVerdict::Damaged { .. } => "damaged",
        LogVerdict::Lost(_) => "lost",
        LogVerdict::Foreign { .. } => "foreign",
    }
}

/// The verdict, as a sentence.
pub fn verdict(found: &Verification) -> String {
    let end = found.log.end;
    match &found.verdict {
        LogVerdict::Whole if !found.memory.is_seen() => format!(
            "whole: all that is on disk is there, up to {end}, when it was looked at; what lies \
             only in the log buffer is not known"
        ),
        LogVerdict::Whole if found.is_running => format!(
            "whole: all that was acknowledged is there, up to {end}, when it was looked at; its \
             node goes on"
        ),
        LogVerdict::Whole => format!("whole: all that was acknowledged is there, up to {end}"),
        LogVerdict::TornTail { length } => format!(
            "torn tail: {length} bytes above {end} are what an interrupted write left; they were \
             never acknowledged, the next start clears them away, and nothing is to be done"
        ),
        LogVerdict::NotKnown => format!(
            "not known: the log is whole up to {end}, and whether this member acknowledged more \
             cannot be told any more; keep the directory as it is, and keep the other members \
             running"
        ),
        LogVerdict::UnfinishedCut { end: cut } => format!(
            "unfinished cut: what lies above {end}, up to {cut}, is no part of the log; the next \
             start completes that, and nothing is to be done"
        ),
        LogVerdict::MissingBelow { place, from, to } => format!(
            "missing below: the log cannot be read from {from} to {to}, {length} bytes from \
             {place} on, and the snapshot at {to} stands for it: nothing that was acknowledged is \
             lost by that, and the next start goes on from the snapshot; {KEEP}",
            length = to - from,
            place = place_words(found, place),
        ),
        LogVerdict::Damaged {
            place,
            end: next,
            lost,
        } => format!(
            "damaged: the log cannot be read from {end} to {next}, {length} bytes from {place} on, \
             and this member acknowledged up to {acknowledged} in term {term}; {start}; {KEEP}",
            length = next - end,
            place = place_words(found, place),
            acknowledged = lost.position,
            term = lost.term,
            start = start_after_loss(found, lost),
        ),
        LogVerdict::Lost(lost) => format!(
            "lost: the log ends at {end}, before what this member acknowledged ({acknowledged}, in \
             term {term}), and nothing is left above; {start}; {KEEP}",
            acknowledged = lost.position,
            term = lost.term,
            start = start_after_loss(found, lost),
        ),
        LogVerdict::Foreign { position } => format!(
            "foreign: the entry at {position} says that the log is of another cluster than \
             identity.dat; a start is refused; give each directory its own files back, as \
             docs/operating.md describes"
        ),
    }
}

/// A place in a file; that there is no such file, where there is none.
fn place_words(found: &Verification, (file, offset): &(String, u64)) -> String {
    let is_there = found.segments.iter().any(|segment| segment.name == *file);
    let missing = if is_there { "" } else { ", which is missing," };
    format!("offset {offset} of {file}{missing}")
}

/// What the next start says of a log that lost something of what was acknowledged.
fn start_after_loss(found: &Verification, lost: &LostAcks) -> String {
    if let Beginning::Nothing(_) = &found.next.from {
        return next_words(&found.next);
    }
    format!(
        "the next start says that the log ends at {}, before what this member acknowledged ({}), \
         and it is filled up from its leader",
        found.log.end, lost.position
    )
}

/// What a start will make of the small files, besides.
pub fn forecast(found: &Verification) -> Option<String> {
    let forfeit = found.forfeit?;
    Some(format!(
        "the next start makes it a learner, because {}",
        forfeit.reason()
    ))
}

/// What is bad, in one sentence; nothing where all is well or harmless.
pub fn problem(found: &Verification) -> Option<String> {
    if !found.is_bad() {
        return None;
    }
    let is_log = matches!(
        found.verdict,
        LogVerdict::MissingBelow { .. }
            | LogVerdict::Damaged { .. }
            | LogVerdict::Lost(_)
            | LogVerdict::Foreign { .. }
    );
    if is_log {
        return Some(verdict(found));
    }
    let lost = found.directory.lost();
    if !lost.is_empty() {
        return Some(format!(
            "{} is missing, or damaged in both of its places; {KEEP}, and see \"A directory is \
             damaged\" in docs/operating.md",
            lost.join(" and ")
        ));
    }
    if let Beginning::Nothing(_) = &found.next.from {
        return Some(next_words(&found.next));
    }
    forecast(found).or_else(|| {
        let (count, first) = (found.entries.unknown, found.entries.first_unknown?);
        Some(format!(
            "{count} entries, the first at {first}, are none that this version of lockstep writes: \
             look with the version that wrote them"
        ))
    })
}
