//! All that `lockstep log verify` found: as lines for people, and as an object.

use std::path::Path;

use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::log::recovery::RecoveredTerm;
use lockstep_consensus::node::offline::verification::{LogVerdict, Verification};
use serde_json::{Value, json};

use super::entry_words::name;
use super::words::{durability, forecast, memory, memory_name, verdict, verdict_name};
use crate::directory_words::{
    Row, directory_object, directory_rows, lines, next_object, next_words, with_fields,
};

/// Terms that are named for people; a machine is told all.
const TERMS_SHOWN: usize = 8;

/// The lines.
pub fn text(directory: &Path, found: &Verification, user: Option<&str>) -> Vec<String> {
    let log = &found.log;
    let mut rows = directory_rows(directory, &found.directory, user);
    rows.push(("segments", segment_words(found)));
    rows.push(("log", log_words(found)));
    rows.extend(term_rows(&log.terms));
    rows.push(("entries", entry_words(found)));
    let words = format!("{}, the greatest that a leader wrote into it", log.commit);
    rows.push(("commit", words));
    rows.push(("ack mark", mark_words(found.directory.mark.as_ref())));
    rows.extend(memory(found).map(|words| ("memory", words)));
    rows.push(("verdict", verdict(found)));
    rows.extend(forecast(found).map(|words| ("", words)));
    rows.push(("", next_words(&found.next)));
    lines(rows).collect()
}

/// Where it begins and ends.
fn log_words(found: &Verification) -> String {
    let start = found.directory.log_start.position;
    let below = match start {
        0 => String::new(),
        _ if found.directory.is_start_lost => {
            "; from where on there should be any is not known".to_owned()
        }
        _ => format!("; what lay below {start} has been let go of, and a snapshot stands for it"),
    };
    let (end, last_term) = (found.log.end, found.log.last_term);
    let chain = chain_hash(found).unwrap_or_else(|| "not known".to_owned());
    format!("{start} to {end}, last term {last_term}, chain hash {chain}{below}")
}

/// Hash of all of it, where that is known.
fn chain_hash(found: &Verification) -> Option<String> {
    let hash = found.log.chain;
    (!found.directory.is_start_lost).then(|| format!("{hash:016x}"))
}

fn term_rows(terms: &[RecoveredTerm]) -> Vec<Row> {
    let hidden = terms.len().saturating_sub(TERMS_SHOWN);
    let mut rows = Vec::new();
    if hidden > 0 {
        rows.push(("terms", format!("{hidden} before these, see --json")));
    }
    for term in &terms[hidden..] {
        let head = if rows.is_empty() { "terms" } else { "" };
        let (number, base, id) = (term.term, term.base, term.id);
        rows.push((head, format!("{number} from {base} on, id {id:032x}")));
    }
    rows
}

fn segment_words(found: &Verification) -> String {
    let length = found.directory.catalog.segment_length as u64;
    let (below, segments): (Vec<_>, Vec<_>) = found
        .segments
        .iter()
        .partition(|segment| segment.is_below_start);
    let below = match below.len() {
        0 => String::new(),
        count => format!(
            "; {count} of what lay below, {} and up, which the next start removes",
            below[0].name
        ),
    };
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return format!("none{below}");
    };
    let bytes: u64 = segments.iter().map(|segment| segment.length).sum();
    let names = match segments.len() {
        1 => first.name.clone(),
        _ => format!("{} to {}", first.name, last.name),
    };
    let odd: Vec<String> = segments
        .iter()
        .filter(|segment| segment.length != length)
        .map(|segment| format!("; {} has {} bytes instead", segment.name, segment.length))
        .collect();
    let count = segments.len();
    format!(
        "{count} of {length} bytes, {bytes} in all: {names}{}{below}",
        odd.concat()
    )
}

