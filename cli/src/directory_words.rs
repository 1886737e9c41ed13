//! Whose directory is looked at, what it is in its cluster, and from what its next start goes on:
//! as lines for people, and as fields of an object.

use std::path::Path;

use lockstep_consensus::node::offline::directory_look::{DirectoryLook, Standing};
use lockstep_consensus::node::offline::next_start::{Beginning, NextStart};
use serde_json::{Value, json};

/// A line with what it is about; nothing where that is said above.
pub type Row = (&'static str, String);

/// What to do about damage.
pub const KEEP: &str =
    "keep the directory as it is, keep the other members running, and check the disk";

/// The rows as lines.
pub fn lines(rows: Vec<Row>) -> impl Iterator<Item = String> {
    let rows = rows.into_iter();
    rows.map(|(head, words)| format!("{head:<9}  {words}"))
}

/// The first of them: whose it is, and what is amiss with its small files. `user` is the process
/// that uses it.
pub fn directory_rows(directory: &Path, look: &DirectoryLook, user: Option<&str>) -> Vec<Row> {
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

/// What the member's directory is in its cluster.
fn standing(look: &DirectoryLook) -> String {
    match look.standing {
        Standing::Unknown => {
            "of nobody: identity.dat is missing or damaged, and a start is refused".to_owned()
        }
        Standing::Unformed => "of a cluster that has not formed".to_owned(),
        Standing::Voter => "voter".to_owned(),
        Standing::Copy => {
            "a copy: a start gives it an id of its own, and it is a learner then".to_owned()
        }
        Standing::Learner(None) => {
            "learner: its cluster was formed with another directory".to_owned()
        }
        Standing::Learner(Some(forfeit)) => format!("learner, because {}", forfeit.reason()),
    }
}

/// What a machine calls it.
const fn standing_name(look: &DirectoryLook) -> &'static str {
    match look.standing {
        Standing::Unknown => "unknown",
        Standing::Unformed => "unformed",
        Standing::Voter => "voter",
        Standing::Copy => "copy",
        Standing::Learner(_) => "learner",
    }
}

/// The same as fields of an object.
pub fn directory_object(directory: &Path, look: &DirectoryLook, user: Option<&str>) -> Value {
    let identity = look.identity.as_ref();
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
        "spoiled": look.spoiled(),
        "lost_files": look.lost(),
        "start": look.log_start.position,
        "start_chain_hash": start_chain_hash(look),
    })
}

/// The fields of both objects.
pub fn with_fields(mut object: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (object.as_object_mut(), more) {
        fields.extend(more);
    }
    object
}

/// Hash of the log below its start, where it is known.
pub fn start_chain_hash(look: &DirectoryLook) -> Option<String> {
    let hash = look.log_start.hash;
    (!look.is_start_lost).then(|| format!("{hash:016x}"))
}

/// From what the next start goes on, as a sentence.
pub fn next_words(next: &NextStart) -> String {
    let from = match &next.from {
        Beginning::Log => "the next start goes on from the beginning of the log".to_owned(),
        Beginning::Snapshot(position) => {
            format!("the next start goes on from the snapshot at {position}")
        }
        Beginning::Nothing(reason) => return format!("the next start is refused: {reason}"),
    };
    let passed_over = next.passed_over.iter();
    let passed_over: Vec<String> = passed_over
        .map(|(position, reason)| format!("; the one at {position} is not used: {reason}"))
        .collect();
    format!("{from}{}", passed_over.concat())
}

/// The same as an object.
pub fn next_object(next: &NextStart) -> Value {
    let (from, position) = match &next.from {
        Beginning::Log => ("log", Some(0)),
        Beginning::Snapshot(position) => ("snapshot", Some(*position)),
        Beginning::Nothing(_) => ("nothing", None),
    };
    let passed_over = next.passed_over.iter();
    let passed_over: Vec<Value> = passed_over
        .map(|(position, reason)| json!({ "position": position, "reason": reason }))
        .collect();
    json!({
        "from": from,
        "position": position,
        "passed_over": passed_over,
        "words": next_words(next),
    })
}
