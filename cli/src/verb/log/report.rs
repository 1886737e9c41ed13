//! All that `lockstep log verify` found: as lines for people, and as an object.

use std::path::Path;

use lockstep_archive::files::ack_record::AckRecord;
use lockstep_archive::log::recovery::RecoveredTerm;
use lockstep_consensus::node::offline::directory_look::DirectoryLook;
use lockstep_consensus::node::offline::verification::{LogVerdict, Verification};
use serde_json::{Value, json};

use super::entry_words::name;
use super::words::{
    durability, forecast, memory, memory_name, standing, standing_name, verdict, verdict_name,
};

/// Terms that are named for people; a machine is told all.
const TERMS_SHOWN: usize = 8;

/// The lines.
pub fn text(directory: &Path, found: &Verification, user: Option<&str>) -> Vec<String> {
    let log = &found.log;
    let mut rows = directory_rows(directory, &found.directory, user);
    rows.push(("segments", segment_words(found)));
    let start = found.segments.first().map_or(0, |first| first.position);
    let (end, last_term, chain) = (log.end, log.last_term, log.chain);
    let words = format!("{start} to {end}, last term {last_term}, chain hash {chain:016x}");
    rows.push(("log", words));
    rows.extend(term_rows(&log.terms));
    rows.push(("entries", entry_words(found)));
    let words = format!("{}, the greatest that a leader wrote into it", log.commit);
    rows.push(("commit", words));
    rows.push(("ack mark", mark_words(found.directory.mark.as_ref())));
    rows.extend(memory(found).map(|words| ("memory", words)));
    rows.push(("verdict", verdict(found)));
    rows.extend(forecast(found).map(|words| ("", words)));
    let lines = rows.into_iter();
    lines
        .map(|(head, words)| format!("{head:<9}  {words}"))
        .collect()
}

/// A line with what it is about; nothing where that is said above.
type Row = (&'static str, String);

fn directory_rows(directory: &Path, look: &DirectoryLook, user: Option<&str>) -> Vec<Row> {
    let mut rows = vec![
        ("directory", directory_words(directory, look)),
        ("", standing(look)),
    ];
    if let Some(state) = &look.node_state {
        let (starts, term) = (state.incarnation, state.leadership_term);
        let vote = match state.vote {
            Some(member) => format!("voted for member {member} in it"),
            None => "no vote in it".to_owned(),
        };
        let starts = match starts {
            1 => "once".to_owned(),
            _ => format!("{starts} times"),
        };
        rows.push(("", format!("started {starts}, last term {term}, {vote}")));
    }
    if let Some(user) = user {
        let words = format!("in use by process {user}, which goes on meanwhile");
        rows.push(("", words));
    }
    for file in look.spoiled() {
        let words = format!(
            "one of the two places of {file} is spoiled, torn or rotten; nothing is lost, for the \
             other one is good, and the next start mends it"
        );
        rows.push(("", words));
    }
    for file in look.lost() {
        let words = format!("{file} is missing, or damaged in both of its places");
        rows.push(("", words));
    }
    rows
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

fn directory_words(directory: &Path, look: &DirectoryLook) -> String {
    let place = directory.display();
    let Some(identity) = &look.identity else {
        return place.to_string();
    };
    let cluster = String::from_utf8_lossy(&identity.cluster);
    let formed = match &look.formation {
        Some(record) => format!(
            ", uuid {:032x}, made of {}",
            record.cluster,
            members(record.members)
        ),
        None => String::new(),
    };
    format!(
        "{place}: member {} of cluster \"{cluster}\"{formed}, directory id {:032x}",
        identity.member, identity.directory
    )
}

fn members(count: u8) -> String {
    match count {
        1 => "one member".to_owned(),
        _ => format!("{count} members"),
    }
}

fn segment_words(found: &Verification) -> String {
    let length = found.directory.catalog.segment_length as u64;
    let segments = &found.segments;
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return "none".to_owned();
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
        "{count} of {length} bytes, {bytes} in all: {names}{}",
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
    let identity = look.identity.as_ref();
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
            })
        })
        .collect();
    let kinds = found.entries.kinds();
    let kinds = kinds.map(|(kind, count)| (name(kind).to_owned(), json!(count)));
    let entries: serde_json::Map<String, Value> = kinds.collect();
    let state = look.node_state.as_ref();
    json!({
        "directory": directory.display().to_string(),
        "cluster": identity.map(|id| String::from_utf8_lossy(&id.cluster).into_owned()),
        "cluster_uuid": look.formation.map(|record| format!("{:032x}", record.cluster)),
        "members": look.formation.map(|record| record.members),
        "member": identity.map(|id| id.member),
        "directory_id": identity.map(|id| format!("{:032x}", id.directory)),
        "standing": standing_name(look),
        "starts": state.map(|state| state.incarnation),
        "leadership_term": state.map(|state| state.leadership_term.get()),
        "vote": state.and_then(|state| state.vote),
        "in_use_by": user,
        "is_running": found.is_running,
        "spoiled": look.spoiled(),
        "lost_files": look.lost(),
        "segment_length": look.catalog.segment_length,
        "term_length": look.catalog.term_length,
        "segments": segments,
        "start": found.segments.first().map_or(0, |first| first.position),
        "end": log.end,
        "last_term": log.last_term.get(),
        "chain_hash": format!("{:016x}", log.chain),
        "terms": terms,
        "entries": entries,
        "entries_unknown": found.entries.unknown,
        "leader_commit": log.commit,
        "ack_mark": look.mark.as_ref().map(mark_object),
        "log_buffer": memory_name(&found.memory),
        "only_in_log_buffer": log.taken,
        "verdict": verdict_object(found),
        "next_start": forecast(found),
        "is_good": !found.is_bad(),
    })
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
