//! What is counted: each counter is set by product code, and somebody reads it or can look up what
//! it means.

mod sources;

use sources::{CRATES, Source, assert_none, root, rust};

/// Where a node's counters are named.
const NAMES: &str = "consensus/src/node/counters.rs";

/// Number and name of each counter of a node, as this source names them.
fn named(source: &str) -> Vec<(u32, String)> {
    let body = source.split("pub enum Counter {").nth(1);
    let body = body.and_then(|rest| rest.split("\n}").next());
    let lines = body.expect("the counters are named").lines();
    let pair = |line: &str| {
        let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
        Some((number.parse().ok()?, name.to_owned()))
    };
    lines.filter_map(pair).collect()
}

/// Number and name of each counter that a row of this page explains.
fn explained(page: &str) -> Vec<(u32, String)> {
    let pair = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, name, meaning, _] = cells[..] else {
            return None;
        };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let is_row = !meaning.is_empty() && name.starts_with(char::is_uppercase);
        Some((number.parse().ok()?, name.to_owned())).filter(|_| is_row)
    };
    page.lines().filter_map(pair).collect()
}

/// A field that counts, and the type it is a field of.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    of: String,
    name: String,
}

/// The numbers in the types of this source that are called counters.
fn counts(source: &str) -> Vec<Count> {
    let mut found = Vec::new();
    for part in source.split("pub struct ").skip(1) {
        let Some((of, body)) = part.split_once(" {\n") else {
            continue;
        };
        if !of.ends_with("Counters") {
            continue;
        }
        let body = body.split("\n}").next().unwrap_or_default();
        let fields = body
            .lines()
            .filter_map(|line| line.trim().strip_suffix(": u64,"));
        found.extend(fields.map(|field| Count {
            of: of.to_owned(),
            name: field.rsplit(' ').next().unwrap_or(field).to_owned(),
        }));
    }
    found
}

/// Whether this source has a count's name as a word, other than to count: `name += …`.
fn reads(text: &str, name: &str) -> bool {
    let is_word = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let is_whole = !is_word(before.chars().next_back()) && !is_word(after.chars().next());
        is_whole && !after.starts_with(" += ") && !after.starts_with(": u64")
    })
}

fn dense(source: &Source) -> String {
    source.product().split_whitespace().collect()
}

#[test]
fn a_nodes_counters_are_set_and_explained() {
    let source = std::fs::read_to_string(root().join(NAMES)).expect("it is there");
    let page = std::fs::read_to_string(root().join("docs/files.md")).expect("it is there");
    let names = named(&source);
    assert!(names.len() > 20, "only {} counters found", names.len());
    assert_eq!(names, explained(&page), "docs/files.md 9.2 explains others");
    let sources = rust(&["consensus"], &["src"]);
    let is_product = |source: &&Source| !source.is_test() && !source.name.contains("/sim/");
    let product: Vec<String> = sources.iter().filter(is_product).map(dense).collect();
    let is_set = |name: &str| {
        let set = [
            format!(".set(Counter::{name},"),
            format!("put_i64_release(Counter::{name}asusize"),
        ];
        product
            .iter()
            .any(|text| set.iter().any(|set| text.contains(set)))
    };
    let unset = names.iter().filter(|(_, name)| !is_set(name));
    let violations: Vec<String> = unset
        .map(|(_, name)| format!("{name} is never set"))
        .collect();
    assert_none(&violations);
}

#[test]
fn what_is_counted_is_read_somewhere() {
    let sources = rust(&CRATES, &["src", "tests", "examples"]);
    let mut violations = Vec::new();
    let mut count = 0;
    for source in &sources {
        for Count { of, name } in counts(source.product()) {
            count += 1;
            let set = format!("{name} += ");
            let is_counted = |other: &&Source| !other.is_test() && other.product().contains(&set);
            if !sources.iter().any(|other| is_counted(&other)) {
                violations.push(format!("{of}::{name} is never counted"));
            }
            if !sources.iter().any(|other| reads(&other.text, &name)) {
                violations.push(format!("{of}::{name} is counted, and nobody reads it"));
            }
        }
    }
    assert!(count > 40, "only {count} counts found");
    assert_none(&violations);
}

#[test]
fn a_count_that_is_only_counted_is_found() {
    let source = "pub struct PortCounters {\n    /// Sent.\n    pub sent: u64,\n}\n\
                  fn f() { counters.sent += 1; }\n";
    let of = "PortCounters".to_owned();
    let name = "sent".to_owned();
    assert_eq!(counts(source), [Count { of, name }]);
    assert!(!reads(source, "sent"));
    assert!(!reads("self.sent_total > 0", "sent"));
    assert!(reads("if port.counters().sent > 0 {}", "sent"));
}
