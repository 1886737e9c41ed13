//! What `lockstep snapshots` prints of a directory and of each snapshot that its index names: as
//! lines for people, and as objects.

use std::path::Path;

use lockstep_archive::files::snapshot_index::SNAPSHOT_INDEX_FILE;
use lockstep_archive::snapshot_file::source::file_length;
use lockstep_consensus::node::offline::named_snapshots::{
    NamedSnapshot, SnapshotFile, SnapshotList,
};
use serde_json::{Value, json};

use crate::directory_words::{
    Row, directory_object, directory_rows, start_chain_hash, with_fields,
};
use crate::lines::Lines;
use crate::looked_at::LookedAt;
use crate::outcome::Outcome;

/// The head of the table.
pub const HEAD: &str = "      position  term         length hash                             \
                        file";

/// A line of the table.
pub fn line(named: &NamedSnapshot) -> String {
    let entry = &named.entry;
    let below = match named.is_below_start {
        true => ", below the start of the log: no start uses it",
        false => "",
    };
    format!(
        "{:>14} {:>5} {:>14} {:032x} {}: {}{below}",
        entry.position,
        entry.term.get(),
        entry.length,
        entry.hash,
        file_name(named),
        file_words(named),
    )
}

/// Its file.
pub fn file_name(named: &NamedSnapshot) -> String {
    named.entry.name().file_name()
}

/// What lies there.
pub fn file_words(named: &NamedSnapshot) -> String {
    let expected = file_length(named.entry.length);
    match &named.file {
        SnapshotFile::There => "there".to_owned(),
        SnapshotFile::Short(length) => format!("cut short to {length} bytes of {expected}"),
        SnapshotFile::Long(length) => format!("{length} bytes, of which {expected} were stored"),
        SnapshotFile::Missing => "missing".to_owned(),
        SnapshotFile::Unreadable(detail) => format!("cannot be read ({detail})"),
    }
}

/// What a machine calls it.
const fn file_state(file: &SnapshotFile) -> (&'static str, Option<u64>) {
    match file {
        SnapshotFile::There => ("there", None),
        SnapshotFile::Short(length) => ("short", Some(*length)),
        SnapshotFile::Long(length) => ("long", Some(*length)),
        SnapshotFile::Missing => ("missing", None),
        SnapshotFile::Unreadable(_) => ("unreadable", None),
    }
}

/// The same as an object.
pub fn object(named: &NamedSnapshot) -> Value {
    let entry = &named.entry;
    let (state, other_length) = file_state(&named.file);
    let length = match named.file {
        SnapshotFile::There => Some(file_length(entry.length)),
        _ => other_length,
    };
    json!({
        "position": entry.position,
        "term": entry.term.get(),
        "length": entry.length,
        "hash": format!("{:032x}", entry.hash),
        "file": file_name(named),
        "file_state": state,
        "file_length": length,
        "is_below_start": named.is_below_start,
    })
}

/// Whose the directory is, where its log starts, and which files nothing names.
pub fn head_rows(directory: &Path, found: &SnapshotList, user: Option<&str>) -> Vec<Row> {
    let look = &found.directory;
    let mut rows = directory_rows(directory, look, user);
    let start = look.log_start.position;
    let hash = start_chain_hash(look).unwrap_or_else(|| "not known".to_owned());
    rows.push(("log start", format!("{start}, chain hash {hash}")));
    let name = SNAPSHOT_INDEX_FILE.name;
    let index = match (look.index.is_some(), found.named.len()) {
        (true, 0) => format!("{name} names no snapshot"),
        (true, 1) => format!("{name} names one"),
        (true, count) => format!("{name} names {count}, the newest first"),
        (false, _) if found.is_index_lost => {
            format!("{name} is missing, or damaged in both of its places")
        }
        (false, _) => format!("no {name}: there were none yet"),
    };
    rows.push(("snapshots", index));
    for file in &found.unnamed {
        let bytes = file.length.map(|length| format!(", {length} bytes"));
        let why = match found.is_running {
            true => "the node is writing it, or has given it up: then its next start removes it",
            false => "it was not finished, or is out of date: the next start removes it",
        };
        let words = format!(
            "{}{} is not named: {why}",
            file.name,
            bytes.unwrap_or_default()
        );
        rows.push(("", words));
    }
    rows
}

/// The same as fields of an object.
pub fn head_object(directory: &Path, found: &SnapshotList, user: Option<&str>) -> Value {
    let unnamed = found.unnamed.iter();
    let unnamed: Vec<Value> = unnamed
        .map(|file| json!({ "file": file.name, "length": file.length }))
        .collect();
    let more = json!({
        "is_running": found.is_running,
        "has_index": found.directory.index.is_some(),
        "unnamed": unnamed,
    });
    with_fields(directory_object(directory, &found.directory, user), more)
}

/// All has been printed. The problems are what came of it.
pub fn finish(out: Lines, at: &LookedAt, problems: Vec<String>) -> Outcome {
    let outcome = match problems.len() {
        0 => Outcome::Good,
        _ => {
            let place = at.dir.display();
            Outcome::failed(format!("{place}: {}", problems.join("\nlockstep: ")))
        }
    };
    out.finish(outcome)
}
