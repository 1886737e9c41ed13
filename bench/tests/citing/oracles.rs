//! The simulator's rules, the rows they have, and the files that watch over them.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_consensus::sim::Rule;

use super::document::Document;
use crate::sources::Source;

/// Where they are all watched over.
const FOLDER: &str = "consensus/src/sim/";

/// A rule of the simulator.
pub struct SimulatorRule {
    /// Its variant: `Rule::OneLog`.
    pub variant: String,
    /// What reports call it: the name of a row, or one that begins with it.
    pub name: String,
}

/// Variants and names of these.
pub fn of_rules(rules: &[Rule]) -> Vec<SimulatorRule> {
    let rule = |rule: &Rule| SimulatorRule {
        variant: format!("{rule:?}"),
        name: rule.name().to_owned(),
    };
    rules.iter().map(rule).collect()
}

/// The longest beginning of `name` that is the name of a row.
fn row<'a>(rules: &Document, name: &'a str) -> Option<&'a str> {
    let ends = name.match_indices(' ').map(|(end, _)| end);
    let mut ends: Vec<usize> = ends.chain([name.len()]).collect();
    ends.reverse();
    let mut starts = ends.into_iter().map(|end| &name[..end]);
    starts.find(|start| rules.has_row(start))
}

/// Whether the code names the variant, whole.
fn names(text: &str, variant: &str) -> bool {
    let mut after = text.split("Rule::").skip(1);
    after.any(|text| {
        let rest = text.strip_prefix(variant);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    })
}

/// Where a rule has no row, or nobody watches over it, and where a row names other files of the
/// simulator than those that watch over its rules.
pub fn differences(of: &[SimulatorRule], rules: &Document, watchers: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut oracles: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for SimulatorRule { variant, name } in of {
        let Some(row) = row(rules, name) else {
            violations.push(format!("docs/rules.md has no row for \"{name}\""));
            continue;
        };
        let files = watchers.iter().filter(|file| names(&file.text, variant));
        let files: Vec<&str> = files.map(|file| file.name.as_str()).collect();
        if files.is_empty() {
            violations.push(format!("nobody watches over Rule::{variant}"));
        }
        oracles.entry(row).or_default().extend(files);
    }
    for row in rules.rows() {
        let mut named = rules.files_in_row(row);
        named.retain(|file| file.starts_with(FOLDER));
        let watching = oracles.remove(row.as_str()).unwrap_or_default();
        if named != watching {
            violations.push(format!(
                "docs/rules.md: {row} has its oracles in {watching:?}"
            ));
        }
    }
    violations
}
