//! Assertions of product code under the names of rules, and the rows that list them.

use std::collections::BTreeMap;

use lockstep_transport::invariants::Invariant;

use super::citation::is_rule_name;
use crate::sources::Source;

const CALL: &str = "invariant!(";

/// The rule that the next literal in `code` begins with.
fn rule_of_next_literal(code: &str) -> Option<&str> {
    let rule = code.split_once('"')?.1.split_once(": ")?.0;
    is_rule_name(rule).then_some(rule)
}

/// Literals in `text` that begin with the name of a rule.
fn named_literals(text: &str) -> usize {
    let starts = text.match_indices('"').map(|(at, _)| &text[at..]);
    starts.filter_map(rule_of_next_literal).count()
}

/// The name and the rule of each call in `text`.
fn calls(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.match_indices(CALL).map(|(at, _)| {
        let call = &text[at + CALL.len()..];
        let name = call.split(',').next().unwrap_or_default().trim();
        (name, rule_of_next_literal(call))
    })
}

/// What is wrong between the rows and the product code in `sources`: a row without its one
/// assertion, an assertion of another rule than its row, one that is no row's.
pub fn differences(rows: &[Invariant], sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let mut of_rows: BTreeMap<&str, usize> = rows.iter().map(|row| (row.name(), 0)).collect();
    for source in sources {
        let text = source.product();
        let mut count = 0;
        for (name, rule) in calls(text) {
            count += 1;
            let row = rows.iter().find(|row| row.name() == name);
            if row.map(|row| row.rule()) != rule {
                found.push(format!("{}: {name} is asserted as {rule:?}", source.name));
            }
            if let Some(assertions) = of_rows.get_mut(name) {
                *assertions += 1;
            }
        }
        let named = named_literals(text);
        if named != count {
            let name = &source.name;
            found.push(format!(
                "{name}: {named} named assertions, {count} with a row"
            ));
        }
    }
    let others = of_rows.iter().filter(|(_, count)| **count != 1);
    found.extend(others.map(|(name, count)| format!("{name}: asserted {count} times")));
    found
}
