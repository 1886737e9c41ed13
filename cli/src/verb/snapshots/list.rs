//! `lockstep snapshots list`: what the index names and what lies there, without reading it.

use lockstep_consensus::node::offline::named_snapshots::SnapshotList;
use serde_json::{Value, json};

use super::problems::{first_words, list_problems};
use super::words::{HEAD, finish, head_object, head_rows, line, object};
use crate::directory_words::{lines, with_fields};
use crate::lines::Lines;
use crate::looked_at::{LookedAt, holder, with_source};
use crate::outcome::Outcome;

/// Looks, and says what was found.
pub fn run(at: &LookedAt) -> Outcome {
    with_source(&at.dir, |source| {
        let found = SnapshotList::of(source)?;
        let user = holder(&at.dir).filter(|_| found.is_running);
        let problems = list_problems(&found, &first_words(&found));
        let mut out = Lines::new();
        if at.json {
            let snapshots: Vec<Value> = found.named.iter().map(object).collect();
            let more = json!({
                "snapshots": snapshots,
                "tried_first": found.first_tried().map(|first| first.entry.position),
                "problems": problems,
                "is_good": problems.is_empty(),
            });
            let head = head_object(&at.dir, &found, user.as_deref());
            out.put(&with_fields(head, more).to_string());
        } else {
            for line in lines(head_rows(&at.dir, &found, user.as_deref())) {
                out.put(&line);
            }
            if !found.named.is_empty() {
                out.put(HEAD);
            }
            for named in &found.named {
                out.put(&line(named));
            }
            for line in lines(vec![("", first_words(&found))]) {
                out.put(&line);
            }
        }
        Ok(finish(out, at, problems))
    })
}