fn entry_words(found: &Verification) -> String {
    let kinds: Vec<String> = found
        .entries
        .kinds()
        .map(|(kind, count)| format!("{count} {}", name(kind)))
        .collect();
    let unknown = match found.entries.unknown {
        0 => String::new(),
        count => format!("; {count} are not known"),
    };
    match found.entries.total() {
        0 => format!("none{unknown}"),
        total => format!("{total}: {}{unknown}", kinds.join(", ")),
    }
}

fn mark_words(mark: Option<&AckRecord>) -> String {
    let Some(mark) = mark else {
        return "lost: how far this member acknowledged is not known".to_owned();
    };
    let (position, term, commit) = (mark.position, mark.term, mark.commit);
    let how = durability(mark);
    format!("acknowledged up to {position} in term {term}, {how}; known to be committed: {commit}")
}

/// The object.
pub fn object(directory: &Path, found: &Verification, user: Option<&str>) -> Value {
    let look = &found.directory;
    let log = &found.log;
    let terms: Vec<Value> = log
        .terms
        .iter()
        .map(|term| {
            let id = format!("{:032x}", term.id);
            json!({ "term": term.term.get(), "base": term.base, "id": id })
        })
        .collect();
    let segments: Vec<Value> = found
        .segments
        .iter()
        .map(|segment| {
            json!({
                "file": segment.name,
                "position": segment.position,
                "length": segment.length,
                "is_below_start": segment.is_below_start,
            })
        })
        .collect();
    let kinds = found.entries.kinds();
    let kinds = kinds.map(|(kind, count)| (name(kind).to_owned(), json!(count)));
    let entries: serde_json::Map<String, Value> = kinds.collect();
    let of_log = json!({
        "is_running": found.is_running,
        "segment_length": look.catalog.segment_length,
        "term_length": look.catalog.term_length,
        "segments": segments,
        "end": log.end,
        "last_term": log.last_term.get(),
        "chain_hash": chain_hash(found),
        "terms": terms,
        "entries": entries,
        "entries_unknown": found.entries.unknown,
        "leader_commit": log.commit,
        "ack_mark": look.mark.as_ref().map(mark_object),
        "log_buffer": memory_name(&found.memory),
        "only_in_log_buffer": log.taken,
        "verdict": verdict_object(found),
        "next_start": forecast(found),
        "goes_on_from": next_object(&found.next),
        "is_good": !found.is_bad(),
    });
    with_fields(directory_object(directory, look, user), of_log)
}

fn mark_object(mark: &AckRecord) -> Value {
    json!({
        "position": mark.position,
        "term": mark.term.get(),
        "commit": mark.commit,
        "is_synced": !mark.is_unsynced,
        "is_in_memory": mark.is_in_memory,
    })
}

fn verdict_object(found: &Verification) -> Value {
    let mut object = json!({
        "name": verdict_name(&found.verdict),
        "words": verdict(found),
    });
    match &found.verdict {
        LogVerdict::Whole | LogVerdict::NotKnown => {}
        LogVerdict::TornTail { length } => object["length"] = json!(length),
        LogVerdict::UnfinishedCut { end } => object["cut_end"] = json!(end),
        LogVerdict::MissingBelow { place, from, to } => {
            object["file"] = json!(place.0);
            object["offset"] = json!(place.1);
            object["position"] = json!(from);
            object["damage_end"] = json!(to);
        }
        LogVerdict::Damaged { place, end, lost } => {
            object["file"] = json!(place.0);
            object["offset"] = json!(place.1);
            object["position"] = json!(found.log.end);
            object["damage_end"] = json!(end);
            object["acknowledged"] = json!(lost.position);
            object["acknowledged_term"] = json!(lost.term.get());
        }
        LogVerdict::Lost(lost) => {
            object["acknowledged"] = json!(lost.position);
            object["acknowledged_term"] = json!(lost.term.get());
        }
        LogVerdict::Foreign { position } => object["position"] = json!(position),
    }
    object
}
