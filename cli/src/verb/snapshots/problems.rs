//! What is wrong with the snapshots of a directory, in sentences: what, where, and what to do that
//! makes nothing worse.

use lockstep_archive::files::snapshot_index::SNAPSHOT_INDEX_FILE;
use lockstep_consensus::node::offline::named_snapshots::{
    NamedSnapshot, SnapshotFile, SnapshotList,
};
use lockstep_consensus::node::offline::snapshot_verification::{
    LogThere, SnapshotVerification, VerifiedSnapshot,
};

use super::words::{file_name, file_words};
use crate::directory_words::{KEEP, next_words};

/// From what the next start goes on if all is whole that is as long as it should be.
pub fn first_words(found: &SnapshotList) -> String {
    let look = &found.directory;
    match found.first_tried() {
        _ if look.is_start_lost => "the next start is refused".to_owned(),
        Some(first) => format!(
            "the next start tries the snapshot at {} first",
            first.entry.position
        ),
        None if look.log_start.position == 0 => {
            "the next start executes the log from its beginning".to_owned()
        }
        None => "the next start is refused, for the log does not begin at 0 and no snapshot says \
                 what was below"
            .to_owned(),
    }
}

/// What is wrong as far as it shows without reading any of them; `next` says from what the next
/// start goes on.
pub fn list_problems(found: &SnapshotList, next: &str) -> Vec<String> {
    let mut problems: Vec<String> = index_problem(found).into_iter().collect();
    let named = found.named.iter();
    problems.extend(named.filter_map(|named| file_problem(named, next)));
    problems
}

fn index_problem(found: &SnapshotList) -> Option<String> {
    let name = SNAPSHOT_INDEX_FILE.name;
    if found.directory.is_start_lost {
        let oldest = found.directory.log_start.position;
        return Some(format!(
            "{name} is missing, or damaged in both of its places, and the log does not begin at 0, \
             its oldest file begins at {oldest}: what it follows from cannot be known, and the \
             next start is refused; {KEEP}, and see \"A directory is damaged\" in \
             docs/operating.md"
        ));
    }
    found.is_index_lost.then(|| {
        format!(
            "{name} is missing, or damaged in both of its places: which snapshots there were is \
             not known; the log begins at 0, so that the next start makes the file anew, removes \
             the files of snapshots and executes the log from its beginning; {KEEP}"
        )
    })
}

/// What is wrong with its file, as far as its length tells.
fn file_problem(named: &NamedSnapshot, next: &str) -> Option<String> {
    let remedy = match named.file {
        SnapshotFile::There => return None,
        SnapshotFile::Unreadable(_) => {
            "see that there is a file of that name which this user may read, and look at the \
             device's health; else keep the directory as it is"
        }
        SnapshotFile::Short(_) | SnapshotFile::Long(_) | SnapshotFile::Missing => KEEP,
    };
    let (position, file, words) = (named.entry.position, file_name(named), file_words(named));
    Some(format!(
        "the snapshot at {position}, {file}, is not what was stored: {words}; {next}; {remedy}"
    ))
}

/// What is wrong with those that were read, and with the log below them.
pub fn all_problems(found: &SnapshotVerification) -> Vec<String> {
    let next = next_words(&found.next);
    let mut problems: Vec<String> = index_problem(&found.list).into_iter().collect();
    for snapshot in &found.snapshots {
        // What its length tells says more than that it cannot be read to its end.
        let of_file = file_problem(&snapshot.named, &next);
        problems.extend(of_file.or_else(|| content_problem(snapshot, &next)));
        problems.extend(log_problem(snapshot, &next));
    }
    problems
}

fn content_problem(snapshot: &VerifiedSnapshot, next: &str) -> Option<String> {
    let entry = &snapshot.named.entry;
    let (position, file) = (entry.position, file_name(&snapshot.named));
    match &snapshot.content {
        Err(reason) => Some(format!(
            "the snapshot at {position}, {file}, cannot be used: {reason}; {next}; {KEEP}"
        )),
        Ok(content) if content.term != entry.term => Some(format!(
            "the snapshot at {position}, {file}, says that it was taken in leadership term {}, \
             and {} that it was in {}; {next}; {KEEP}",
            content.term, SNAPSHOT_INDEX_FILE.name, entry.term
        )),
        Ok(_) => None,
    }
}

fn log_problem(snapshot: &VerifiedSnapshot, next: &str) -> Option<String> {
    let position = snapshot.named.entry.position;
    let words = match &snapshot.log {
        LogThere::Other(words) => format!(
            "the log at {position} is not the one that the snapshot there was taken of: {words}; \
             {next}"
        ),
        LogThere::EndsAt(end) => format!(
            "the log can be read up to {end} only, below the snapshot at {position}; {next}; \
             `lockstep log verify` says whether anything is lost that was acknowledged"
        ),
        LogThere::Same | LogThere::SeenTo(_) | LogThere::Gone | LogThere::NotCompared => {
            return None;
        }
    };
    Some(format!("{words}; {KEEP}"))
}
