//! `lockstep snapshots verify`: all of each snapshot read and compared with the log. What is said
//! of one is the same for all members that have it, but for the file's name, which tells who took
//! it from who fetched it, so that two outputs can be compared.

use lockstep_consensus::node::offline::snapshot_verification::{
    LogThere, SnapshotContent, SnapshotVerification, VerifiedSnapshot,
};
use serde_json::{Value, json};

use super::problems::all_problems;
use super::words::{file_name, file_words, finish, head_object, head_rows, object};
use crate::directory_words::{Row, lines, next_object, next_words, with_fields};
use crate::lines::Lines;
use crate::looked_at::{LookedAt, holder, with_source};
use crate::outcome::Outcome;
use crate::utc::utc;

/// Looks, and says what was found.
pub fn run(at: &LookedAt) -> Outcome {
    with_source(&at.dir, |source| {
        let found = SnapshotVerification::of(source)?;
        let user = holder(&at.dir).filter(|_| found.list.is_running);
        let problems = all_problems(&found);
        let mut out = Lines::new();
        if at.json {
            let snapshots: Vec<Value> = found.snapshots.iter().map(verified_object).collect();
            let more = json!({
                "snapshots": snapshots,
                "goes_on_from": next_object(&found.next),
                "problems": problems,
                "is_good": problems.is_empty(),
            });
            let head = head_object(&at.dir, &found.list, user.as_deref());
            out.put(&with_fields(head, more).to_string());
        } else {
            let mut rows = head_rows(&at.dir, &found.list, user.as_deref());
            rows.extend(found.snapshots.iter().flat_map(rows_of));
            rows.push(("next", next_words(&found.next)));
            for line in lines(rows) {
                out.put(&line);
            }
        }
        Ok(finish(out, at, problems))
    })
}

fn rows_of(snapshot: &VerifiedSnapshot) -> Vec<Row> {
    let entry = &snapshot.named.entry;
    let (position, term) = (entry.position, entry.term);
    let (length, hash) = (entry.length, entry.hash);
    let words = format!("{position}, term {term}, {length} bytes, hash {hash:032x}");
    let mut rows = vec![("snapshot", words)];
    let state = match &snapshot.content {
        Ok(content) => {
            rows.extend(content_rows(content));
            "whole".to_owned()
        }
        Err(reason) => format!("CANNOT BE USED: {reason}"),
    };
    let (file, there) = (file_name(&snapshot.named), file_words(&snapshot.named));
    rows.push(("", format!("{file}: {there}; {state}")));
    rows.push(("", log_words(snapshot)));
    rows
}

fn content_rows(content: &SnapshotContent) -> Vec<Row> {
    let SnapshotContent {
        cluster,
        chain,
        term,
        terms,
        log_time,
        ..
    } = content;
    let mut rows = vec![
        (
            "",
            format!("cluster uuid {cluster:032x}, chain hash {chain:016x}"),
        ),
        (
            "",
            format!(
                "leadership term {term}, {terms} begun so far, log time {}",
                utc(*log_time)
            ),
        ),
    ];
    for section in &content.sections {
        let (name, length, hash) = (section.name.as_str(), section.length, section.hash);
        rows.push(("", format!("{name:<24} {length:>14} {hash:032x}")));
    }
    rows
}

fn log_words(snapshot: &VerifiedSnapshot) -> String {
    match &snapshot.log {
        LogThere::Same => "the log there has the same hash".to_owned(),
        LogThere::Other(words) => format!("THE LOG THERE IS ANOTHER ONE: {words}"),
        LogThere::EndsAt(end) => format!("THE LOG ENDS BELOW, at {end}"),
        LogThere::SeenTo(end) => format!(
            "not compared with the log, which is seen up to {end} only: the log buffer, which may \
             have more, is not"
        ),
        LogThere::Gone => "not compared: the log starts above, and no start uses it".to_owned(),
        LogThere::NotCompared => "not compared with the log".to_owned(),
    }
}

/// What a machine calls it.
const fn log_name(log: &LogThere) -> &'static str {
    match log {
        LogThere::Same => "same",
        LogThere::Other(_) => "other",
        LogThere::EndsAt(_) => "ends below",
        LogThere::SeenTo(_) => "not seen",
        LogThere::Gone => "gone",
        LogThere::NotCompared => "not compared",
    }
}

fn verified_object(snapshot: &VerifiedSnapshot) -> Value {
    let log = json!({
        "is_whole": snapshot.content.is_ok(),
        "reason": snapshot.content.as_ref().err(),
        "log": log_name(&snapshot.log),
        "log_words": log_words(snapshot),
    });
    let verified = with_fields(object(&snapshot.named), log);
    let content = snapshot.content.as_ref().map(content_object);
    with_fields(verified, content.unwrap_or_default())
}

fn content_object(content: &SnapshotContent) -> Value {
    let sections = content.sections.iter();
    let sections: Vec<Value> = sections
        .map(|section| {
            json!({
                "name": section.name.as_str(),
                "length": section.length,
                "hash": format!("{:032x}", section.hash),
            })
        })
        .collect();
    let header = json!({
        "cluster_uuid": format!("{:032x}", content.cluster),
        "chain_hash": format!("{:016x}", content.chain),
        "term": content.term.get(),
        "terms": content.terms,
        "log_time_ns": content.log_time,
        "time": utc(content.log_time),
    });
    json!({ "header": header, "sections": sections })
}
